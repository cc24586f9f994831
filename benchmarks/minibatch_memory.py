#!/usr/bin/env python3
"""What minibatches of TSE take in memory and on the way to workers, as 8 bits and as floats.

Draws B = 100 minibatches of 64 images, of pictures of ImageNet at 224 pixels with two augmentations
and of CIFAR-10, as a search does, and counts the bytes of what is kept and of what is written for
workers, beside those of the floats that the networks see. Every minibatch is compared with floats
bit by bit. Then queries of TSE take turns on the same minibatches, kept as 8 bits and as floats, of
random subnets and of the cheapest of ten, where unpacking counts most: CPU seconds of one thread.

    python benchmarks/minibatch_memory.py --imagenet DIR --cifar10 DIR \
        --output benchmarks/results/minibatch_memory.json
"""

from __future__ import annotations

import argparse
import io
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from speed import in_turn, median_ratio

from estimators import ExtraSteps, Minibatches, TSESettings, create_estimator
from estimators.executors.measure import trial_of_estimate
from estimators.executors.worker import write_measure
from supernets import CostModel, DataConfig, Supernet, create_loaders, create_supernet
from supernets.data.packed_batches import PackedBatches
from supernets.data.timm_options import TimmAugmentation

NUM_BATCHES, BATCH_SIZE = 100, 64
#: Minibatches that are written for workers.
NUM_SENT = 10
ERASING = TimmAugmentation(auto_augment="rand-m9-mstd0.5", re_prob=0.25, re_mode="pixel")


def main() -> None:
    """Counts and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--imagenet", type=Path, required=True, help="folder of pictures of ImageNet")
    add("--cifar10", type=Path, required=True, help="folder of CIFAR-10")
    add("--num-subnets", type=int, default=3)
    add("--repeats", type=int, default=3)
    add("--seed", type=int, default=0)
    add("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    imagenet = DataConfig("timm", args.imagenet, image_size=224, val_fraction=0.2)
    data = {
        "imagenet, 224 px": imagenet,
        "imagenet, 224 px, random erasing": DataConfig(
            "timm", args.imagenet, image_size=224, val_fraction=0.2, augmentation=ERASING
        ),
        "cifar10, 32 px": DataConfig("folder", args.cifar10),
        "cifar10, 32 px, cutout 16": DataConfig("folder", args.cifar10, cutout=16),
    }
    counted, drawn = {}, {}
    for name, config in data.items():
        loaders = create_loaders(config, batch_size=BATCH_SIZE, seed=args.seed, num_workers=1)
        counted[name], drawn[name] = count(loaders.train)
    torch.manual_seed(args.seed)
    shape = (3, 224, 224)
    queries = {
        "mobilenetv3, imagenet, 224 px": query_seconds(
            create_supernet("mobilenetv3", num_classes=1000, input_size=shape),
            drawn["imagenet, 224 px"][:1],
            args,
        ),
        "nasbench201, cifar10": query_seconds(
            create_supernet("nasbench201", num_classes=10), drawn["cifar10, 32 px"][:5], args
        ),
    }
    write_result(
        args.output,
        {
            "num_batches": NUM_BATCHES,
            "images_of_a_minibatch": BATCH_SIZE,
            "seed": args.seed,
            "kept": counted,
            "sent_to_workers": {
                name: sent(drawn[name][:NUM_SENT]) for name in ("imagenet, 224 px",)
            },
            "queries": queries,
        },
    )


def count(loader: Any) -> tuple[dict[str, Any], PackedBatches]:
    """Bytes of the minibatches as they are kept and as floats."""
    started = time.process_time()
    packed, floats, is_same = PackedBatches(scalings=loader.scalings), 0, True
    packing = 0.0
    for number, (x, y) in enumerate(loader.take(NUM_BATCHES)):
        before = time.process_time()
        packed.extend([(x, y)])
        packing += time.process_time() - before
        found, _ = packed[number]
        is_same &= torch.equal(found.view(torch.int32), x.view(torch.int32))
        floats += x.nbytes + y.nbytes
    return {
        "megabytes_kept": round(packed.num_bytes / 1e6, 1),
        "megabytes_of_floats": round(floats / 1e6, 1),
        "share": round(packed.num_bytes / floats, 3),
        "same_bits": is_same,
        "cpu_seconds_of_packing": round(packing, 2),
        "cpu_seconds_of_all": round(time.process_time() - started, 2),
    }, packed


def sent(packed: PackedBatches) -> dict[str, float]:
    """Bytes of what is written for workers, weights left out."""
    supernet = create_supernet("mobilenetv3", num_classes=1000, input_size=(3, 224, 224))
    sizes = []
    for batches in (PackedBatches(), packed, list(packed)):
        buffer = io.BytesIO()
        estimator = create_estimator(
            "tse",
            TSESettings(num_batches=max(1, len(batches))),
            supernet=supernet,
            data=Minibatches(train=batches or [(torch.zeros(1), torch.zeros(1))]),
        )
        write_measure(partial(trial_of_estimate, estimator), buffer)
        sizes.append(buffer.tell())
    nothing, now, before = sizes
    return {
        "num_batches": len(packed),
        "megabytes": round((now - nothing) / 1e6, 1),
        "megabytes_of_floats": round((before - nothing) / 1e6, 1),
    }


def query_seconds(
    supernet: Supernet, packed: PackedBatches, args: argparse.Namespace
) -> dict[str, Any]:
    """CPU seconds of queries, packed and as floats, which take turns."""
    supernet = supernet.to(memory_format=torch.channels_last)
    rng, cost = np.random.default_rng(args.seed), CostModel(supernet)
    some = [supernet.space.sample(rng) for _ in range(10)]
    cheapest = min(some, key=lambda arch: cost.measure(arch).macs)
    of_bits = ExtraSteps(packed, num_batches=len(packed))
    of_floats = ExtraSteps(list(packed), num_batches=len(packed))
    seconds: dict[str, list[float]] = {}
    ratios, losses = {}, []
    for arch in [cheapest, *some[: args.num_subnets]]:
        sides = {
            "packed": lambda arch=arch: losses.append(of_bits.run(supernet.extract(arch))),
            "floats": lambda arch=arch: losses.append(of_floats.run(supernet.extract(arch))),
        }
        found = in_turn(sides, args.repeats)
        for name, values in found.items():
            seconds.setdefault(name, []).extend(values)
        if arch is cheapest:
            ratios["packed_over_floats_of_the_cheapest"] = median_ratio(found, "packed", "floats")
    pairs = zip(losses[::2], losses[1::2], strict=True)
    started = time.process_time()
    for _ in packed:
        pass
    return {
        "num_batches": len(packed),
        "num_subnets": args.num_subnets + 1,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "packed_over_floats": median_ratio(seconds, "packed", "floats"),
        **ratios,
        "cpu_ms_of_unpacking_a_minibatch": round(
            1000 * (time.process_time() - started) / len(packed), 2
        ),
        "same_losses": all(np.array_equal(now, before) for now, before in pairs),
        "target": "packed over floats at most 1.02",
    }


if __name__ == "__main__":
    main()
