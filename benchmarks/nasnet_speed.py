#!/usr/bin/env python3
"""Times and weighs a training step of a NASNet supernet against its extracted networks.

The CPU time of a single thread is measured, path and extracted network in turn. Memory is what the
step keeps: the activations autograd saves, and the gradients; both must be those of the extracted
network, or something of the operations off the path was computed.

    python benchmarks/nasnet_speed.py --output benchmarks/results/nasnet_speed.json
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
from mobilenetv3_speed import in_turn
from speed import median_ratio, sgd
from torch import Tensor, nn

from search import SearchProblem, create_algorithm
from supernets import Constraint, CostModel
from supernets.cost.analytic import feasibility_check
from supernets.networks.nasnet import NASNetSupernet

#: Side of the images, images in a batch, first width, cells.
SETTINGS = {"cifar": (32, 64, 16, 8), "imagenet": (224, 4, 16, 14)}


def main() -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--repeats", type=int, default=5)
    add("--num-subnets", type=int, default=5)
    add("--seed", type=int, default=0)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "note": args.note,
        "targets": "path over static at most 1.05; as many bytes kept; extract under 50 ms",
    }
    for stem in SETTINGS:
        result[stem] = steps(stem, args.num_subnets, args.repeats, args.seed)
    result["feasible_samples"] = feasible_samples(args.seed)
    write_result(args.output, result)


def steps(stem: str, num_subnets: int, repeats: int, seed: int) -> dict[str, Any]:
    """Forward, backward and SGD step, and what they keep."""
    side, batch_size, channels, layers = SETTINGS[stem]
    torch.manual_seed(seed)
    supernet = NASNetSupernet(
        num_classes=1000 if stem == "imagenet" else 10,
        channels=channels,
        layers=layers,
        input_size=(3, side, side),
    ).to(memory_format=torch.channels_last)
    x = torch.randn(batch_size, 3, side, side).to(memory_format=torch.channels_last)
    y = torch.randint(supernet.num_classes, (batch_size,))
    optimizer = sgd(supernet)
    rng = np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {}
    extract_seconds, kept = [], []
    for _ in range(num_subnets):
        arch = supernet.space.sample(rng)
        started = time.process_time()
        static = supernet.extract(arch)
        extract_seconds.append(time.process_time() - started)
        static_sgd = sgd(static)
        sides: dict[str, Callable[[], None]] = {
            "path": lambda arch=arch: step(optimizer, lambda: supernet(x, arch), y),
            "static": lambda static=static, opt=static_sgd: step(opt, lambda: static(x), y),
        }
        for name, values in in_turn(sides, repeats).items():
            seconds.setdefault(name, []).extend(values)
        kept.append(
            [
                bytes_kept(supernet, lambda arch=arch: supernet(x, arch), y),
                bytes_kept(static, lambda static=static: static(x), y),
            ]
        )
    path, extracted = np.array(kept).transpose(1, 2, 0).astype(float)  # (kinds, num_subnets)
    return {
        "side": side,
        "batch_size": batch_size,
        "channels": channels,
        "layers": layers,
        "num_subnets": num_subnets,
        "median_seconds": {name: float(np.median(values)) for name, values in seconds.items()},
        "path_over_static": median_ratio(seconds, "path", "static"),
        "extract_median_milliseconds": 1e3 * float(np.median(extract_seconds)),
        "mean_bytes_of_activations": {"path": path[0].mean(), "static": extracted[0].mean()},
        "largest_difference_of_activations": float(np.abs(path[0] - extracted[0]).max()),
        "mean_bytes_of_gradients": {"path": path[1].mean(), "static": extracted[1].mean()},
        "bytes_of_supernet_parameters": sum(p.nbytes for p in supernet.parameters()),
    }


def step(optimizer: torch.optim.Optimizer, forward: Callable[[], Tensor], y: Tensor) -> None:
    """One SGD step; what is not used has no gradient and stays as it is."""
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(forward(), y).backward()
    optimizer.step()


def bytes_kept(network: nn.Module, forward: Callable[[], Tensor], y: Tensor) -> tuple[int, int]:
    """Bytes of the activations saved for the backward pass, and of the gradients it leaves."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    saved: dict[int, torch.UntypedStorage] = {}  # held, lest an address be used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage
        return tensor

    network.zero_grad(set_to_none=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = F.cross_entropy(forward(), y)
    loss.backward()
    gradients = sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
    network.zero_grad(set_to_none=True)
    return sum(storage.nbytes() for storage in saved.values()), gradients


def feasible_samples(seed: int) -> dict[str, Any]:
    """Random search for distinct cells of 550 to 600 million MACs in a network of 14 cells."""
    with torch.device("meta"):
        supernet = NASNetSupernet(
            num_classes=1000, channels=46, layers=14, input_size=(3, 224, 224)
        )
    started = time.process_time()
    window = Constraint("macs", minimum=550e6, maximum=600e6)
    check = feasibility_check(CostModel(supernet), [window])
    algorithm = create_algorithm("random", SearchProblem(supernet.space, seed, check))
    archs = algorithm.ask(10_000)
    choices = supernet.space.sample_choices(10_000, np.random.default_rng(seed))
    return {
        "num_archs": len(set(archs)),
        "seconds": time.process_time() - started,
        "target": "under 30",
        "share_in_window": float(check(choices).mean()) if check else 1.0,
    }


if __name__ == "__main__":
    main()
