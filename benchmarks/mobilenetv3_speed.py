#!/usr/bin/env python3
"""Times what elastic MobileNetV3 promises to be fast at, each against its yardstick, in one run.

Training steps of random subnets on the supernet: against their extracted networks, and against the
authors' package ``ofa`` on the same weights and images. Extraction, and sampling under a constraint
that one architecture in a hundred meets.

The CPU time of a single thread is measured: other processes disturb it less than the time on the
wall. What is compared takes turns, so that a drift of the machine's speed hits all; medians over
turns and subnets are reported. Needs the extra ``peers``.

    python benchmarks/mobilenetv3_speed.py --output benchmarks/results/mobilenetv3_speed.json
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from ofa_peer import ofa_supernet, our_arch, random_archs, same_supernet
from speed import in_turn, median_ratio, plain_step, sgd

from search import SearchProblem, create_algorithm
from supernets import Constraint, CostModel
from supernets.cost.analytic import feasibility_check
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.runtime.device import has_bfloat16
from supernets.training.ofa_checkpoints import to_ofa_state_dict

CPU = torch.device("cpu")
SMALL_STRIDES = (2, 1, 2, 2, 1, 1)  # for images of 32 pixels
#: What is divided by what in the results.
RATIOS = {
    "path_over_static": ("path", "static"),
    "ofa_over_path": ("ofa", "path"),
    "path_over_static_bfloat16": ("path_bfloat16", "static_bfloat16"),
    "ofa_over_path_bfloat16": ("ofa", "path_bfloat16"),
}


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--repeats", type=int, default=7)
    add("--num-subnets", type=int, default=5)
    add("--batch-size", type=int, default=32)
    add("--side", type=int, default=160, help="of the larger images in pixels")
    add("--seed", type=int, default=0)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    # In turns, all variants need more compiled kernels than oneDNN keeps (1024); one alone does not
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "16384"
    torch.set_num_threads(1)
    started = time.perf_counter()
    setting = {"batch_size": args.batch_size, "repeats": args.repeats, "seed": args.seed}
    result: dict[str, Any] = {"note": args.note, **setting}
    result[f"steps_at_{args.side}_px"] = step_times(
        args.side, None, args.num_subnets, args.batch_size, args.repeats, args.seed
    )
    result["steps_at_32_px"] = step_times(
        32, SMALL_STRIDES, args.num_subnets, args.batch_size, args.repeats, args.seed
    )
    result |= extraction(args.seed)
    result |= feasible_samples(args.seed)
    result["wall_seconds"] = time.perf_counter() - started
    write_result(args.output, result)


def step_times(
    side: int,
    strides: tuple[int, ...] | None,
    num_subnets: int,
    batch_size: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """Forward, backward and SGD step; with ``ofa`` where the strides are its own."""
    torch.manual_seed(seed)
    theirs = None
    if strides is None:
        theirs = ofa_supernet(1.0, 1000, side, seed).train()
        ours = same_supernet(theirs, side).train()
    else:
        ours = MobileNetV3Supernet(num_classes=10, input_size=(3, side, side), strides=strides)
    ours.to(memory_format=torch.channels_last)
    x = torch.randn(batch_size, 3, side, side)
    x_last = x.to(memory_format=torch.channels_last)
    y = torch.randint(ours.num_classes, (batch_size,))
    our_sgd, their_sgd = sgd(ours), None if theirs is None else sgd(theirs)
    seconds: dict[str, list[float]] = {}
    errors = []
    for drawn in random_archs(num_subnets, seed):
        arch = our_arch(ours, drawn)
        static = ours.extract(arch)
        static_sgd = sgd(static)
        sides: dict[str, Callable[[], None]] = {}
        if theirs is not None:
            theirs.set_active_subnet(**drawn)
            theirs.load_state_dict(to_ofa_state_dict(ours))
            with torch.no_grad():
                expected = theirs.eval()(x)
                found = ours.eval()(x_last, arch)
            theirs.train(), ours.train()
            errors.append(float((found - expected).abs().max() / expected.abs().max()))
            sides["ofa"] = lambda: plain_step(theirs, their_sgd, x, y, False)
        for name, amp in {"": False, "_bfloat16": True}.items():
            if not amp or has_bfloat16(CPU):
                sides[f"path{name}"] = lambda arch=arch, amp=amp: plain_step(
                    ours, our_sgd, x_last, y, amp, arch
                )
                sides[f"static{name}"] = lambda static=static, opt=static_sgd, amp=amp: plain_step(
                    static, opt, x_last, y, amp
                )
        for name, values in in_turn(sides, repeats).items():
            seconds.setdefault(name, []).extend(values)
    return {
        "strides": ours.settings["strides"],
        "num_subnets": num_subnets,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        **{
            name: median_ratio(seconds, *sides)
            for name, sides in RATIOS.items()
            if set(sides) <= seconds.keys()
        },
        "targets": "path over static at most 1.10; ofa over path at least 1.7",
        **({"max_relative_error_of_logits": max(errors)} if errors else {}),
    }


def extraction(seed: int) -> dict[str, Any]:
    """Of random subnets in train mode."""
    supernet = MobileNetV3Supernet(num_classes=1000).to(memory_format=torch.channels_last)
    rng = np.random.default_rng(seed)
    seconds = []
    for _ in range(50):
        arch = supernet.space.sample(rng)
        started = time.process_time()
        supernet.extract(arch)
        seconds.append(time.process_time() - started)
    return {
        "extract_median_milliseconds": 1e3 * float(np.median(seconds)),
        "extract_target": "under 50",
    }


def feasible_samples(seed: int) -> dict[str, Any]:
    """Random search asking for distinct architectures in 50 million MACs above the 99th percentile.

    The time includes making sure that there are any.
    """
    with torch.device("meta"):
        supernet = MobileNetV3Supernet(num_classes=1000)
    choices = supernet.space.sample_choices(100_000, np.random.default_rng(seed))
    lowest = float(np.percentile(supernet.count(choices)[1], 99))
    window = Constraint("macs", minimum=lowest, maximum=lowest + 50e6)
    started = time.process_time()
    check = feasibility_check(CostModel(supernet), [window])
    algorithm = create_algorithm("random", SearchProblem(supernet.space, seed, check))
    archs = algorithm.ask(10_000)
    return {
        "feasible_samples": len(set(archs)),
        "feasible_samples_mega_macs": [window.minimum / 1e6, window.maximum / 1e6],
        "feasible_samples_seconds": time.process_time() - started,
        "feasible_samples_target": "under 30",
    }


if __name__ == "__main__":
    main()
