#!/usr/bin/env python3
"""How well do predictors fitted once to a few random cells rank the rest of NAS-Bench-201?

The Neural Predictor's question, with its 172 cells: Kendall's tau between predicted and true ranks
of all other cells, and of the truly best tenth of them, and the true value of the best among the
first asked for. Every predictor sees the same cells of a seed, in one stage and in two; the graph
predictor's classifier minimises cross-entropy, those of the others squares. Resumes where it was
stopped.

    python benchmarks/neural_predictor_nasbench201.py --table nasbench201.csv.gz \
        --column cifar10_test_acc_200ep --rows runs/neural_predictor.jsonl \
        --output benchmarks/results/neural_predictor_nasbench201.json
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
from scipy import stats
from tqdm import tqdm

from estimators import TabularEstimator
from estimators.rank_metrics import kendall_tau_b
from estimators.trials.store import Trial
from search import PREDICTORS, NeuralPredictorOptions, NeuralPredictorSearch, SearchProblem
from supernets.runtime.atomic_write import atomic_write
from supernets.spaces import Architecture, NASBench201Space

METRICS = ("kendall_tau", "kendall_tau_of_best_tenth", "best_of_10", "best_of_100", "seconds")
#: What decides a row's results, beside the table.
KEYS = ("column", "num_train", "predictor", "two_stage", "threshold_quantile", "seed")


def main() -> None:
    """Measures what is not in the file of rows yet, and summarises."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--table", type=Path, required=True)
    add("--column", required=True, help="true values, of which a few are fitted to")
    add("--rows", type=Path, required=True, help="JSON lines of single results, to resume from")
    add("--output", type=Path, required=True)
    add("--predictors", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    add("--num-train", type=int, default=172)
    add("--num-seeds", type=int, default=20)
    add("--threshold-quantile", type=float, default=0.5, help="of two stages")
    add("--threads", type=int, default=1)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    space = NASBench201Space()
    truth = TabularEstimator.from_csv(args.table, space, value_column=args.column).values
    plan = [
        {
            "column": args.column,
            "num_train": args.num_train,
            "predictor": predictor,
            "two_stage": two_stage,
            "threshold_quantile": args.threshold_quantile if two_stage else None,
            "seed": seed,
        }
        for seed in range(args.num_seeds)
        for predictor in args.predictors
        for two_stage in (False, True)
    ]
    rows = read_rows(args.rows)
    for settings in tqdm(plan, "Fitting", disable=None):
        if find(rows, settings) is None:
            rows.append({**settings, **measure(space, truth, settings)})
            write_rows(args.rows, rows)
    found = [row for settings in plan if (row := find(rows, settings)) is not None]
    write_result(
        args.output,
        {
            "note": args.note,
            "table_column": args.column,
            "num_train": args.num_train,
            "num_seeds": args.num_seeds,
            "threshold_quantile": args.threshold_quantile,
            "target": "two stages above one in the tau of the best tenth",
            **summary(found),
        },
    )


def measure(
    space: NASBench201Space, truth: dict[Architecture, float], settings: dict[str, Any]
) -> dict[str, float]:
    """Fits to random cells and has all others asked for, which ranks them."""
    name = settings["predictor"]
    two_stages: dict[str, Any] = {}
    if settings["two_stage"]:
        two_stages = {"two_stage": True, "threshold_quantile": settings["threshold_quantile"]}
    search = NeuralPredictorSearch(
        SearchProblem(space, seed=settings["seed"]),
        NeuralPredictorOptions(predictor=name, num_initial=settings["num_train"], **two_stages),
    )
    trained = search.ask(settings["num_train"])
    search.tell([Trial(i, arch, truth[arch], {}, 0.0, None) for i, arch in enumerate(trained)])
    started = time.perf_counter()
    ranked = search.ask(len(truth) - len(trained))
    seconds = time.perf_counter() - started
    true = np.array([truth[arch] for arch in ranked])
    predicted = -np.arange(len(ranked))
    is_best = true >= np.quantile(true, 0.9)
    return {
        "kendall_tau": kendall_tau_b(predicted, true),
        "kendall_tau_of_best_tenth": kendall_tau_b(predicted[is_best], true[is_best]),
        "best_of_10": float(true[:10].max()),
        "best_of_100": float(true[:100].max()),
        "seconds": seconds,
    }


def find(rows: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any] | None:
    """The row of these settings, if there is one."""
    return next((row for row in rows if all(row[key] == settings[key] for key in KEYS)), None)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """What earlier runs wrote."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replaces the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Every metric over the seeds, and what each predictor and stage has more than the first."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:  # in the order of the seeds
        stages = "two stages" if row["two_stage"] else "one stage"
        by_name.setdefault(f"{row['predictor']}, {stages}", []).append(row)
    values = {
        name: {metric: np.array([row[metric] for row in each]) for metric in METRICS}
        for name, each in by_name.items()
    }
    first = next(iter(values))
    return {
        "results": {
            name: {metric: spread(value) for metric, value in each.items()}
            for name, each in values.items()
        },
        f"more_than_{first}": {
            name: {metric: spread(value - values[first][metric]) for metric, value in each.items()}
            for name, each in values.items()
            if name != first
        },
    }


def spread(values: np.ndarray) -> dict[str, float | None]:
    """Mean, standard deviation, and the 95 % interval of the mean (Student's t) of two or more."""
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "sd": None, "low": None, "high": None}
    sd = float(values.std(ddof=1))
    margin = float(stats.t.ppf(0.975, len(values) - 1)) * sd / len(values) ** 0.5
    return {"mean": mean, "sd": sd, "low": mean - margin, "high": mean + margin}


if __name__ == "__main__":
    main()
