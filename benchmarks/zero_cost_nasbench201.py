#!/usr/bin/env python3
"""How well do zero-cost proxies rank the cells of NAS-Bench-201?

Scores random cells as full-size networks with fresh weights on one minibatch of train images, and
compares the ranks with a table of true accuracies: Spearman beside the published value, with
bootstrap 95 % intervals, and the seconds per cell. Resumes where it was stopped.

    python benchmarks/zero_cost_nasbench201.py --dataset cifar10 --data-dir data \
        --table nasbench201.csv.gz --column cifar10_test_acc_200ep \
        --scores runs/zero_cost.csv --output benchmarks/results/zero_cost_nasbench201.json
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from nasbench201_truth import correlation
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from estimators import TabularEstimator
from estimators.zero_cost import PROXIES, measure_proxies
from supernets import Architecture, CostModel, Supernet, create_supernet
from supernets.atomic import atomic_write
from supernets.data import create_loaders

WEIGHT_SEED = 42  # set once, before the networks of all cells are drawn one after the other
CELL_SEED = 0
BATCH_SIZE = 64
COSTS = ("params", "macs")
#: Absolute Spearman correlations from https://arxiv.org/abs/2101.08134, by the data set that a
#: column of the table begins with.
PUBLISHED = {
    "cifar10": {
        "grad_norm": 0.594,
        "snip": 0.596,
        "grasp": 0.514,
        "fisher": 0.36,
        "synflow": 0.737,
        "jacob_cov": 0.731,
    },
    "cifar100": {
        "grad_norm": 0.637,
        "snip": 0.637,
        "grasp": 0.547,
        "fisher": 0.385,
        "synflow": 0.763,
        "jacob_cov": 0.704,
    },
}


def main() -> None:
    """Scores the cells that have no scores yet, and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--dataset", choices=("cifar10", "cifar100", "folder"), required=True)
    add("--data-dir", type=Path, required=True)
    add("--table", type=Path, required=True)
    add("--column", required=True)
    add("--scores", type=Path, required=True, help="CSV file of the cells' scores, to resume from")
    add("--output", type=Path, required=True)
    add("--num-cells", type=int, default=500)
    add("--threads", type=int, default=1)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    loaders = create_loaders(args.dataset, data_dir=args.data_dir, batch_size=BATCH_SIZE)
    supernet = create_supernet(
        "nasbench201",
        num_classes=loaders.num_classes,
        input_size=loaders.input_size,
        bn_mode="affine",  # that of the stand-alone networks
    )
    truth = TabularEstimator.from_csv(args.table, supernet.space, value_column=args.column).values
    order = np.random.default_rng(CELL_SEED).permutation(len(truth))
    cells = [list(truth)[i] for i in order[: args.num_cells]]
    x, y = next(iter(loaders.train))
    rows = score_cells(supernet, cells, x, y, args.scores)
    true = np.array([truth[cell] for cell in cells])
    write_result(
        args.output,
        {
            "note": args.note,
            "table_column": args.column,
            "data": loaders.settings,
            "network": supernet.settings,
            "num_cells": len(cells),
            "spearman": compare(rows, true, PUBLISHED.get(args.column.split("_")[0], {})),
        },
    )


def score_cells(
    supernet: Supernet, cells: list[Architecture], x: Tensor, y: Tensor, path: Path
) -> list[dict[str, str]]:
    """A row of scores, seconds and costs for every cell; those in the file are not measured again.

    Every network is drawn all the same, since the weights of the next depend on it.
    """
    minibatch = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()[:12]
    keys = [(supernet.space.format(cell), minibatch) for cell in cells]
    rows = read_rows(path)[: len(cells)]
    if [(row["cell"], row["minibatch"]) for row in rows] != keys[: len(rows)]:
        raise SystemExit(f"{path} holds other cells or another minibatch; choose other --scores.")
    num_known = len(rows)
    costs = CostModel(supernet)
    torch.manual_seed(WEIGHT_SEED)
    for i, cell in enumerate(tqdm(cells, "Scoring", disable=None)):
        network = supernet.build_subnet(cell)
        if i < num_known:
            continue
        scores, seconds = measure_proxies(network, x, y, list(PROXIES))
        cost = costs.measure(cell)
        measured = {
            **scores,
            "params": cost.params,
            "macs": cost.macs,
            **{f"{proxy}_seconds": seconds[proxy] for proxy in PROXIES},
        }
        texts = {key: repr(value) for key, value in measured.items()}
        rows.append({"cell": keys[i][0], "minibatch": minibatch, **texts})
        write_rows(path, rows)
    return rows


def read_rows(path: Path) -> list[dict[str, str]]:
    """What an earlier run wrote."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Replaces the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def compare(
    rows: list[dict[str, str]], true: np.ndarray, published: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Of every proxy and cost: Spearman, its published absolute value, seconds per cell."""
    found: dict[str, dict[str, Any]] = {}
    for name in (*PROXIES, *COSTS):
        scores = np.array([float(row[name]) for row in rows])
        is_finite = np.isfinite(scores)
        # cells without a score rank last
        result = correlation(spearmanr, np.where(is_finite, scores, -np.inf), true)
        found[name] = {**result, "num_not_finite": int((~is_finite).sum())}
        if name in published:
            found[name]["published"] = published[name]
            found[name]["difference"] = abs(result["value"]) - published[name]
        if name in PROXIES:
            seconds = [float(row[f"{name}_seconds"]) for row in rows]
            found[name]["mean_seconds_per_cell"] = float(np.mean(seconds))
    return found


if __name__ == "__main__":
    main()
