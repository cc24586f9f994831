#!/usr/bin/env python3
"""How many queries does each search algorithm need on the NAS-Bench-201 table?

Every algorithm searches for the best cell of a column of the table, from several seeds: as it is,
with noise on what it is told, with the best cells left out, in batches, with the values of all
cells shuffled, where nothing can be learned, and on a noisy early column. Counts the queries until
the best cell is asked for, exactly within a batch. Every run is kept as a line of a file, and is
not repeated.

    python benchmarks/search_nasbench201.py --table nasbench201.csv.gz \
        --columns cifar10_test_acc_200ep cifar100_test_acc_200ep \
        --early-columns cifar10_valid_acc_12ep cifar100_valid_acc_12ep \
        --algorithms structural-bo weaknas weaknas:predictor=random_forest \
        --seeds 50 --runs runs/search_study --output benchmarks/results/search_nasbench201.json

Options of an algorithm follow its name: ``regularized-evolution:population_size=20``. Proxies of
``proxybo`` are columns of ``--proxies``, a file of benchmarks/zero_cost_nasbench201.py, where a
cell has those of its class of equals: ``proxybo:proxies=snip+synflow+jacob_cov``; with
``shuffled`` before a name they are dealt to the classes at random. ``optuna-tpe``, ``optuna-gp``
and ``optuna-nsga2`` are samplers of the package optuna, if it is there (see optuna_peer.py).
Processes can share the work by naming different algorithms or tasks; a last one with ``--seeds 0``,
naming all, writes the result. ``--update`` measures some algorithms anew, and keeps the results of
the others, whose commands and dates are then listed under ``earlier``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hardware import write_result
from numpy.typing import NDArray
from tqdm import tqdm

from estimators import TabularEstimator
from estimators.trials.store import Trial
from search import ALGORITHMS, SearchAlgorithm, SearchProblem, create_algorithm
from supernets import Architecture
from supernets.spaces.factory import create_space
from supernets.spaces.nasbench201 import NASBench201Space

if TYPE_CHECKING:
    from optuna_peer import OptunaSearch

CHECKPOINTS = (50, 100, 150, 200)
NOISE = 0.25  # standard deviation of the noise on labels, in percent
BATCH_SIZE = 10  # of the tasks in batches
MAX_REMOVED = 3
SHUFFLED = "shuffled+"  # before names of proxies
BASELINE = "regularized-evolution"  # whose regret after the last checkpoint is a level to reach
#: Mean queries to the optimum of CIFAR-10 and CIFAR-100 in Table 5 of WeakNAS,
#: https://arxiv.org/abs/2102.10490, which searches validation accuracies of another training.
PUBLISHED = {
    "random": (7782.1, 7621.2),
    "regularized-evolution": (563.2, 438.2),
    "mcts": (528.3, 405.4),
    "lanas": (247.1, 187.5),
    "weaknas": (182.1, 78.4),
}


@dataclass(frozen=True)
class Task:
    """A search for the best of some values.

    Args:
        name: Unique.
        values: What is searched, by architecture, in percent.
        truth: What a found architecture is worth, in percent.
        noise: Standard deviation of what is added to the values the algorithm is told.
        in_batches: Whether ``BATCH_SIZE`` are asked for at once.
        space: Name of the space of the architectures.
        in_pool: Whether the values are of a part of a space that is too large to list.
    """

    name: str
    values: dict[Architecture, float]
    truth: dict[Architecture, float]
    noise: float = 0.0
    in_batches: bool = False
    space: str = "nasbench201"
    in_pool: bool = False


def main() -> None:
    """Runs what is missing, and sums it up."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--table", type=Path, required=True)
    add("--columns", nargs="+", required=True, help="true accuracies")
    add("--early-columns", nargs="*", default=[], help="noisy early ones, in the same order")
    add("--algorithms", nargs="+", required=True, metavar="NAME[:OPTION=VALUE,…]")
    add("--tasks", nargs="+", help="to run, of those the columns make (default: all)")
    add("--seeds", type=int, default=50, help="0: sums up what there is")
    add("--max-queries", type=int, default=1000)
    add("--runs", type=Path, required=True, help="folder of finished runs")
    add("--proxies", type=Path, help="zero-cost scores of cells, .csv.gz, for proxybo")
    add("--output", type=Path, help="where the result of all runs goes (default: nowhere)")
    add("--update", action="store_true", help="keep what --output has of other algorithms")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    if args.update and (args.output is None or not args.output.exists()):
        parser.error("--update is of an --output that exists.")
    space = NASBench201Space()
    proxies = None if args.proxies is None else Proxies(args.proxies, space)

    def column(name: str) -> dict[Architecture, float]:
        return dict(TabularEstimator.open(args.table, space, value_column=name).values)

    tasks = make_tasks(args.columns, args.early_columns, column)
    chosen = [task for task in tasks if args.tasks is None or task.name in args.tasks]
    args.runs.mkdir(parents=True, exist_ok=True)
    records: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for spec in args.algorithms:
        for task in chosen:
            done = finished(args.runs, spec, task, args.seeds, args.max_queries, proxies)
            if done:
                records.setdefault(task.name, {})[spec] = done
    if args.output is not None:
        result = {task: summaries(by_spec) for task, by_spec in records.items()}
        earlier: list[dict[str, Any]] = []
        if args.update:
            before = json.loads(args.output.read_text(encoding="utf-8"))
            of_before = {key: before[key] for key in ("command", "date", "hardware", "versions")}
            earlier = [*before.get("earlier", []), of_before]
            kept = before["tasks"]
            result = {task: kept.get(task, {}) | result.get(task, {}) for task in kept | result}
            args.note = args.note or before["note"]
        measured = {task: [*by_spec] for task, by_spec in records.items()}
        write_result(
            args.output,
            {
                "note": args.note,
                "earlier": earlier,
                "measured_by_the_last_command": measured,
                "published": PUBLISHED,
                "tasks": result,
            },
        )


class Proxies:
    """Zero-cost scores of all cells.

    Args:
        path: A file of benchmarks/zero_cost_nasbench201.py.
        space: The cells.
    """

    def __init__(self, path: Path, space: NASBench201Space) -> None:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        scored = [space.parse(row["arch_str"]) for row in rows]
        # by function; files scored by the benchmark's rule lack some, which have those of its class
        row_of = {space.unique_string(arch): i for i, arch in reversed([*enumerate(scored)])}
        row_of |= {space.function_string(arch): i for i, arch in reversed([*enumerate(scored)])}
        self._rows: dict[tuple[int, ...], int] = {}
        missing = 0
        for arch in space.enumerate():
            row = row_of.get(space.function_string(arch), row_of.get(space.unique_string(arch)))
            missing += row is None
            self._rows[arch.choices] = -1 if row is None else row
        if missing:
            raise SystemExit(f"{path} lacks scores of {missing} cells; score them all.")
        self._columns = {
            column: np.array([float(row[column]) for row in rows])
            for column in rows[0]
            if column != "arch_str"
        }

    def inputs(self, names: str) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        """Gives proxies of choices (num_archs, num_decisions), (num_archs, num_proxies)."""
        chosen = names.removeprefix(SHUFFLED).split("+")
        unknown = set(chosen) - set(self._columns)
        if unknown:
            raise SystemExit(
                f"No proxies {', '.join(unknown)}; there are {', '.join(self._columns)}."
            )
        table = np.stack([self._columns[name] for name in chosen], axis=1)
        if names.startswith(SHUFFLED):
            table = np.random.default_rng(0).permuted(table, axis=0)

        def proxies(choices: NDArray[np.int64]) -> NDArray[np.float64]:
            return table[[self._rows[tuple(row)] for row in choices.tolist()]]

        return proxies


def make_tasks(
    columns: list[str], early_columns: list[str], column: Callable[[str], dict[Architecture, float]]
) -> list[Task]:
    """All tasks of some columns."""
    tasks = []
    for number, name in enumerate(columns):
        truth = column(name)
        short = name.split("_")[0]
        tasks.append(Task(short, truth, truth))
        best_first = sorted(truth, key=lambda arch: -truth[arch])
        for num in range(1, MAX_REMOVED + 1):
            left = {arch: truth[arch] for arch in best_first[num:]}
            tasks.append(Task(f"{short}-without-{num}", left, truth))
        tasks.append(Task(f"{short}-noise", truth, truth, noise=NOISE))
        tasks.append(Task(f"{short}-batches", truth, truth, in_batches=True))
        archs = list(truth)
        order = np.random.default_rng(0).permutation(len(archs))
        shuffled = {arch: truth[archs[i]] for arch, i in zip(archs, order, strict=True)}
        tasks.append(Task(f"{short}-shuffled", shuffled, shuffled))
        if number < len(early_columns):
            tasks.append(Task(f"{short}-early", column(early_columns[number]), truth))
    return tasks


def finished(
    folder: Path,
    spec: str,
    task: Task,
    num_seeds: int,
    max_queries: int,
    proxies: Proxies | None,
) -> list[dict[str, Any]]:
    """The runs of an algorithm on a task, after running those that are missing."""
    path = folder / f"{task.name}--{re.sub('[^a-z0-9=.-]+', '_', spec)}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    runs = {run["seed"]: run for run in map(json.loads, lines)}
    for seed in tqdm(range(num_seeds), desc=f"{spec}, {task.name}", unit="run", leave=False):
        if seed not in runs:
            runs[seed] = search(spec, task, seed, max_queries, proxies)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(runs[seed]) + "\n")
    return [runs[seed] for seed in sorted(runs) if not num_seeds or seed < num_seeds]


def search(
    spec: str, task: Task, seed: int, max_queries: int, proxies: Proxies | None
) -> dict[str, Any]:
    """One search, until the best is asked for or there are no queries left."""
    name, options = parsed(spec)
    features = None
    if "proxies" in options:
        if proxies is None:
            raise SystemExit(f"{spec} needs --proxies.")
        names = options.pop("proxies")
        features = proxies.inputs(names)
        options["predictor_inputs"] = names.removeprefix(SHUFFLED).split("+")
    space = create_space(task.space)
    best = max(task.values.values())
    targets = {arch for arch, value in task.values.items() if value == best}
    archs = list(task.truth)
    noise = np.random.default_rng((seed, 1)).normal(scale=task.noise or 1.0, size=len(archs))
    told = dict(task.values)
    if task.noise:
        told = {a: told[a] + e for a, e in zip(archs, noise, strict=True) if a in told}
    known = {arch.choices for arch in task.values}

    def are_feasible(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([tuple(row) in known for row in choices.tolist()], np.bool_)

    algorithm: SearchAlgorithm | OptunaSearch
    if name.startswith("optuna-"):
        from optuna_peer import OptunaSearch  # needs the package

        if len(known) < len(archs) or task.in_batches or task.in_pool:
            raise SystemExit(f"{spec} is run on whole tables and one by one, not on {task.name}.")
        algorithm, batch_size = OptunaSearch(name, space, seed, **options), 1
    else:
        batch_size = BATCH_SIZE if task.in_batches else ALGORITHMS[name].batch_size
        problem = SearchProblem(
            space,
            seed,
            are_feasible=are_feasible if len(known) < len(archs) else None,
            zero_cost_features=features,
            pool=list(task.values) if task.in_pool else None,
        )
        algorithm = create_algorithm(name, problem, **options)
    started = time.perf_counter()
    found = None
    while len(algorithm.trials) < max_queries:
        # what is found stays found, unless noise hides it
        if found is not None and (not task.noise or len(algorithm.trials) >= CHECKPOINTS[-1]):
            break
        start = len(algorithm.trials)
        asked = algorithm.ask(min(algorithm.next_batch_size(batch_size), max_queries - start))
        if not asked:  # a sampler that only repeats itself
            break
        algorithm.tell([Trial(start + i, a, told[a], {}, 0.0, None) for i, a in enumerate(asked)])
        if found is None and targets & set(asked):
            found = start + 1 + min(asked.index(arch) for arch in targets if arch in asked)
    seconds = time.perf_counter() - started
    optimum = max(task.truth[arch] for arch in task.values)
    incumbent: Trial | None = None
    steps: list[tuple[int, float]] = []  # where the regret changes, and to what
    for number, trial in enumerate(algorithm.trials, start=1):
        assert trial.score is not None
        if incumbent is None or incumbent.score is None or trial.score > incumbent.score:
            incumbent = trial
            steps.append((number, round(optimum - task.truth[trial.arch], 4)))
    return {
        "seed": seed,
        "queries": found,
        "num_trials": len(algorithm.trials),
        "regret_steps": steps,
        "seconds": seconds,
        "repeats": getattr(algorithm, "num_repeats", 0),
    }


def parsed(spec: str) -> tuple[str, dict[str, Any]]:
    """The name of an algorithm and its options."""
    name, _, rest = spec.partition(":")
    options: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return name, options


def regrets(run: dict[str, Any]) -> NDArray[np.float64]:
    """After each of the first queries, up to the last checkpoint: of the best as told."""
    numbers, values = zip(*run["regret_steps"], strict=True)
    after = np.searchsorted(numbers, np.arange(1, CHECKPOINTS[-1] + 1), side="right") - 1
    return np.array(values)[after]


def summaries(by_spec: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Of all algorithms on a task, and when they are as good as evolution after all checkpoints."""
    result = {spec: summary(runs) for spec, runs in by_spec.items()}
    if BASELINE in by_spec:
        curves = {
            spec: np.mean([regrets(run) for run in runs], axis=0) for spec, runs in by_spec.items()
        }
        for spec, curve in curves.items():
            is_there = curve <= curves[BASELINE][-1]
            number = int(is_there.argmax()) + 1 if is_there.any() else None
            result[spec]["queries_to_level_of_baseline"] = number
    return result


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Over seeds; queries of runs that never found the best are left out, and counted.

    ``mean_at_least`` is the mean where such a run counts as all the queries it made.
    """
    queries = np.array([run["queries"] for run in runs if run["queries"] is not None])
    curves = np.array([regrets(run) for run in runs])
    few, several = len(queries) == 0, len(queries) > 1
    return {
        "runs": len(runs),
        "not_found": len(runs) - len(queries),
        "most_queries": max(run["num_trials"] for run in runs),
        "queries": {
            "mean": None if few else float(queries.mean()),
            "sd": float(queries.std(ddof=1)) if several else None,
            "standard_error": float(queries.std(ddof=1) / len(queries) ** 0.5) if several else None,
            "median": float(np.median([run["queries"] or np.inf for run in runs]))
            if 2 * len(queries) > len(runs)
            else None,
            "max": None if few else int(queries.max()),
            "mean_at_least": float(np.mean([run["queries"] or run["num_trials"] for run in runs])),
        },
        "regret": {
            str(at): {
                "mean": float(curves[:, at - 1].mean()),
                "sd": float(curves[:, at - 1].std(ddof=1)) if len(runs) > 1 else None,
            }
            for at in CHECKPOINTS
        },
        "repeats_per_run": float(np.mean([run.get("repeats", 0) for run in runs])),
        "seconds_per_run": float(np.mean([run["seconds"] for run in runs])),
        "seconds_per_query": float(
            np.sum([run["seconds"] for run in runs]) / np.sum([run["num_trials"] for run in runs])
        ),
    }


if __name__ == "__main__":
    main()
