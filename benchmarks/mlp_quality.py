#!/usr/bin/env python3
"""Do the narrow MLPs of predictor ``mlp`` rank as well as one of WeakNAS's size?

Both are fitted to the same networks of random splits of NAS-Bench-201 and Accel-NASBench, and rank
all others: Kendall's and Spearman's correlations with the truth, Kendall's of the truly best tenth,
and how many of the truly best 100 are among the 100 predicted best. Differences are paired by
split. Seconds are those of the processor, for a fit and the ranking of all others. Resumes where it
was stopped.

    python benchmarks/mlp_quality.py --nasbench201 nasbench201.csv.gz \
        --accel accel_nasbench.csv.gz --rows runs/mlp_quality.jsonl \
        --output benchmarks/results/mlp_quality.json
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
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tqdm import tqdm

from estimators import TabularEstimator
from estimators.rank_metrics import kendall_tau_b
from search.predictors import create_predictor
from search.predictors.base import OnScaleOfScores, Predictor
from search.predictors.sklearn_models import MODELS, SklearnPredictor
from supernets import create_space
from supernets.spaces import SearchSpace

#: Space, option that names the file, column of architectures and of their truth.
TABLES = {
    "nasbench201 cifar10": ("nasbench201", "nasbench201", "arch_str", "cifar10_test_acc_200ep"),
    "nasbench201 cifar100": ("nasbench201", "nasbench201", "arch_str", "cifar100_test_acc_200ep"),
    "accel-nasbench imagenet": ("mnasnet", "accel", "arch", "imagenet_val_top1"),
}
PREDICTORS = ("mlp", "one of WeakNAS's size")
METRICS = ("kendall_tau", "spearman", "kendall_tau_of_best_tenth", "share_of_best_100")
NUM_BEST = 100


def main() -> None:
    """Measures what is not in the file of rows yet, and summarises."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--nasbench201", type=Path, required=True)
    add("--accel", type=Path, required=True)
    add("--tables", nargs="+", choices=tuple(TABLES), default=list(TABLES))
    add("--num-train", nargs="+", type=int, default=[25, 50, 100, 300, 1000])
    add("--num-seeds", type=int, default=10, help="0: sums up what there is")
    add("--rows", type=Path, required=True, help="JSON lines of single results, to resume from")
    add("--output", type=Path, help="where the result of all rows goes (default: nowhere)")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows(args.rows)
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["table"], row["num_train"], row["seed"], row["name"]) for row in rows}
    for table in args.tables:
        space_name, option, arch_column, column = TABLES[table]
        space = create_space(space_name)
        path = getattr(args, option)
        values = TabularEstimator.from_csv(
            path, space, arch_column=arch_column, value_column=column
        ).values
        choices, truth = space.choices_of(values), np.array(list(values.values()), np.float64)
        plan = [
            (table, num_train, seed, name)
            for seed in range(args.num_seeds)
            for num_train in args.num_train
            for name in PREDICTORS
        ]
        for key in tqdm([key for key in plan if key not in done], table, disable=None):
            _, num_train, seed, name = key
            order = np.random.default_rng(seed).permutation(len(truth))
            fitted, rest = order[:num_train], order[num_train:]
            started = time.process_time()
            model = OnScaleOfScores(build(name, space, seed), choices[fitted], truth[fitted])
            predicted = model.predict(choices[rest])
            seconds = time.process_time() - started
            row = dict(zip(("table", "num_train", "seed", "name"), key, strict=True))
            rows.append({**row, **metrics(predicted, truth[rest]), "cpu_seconds": seconds})
            with open(args.rows, "a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    if args.output is not None:
        write_result(args.output, {"note": args.note, "tables": summary(rows)})


def build(name: str, space: SearchSpace, seed: int) -> Predictor:
    """An unfitted one of ``PREDICTORS``."""
    if name == "mlp":
        return create_predictor("mlp", space, seed)
    from sklearn.neural_network import MLPRegressor

    settings: dict[str, Any] = {
        **MODELS["mlp"][1],
        "hidden_layer_sizes": (1000,) * 4,
        "learning_rate_init": np.float32(1e-3),
    }
    return SklearnPredictor(space, MLPRegressor(**settings, random_state=seed), "one-hot")


def metrics(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float]:
    """How well predictions (num_archs,) rank the networks, and the best of them."""
    is_best = true >= np.quantile(true, 0.9)
    found, best = (set(np.argsort(-v, kind="stable")[:NUM_BEST]) for v in (predicted, true))
    return {
        "kendall_tau": kendall_tau_b(predicted, true),
        "spearman": float(spearmanr(predicted, true).statistic),
        "kendall_tau_of_best_tenth": kendall_tau_b(predicted[is_best], true[is_best]),
        "share_of_best_100": len(found & best) / NUM_BEST,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the splits that both ranked: either, and what ``mlp`` has more."""
    found: dict[str, dict[int, dict[int, dict[str, dict[str, Any]]]]] = {}
    for row in rows:
        splits = found.setdefault(row["table"], {}).setdefault(row["num_train"], {})
        splits.setdefault(row["seed"], {})[row["name"]] = row
    result: dict[str, Any] = {}
    for table, by_number in found.items():
        for num_train, splits in sorted(by_number.items()):
            both = [by_name for by_name in splits.values() if len(by_name) == len(PREDICTORS)]
            if not both:
                continue

            def over_splits(metric: str, both: Any = both) -> dict[str, Any]:
                new, old = (np.array([each[name][metric] for each in both]) for name in PREDICTORS)
                means = {
                    name: float(v.mean()) for name, v in zip(PREDICTORS, (new, old), strict=True)
                }
                return {**means, "more": spread(new - old)}

            new, old = (
                float(np.median([each[name]["cpu_seconds"] for each in both]))
                for name in PREDICTORS
            )
            result.setdefault(table, {})[str(num_train)] = {
                "splits": len(both),
                **{metric: over_splits(metric) for metric in METRICS},
                "median_cpu_seconds": {PREDICTORS[0]: new, PREDICTORS[1]: old, "ratio": old / new},
            }
    return result


if __name__ == "__main__":
    main()
