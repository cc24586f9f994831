#!/usr/bin/env python3
"""Kills ranks of a training under torchrun, which starts it again by itself, and compares.

One training of two ranks is left alone. In another, of the same command, a rank is killed with
SIGKILL once some checkpoints have been written, then another rank. ``--max-restarts`` starts all
ranks again and ``--auto-resume`` continues from the last checkpoint. In the end the weights must be
those of the training left alone, and no checkpoint may be older than one before it.

    python benchmarks/torchrun_restart.py --output benchmarks/results/torchrun_restart.json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from hardware import provenance, write_result

ROOT = Path(__file__).parents[1]
#: Largest difference of a weight, of the largest, that sums in another order would explain.
TOLERANCE = 1e-5
#: Checkpoints to wait for before a kill.
NUM_CHECKPOINTS = 3


def main() -> int:
    """Runs both trainings; gives back 0 if their weights agree and none was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--kills", type=int, default=2, help="restarts (default: 2)")
    parser.add_argument("--epochs", type=int, default=20, help="(default: 20)")
    parser.add_argument("--output", type=Path, help="JSON file for the result (default: none)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        run(whole, args)
        kills = run(killed, args, num_kills=args.kills)
        difference = largest_difference(whole, killed)
    lost = sum(kill["step_after_restart"] < kill["step_of_last_checkpoint"] for kill in kills)
    result = {
        "ranks": args.ranks,
        "epochs": args.epochs,
        "kills": kills,
        "checkpoints_lost": lost,
        "largest_difference_of_weights": difference,
        "tolerance": TOLERANCE,
    }
    if args.output is None:
        print(json.dumps({**provenance(), **result}, indent=2))
    else:
        write_result(args.output, result)
    return 0 if difference <= TOLERANCE and not lost else 1


def run(output: Path, args: argparse.Namespace, num_kills: int = 0) -> list[dict[str, Any]]:
    """Trains under torchrun; gives back what was killed when."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(args.ranks), "--max-restarts", str(num_kills)),
        *(str(ROOT / "train_supernet.py"), "--dataset", "digits"),
        *"--channels 8 --cells-per-stage 1 --num-probes 2 --batch-size 32 --threads 1".split(),
        *("--checkpoint-minutes", "0.002", "--epochs", str(args.epochs)),
        *("--auto-resume", "--output", str(output)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    kills = []
    with (
        open(output.with_suffix(".log"), "ab") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log
        ) as process,
    ):
        for number in range(num_kills):
            rank = number % args.ranks
            wait_for_checkpoints(process, output, NUM_CHECKPOINTS)
            os.kill(pid_of_rank(process.pid, rank), signal.SIGKILL)
            # read after the kill: nothing can be written between
            before, stamp = step(output), (output / "args.json").stat().st_mtime_ns
            killed_at = time.monotonic()
            while (output / "args.json").stat().st_mtime_ns == stamp:  # written as work begins
                wait(process, output)
            restarted_at = time.monotonic()
            after = wait_for_checkpoints(process, output, 1)
            kills.append(
                {
                    "rank": rank,
                    "step_of_last_checkpoint": before,
                    "step_after_restart": after,
                    "seconds_to_restart": round(restarted_at - killed_at, 1),
                }
            )
        if process.wait() != 0:
            raise RuntimeError(f"The training failed: {output.with_suffix('.log').read_text()}")
    return kills


def wait_for_checkpoints(process: subprocess.Popen[bytes], output: Path, number: int) -> int:
    """Waits until so many more checkpoints have been written; gives back the step of the last."""
    last = output / "last.pt"
    for _ in range(number):
        before = last.stat().st_mtime_ns if last.exists() else None
        while not last.exists() or last.stat().st_mtime_ns == before:
            wait(process, output)
    return step(output)


def wait(process: subprocess.Popen[bytes], output: Path) -> None:
    """Waits a moment for a process that is to be there all the while."""
    if process.poll() is not None:
        log = output.with_suffix(".log").read_text()
        raise RuntimeError(f"The training ended too early, with {process.returncode}: {log}")
    time.sleep(0.01)


def step(output: Path) -> int:
    """Optimizer steps in the last checkpoint."""
    checkpoint = torch.load(output / "last.pt", weights_only=True)
    return int(checkpoint["progress"]["step"])


def pid_of_rank(launcher: int, rank: int) -> int:
    """The process that torchrun has started as a rank."""
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in environment:
            return int(pid)
    raise RuntimeError(f"torchrun has no rank {rank}.")


def largest_difference(first: Path, second: Path) -> float:
    """Between weights and BatchNorm statistics, relative to the largest of each tensor."""
    one, two = (
        torch.load(output / "last.pt", weights_only=True)["state_dict"]
        for output in (first, second)
    )
    assert one.keys() == two.keys()
    return max(
        ((one[name] - two[name]).abs().max() / one[name].abs().max().clamp(min=1e-12)).item()
        for name in one
    )


if __name__ == "__main__":
    raise SystemExit(main())
