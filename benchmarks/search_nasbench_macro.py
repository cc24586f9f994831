#!/usr/bin/env python3
"""How many queries does each search algorithm need on the table of NAS-Bench-Macro?

Every algorithm searches for the best of 6,561 networks by mean test accuracy on CIFAR-10, from
several seeds, as in benchmarks/search_nasbench201.py, whose options and summaries these are. A
network that has several notations counts as found by any of them.

    python benchmarks/search_nasbench_macro.py --table nasbench_macro.csv.gz --seeds 20 \
        --algorithms structural-bo local-search regularized-evolution tpe random \
        optuna-gp optuna-tpe optuna-tpe:multivariate=false optuna-nsga2 \
        --runs runs/search_macro --output benchmarks/results/search_nasbench_macro.json

``optuna-*`` are samplers of the package optuna, which has to be installed (see optuna_peer.py).
Their searches end after ``--max-peer-queries``, for the Gaussian process takes seconds for a query.

The table is a CSV with a column ``arch`` of eight digits. Processes can share the work by naming
different algorithms; a last one with ``--seeds 0``, naming all, writes the result.
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hardware import write_result
from search_nasbench201 import Task, finished, summaries

from estimators import TabularEstimator
from supernets.spaces.factory import create_space

SPACE = "nasbench_macro"


def main() -> None:
    """Runs what is missing, and sums it up."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--table", type=Path, required=True)
    add("--arch-column", default="arch", help="of the architectures (default: %(default)s)")
    add("--column", default="cifar10_test_acc", help="of the truth (default: %(default)s)")
    add("--algorithms", nargs="+", required=True, metavar="NAME[:OPTION=VALUE,…]")
    add("--seeds", type=int, default=20, help="0: sums up what there is")
    add("--max-queries", type=int, default=1000)
    add("--max-peer-queries", type=int, default=300, help="of optuna's (default: %(default)s)")
    add("--runs", type=Path, required=True, help="folder of finished runs")
    add("--output", type=Path, help="where the result of all runs goes (default: nowhere)")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    started = time.perf_counter()
    table = TabularEstimator.from_csv(
        args.table,
        create_space(SPACE),
        arch_column=args.arch_column,
        value_column=args.column,
    )
    values = dict(table.values)
    task = Task(SPACE, values, values, space=SPACE)
    args.runs.mkdir(parents=True, exist_ok=True)
    records = {}
    for spec in args.algorithms:
        is_peer = spec.startswith("optuna-")
        most = min(args.max_queries, args.max_peer_queries) if is_peer else args.max_queries
        records[spec] = finished(args.runs, spec, task, args.seeds, most, None)
    if args.output is not None:
        best = max(values.values())
        num_best = sum(value == best for value in values.values())
        write_result(
            args.output,
            {
                "note": args.note,
                "seeds": {spec: [run["seed"] for run in runs] for spec, runs in records.items()},
                "optuna": version("optuna") if find_spec("optuna") else None,
                "wall_seconds": time.perf_counter() - started,
                "best": best,
                "notations_of_the_best": num_best,
                "random_exactly": (len(values) + 1) / (num_best + 1),
                "tasks": {SPACE: summaries(records)},
            },
        )


if __name__ == "__main__":
    main()
