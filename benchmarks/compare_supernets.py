#!/usr/bin/env python3
"""How accurate the same subnets are with the weights of differently trained supernets.

Measured on val, BatchNorm recalibrated with 2,000 train images: the smallest and the largest subnet
where the space has them, and random ones.

    python benchmarks/compare_supernets.py --supernets runs/sandwich/last.pt runs/shrunk/last.pt \
        --data-dir DIR --output benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result

from supernets.checkpoint import read_checkpoint, reopen_data, supernet_from_checkpoint
from supernets.evaluation import evaluate_recalibrated

CPU = torch.device("cpu")
NUM_RECALIBRATION_BATCHES, RECALIBRATION_BATCH_SIZE = 10, 200


def main() -> None:
    """Measures all supernets."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--supernets", type=Path, nargs="+", required=True)
    add("--data-dir", type=Path, required=True)
    add("--output", type=Path, required=True)
    add("--num-random", type=int, default=20)
    add("--seed", type=int, default=0, help="of the random subnets")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    result = {
        path.parent.name: measure(path, args.data_dir, args.num_random, args.seed)
        for path in args.supernets
    }
    seconds = round(time.perf_counter() - started)
    write_result(args.output, {"note": args.note, "supernets": result, "wall_seconds": seconds})


def measure(path: Path, data_dir: Path, num_random: int, seed: int) -> dict[str, Any]:
    """Val top-1 (percent) of the subnets of one supernet, and how long it trained."""
    checkpoint = read_checkpoint(path)
    supernet = supernet_from_checkpoint(checkpoint, path)
    loaders = reopen_data(
        checkpoint, path, data_dir=data_dir, device=CPU, batch_size=RECALIBRATION_BATCH_SIZE
    )
    rng = np.random.default_rng(seed)
    archs = [supernet.space.sample(rng) for _ in range(num_random)]
    if supernet.space.is_ordered:
        archs += supernet.space.extremes()
    batches = list(loaders.train_eval.take(NUM_RECALIBRATION_BATCHES))
    top1 = [
        evaluate_recalibrated(
            supernet, arch, loaders.val, recalibrate_batches=batches, device=CPU, amp=False
        ).top1
        for arch in archs
    ]
    macs = supernet.count(np.array([arch.choices for arch in archs]))[1]
    # progressive shrinking trains in phases, each with a folder of its own
    tables = sorted(path.parent.glob("phase-*/summary.csv")) or [path.parent / "summary.csv"]
    rows = [row for table in tables for row in csv.DictReader(table.open(encoding="utf-8"))]
    return {
        "random_val_top1": {"mean": float(np.mean(top1[:num_random])), "all": top1[:num_random]},
        "random_mega_macs": (macs[:num_random] / 1e6).tolist(),
        **dict(zip(("smallest_val_top1", "largest_val_top1"), top1[num_random:], strict=False)),
        "num_val_images": loaders.val.num_images,
        "epochs": len(rows),
        "training_seconds": round(sum(float(row["seconds"]) for row in rows)),
    }


if __name__ == "__main__":
    main()
