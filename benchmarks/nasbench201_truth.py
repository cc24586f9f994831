#!/usr/bin/env python3
"""How good are the cells found with a trained supernet, and how well do its cheap scores rank?

Runs WeakNAS with TSE for several seeds, scores random cells with TSE and validation accuracy, and
compares with a table of true accuracies: found cells beside random search and beside the heaviest
cell, rank correlations beside those of MACs and params. Every search resumes where it was stopped.

    python benchmarks/nasbench201_truth.py --supernet runs/cifar10/last.pt \
        --table nasbench201.csv.gz --column cifar10_test_acc_200ep \
        --runs runs/truth --output benchmarks/results/cifar10_truth.json

``--only`` runs a part of the searches, so that several processes can share the work.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
from hardware import write_result
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from estimators import TabularEstimator
from search.cli.search import main as search_main
from supernets import CostModel, load_supernet

RANDOM_SEED = 100  # of the cells that are only ranked
NUM_BOOTSTRAP = 2000


def main() -> None:
    """Runs the searches that are asked for, and the comparison once all have finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--supernet", type=Path, required=True)
    add("--table", type=Path, required=True)
    add("--column", required=True)
    add("--runs", type=Path, required=True, help="folder of the searches")
    add("--output", type=Path, required=True)
    add("--num-cells", type=int, default=200, help="random cells to rank")
    add("--num-trials", type=int, default=100)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--rank-batches", type=int, default=100, help="B of TSE on the random cells")
    add("--search-batches", type=int, default=100, help="B of TSE in the searches")
    add("--threads", type=int, default=None)
    add("--only", nargs="+", default=None, help="names of the searches to run, without comparing")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()

    searches = plan(args)
    for name, options in searches.items():
        if args.only is None or name in args.only:
            run(name, options, args)
    if args.only is None:
        write_result(args.output, {"note": args.note, **compare(args)})


def plan(args: argparse.Namespace) -> dict[str, list[str]]:
    """Options of every search by its name."""
    cells = [
        "--algorithm=random",
        f"--num-trials={args.num_cells}",
        f"--batch-size={args.num_cells}",
        f"--seed={RANDOM_SEED}",
    ]
    val_acc = ["--estimator=val_acc", "--val-batches=10"]
    searches = {
        "rank_tse": [*cells, "--estimator=tse", f"--tse-batches={args.rank_batches}"],
        "rank_val_acc": [*cells, *val_acc],
        "rank_val_acc_bn": [*cells, *val_acc, "--recalibrate-batches=20"],
    }
    for seed in args.seeds:
        searches[f"weaknas_{seed}"] = [
            "--algorithm=weaknas",
            f"--num-trials={args.num_trials}",
            f"--seed={seed}",
            f"--tse-batches={args.search_batches}",
        ]
    return searches


def run(name: str, options: list[str], args: argparse.Namespace) -> None:
    """Runs or continues one search, and keeps its JSON block."""
    output = args.runs / name
    argv = [f"--supernet={args.supernet}", f"--output={output}", *options]
    if args.threads is not None:
        argv.append(f"--threads={args.threads}")
    started = time.perf_counter()
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        status = search_main(argv)
    if status != 0:
        raise SystemExit(status)
    seconds = time.perf_counter() - started
    print(f"{name} finished, {seconds:.0f} s in this process", flush=True)


def read_trials(path: Path) -> list[dict[str, Any]]:
    """All trials of a search, with their curves."""
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT arch, score, seconds, curves FROM trials WHERE is_told ORDER BY number"
    ).fetchall()
    connection.close()
    return [
        {"arch": arch, "score": score, "seconds": seconds, "curves": json.loads(curves)}
        for arch, score, seconds, curves in rows
    ]


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Everything against the table."""
    supernet = load_supernet(args.supernet)
    costs = CostModel(supernet)
    table = TabularEstimator.from_csv(args.table, supernet.space, value_column=args.column).values
    truth = {supernet.space.format(arch): value for arch, value in table.items()}
    macs = {supernet.space.format(arch): costs.measure(arch).macs for arch in table}
    return {
        "table_column": args.column,
        "supernet_settings": supernet.settings,
        "target": "found cell at least 93.5 true; TSE ranks above val accuracy",
        "found": found(args, truth),
        "baselines": baselines(truth, macs, args.num_trials),
        "ranking": ranking(args, truth, costs),
    }


def found(args: argparse.Namespace, truth: dict[str, float]) -> dict[str, Any]:
    """True values of what the searches of every seed found."""
    all_values = np.array(list(truth.values()))
    rows = []
    for seed in args.seeds:
        folder = args.runs / f"weaknas_{seed}"
        trials = read_trials(folder / "trials.db")
        predicted = json.loads((folder / "best.json").read_text())["predicted_best"]
        scored = [trial for trial in trials if trial["score"] is not None]
        ranked = sorted(scored, key=lambda trial: -float(trial["score"]))
        top = ranked[0]["arch"]
        rows.append(
            {
                "seed": seed,
                "best_by_tse": top,
                "true": truth[top],
                "share_of_space_above": float((all_values > truth[top]).mean()),
                "true_of_predicted_best": truth[predicted["architecture"]],
                "true_mean_of_top_10": float(np.mean([truth[t["arch"]] for t in ranked[:10]])),
                "oracle_best_of_queried": max(truth[t["arch"]] for t in trials),
                "seconds_per_query": float(np.mean([t["seconds"] for t in trials])),
            }
        )
    return {"true": summary([row["true"] for row in rows]), "seeds": rows}


def baselines(truth: dict[str, float], macs: dict[str, int], num_cells: int) -> dict[str, Any]:
    """What needs no supernet: random cells, and the heaviest cells."""
    values = np.array(list(truth.values()))
    weights = np.array([macs[arch] for arch in truth])
    rng = np.random.default_rng(0)
    best, heaviest = [], []
    for _ in range(1000):
        chosen = rng.choice(len(values), num_cells, replace=False)
        best.append(values[chosen].max())
        heaviest.append(values[chosen[np.argmax(weights[chosen])]])
    return {
        "best": float(values.max()),
        "random_cell": summary(list(values)),
        f"oracle_best_of_{num_cells}_random": summary(best),
        f"most_macs_of_{num_cells}_random": summary(heaviest),
        "most_macs": float(values[np.argmax(weights)]),
    }


def summary(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values))}


def ranking(
    args: argparse.Namespace, truth: dict[str, float], costs: CostModel
) -> dict[str, dict[str, Any]]:
    """Rank correlations with the truth on the random cells, with bootstrap 95 % intervals."""
    names = ("rank_tse", "rank_val_acc", "rank_val_acc_bn")
    runs = {name: read_trials(args.runs / name / "trials.db") for name in names}
    cells = [trial["arch"] for trial in runs["rank_tse"]]
    for name in names:
        assert [trial["arch"] for trial in runs[name]] == cells, f"{name} has other cells"
    ok = [i for i in range(len(cells)) if all(runs[n][i]["score"] is not None for n in names)]
    true = np.array([truth[cells[i]] for i in ok])
    curves = np.array([runs["rank_tse"][i]["curves"]["train_loss"] for i in ok])
    cost = [costs.metrics(costs.space.parse(cells[i])) for i in ok]
    scores = {
        f"TSE, B={b}": -curves[:, :b].sum(axis=1)
        for b in (1, 10, 25, 50, 100)
        if b <= curves.shape[1]
    }
    scores |= {
        "val accuracy": np.array([runs["rank_val_acc"][i]["score"] for i in ok]),
        "val accuracy, BN recalibrated": np.array(
            [runs["rank_val_acc_bn"][i]["score"] for i in ok]
        ),
        "MACs": np.array([c["macs"] for c in cost]),
        "params": np.array([c["params"] for c in cost]),
        "benchmark MACs": np.array([c["benchmark_macs"] for c in cost]),
        "benchmark params": np.array([c["benchmark_params"] for c in cost]),
        "random": np.random.default_rng(1).random(len(ok)),
    }
    seconds = {
        f"TSE, B={curves.shape[1]}": "rank_tse",
        "val accuracy": "rank_val_acc",
        "val accuracy, BN recalibrated": "rank_val_acc_bn",
    }
    rows = {}
    for name, score in scores.items():
        rows[name] = {
            "spearman": correlation(spearmanr, score, true),
            "kendall": correlation(kendalltau, score, true),
            "true_mean_of_top_10": float(true[np.argsort(-score, kind="stable")[:10]].mean()),
        }
        if name in seconds:
            spent = [trial["seconds"] for trial in runs[seconds[name]]]
            rows[name]["seconds_per_cell"] = float(np.mean(spent))
    return {"num_cells": {"value": len(ok)}, **rows}


def correlation(
    statistic: Any, score: NDArray[np.float64], true: NDArray[np.float64]
) -> dict[str, float]:
    """The statistic with its percentile bootstrap interval over the cells."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(NUM_BOOTSTRAP):
        chosen = rng.integers(len(true), size=len(true))
        draws.append(statistic(score[chosen], true[chosen]).statistic)
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {
        "value": float(statistic(score, true).statistic),
        "low": float(low),
        "high": float(high),
    }


if __name__ == "__main__":
    main()
