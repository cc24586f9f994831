"""``supernet-retrain``: trains an exported subnet, or the network of an architecture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import supernets.runtime.option_types as kinds
from supernets.cli.command_line import command, parse_args
from supernets.cli.command_parser import command_parser
from supernets.cli.data_options import add_data_options, data_config
from supernets.cli.option_flags import add_options, from_args, given_options, resolved
from supernets.cli.run_options import MachineOptions, RunOptions
from supernets.data.config import DataConfig
from supernets.data.timm_options import TimmOptions
from supernets.export.options import ExportOptions
from supernets.networks.names import IMAGENET_SIDE
from supernets.networks.settings import NASBench201Settings, NASNetSettings
from supernets.runtime.options import Options, option
from supernets.runtime.ranks import ranks_from_environment
from supernets.runtime.trusted_code import trust_code_option
from supernets.spaces.factory import SPACES
from supernets.training.standalone_config import RetrainConfig
from supernets.training.supernet_config import DropRates

if TYPE_CHECKING:
    from supernets.export.retrain_job import RetrainJob
    from supernets.export.retrain_source import RetrainSource

PROGRAM = "supernet-retrain"
#: Options of data that change which images are in which split.
SPLIT_OPTIONS = ("val_fraction", "num_val", "train_split", "val_split", "test_split")
#: Defaults of sizes, in words, where they are not those of the settings of a supernet.
_SIZES = {
    "channels": "the subnet's, or 16",
    "cells_per_stage": "the subnet's, or 5",
    "layers": "the subnet's, or 8",
    "stem": f"see above; with --arch imagenet for images of {IMAGENET_SIDE} pixels and more, else "
    "cifar",
}


@dataclass(frozen=True)
class _Network(Options):
    """Which network is trained.

    Args:
        subnet: Folder of an exported subnet.
        arch: Notation of an architecture, or a ``best.json``.
        space: Name of the search space.
        trust_code: Whether the code of a space that is not built in may be imported.
        finetune: Whether to start from the subnet's weights.
        batch_size: Images per minibatch and process.
        split_seed: Seed of the splits.

    Raises:
        ValueError: If there is no network, or there are two.
    """

    subnet: Path | None = option(
        None, "exported subnet (this or --arch)", kinds.path, metavar="FOLDER"
    )
    arch: str | None = option(
        None,
        "architecture in the space's notation, or a best.json of supernet-search (this or "
        "--subnet)",
        kinds.architecture,
        metavar="ARCH",
    )
    space: str | None = option(
        None,
        "of --arch",
        SPACES,
        metavar="NAME",
        default_text="that of best.json or the subnet",
    )
    trust_code: bool = trust_code_option()
    finetune: bool = option(
        False, "start from the subnet's weights", default_text="from fresh weights"
    )
    batch_size: int = option(256, "per process", kinds.BATCH, metavar="N")
    split_seed: int | None = option(
        None,
        "of the splits",
        kinds.SEED,
        metavar="N",
        default_text="the subnet's, with --dataset or --arch 0",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subnet is None and self.arch is None:
            raise ValueError(
                "--subnet or --arch is required: an exported subnet, or an architecture."
            )
        if self.subnet is not None and self.arch is not None:
            raise ValueError("--subnet and --arch both say what to train; leave one of them out.")


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-retrain``."""
    parser = command_parser(
        PROGRAM,
        "Train an exported subnet from scratch, or on from its inherited weights; or "
        "an architecture from scratch. Ctrl-C saves and exits; --resume continues.",
    )
    group = parser.add_argument_group(
        "network",
        "A subnet or an architecture. Options of data that are not given are those the subnet was "
        "exported with; with --arch they are the defaults shown.",
    )
    add_options(group, _Network, without=["batch_size", "split_seed"])
    group.add_argument(
        "--from-scratch",
        dest="finetune",
        action="store_false",
        default=None,
        help="start from fresh weights (this is the default)",
    )
    group = parser.add_argument_group(
        "size of the network",
        "For fresh weights; what is not given is as exported, or with --arch as in supernet-train. "
        "--stem is asked for where the subnet was exported for images of less than "
        f"{IMAGENET_SIDE} pixels and these are larger, or the reverse. Spaces other than "
        "nasbench201, nasnet and darts have none of these: with --arch they have the defaults of "
        "supernet-train and the resolution of the images; with others they are to be exported and "
        "passed as --subnet.",
    )
    for kind in (NASBench201Settings, NASNetSettings):
        add_options(group, kind, without=["bn_mode"], defaults=_SIZES)
    add_data_options(parser)
    group, run = parser.add_argument_group("training"), parser.add_argument_group("run")
    add_options(group, _Network)
    for recipe in (RetrainConfig, DropRates):
        add_options(group, recipe, without=("amp", "channels_last", "kernels", "compile"))
    for of_run in (RunOptions, MachineOptions, RetrainConfig):
        add_options(run, of_run)
    others = [field.name for field in fields(ExportOptions) if field.name != "formats"]
    add_options(run, ExportOptions, without=others)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-retrain`` and returns the exit status."""
    args = parse_args(build_parser(), argv)
    # here, as PyTorch takes seconds, for which --help and a wrong flag need not wait
    from supernets.cli.training_run import finish_training, saying_how_to_go_on
    from supernets.export.retrain import retrain
    from supernets.export.retrain_source import RetrainSource
    from supernets.export.subnet import export_summary
    from supernets.networks.factory import chosen_amp

    with command(PROGRAM, args) as run:
        network, options = from_args(_Network, args), from_args(RunOptions, args)
        machine = from_args(MachineOptions, args)
        device = machine.set_up(ranks_from_environment())
        if network.subnet is not None:
            source = RetrainSource.of_subnet(
                network.subnet, network.space, trust_code=network.trust_code
            )
        else:
            source = RetrainSource.of_architecture(
                network.arch or "", network.space, trust_code=network.trust_code
            )
        job = retrain_job(args, source, chosen_amp(args.amp, source.space, device))
        data = (job.data, job.data.augmentation, job.data.timm_options) if job.data else ()
        made = (network, options, machine, job.config, job.rates, *filter(None, data))
        with saying_how_to_go_on(options.output):
            result = retrain(
                job,
                options.output,
                device=machine.device,
                num_workers=machine.num_workers,
                resume=options.resumes,
                checkpoint_minutes=options.checkpoint_minutes,
                outputs=run.outputs,
                args=resolved(args, *made),
            )
        found: dict[str, Any] = {}
        if result.subnet is not None:
            found = {"subnet": result.subnet, **export_summary(result.record)}
        run.status = finish_training(result.training, **found)
    return run.status


def retrain_job(args: argparse.Namespace, source: RetrainSource, amp: bool) -> RetrainJob:
    """Builds what the options ask for.

    Args:
        args: Parsed by the parser of ``build_parser``.
        source: What ``--subnet`` or ``--arch`` names.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If an option is out of range, or would have no effect.
    """
    from supernets.export.retrain_job import RetrainJob  # here, as it imports PyTorch

    network, given = from_args(_Network, args), given_options(DataConfig, args)
    is_other = source.data is None or "dataset" in given
    asked = {**given, **given_options(TimmOptions, args)}
    is_resplit = network.split_seed is not None or not asked.keys().isdisjoint(SPLIT_OPTIONS)
    sizes = given_options(NASBench201Settings, args) | given_options(NASNetSettings, args)
    return RetrainJob(
        source=source,
        data=data_config(args, None if is_other else source.data_fields(given)),
        relation="other" if is_other else "resplit" if is_resplit else "same",
        split_seed=network.split_seed,
        batch_size=network.batch_size,
        finetune=network.finetune,
        sizes=sizes,
        rates=from_args(DropRates, args),
        config=from_args(RetrainConfig, args, amp=amp),
        formats=given_options(ExportOptions, args).get("formats"),
    )


if __name__ == "__main__":
    raise SystemExit(main())
