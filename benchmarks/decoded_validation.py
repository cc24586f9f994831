#!/usr/bin/env python3
"""Times queries of validation accuracy whose images are decoded once, and those that decode anew.

Pictures of ImageNet, which timm's reader decodes at 224 pixels in this process. A query is an
extraction, the recalibration of BatchNorm and all val images, of random subnets; a supernet of a
quarter of the width and one of full width. Queries that decode every time, as they did, take turns
with those whose pixels lie in memory and in a file; accuracies and losses are compared bit by bit.
Before, the images are looked at alone. CPU seconds of one thread.

    python benchmarks/decoded_validation.py --imagenet DIR \
        --output benchmarks/results/decoded_validation.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from speed import in_turn, median_ratio

from estimators import ValAccuracyEstimator
from supernets import DataConfig, create_loaders, create_supernet
from supernets.data import decoded_loader
from supernets.data.decoded_loader import DecodedLoader
from supernets.data.image_loader import Loader

SIZE = 224
#: Minibatches of BatchNorm's recalibration.
RECALIBRATE = 1


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--imagenet", type=Path, required=True, help="folder of pictures of ImageNet")
    add("--num-val", type=int, default=100)
    add("--num-subnets", type=int, default=2)
    add("--repeats", type=int, default=2)
    add("--widths", type=float, nargs="+", default=(0.25, 1.0))
    add("--seed", type=int, default=0)
    add("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = DataConfig("timm", args.imagenet, image_size=SIZE, num_val=args.num_val)
    loaders = create_loaders(data, batch_size=32, eval_batch_size=50, seed=args.seed, num_workers=0)
    val = loaders.val
    started = time.process_time()
    in_memory = decode(val, budget=2**30)
    in_file = decode(val, budget=0)
    decoding = time.process_time() - started
    sides: dict[str, Loader] = {"decoding": val, "memory": in_memory, "file": in_file}
    recalibrate = list(loaders.train_eval.take(RECALIBRATE))
    result: dict[str, Any] = {
        "seed": args.seed,
        "num_val_images": val.num_images,
        "num_recalibration_images": sum(len(y) for _, y in recalibrate),
        "megabytes_of_pixels": round(val.num_images * 3 * SIZE**2 / 1e6, 1),
        "cpu_seconds_of_decoding_once": round(decoding / 2, 2),
        "looking_at_all_images": looks(sides, args.repeats),
    }
    for width in args.widths:
        result[f"queries_of_width_{width}"] = queries(width, sides, recalibrate, args)
    write_result(args.output, result)


def decode(val: Loader, budget: int) -> DecodedLoader:
    """The val images, decoded into memory or, where the budget is too small, a file."""
    decoded_loader.MEMORY_BUDGET = budget
    decoded = DecodedLoader(val, "val")
    for _ in decoded:
        break
    return decoded


def looks(sides: dict[str, Loader], repeats: int) -> dict[str, Any]:
    """CPU seconds of the images alone."""
    seconds = in_turn(
        {name: lambda each=each: drain(each) for name, each in sides.items()}, repeats
    )
    return told(seconds)


def drain(loader: Loader) -> None:
    """Looks at all images."""
    for _ in loader:
        pass


def queries(
    width: float, sides: dict[str, Loader], recalibrate: list[Any], args: argparse.Namespace
) -> dict[str, Any]:
    """CPU seconds of a query by where its images come from."""
    torch.manual_seed(args.seed)
    supernet = create_supernet(
        "mobilenetv3", num_classes=1000, input_size=(3, SIZE, SIZE), width=width
    ).to(memory_format=torch.channels_last)
    estimators = {
        name: ValAccuracyEstimator(supernet, each, recalibrate_batches=recalibrate)
        for name, each in sides.items()
    }
    rng = np.random.default_rng(args.seed)
    seconds: dict[str, list[float]] = {}
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for _ in range(args.num_subnets):
        arch = supernet.space.sample(rng)
        runs = {
            name: lambda name=name, arch=arch: found[name].append(
                dict(estimators[name].estimate(arch).metrics)
            )
            for name in sides
        }
        for name, values in in_turn(runs, args.repeats).items():
            seconds.setdefault(name, []).extend(values)
    return {
        "num_subnets": args.num_subnets,
        **told(seconds),
        "same_bits": found["decoding"] == found["memory"] == found["file"],
    }


def told(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and ratios of turns."""
    return {
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "decoding_over_memory": median_ratio(seconds, "decoding", "memory"),
        "decoding_over_file": median_ratio(seconds, "decoding", "file"),
    }


if __name__ == "__main__":
    main()
