#!/usr/bin/env python3
"""How many queries does each search algorithm need on the table of Accel-NASBench?

Every algorithm searches for the best by ImageNet accuracy of the networks that the table lists of
its space, and of nothing else, from several seeds, as in benchmarks/search_nasbench201.py, whose
options and summaries these are.

    python benchmarks/search_accel_nasbench.py --table accel_nasbench.csv.gz --seeds 20 \
        --algorithms structural-bo local-search regularized-evolution tpe random \
        --max-queries 3925 --runs runs/search_accel \
        --output benchmarks/results/search_accel_nasbench.json

Processes can share the work by naming different algorithms; a last one with ``--seeds 0``, naming
all, writes the result.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from hardware import write_result
from search_nasbench201 import Task, finished, summaries

from estimators import TabularEstimator
from supernets.spaces.factory import create_space

SPACE = "mnasnet"


def main() -> None:
    """Runs what is missing, and sums it up."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--table", type=Path, required=True)
    add("--arch-column", default="arch", help="of the architectures (default: %(default)s)")
    add("--column", default="imagenet_val_top1", help="of the truth (default: %(default)s)")
    add("--algorithms", nargs="+", required=True, metavar="NAME[:OPTION=VALUE,…]")
    add("--seeds", type=int, default=20, help="0: sums up what there is")
    add("--max-queries", type=int, default=1000)
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
    task = Task(SPACE, values, values, space=SPACE, in_pool=True)
    args.runs.mkdir(parents=True, exist_ok=True)
    records = {
        spec: finished(args.runs, spec, task, args.seeds, args.max_queries, None)
        for spec in args.algorithms
    }
    if args.output is not None:
        best = max(values.values())
        num_best = sum(value == best for value in values.values())
        write_result(
            args.output,
            {
                "note": args.note,
                "seeds": {spec: [run["seed"] for run in runs] for spec, runs in records.items()},
                "wall_seconds": time.perf_counter() - started,
                "best": best,
                "num_listed": len(values),
                "num_best": num_best,
                "random_exactly": (len(values) + 1) / (num_best + 1),
                "tasks": {SPACE: summaries(records)},
            },
        )


if __name__ == "__main__":
    main()
