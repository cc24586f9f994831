"""The options of ``supernet-search``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import supernets.runtime.option_types as kinds
from estimators.executors.settings import ExecutorSettings
from estimators.scores.names import COST_SCORES, PROXY_SCORES
from estimators.scores.settings import ESTIMATORS, EstimatorSettings
from search.algorithms.base import SearchAlgorithm
from search.algorithms.constraints import constraints_within
from search.algorithms.registry import ALGORITHMS, num_random_trials
from search.cli.differentiable_options import ALGORITHMS as BY_GRADIENTS
from supernets.cli.command_line import (
    add_amp_option,
    add_machine_options,
    parse_args,
)
from supernets.cli.command_parser import command_parser
from supernets.cli.option_flags import (
    add_family_options,
    add_options,
    check_family,
    flag,
    from_args,
)
from supernets.cost.analytic import METRICS, Constraint
from supernets.runtime.wording import plural
from supernets.spaces.factory import SPACES, TABLE_SPACES

PROGRAM = "supernet-search"
#: Which subnet is exported. The default was measured, so that it is known to be good; a predictor
#: of few trials may be wrong about what it puts first.
EXPORT_CHOICES = ("measured", "predicted")
#: Algorithms whose last predictor can put an architecture first.
PREDICTING = tuple(name for name, entry in ALGORITHMS.items() if entry.predicts)
#: Those that go with --report-of.
REPORT_OPTIONS = ("report_of", "output", "config", "quiet", "verbose")


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-search``."""
    parser = command_parser(
        PROGRAM,
        "Search a trained supernet, or a table, for architectures. "
        "Ctrl-C stops; the same command again continues.",
    )
    add = parser.add_argument_group("what to search").add_argument
    add(
        "--supernet",
        type=kinds.path,
        metavar="FILE",
        help="checkpoint of supernet-train; from_scratch takes networks and data from it, not "
        "weights",
    )
    add(
        "--space",
        choices=(*SPACES, *TABLE_SPACES),
        help="needed without --supernet (default: the supernet's)",
    )
    add(
        "--data-dir",
        type=kinds.path,
        metavar="DIR",
        help="where the data is (default: as in training)",
    )
    add("--resolution", type=kinds.PIXELS, metavar="PX", help="search this one only (default: all)")
    for metric in METRICS:
        unit, example = ("MS", "milliseconds") if metric == "latency" else ("N", "such as 60e6")
        for bound, word in (("min", "least"), ("max", "most")):
            add(
                f"--{bound}-{metric}",
                type=kinds.NON_NEGATIVE,
                metavar=unit,
                help=f"{word} {metric} of a subnet, {example} (default: any)",
            )
    add(
        "--latency-table",
        type=kinds.path,
        metavar="FILE",
        help="of supernet-latency; its prediction is a cost of the best (default: none)",
    )

    _add_search_options(parser.add_argument_group("search"))

    group = parser.add_argument_group("estimator")
    add = group.add_argument
    add("--estimator", choices=tuple(ESTIMATORS), default="tse", help="(default: tse)")
    for kind in ESTIMATORS.values():
        add_options(group, kind)

    group = parser.add_argument_group("run")
    add = group.add_argument
    add(
        "--output",
        type=kinds.path,
        metavar="DIR",
        help="folder for all files of the run (required)",
    )
    add(
        "--export",
        type=kinds.path,
        metavar="DIR",
        help="export the best subnet there, with inherited weights (default: no)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace an export in --export that is of another search, the files it is made of and "
        "no others (default: no)",
    )
    add(
        "--export-choice",
        choices=EXPORT_CHOICES,
        help="which subnet --export writes: the best measured one, or what the last predictor of "
        f"{' or '.join(PREDICTING)} puts first, as WeakNAS's paper does; it may never have been "
        "measured (default: measured)",
    )
    add(
        "--test-column",
        type=kinds.name,
        metavar="NAME",
        help="column of a table that the search does not see: values of the best trial, of what "
        "its predictor puts first, and the best of all trials (default: none)",
    )
    add(
        "--report",
        action="store_const",
        const=True,
        help="write report.html at the end of the run (default: no)",
    )
    add(
        "--report-of",
        nargs="+",
        type=kinds.path,
        metavar="DIR",
        help="search nothing; write one report.html to --output over the searches in these folders",
    )
    add_machine_options(group)
    add_amp_option(group)
    add_options(parser.add_argument_group("workers"), ExecutorSettings)
    return parser


def _add_search_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags of algorithms and their predictors."""
    add = group.add_argument
    add(
        "--algorithm",
        choices=(*ALGORITHMS, *BY_GRADIENTS),
        default="structural-bo",
        help="(default: structural-bo, for up to some hundred trials); "
        f"{', '.join(BY_GRADIENTS)} need no supernet and have options of their own, see "
        "--algorithm darts --help",
    )
    add(
        "--num-trials",
        type=kinds.POSITIVE_INT,
        default=100,
        metavar="N",
        help="in the end (default: 100)",
    )
    sizes = ", ".join(f"{entry.batch_size} of {name}" for name, entry in ALGORITHMS.items())
    add("--batch-size", type=kinds.BATCH, metavar="M", help=f"asked for at once (default: {sizes})")
    add("--seed", type=kinds.SEED, default=0, metavar="N", help="(default: 0)")
    add_family_options(group, {name: entry.options for name, entry in ALGORITHMS.items()})


def check_args(args: argparse.Namespace, given: Sequence[str]) -> EstimatorSettings:
    """Checks that the options go together and returns the settings of the estimator.

    Args:
        args: The parsed options.
        given: Names of those that were given.

    Raises:
        ValueError: If they do not.
    """
    if args.output is None:
        raise ValueError("--output is required: the folder for the run's files.")
    if args.estimator == "table":
        if args.amp is not None:
            raise ValueError("--estimator table computes nothing; leave --amp out.")
        if from_args(ExecutorSettings, args).is_elsewhere:
            raise ValueError(
                "--estimator table looks values up at once; leave --workers and --ray out."
            )
    elif args.test_column is not None:
        raise ValueError("--test-column is of --table; use --estimator table, or leave it out.")
    if args.estimator != "table" and args.supernet is None:
        raise ValueError(f"--estimator {args.estimator} needs --supernet.")
    check_family(ESTIMATORS, args.estimator, args, by="--estimator")
    settings = from_args(ESTIMATORS[args.estimator], args)
    if args.export_choice is not None and args.export is None:
        raise ValueError("--export-choice is of --export; give that too, or leave it out.")
    if args.export_choice == "predicted" and args.algorithm not in PREDICTING:
        raise ValueError(
            f"--export-choice predicted needs a predictor, which --algorithm {args.algorithm} does "
            f"not fit to the end; use {' or '.join(PREDICTING)}, or measured."
        )
    family = {name: entry.options for name, entry in ALGORITHMS.items()}
    check_family(family, args.algorithm, args, by="--algorithm")
    if args.race_for is not None and from_args(ExecutorSettings, args).is_elsewhere:
        raise ValueError(
            "--race-for compares a candidate with all finished before it, and workers do not see "
            "each other's; leave it out, or --workers and --ray."
        )
    if args.estimator == "from_scratch" and args.export is not None:
        raise ValueError(
            "--export hands over weights inherited from the supernet, and from_scratch neither "
            "looks at those nor keeps its own; leave it out, then give best.json of --output to "
            "supernet-export --arch, and what that writes to supernet-retrain."
        )
    if args.overwrite and args.export is None:
        raise ValueError("--overwrite is about the export; pass --export, or leave it out.")
    if args.export is not None and args.export.resolve() == args.output.resolve():
        raise ValueError(
            f"--export {args.export} is --output, which holds the search; name another folder."
        )
    for name in ("min_latency", "max_latency"):
        if getattr(args, name) is not None and args.latency_table is None:
            raise ValueError(f"{flag(name)} needs --latency-table, from supernet-latency.")
    if args.supernet is None:
        if args.space is None:
            raise ValueError("--estimator table needs --space (or --supernet).")
        for name in ("data_dir", "export", "num_workers", "device"):
            if name in given:
                raise ValueError(f"{flag(name)} needs --supernet.")
        proxies = [name for name in args.predictor_inputs or () if name in PROXY_SCORES]
        if proxies:
            raise ValueError(
                f"--predictor-inputs {' '.join(proxies)} need images and so --supernet; only "
                f"{' and '.join(COST_SCORES)} do not."
            )
        if args.space in TABLE_SPACES:
            _check_without_networks(args)
    return settings


def check_search_options(
    args: argparse.Namespace,
    given: Sequence[str],
    algorithm: SearchAlgorithm,
    settings: Mapping[str, Any],
) -> None:
    """Makes sure that nothing was given that has no effect on this search.

    Args:
        args: The parsed options.
        given: Names of those that were given.
        algorithm: The algorithm before it has been told anything.
        settings: The ``algorithm_settings`` of the algorithm.

    Raises:
        ValueError: If something was.
    """
    for name in ("pool", "pool_size"):
        if getattr(args, name) is not None and algorithm.problem.is_enumerable:
            raise ValueError(
                f"{flag(name)} is for spaces too large to rank whole, and space "
                f"{algorithm.space.name!r} is ranked whole; leave it out."
            )
    num_random = num_random_trials(settings)
    is_asked_for = not {"num_initial", "population_size"}.isdisjoint(given)
    if is_asked_for and 0 < args.num_trials <= num_random:
        raise ValueError(
            f"{args.algorithm} begins with {plural(num_random, 'random trial')}, which would be "
            f"all of --num-trials {args.num_trials}; ask for more of them, for fewer random ones, "
            "or for --algorithm random."
        )


def _check_without_networks(args: argparse.Namespace) -> None:
    """Makes sure that nothing needs costs, of a space that there are only tables of."""
    bounds = [f"{bound}_{metric}" for metric in METRICS for bound in ("min", "max")]
    for name in (*bounds, "latency_table", "predictor_inputs"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"{flag(name)} needs networks, to count or measure what they cost, and of space "
                f"{args.space!r} there are only tables; leave it out."
            )


def given_names(argv: Sequence[str] | None) -> list[str]:
    """Lists the options that are given, at the values of their defaults or not.

    Args:
        argv: Arguments without the program's name, which ``parse_args`` has accepted; None for
            those of this process.
    """
    parser, not_given = build_parser(), object()
    parser.set_defaults(**dict.fromkeys(vars(parser.parse_args([])), not_given))
    return [
        name for name, value in vars(parse_args(parser, argv)).items() if value is not not_given
    ]


def check_report_args(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Makes sure that nothing is asked for but a report over searches of earlier.

    Args:
        args: The parsed options.
        given: Names of those that were given.

    Raises:
        ValueError: If something is.
    """
    if args.output is None:
        raise ValueError("--output is required: the folder for the report.")
    others = [flag(name) for name in given if name not in REPORT_OPTIONS]
    if others:
        raise ValueError(
            f"--report-of searches nothing; leave {', '.join(others)} out, or search first."
        )


def constraints_of(args: argparse.Namespace) -> list[Constraint]:
    """Builds the constraints on costs that the options ask for."""
    return constraints_within(
        {
            metric: (getattr(args, f"min_{metric}"), getattr(args, f"max_{metric}"))
            for metric in METRICS
        }
    )
