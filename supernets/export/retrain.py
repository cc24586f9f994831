"""The training of an exported subnet, or of the network of an architecture, from its settings.

A subnet is trained from scratch, or on from its inherited weights, an architecture from scratch.
The network learns from the train split of the data its supernet was trained on, or of other data.
The val split is measured after every epoch and nothing is selected by it. The test split is read
once, at the end. The result is a folder like that of an export.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from timm.utils import random_seed
from torch import nn

from supernets.cost.analytic import CostModel
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.export.files import check_export_target, holds_export
from supernets.export.folder import (
    read_subnet_record,
    recorded_architecture,
    write_subnet_folder,
)
from supernets.export.formats import choose_formats
from supernets.export.retrain_job import RetrainJob, RetrainResult
from supernets.export.retrain_source import RetrainSource
from supernets.export.subnet import data_record
from supernets.networks.factory import create_subnet, create_supernet
from supernets.networks.inherited_weights import (
    are_other_classes,
    check_seen_splits,
    head_names,
    load_inherited,
)
from supernets.runtime.device import device_of_rank
from supernets.runtime.foreign_fields import check_dict
from supernets.runtime.instances import check_instance, checked_path
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.ranks import ProcessInfo, ranks_from_environment
from supernets.runtime.versions import versions
from supernets.runtime.wording import plural
from supernets.spaces.code_of_files import code_of
from supernets.training.checkpoint_fields import check_data, steps_done
from supernets.training.compiled_blocks import check_compile
from supernets.training.evaluation import evaluate
from supernets.training.run import (
    already_trained,
    check_arguments,
    check_same_settings,
    is_resumed,
    running,
)
from supernets.training.standalone import check_trainable, read_network_checkpoint, train_standalone
from supernets.training.standalone_config import RetrainConfig

_logger = logging.getLogger(__name__)

#: What a record says of the data that is compared under another name, or decides no result.
_NOT_COMPARED = (
    "seed",
    "mean",
    "std",
    "class_names",
    "augmentation",
    "timm_options",
    "data_dir",
    "skip_bad_images",
)


def retrain(
    job: RetrainJob,
    output: str | Path,
    *,
    device: str = "auto",
    num_workers: int = 2,
    resume: bool | None = False,
    checkpoint_minutes: float = 10.0,
    outputs: Outputs | None = None,
    args: Mapping[str, Any] | None = None,
) -> RetrainResult:
    """Trains a network, measures it on the test split once, and writes it as an export.

    The global generators of Python, NumPy and PyTorch are seeded with the seed of the recipe. Under
    ``torchrun`` all processes train together. SIGTERM and Ctrl-C finish the step, write a
    checkpoint and return.

    Args:
        job: Which network is trained, on what, and how.
        output: Folder of the run, which may be missing; the trained network is in its folder
            ``subnet``.
        device: Name of the device; "auto" for an accelerator if there is one.
        num_workers: Threads or processes that read images.
        resume: Whether to continue the run that is there; None if there is one.
        checkpoint_minutes: Minutes between checkpoints within an epoch; one is also written after
            every epoch.
        outputs: What a command writes; None outside of one.
        args: What ``args.json`` is to say of the call; None for what was given here.

    Returns:
        How the training ended, and the network.

    Raises:
        ValueError: If something is out of range, missing or does not go together; then nothing is
            written.
        TrainingError: If a loss or a weight is not finite.

    Example:
        >>> import tempfile
        >>> source = RetrainSource.of_architecture(
        ...     "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", "nasbench201"
        ... )
        >>> job = RetrainJob(
        ...     source,
        ...     sizes={"channels": 2, "cells_per_stage": 1},
        ...     batch_size=600,
        ...     config=RetrainConfig(epochs=1),
        ...     formats=[],
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = retrain(job, folder, device="cpu")
        >>> result.record["metrics"]["num_test_images"]
        360
    """
    check_instance("job", job, RetrainJob, "RetrainJob(source) is one")
    asked: dict[str, Any] = {
        "num_workers": num_workers,
        "checkpoint_minutes": checkpoint_minutes,
        "resume": resume,
    }
    check_arguments(**asked)
    output, config, source = checked_path("output", output), job.config, job.source
    ranks = ranks_from_environment()
    chosen_device = device_of_rank(device, ranks)
    formats = choose_formats(job.formats, source.space)
    with nullcontext(outputs) if outputs is not None else Outputs() as written:
        written.own(output, ranks=ranks, kind="training")
        checkpoint = _find_checkpoint(output, resume)
        loaders = _open_data(job, chosen_device, num_workers, ranks)
        record = _describe(job, loaders, ranks)
        if checkpoint is not None:
            check_same_settings(output, _flatten(checkpoint["record"]), _flatten(record))
        random_seed(config.seed)
        rates = {name: rate for name, rate in asdict(job.rates).items() if rate != 0}
        network = _build(record, rates, with_auxiliary=config.aux_weight > 0)
        if job.finetune:
            _inherit(network, source, record, loaders)
        check_trainable(network, loaders, config, ranks)
        check_compile(config.compile, chosen_device)
        with running(
            written,
            output,
            loaders.splits,
            ranks=ranks,
            device=chosen_device,
            resumed_at=[] if checkpoint is None else [steps_done(output / "last.pt", checkpoint)],
            args=args or {**vars(job), "output": output, "device": str(chosen_device), **asked},
        ):
            result = train_standalone(
                network,
                loaders,
                config,
                output,
                device=chosen_device,
                ranks=ranks,
                resume_from=checkpoint,
                checkpoint_minutes=checkpoint_minutes,
                run_settings={"record": record},
            )
        if not (result.is_finished and ranks.is_main):
            return RetrainResult(result)
        folder = output / "subnet"
        with saying_what_is_safe(lambda: f"The training is finished: {result.checkpoint}."):
            if holds_export(folder):
                return RetrainResult(result, folder, read_subnet_record(folder))
            return RetrainResult(
                result,
                folder,
                _write_result(network, record, loaders, folder, chosen_device, formats),
            )


def _find_checkpoint(output: Path, resume: bool | None) -> dict[str, Any] | None:
    path = output / "last.pt"
    if is_resumed(output, [path], resume):
        if not holds_export(output / "subnet"):
            check_export_target(output / "subnet")
        checkpoint = read_network_checkpoint(path)
        record = check_dict(path, checkpoint, "record", ("space", "architecture"))
        for name in ("settings", "recipe"):
            check_dict(path, record, name)
        check_data(path, record, required=("seed",))
        return checkpoint
    if (output / "subnet").exists():
        raise already_trained(output)
    return None


def _open_data(
    job: RetrainJob, device: torch.device, num_workers: int, ranks: ProcessInfo
) -> Loaders:
    """Opens the data of the job, or those the subnet was exported with."""
    source, data, relation, split_seed = job.source, job.data, job.relation, job.split_seed
    stored = source.data or {}
    if data is None:
        relation = "other" if source.data is None else "same"
        data = DataConfig(**({} if source.data is None else source.data_fields({})))
    if split_seed is None:
        split_seed = 0 if relation == "other" else stored["seed"]
    loaders = create_loaders(
        data,
        batch_size=job.batch_size,
        seed=split_seed,
        device=device,
        num_workers=num_workers,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    channels, expected = loaders.input_size[0], source.settings["input_size"][0]
    if job.finetune and channels != expected:
        raise ValueError(
            f"The weights of {source.name} are for images of {plural(expected, 'channel')}, "
            f"the data have {channels}; leave out --finetune."
        )
    if job.finetune and _has_fresh_head(source, loaders):
        return loaders  # other data, of which the weights have seen no split
    if relation == "same" and loaders.settings["split_digest"] != stored["split_digest"]:
        raise ValueError(
            f"The images of {data.data_dir or stored['dataset']} are not those {source.name} "
            "was exported with; pass the same --data-dir, or --dataset for other data."
        )
    if job.finetune:
        check_seen_splits(
            source.name,
            stored,
            loaders.settings,
            may_be_other_images=relation == "other" and data.dataset in ("folder", "timm"),
        )
    return loaders


def _has_fresh_head(source: RetrainSource, loaders: Loaders) -> bool:
    return are_other_classes(source.data or {}, source.settings, loaders.class_names)


def _inherit(
    network: nn.Module, source: RetrainSource, record: Mapping[str, Any], loaders: Loaders
) -> None:
    """Gives a network the exported weights, but for the head where the classes are others."""
    assert source.weights is not None
    fresh = set()
    if record["recipe"].get("head") == "fresh":
        fresh = head_names(recorded_architecture(record), record["settings"])
        _logger.info(
            "The classes of the data (%d) are not those of %s: the head of the network starts "
            "from fresh weights, all others are inherited.",
            loaders.num_classes,
            source.name,
        )
    load_inherited(network, source.weights, fresh)


def _describe(job: RetrainJob, loaders: Loaders, ranks: ProcessInfo) -> dict[str, Any]:
    """What ``subnet.json`` will hold, but for the metrics."""
    source, config = job.source, job.config
    settings = source.network_settings(
        loaders.num_classes, loaders.input_size, job.sizes, keep_weights=job.finetune
    )
    auxiliary = {"auxiliary": True} if config.aux_weight > 0 else {}  # is checked, not counted
    with torch.device("meta"):  # no weights are needed to count
        supernet = create_supernet(source.space, **settings, **auxiliary)
    cost = CostModel(supernet).measure(supernet.space.parse(source.architecture))
    inherited: dict[str, Any] = {}
    provenance = dict(source.provenance)
    if job.finetune:
        inherited["inherited_weights_sha256"] = source.weights_sha256
        if _has_fresh_head(source, loaders):
            inherited["head"] = "fresh"
            provenance["classes"] = list((source.data or {}).get("class_names", ()))
    return {
        "space": source.space,
        **code_of(source.space),
        "architecture": source.architecture,
        "settings": settings,
        "cost": {"params": cost.params, "macs": cost.macs},
        "data": data_record(loaders),
        "recipe": {
            "weights": "inherited" if job.finetune else "fresh",
            **inherited,
            **asdict(job.rates),
            **asdict(config),
            "batch_size": job.batch_size,
            "world_size": ranks.world_size,
        },
        "provenance": provenance,
        "versions": versions(),
    }


def _flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the result of a training, in one level."""
    data = {name: value for name, value in record["data"].items() if name not in _NOT_COMPARED}
    return {
        **record["data"].get("augmentation", {}),
        **record["data"].get("timm_options", {}),
        **data,
        "split_seed": record["data"]["seed"],
        "space": record["space"],
        "architecture": record["architecture"],
        **record["settings"],
        **asdict(RetrainConfig()),  # those of before an option are as without it
        **record["recipe"],
    }


def _build(
    record: Mapping[str, Any], rates: Mapping[str, float], *, with_auxiliary: bool = False
) -> nn.Module:
    """The network of a record with fresh weights, and with dropout at positive rates."""
    arch = recorded_architecture(record)
    return create_subnet(arch, with_auxiliary=with_auxiliary, **record["settings"], **rates)


def _write_result(
    network: nn.Module,
    record: Mapping[str, Any],
    loaders: Loaders,
    folder: Path,
    device: torch.device,
    formats: Sequence[str],
) -> dict[str, Any]:
    """Measures the trained network, on the test split for the first time, and writes its folder."""
    subnet = _build(record, {})  # in its own memory format, without what is for training alone
    load_inherited(subnet, network)
    subnet.to(device)
    val = evaluate(subnet, loaders.val, device=device)
    test = evaluate(subnet, loaders.test, device=device)
    metrics = {
        "val_top1": val.top1,
        "val_loss": val.loss,
        "num_val_images": val.num_images,
        "test_top1": test.top1,
        "test_loss": test.loss,
        "num_test_images": test.num_images,
    }
    return write_subnet_folder(
        folder,
        subnet.cpu(),
        {**record, "metrics": metrics},
        loaders.input_size,
        formats=formats,
    )
