"""``supernet-train``: trains a weight-sharing supernet once, for every later search."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils import random_seed

from supernets.cli.command_line import (
    parse_args,
    run_command,
    set_threads,
)
from supernets.cli.train_options import (
    PROGRAM,
    PROGRESSIVE,
    build_parser,
    check_options,
    supernet_settings,
    train_config,
)
from supernets.cli.training_run import (
    check_same_settings,
    is_resumed,
    open_data,
    run_training,
)
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.networks.factory import chosen_amp, create_supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.single_images import check_supernet_single_images, smallest_minibatch
from supernets.runtime.device import device_of_rank
from supernets.runtime.foreign_fields import check_dict
from supernets.runtime.outputs import Outputs
from supernets.runtime.ranks import ProcessInfo, ranks_from_environment
from supernets.runtime.versions import versions
from supernets.training.checkpoint import read_training_checkpoint, supernet_from_checkpoint
from supernets.training.checkpoint_fields import steps_done
from supernets.training.loop import TrainResult
from supernets.training.ofa_checkpoints import Released, read_released, released_supernet
from supernets.training.path_sampling import create_path_sampler
from supernets.training.phases import EPOCHS, LRS, WARMUP_EPOCHS
from supernets.training.progressive_shrinking import phase_dir, phases_for, train_progressively
from supernets.training.supernet import train_supernet
from supernets.training.supernet_config import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-train`` and returns the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(
        PROGRAM, lambda outputs: _prepare(args, outputs), quiet=args.quiet, verbose=args.verbose
    )


def _prepare(args: argparse.Namespace, outputs: Outputs) -> Callable[[], int]:
    check_options(args)
    set_threads(args.threads)
    ranks = ranks_from_environment()
    device = device_of_rank(args.device, ranks)
    config = train_config(args, chosen_amp(args.amp, args.space, device))
    if config.sync_bn and ranks.world_size == 1:
        raise ValueError("--sync-bn needs several processes; start them with torchrun.")
    outputs.own(args.output, ranks=ranks)
    loaders = open_data(args, seed=args.seed, device=device, ranks=ranks)
    random_seed(args.seed)
    released = None
    if args.from_ofa is not None:
        released = read_released(args.from_ofa, args.ofa_weights or "ema")
    supernet = _create_supernet(args, loaders, released)
    if args.epochs != 0:
        check_supernet_single_images(
            supernet,
            smallest_minibatch(loaders.train, ranks.world_size),
            auxiliary=args.aux_weight > 0,
        )
    settings: dict[str, Any] = {
        "data": {**loaders.settings, "batch_size": args.batch_size},
        "paths": {
            "paths": args.paths,
            "num_paths": args.num_paths,
            "macs_bins": args.macs_bins,
        },
        "world_size": ranks.world_size,
        "data_dir": None if args.data_dir is None else str(args.data_dir.resolve()),
        "given_data_dir": None if args.data_dir is None else str(args.data_dir),
        "skip_bad_images": loaders.skip_bad_images,
        **({} if released is None else {"released": released.provenance}),
    }
    run = _Run(ranks, supernet, loaders, config, device, settings)
    if args.paths == PROGRESSIVE:
        return _prepare_progressive(args, run)
    checkpoint = None
    if is_resumed(args, [args.output / "last.pt"]):
        checkpoint = read_training_checkpoint(args.output / "last.pt")
    paths = create_path_sampler(
        args.paths,
        supernet.space,
        CostModel(supernet),
        args.num_paths,
        macs_bins=args.macs_bins,
    )
    if checkpoint is not None:
        _check_same_run(args.output / "last.pt", checkpoint, supernet, config, settings)
        supernet = supernet_from_checkpoint(checkpoint, args.output / "last.pt")

    def train() -> TrainResult:
        return train_supernet(
            supernet,
            loaders,
            paths,
            config,
            args.output,
            device=device,
            ranks=ranks,
            resume_from=checkpoint,
            checkpoint_minutes=args.checkpoint_minutes,
            run_settings={**settings, "versions": versions()},
        )

    resumed_at = [] if checkpoint is None else [steps_done(args.output / "last.pt", checkpoint)]
    return lambda: _work(args, run, train, resumed_at)


@dataclass(frozen=True)
class _Run:
    """What a run is made of, whatever its schedule."""

    ranks: ProcessInfo
    supernet: Supernet
    loaders: Loaders
    config: TrainConfig
    device: torch.device
    settings: dict[str, Any]


def _prepare_progressive(args: argparse.Namespace, run: _Run) -> Callable[[], int]:
    plan: dict[str, Sequence[Any]] = {
        "epochs": args.phase_epochs or EPOCHS,
        "warmup_epochs": args.phase_warmup_epochs or WARMUP_EPOCHS,
        "lrs": args.phase_lrs or LRS,
    }
    phases = phases_for(run.supernet.space, **plan)
    configs = [phase.config(run.config) for phase in phases]  # checks the recipes of all phases
    lists = {f"phase_{name}": list(values) for name, values in plan.items()}
    settings = {**run.settings, "paths": {**run.settings["paths"], **lists}}
    files = [phase_dir(args.output, phases, i) / "last.pt" for i in range(len(phases))]
    resume, resumed_at = is_resumed(args, [args.output / "last.pt", *files]), []
    if resume:
        reached = [i for i, file in enumerate(files) if file.exists()]
        for i in range(max(reached, default=0) + 1):
            checkpoint = read_training_checkpoint(files[i])
            _check_same_run(files[i], checkpoint, run.supernet, configs[i], settings)
            resumed_at.append(steps_done(files[i], checkpoint))
    supernet = run.supernet
    assert isinstance(supernet, MobileNetV3Supernet)

    def train() -> TrainResult:
        return train_progressively(
            supernet,
            run.loaders,
            phases,
            run.config,
            args.output,
            device=run.device,
            ranks=run.ranks,
            resume=resume,
            checkpoint_minutes=args.checkpoint_minutes,
            run_settings={**settings, "versions": versions()},
        )

    return lambda: _work(args, run, train, resumed_at)


def _create_supernet(
    args: argparse.Namespace, loaders: Loaders, released: Released | None
) -> Supernet:
    if released is None:
        return create_supernet(
            args.space,
            num_classes=loaders.num_classes,
            input_size=loaders.input_size,
            **supernet_settings(args),
        )
    for name in ("strides", "kernel_transform"):
        if getattr(args, name) is not None:
            raise ValueError(f"Released weights have a --{name.replace('_', '-')} of their own.")
    supernet = released_supernet(
        released,
        width=args.width,
        # training can learn other classes; stored as they are, such weights would be of no use
        num_classes=None if args.epochs == 0 else loaders.num_classes,
        input_size=loaders.input_size,
        resolutions=args.resolutions or (),
    )
    if supernet.num_classes != loaders.num_classes:
        raise ValueError(
            f"{args.from_ofa} has {supernet.num_classes} classes, the data has "
            f"{loaders.num_classes}; use data with the same classes, or train with --epochs."
        )
    return supernet


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
    stored_config = asdict(TrainConfig()) | checkpoint["train_config"]
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


def _work(
    args: argparse.Namespace,
    run: _Run,
    train: Callable[[], TrainResult],
    resumed_at: Sequence[int],
) -> int:
    return run_training(
        PROGRAM,
        args.output,
        vars(args),
        run.loaders.splits,
        train,
        ranks=run.ranks,
        device=run.device,
        resumed_at=resumed_at,
    )


if __name__ == "__main__":
    raise SystemExit(main())
