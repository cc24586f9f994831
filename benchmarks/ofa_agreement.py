#!/usr/bin/env python3
"""Compares elastic MobileNetV3 with the authors' package ``ofa`` on the same weights.

Random subnets of each width: logits of our supernet and of our extracted networks against their
supernet's, in float32 and float64, with their own extracted networks as the yardstick of rounding;
parameters and MACs against their counters. Needs the extra ``peers``.

    python benchmarks/ofa_agreement.py --output benchmarks/results/ofa_agreement.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from agreement import relative_error
from hardware import write_result
from ofa.utils.pytorch_utils import count_net_flops, count_parameters
from ofa_peer import ofa_supernet, our_arch, random_archs, same_supernet, uniform_arch
from torch import Tensor, nn

from supernets.networks.mobilenetv3 import MobileNetV3Supernet

SIDES = (128, 160, 192, 224, 236)  # of images whose MACs are counted


def main() -> None:
    """Compares every width."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--widths", type=float, nargs="+", default=[1.0, 1.2])
    add("--num-subnets", type=int, default=50, help="per width, beside the full network")
    add("--side", type=int, default=160, help="of the images in pixels")
    add("--batch-size", type=int, default=4)
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()
    result: dict[str, Any] = {
        "seed": args.seed,
        "setting": f"{args.num_subnets} random subnets and the full network per width, "
        f"batch {args.batch_size} at {args.side} px, 1000 classes",
        "error": "largest |difference| of logits / largest |logit|, maximum over subnets",
    }
    for width in args.widths:
        result[f"width_{width}"] = compare(
            width, args.num_subnets, args.side, args.batch_size, args.seed
        )
    result["wall_seconds"] = time.perf_counter() - started
    write_result(args.output, result)


def compare(width: float, num_subnets: int, side: int, batch_size: int, seed: int) -> Any:
    """Errors and counts of one width."""
    theirs = ofa_supernet(width, 1000, side, seed)
    ours = same_supernet(theirs, side)
    x = torch.randn(batch_size, 3, side, side)
    archs = [uniform_arch(7, 6, 4), *random_archs(num_subnets, seed)]
    errors = [subnet_errors(theirs, ours, arch, x) for arch in archs]
    theirs.double(), ours.double()
    exact = [double_error(theirs, ours, arch, x.double()) for arch in archs]
    counted = same_counts(theirs.float(), ours, archs, side)
    return {
        "max_error": {name: max(error[name] for error in errors) for name in errors[0]},
        "max_error_float64": max(exact),
        **counted,
        "parameters_of_the_supernet": sum(p.numel() for p in ours.parameters()),
        "smallest_and_largest_subnet": smallest_and_largest(width),
    }


@torch.no_grad()
def subnet_errors(
    theirs: Any, ours: MobileNetV3Supernet, arch: dict[str, list[int]], x: Tensor
) -> dict[str, float]:
    """Of our supernet, our extracted network, and their extracted network, against theirs."""
    theirs.set_active_subnet(**arch)
    expected = theirs(x)
    path = ours(x, our_arch(ours, arch))
    extracted: nn.Module = ours.extract(our_arch(ours, arch))
    return {
        "our_supernet": relative_error(path, expected),
        "our_extracted_network": relative_error(extracted(x), expected),
        "their_extracted_network": relative_error(theirs.get_active_subnet().eval()(x), expected),
        "our_extracted_network_against_our_supernet": relative_error(extracted(x), path),
    }


@torch.no_grad()
def double_error(
    theirs: Any, ours: MobileNetV3Supernet, arch: dict[str, list[int]], x: Tensor
) -> float:
    """Of our supernet against theirs, both in float64."""
    theirs.set_active_subnet(**arch)
    return relative_error(ours(x, our_arch(ours, arch)), theirs(x))


def same_counts(
    theirs: Any, ours: MobileNetV3Supernet, archs: list[dict[str, list[int]]], side: int
) -> dict[str, Any]:
    """How many subnets have equal parameters, and how far the MACs are apart."""
    num_equal, differences = 0, []
    for arch in archs:
        theirs.set_active_subnet(**arch)
        subnet = theirs.get_active_subnet(preserve_weight=False)
        params, macs = ours.count(np.array([our_arch(ours, arch).choices]))
        num_equal += int(params[0]) == count_parameters(subnet)
        expected = count_net_flops(subnet, (1, 3, side, side))
        differences.append(abs(float(macs[0]) - expected) / expected)
    return {
        "num_subnets": len(archs),
        "num_equal_parameters": num_equal,
        "max_relative_difference_of_macs": max(differences),  # theirs are summed in float32
    }


def smallest_and_largest(width: float) -> list[dict[str, Any]]:
    """Million parameters and MACs at every size of the images."""
    rows = []
    for side in SIDES:
        with torch.device("meta"):
            ours = MobileNetV3Supernet(num_classes=1000, width=width, input_size=(3, side, side))
        archs = [our_arch(ours, uniform_arch(*arch)) for arch in ((3, 3, 2), (7, 6, 4))]
        params, macs = ours.count(np.array([arch.choices for arch in archs]))
        rows.append(
            {
                "side": side,
                "mega_params": [round(count / 1e6, 3) for count in params.tolist()],
                "mega_macs": [round(count / 1e6, 1) for count in macs.tolist()],
            }
        )
    return rows


if __name__ == "__main__":
    main()
