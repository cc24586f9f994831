#!/usr/bin/env python3
"""What bfloat16 changes: of trained supernets, of TSE and validation accuracy, and of their time.

Two supernets of each space are trained alike, in float32 and in bfloat16 autocast, and both scores
of the same random subnets are taken in float32 and in bfloat16 on each. What has finished is kept.

    python benchmarks/bfloat16_scores.py --data-dir DIR --runs runs/bfloat16 \
        --output benchmarks/results/bfloat16_scores.json
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hardware import write_result
from numpy.typing import NDArray
from scipy.stats import spearmanr

#: Options of the supernets, by space.
SUPERNETS = {
    "mobilenetv3": "--strides 2 1 2 2 1 1 --batch-size 64 --epochs 1 --lr 0.1",
    "nasnet": "--layers 5 --channels 8 --batch-size 64 --epochs 1 --lr 0.05",
}
TYPES = {"float32": "--no-amp", "bfloat16": "--amp"}
SCORES = {
    "tse": "--tse-batches 10 --tse-batch-size 64",
    "val_acc": "--val-batches 4 --recalibrate-batches 5",
}


def main() -> None:
    """Trains and measures what is not there yet, then compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data-dir", type=Path, required=True)
    add("--runs", type=Path, required=True, help="folder of all trainings and searches")
    add("--num-archs", type=int, default=30)
    add("--spaces", nargs="+", choices=SUPERNETS, default=list(SUPERNETS))
    add("--output", type=Path, required=True)
    args = parser.parse_args()
    write_result(args.output, {"results": {name: compared(name, args) for name in args.spaces}})


def compared(space: str, args: argparse.Namespace) -> dict[str, Any]:
    """The scores of a space's two supernets, and how they agree."""
    found: dict[tuple[str, str, str], NDArray[np.float64]] = {}
    result: dict[str, Any] = {"trained": {}, "spearman": {}}
    for trained, flag in TYPES.items():
        folder = args.runs / space / trained
        options = f"--space {space} --dataset folder --data-dir {args.data_dir}"
        options += f" --image-size 32 {SUPERNETS[space]} --seed 0 {flag}"
        summary = run("train_supernet.py", folder, options.split())
        result["trained"][trained] = {"seconds": summary["seconds"]}
        for measured, measured_flag in TYPES.items():
            for score, score_options in SCORES.items():
                searched = args.runs / space / f"{trained}-{measured}-{score}"
                options = f"--algorithm random --seed 1 --num-trials {args.num_archs} --estimator "
                options += f"{score} {score_options} --supernet {folder / 'last.pt'} "
                options += f"--data-dir {args.data_dir} {measured_flag}"
                run("search.py", searched, options.split())
                found[trained, measured, score] = trials(searched, score)
    for score in SCORES:
        values = {f"{t}-{m}": found[t, m, score] for t in TYPES for m in TYPES}
        result["spearman"][score] = {
            f"{one} and {other}": round(float(spearmanr(values[one], values[other])[0]), 3)
            for one in values
            for other in values
            if one < other
        }
        result[score] = {
            name: {"mean": float(each.mean()), "deviation": float(each.std())}
            for name, each in values.items()
        }
    return result


def run(program: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """Runs a command unless it has finished, and returns the JSON it ends with."""
    kept = folder / "finished.json"
    if not kept.exists():
        command = [sys.executable, program, "--output", str(folder), *options]
        if folder.exists():
            command.append("--resume")
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        kept.write_text(done.stdout[done.stdout.index("{") :])
    summary: dict[str, Any] = json.loads(kept.read_text())
    return summary


def trials(folder: Path, score: str) -> NDArray[np.float64]:
    """The scores of a search's architectures, which are the same in all searches."""
    with open(folder / "trials.csv", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["arch"])
    return np.array([float(row[score]) for row in rows])


if __name__ == "__main__":
    main()
