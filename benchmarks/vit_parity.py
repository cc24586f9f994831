#!/usr/bin/env python3
"""Compares the elastic Vision Transformer with timm's, in counts, logits and the time of a step.

Random subnets of each preset, with its extremes: parameters against those of timm's network, and
multiply-accumulates against PyTorch's counter on the meta device, where it sees attention. Logits
of a path against timm's ``VisionTransformer`` built by timm from its arguments alone, whose random
weights are written into the supernet; and against networks whose layers differ, extracted from it.
Steps of a path against steps of the extracted network, in turns, in CPU time of a single thread.

    python benchmarks/vit_parity.py --output benchmarks/results/vit_parity.json
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from agreement import relative_error
from hardware import write_result
from speed import in_turn, median_ratio, plain_step, sgd
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from supernets.networks.vit import ViTSupernet
from supernets.networks.vit_subnet import timm_arguments, timm_definition
from supernets.spaces import Architecture

#: Side of the images, and images in a step, of each preset.
PRESETS = {"tiny": (224, 8), "small": (224, 2), "base": (224, 1), "cifar": (32, 32)}
#: Embedding dimension and heads of networks that timm's arguments say, by preset.
ALIKE = {"tiny": (192, 3), "small": (384, 6), "base": (576, 9), "cifar": (160, 5)}


def main() -> None:
    """Compares every preset, and times those that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--num-subnets", type=int, default=50, help="counted, beside the extremes")
    add("--num-compared", type=int, default=8, help="of these, whose logits are compared")
    add("--timed", nargs="*", choices=PRESETS, default=["tiny", "cifar"])
    add("--num-timed", type=int, default=4)
    add("--repeats", type=int, default=7)
    add("--seed", type=int, default=0)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "note": args.note,
        "seed": args.seed,
        "convention": "multiply-accumulates of the patches' projection, linear layers and "
        "attention's two products, tokens^2 times the heads' width each; no biases, LayerNorm, "
        "softmax, GELU or sums",
        "error": "largest |difference| of logits / largest |logit|, maximum over subnets",
        "target": "errors under 1e-5, path over static at most 1.10",
    }
    for preset, (side, batch_size) in PRESETS.items():
        torch.manual_seed(args.seed)
        settings = {"num_classes": 1000, "preset": preset, "input_size": (3, side, side)}
        supernet = ViTSupernet(**settings).eval()
        rng = np.random.default_rng(args.seed)
        drawn = [supernet.space.sample(rng) for _ in range(args.num_subnets)]
        archs = [*supernet.space.extremes(), *drawn]
        found = {"images": [3, side, side], **counts(supernet, archs)}
        found |= logits(supernet, preset, archs[: args.num_compared], args.seed)
        if preset in args.timed:
            found |= steps(supernet.train(), drawn[: args.num_timed], batch_size, args.repeats)
        result[preset] = found
    result["wall_seconds"] = time.perf_counter() - started
    write_result(args.output, result)


def counts(supernet: ViTSupernet, archs: list[Architecture]) -> dict[str, Any]:
    """How many subnets have equal parameters, and equal multiply-accumulates."""
    params, macs = supernet.count(supernet.space.choices_of(archs))
    equal_params = equal_macs = 0
    x = torch.zeros(1, *supernet.input_size, device="meta")
    for arch, num_params, num_macs in zip(archs, params.tolist(), macs.tolist(), strict=True):
        with torch.device("meta"):
            subnet = supernet.build_subnet(arch).eval()
        equal_params += num_params == sum(p.numel() for p in subnet.parameters())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            subnet(x)
        equal_macs += 2 * num_macs == counter.get_total_flops()
    return {
        "num_subnets": len(archs),
        "num_equal_parameters": equal_params,
        "num_equal_macs": equal_macs,
        "mega_params_smallest_largest": [round(count / 1e6, 3) for count in params[:2].tolist()],
        "mega_macs_smallest_largest": [round(count / 1e6, 1) for count in macs[:2].tolist()],
    }


@torch.no_grad()
def logits(
    supernet: ViTSupernet, preset: str, archs: list[Architecture], seed: int
) -> dict[str, Any]:
    """Errors against timm's network by its arguments, and against extracted ones."""
    x = torch.randn(2, *supernet.input_size, generator=torch.Generator().manual_seed(seed))
    dim, heads = ALIKE[preset]
    errors = []
    for depth in supernet.space.depths:
        for ratio in supernet.space.mlp_ratios:
            lists = [",".join([f"{value:g}"] * depth) for value in (heads, ratio)]
            arch = supernet.space.parse(f"e={dim};d={depth};h={lists[0]};r={lists[1]}")
            arguments = timm_arguments(timm_definition(arch, **supernet.settings))
            assert arguments is not None
            network = timm.create_model("vit_tiny_patch16_224", **arguments).eval()
            for parameter in network.parameters():  # as far from how they start as trained ones
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
            write_into(supernet, network)
            errors.append(relative_error(supernet(x, arch), network(x)))
    extracted = [relative_error(supernet.extract(arch)(x), supernet(x, arch)) for arch in archs]
    return {
        "num_timm_by_arguments": len(errors),
        "max_error_timm_by_arguments": max(errors),
        "num_extracted": len(extracted),
        "max_error_extracted": max(extracted),
    }


def write_into(supernet: ViTSupernet, network: nn.Module) -> None:
    """Writes the weights of timm's network where its path reads them."""
    own = supernet.state_dict()
    for name, weight in network.state_dict().items():
        target, source = own[name], weight
        if ".qkv." in name:
            target, source = (t.view(3, -1, *t.shape[1:]) for t in (target, weight))
        target[tuple(slice(size) for size in source.shape)] = source


def steps(
    supernet: ViTSupernet, archs: list[Architecture], batch_size: int, repeats: int
) -> dict[str, Any]:
    """Forward, backward and SGD step of paths and of their extracted networks."""
    x = torch.randn(batch_size, *supernet.input_size)
    y = torch.randint(supernet.num_classes, (batch_size,))
    own = sgd(supernet)
    seconds: dict[str, list[float]] = {}
    for arch in archs:
        static = supernet.extract(arch)
        sides = {
            "path": partial(plain_step, supernet, own, x, y, False, arch),
            "static": partial(plain_step, static, sgd(static), x, y, False),
        }
        for name, values in in_turn(sides, repeats).items():
            seconds.setdefault(name, []).extend(values)
    return {
        "batch_size": batch_size,
        "num_timed": len(archs),
        "repeats": repeats,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "path_over_static": median_ratio(seconds, "path", "static"),
    }


if __name__ == "__main__":
    main()
