#!/usr/bin/env python3
"""Does a search find subnets that train better than the best random ones?

Searches a trained supernet within a window of MACs by several algorithms, random search among them,
with TSE and with validation accuracy, and trains what was found from scratch, all for equally many
epochs. Beside these stand the heaviest of the subnets drawn at random, which needs no supernet at
all, and some of them as they come.
Whatever has finished is kept: the same command goes on where it was stopped.

    python benchmarks/search_and_retrain.py --supernet runs/sandwich/last.pt --data-dir DIR \
        --min-macs 9e6 --max-macs 10e6 --runs runs/study --output benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hardware import write_result

from supernets import CostModel, load_supernet

ESTIMATORS = ("tse", "val_acc")
ALGORITHMS = ("weaknas", "random")  # the default
#: Methods of choosing without a search.
HEAVIEST, ANY = "heaviest-random", "any-random"


def main() -> None:
    """Runs what is not there yet, then writes the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--supernet", type=Path, required=True)
    add("--data-dir", type=Path, required=True)
    add("--min-macs", type=float, required=True)
    add("--max-macs", type=float, required=True)
    add("--runs", type=Path, required=True, help="folder of all searches and trainings")
    add("--output", type=Path, required=True)
    add("--algorithms", nargs="+", default=ALGORITHMS, help="random must be one of them")
    add("--num-trials", type=int, default=100)
    add("--num-initial", type=int, help="random trials that searches but random ones begin with")
    add("--trials-at-once", type=int, default=10, help="between two updates of a search")
    add("--tse-batches", type=int, default=20)
    add("--tse-batch-size", type=int, help="(default: --batch-size)")
    add("--val-batches", type=int, default=10, help="of 512 val images")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the searches but random ones")
    add("--random-seeds", type=int, nargs="+", default=[0], help="of the random searches")
    add("--trainings", type=int, default=5, help="of each method, seeds counted from 0")
    add("--heaviest-trainings", type=int, help="of the heaviest random one (default: --trainings)")
    add("--any-random", type=int, default=0, help="random subnets trained once each")
    add("--epochs", type=int, default=5, help="of each training")
    add("--lr", type=float, default=0.1)
    add("--warmup-epochs", type=int, default=1)
    add("--batch-size", type=int, default=128)
    add("--jobs", type=int, default=2, help="processes at a time, one thread each")
    add("--only", choices=("searches", "trainings"), help="run these and write no result")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    if "random" not in args.algorithms:
        parser.error("--algorithms must have random among them")
    for name in ("supernet", "data_dir", "runs", "output"):  # commands run elsewhere
        setattr(args, name, getattr(args, name).resolve())

    names = [search_name(a, e, s) for a, e, s in plan(args)]
    if args.only != "trainings":
        run_all(args, [search_command(args, *search) for search in plan(args)], names)
    if args.only == "searches":
        return
    found = {name: read_best(args, name) for name in names}
    subnets = choose(args, found)
    run_trainings(args, subnets)
    if args.only is None:
        write_result(args.output, compare(args, found, subnets))


def plan(args: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Algorithm, estimator and seed of every search."""
    return [
        (algorithm, estimator, seed)
        for algorithm in args.algorithms
        for estimator in ESTIMATORS
        for seed in seeds_of(args, algorithm)
    ]


def seeds_of(args: argparse.Namespace, algorithm: str) -> list[int]:
    """The seeds of the searches by an algorithm."""
    seeds: list[int] = args.random_seeds if algorithm == "random" else args.seeds
    return seeds


def search_name(algorithm: str, estimator: str, seed: int) -> str:
    """Name of the folder of a search."""
    return f"{algorithm}-{estimator}-{seed}"


def search_command(
    args: argparse.Namespace, algorithm: str, estimator: str, seed: int
) -> list[str]:
    """Module and arguments of the search, which continues by itself where it was stopped."""
    command = [
        "search.cli.search",
        f"--supernet={args.supernet}",
        f"--data-dir={args.data_dir}",
        f"--algorithm={algorithm}",
        f"--estimator={estimator}",
        f"--seed={seed}",
        f"--num-trials={args.num_trials}",
        f"--min-macs={args.min_macs}",
        f"--max-macs={args.max_macs}",
        f"--output={args.runs / search_name(algorithm, estimator, seed)}",
        "--threads=1",
    ]
    command.append(f"--batch-size={args.trials_at_once}")
    if args.num_initial and algorithm != "random":
        command.append(f"--num-initial={args.num_initial}")
    if estimator == "val_acc":
        return [*command, f"--val-batches={args.val_batches}"]
    batch_size = args.tse_batch_size or args.batch_size
    return [*command, f"--tse-batches={args.tse_batches}", f"--tse-batch-size={batch_size}"]


def run_all(args: argparse.Namespace, commands: Sequence[list[str]], names: Sequence[str]) -> None:
    """Runs the commands, some at a time; stops at the first that fails."""
    args.runs.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).parent.parent

    def run(command: list[str], name: str) -> None:
        start = f"from {command[0]} import main; raise SystemExit(main())"
        with open(args.runs / f"{name}.log", "a", encoding="utf-8") as log:
            subprocess.run(
                [sys.executable, "-c", start, *command[1:]],
                cwd=root,
                stdout=log,
                stderr=log,
                check=True,
            )
        print(name, "finished", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(run, commands, names))


def read_best(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """The best trial of a search, with its cost."""
    record = json.loads((args.runs / name / "best.json").read_text(encoding="utf-8"))
    best: dict[str, Any] = record["best"][0]
    return best


def choose(args: argparse.Namespace, found: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The architectures that each method offers for training, as notations."""
    subnets = {
        f"{algorithm}-{estimator}": [
            found[search_name(algorithm, estimator, seed)]["architecture"]
            for seed in seeds_of(args, algorithm)
        ]
        for algorithm in args.algorithms
        for estimator in ESTIMATORS
    }
    folder = args.runs / search_name("random", "tse", args.random_seeds[0])
    with open(folder / "trials.csv", newline="", encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    supernet = load_supernet(args.supernet)
    archs = [supernet.space.parse(trial["arch"]) for trial in trials]
    if num_trainings(args, HEAVIEST):
        cost_model = CostModel(supernet)
        heaviest = max(archs, key=lambda arch: cost_model.measure(arch).macs)
        subnets[HEAVIEST] = [supernet.space.format(heaviest)]
    if args.any_random:
        subnets[ANY] = [supernet.space.format(arch) for arch in archs[: args.any_random]]
    return subnets


def num_trainings(args: argparse.Namespace, method: str) -> int:
    """How many trainings a method gets."""
    counts: dict[str, int | None] = {ANY: args.any_random, HEAVIEST: args.heaviest_trainings}
    count = counts.get(method)
    return args.trainings if count is None else count


def run_trainings(args: argparse.Namespace, subnets: dict[str, list[str]]) -> None:
    """Exports every subnet once and trains it from scratch, some times a method."""
    exports: dict[str, list[str]] = {}
    trainings: dict[str, list[str]] = {}
    for method, notations in subnets.items():
        for k in range(num_trainings(args, method)):
            number = k % len(notations)
            subnet = args.runs / f"subnet-{method}-{number}"
            if not subnet.exists():
                exports[subnet.name] = [
                    "supernets.cli.export",
                    f"--supernet={args.supernet}",
                    f"--data-dir={args.data_dir}",
                    f"--arch={notations[number]}",
                    f"--output={subnet}",
                    "--formats",  # none: only the weights are of use here
                    "--threads=1",
                ]
            output = args.runs / training_name(method, k)
            if not (output / "subnet" / "subnet.json").exists():
                trainings[output.name] = [
                    "supernets.cli.retrain",
                    f"--subnet={subnet}",
                    f"--data-dir={args.data_dir}",
                    f"--output={output}",
                    f"--epochs={args.epochs}",
                    f"--lr={args.lr}",
                    f"--batch-size={args.batch_size}",
                    f"--warmup-epochs={args.warmup_epochs}",
                    "--label-smoothing=0.1",
                    f"--seed={k}",
                    "--formats",
                    "--threads=1",
                    *(["--resume"] if (output / "last.pt").exists() else []),
                ]
    for commands in (exports, trainings):
        run_all(args, list(commands.values()), list(commands))


def training_name(method: str, seed: int) -> str:
    """Name of the folder of a training."""
    return f"training-{method}-{seed}"


def compare(
    args: argparse.Namespace, found: dict[str, dict[str, Any]], subnets: dict[str, list[str]]
) -> dict[str, Any]:
    """Accuracies of all methods after training, and what the searches found and cost."""
    methods = {}
    for method in subnets:
        folders = [args.runs / training_name(method, k) for k in range(num_trainings(args, method))]
        methods[method] = {"architectures": subnets[method], **results_of(folders)}
    searches = {}
    for name, best in found.items():
        with open(args.runs / name / "trials.csv", newline="", encoding="utf-8") as file:
            trials = list(csv.DictReader(file))
        searches[name] = {
            "best": best,
            "num_trials": len(trials),
            "estimation_seconds": round(sum(float(trial["seconds"]) for trial in trials)),
        }
    return {"note": args.note, "methods": methods, "searches": searches}


def results_of(trainings: Sequence[Path]) -> dict[str, Any]:
    """Accuracies, costs and seconds of finished trainings, given by their folders."""
    records = [
        json.loads((folder / "subnet" / "subnet.json").read_text(encoding="utf-8"))
        for folder in trainings
    ]
    accuracies = [record["metrics"]["test_top1"] for record in records]
    return {
        "test_top1": accuracies,
        "mean": round(float(np.mean(accuracies)), 3),
        "sd": round(float(np.std(accuracies, ddof=1)), 3) if len(accuracies) > 1 else None,
        "macs": [record["cost"]["macs"] for record in records],
        "params": [record["cost"]["params"] for record in records],
        "training_seconds": [seconds_of(folder) for folder in trainings],
    }


def seconds_of(folder: Path) -> int:
    """Of all epochs of a run."""
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        return round(sum(float(row["seconds"]) for row in csv.DictReader(file)))


if __name__ == "__main__":
    main()
