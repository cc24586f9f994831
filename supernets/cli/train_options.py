"""The options of ``supernet-train``, and the recipe and supernet settings they stand for."""

from __future__ import annotations

import argparse
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.cli.command_parser import command_parser
from supernets.cli.data_options import add_data_options
from supernets.cli.training_run import (
    add_recipe_options,
    add_run_options,
    check_run_options,
)
from supernets.networks.names import BN_MODES, OFA_WEIGHTS, STEMS
from supernets.spaces.factory import NASNET_SPACES, SPACES
from supernets.training.path_sampling import PATHS
from supernets.training.phases import EPOCHS, LRS, PHASES, WARMUP_EPOCHS
from supernets.training.supernet_config import TrainConfig

PROGRAM = "supernet-train"
PROGRESSIVE = "progressive"

# The spaces each option of the supernet is for; options that are not given take its defaults.
_SPACES_OF_OPTION = {
    "channels": ("nasbench201", *NASNET_SPACES),
    "cells_per_stage": ("nasbench201",),
    "bn_mode": ("nasbench201",),
    "layers": NASNET_SPACES,
    "stem": NASNET_SPACES,
    "width": ("mobilenetv3",),
    "resolutions": ("mobilenetv3",),
    "strides": ("mobilenetv3",),
    "kernel_transform": ("mobilenetv3",),
    "from_ofa": ("mobilenetv3",),
    "ofa_weights": ("mobilenetv3",),
}
# The same of options that are 0 unless they are given.
_SPACES_OF_RATE = {
    "drop_path": ("mobilenetv3", *NASNET_SPACES),
    "aux_weight": NASNET_SPACES,
}
_DEFAULT_PATHS = {
    "nasbench201": "fair",
    "mobilenetv3": "sandwich",
    **dict.fromkeys(NASNET_SPACES, "uniform"),
}
# What progressive shrinking sets per phase.
_PHASE_OPTIONS = {
    "epochs": "phase_epochs",
    "warmup_epochs": "phase_warmup_epochs",
    "lr": "phase_lrs",
    "min_lr": None,
    "num_paths": None,
}


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-train``."""
    parser = command_parser(
        PROGRAM,
        "Train a weight-sharing supernet. Ctrl-C saves and exits; --resume continues.",
    )
    defaults = TrainConfig()
    _add_supernet_options(parser)
    add_data_options(parser)

    group = parser.add_argument_group("training")
    add = group.add_argument
    add(
        "--paths",
        choices=(*PATHS, PROGRESSIVE),
        help="paths of a step (default: fair for nasbench201, sandwich for mobilenetv3, uniform "
        "for others)",
    )
    add(
        "--macs-bins",
        type=kinds.NON_NEGATIVE,
        nargs=3,
        metavar=("MIN", "MAX", "NUM"),
        help="of --paths macs-bins: NUM bins of equal width from MIN to MAX MACs (default: none)",
    )
    add(
        "--num-paths", type=kinds.BATCH, metavar="K", help="paths per step (default: the sampler's)"
    )
    add("--epochs", type=kinds.NON_NEGATIVE_INT, metavar="N", help="(default: 100)")
    add("--batch-size", type=kinds.BATCH, default=64, metavar="N", help="per process (default: 64)")
    add("--lr", type=kinds.POSITIVE, metavar="LR", help="peak rate (default: 0.025)")
    add(
        "--momentum", type=kinds.RATE, default=defaults.momentum, metavar="M", help="(default: 0.9)"
    )
    add("--min-lr", type=kinds.NON_NEGATIVE, metavar="LR", help="(default: 0.001)")
    add("--warmup-epochs", type=kinds.NON_NEGATIVE_INT, metavar="N", help="(default: 0)")
    add_recipe_options(group, weight_decay=defaults.weight_decay, warmup_lr=defaults.warmup_lr)
    add(
        "--inactive-grads",
        choices=("zero", "skip"),
        help="gradients of operations off the path; with zero, weight decay and momentum move "
        "them (default: zero; skip for nasnet and darts)",
    )
    add(
        "--aux-weight",
        type=kinds.NON_NEGATIVE,
        default=defaults.aux_weight,
        metavar="W",
        help="nasnet, darts: add an auxiliary head, whose loss has this weight (default: 0, none)",
    )
    add(
        "--num-probes",
        type=kinds.NON_NEGATIVE_INT,
        default=defaults.num_probes,
        metavar="N",
        help="architectures whose validation accuracy is logged per epoch (default: 4)",
    )
    add("--seed", type=kinds.SEED, default=0, metavar="N", help="weights, paths, data (default: 0)")
    _add_phase_options(parser)
    add_run_options(parser).add_argument(
        "--sync-bn", action="store_true", help="BatchNorm over all processes (default: no)"
    )
    return parser


def _add_supernet_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("supernet").add_argument
    add("--space", choices=SPACES, default="nasbench201", help="(default: nasbench201)")
    add(
        "--channels",
        type=kinds.CHANNELS,
        metavar="C",
        help="nasbench201, nasnet, darts: width of the first cells (default: 16)",
    )
    add("--cells-per-stage", type=kinds.CELLS, metavar="N", help="nasbench201 (default: 5)")
    add("--bn-mode", choices=BN_MODES, help="nasbench201: BatchNorm policy (default: ref)")
    add(
        "--layers",
        type=kinds.CELLS,
        metavar="N",
        help="nasnet, darts: number of cells (default: 8)",
    )
    add(
        "--stem",
        choices=STEMS,
        help="nasnet, darts: one convolution, or three that divide the sides by 8 (default: "
        "imagenet for images of 96 pixels and more, else cifar)",
    )
    add(
        "--width",
        type=kinds.WIDTH,
        metavar="M",
        help="mobilenetv3: width multiplier (default: 1.0)",
    )
    add(
        "--resolutions",
        type=kinds.PIXELS,
        nargs="+",
        metavar="PX",
        help="mobilenetv3: sides of the images to train and search (default: the images')",
    )
    add(
        "--strides",
        type=kinds.Whole(1, 2),
        nargs="+",
        metavar="S",
        help="mobilenetv3: of the stem and the five stages (default: 2 2 2 2 1 2; for 32 pixels "
        "2 1 2 2 1 1)",
    )
    add(
        "--kernel-transform",
        action=argparse.BooleanOptionalAction,
        help="mobilenetv3: smaller kernels are transformed centres of larger ones (default: yes)",
    )
    add(
        "--from-ofa",
        type=kinds.path,
        metavar="FILE",
        help="mobilenetv3: start from released OFA weights (default: fresh weights)",
    )
    add(
        "--ofa-weights",
        choices=OFA_WEIGHTS,
        help="averaged or raw ones, where such a file has both (default: ema)",
    )


def _add_phase_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "progressive shrinking", f"one value for each of the phases {', '.join(PHASES)}"
    )
    add = group.add_argument
    for name, kind, defaults in (
        ("--phase-epochs", kinds.NON_NEGATIVE_INT, EPOCHS),
        ("--phase-warmup-epochs", kinds.NON_NEGATIVE_INT, WARMUP_EPOCHS),
        ("--phase-lrs", kinds.POSITIVE, LRS),
    ):
        shown = " ".join(str(value) for value in defaults)
        add(name, type=kind, nargs="+", metavar="X", help=f"(default: {shown})")
    add(
        "--kd-ratio",
        type=kinds.NON_NEGATIVE,
        metavar="R",
        help="weight of the teacher's labels after the first phase (default: 1)",
    )


def check_options(args: argparse.Namespace) -> None:
    """Fills in what depends on other options, and rejects what does not go together.

    Raises:
        ValueError: If an option that was given would have no effect.
    """
    check_run_options(args)
    given = [name for name in _SPACES_OF_OPTION if getattr(args, name) is not None]
    given += [name for name in _SPACES_OF_RATE if getattr(args, name) > 0]
    for name in given:
        spaces = (_SPACES_OF_OPTION | _SPACES_OF_RATE)[name]
        if args.space not in spaces:
            *others, last = spaces
            shown = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(f"{_flag(name)} is for --space {shown}, not {args.space}.")
    if args.paths is None:
        args.paths = _DEFAULT_PATHS.get(args.space, "uniform")
    if args.inactive_grads is None:
        args.inactive_grads = "skip" if args.space in NASNET_SPACES else "zero"
    _check_macs_bins(args)
    is_progressive = args.paths == PROGRESSIVE
    if is_progressive and args.space != "mobilenetv3":
        raise ValueError("--paths progressive is for --space mobilenetv3.")
    if is_progressive and args.from_ofa is not None:
        raise ValueError(
            "--paths progressive trains all phases itself; leave --from-ofa out, or choose other "
            "--paths to go on from released weights."
        )
    for name, phase_name in _PHASE_OPTIONS.items():
        if is_progressive and getattr(args, name) is not None:
            instead = f"use {_flag(phase_name)}" if phase_name else "leave it out"
            raise ValueError(f"{_flag(name)} differs by phase with --paths progressive; {instead}.")
        if not is_progressive and phase_name and getattr(args, phase_name) is not None:
            raise ValueError(f"{_flag(phase_name)} is for --paths progressive.")
    if not is_progressive and args.kd_ratio is not None:
        raise ValueError("--kd-ratio is for --paths progressive, which has a teacher.")
    if args.ofa_weights is not None and args.from_ofa is None:
        raise ValueError("--ofa-weights says which of the weights of --from-ofa to take; give it.")
    if args.epochs == 0 and args.from_ofa is None:
        raise ValueError("--epochs 0 stores released weights as they are; it needs --from-ofa.")
    if args.dataset is None:
        args.dataset = "digits"
    if args.image_size is None and args.resolutions:
        args.image_size = max(args.resolutions)


def _check_macs_bins(args: argparse.Namespace) -> None:
    if (args.paths == "macs-bins") != (args.macs_bins is not None):
        raise ValueError(
            "--paths macs-bins and --macs-bins MIN MAX NUM go together; give both or neither."
        )
    if args.macs_bins is not None:
        minimum, maximum, num_bins = args.macs_bins
        if not float(num_bins).is_integer():
            raise ValueError(
                f"The third value of --macs-bins is a number of bins, got {num_bins:g}."
            )
        args.macs_bins = (minimum, maximum, int(num_bins))


def supernet_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings of the supernet that were given."""
    names = [name for name in _SPACES_OF_OPTION if name not in ("from_ofa", "ofa_weights")]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return given | {"auxiliary": True} if args.aux_weight > 0 else given


def train_config(args: argparse.Namespace, amp: bool) -> TrainConfig:
    """Builds the recipe; with progressive shrinking it is that of no phase in particular."""
    given = {
        name: getattr(args, name)
        for name in ("epochs", "lr", "min_lr", "warmup_epochs", "kd_ratio")
        if getattr(args, name) is not None
    }
    return TrainConfig(
        opt=args.opt,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        decay_bn_bias=args.decay_bn_bias,
        sched=args.sched,
        warmup_lr=args.warmup_lr,
        label_smoothing=args.label_smoothing,
        mixup=args.mixup,
        cutmix=args.cutmix,
        dropout=args.dropout,
        drop_path=args.drop_path,
        aux_weight=args.aux_weight,
        clip_grad=args.clip_grad,
        clip_value=args.clip_value,
        ema_decay=args.ema_decay,
        inactive_grads=args.inactive_grads,
        amp=amp,
        channels_last=args.channels_last,
        sync_bn=args.sync_bn,
        num_probes=args.num_probes,
        seed=args.seed,
        **given,
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
