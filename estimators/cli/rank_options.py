"""The options of ``supernet-rank``."""

from __future__ import annotations

import argparse

import supernets.runtime.option_types as kinds
from estimators.executors.settings import ExecutorSettings
from estimators.scores.names import BENCHMARK_SCORES, SCORES
from estimators.scores.settings import RANKED, MultiScoreSettings, TableSettings
from supernets.cli.command_line import add_amp_option, add_machine_options
from supernets.cli.command_parser import command_parser
from supernets.cli.option_flags import add_options, check_family, flag, from_args

PROGRAM = "supernet-rank"


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-rank``."""
    parser = command_parser(
        PROGRAM,
        "Compare cheap scores of subnets with what the subnets are truly worth. "
        "Ctrl-C stops; the same command again continues.",
    )
    add = parser.add_argument_group("what to rank").add_argument
    add(
        "--supernet",
        nargs="+",
        type=kinds.path,
        metavar="FILE",
        help="checkpoints of supernet-train, such as those of several seeds (required)",
    )
    add(
        "--data-dir",
        type=kinds.path,
        metavar="DIR",
        help="where the data is (default: as in training)",
    )
    add(
        "--num-archs",
        type=kinds.Whole(3, kinds.POOL.most),
        metavar="N",
        help="random architectures (default: 200)",
    )
    add("--seed", type=kinds.SEED, default=0, metavar="N", help="of architectures (default: 0)")
    add(
        "--archs",
        type=kinds.path,
        metavar="FILE",
        help="text file of architectures, one a line, in place of random ones (default: none)",
    )

    group = parser.add_argument_group("scores")
    add = group.add_argument
    add(
        "--estimators",
        nargs="+",
        choices=(*SCORES, *BENCHMARK_SCORES),
        default=list(SCORES),
        metavar="NAME",
        help=f"which to compare, of {', '.join(SCORES)} (default: all), and "
        f"{', '.join(BENCHMARK_SCORES)}, costs as the tables of NAS-Bench-201 have them",
    )
    add_options(group, MultiScoreSettings)

    group = parser.add_argument_group("truth")
    add_options(group, TableSettings)
    add = group.add_argument
    add(
        "--truth-epochs",
        type=kinds.POSITIVE_INT,
        metavar="N",
        help="instead of a table, train every architecture from scratch for N epochs",
    )
    add("--truth-lr", type=kinds.POSITIVE, metavar="LR", help="of these trainings (default: 0.1)")
    add(
        "--truth-batch-size", type=kinds.BATCH, metavar="N", help="of these trainings (default: 64)"
    )
    add(
        "--truth-dir",
        type=kinds.path,
        metavar="DIR",
        help="where these trainings are kept for later comparisons (default: in --output)",
    )
    add(
        "--truth-test-size",
        type=kinds.NON_NEGATIVE_INT,
        metavar="N",
        help="test images behind each accuracy of the table, for the noise ceiling (default: that "
        "of NAS-Bench-101 and of columns named after CIFAR-10's test set, otherwise unknown)",
    )
    add(
        "--truth-seed-columns",
        type=kinds.name,
        nargs="+",
        metavar="NAME",
        help="columns of the table with the truths of single seeds, for the noise ceiling "
        "(default: none)",
    )

    add = parser.add_argument_group("comparison").add_argument
    add(
        "--top-k",
        type=kinds.POSITIVE_INT,
        default=10,
        metavar="K",
        help="how many are the top (default: 10)",
    )
    add(
        "--num-bootstrap",
        type=kinds.BATCH,
        default=1000,
        metavar="N",
        help="resamples behind the 95%% intervals (default: 1000)",
    )
    add(
        "--num-known",
        type=kinds.AT_LEAST_TWO,
        metavar="N",
        help="architectures whose truth a combined score is fitted to (default: a fifth)",
    )
    add(
        "--stability",
        type=kinds.SHARE,
        default=0.98,
        metavar="R",
        help="rank correlation with the largest B at which a smaller one is enough (default: 0.98)",
    )

    group = parser.add_argument_group("run")
    add = group.add_argument
    add(
        "--output",
        type=kinds.path,
        metavar="DIR",
        help="folder for all files of the run (required)",
    )
    add_machine_options(group)
    add_amp_option(group)
    add_options(parser.add_argument_group("workers"), ExecutorSettings)
    return parser


def check_args(args: argparse.Namespace) -> MultiScoreSettings:
    """Checks that the options go together and returns the settings of the scores.

    Raises:
        ValueError: If they do not.
    """
    for name, what in (
        ("supernet", "one or more checkpoints of supernet-train"),
        ("output", "the folder for the run's files"),
    ):
        if getattr(args, name) is None:
            raise ValueError(f"{flag(name)} is required: {what}.")
    if (args.table is None) == (args.truth_epochs is None):
        raise ValueError(
            "The truth is either in a --table or trained for --truth-epochs; give one of them."
        )
    check_family(RANKED, args.estimators, args, by="--estimators")
    if args.table is not None:
        from_args(TableSettings, args)
    settings = from_args(MultiScoreSettings, args)
    for name in ("truth_lr", "truth_batch_size", "truth_dir"):
        if args.truth_epochs is None and getattr(args, name) is not None:
            raise ValueError(f"{flag(name)} needs --truth-epochs; leave it out.")
    for name in (
        *("table_column", "arch_column", "trust_pickle"),
        *("truth_test_size", "truth_seed_columns"),
    ):
        if args.table is None and getattr(args, name) is not None:
            raise ValueError(f"{flag(name)} needs --table; leave it out.")
    columns = args.truth_seed_columns
    if columns is not None and (len(columns) < 2 or len(set(columns)) < len(columns)):
        raise ValueError(
            f"--truth-seed-columns must be two or more different columns, got {' '.join(columns)}."
        )
    if args.archs is not None and args.num_archs is not None:
        raise ValueError("--archs says which architectures; leave --num-archs out.")
    for name, least in (
        ("truth_epochs", 1),
        ("truth_batch_size", 1),
        ("truth_test_size", 1),
        ("num_archs", 3),
        ("top_k", 1),
        ("num_bootstrap", 1),
        ("num_known", 2),
        ("seed", 0),
    ):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"{flag(name)} must be at least {least}, got {value}.")
    if not 0 < args.stability <= 1:
        raise ValueError(f"--stability must be above 0 and at most 1, got {args.stability}.")
    return settings
