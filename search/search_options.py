"""The options of ``supernet-search``."""

from __future__ import annotations

import argparse
from pathlib import Path

from estimators import ESTIMATORS
from estimators.options import (
    COMBINED,
    EstimatorOptions,
    add_estimator_options,
    add_table_options,
    check_options,
    flag,
)
from estimators.scores import COST_SCORES, PROXY_SCORES
from search.cheap_scores import CHEAP_SCORES
from search.constraints import constraints_within
from search.factory import ALGORITHMS, DEFAULT_BATCH_SIZES
from search.predictors import PREDICTORS
from search.weaknas import POOLS
from supernets.command_line import add_amp_option, add_config_option, add_machine_options
from supernets.cost import METRICS, Constraint
from supernets.factory import SPACES
from supernets.spaces import ENCODINGS

PROGRAM = "supernet-search"


def build_parser() -> argparse.ArgumentParser:
    """The options of ``supernet-search``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Search a trained supernet for architectures. "
        "Ctrl-C stops; the same command again continues.",
        allow_abbrev=False,
    )
    add_config_option(parser)
    add = parser.add_argument_group("what to search").add_argument
    add("--supernet", type=Path, metavar="FILE", help="checkpoint of supernet-train")
    add("--space", choices=SPACES, help="needed without --supernet (default: the supernet's)")
    add("--data-dir", type=Path, metavar="DIR", help="where the data is (default: as in training)")
    add("--resolution", type=int, metavar="PX", help="search this one only (default: all)")
    for metric in METRICS:
        unit, example = ("MS", "milliseconds") if metric == "latency" else ("N", "such as 60e6")
        for bound, word in (("min", "least"), ("max", "most")):
            add(
                f"--{bound}-{metric}",
                type=float,
                metavar=unit,
                help=f"{word} {metric} of a subnet, {example} (default: any)",
            )
    add(
        "--latency-table",
        type=Path,
        metavar="FILE",
        help="of supernet-latency; its prediction is a cost of the best (default: none)",
    )

    add = parser.add_argument_group("search").add_argument
    add("--algorithm", choices=ALGORITHMS, default="weaknas", help="(default: weaknas)")
    add("--num-trials", type=int, default=100, metavar="N", help="in the end (default: 100)")
    sizes = ", ".join(f"{size} of {name}" for name, size in DEFAULT_BATCH_SIZES.items())
    add("--batch-size", type=int, metavar="M", help=f"asked for at once (default: {sizes})")
    add("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    add("--predictor", choices=PREDICTORS, help="of weaknas (default: mlp)")
    add("--encoding", choices=ENCODINGS, help="what the predictor sees (default: one-hot)")
    add(
        "--predictor-inputs",
        nargs="+",
        choices=CHEAP_SCORES,
        metavar="NAME",
        help=f"what else the predictor sees, of {', '.join(CHEAP_SCORES)} (default: nothing)",
    )
    add("--num-initial", type=int, metavar="N", help="random trials (default: 10, evolution: 50)")
    add("--top-n", type=int, metavar="N", help="weaknas draws from these (default: 100)")
    add(
        "--exclude-before-top",
        action="store_const",
        const=True,
        help="weaknas: take seen ones out before cutting the top N (default: after)",
    )
    add(
        "--pool",
        choices=POOLS,
        help="weaknas ranks in large spaces a pool drawn for every batch, or one (default: fresh)",
    )
    add("--pool-size", type=int, metavar="N", help="architectures of a pool (default: 10000)")
    add("--num-parents", type=int, metavar="N", help="best trials evolution uses (default: 10)")
    add("--mutation-prob", type=float, metavar="P", help="of evolution, by decision (default: 0.1)")
    add("--population-size", type=int, metavar="N", help="of regularized-evolution (default: 50)")
    add("--tournament-size", type=int, metavar="N", help="of regularized-evolution (default: 10)")

    group = parser.add_argument_group("estimator")
    add = group.add_argument
    add("--estimator", choices=(*ESTIMATORS, COMBINED), default="tse", help="(default: tse)")
    add(
        "--race-for",
        type=int,
        metavar="K",
        help="stop a candidate of tse once it cannot be among the K best (default: never)",
    )
    add_estimator_options(group)
    add(
        "--reference",
        type=Path,
        metavar="FILE",
        help="reference.json of supernet-rank, which combined is fitted to",
    )
    add_table_options(group)

    group = parser.add_argument_group("run")
    add = group.add_argument
    add("--output", type=Path, metavar="DIR", help="folder for all files of the run (required)")
    add("--export", type=Path, metavar="DIR", help="export the best subnet there (default: no)")
    add_machine_options(group)
    add_amp_option(group)
    return parser


def check_args(args: argparse.Namespace) -> EstimatorOptions:
    """Makes sure that the options go together; gives back those of the estimator.

    Raises:
        ValueError: If they do not.
    """
    measuring = EstimatorOptions.of(vars(args))
    if args.output is None:
        raise ValueError("--output is required: the folder for the run's files.")
    if args.estimator == "table":
        if args.amp is not None:
            raise ValueError("--estimator table computes nothing; leave --amp out.")
    elif args.supernet is None:
        raise ValueError(f"--estimator {args.estimator} needs --supernet.")
    check_options([args.estimator], measuring)
    for name in ("min_latency", "max_latency"):
        if getattr(args, name) is not None and args.latency_table is None:
            raise ValueError(f"{flag(name)} needs --latency-table, from supernet-latency.")
    if args.supernet is None:
        if args.space is None:
            raise ValueError("--estimator table needs --space (or --supernet).")
        for name in ("data_dir", "export"):
            if getattr(args, name) is not None:
                raise ValueError(f"{flag(name)} needs --supernet.")
        proxies = [name for name in args.predictor_inputs or () if name in PROXY_SCORES]
        if proxies:
            raise ValueError(
                f"--predictor-inputs {' '.join(proxies)} need images and so --supernet; only "
                f"{' and '.join(COST_SCORES)} do not."
            )
    return measuring


def constraints_of(args: argparse.Namespace) -> list[Constraint]:
    """The windows of costs that were asked for."""
    return constraints_within(
        {
            metric: (getattr(args, f"min_{metric}"), getattr(args, f"max_{metric}"))
            for metric in METRICS
        }
    )
