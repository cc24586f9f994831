"""The options of ``supernet-retrain``, and the recipe they stand for."""

from __future__ import annotations

import argparse

import supernets.runtime.option_types as kinds
from supernets.cli.command_parser import command_parser
from supernets.cli.data_options import add_data_options
from supernets.cli.training_run import (
    add_recipe_options,
    add_run_options,
    check_run_options,
)
from supernets.export.formats import FORMATS
from supernets.networks.names import IMAGENET_SIDE, STEMS
from supernets.spaces.factory import SPACES
from supernets.training.standalone_config import RetrainConfig

PROGRAM = "supernet-retrain"


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-retrain``."""
    parser = command_parser(
        PROGRAM,
        "Train an exported subnet from scratch, or on from its inherited weights; or "
        "an architecture from scratch. Ctrl-C saves and exits; --resume continues.",
    )
    add = parser.add_argument_group(
        "network",
        "A subnet or an architecture. Options of data that are not given are those the subnet was "
        "exported with; with --arch they are the defaults shown.",
    ).add_argument
    add("--subnet", type=kinds.path, metavar="FOLDER", help="exported subnet (this or --arch)")
    add(
        "--arch",
        type=kinds.architecture,
        metavar="ARCH",
        help="architecture in the space's notation, or a best.json of supernet-search (this or "
        "--subnet)",
    )
    add("--space", choices=SPACES, help="of --arch (default: that of best.json or the subnet)")
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
        "For fresh weights; what is not given is as exported, or with --arch as in supernet-train. "
        "--stem is asked for where the subnet was exported for images of less than "
        f"{IMAGENET_SIDE} pixels and these are larger, or the reverse. mobilenetv3 has none of "
        "these: with --arch it has width 1.0, strides for ImageNet and the resolution of the "
        "images; with others it is to be exported and passed as --subnet.",
    ).add_argument
    add(
        "--channels",
        type=kinds.CHANNELS,
        metavar="C",
        help="first width (default: the subnet's, or 16)",
    )
    add(
        "--layers",
        type=kinds.CELLS,
        metavar="N",
        help="nasnet, darts: cells (default: the subnet's, or 8)",
    )
    add(
        "--cells-per-stage",
        type=kinds.CELLS,
        metavar="N",
        help="nasbench201 (default: the subnet's, or 5)",
    )
    add(
        "--stem",
        choices=STEMS,
        help="nasnet, darts: imagenet has stride 8 (default: see above; with --arch imagenet for "
        f"images of {IMAGENET_SIDE} pixels and more, else cifar)",
    )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    defaults = RetrainConfig()
    group = parser.add_argument_group("training")
    add_recipe_options(group, weight_decay=defaults.weight_decay, warmup_lr=defaults.warmup_lr)
    add = group.add_argument
    add(
        "--epochs",
        type=kinds.POSITIVE_INT,
        default=defaults.epochs,
        metavar="N",
        help="(default: 200)",
    )
    add(
        "--opt-eps",
        type=kinds.NON_NEGATIVE,
        metavar="E",
        help="its epsilon (default: the optimizer's)",
    )
    add(
        "--opt-betas",
        type=kinds.RATE,
        nargs="+",
        metavar="B",
        help="its betas (default: the optimizer's)",
    )
    add(
        "--opt-alpha",
        type=kinds.RATE,
        metavar="A",
        help="RMSProp's decay (default: the optimizer's)",
    )
    add(
        "--momentum", type=kinds.RATE, metavar="M", help="(default: 0.9 where the optimizer has it)"
    )
    add(
        "--lr",
        type=kinds.POSITIVE,
        default=defaults.lr,
        metavar="LR",
        help="peak rate (default: 0.1)",
    )
    add(
        "--min-lr",
        type=kinds.NON_NEGATIVE,
        default=defaults.min_lr,
        metavar="LR",
        help="(default: 0)",
    )
    add("--warmup-epochs", type=kinds.NON_NEGATIVE_INT, default=0, metavar="N", help="(default: 0)")
    add(
        "--aux-weight",
        type=kinds.NON_NEGATIVE,
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
    add(
        "--mixup-prob",
        type=kinds.PROBABILITY,
        default=1.0,
        metavar="P",
        help="of either (default: 1)",
    )
    add(
        "--mixup-switch-prob",
        type=kinds.PROBABILITY,
        default=defaults.mixup_switch_prob,
        metavar="P",
        help="of CutMix where both are on (default: 0.5)",
    )
    add(
        "--mixup-off-epoch",
        type=kinds.POSITIVE_INT,
        metavar="N",
        help="epochs with either (default: all)",
    )
    add(
        "--ema-warmup",
        action=argparse.BooleanOptionalAction,
        default=defaults.ema_warmup,
        help="let the average forget the first steps sooner (default: yes)",
    )
    add(
        "--batch-size",
        type=kinds.BATCH,
        default=256,
        metavar="N",
        help="per process (default: 256)",
    )
    add("--seed", type=kinds.SEED, default=0, metavar="N", help="all but the splits (default: 0)")
    add(
        "--split-seed",
        type=kinds.SEED,
        metavar="N",
        help="of the splits (default: the subnet's, with --dataset or --arch 0)",
    )


def check_options(args: argparse.Namespace) -> None:
    """Fills in what depends on other options, and rejects what does not go together.

    Raises:
        ValueError: If an option is missing, or does not go with another.
    """
    if args.subnet is None and args.arch is None:
        raise ValueError("--subnet or --arch is required: an exported subnet, or an architecture.")
    if args.subnet is not None and args.arch is not None:
        raise ValueError("--subnet and --arch both say what to train; leave one of them out.")
    check_run_options(args)
    if args.arch is not None and args.finetune:
        raise ValueError(
            "--arch is an architecture without weights; leave out --finetune, or pass --subnet."
        )
    if args.drop_path_ramp and args.drop_path == 0:
        raise ValueError("--drop-path-ramp needs the rate it ends with; pass --drop-path.")
    if args.arch is not None and args.dataset is None:
        args.dataset = "digits"


def retrain_config(args: argparse.Namespace, amp: bool) -> RetrainConfig:
    """Builds the recipe that the options ask for."""
    return RetrainConfig(
        epochs=args.epochs,
        opt=args.opt,
        opt_eps=args.opt_eps,
        opt_betas=None if args.opt_betas is None else tuple(args.opt_betas),
        opt_alpha=args.opt_alpha,
        lr=args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        decay_bn_bias=args.decay_bn_bias,
        sched=args.sched,
        min_lr=args.min_lr,
        warmup_epochs=args.warmup_epochs,
        warmup_lr=args.warmup_lr,
        label_smoothing=args.label_smoothing,
        aux_weight=args.aux_weight,
        drop_path_ramp=args.drop_path_ramp,
        mixup=args.mixup,
        cutmix=args.cutmix,
        mixup_prob=args.mixup_prob,
        mixup_switch_prob=args.mixup_switch_prob,
        mixup_off_epoch=args.mixup_off_epoch,
        clip_grad=args.clip_grad,
        clip_value=args.clip_value,
        ema_decay=args.ema_decay,
        ema_warmup=args.ema_warmup,
        amp=amp,
        channels_last=args.channels_last,
        seed=args.seed,
    )
