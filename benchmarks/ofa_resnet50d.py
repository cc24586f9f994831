#!/usr/bin/env python3
"""Compares elastic ResNet-50D with the authors' package ``ofa`` on the same weights, and times it.

Random subnets and the full network: logits of our supernet against their supernet's, with their own
extracted networks as the yardstick of rounding; our extracted networks against ours; parameters and
MACs against their counters. Steps of a path against steps of the extracted network, in turns, in
CPU time of a single thread, with and without the optimizer, which moves the whole supernet. The
trivial baseline of an error is that of another random subnet. Needs the extra ``peers``.

    python benchmarks/ofa_resnet50d.py --output benchmarks/results/ofa_resnet50d.json
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from agreement import relative_error, steps
from hardware import write_result
from ofa.imagenet_classification.elastic_nn.networks import OFAResNets
from ofa.utils.pytorch_utils import count_net_flops, count_parameters
from torch import nn

from supernets.networks.resnet50d import ResNet50DSupernet
from supernets.training.ofa_resnet50d import OFA_RESNET50D, released_resnet50d
from supernets.training.released_files import read_released

DEPTHS, EXPANDS, WIDTHS = [0, 1, 2], [0.2, 0.25, 0.35], [0.65, 0.8, 1.0]
#: Settings of the timed supernets, and images in a step.
TIMED: dict[str, tuple[dict[str, Any], int]] = {
    "width 0.5, 96 px": ({"width": 0.5, "input_size": (3, 96, 96)}, 8),
    "width 0.25, 32 px": ({"width": 0.25, "input_size": (3, 32, 32), "strides": (1, 1)}, 64),
}


def main() -> None:
    """Compares, and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--num-subnets", type=int, default=30, help="compared, beside the full network")
    add("--side", type=int, default=129, help="of the compared images in pixels")
    add("--batch-size", type=int, default=2, help="of the compared images")
    add("--num-timed", type=int, default=3)
    add("--repeats", type=int, default=5)
    add("--seed", type=int, default=0)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "note": args.note,
        "seed": args.seed,
        "setting": f"{args.num_subnets} random subnets and the full network, batch "
        f"{args.batch_size} at {args.side} px, 1000 classes",
        "error": "largest |difference| of logits / largest |logit|, maximum over subnets",
        "target": "errors at most 1e-5, forward and backward of a path at most 1.05 of a subnet's",
    }
    result |= compared(args.num_subnets, args.side, args.batch_size, args.seed)
    for name, (settings, batch_size) in TIMED.items():
        torch.manual_seed(args.seed)
        supernet = ResNet50DSupernet(num_classes=1000, **settings).train()
        result[name] = steps(supernet, batch_size, args.num_timed, args.repeats, args.seed)
    result["wall_seconds"] = time.perf_counter() - started
    write_result(args.output, result)


@torch.no_grad()
def both(side: int, seed: int) -> tuple[Any, ResNet50DSupernet]:
    """Their supernet with BatchNorm as training might leave it, and ours by way of a file."""
    torch.manual_seed(seed)
    theirs = OFAResNets(
        n_classes=1000, depth_list=DEPTHS, expand_ratio_list=EXPANDS, width_mult_list=WIDTHS
    )
    norms = [module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.add_(torch.rand_like(norm.weight) - 0.5)
        norm.bias.add_(torch.rand_like(norm.bias) - 0.5)
        norm.momentum = None  # cumulative average
    theirs.train()(torch.randn(8, 3, side, side))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ofa_resnet50"
        torch.save({"state_dict": theirs.state_dict()}, path)
        released = read_released(path, expected=OFA_RESNET50D.expected)
    return theirs.eval(), released_resnet50d(released, input_size=(3, side, side))


def drawn(num_archs: int, seed: int) -> list[dict[str, list[Any]]]:
    """The full network and random ones, as their ``set_active_subnet`` takes them."""
    rng = random.Random(seed)
    return [{"d": [2] * 5, "e": [0.35] * 18, "w": [2] * 6}] + [
        {
            "d": [rng.choice([0, 2]), *rng.choices(DEPTHS, k=4)],
            "e": rng.choices(EXPANDS, k=18),
            "w": rng.choices([0, 1, 2], k=6),
        }
        for _ in range(num_archs)
    ]


@torch.no_grad()
def compared(num_subnets: int, side: int, batch_size: int, seed: int) -> dict[str, Any]:
    """Errors and counts."""
    theirs, ours = both(side, seed)
    x = torch.randn(batch_size, 3, side, side)
    errors: dict[str, list[float]] = {}
    equal_params, macs_apart, last = 0, [], None
    for each in drawn(num_subnets, seed):
        theirs.set_active_subnet(**each)
        arch = ours.space.parse(json.dumps(each))
        expected, found = theirs(x), ours(x, arch)
        subnet = theirs.get_active_subnet().eval()
        of_arch = {
            "our_supernet": relative_error(found, expected),
            "their_extracted_network": relative_error(subnet(x), expected),
            "our_extracted_network_against_our_supernet": relative_error(
                ours.extract(arch)(x), found
            ),
        }
        for name, error in of_arch.items():
            errors.setdefault(name, []).append(error)
        if last is not None:
            errors.setdefault("another_subnet", []).append(relative_error(last, expected))
        last = expected
        params, macs = ours.count(np.array([arch.choices]))
        equal_params += int(params[0]) == count_parameters(subnet)
        counted = count_net_flops(subnet, (1, 3, side, side))
        macs_apart.append(abs(float(macs[0]) - counted) / counted)
    smallest_of_another = min(errors.pop("another_subnet"))
    return {
        "max_error": {name: max(values) for name, values in errors.items()},
        "min_error_of_another_subnet": smallest_of_another,
        "num_subnets": len(macs_apart),
        "num_equal_parameters": equal_params,
        "max_relative_difference_of_macs": max(macs_apart),  # theirs are summed in float32
    }


if __name__ == "__main__":
    main()
