"""The options of ``supernet-search`` with a differentiable algorithm."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import supernets.runtime.option_types as kinds
from estimators.scores.settings import TableSettings
from search.differentiable.search_config import (
    GRADIENTS,
    RELAXATIONS,
    GradientName,
    RelaxationName,
    SearchConfig,
    Stage,
)
from supernets.cli.command_parser import CommandParser, add_config_option, command_parser
from supernets.cli.config_file import read_config
from supernets.cli.data_options import add_data_options
from supernets.cli.option_flags import add_options, flag
from supernets.cli.training_run import add_run_options, check_run_options
from supernets.networks.names import BN_MODES, STEMS
from supernets.spaces.factory import NASNET_SPACES, RELAXED_SPACES
from supernets.training.recipe import SCHEDULES
from supernets.training.supernet_config import TrainConfig

PROGRAM = "supernet-search"
VAL_FRACTION = 0.5
#: Part of a stage's epochs in which DrNAS leaves alphas as they are.
_FROZEN_PART = 0.2
_DARTS_EPOCHS = (50,)
_DRNAS_EPOCHS = (50, 50)
_DRNAS_PARTIAL_CHANNELS = (4, 2)
#: Operations that DrNAS keeps in its second stage; all in its first.
_DRNAS_KEEP_OPS = {"nasbench201": 3, **dict.fromkeys(NASNET_SPACES, 4)}
_CLIP_GRAD = 5.0

Shape = Literal["darts", "drnas"]


@dataclass(frozen=True)
class Algorithm:
    """What an algorithm's name stands for.

    Args:
        relaxation: How alphas become weights of operations.
        gradient: Name of the gradient that alphas follow.
        shape: Whether the search has DARTS' one stage, or DrNAS' two.
    """

    relaxation: RelaxationName
    gradient: GradientName
    shape: Shape


ALGORITHMS = {
    "darts": Algorithm("softmax", "first-order", "darts"),
    "darts-tse": Algorithm("softmax", "tse-joint", "darts"),
    "drnas": Algorithm("dirichlet", "first-order", "drnas"),
    "drnas-tse": Algorithm("dirichlet", "tse-joint", "drnas"),
    "gdas": Algorithm("gumbel", "first-order", "darts"),
}
_SPACES_OF_OPTION = {
    "cells_per_stage": ("nasbench201",),
    "bn_mode": ("nasbench201",),
    "exclude_none": ("nasbench201",),
    "layers": NASNET_SPACES,
    "stem": NASNET_SPACES,
}


def is_asked_for(argv: Sequence[str] | None = None) -> bool:
    """Returns whether flags, or else their ``--config FILE``, name one of ``ALGORITHMS``.

    Args:
        argv: Arguments without the program's name; None for those of this process.
    """
    parser = CommandParser(PROGRAM, add_help=False)
    add_config_option(parser)
    parser.add_argument("--algorithm")
    known, _ = parser.parse_known_args(argv)
    name = known.algorithm
    if name is None and known.config is not None:
        try:
            name = read_config(known.config).get("algorithm")
        except ValueError:
            return False  # whoever parses it says what is wrong
    return isinstance(name, str) and name in ALGORITHMS


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-search`` with one of ``ALGORITHMS``."""
    parser = command_parser(
        PROGRAM,
        "Search by gradients of architecture parameters, which a network of all "
        "operations is trained with. Ctrl-C stops; the same command again continues.",
    )
    add = parser.add_argument_group("algorithm").add_argument
    add("--algorithm", choices=tuple(ALGORITHMS), default="darts", help="(default: darts)")
    add(
        "--relaxation",
        choices=RELAXATIONS,
        help="how architecture parameters become weights of operations (default: softmax for "
        "darts, dirichlet for drnas, gumbel for gdas)",
    )
    add(
        "--arch-gradient",
        choices=GRADIENTS,
        help="what architecture parameters follow; the second order needs --opt momentum "
        "(default: first-order, tse-joint for algorithms with tse)",
    )
    defaults = SearchConfig()
    add(
        "--tse-batches",
        type=kinds.BATCH,
        metavar="K",
        help=f"of tse: minibatches per step of the parameters (default: {defaults.tse_batches})",
    )
    add(
        "--alpha-lr",
        type=kinds.POSITIVE,
        default=defaults.alpha_lr,
        metavar="LR",
        help="(default: 0.0003)",
    )
    add(
        "--alpha-betas",
        type=kinds.RATE,
        nargs=2,
        default=defaults.alpha_betas,
        metavar="B",
        help="of Adam (default: 0.5 0.999)",
    )
    add(
        "--alpha-weight-decay",
        type=kinds.NON_NEGATIVE,
        metavar="WD",
        help="of Adam (default: 0.001; 0 with dirichlet-kl, which has a penalty in its place)",
    )
    add(
        "--macs-penalty",
        type=kinds.NON_NEGATIVE,
        default=0.0,
        metavar="W",
        help="weight, in nats, of the expected MACs of the mixture, in which every edge counts, "
        "relative to those of the heaviest operations on all edges (default: 0)",
    )
    add(
        "--max-skips",
        type=kinds.NON_NEGATIVE_INT,
        metavar="N",
        help="skip connections that a derived cell may have; the lightest ones beyond make way "
        "(default: any number)",
    )
    add(
        "--exclude-none",
        action="store_const",
        const=True,
        help="nasbench201: keep the heaviest operation other than none on every edge, as darts and "
        "nasnet always do (default: none may win)",
    )
    add("--seed", type=kinds.SEED, default=0, metavar="N", help="of everything (default: 0)")
    _add_stage_options(parser)
    _add_network_options(parser)
    add_data_options(parser, {"val_fraction": VAL_FRACTION})
    _add_recipe_options(parser)
    add_options(
        parser.add_argument_group(
            "table", "for the record alone: what the derived architecture is worth, by epoch"
        ),
        TableSettings,
    )
    add_run_options(parser, with_resume=False)
    return parser


def _add_stage_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "stages", "one value for each stage; what is given must be given for as many"
    ).add_argument
    add(
        "--epochs",
        type=kinds.POSITIVE_INT,
        nargs="+",
        metavar="N",
        help="(default: 50; 50 50 for drnas)",
    )
    add(
        "--partial-channels",
        type=kinds.POSITIVE_INT,
        nargs="+",
        metavar="K",
        help="one of every K channels goes through operations (default: 1; 4 2 for drnas)",
    )
    add(
        "--keep-ops",
        type=kinds.AT_LEAST_TWO,
        nargs="+",
        metavar="N",
        help="operations on every edge; all in the first stage (default: all; drnas in its second "
        "stage 3 for nasbench201, else 4)",
    )
    add(
        "--freeze-epochs",
        type=kinds.NON_NEGATIVE_INT,
        nargs="+",
        metavar="N",
        help="first epochs of a stage that train weights alone (default: 0; a fifth for drnas)",
    )


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("network").add_argument
    add("--space", choices=RELAXED_SPACES, default="nasbench201", help="(default: nasbench201)")
    add(
        "--channels",
        type=kinds.CHANNELS,
        metavar="C",
        help="width of the first cells (default: 16)",
    )
    add("--cells-per-stage", type=kinds.CELLS, metavar="N", help="nasbench201 (default: 5)")
    add(
        "--bn-mode",
        choices=[mode for mode in BN_MODES if mode != "affine"],
        help="nasbench201: BatchNorm policy (default: ref)",
    )
    add(
        "--layers",
        type=kinds.CELLS,
        metavar="N",
        help="nasnet, darts: number of cells (default: 8)",
    )
    add("--stem", choices=STEMS, help="nasnet, darts (default: by the size of the images)")


def _add_recipe_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("weights").add_argument
    add("--batch-size", type=kinds.BATCH, default=64, metavar="N", help="per process (default: 64)")
    add(
        "--opt",
        type=kinds.name,
        default="momentum",
        metavar="NAME",
        help="timm optimizer (default: momentum)",
    )
    add("--lr", type=kinds.POSITIVE, default=0.025, metavar="LR", help="peak rate (default: 0.025)")
    add("--min-lr", type=kinds.NON_NEGATIVE, default=0.001, metavar="LR", help="(default: 0.001)")
    add("--momentum", type=kinds.RATE, default=0.9, metavar="M", help="(default: 0.9)")
    add(
        "--weight-decay",
        type=kinds.NON_NEGATIVE,
        default=3e-4,
        metavar="WD",
        help="(default: 0.0003)",
    )
    add("--sched", choices=SCHEDULES, default="cosine", help="over all stages (default: cosine)")
    add("--warmup-epochs", type=kinds.NON_NEGATIVE_INT, default=0, metavar="N", help="(default: 0)")
    add(
        "--clip-grad",
        type=kinds.NON_NEGATIVE,
        metavar="NORM",
        help=f"largest gradient norm; 0 for none (default: {_CLIP_GRAD:g}; none with tse)",
    )


def check_options(args: argparse.Namespace) -> None:
    """Rejects what does not go together, or would have no effect.

    Raises:
        ValueError: If an option does.
    """
    check_run_options(args)
    for name, spaces in _SPACES_OF_OPTION.items():
        if getattr(args, name) is not None and args.space not in spaces:
            raise ValueError(
                f"{flag(name)} is for --space {' or '.join(spaces)}, not {args.space}."
            )
    if args.tse_batches is not None and not _gradient(args).startswith("tse"):
        raise ValueError(
            f"--tse-batches is for gradients of TSE, not for {_gradient(args)}; leave it out, or "
            "choose --arch-gradient tse-joint."
        )
    for name in ("table_column", "arch_column", "trust_pickle"):
        if getattr(args, name) is not None and args.table is None:
            raise ValueError(f"{flag(name)} is of --table; give that too, or leave it out.")
    if args.table is not None and args.table_column is None:
        raise ValueError("--table needs --table-column, the column of true accuracies.")
    if args.dataset is None:
        args.dataset = "digits"
    if args.val_fraction is None:
        args.val_fraction = VAL_FRACTION


def search_config(args: argparse.Namespace) -> SearchConfig:
    """Builds the settings of the search that the options ask for.

    Raises:
        ValueError: If a value is out of range, or the options of stages are of different lengths.
    """
    relaxation = args.relaxation or ALGORITHMS[args.algorithm].relaxation
    decay = args.alpha_weight_decay
    if decay is None:
        decay = 0.0 if relaxation == "dirichlet-kl" else SearchConfig().alpha_weight_decay
    return SearchConfig(
        relaxation=relaxation,
        gradient=_gradient(args),
        tse_batches=SearchConfig().tse_batches if args.tse_batches is None else args.tse_batches,
        alpha_lr=args.alpha_lr,
        alpha_betas=tuple(args.alpha_betas),
        alpha_weight_decay=decay,
        macs_penalty=args.macs_penalty,
        max_skips=args.max_skips,
        exclude_none=bool(args.exclude_none),
        stages=_stages(args),
        seed=args.seed,
    )


def _gradient(args: argparse.Namespace) -> GradientName:
    gradient: GradientName = args.arch_gradient or ALGORITHMS[args.algorithm].gradient
    return gradient


def _stages(args: argparse.Namespace) -> tuple[Stage, ...]:
    names = ("epochs", "partial_channels", "keep_ops", "freeze_epochs")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if len({len(values) for values in given.values()}) > 1:
        shown = ", ".join(f"{flag(name)} {' '.join(map(str, v))}" for name, v in given.items())
        raise ValueError(f"Options of stages must have as many values as there are, got {shown}.")
    is_drnas = ALGORITHMS[args.algorithm].shape == "drnas"
    epochs = given.get("epochs", _DRNAS_EPOCHS if is_drnas else _DARTS_EPOCHS)
    if given and "epochs" not in given and len(next(iter(given.values()))) != len(epochs):
        raise ValueError(
            f"{flag(next(iter(given)))} is for other stages than the {len(epochs)} of "
            f"{args.algorithm}; give --epochs for as many."
        )
    # DrNAS' own only fit its own number of stages
    has_shape = is_drnas and len(epochs) == len(_DRNAS_EPOCHS)
    none = [None] * len(epochs)
    partial = given.get(
        "partial_channels", _DRNAS_PARTIAL_CHANNELS if has_shape else [1] * len(epochs)
    )
    keep = given.get("keep_ops", (None, _DRNAS_KEEP_OPS[args.space]) if has_shape else none)
    freeze = given.get(
        "freeze_epochs", [round(_FROZEN_PART * n) if is_drnas else 0 for n in epochs]
    )
    return tuple(Stage(*values) for values in zip(epochs, partial, keep, freeze, strict=True))


def recipe(args: argparse.Namespace, config: SearchConfig, amp: bool) -> TrainConfig:
    """Builds the recipe that the weights are trained with.

    Raises:
        ValueError: If a value is out of range.
    """
    clip_grad = args.clip_grad
    if clip_grad is None and not config.uses_tse:
        clip_grad = _CLIP_GRAD
    return TrainConfig(
        epochs=config.epochs,
        opt=args.opt,
        lr=args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        sched=args.sched,
        min_lr=args.min_lr,
        warmup_epochs=args.warmup_epochs,
        clip_grad=clip_grad or None,
        inactive_grads="skip",
        amp=amp,
        channels_last=args.channels_last,
        num_probes=0,
        seed=args.seed,
    )


def network_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the settings of the network that were given."""
    names = ("channels", "cells_per_stage", "bn_mode", "layers", "stem")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}
