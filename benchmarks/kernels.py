#!/usr/bin/env python3
"""What the kernels for a CPU make of a training step, a query of TSE, and the memory of both.

Random subnets of every space run their step with PyTorch's kernels and with ours, in turn, so that
what else the machine does hits both, in float32 and, where the CPU has it, in bfloat16 autocast.
CPU seconds are the least of several steps; gradients are set beside those in float64, where
PyTorch's own are too. Memory is the most a process of its own held.

    python benchmarks/kernels.py --output benchmarks/results/kernels.json
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hardware import write_result
from torch import Tensor, nn

from estimators.scores.tse import TSEEstimator
from supernets.kernels.library import chosen_kernels, using
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.runtime.device import autocast, has_bfloat16
from supernets.spaces import Architecture

#: Space, settings, images of a minibatch, and their side.
CASES: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "nasnet, 8 cells, 32 px": ("nasnet", {"channels": 16, "layers": 8}, 32, 32),
    "mobilenetv3, 160 px": ("mobilenetv3", {}, 16, 160),
    "mobilenetv3, 32 px": ("mobilenetv3", {"strides": (2, 1, 2, 2, 1, 1)}, 64, 32),
    "nasbench201": ("nasbench201", {}, 64, 32),
    "nasbench_macro": ("nasbench_macro", {}, 32, 32),
    "proxylessnas, 64 px": ("proxylessnas", {}, 16, 64),
    "resnet50d, 64 px": ("resnet50d", {"width": 0.5}, 16, 64),
}
NUM_STEPS = 10  # of a query of TSE
CPU = torch.device("cpu")


def main() -> None:
    """Measures the cases, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--cases", nargs="+", choices=CASES, default=list(CASES))
    add("--subnets", type=int, default=5)
    add("--repeats", type=int, default=4, help="steps of a subnet, in every process")
    add("--rounds", type=int, default=2, help="processes with and without kernels, in turn")
    add("--output", type=Path, help="where the results go (default: nowhere)")
    add("--note", default="", help="what a reader must know, stored with the results")
    add("--alone", choices=("auto", "off"), help=argparse.SUPPRESS)
    add("--amp", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.alone is not None:
        name, amp = args.cases[0], args.amp
        print(json.dumps(measure(name, args.alone, amp, args.subnets, args.repeats)))
        return
    results = {}
    for name in args.cases:
        results[name] = compare(name, args.subnets, args.repeats, args.rounds)
        print(name, json.dumps(results[name]), file=sys.stderr, flush=True)
    if args.output is not None:
        kernels = chosen_kernels("auto", CPU)
        write_result(args.output, {"note": args.note, "kernels": kernels, "results": results})


def compare(name: str, num_subnets: int, repeats: int, rounds: int) -> dict[str, Any]:
    """Sets processes with kernels beside processes without."""
    found: dict[str, list[dict[str, Any]]] = {"off": [], "auto": []}
    if has_bfloat16(CPU):
        found |= {"off bfloat16": [], "auto bfloat16": []}
    for _ in range(rounds):
        for choice, runs in found.items():
            command = [sys.executable, __file__, "--cases", name, "--alone", choice.split()[0]]
            command += ["--subnets", str(num_subnets), "--repeats", str(repeats)]
            command += ["--amp"] if "bfloat16" in choice else []
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    result: dict[str, Any] = {}
    for what in ("step", "tse_query"):
        least = {
            choice: np.min([run[what] for run in runs], axis=0) for choice, runs in found.items()
        }
        without, own = least["off"], least["auto"]
        result[what] = {
            "seconds_off": float(without.sum()),
            "seconds": float(own.sum()),
            "ratio": float(without.sum() / own.sum()),
            "ratios": [round(each, 3) for each in (without / own).tolist()],
        }
        for choice in list(found)[2:]:
            result[what][f"ratio_{choice.replace(' ', '_')}"] = float(
                without.sum() / least[choice].sum()
            )
    for what in ("gradient_error", "peak_memory_mb"):
        result[what] = {choice: runs[0][what] for choice, runs in found.items()}
    return result


def made(name: str) -> tuple[Supernet, Tensor, Tensor]:
    """The supernet of a case and a minibatch."""
    space, settings, batch_size, side = CASES[name]
    torch.manual_seed(0)
    size = 3, side, side
    if space != "nasbench201":
        settings = {**settings, "input_size": size}
    supernet = create_supernet(space, num_classes=10, **settings)
    x = torch.randn(batch_size, *size).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch_size,))
    return supernet.to(memory_format=torch.channels_last).train(), x, y


def measure(name: str, choice: str, amp: bool, num_subnets: int, repeats: int) -> dict[str, Any]:
    """CPU seconds of subnets, how far gradients are from float64's, and the memory of steps."""
    supernet, x, y = made(name)
    archs = [supernet.space.sample(np.random.default_rng(seed)) for seed in range(num_subnets)]
    kernels = chosen_kernels(choice, CPU)
    with using(kernels):
        steps = [least(partial(one_step, supernet, arch, x, y, amp), repeats) for arch in archs]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    batches = [(x, y)] * NUM_STEPS
    tse = TSEEstimator(supernet, batches, num_batches=NUM_STEPS, kernels=choice, amp=amp)
    errors = [gradient_error(supernet, arch, x, y, kernels, amp) for arch in archs]
    return {
        "step": steps,
        "tse_query": [least(partial(tse.estimate, arch), 1) for arch in archs[:3]],
        "gradient_error": float(np.median(errors)),
        "peak_memory_mb": memory,
    }


def least(run: Callable[[], Any], repeats: int) -> float:
    """The least CPU seconds of some runs after a first one."""
    found = []
    for _ in range(repeats + 1):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return min(found[1:])


def one_step(
    supernet: nn.Module, arch: Architecture, x: Tensor, y: Tensor, amp: bool = False
) -> None:
    """Forward and backward pass of a subnet."""
    for parameter in supernet.parameters():
        parameter.grad = None
    with autocast(CPU, amp):
        loss = F.cross_entropy(supernet(x, arch), y)
    loss.backward()


def gradient_error(
    supernet: Supernet, arch: Architecture, x: Tensor, y: Tensor, kernels: str, amp: bool
) -> float:
    """Distance of the whole gradient from that in float64, as a part of its length."""
    exact = copy.deepcopy(supernet).double()
    one_step(exact, arch, x.double(), y)
    with using(kernels):
        one_step(supernet, arch, x, y, amp)
    total = error = 0.0
    for found, true in zip(supernet.parameters(), exact.parameters(), strict=True):
        if true.grad is not None and found.grad is not None:
            error += float((found.grad.double() - true.grad).square().sum())
            total += float(true.grad.square().sum())
    return float((error / total) ** 0.5)


if __name__ == "__main__":
    main()
