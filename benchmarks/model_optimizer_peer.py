#!/usr/bin/env python3
"""Marked networks beside NVIDIA Model-Optimizer, which makes a supernet of a network by itself.

Both take timm's ``mobilenetv3_large_100`` with random weights: how many subnets are found, whether
a path computes the bits of the subnet that is taken out, whether counts of that are exact, and what
a training step (forward and backward of one minibatch) costs beside that of the subnet alone, both
interleaved.

    python benchmarks/model_optimizer_peer.py --output benchmarks/results/model_optimizer_peer.json

Needs ``pip install nvidia-modelopt==0.47.0``, which is no dependency; without it only ours is
measured.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from hardware import write_result
from torch import Tensor, nn

from supernets import ElasticDepth, ElasticWidth
from supernets.networks.marked_costs import own_costs
from supernets.networks.marked_supernet import MarkedSupernet

MODEL = "mobilenetv3_large_100"
NUM_CLASSES = 100


def marked(num_classes: int) -> nn.Module:
    model = timm.create_model(MODEL, num_classes=num_classes)
    for i, stage in enumerate(model.blocks):
        for j, block in enumerate(stage):
            if hasattr(block, "conv_pwl"):
                gate = ["se.conv_expand"] if hasattr(block.se, "conv_expand") else []
                for name in ("conv_pw", *gate):
                    width = ElasticWidth(block.get_submodule(name), (0.5, 0.75, 1.0), f"{i}.{j}")
                    block.set_submodule(name, width)
        if len(stage) > 1:
            model.blocks[i] = ElasticDepth(*stage, depths=range(1, len(stage) + 1))
    return model


def converted(model: nn.Module) -> Any:
    import modelopt.torch.nas as mtn

    return mtn.convert(model, "autonas")


def main() -> None:
    """Measures what there is, and writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--side", type=int, default=64, help="of images in pixels (default: %(default)s)")
    add("--batch-size", type=int, default=8, help="of a training step (default: %(default)s)")
    add("--num-archs", type=int, default=10, help="compared, random (default: %(default)s)")
    add("--num-steps", type=int, default=15, help="timed for each (default: %(default)s)")
    add("--seed", type=int, default=0)
    add("--output", type=Path, required=True)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    images = torch.randn(
        args.batch_size, 3, args.side, args.side, generator=torch.Generator().manual_seed(args.seed)
    )
    result = {"paceline": ours(images, args.num_archs, args.num_steps, args.seed)}
    peer = "nvidia-modelopt"
    if find_spec("modelopt"):
        result[peer] = theirs(images, args.num_archs, args.num_steps, args.seed)
        result[peer]["version"] = version(peer)
    write_result(
        args.output,
        {
            "note": args.note,
            "model": MODEL,
            "image_side": args.side,
            "batch_size": args.batch_size,
            "seeds": [args.seed],
            "wall_seconds": time.perf_counter() - started,
            "results": result,
        },
    )


def ours(images: Tensor, num_archs: int, num_steps: int, seed: int) -> dict[str, Any]:
    """Measures the network with marks."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    supernet = MarkedSupernet(
        MODEL, marked, num_classes=NUM_CLASSES, input_size=tuple(images.shape[1:])
    )
    seconds = time.perf_counter() - started
    settle(supernet.network, seed)
    rng = np.random.default_rng(seed)
    archs = [supernet.space.sample(rng) for _ in range(num_archs)]
    records = []
    for arch in archs:
        subnet = supernet.eval().extract(arch)
        with torch.no_grad():
            is_equal = torch.equal(supernet(images, arch), subnet(images))
        supernet.train()
        ratio = step_ratio(
            lambda arch=arch: supernet(images, arch), supernet, subnet.train(), images, num_steps
        )
        records.append({"equal_bits": is_equal, **ratio, **counted(subnet, images)})
    choices = np.array([arch.choices for arch in archs])
    params, macs = supernet.count(choices)
    return {
        "lines_of_user_code": num_lines(marked),
        "seconds_to_build": seconds,
        "decisions": len(supernet.space.decisions),
        "subnets": supernet.space.size,
        "params_exact": params.tolist() == [record["params"] for record in records],
        "macs_exact": macs.tolist() == [record["macs"] for record in records],
        "subnet_loads_without_the_package": loads_alone(subnet, images, "supernets"),
        **summary(records),
    }


def theirs(images: Tensor, num_archs: int, num_steps: int, seed: int) -> dict[str, Any]:
    """Measures the network that Model-Optimizer converts."""
    import modelopt.torch.nas as mtn
    from modelopt.torch.nas.search_space import SearchSpace

    torch.manual_seed(seed)
    random.seed(seed)
    model = timm.create_model(MODEL, num_classes=NUM_CLASSES)
    started = time.perf_counter()
    supernet = converted(model)
    seconds = time.perf_counter() - started
    settle(supernet, seed)
    space = SearchSpace(supernet)
    options = {name: list(h.choices) for name, h in space.named_hparams(configurable=True)}
    records = []
    for _ in range(num_archs):
        supernet.eval()
        config = mtn.sample(supernet)
        subnet = mtn.export(copy.deepcopy(supernet)).eval()
        with torch.no_grad():
            is_equal = torch.equal(supernet(images), subnet(images))
        supernet.train()

        def forward(config: Any = config) -> Tensor:
            # as in training, where every step selects a subnet
            mtn.select(supernet, config)
            with mtn.no_modelopt_patches():
                logits: Tensor = supernet(images)
            return logits

        ratio = step_ratio(forward, supernet, subnet.train(), images, num_steps)
        records.append({"equal_bits": is_equal, **ratio, **counted(subnet, images)})
    return {
        "lines_of_user_code": num_lines(converted),
        "seconds_to_build": seconds,
        "decisions": len(options),
        "subnets": space.size() if callable(space.size) else space.size,
        "options": {name: str(each) for name, each in options.items()},
        "subnet_loads_without_the_package": loads_alone(subnet.eval(), images, "modelopt"),
        **summary(records),
    }


@torch.no_grad()
def settle(network: nn.Module, seed: int) -> None:
    """Gives BatchNorm statistics as training might leave them, so that equality means something."""
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)


def step_ratio(
    path: Callable[[], Tensor], supernet: nn.Module, subnet: nn.Module, images: Tensor, steps: int
) -> dict[str, float]:
    """Medians of the seconds of a step along a path and of the subnet alone, interleaved."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    seconds: dict[str, list[float]] = {"path": [], "alone": []}
    runs = (("path", path, supernet), ("alone", lambda: subnet(images), subnet))
    for step in range(steps + 2):
        for name, forward, network in runs if step % 2 else reversed(runs):
            network.zero_grad()
            started = time.perf_counter()
            F.cross_entropy(forward(), labels).backward()
            if step >= 2:  # after warming up
                seconds[name].append(time.perf_counter() - started)
    path_s, alone_s = (statistics.median(seconds[name]) for name in ("path", "alone"))
    return {"path_seconds": path_s, "alone_seconds": alone_s, "ratio": path_s / alone_s}


def counted(subnet: nn.Module, images: Tensor) -> dict[str, int]:
    """Parameters and multiply-accumulates of an ordinary network."""
    traced = own_costs(copy.deepcopy(subnet).eval().to("meta"), tuple(images.shape[1:]))
    return {
        "params": sum(parameter.numel() for parameter in subnet.parameters()),
        "macs": sum(cost[1] for cost in traced.values()),
    }


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all architectures that were compared."""
    ratios = [record["ratio"] for record in records]
    return {
        "compared": len(records),
        "equal_bits": sum(record["equal_bits"] for record in records),
        "params": [min(r["params"] for r in records), max(r["params"] for r in records)],
        "macs": [min(r["macs"] for r in records), max(r["macs"] for r in records)],
        "step_ratio": {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
        },
        "seconds_alone": statistics.median(record["alone_seconds"] for record in records),
        "seconds_along_path": statistics.median(record["path_seconds"] for record in records),
    }


def loads_alone(subnet: nn.Module, images: Tensor, package: str) -> bool:
    """Whether a process without a package reads a saved subnet, and it computes the same bits."""
    subnet = subnet.eval()
    program = (
        f"import sys, torch; sys.modules[{package!r}] = None; "
        "subnet, images, logits = torch.load(sys.argv[1], weights_only=False); "
        "sys.exit(0 if torch.equal(subnet(images), logits) else 1)"
    )
    with temporary_file() as path, torch.no_grad():
        buffer = io.BytesIO()
        torch.save((subnet, images, subnet(images)), buffer)
        path.write_bytes(buffer.getvalue())
        return subprocess.run([sys.executable, "-c", program, str(path)]).returncode == 0


@contextmanager
def temporary_file() -> Iterator[Path]:
    """A file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "subnet.pt"


def num_lines(function: Callable[..., Any]) -> int:
    """Lines of a function, without blank ones."""
    return sum(bool(line.strip()) for line in inspect.getsource(function).splitlines())


if __name__ == "__main__":
    main()
