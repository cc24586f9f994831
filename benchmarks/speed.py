#!/usr/bin/env python3
"""Times what paceline promises to be fast, each against its yardstick, in one run on one machine.

The two sides of a ratio take turns, so that a drift of the machine's speed hits both; the median of
the pairwise ratios is reported.

    python benchmarks/speed.py --output benchmarks/results/speed.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hardware import write_result
from torch import Tensor, nn

from estimators import TSEEstimator
from search import SearchProblem, Trial, create_algorithm
from supernets import create_space, create_supernet
from supernets.data.image_loader import Augmentation, ImageLoader
from supernets.data.memory_pixels import MemoryPixels
from supernets.runtime.device import autocast, has_bfloat16

CPU = torch.device("cpu")
#: A light, a middling and the heaviest cell.
CELLS = (
    "|nor_conv_1x1~0|+|skip_connect~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
)


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells-per-stage", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=256)
    args = parser.parse_args()
    amp = has_bfloat16(CPU)
    result: dict[str, Any] = {
        "setting": f"C={args.channels} N={args.cells_per_stage} batch {args.batch_size}, amp {amp}"
    }
    result |= step_times(args.channels, args.cells_per_stage, args.batch_size, amp, args.repeats)
    result |= tse_query(args.channels, args.cells_per_stage, amp, args.repeats)
    result |= data_loading(args.batch_size, result["supernet_step_seconds"])
    result |= weaknas_ask()
    write_result(args.output, result)


def paired(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every side in turn, ``repeats`` times, after one warm-up each."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            if repeat > 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(seconds: dict[str, list[float]], side: str, other: str) -> float:
    """Median of side / other over the turns."""
    return float(np.median(np.array(seconds[side]) / np.array(seconds[other])))


def in_turn(sides: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of every side in turn, ``repeats`` times, after one warm-up each."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, run in sides.items():
            started = time.process_time()
            run()
            if repeat > 0:
                seconds[name].append(time.process_time() - started)
    return seconds


def plain_step(
    module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, amp: bool, *args: Any
) -> None:
    """One SGD step."""
    with autocast(CPU, amp):
        logits = module(x, *args)
    optimizer.zero_grad(set_to_none=False)
    F.cross_entropy(logits.float(), y).backward()
    optimizer.step()


def sgd(module: nn.Module) -> torch.optim.SGD:
    """The optimizer of supernet training."""
    return torch.optim.SGD(
        module.parameters(), lr=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4
    )


def step_times(
    channels: int, cells: int, batch_size: int, amp: bool, repeats: int
) -> dict[str, Any]:
    """Step of the supernet's path against the extracted subnet, and against NCHW float32."""
    space = create_space("nasbench201")
    settings = {"num_classes": 10, "channels": channels, "cells_per_stage": cells}
    fast = create_supernet("nasbench201", **settings).train()
    fast.to(memory_format=torch.channels_last)
    slow = create_supernet("nasbench201", **settings).train()
    fast_sgd, slow_sgd = sgd(fast), sgd(slow)
    x_slow = torch.randn(batch_size, 3, 32, 32)
    x_fast = x_slow.to(memory_format=torch.channels_last)
    y = torch.randint(10, (batch_size,))
    rows = []
    for text in CELLS:
        arch = space.parse(text)
        static = fast.extract(arch).train()
        static_sgd = sgd(static)

        def path(arch: Any = arch) -> None:
            plain_step(fast, fast_sgd, x_fast, y, amp, arch)

        def extracted(static: nn.Module = static, opt: Any = static_sgd) -> None:
            plain_step(static, opt, x_fast, y, amp)

        def nchw_float32(arch: Any = arch) -> None:
            plain_step(slow, slow_sgd, x_slow, y, False, arch)

        seconds = paired({"path": path, "static": extracted, "nchw": nchw_float32}, repeats)
        rows.append(
            {
                "architecture": text,
                "path_seconds": float(np.median(seconds["path"])),
                "path_over_static": median_ratio(seconds, "path", "static"),
                "nchw_float32_over_path": median_ratio(seconds, "nchw", "path"),
            }
        )
    return {
        "steps": rows,
        "supernet_step_seconds": float(np.mean([row["path_seconds"] for row in rows])),
        "path_over_static": float(np.mean([row["path_over_static"] for row in rows])),
        "path_over_static_target": "at most 1.05",
        "nchw_float32_over_path": float(np.mean([r["nchw_float32_over_path"] for r in rows])),
        "nchw_float32_over_path_target": "at least 1.8",
    }


def tse_query(channels: int, cells: int, amp: bool, repeats: int) -> dict[str, Any]:
    """A TSE query of 10 minibatches of 64 against 10 plain steps of the static subnet."""
    space = create_space("nasbench201")
    settings = {"num_classes": 10, "channels": channels, "cells_per_stage": cells}
    supernet = create_supernet("nasbench201", **settings)
    supernet.to(memory_format=torch.channels_last)
    batches = [
        (
            torch.randn(64, 3, 32, 32).to(memory_format=torch.channels_last),
            torch.randint(10, (64,)),
        )
        for _ in range(10)
    ]
    estimator = TSEEstimator(supernet, batches, num_batches=10, amp=amp)
    arch = space.parse(CELLS[1])
    static = supernet.extract(arch).train()
    optimizer = sgd(static)

    def steps() -> None:
        for x, y in batches:
            plain_step(static, optimizer, x, y, amp)

    seconds = paired({"query": lambda: estimator.estimate(arch), "steps": steps}, repeats)
    return {
        "tse_query_seconds": float(np.median(seconds["query"])),
        "tse_query_over_plain_steps": median_ratio(seconds, "query", "steps"),
        "tse_query_over_plain_steps_target": "at most 1.05, at B = 10 (longer queries do better)",
    }


def data_loading(batch_size: int, step_seconds: float) -> dict[str, Any]:
    """Share of drawing, augmenting and normalising a 32x32 minibatch in a single-path step."""
    num_images = 20 * batch_size
    loader = ImageLoader(
        MemoryPixels(torch.randint(256, (num_images, 32, 32, 3), dtype=torch.uint8)),
        torch.zeros(num_images, dtype=torch.int64),
        indices=np.arange(num_images),
        batch_size=batch_size,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        seed=0,
        augmentation=Augmentation(pad=4, flip=True),
        shuffle=True,
    )
    seconds = []
    batches = iter(loader)
    for _ in range(len(loader)):
        started = time.perf_counter()
        next(batches)
        seconds.append(time.perf_counter() - started)
    per_batch = float(np.median(seconds))
    return {
        "data_seconds_per_batch": per_batch,
        "data_share_of_step": per_batch / (per_batch + step_seconds),
        "data_share_target": "under 0.03",
    }


def weaknas_ask() -> dict[str, Any]:
    """WeakNAS proposing 10 of all 15,625 cells after 100 trials, for each predictor."""
    space = create_space("nasbench201")
    rng = np.random.default_rng(0)
    archs = [space.architecture(choices) for choices in rng.integers(5, size=(150, 6))]
    archs = list(dict.fromkeys(archs))[:100]
    trials = [
        Trial(i, arch, float(sum(arch.choices) + rng.normal()), {}, 0.0, None)
        for i, arch in enumerate(archs)
    ]
    seconds = {}
    for predictor in ("mlp", "random_forest", "gradient_boosting"):
        algorithm = create_algorithm("weaknas", SearchProblem(space), predictor=predictor)
        algorithm.tell(trials)
        started = time.perf_counter()
        algorithm.ask(10)
        seconds[predictor] = time.perf_counter() - started
    return {"weaknas_ask_seconds": seconds}


if __name__ == "__main__":
    main()
