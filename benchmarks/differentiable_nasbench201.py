#!/usr/bin/env python3
"""What do differentiable searches of NAS-Bench-201 derive, epoch by epoch?

Reads the folders of finished ``search.py --algorithm darts`` and the like, and looks every derived
cell up in the table: accuracy by epoch, at the end and at worst, and what became of the weights of
operations, beside a random cell and the cell with the most parameters. Says also what would have
been derived with no edge left out (--exclude-none). Draws the curves.

    python search.py --algorithm darts --seed 0 --output runs/differentiable/darts-0 ...
    python benchmarks/differentiable_nasbench201.py --runs runs/differentiable/* \
        --table nasbench201.csv.gz --columns cifar10_test_acc_200ep cifar100_test_acc_200ep \
        --output benchmarks/results/differentiable_nasbench201.json \
        --figure benchmarks/results/differentiable_nasbench201.png
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hardware import write_result
from matplotlib.figure import Figure

from estimators import TabularEstimator
from supernets import Architecture, CostModel, create_supernet
from supernets.runtime.figures import write_png
from supernets.spaces import NASBench201Space

#: 200-epoch test accuracies on CIFAR-10 (percent) of https://arxiv.org/abs/2006.10355.
PUBLISHED = {"darts": 54.30, "drnas": 94.36}
#: Options that differ between the runs by design.
OF_A_RUN = ("algorithm", "seed", "output")


def main() -> None:
    """Reads, summarises, draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, nargs="+", required=True)
    add("--table", type=Path, required=True)
    add("--columns", nargs="+", required=True, help="true accuracies; the first one is drawn")
    add("--output", type=Path, required=True)
    add("--figure", type=Path, required=True)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    space = NASBench201Space()
    truths = {
        column: TabularEstimator.open(args.table, space, value_column=column).values
        for column in args.columns
    }
    runs = sorted(
        (read(folder, truths, space) for folder in args.runs),
        key=lambda run: (run["algorithm"], run["seed"]),
    )
    result = {
        "note": args.note,
        "published": PUBLISHED,
        "baselines": baselines(truths, space),
        "runs": runs,
        "algorithms": {
            algorithm: of_algorithm([run for run in runs if run["algorithm"] == algorithm])
            for algorithm in dict.fromkeys(run["algorithm"] for run in runs)
        },
    }
    draw(args.figure, runs, args.columns[0])
    write_result(args.output, result)


def read(
    folder: Path, truths: Mapping[str, Mapping[Architecture, float]], space: NASBench201Space
) -> dict[str, Any]:
    """A run: its settings, and of every epoch accuracy and mean weights of operations."""
    given = json.loads((folder / "args.json").read_text(encoding="utf-8"))["args"]
    best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    derived, summary, alphas = (
        list(csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines()))
        for name in ("derived.csv", "summary.csv", "alphas.csv")
    )
    archs = [space.parse(row["architecture"]) for row in derived]
    num_epochs = len(archs)
    ops = list(dict.fromkeys(row["op"] for row in alphas))
    weights = np.array([float(row["weight"]) for row in alphas]).reshape(num_epochs, -1, len(ops))
    others = weights.copy()  # operations are in the order of the space's candidates
    others[..., ops.index("none")] = -np.inf
    without_none = [space.architecture(choices.tolist()) for choices in others.argmax(axis=2)]
    options = {
        name: value
        for name, value in given.items()
        if value is not None and name not in (*OF_A_RUN, "data_dir", "table", "config")
    }
    return {
        "algorithm": given["algorithm"],
        "arch_gradient": best["arch_gradient"],
        "seed": given["seed"],
        "options": options,
        "epochs": num_epochs,
        "hours": sum(float(row["seconds"]) for row in summary) / 3600,
        "alpha_steps": best["alpha_steps"],
        "architecture": best["best"][0]["architecture"],
        "accuracy_by_epoch": {
            column: [truth[arch] for arch in archs] for column, truth in truths.items()
        },
        "accuracy_by_epoch_without_none": {
            column: [truth[arch] for arch in without_none] for column, truth in truths.items()
        },
        "entropy_by_epoch": [round(float(row["alpha_entropy"]), 5) for row in summary],
        "mixture_val_top1": [round(float(row["mixture_val_top1"]), 2) for row in summary],
        # mean over the six edges, after every epoch
        "mean_weight_of_ops": {
            op: np.round(weights.mean(axis=1)[:, i], 5).tolist() for i, op in enumerate(ops)
        },
        "last_weights": np.round(weights[-1], 5).tolist(),  # (num_edges, num_ops)
    }


def of_algorithm(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Over seeds: at the end, and the worst of the second half of the epochs."""
    found: dict[str, Any] = {"seeds": [run["seed"] for run in runs]}
    for rule in ("accuracy_by_epoch", "accuracy_by_epoch_without_none"):
        for column in runs[0][rule]:
            curves = [run[rule][column] for run in runs]
            found[column + rule.removeprefix("accuracy_by_epoch")] = {
                "end": [curve[-1] for curve in curves],
                "worst_of_second_half": [min(curve[len(curve) // 2 :]) for curve in curves],
                "mean_over_epochs": [float(np.mean(curve)) for curve in curves],
            }
    return found


def baselines(
    truths: Mapping[str, Mapping[Architecture, float]], space: NASBench201Space
) -> dict[str, Any]:
    """Of every column: a random cell, the one with the most parameters, the best one."""
    found: dict[str, Any] = {}
    costs = CostModel(create_supernet("nasbench201", num_classes=10))
    for column, truth in truths.items():
        archs, values = list(truth), np.array(list(truth.values()))
        params = costs.measure_all(space.choices_of(archs))["params"]
        found[column] = {
            "random_mean": float(values.mean()),
            "random_quartiles": np.quantile(values, [0.25, 0.5, 0.75]).tolist(),
            "most_params": float(values[params.argmax()]),
            "best": float(values.max()),
        }
    return found


def draw(path: Path, runs: list[dict[str, Any]], column: str) -> None:
    """Accuracy of the derived cell over the share of the search, a panel per algorithm."""
    algorithms = list(dict.fromkeys(run["algorithm"] for run in runs))
    figure = Figure(figsize=(3.1 * len(algorithms), 6), layout="constrained")
    panels = figure.subplots(2, len(algorithms), squeeze=False)
    for (top, bottom), algorithm in zip(panels.T, algorithms, strict=True):
        own = [run for run in runs if run["algorithm"] == algorithm]
        top.sharey(panels[0, 0])  # below, some weights hardly move
        for run in own:
            epochs = np.arange(1, run["epochs"] + 1)
            (line,) = top.plot(
                epochs, run["accuracy_by_epoch"][column], lw=1.4, label=f"seed {run['seed']}"
            )
            top.plot(
                epochs,
                run["accuracy_by_epoch_without_none"][column],
                lw=1.2,
                ls=":",
                color=line.get_color(),
                label=f"seed {run['seed']}, no edge left out",
            )
        for i, (op, weights) in enumerate(own[0]["mean_weight_of_ops"].items()):
            bottom.plot(np.arange(1, own[0]["epochs"] + 1), weights, color=f"C{i}", label=op)
        top.set_title(algorithm)
        bottom.set_xlabel("epoch")
        for panel in (top, bottom):
            panel.grid(alpha=0.25)
    panels[0, 0].set_ylabel("true accuracy of the derived cell (%)")
    panels[1, 0].set_ylabel(f"mean weight of an operation, seed {runs[0]['seed']}")
    panels[0, 0].legend(fontsize=8)
    panels[1, -1].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(figure, path)


if __name__ == "__main__":
    main()
