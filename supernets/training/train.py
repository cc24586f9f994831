"""The training of a supernet from its settings: data, weights, paths, and how it is continued."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from timm.utils import random_seed

from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders, create_loaders
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import synchronise_batchnorm
from supernets.networks.factory import create_supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.settings import settings_class
from supernets.networks.single_images import check_supernet_single_images, smallest_minibatch
from supernets.runtime.device import device_of_rank
from supernets.runtime.foreign_fields import check_dict
from supernets.runtime.instances import check_instance, checked_path
from supernets.runtime.outputs import Outputs
from supernets.runtime.ranks import ranks_from_environment
from supernets.runtime.versions import versions
from supernets.training.checkpoint import read_training_checkpoint, supernet_from_checkpoint
from supernets.training.checkpoint_fields import steps_done
from supernets.training.job import TrainJob
from supernets.training.loop import TrainResult
from supernets.training.path_factory import create_path_sampler
from supernets.training.paths import PATHS, PROGRESSIVE
from supernets.training.progressive_shrinking import phase_dir, phases_for, train_progressively
from supernets.training.released_files import Released, read_released
from supernets.training.released_weights import released_network
from supernets.training.run import check_arguments, check_same_settings, is_resumed, running
from supernets.training.supernet import train_supernet
from supernets.training.supernet_config import TrainConfig


def train(
    job: TrainJob,
    output: str | Path,
    *,
    device: str = "auto",
    num_workers: int = 2,
    resume: bool | None = False,
    checkpoint_minutes: float = 10.0,
    outputs: Outputs | None = None,
    args: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Trains a supernet and keeps ``last.pt``, ``summary.csv`` and ``splits.npz`` in a folder.

    The global generators of Python, NumPy and PyTorch are seeded with the seed of the recipe. Under
    ``torchrun`` all processes train together. SIGTERM and Ctrl-C finish the step, write a
    checkpoint and return.

    Args:
        job: Which supernet is trained, on what, and how.
        output: Folder of the run, which may be missing.
        device: Name of the device; "auto" for an accelerator if there is one.
        num_workers: Threads or processes that read images.
        resume: Whether to continue the run that is there; None if there is one.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        outputs: What a command writes; None outside of one.
        args: What ``args.json`` is to say of the call; None for what was given here.

    Returns:
        How the training ended.

    Raises:
        ValueError: If something is out of range, missing or does not go together; then nothing is
            written.
        TrainingError: If a loss or a weight is not finite.

    Example:
        >>> import tempfile
        >>> from supernets.networks.settings import NASBench201Settings
        >>> small = NASBench201Settings(channels=2, cells_per_stage=1)
        >>> job = TrainJob(
        ...     settings=small, batch_size=600, config=TrainConfig(epochs=1, num_probes=0)
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = train(job, folder, device="cpu")
        >>> result.is_finished, result.steps
        (True, 2)
    """
    check_instance("job", job, TrainJob, "TrainJob('nasbench201') is one")
    asked: dict[str, Any] = {
        "num_workers": num_workers,
        "checkpoint_minutes": checkpoint_minutes,
        "resume": resume,
    }
    check_arguments(**asked)
    output, config = checked_path("output", output), job.recipe
    ranks = ranks_from_environment()
    chosen_device = device_of_rank(device, ranks)
    if config.sync_bn and ranks.world_size == 1:
        raise ValueError("--sync-bn needs several processes; start them with torchrun.")
    with nullcontext(outputs) if outputs is not None else Outputs() as written:
        written.own(output, ranks=ranks, kind="training")
        loaders = create_loaders(
            job.data,
            batch_size=job.batch_size,
            seed=config.seed,
            device=chosen_device,
            num_workers=num_workers,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        random_seed(config.seed)
        supernet, released = _create_supernet(job, loaders)
        if config.sync_bn:
            synchronise_batchnorm(supernet)  # here, as not all can be
        if config.epochs != 0:
            check_supernet_single_images(
                supernet,
                smallest_minibatch(loaders.train, ranks.world_size),
                auxiliary=config.aux_weight > 0,
            )
        settings = _run_settings(job, loaders, ranks.world_size, released)
        if job.sampler == PROGRESSIVE:
            plan = asdict(job.phases)
            phases = phases_for(supernet.space, **plan)
            recipes = [phase.config(config) for phase in phases]  # checks those of all phases
            settings["paths"] |= {f"phase_{name}": list(values) for name, values in plan.items()}
            folders = [phase_dir(output, phases, i) for i in range(len(phases))]
        else:
            phases, recipes, folders = [], [config], [output]
            paths = create_path_sampler(
                job.sampler,
                supernet.space,
                CostModel(supernet),
                job.paths.num_paths,
                macs_bins=job.paths.macs_bins,
            )
        checkpoints = []
        files = [folder / "last.pt" for folder in folders]
        is_continued = is_resumed(output, [output / "last.pt", *files], resume)
        if is_continued:
            reached = [i for i, file in enumerate(files) if file.exists()]
            for file, recipe in zip(files[: max(reached, default=0) + 1], recipes, strict=False):
                checkpoints.append(read_training_checkpoint(file))
                _check_same_run(file, checkpoints[-1], supernet, recipe, settings)
        if checkpoints and not phases:
            supernet = supernet_from_checkpoint(checkpoints[0], files[0])
        stored = {**settings, "versions": versions()}
        with running(
            written,
            output,
            loaders.splits,
            ranks=ranks,
            device=chosen_device,
            resumed_at=[steps_done(*found) for found in zip(files, checkpoints, strict=False)],
            args=args or {**vars(job), "output": output, "device": str(chosen_device), **asked},
        ):
            if phases:
                assert isinstance(supernet, MobileNetV3Supernet)
                return train_progressively(
                    supernet,
                    loaders,
                    phases,
                    config,
                    output,
                    device=chosen_device,
                    ranks=ranks,
                    resume=is_continued,
                    checkpoint_minutes=checkpoint_minutes,
                    run_settings=stored,
                )
            return train_supernet(
                supernet,
                loaders,
                paths,
                config,
                output,
                device=chosen_device,
                ranks=ranks,
                resume_from=checkpoints[0] if checkpoints else None,
                checkpoint_minutes=checkpoint_minutes,
                run_settings=stored,
            )


def _create_supernet(job: TrainJob, loaders: Loaders) -> tuple[Supernet, Released | None]:
    """The supernet with fresh or released weights, and where the latter are from."""
    settings, from_ofa = job.settings or settings_class(job.space)(), job.released.from_ofa
    if from_ofa is None:
        arguments = settings.arguments
        if job.recipe.aux_weight > 0:
            arguments["auxiliary"] = True
        supernet = create_supernet(
            job.space,
            num_classes=loaders.num_classes,
            input_size=loaders.input_size,
            **arguments,
        )
        return supernet, None
    network = released_network(job.definition)
    released = read_released(from_ofa, job.released.ofa_weights or "ema", expected=network.expected)
    arguments = settings.arguments
    for name in network.decides:
        if name in arguments:
            raise ValueError(f"Released weights have a --{name.replace('_', '-')} of their own.")
    supernet = network.supernet(
        released,
        # training can learn other classes; stored as they are, such weights would be of no use
        num_classes=None if job.recipe.epochs == 0 else loaders.num_classes,
        input_size=loaders.input_size,
        **arguments,
    )
    if supernet.num_classes != loaders.num_classes:
        raise ValueError(
            f"{from_ofa} has {supernet.num_classes} classes, the data has "
            f"{loaders.num_classes}; use data with the same classes, or train with --epochs."
        )
    return supernet, released


def _run_settings(
    job: TrainJob, loaders: Loaders, world_size: int, released: Released | None
) -> dict[str, Any]:
    """What checkpoints say of the run beside the supernet and the recipe."""
    folder = loaders.data_dir
    return {
        "data": {**loaders.settings, "batch_size": job.batch_size},
        "paths": {**asdict(job.paths), "paths": PATHS.own_name(job.sampler)},
        "world_size": world_size,
        "data_dir": None if folder is None else str(folder.resolve()),
        "given_data_dir": None if folder is None else str(folder),
        "skip_bad_images": loaders.skip_bad_images,
        **({} if released is None else {"released": released.provenance}),
    }


def _check_same_run(
    path: Path,
    checkpoint: dict[str, Any],
    supernet: Supernet,
    config: TrainConfig,
    settings: dict[str, Any],
) -> None:
    if checkpoint["space"] != supernet.space.name:
        raise ValueError(
            f"{path} holds a supernet of space {checkpoint['space']!r}, "
            f"this run trains {supernet.space.name!r}; use a new --output."
        )
    check_dict(path, checkpoint, "paths")
    # what a checkpoint of an earlier version does not name was as it is by default
    stored_config = asdict(TrainConfig(inactive_grads="zero")) | checkpoint["train_config"]
    stored = _flatten(checkpoint["supernet_settings"], stored_config, checkpoint)
    given = _flatten(supernet.settings, asdict(config), settings)
    if "released" in settings:  # of before, checkpoints did not say
        given["weights of --from-ofa"] = settings["released"]["field"]
        released = checkpoint.get("released", settings["released"])
        stored["weights of --from-ofa"] = check_dict(
            path, {"released": released}, "released", ("field",)
        )["field"]
    check_same_settings(path.parent, stored, given)


def _flatten(
    supernet: Mapping[str, Any], config: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that decides the result of a training, in one level."""
    world_size = settings["world_size"]
    return {**supernet, **config, **settings["data"], **settings["paths"], "world_size": world_size}
