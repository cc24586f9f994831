#!/usr/bin/env python3
"""Times validation accuracy on a CPU with BatchNorm folded, and counts what that changes.

Queries of random MobileNetV3 subnets, at 32 and 160 pixels: recalibration and validation, with and
without folding, on random images in the proportion of CIFAR-10's defaults, 2000 images for
BatchNorm's statistics to 5000 of val. Then, on the digits, subnets of every space with BatchNorm,
whose supernets learn for a few steps: how often folding is not within the tolerance, how far logits
are apart, and how many images another class is found for.

The CPU time of a single thread is measured. What is compared takes turns; medians over turns and
subnets are reported.

    python benchmarks/folded_evaluation.py --output benchmarks/results/folded_evaluation.json

``--forward-only`` times one small minibatch of recalibrated subnets, folded and not, without what
folding itself costs, which does not depend on the number of val images:

    python benchmarks/folded_evaluation.py --forward-only --repeats 5 \
        --output benchmarks/results/folded_forward.json
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hardware import write_result
from speed import in_turn, median_ratio, sgd
from torch import Tensor

from estimators import ValAccuracyEstimator
from supernets import DataConfig, Supernet, create_loaders, create_supernet
from supernets.networks.batchnorm import has_batchnorm, recalibrate_bn
from supernets.networks.folding import can_fold_batchnorm, fold_batchnorm
from supernets.training.evaluation import FOLDING_TOLERANCE, evaluate

CPU = torch.device("cpu")
SMALL_STRIDES = (2, 1, 2, 2, 1, 1)  # for images of 32 pixels
#: Images of a minibatch of val, those of val, and the size and number of minibatches for BatchNorm.
SIZES = {32: (512, 1024, 205, 2), 160: (128, 128, 51, 1)}
DIGITS: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 8, "cells_per_stage": 1},
    "nasnet": {"channels": 4, "layers": 3},
    "nasbench_macro": {"stem_channels": 8},
    "mobilenetv3": {"width": 0.25, "strides": SMALL_STRIDES},
    "resnet50d": {"width": 0.125, "strides": (1, 1)},
    "proxylessnas": {"width": 0.1, "strides": (2, 1, 2, 1, 1, 1, 1)},
}


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--repeats", type=int, default=2)
    add("--num-subnets", type=int, default=5)
    add("--num-digits-subnets", type=int, default=20)
    add("--seed", type=int, default=0)
    add("--forward-only", action="store_true")
    args = parser.parse_args()
    # In turns, all variants need more compiled kernels than oneDNN keeps (1024); one alone does not
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "16384"
    torch.set_num_threads(1)
    result: dict[str, Any] = {"repeats": args.repeats, "seed": args.seed}
    if args.forward_only:
        for side in SIZES:
            found = forward(side, args.num_subnets, args.repeats, args.seed)
            result[f"forward_at_{side}_px"] = found
        write_result(args.output, result)
        return
    for side in SIZES:
        result[f"queries_at_{side}_px"] = queries(side, args.num_subnets, args.repeats, args.seed)
    result["tolerance"] = FOLDING_TOLERANCE
    result["digits"] = {
        space: digits(space, args.num_digits_subnets, args.seed) for space in DIGITS
    }
    write_result(args.output, result)


def queries(side: int, num_subnets: int, repeats: int, seed: int) -> dict[str, Any]:
    """CPU seconds of a query of validation accuracy, and of its validation alone."""
    torch.manual_seed(seed)
    supernet = mobilenetv3(side)
    eval_size, num_val, size, num = SIZES[side]
    val, train = (images(count, side) for count in (num_val, size * num))
    batches = [*zip(val[0].split(eval_size), val[1].split(eval_size), strict=True)]
    recalibrate = [*zip(train[0].split(size), train[1].split(size), strict=True)]
    folded = ValAccuracyEstimator(supernet, batches, recalibrate_batches=recalibrate)
    plain = ValAccuracyEstimator(supernet, batches, recalibrate_batches=recalibrate)
    plain.folds = False
    seconds: dict[str, list[float]] = {}
    rng = np.random.default_rng(seed)
    for _ in range(num_subnets):
        arch = supernet.space.sample(rng)
        subnet = supernet.extract(arch)
        recalibrate_bn(subnet, recalibrate, num)
        sides = {
            "query": lambda arch=arch: plain.estimate(arch),
            "query_folded": lambda arch=arch: folded.estimate(arch),
            "validation": lambda subnet=subnet: evaluate(subnet, batches, device=CPU),
            "validation_folded": lambda subnet=subnet: evaluate(
                subnet, batches, device=CPU, fold=True
            ),
            "validation_in_small_minibatches": lambda subnet=subnet: evaluate(
                subnet, parts(batches, at_once(side)), device=CPU
            ),
        }
        for name, values in in_turn(sides, repeats).items():
            seconds.setdefault(name, []).extend(values)
    return {
        "num_subnets": num_subnets,
        "eval_batch_size": eval_size,
        "num_val_images": num_val,
        "num_recalibration_images": size * num,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "query_over_folded": median_ratio(seconds, "query", "query_folded"),
        "validation_over_folded": median_ratio(seconds, "validation", "validation_folded"),
        "validation_over_small_minibatches": median_ratio(
            seconds, "validation", "validation_in_small_minibatches"
        ),
        "small_minibatches_over_folded": median_ratio(
            seconds, "validation_in_small_minibatches", "validation_folded"
        ),
        "target": "query over folded at least 1.4",
    }


def forward(side: int, num_subnets: int, repeats: int, seed: int) -> dict[str, Any]:
    """CPU seconds of one small minibatch, and of building the folded copy and comparing it."""
    torch.manual_seed(seed)
    supernet, size = mobilenetv3(side), at_once(side)
    (x, y), rng = images(size, side), np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {}
    for _ in range(num_subnets):
        subnet = supernet.extract(supernet.space.sample(rng))
        recalibrate_bn(subnet, [(x, y)], 1)
        folded = fold_batchnorm(subnet, x[:2])
        sides = {
            "forward": lambda subnet=subnet: evaluate(subnet, [(x, y)], device=CPU),
            "forward_folded": lambda folded=folded: evaluate(folded, [(x, y)], device=CPU),
            "folding_and_forward": lambda subnet=subnet: evaluate(
                subnet, [(x, y)], device=CPU, fold=True
            ),
        }
        for name, values in in_turn(sides, repeats).items():
            seconds.setdefault(name, []).extend(values)
    return {
        "num_subnets": num_subnets,
        "num_images": size,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "forward_over_folded": median_ratio(seconds, "forward", "forward_folded"),
    }


def mobilenetv3(side: int) -> Supernet:
    """A supernet for square images."""
    strides = {"strides": SMALL_STRIDES} if side == 32 else {}
    supernet = create_supernet("mobilenetv3", num_classes=10, input_size=(3, side, side), **strides)
    return supernet.to(memory_format=torch.channels_last)


def at_once(side: int) -> int:
    """Images that a folded network runs on at once."""
    return max(16, 64 * 32**2 // side**2)


def images(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Random images and classes."""
    x = torch.randn(count, 3, side, side).to(memory_format=torch.channels_last)
    return x, torch.randint(10, (count,))


def parts(batches: list[tuple[Tensor, Tensor]], size: int) -> list[tuple[Tensor, Tensor]]:
    """The same images in minibatches of at most ``size``."""
    return [pair for x, y in batches for pair in zip(x.split(size), y.split(size), strict=True)]


def digits(space: str, num_subnets: int, seed: int) -> dict[str, Any]:
    """What folding changes in subnets of a space."""
    torch.manual_seed(seed)
    side = 32 if space == "mobilenetv3" else 8
    data = DataConfig("digits", image_size=side)
    loaders = create_loaders(data, batch_size=64)
    supernet = create_supernet(
        space,
        num_classes=loaders.num_classes,
        input_size=loaders.input_size,
        **DIGITS[space],
    ).to(memory_format=torch.channels_last)
    rng = np.random.default_rng(seed)
    supernet.train()
    optimizer = sgd(supernet)
    optimizer.param_groups[0]["lr"] = 0.05
    for x, y in loaders.train.take(100):
        loss = F.cross_entropy(supernet(x, supernet.space.sample(rng)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    recalibrate = [*loaders.train_eval.take(4)]
    x, y = next(iter(loaders.val))
    errors, top1, changed, images_changed, pairs = [], [], 0, 0, set()
    for _ in range(num_subnets):
        network = supernet.to_standalone(supernet.extract(supernet.space.sample(rng)))
        recalibrate_bn(network, recalibrate, len(recalibrate))
        assert can_fold_batchnorm(network)
        folded = fold_batchnorm(network, x[:2])
        pairs.add(not has_batchnorm(folded))
        with torch.inference_mode():
            expected, found = network(x), folded(x)
        errors.append(float((found - expected).abs().max() / expected.abs().max()))
        top1.append(float((expected.argmax(1) == y).float().mean()) * 100)
        correct = [int((logits.argmax(1) == y).sum()) for logits in (expected, found)]
        changed += correct[0] != correct[1]
        images_changed += int((found.argmax(1) != expected.argmax(1)).sum())
    return {
        "num_subnets": num_subnets,
        "num_images": len(y),
        "mean_top1": float(np.mean(top1)),
        "all_batchnorm_folded": pairs == {True},
        "max_relative_error_of_logits": max(errors),
        "subnets_beyond_tolerance": sum(error > FOLDING_TOLERANCE for error in errors),
        "subnets_of_other_top1": changed,
        "images_of_other_class": images_changed,
    }


if __name__ == "__main__":
    main()
