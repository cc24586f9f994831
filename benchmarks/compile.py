#!/usr/bin/env python3
"""What ``--compile blocks`` makes of the training step of one network on a CPU, and from when on.

Every case is a process of its own with an empty cache of the compiler. A stand-alone network runs
its step as it is and with compiled blocks, without and with the kernels for a CPU, in turn. CPU
seconds are the least of several steps, with those of the compiler's processes for compiling; losses
and gradients are set beside those in float64.

    python benchmarks/compile.py --output benchmarks/results/compile.json
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from torch import Tensor, nn

from supernets.kernels.library import chosen_kernels, using
from supernets.networks.factory import create_supernet
from supernets.training.compiled_blocks import CompiledBlocks
from supernets.training.standalone import training_loss

#: Space, settings, images of a minibatch, and their side.
CASES: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "nasbench201": ("nasbench201", {}, 64, 32),
    "nasnet, 8 cells, 32 px": ("nasnet", {"channels": 16, "layers": 8}, 32, 32),
    "mobilenetv3, 160 px": ("mobilenetv3", {}, 16, 160),
    "mobilenetv3, 32 px": ("mobilenetv3", {"strides": (2, 1, 2, 2, 1, 1)}, 64, 32),
}


def main() -> None:
    """Measures the cases, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--cases", nargs="+", choices=CASES, default=list(CASES))
    add("--repeats", type=int, default=6, help="steps of every kind")
    add("--seed", type=int, default=0, help="of architecture, weights and images")
    add("--output", type=Path, help="where the results go (default: nowhere)")
    add("--note", default="", help="what a reader must know, stored with the results")
    add("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(measure(args.cases[0], args.seed, args.repeats)))
        return
    results = {}
    for name in args.cases:
        command = [sys.executable, __file__, "--alone", "--cases", name]
        command += ["--seed", str(args.seed), "--repeats", str(args.repeats)]
        with tempfile.TemporaryDirectory() as cache:
            settings = {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
            env = {**os.environ, **settings}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
        results[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, json.dumps(results[name]), file=sys.stderr, flush=True)
        if args.output is not None:
            kernels = chosen_kernels("auto", torch.device("cpu"))
            write_result(args.output, {"note": args.note, "kernels": kernels, "results": results})


def measure(name: str, seed: int, repeats: int) -> dict[str, Any]:
    """Seconds of compiling and of steps, and how far both are from float64."""
    torch.set_num_threads(1)
    network, x, y = made(name, seed)
    exact = copy.deepcopy(network).double()
    true_loss = one_step(exact, x.double(), y)
    true = [p.grad for p in exact.parameters() if p.grad is not None]
    started = cpu_seconds(), time.monotonic()
    blocks = CompiledBlocks(network, torch.device("cpu"))  # tries the compiler
    trying = cpu_seconds() - started[0], time.monotonic() - started[1]
    own = chosen_kernels("auto", torch.device("cpu"))
    compiling: dict[str, Any] = {}
    kinds = {
        "eager_off": ("off", nullcontext),
        "eager": (own, nullcontext),
        "compiled_off": ("off", lambda: blocks.step(x)),
        "compiled": (own, lambda: blocks.step(x)),
    }
    errors = {}
    for kind, (kernels, context) in kinds.items():
        begun = cpu_seconds(), time.monotonic()
        with using(kernels), context():
            loss = one_step(network, x, y)
        compiling[kind] = cpu_seconds() - begun[0], time.monotonic() - begun[1]
        found = [p.grad for p in network.parameters() if p.grad is not None]
        errors[kind] = {"loss": abs(loss - true_loss), "gradient": distance(found, true)}
    steps: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, (kernels, context) in kinds.items():
            with using(kernels), context():
                steps[kind].append(timed(lambda: one_step(network, x, y)))
    cpu = {kind: min(each for each, _ in times) for kind, times in steps.items()}
    wall = {kind: min(each for _, each in times) for kind, times in steps.items()}
    compile_cpu = trying[0] + compiling["compiled"][0] - cpu["compiled"]
    if compiling["compiled_off"][0] > compiling["compiled"][0]:  # the first pays for both
        compile_cpu = trying[0] + compiling["compiled_off"][0] - cpu["compiled_off"]
    return {
        "blocks": len(blocks.blocks),
        "trying_cpu_seconds": trying[0],
        "trying_wall_seconds": trying[1],
        "compile_cpu_seconds": compile_cpu,
        "compile_wall_seconds": trying[1] + max(compiling[kind][1] for kind in compiling),
        "step_cpu_seconds": cpu,
        "step_wall_seconds": wall,
        "ratio_to_kernels": cpu["compiled"] / cpu["eager"],
        "ratio_without_kernels": cpu["compiled_off"] / cpu["eager_off"],
        "break_even_steps": break_even(compile_cpu, cpu["eager"] - cpu["compiled"]),
        "break_even_steps_without_kernels": break_even(
            compile_cpu, cpu["eager_off"] - cpu["compiled_off"]
        ),
        "error": errors,
    }


def break_even(compile_cpu: float, saved: float) -> float | None:
    """Steps after which compiling has paid, from what each saves; None if it never does."""
    return compile_cpu / saved if saved > 0 else None


def made(name: str, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The stand-alone network of a case with fresh weights, and a minibatch."""
    space, settings, batch_size, side = CASES[name]
    torch.manual_seed(seed)
    size = 3, side, side
    if space != "nasbench201":
        settings = {**settings, "input_size": size}
    with torch.device("meta"):
        supernet = create_supernet(space, num_classes=10, **settings)
    network = supernet.build_subnet(supernet.space.sample(np.random.default_rng(seed)))
    x = torch.randn(batch_size, *size).contiguous(memory_format=torch.channels_last)
    return network.to(memory_format=torch.channels_last).train(), x, torch.arange(batch_size) % 10


def one_step(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Forward and backward pass; returns the loss."""
    network.zero_grad()
    loss = training_loss(network, x, y)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """CPU and wall seconds of a run."""
    begun = time.process_time(), time.monotonic()
    run()
    return time.process_time() - begun[0], time.monotonic() - begun[1]


def cpu_seconds() -> float:
    """Of this process and of those it has waited for, as the C++ compiler."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def distance(found: list[Tensor], true: list[Tensor]) -> float:
    """Distance of a whole gradient from the true one, as a part of its length."""
    pairs = list(zip(found, true, strict=True))
    error = sum(float((p.double() - q).square().sum()) for p, q in pairs)
    return (error / sum(float(q.square().sum()) for q in true)) ** 0.5


if __name__ == "__main__":
    main()
