#!/usr/bin/env python3
"""Does a staged search find better architectures than its top level alone, at equal cost?

Searches tables: what a level measures is a column, or a column with noise of a known size, and
takes as long as is said here; nothing is trained. Beside the staged search stand the same search
of its top level alone, random architectures measured at the top level, and the architecture of
most MACs. All are read at several costs, on the whole space and within windows of MACs, where
these say nothing. What is found is looked up in a column that no search sees, where there is one.

    python benchmarks/staged_tables.py --nasbench201 nasbench201.csv.gz \
        --nasbench-macro nasbench_macro.csv.gz --accel-nasbench accel_nasbench.csv.gz \
        --runs runs/staged_tables --output benchmarks/results/staged_tables.json

Finished searches are kept in ``--runs``: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hardware import write_result
from numpy.typing import NDArray

from search.algorithms.log_regret_gp import log_regrets
from search.algorithms.meta_supernets import meta_supernet
from search.algorithms.problem import SearchProblem
from search.staged.algorithm import StagedSearch
from search.staged.records import LevelTrial
from supernets.runtime.atomic_write import atomic_write
from supernets.spaces import Architecture
from supernets.spaces.factory import create_space

Floats = NDArray[np.float64]

STAGED, TOP_ALONE, RANDOM, HEAVIEST = "staged", "top level alone", "random", "most MACs"
#: Targets of the windows, as quantiles of the MACs of all; half their width.
TARGETS, WIDTH = (0.4, 0.7, 0.9), 0.05


@dataclass(frozen=True)
class Table:
    """What is searched: levels with their costs, and what counts in the end."""

    space: str
    archs: Sequence[Architecture]
    names: Sequence[str]
    levels: Sequence[Floats]  # each (num_archs,)
    seconds: Sequence[float]
    truth: Floats  # (num_archs,)
    macs: Floats  # (num_archs,)
    #: Where searches are read, in the unit of the seconds.
    budgets: Sequence[float]
    has_windows: bool = True


def main() -> None:
    """Runs what is missing, and sums it up."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--nasbench201", type=Path, required=True)
    add("--nasbench-macro", type=Path, required=True)
    add("--accel-nasbench", type=Path, required=True)
    add("--seeds", type=int, default=10)
    add("--runs", type=Path, required=True, help="folder of finished searches")
    add("--output", type=Path, required=True)
    add("--only", nargs="+", help="tables to search (default: all)")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    started = time.perf_counter()
    args.runs.mkdir(parents=True, exist_ok=True)
    tables = {
        "nasbench201": lambda: nasbench201(args.nasbench201),
        "nasbench_macro": lambda: nasbench_macro(args.nasbench_macro),
        "accel_nasbench": lambda: accel_nasbench(args.accel_nasbench),
    }
    results: dict[str, Any] = {}
    for name in args.only or tables:
        table = tables[name]()
        results[name] = {
            "levels": dict(zip(table.names, table.seconds, strict=True)),
            "budgets": list(table.budgets),
            "parts": dict(parts_of(name, table, args.seeds, args.runs)),
        }
    seconds = time.perf_counter() - started
    write_result(
        args.output,
        {"note": args.note, "seeds": args.seeds, "wall_seconds": seconds, "tables": results},
    )


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows: Sequence[dict[str, str]], name: str) -> Floats:
    """A column as numbers."""
    return np.array([float(row[name]) for row in rows])


def macs_of(space: str, archs: Sequence[Architecture]) -> Floats:
    """Live multiply-accumulates of the published networks."""
    counting = meta_supernet(space)
    assert counting is not None
    choices = create_space(space).choices_of(archs)
    return np.asarray(counting.count(choices)[1], np.float64)


def nasbench201(path: Path) -> Table:
    """Trainings of 12 epochs are the top; those on other images, and noise, stand for less."""
    rows, space = read(path), create_space("nasbench201")
    archs = [space.parse(row["arch_str"]) for row in rows]
    other, top = (column(rows, f"{name}_valid_acc_12ep") for name in ("cifar100", "cifar10"))
    noise = np.random.default_rng(0).normal(0, 6, len(archs))
    return Table(
        space.name,
        archs,
        ["12 epochs on CIFAR-100, noise of 6 points", "12 epochs on CIFAR-10"],
        [other + noise, top],
        [100, 1800],
        column(rows, "cifar10_test_acc_200ep"),
        macs_of(space.name, archs),
        [3600, 7200, 14400],
    )


def nasbench_macro(path: Path) -> Table:
    """One training is the top, and the same with noise stands for a short one."""
    rows, space = read(path), create_space("nasbench_macro")
    known = {space.parse(row["arch"]): row for row in rows}
    archs, rows = list(known), list(known.values())
    top = column(rows, "acc_seed0")
    noise = np.random.default_rng(0).normal(0, 1.5, len(archs))
    return Table(
        space.name,
        archs,
        ["one training, noise of 1.5 points", "one training"],
        [top + noise, top],
        [100, 1800],
        column(rows, "cifar10_test_acc"),
        macs_of(space.name, archs),
        [3600, 7200, 14400],
    )


def accel_nasbench(path: Path) -> Table:
    """Accuracies are the top; parameters, and accuracies with noise, are the levels below."""
    rows, space = read(path), create_space("mnasnet")
    archs = [space.parse(row["arch"]) for row in rows]
    top = column(rows, "imagenet_val_top1")
    noise = np.random.default_rng(0).normal(0, 1.0, len(archs))
    return Table(
        space.name,
        archs,
        ["parameters", "accuracy, noise of 1 point", "accuracy"],
        [column(rows, "params_m"), top + noise, top],
        [0.001, 0.05, 1.0],
        top,
        column(rows, "macs_m"),
        [10, 20, 40],
        has_windows=False,
    )


def parts_of(
    name: str, table: Table, seeds: int, runs: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole table, and windows of MACs."""
    parts = {"whole": np.ones(len(table.archs), np.bool_)}
    for target in np.quantile(table.macs, TARGETS) if table.has_windows else ():
        inside = np.abs(table.macs - target) <= WIDTH * target
        parts[f"MACs around {target:.3g}"] = inside
    for part, inside in parts.items():
        rows = np.flatnonzero(inside)
        yield part, searched(f"{name} {part}", table, rows, seeds, runs)


def searched(
    title: str, table: Table, rows: NDArray[np.intp], seeds: int, runs: Path
) -> dict[str, Any]:
    """What all methods found in a part of a table."""
    truth = table.truth[rows]
    found: dict[str, Any] = {}
    trust: list[Any] = []
    for method in (STAGED, TOP_ALONE):
        records = [kept(runs, title, method, table, rows, seed) for seed in range(seeds)]
        found[method] = {"true": [record["true"] for record in records]}
        if method == STAGED:
            trust = [record["trust"] for record in records]
    found[RANDOM] = {"true": [random_search(table, rows, seed) for seed in range(seeds)]}
    heaviest = float(truth[int(table.macs[rows].argmax())])
    found[HEAVIEST] = {"true": [[heaviest] * len(table.budgets)]}
    best = float(truth.max())
    for values in found.values():
        regrets = best - np.array(values["true"])
        values["mean_regret"] = regrets.mean(axis=0).round(4).tolist()
        values["largest_regret"] = regrets.max(axis=0).round(4).tolist()
    labels = [log_regrets(level[rows]) for level in table.levels]
    correlations = [float(np.corrcoef(label, labels[-1])[0, 1]) for label in labels]
    return {
        **{"num_archs": len(rows), "best": best, "mean": float(truth.mean().round(4))},
        "methods": found,
        "trust": {"learned": trust, "true": [round(value, 3) for value in correlations]},
    }


def kept(
    runs: Path, title: str, method: str, table: Table, rows: NDArray[np.intp], seed: int
) -> dict[str, Any]:
    """A search's record, made if it is not there yet."""
    path = runs / f"{title} {method} {seed}.json".replace(" ", "-")
    if not path.exists():
        record = search(table, rows, method, seed)
        with atomic_write(path) as file:
            file.write(json.dumps(record))
        print(path.stem, record["true"], file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def search(table: Table, rows: NDArray[np.intp], method: str, seed: int) -> dict[str, Any]:
    """The true value of the answer after every budget, and what is learned of the levels.

    Each budget is searched from the beginning, as a search that is given it plans with it.
    """
    archs = [table.archs[row] for row in rows]
    row_of = dict(zip(archs, rows, strict=True))
    first = 0 if method == STAGED else len(table.levels) - 1
    true, trust = [], []
    for budget in table.budgets:
        problem = SearchProblem(create_space(table.space), seed, pool=archs)
        heaviest = archs[int(table.macs[rows].argmax())]
        levels = len(table.levels) - first
        staged = StagedSearch(problem, levels, budget, first=[heaviest])
        while (asked := staged.ask()) is not None:
            level = asked.level + first
            score = float(table.levels[level][row_of[asked.arch]])
            staged.tell([LevelTrial(*asked, score, table.seconds[level])])
        answer = staged.answer()
        assert answer is not None
        true.append(float(table.truth[row_of[answer.arch]]))
        trust = [[round(each, 3) for each in interval] for interval in answer.trust]
    return {"true": true, "trust": trust}


def random_search(table: Table, rows: NDArray[np.intp], seed: int) -> list[float]:
    """The true value of the best of random ones at the top level, after every budget."""
    order = np.random.default_rng(seed).permutation(rows)
    true = []
    for budget in table.budgets:
        drawn = order[: int(budget / table.seconds[-1])]
        true.append(float(table.truth[drawn[int(table.levels[-1][drawn].argmax())]]))
    return true


if __name__ == "__main__":
    main()
