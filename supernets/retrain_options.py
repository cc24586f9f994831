"""The options of ``supernet-retrain``."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernets.command_line import add_config_option
from supernets.data_options import add_data_options
from supernets.export_formats import FORMATS
from supernets.nasnet_subnet import IMAGENET_SIDE, STEMS
from supernets.retrain_config import RetrainConfig
from supernets.training_command import add_recipe_options, add_run_options

PROGRAM = "supernet-retrain"


def build_parser() -> argparse.ArgumentParser:
    """The options of ``supernet-retrain``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Train an exported subnet from scratch, or on from its inherited weights. "
        "Ctrl-C saves and exits; --resume continues.",
        allow_abbrev=False,
    )
    add_config_option(parser)
    add = parser.add_argument_group(
        "network", "Options of data that are not given are those the subnet was exported with."
    ).add_argument
    add("--subnet", type=Path, metavar="FOLDER", help="exported subnet (required)")
    add(
        "--from-scratch",
        dest="finetune",
        action="store_false",
        default=False,
        help="start from fresh weights (this is the default)",
    )
    add("--finetune", action="store_true", help="start from the subnet's weights")
    _add_size_options(parser)
    add_data_options(parser)
    _add_training_options(parser)
    add_run_options(parser).add_argument(
        "--formats",
        nargs="*",
        choices=FORMATS,
        metavar="FORMAT",
        help=f"written besides the weights, some of {', '.join(FORMATS)} (default: all there are)",
    )
    return parser


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "size of the network",
        "For fresh weights; what is not given is as exported. --stem is asked for where the subnet "
        f"was exported for images of less than {IMAGENET_SIDE} pixels and these are larger, or the "
        "reverse.",
    ).add_argument
    add("--channels", type=int, metavar="C", help="first width (default: the subnet's)")
    add("--layers", type=int, metavar="N", help="nasnet, darts: cells (default: the subnet's)")
    add("--cells-per-stage", type=int, metavar="N", help="nasbench201 (default: the subnet's)")
    add("--stem", choices=STEMS, help="nasnet, darts: imagenet has stride 8 (default: see above)")


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    defaults = RetrainConfig()
    group = parser.add_argument_group("training")
    add_recipe_options(group, weight_decay=defaults.weight_decay, warmup_lr=defaults.warmup_lr)
    add = group.add_argument
    add("--epochs", type=int, default=defaults.epochs, metavar="N", help="(default: 200)")
    add("--opt-eps", type=float, metavar="E", help="its epsilon (default: the optimizer's)")
    add(
        "--opt-betas",
        type=float,
        nargs="+",
        metavar="B",
        help="its betas (default: the optimizer's)",
    )
    add("--opt-alpha", type=float, metavar="A", help="RMSProp's decay (default: the optimizer's)")
    add("--momentum", type=float, metavar="M", help="(default: 0.9 where the optimizer has it)")
    add("--lr", type=float, default=defaults.lr, metavar="LR", help="peak rate (default: 0.1)")
    add("--min-lr", type=float, default=defaults.min_lr, metavar="LR", help="(default: 0)")
    add("--warmup-epochs", type=int, default=0, metavar="N", help="(default: 0)")
    add(
        "--aux-weight",
        type=float,
        default=defaults.aux_weight,
        metavar="W",
        help="nasnet, darts: of the loss of an auxiliary head, which is not handed over "
        "(default: 0, no such head)",
    )
    add(
        "--drop-path-ramp",
        action="store_true",
        help="let the rates of --drop-path grow from 0 during the training (default: no)",
    )
    add("--mixup-prob", type=float, default=1.0, metavar="P", help="of either (default: 1)")
    add(
        "--mixup-switch-prob",
        type=float,
        default=defaults.mixup_switch_prob,
        metavar="P",
        help="of CutMix where both are on (default: 0.5)",
    )
    add("--mixup-off-epoch", type=int, metavar="N", help="epochs with either (default: all)")
    add(
        "--ema-warmup",
        action=argparse.BooleanOptionalAction,
        default=defaults.ema_warmup,
        help="let the average forget the first steps sooner (default: yes)",
    )
    add("--batch-size", type=int, default=256, metavar="N", help="per process (default: 256)")
    add("--seed", type=int, default=0, metavar="N", help="all but the splits (default: 0)")
    add(
        "--split-seed",
        type=int,
        metavar="N",
        help="of the splits (default: the subnet's, with --dataset 0)",
    )
