#!/usr/bin/env python3
"""How well do zero-cost proxies rank the cells of NAS-Bench-201?

Scores cells as full-size networks with fresh weights on one minibatch of train images, and compares
the ranks with a table of true accuracies: Spearman beside the published value, with bootstrap 95 %
intervals, and the seconds per cell. The cells are those first in the table of each function, 5,260
of 15,625, in a random order; all cells are compared too, with the scores of their functions and
their own costs as the benchmark counts them. Resumes where it was stopped.

    python benchmarks/zero_cost_nasbench201.py --dataset cifar10 --data-dir data \
        --table nasbench201.csv.gz --columns cifar10_test_acc_200ep \
        --scores runs/zero_cost --output benchmarks/results/zero_cost_nasbench201.json \
        --file benchmarks/results/zero_cost_nasbench201.csv.gz

Processes can share the work by ``--part 0 2`` and ``--part 1 2``; a last one, without, writes the
result. With ``--recount`` nothing is scored: costs and comparisons of an earlier ``--output`` and
``--file`` are computed anew from the scores in the file.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from nasbench201_truth import NUM_BOOTSTRAP
from torch import Tensor
from tqdm import tqdm

from estimators import TabularEstimator
from estimators.scores.zero_cost import PROXIES, measure_proxies
from supernets import Architecture, CostModel, Supernet, create_supernet
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.runtime.atomic_write import atomic_write
from supernets.spaces.nasbench201 import NASBench201Space

WEIGHT_SEED = 42  # of the first cell's weights; those of every other cell have the next one
CELL_SEED = 0
BATCH_SIZE = 64
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

#: Of a cell: a proxy's score and seconds, by its name.
Measured = dict[str, dict[str, float]]


def main() -> None:
    """Scores the cells that have no scores yet, and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--dataset", choices=("cifar10", "cifar100", "folder"))
    add("--data-dir", type=Path)
    add("--table", type=Path, required=True)
    add("--columns", nargs="+", required=True, help="true accuracies")
    add("--scores", type=Path, help="folder of the cells' scores, to resume from")
    add("--recount", action="store_true", help="only compare anew what --output and --file hold")
    add("--proxies", nargs="+", choices=tuple(PROXIES), default=list(PROXIES))
    add("--num-cells", type=int, help="how many (default: all)")
    add("--part", type=int, nargs=2, metavar=("I", "N"), help="only measures every Nth cell")
    add("--output", type=Path, help="where the result goes (default: nowhere)")
    add("--file", type=Path, help="where the scores go, as .csv.gz (default: nowhere)")
    add("--threads", type=int, default=1)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.recount:
        recount(args)
        return
    if args.dataset is None or args.data_dir is None or args.scores is None:
        parser.error("--dataset, --data-dir and --scores are required without --recount")

    loaders = create_loaders(
        DataConfig(args.dataset, data_dir=args.data_dir), batch_size=BATCH_SIZE
    )
    supernet = create_supernet(
        "nasbench201",
        num_classes=loaders.num_classes,
        input_size=loaders.input_size,
        bn_mode="affine",  # that of the stand-alone networks
    )
    space = supernet.space
    assert isinstance(space, NASBench201Space)
    truths = read_truths(args, space)
    cells = unique_cells(space, list(truths[args.columns[0]]))[: args.num_cells]
    x, y = next(iter(loaders.train))
    args.scores.mkdir(parents=True, exist_ok=True)
    part, num_parts = args.part or (0, 1)
    score_cells(supernet, cells, args.proxies, x, y, args.scores, part=part, num_parts=num_parts)
    if args.part is not None:
        return
    known = read_scores(args.scores, minibatch(x, y))
    scores = [
        {proxy: known[space.format(cell)][proxy]["score"] for proxy in args.proxies}
        for cell in cells
    ]
    rows = with_costs(supernet, cells, scores)
    if args.file is not None:
        write_file(args.file, [space.format(cell) for cell in cells], rows)
    if args.output is not None:
        seconds = {
            proxy: float(np.mean([known[space.format(cell)][proxy]["seconds"] for cell in cells]))
            for proxy in args.proxies
        }
        write_result(
            args.output,
            {
                "note": args.note,
                "data": loaders.settings,
                "network": supernet.settings,
                "mean_seconds_per_cell": seconds,
                **comparisons(supernet, cells, rows, truths, with_all=args.num_cells is None),
            },
        )


def read_truths(
    args: argparse.Namespace, space: NASBench201Space
) -> dict[str, Mapping[Architecture, float]]:
    """Of every column of the table."""
    return {
        column: TabularEstimator.from_csv(args.table, space, value_column=column).values
        for column in args.columns
    }


def recount(args: argparse.Namespace) -> None:
    """Computes the costs and comparisons of an earlier result anew, from the scores in its file."""
    earlier = json.loads(args.output.read_text(encoding="utf-8"))
    with torch.device("meta"):
        supernet = create_supernet("nasbench201", **earlier["network"])
    space = supernet.space
    assert isinstance(space, NASBench201Space)
    with gzip.open(args.file, "rt", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    cells = [space.parse(row["arch_str"]) for row in found]
    proxies = [name for name in found[0] if name in PROXIES]
    scores = [{name: float(row[name]) for name in proxies} for row in found]
    rows = with_costs(supernet, cells, scores)
    write_file(args.file, [space.format(cell) for cell in cells], rows)
    kept = ("data", "network", "mean_seconds_per_cell")
    write_result(
        args.output,
        {
            "note": args.note or earlier["note"],
            "measured_by": earlier.get("measured_by", earlier["command"]),
            "measured_on": earlier.get("measured_on", earlier["date"]),
            **{name: earlier[name] for name in kept},
            **comparisons(supernet, cells, rows, read_truths(args, space), with_all=True),
        },
    )


def with_costs(
    supernet: Supernet, cells: Sequence[Architecture], scores: Sequence[Mapping[str, float]]
) -> list[dict[str, float]]:
    """Scores of cells and their costs, of the network one gets and as the benchmark counts."""
    costs = CostModel(supernet)
    return [{**row, **costs.metrics(cell)} for cell, row in zip(cells, scores, strict=True)]


def comparisons(
    supernet: Supernet,
    cells: Sequence[Architecture],
    rows: Sequence[dict[str, float]],
    truths: Mapping[str, Mapping[Architecture, float]],
    *,
    with_all: bool,
) -> dict[str, Any]:
    """The first scored cell of every function, and all cells whose function was scored."""
    space = supernet.space
    assert isinstance(space, NASBench201Space)
    row_of: dict[str, dict[str, float]] = {}
    unique = []
    for cell, row in zip(cells, rows, strict=True):
        name = space.function_string(cell)
        if name not in row_of:
            row_of[name] = row
            unique.append(cell)
    result: dict[str, Any] = {
        "num_cells": len(unique),
        "spearman": spearmans(list(row_of.values()), unique, truths),
    }
    if with_all:
        cells = [
            cell for cell in next(iter(truths.values())) if space.function_string(cell) in row_of
        ]
        rows = with_costs(supernet, cells, [row_of[space.function_string(cell)] for cell in cells])
        result["num_all_cells"] = len(cells)
        result["spearman_of_all_cells"] = spearmans(rows, cells, truths)
    return result


def unique_cells(space: NASBench201Space, cells: Sequence[Architecture]) -> list[Architecture]:
    """The first of every function, in a random order."""
    first: dict[str, Architecture] = {}
    for cell in cells:
        first.setdefault(space.function_string(cell), cell)
    order = np.random.default_rng(CELL_SEED).permutation(len(first))
    return [list(first.values())[i] for i in order]


def score_cells(
    supernet: Supernet,
    cells: Sequence[Architecture],
    proxies: Sequence[str],
    x: Tensor,
    y: Tensor,
    folder: Path,
    *,
    part: int,
    num_parts: int,
) -> None:
    """Adds a line for every cell that lacks some of the scores to a file of the folder."""
    batch = minibatch(x, y)
    known = read_scores(folder, batch)
    path = folder / f"part-{part}-of-{num_parts}.jsonl"
    for number in tqdm(range(part, len(cells), num_parts), "Scoring", disable=None):
        name = supernet.space.format(cells[number])
        missing = [proxy for proxy in proxies if proxy not in known.get(name, {})]
        if not missing:
            continue
        torch.manual_seed(WEIGHT_SEED + number)
        network = supernet.build_subnet(cells[number])
        scores, seconds = measure_proxies(network, x, y, missing)
        measured = {proxy: {"score": scores[proxy], "seconds": seconds[proxy]} for proxy in missing}
        line = json.dumps({"cell": name, "minibatch": batch, "measured": measured})
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def minibatch(x: Tensor, y: Tensor) -> str:
    """What tells a minibatch from others."""
    return hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()[:12]


def read_scores(folder: Path, batch: str) -> dict[str, Measured]:
    """What earlier runs measured, by the cells' notation; a line that was cut off is left out."""
    found: dict[str, Measured] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["minibatch"] != batch:
                raise SystemExit(f"{path} is of another minibatch; choose other --scores.")
            found.setdefault(row["cell"], {}).update(row["measured"])
    return found


def write_file(path: Path, cells: Sequence[str], rows: Sequence[dict[str, float]]) -> None:
    """Scores to seven digits as a compressed CSV file, the same bytes for the same scores."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["arch_str", *rows[0]])
    for cell, row in zip(cells, rows, strict=True):
        writer.writerow([cell, *(f"{value:.7g}" for value in row.values())])
    with atomic_write(path, "wb") as file:
        file.write(gzip.compress(text.getvalue().encode("utf-8"), mtime=0))


def spearmans(
    rows: Sequence[dict[str, float]],
    cells: Sequence[Architecture],
    truths: Mapping[str, Mapping[Architecture, float]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """``compare`` with every column."""
    return {
        column: compare(
            rows,
            np.array([truth[cell] for cell in cells]),
            PUBLISHED.get(column.split("_")[0], {}),
        )
        for column, truth in truths.items()
    }


def spearman(scores: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Spearman's correlation with its percentile bootstrap interval over the cells."""
    groups = [np.unique(values, return_inverse=True)[1] for values in (scores, true)]

    def of(chosen: np.ndarray) -> float:
        ranks = []
        for group in groups:
            drawn = np.bincount(group[chosen])
            ranks.append((np.cumsum(drawn) - (drawn - 1) / 2)[group[chosen]])
        return float(np.corrcoef(*ranks)[0, 1])

    num, rng = len(true), np.random.default_rng(0)
    draws = [of(rng.integers(num, size=num)) for _ in range(NUM_BOOTSTRAP)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"value": of(np.arange(num)), "low": float(low), "high": float(high)}


def compare(
    rows: Sequence[dict[str, float]], true: np.ndarray, published: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Of every proxy and cost: Spearman, and its published absolute value."""
    found: dict[str, dict[str, Any]] = {}
    for name in rows[0]:
        scores = np.array([row[name] for row in rows])
        is_finite = np.isfinite(scores)
        # cells without a score rank last
        result = spearman(np.where(is_finite, scores, -np.inf), true)
        found[name] = {**result, "num_not_finite": int((~is_finite).sum())}
        if name in published:
            found[name]["published"] = published[name]
            found[name]["difference"] = abs(result["value"]) - published[name]
    return found


if __name__ == "__main__":
    main()
