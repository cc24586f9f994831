#!/usr/bin/env python3
"""How well do predictors fitted to a few ImageNet accuracies rank the rest of Accel-NASBench?

Kendall's tau between predicted and true ranks of all networks that were not fitted to, and of the
truly best tenth of them, over random splits. Every predictor sees the same networks of a split;
beside them stand the trivial baselines, which see no accuracy: parameters and live
multiply-accumulates. Resumes where it was stopped.

    python benchmarks/predictors_accel_nasbench.py --table accel_nasbench.csv.gz \
        --rows runs/predictors_accel.jsonl \
        --output benchmarks/results/predictors_accel_nasbench.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from neural_predictor_nasbench201 import read_rows, spread
from tqdm import tqdm

from estimators import TabularEstimator
from estimators.rank_metrics import kendall_tau_b
from search import PREDICTORS
from search.predictors import create_predictor
from search.predictors.base import OnScaleOfScores
from supernets.networks.mnasnet_counts import MnasNetCounts
from supernets.spaces.factory import create_space

BASELINES = ("params", "macs")
METRICS = ("kendall_tau", "kendall_tau_of_best_tenth")


def main() -> None:
    """Measures what is not in the file of rows yet, and summarises."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--table", type=Path, required=True)
    add("--column", default="imagenet_val_top1", help="true values (default: %(default)s)")
    add("--rows", type=Path, required=True, help="JSON lines of single results, to resume from")
    add("--output", type=Path, help="where the result of all rows goes (default: nowhere)")
    add("--predictors", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    add("--num-train", type=int, default=172)
    add("--num-seeds", type=int, default=10, help="0: sums up what there is")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    space = create_space("mnasnet")
    table = TabularEstimator.from_csv(
        args.table, space, arch_column="arch", value_column=args.column
    ).values
    choices = space.choices_of(table)
    truth = np.array(list(table.values()), np.float64)
    costs = dict(zip(BASELINES, MnasNetCounts(num_classes=1000).count(choices), strict=True))
    rows = read_rows(args.rows)
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    plan = [
        (name, seed) for seed in range(args.num_seeds) for name in (*BASELINES, *args.predictors)
    ]
    done = {(row["name"], row["seed"]) for row in rows}
    for name, seed in tqdm([each for each in plan if each not in done], "Fitting", disable=None):
        order = np.random.default_rng(seed).permutation(len(truth))
        fitted, rest = order[: args.num_train], order[args.num_train :]
        started = time.perf_counter()
        if name in BASELINES:
            predicted = costs[name][rest].astype(np.float64)
        else:
            predictor = create_predictor(name, space, seed)
            model = OnScaleOfScores(predictor, choices[fitted], truth[fitted])
            predicted = model.predict(choices[rest])
        seconds = time.perf_counter() - started
        rows.append({"name": name, "seed": seed, **metrics(predicted, truth[rest], seconds)})
        with open(args.rows, "a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    if args.output is not None:
        write_result(
            args.output,
            {
                "note": args.note,
                "table_column": args.column,
                "num_networks": len(truth),
                "num_train": args.num_train,
                **summary([row for row in rows if not plan or (row["name"], row["seed"]) in plan]),
            },
        )


def metrics(predicted: np.ndarray, true: np.ndarray, seconds: float) -> dict[str, float]:
    """How well predictions (num_archs,) rank the networks, and the best tenth of them."""
    is_best = true >= np.quantile(true, 0.9)
    return {
        "kendall_tau": kendall_tau_b(predicted, true),
        "kendall_tau_of_best_tenth": kendall_tau_b(predicted[is_best], true[is_best]),
        "seconds": seconds,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Every metric over the splits, and what each has more than a baseline on the same splits."""
    values: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        values.setdefault(row["name"], {})[row["seed"]] = row

    def over_splits(name: str, metric: str, baseline: str | None = None) -> dict[str, Any]:
        seeds = sorted(values[name])
        found = np.array([values[name][seed][metric] for seed in seeds])
        if baseline is not None:
            found -= np.array([values[baseline][seed][metric] for seed in seeds])
        return {"splits": len(seeds), **spread(found)}

    return {
        "results": {
            name: {metric: over_splits(name, metric) for metric in (*METRICS, "seconds")}
            for name in values
        },
        **{
            f"more_than_{baseline}": {
                name: {metric: over_splits(name, metric, baseline) for metric in METRICS}
                for name in values
                if name != baseline
            }
            for baseline in (*BASELINES, "gaussian_process")
            if baseline in values
            and all(set(values[name]) <= set(values[baseline]) for name in values)
        },
    }


if __name__ == "__main__":
    main()
