#!/usr/bin/env python3
"""Kills a training and a search at random moments, continues them, and compares with whole runs.

Every kill is SIGKILL: nothing gets to clean up. Some fall into the start of the process, some are
aimed at a moment when a file is half written, the others fall anywhere. Checkpoints are written
several times a second; a training killed before its first one starts anew.
In the end the checkpoint (weights, optimizer, progress) and ``summary.csv`` of the training, and
the trials of the search, must equal those of runs left alone to the bit; only seconds may differ.

    python benchmarks/kill_and_resume.py --output benchmarks/results/kill_and_resume.json
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hardware import provenance, write_result

ROOT = Path(__file__).parents[1]
JOBS = ("training", "search")
#: Options of the training of each space, and of the search by each algorithm.
TRAINING_OF = {
    "nasbench201": "--channels 8 --cells-per-stage 1",
    "nasnet": "--channels 4 --layers 3",
}
SEARCH_BY = {
    "weaknas": "",
    "evolution": "--num-initial 20",
    "regularized-evolution": "--population-size 20 --tournament-size 5",
}
#: Share of the kills that fall into the start of the process, before its work begins.
EARLY_SHARE = 0.2
#: Share of the kills that wait for a half-written file, and for how long, in seconds.
AIMED_SHARE, AIM_SECONDS = 0.4, 5.0
#: How the rollback journal of a transaction under way begins; SQLite clears it on commit.
HOT_JOURNAL = bytes.fromhex("d9d505f920a163d7")


@dataclass(frozen=True)
class Job:
    """Something to kill.

    Args:
        name: For progress messages.
        command: Gives the command that starts or continues the job in a folder.
        contents: Reads what a finished job left in its folder, as comparable values.
        is_torn: Whether a file is half written.
    """

    name: str
    command: Callable[[Path], list[str]]
    contents: Callable[[Path], Any]
    is_torn: Callable[[Path], bool]


@dataclass(frozen=True)
class Kill:
    """When to kill.

    Args:
        delay: Seconds to wait.
        is_early: Whether the delay counts from the start of the process, not of its work.
        is_aimed: Whether to wait for a half-written file after the delay.
    """

    delay: float
    is_early: bool
    is_aimed: bool


def main() -> int:
    """Runs both jobs; gives back 0 if every comparison held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jobs", nargs="+", choices=JOBS, default=JOBS, help="what to kill (default: both)"
    )
    parser.add_argument("--kills", type=int, default=10, help="of each job (default: 10)")
    parser.add_argument("--epochs", type=int, default=15, help="of the training (default: 15)")
    parser.add_argument("--trials", type=int, default=60, help="of the search (default: 60)")
    parser.add_argument(
        "--space", choices=TRAINING_OF, default="nasbench201", help="(default: nasbench201)"
    )
    parser.add_argument(
        "--algorithm", choices=SEARCH_BY, default="weaknas", help="(default: weaknas)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--output", type=Path, help="JSON file for the result (default: none)")
    args = parser.parse_args()
    if args.kills < 1:
        parser.error(f"--kills must be at least 1, got {args.kills}")
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [training_job(args.space, args.epochs)]
        if "search" in args.jobs:
            jobs.append(
                search_job(Path(folder) / "training-whole" / "last.pt", args.algorithm, args.trials)
            )
        results = {
            job.name: kill_and_resume(
                job, Path(folder), args.kills if job.name in args.jobs else 0, rng
            )
            for job in jobs
        }
    result = {
        "space": args.space,
        "algorithm": args.algorithm,
        "epochs": args.epochs,
        "trials": args.trials,
        "kills": sum(each["kills"] for each in results.values()),
        "identical": all(each["identical"] for each in results.values()),
        "threads_of_each_job": 1,
        **results,
    }
    if args.output is None:
        print(json.dumps({**provenance(), **result}, indent=2))
    else:
        write_result(args.output, result)
    return 0 if result["identical"] else 1


def training_job(space: str, epochs: int) -> Job:
    """A small digits supernet, fair paths or those of the space."""

    def command(output: Path) -> list[str]:
        flags = f"--dataset digits --space {space} {TRAINING_OF[space]} --num-probes 2 --threads 1"
        return [
            *(sys.executable, str(ROOT / "train_supernet.py"), *flags.split()),
            *("--checkpoint-minutes", "0.002", "--epochs", str(epochs), "--output", str(output)),
            *(["--resume"] if (output / "last.pt").exists() else []),
        ]

    def is_torn(output: Path) -> bool:
        return any(output.glob(".last.pt.*.tmp"))

    return Job("training", command, training_contents, is_torn)


def training_contents(output: Path) -> Any:
    """All of the checkpoint, tensors as bytes, and the table, without seconds."""
    with open(output / "summary.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    return plain([torch.load(output / "last.pt", weights_only=True), table])


def plain(value: Any) -> Any:
    """Nested containers with tensors as bytes and without the values of ``seconds``."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "seconds"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    return value


def search_job(checkpoint: Path, algorithm: str, trials: int) -> Job:
    """A search with TSE on a trained supernet."""

    def command(output: Path) -> list[str]:
        flags = f"--algorithm {algorithm} {SEARCH_BY[algorithm]} --threads 1"
        flags += " --estimator tse --tse-batches 20 --batch-size 5"
        return [
            *(sys.executable, str(ROOT / "search.py"), *flags.split()),
            *("--supernet", str(checkpoint), "--num-trials", str(trials)),
            *("--output", str(output)),
        ]

    def is_torn(output: Path) -> bool:
        try:
            with open(output / "trials.db-journal", "rb") as journal:
                return journal.read(len(HOT_JOURNAL)) == HOT_JOURNAL
        except FileNotFoundError:
            return False

    return Job("search", command, search_contents, is_torn)


def search_contents(output: Path) -> Any:
    """The trials in the order of their numbers, without seconds."""
    connection = sqlite3.connect(output / "trials.db")
    columns = "number, arch, choices, is_told, score, error, metrics, curves"
    trials = connection.execute(f"SELECT {columns} FROM trials ORDER BY number").fetchall()
    connection.close()
    return trials


def kill_and_resume(job: Job, folder: Path, num_kills: int, rng: random.Random) -> dict[str, Any]:
    """Lets a job run whole once, then kills it ``num_kills`` times on the way to its end.

    A job that ends before all kills are spent is compared and begun again in another folder.
    """
    whole = folder / f"{job.name}-whole"
    startup, working = run_whole(job, whole)
    print(f"{job.name}: whole in {startup:.1f} s + {working:.1f} s", file=sys.stderr)
    expected = job.contents(whole)
    is_identical, kills, torn, num_runs = True, 0, 0, 0
    while kills < num_kills:
        num_runs += 1
        output = folder / f"{job.name}-{num_runs}"
        while True:
            kill = None
            if kills < num_kills:
                chance = rng.random()
                is_early, is_aimed = chance < EARLY_SHARE, chance > 1 - AIMED_SHARE
                # Twice the even share at most brings the last kill close to the end.
                span = startup if is_early else 2 * working / (num_kills + 1)
                kill = Kill(rng.uniform(0, span), is_early, is_aimed)
            if run(job, output, kill):
                break
            kills += 1
            torn += job.is_torn(output)
            print(f"{job.name}: kill {kills} of {num_kills}", file=sys.stderr)
        same = job.contents(output) == expected
        is_identical = is_identical and same
        print(f"{job.name}: run {num_runs} identical: {same}", file=sys.stderr)
    return {
        "kills": kills,
        "kills_that_left_a_half_written_file": torn,
        "runs_finished": num_runs,
        "identical": is_identical,
        "seconds_of_work": round(working, 2),
    }


def run_whole(job: Job, output: Path) -> tuple[float, float]:
    """Runs a job to its end; gives back the seconds before its work began, and of its work."""
    process, started = start(job, output)
    with process:
        work_began = wait_for_work(process, output, started)
        if process.wait() != 0:
            raise RuntimeError(f"The {job.name} failed: {log_path(output).read_text()}")
    return work_began, time.monotonic() - started - work_began


def run(job: Job, output: Path, kill: Kill | None) -> bool:
    """Starts or continues a job and kills it, unless it ends before or ``kill`` is None.

    Returns:
        Whether it came to its end.
    """
    process, started = start(job, output)
    with process:
        try:
            if kill is not None:
                if not kill.is_early:
                    wait_for_work(process, output, started)
                process.wait(timeout=kill.delay)
        except subprocess.TimeoutExpired:
            assert kill is not None
            deadline = time.monotonic() + (AIM_SECONDS if kill.is_aimed else 0)
            while time.monotonic() < deadline and process.poll() is None:
                if job.is_torn(output):
                    break
            process.kill()
        status = process.wait()
    if status not in (0, -9):
        raise RuntimeError(f"The {job.name} failed: {log_path(output).read_text()}")
    return status == 0


def start(job: Job, output: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Starts or continues a job."""
    stamp = output / "args.json"
    if stamp.exists():
        os.utime(stamp, ns=(0, 0))  # written anew when the work begins
    command = job.command(output)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(log_path(output), "ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log
        )
    return process, time.monotonic()


def log_path(output: Path) -> Path:
    """Where the stderr of a job goes: beside its folder."""
    return output.with_name(f"{output.name}.log")


def wait_for_work(process: subprocess.Popen[bytes], output: Path, started: float) -> float:
    """Waits until ``args.json`` is written; gives back the seconds since ``started``."""
    stamp = output / "args.json"
    while process.poll() is None:
        if stamp.exists() and stamp.stat().st_mtime_ns > 0:
            break
        time.sleep(0.002)
    return time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
