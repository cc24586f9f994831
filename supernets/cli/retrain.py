"""``supernet-retrain``: trains an exported subnet, or the network of an architecture.

A subnet is trained from scratch, or on from its inherited weights, an architecture from scratch.
The network learns from the train split of the data its supernet was trained on, or of other data.
The val split is measured after every epoch and nothing is selected by it. The test split is read
once, at the end. The result is a folder like that of an export.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.utils import random_seed
from torch import nn

from supernets.cli.command_line import (
    parse_args,
    run_command,
    set_threads,
)
from supernets.cli.retrain_options import PROGRAM, build_parser, check_options, retrain_config
from supernets.cli.retrain_source import RetrainSpec, recorded_options
from supernets.cli.training_run import (
    already_trained,
    check_same_settings,
    is_resumed,
    open_data,
    run_training,
)
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.export.files import check_export_target, holds_export
from supernets.export.folder import (
    read_subnet_record,
    recorded_architecture,
    write_subnet_folder,
)
from supernets.export.formats import choose_formats
from supernets.export.subnet import data_record, export_summary
from supernets.networks.factory import chosen_amp, create_subnet, create_supernet
from supernets.networks.inherited_weights import (
    are_other_classes,
    check_seen_splits,
    head_names,
    load_inherited,
)
from supernets.runtime.device import device_of_rank
from supernets.runtime.foreign_fields import check_dict
from supernets.runtime.outputs import Outputs
from supernets.runtime.ranks import ProcessInfo, ranks_from_environment
from supernets.runtime.versions import versions
from supernets.runtime.wording import plural
from supernets.spaces.factory import NASNET_SPACES
from supernets.training.checkpoint_fields import check_data, steps_done
from supernets.training.evaluation import evaluate
from supernets.training.loop import TrainResult
from supernets.training.standalone import check_trainable, read_network_checkpoint, train_standalone
from supernets.training.standalone_config import RetrainConfig

_logger = logging.getLogger(__name__)

#: Options that change which images are in which split.
SPLIT_OPTIONS = ("val_fraction", "num_val", "split_seed", "train_split", "val_split", "test_split")

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
#: Options that change the size of the network; a space has some of them as settings.
SIZE_OPTIONS = ("channels", "layers", "cells_per_stage", "stem")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-retrain`` and returns the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(
        PROGRAM, lambda outputs: _prepare(args, outputs), quiet=args.quiet, verbose=args.verbose
    )


def _prepare(args: argparse.Namespace, outputs: Outputs) -> Callable[[], int]:
    check_options(args)
    set_threads(args.threads)
    ranks = ranks_from_environment()
    device = device_of_rank(args.device, ranks)
    if args.subnet is not None:
        source = RetrainSpec.of_subnet(args.subnet, args.space)
    else:
        source = RetrainSpec.of_architecture(args.arch, args.space)
    amp = chosen_amp(args.amp, source.space, device)
    config = retrain_config(args, amp)
    _check_network_options(args, source)
    formats = choose_formats(args.formats, source.space)
    outputs.own(args.output, ranks=ranks)
    checkpoint = _find_checkpoint(args)
    loaders = _open_data(args, source, device, ranks)
    record = _describe(args, source, loaders, config, ranks)
    if checkpoint is not None:
        check_same_settings(args.output, _flatten(checkpoint["record"]), _flatten(record))
    random_seed(args.seed)
    rates = {"dropout": args.dropout, "drop_path": args.drop_path}
    network = _build(
        record,
        {name: rate for name, rate in rates.items() if rate != 0},
        with_auxiliary=config.aux_weight > 0,
    )
    if args.finetune:
        assert source.weights is not None
        fresh = set()
        if record["recipe"].get("head") == "fresh":
            fresh = head_names(recorded_architecture(record), record["settings"])
            _logger.info(
                "The classes of the data (%d) are not those of %s: the head of the network starts "
                "from fresh weights, all others are inherited.",
                loaders.num_classes,
                args.subnet,
            )
        load_inherited(network, source.weights, fresh)
    check_trainable(network, loaders, config, ranks)
    run = _Run(ranks, network, loaders, config, device, record, formats)
    return lambda: _retrain(args, run, checkpoint)


@dataclass(frozen=True)
class _Run:
    """What a run is made of."""

    ranks: ProcessInfo
    network: nn.Module
    loaders: Loaders
    config: RetrainConfig
    device: torch.device
    record: dict[str, Any]  # what subnet.json will hold, but for the metrics
    formats: Sequence[str]


def _check_network_options(args: argparse.Namespace, source: RetrainSpec) -> None:
    """Refuses what the networks of the space do not have, or would have no effect."""
    given = _sizes(args)
    foreign = [name for name in given if name not in source.settings]
    if args.aux_weight > 0 and source.space not in NASNET_SPACES:
        foreign.append("aux_weight")
    if foreign:
        raise ValueError(
            f"Networks of space {source.space!r} have no {_flags(foreign)}; leave it out."
        )
    if given and args.finetune:
        raise ValueError(
            f"The weights of {args.subnet} are for the size they were exported with; leave out "
            f"{_flags(given)}, or --finetune."
        )


def _sizes(args: argparse.Namespace) -> dict[str, Any]:
    """The sizes that were asked for."""
    return {name: getattr(args, name) for name in SIZE_OPTIONS if getattr(args, name) is not None}


def _flags(names: Iterable[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _find_checkpoint(args: argparse.Namespace) -> dict[str, Any] | None:
    path = args.output / "last.pt"
    if is_resumed(args, [path]):
        if not holds_export(args.output / "subnet"):
            check_export_target(args.output / "subnet")
        checkpoint = read_network_checkpoint(path)
        record = check_dict(path, checkpoint, "record", ("space", "architecture"))
        for name in ("settings", "recipe"):
            check_dict(path, record, name)
        check_data(path, record, required=("seed",))
        return checkpoint
    if (args.output / "subnet").exists():
        raise already_trained(args.output)
    return None


def _open_data(
    args: argparse.Namespace, source: RetrainSpec, device: torch.device, ranks: ProcessInfo
) -> Loaders:
    """Opens the data of the options, or those the subnet was exported with."""
    stored = source.data if args.dataset is None else None
    filled = argparse.Namespace(**vars(args))
    if stored is not None:
        for name, value in recorded_options(
            args.subnet, stored, by_fraction=args.val_fraction is not None
        ).items():
            given = vars(filled).get(name)
            if given is None or given is False:
                setattr(filled, name, value)
        _check_folder(filled)
    loaders = open_data(filled, seed=filled.split_seed or 0, device=device, ranks=ranks)
    channels, expected = loaders.input_size[0], source.settings["input_size"][0]
    if args.finetune and channels != expected:
        raise ValueError(
            f"The weights of {args.subnet} are for images of {plural(expected, 'channel')}, "
            f"the data have {channels}; leave out --finetune."
        )
    if args.finetune and _has_fresh_head(source, loaders):
        return loaders  # other data, of which the weights have seen no split
    if stored is not None and loaders.settings["split_digest"] != stored["split_digest"]:
        if not any(getattr(args, name) is not None for name in SPLIT_OPTIONS):
            raise ValueError(
                f"The images of {args.data_dir or stored['dataset']} are not those {args.subnet} "
                "was exported with; pass the same --data-dir, or --dataset for other data."
            )
    if args.finetune:
        check_seen_splits(
            source.name,
            source.data or {},
            loaders.settings,
            may_be_other_images=args.dataset in ("folder", "timm"),
        )
    return loaders


def _has_fresh_head(source: RetrainSpec, loaders: Loaders) -> bool:
    return are_other_classes(source.data or {}, source.settings, loaders.class_names)


def _check_folder(args: argparse.Namespace) -> None:
    """Makes sure that the folder of an export's data is known, where there is one."""
    if args.data_dir is None and args.dataset in ("cifar10", "cifar100", "folder", "timm"):
        raise ValueError(
            f"{args.subnet} does not say where its images lie ({args.dataset}), only names of "
            "folders below the current one are kept; pass --data-dir."
        )


def _describe(
    args: argparse.Namespace,
    source: RetrainSpec,
    loaders: Loaders,
    config: RetrainConfig,
    ranks: ProcessInfo,
) -> dict[str, Any]:
    """What ``subnet.json`` will hold, but for the metrics."""
    settings = source.network_settings(
        loaders.num_classes, loaders.input_size, _sizes(args), keep_weights=args.finetune
    )
    auxiliary = {"auxiliary": True} if config.aux_weight > 0 else {}  # is checked, not counted
    with torch.device("meta"):  # no weights are needed to count
        supernet = create_supernet(source.space, **settings, **auxiliary)
    cost = CostModel(supernet).measure(supernet.space.parse(source.architecture))
    inherited: dict[str, Any] = {}
    provenance = dict(source.provenance)
    if args.finetune:
        inherited["inherited_weights_sha256"] = source.weights_sha256
        if _has_fresh_head(source, loaders):
            inherited["head"] = "fresh"
            provenance["classes"] = list((source.data or {}).get("class_names", ()))
    return {
        "space": source.space,
        "architecture": source.architecture,
        "settings": settings,
        "cost": {"params": cost.params, "macs": cost.macs},
        "data": data_record(loaders),
        "recipe": {
            "weights": "inherited" if args.finetune else "fresh",
            **inherited,
            "dropout": args.dropout,
            "drop_path": args.drop_path,
            **asdict(config),
            "batch_size": args.batch_size,
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
    for name, rate in rates.items():
        if not 0 < rate < 1:
            raise ValueError(f"{name} must be from 0 to less than 1, got {rate}.")
    try:
        return create_subnet(
            recorded_architecture(record),
            with_auxiliary=with_auxiliary,
            **record["settings"],
            **rates,
        )
    except TypeError as error:
        if not rates:
            raise
        raise ValueError(
            f"Networks of space {record['space']!r} do not have all of {', '.join(rates)}; "
            "leave out what they lack."
        ) from error


def _retrain(args: argparse.Namespace, run: _Run, checkpoint: dict[str, Any] | None) -> int:
    def train() -> TrainResult:
        return train_standalone(
            run.network,
            run.loaders,
            run.config,
            args.output,
            device=run.device,
            ranks=run.ranks,
            resume_from=checkpoint,
            checkpoint_minutes=args.checkpoint_minutes,
            run_settings={"record": run.record},
        )

    def on_finished() -> dict[str, Any]:
        folder = args.output / "subnet"
        record = read_subnet_record(folder) if holds_export(folder) else _hand_over(run, folder)
        return {"subnet": folder, **export_summary(record)}

    return run_training(
        PROGRAM,
        args.output,
        vars(args),
        run.loaders.splits,
        train,
        ranks=run.ranks,
        device=run.device,
        resumed_at=[] if checkpoint is None else [steps_done(args.output / "last.pt", checkpoint)],
        on_finished=on_finished,
    )


def _hand_over(run: _Run, folder: Path) -> dict[str, Any]:
    """Measures the trained network, on the test split for the first time, and writes its folder."""
    subnet = _build(run.record, {})  # in its own memory format, without what is for training alone
    load_inherited(subnet, run.network)
    subnet.to(run.device)
    val = evaluate(subnet, run.loaders.val, device=run.device)
    test = evaluate(subnet, run.loaders.test, device=run.device)
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
        {**run.record, "metrics": metrics},
        run.loaders.input_size,
        formats=run.formats,
    )


if __name__ == "__main__":
    raise SystemExit(main())
