#!/usr/bin/env python3
"""Searches in this process, in local workers, and on a Ray cluster whose nodes die and join.

For each supernet one search by WeakNAS with TSE, by ``supernet-search`` itself:

- in this process, in 1 and in 4 workers: the same trials, and how long they take;
- on a Ray cluster of two nodes with a core each, started by Ray's own utility on this machine.
  After a third of the trials the node without the search is killed with SIGKILL, while it measures,
  and another joins. In the end all trials must be there once, and be those of this process.

What a candidate costs beyond its measurement (to hand it out, get its trial back) is measured one
by one, with the real measurement, weights and minibatches; what the weights cost, once a worker, is
beside it.

    python benchmarks/executors.py --supernets runs/digits/last.pt runs/cifar10/last.pt \\
        --output benchmarks/results/executors.json
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import provenance, write_result
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster

from estimators import Minibatches, TSESettings, create_estimator
from estimators.executors import Executor, InProcess, LocalProcesses, Measure
from estimators.executors.measure import trial_of_estimate
from estimators.executors.ray_cluster import RayCluster
from estimators.executors.worker import read_measure, write_measure
from supernets.training.checkpoint import read_training_checkpoint, reopen_data, trained_supernet

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
PARTS = ("local", "ray")
#: Candidates whose overhead is measured.
NUM_CANDIDATES = 30


def main() -> int:
    """Runs everything; gives back 0 if every comparison held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--supernets", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        help="beside this process (default: all)",
    )
    parser.add_argument("--trials", type=int, default=60, help="of a search (default: 60)")
    parser.add_argument("--tse-batches", type=int, default=20, help="(default: 20)")
    parser.add_argument("--output", type=Path, help="JSON file for the result (default: none)")
    args = parser.parse_args()
    results = {}
    for path in args.supernets:
        with tempfile.TemporaryDirectory() as folder:
            results[path.parent.name] = compare(path, Path(folder), args)
    result = {"trials": args.trials, "tse_batches": args.tse_batches, "supernets": results}
    if args.output is None:
        print(json.dumps({**provenance(), **result}, indent=2))
    else:
        write_result(args.output, result)
    return 0 if all(each["all_trials_identical"] for each in results.values()) else 1


def compare(supernet: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All searches of a supernet, and the overhead of its candidates."""
    flags = f"--algorithm weaknas --num-initial 20 --batch-size 10 --num-trials {args.trials} "
    flags += f"--tse-batches {args.tse_batches} --threads 1 --seed 0"
    command = [sys.executable, str(ROOT / "search.py"), "--supernet", str(supernet.absolute())]
    command += flags.split()
    found: dict[str, Any] = {"flags": flags}
    found["in process"] = search(command, folder / "in process")
    if "local" in args.parts:
        found |= search_locally(command, folder)
        found["overhead"] = overheads(supernet, args.tse_batches, folder)
    if "ray" in args.parts:
        found["ray"] = search_on_dying_nodes(command, folder / "ray", args.trials)
    searches = [each for each in found.values() if isinstance(each, dict) and "rows" in each]
    all_rows = [each.pop("rows") for each in searches]
    found["all_trials_identical"] = all(rows == all_rows[0] for rows in all_rows)
    return found


def search_locally(command: list[str], folder: Path) -> dict[str, Any]:
    """Runs a search in 1 and in 4 workers."""
    found: dict[str, Any] = {}
    for number in (1, 4):
        name = "1 worker" if number == 1 else f"{number} workers"
        found[name] = search([*command, "--workers", str(number)], folder / name)
    found["seconds_of_1_worker_over_4"] = round(
        found["1 worker"]["seconds"] / found["4 workers"]["seconds"], 2
    )
    found["seconds_of_measuring_1_worker_over_4"] = round(
        found["1 worker"]["seconds_of_trials"] / found["4 workers"]["seconds_of_trials"], 2
    )
    return found


def search(command: list[str], output: Path) -> dict[str, Any]:
    """Runs a search to its end."""
    started = time.monotonic()
    process = start(command, output)
    first = None
    while process.poll() is None:
        if first is None and count_trials(output):
            first = time.monotonic()
        time.sleep(0.05)
    assert first is not None
    return {
        "seconds": round(time.monotonic() - started, 1),
        "seconds_of_trials": round(time.monotonic() - first, 1),  # from the first to the end
        **outcome(process, output),
    }


def search_on_dying_nodes(command: list[str], output: Path, num_trials: int) -> dict[str, Any]:
    """Runs a search on two nodes, one of which is killed; another joins."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    process = start([*command, "--ray", cluster.address], output)
    raylet = node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid
    while count_trials(output) < num_trials // 3 or not is_measuring(raylet):
        if process.poll() is not None:
            raise RuntimeError(f"The search ended: {log_of(output).read_text()}")
        time.sleep(0.05)
    kill_node(raylet)
    trials_before = count_trials(output)
    cluster.add_node(num_cpus=1)
    process.wait()
    found = outcome(process, output)
    cluster.shutdown()
    return {
        "nodes": 2,
        "cores_of_each": 1,
        "trials_when_a_node_was_killed": trials_before,
        "nodes_that_joined": 1,
        **found,
    }


def kill_node(raylet: int) -> None:
    """Kills all processes of a node at once, as the end of a machine would."""
    for pid in [raylet, *workers_of(raylet)]:
        os.kill(pid, signal.SIGKILL)


def is_measuring(raylet: int) -> bool:
    """Whether a candidate is measured on a node; Ray's workers are called what they do."""
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers_of(raylet)]
    return any(b"_measure_remotely" in name for name in names)


def workers_of(raylet: int) -> list[int]:
    """The processes that a node has started."""
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text()
    return [int(pid) for pid in children.split()]


def start(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Starts a search."""
    output.mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(log_of(output), "wb") as log, open(output / "result.json", "wb") as result:
        return subprocess.Popen(
            [*command, "--output", str(output)],
            cwd=ROOT,
            env=environment,
            stdout=result,
            stderr=log,
        )


def log_of(output: Path) -> Path:
    """Where the stderr of a search goes: beside its folder."""
    return output.with_name(f"{output.name}.log")


def count_trials(output: Path) -> int:
    """Trials that a running search has told; its file is locked, and so a copy is read."""
    source, copy = output / "trials.db", output / "copy.db"
    if not source.exists():
        return 0
    copy.write_bytes(source.read_bytes())
    try:
        return len(rows_of(copy))
    except sqlite3.DatabaseError:  # the copy was made while a trial was written
        return 0


def rows_of(path: Path) -> list[Any]:
    """The trials in the order of their numbers, without seconds."""
    connection = sqlite3.connect(path)
    columns = "number, arch, score, error, metrics, curves"
    try:
        query = f"SELECT {columns} FROM trials WHERE is_told ORDER BY number"
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def outcome(process: subprocess.Popen[bytes], output: Path) -> dict[str, Any]:
    """What a finished search has found."""
    if process.returncode != 0:
        raise RuntimeError(f"The search failed: {log_of(output).read_text()}")
    result = json.loads((output / "result.json").read_text())
    rows = rows_of(output / "trials.db")
    best = result["best"][0]
    return {
        "trials": len(rows),
        "distinct_architectures": len({row[1] for row in rows}),
        "lost_workers": result.get("lost_workers"),
        "best": {"architecture": best["architecture"], "score": best["score"]},
        "rows": rows,
    }


def overheads(path: Path, num_batches: int, folder: Path) -> dict[str, Any]:
    """Milliseconds of a candidate beyond its measurement, and what its weights cost a worker."""
    checkpoint = read_training_checkpoint(path)
    supernet = trained_supernet(checkpoint, path, CPU)
    loaders = reopen_data(checkpoint, path, batch_size=64, device=CPU)
    batches = list(loaders.train.take(num_batches))
    estimator = create_estimator(
        "tse",
        TSESettings(num_batches=num_batches),
        supernet=supernet,
        data=Minibatches(train=batches),
    )
    measure = partial(trial_of_estimate, estimator)
    rng = np.random.default_rng(0)
    archs = [supernet.space.sample(rng) for _ in range(NUM_CANDIDATES)]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    makers: dict[str, Callable[[Measure], Executor]] = {
        "in process": InProcess,
        "1 worker": partial(LocalProcesses, num_workers=1),
        "ray": partial(RayCluster, address=cluster.address),
    }
    found: dict[str, Any] = {}
    for name, make in makers.items():
        times = []
        started = time.perf_counter()
        with make(measure) as executor:
            executor.submit(0, archs[0])
            executor.next()
            begun = time.perf_counter() - started
            for number, arch in enumerate(archs):
                started = time.perf_counter()
                executor.submit(number, arch)
                trial = executor.next()
                times.append(1000 * (time.perf_counter() - started - trial.seconds))
        found[name] = {
            "median_ms": round(statistics.median(times), 2),
            "largest_ms": round(max(times), 2),
            "seconds_to_the_first_trial": round(begun, 2),
        }
    cluster.shutdown()
    file = folder / "measure.pt"
    started = time.perf_counter()
    write_measure(measure, file)
    written = time.perf_counter()
    read_measure(file)
    found["weights_and_minibatches"] = {
        "megabytes": round(file.stat().st_size / 1e6, 2),
        "ms_to_write_once": round(1000 * (written - started), 1),
        "ms_to_read_once_a_worker": round(1000 * (time.perf_counter() - written), 1),
    }
    return found


if __name__ == "__main__":
    raise SystemExit(main())
