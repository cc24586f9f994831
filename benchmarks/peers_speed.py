#!/usr/bin/env python3
"""Training steps and queries of TSE beside those of other packages, in turn, on one thread.

Random architectures take a step of SGD in our supernet, with this package's kernels and without,
and in the network that the other package builds of the same architecture, in its layout (NCHW) and
in channels_last. ``xautodl`` is AutoDL-Projects, with networks of NAS-Bench-201 and of DARTS cells
(of as many cells, with one BatchNorm more); ``ofa`` is Once-for-All. A query of TSE on a supernet
of theirs copies it and takes ten steps of SGD. CPU seconds are the least of several steps. Needs

    pip install --no-deps xautodl==1.0.0 ofa==0.1.0.post202307202001

and the extra ``peers``.

    python benchmarks/peers_speed.py --output benchmarks/results/peers_speed.json
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hardware import write_result
from torch import Tensor, nn

from estimators.scores.tse import TSEEstimator
from supernets.kernels.library import chosen_kernels, using
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.runtime.device import autocast, has_bfloat16
from supernets.spaces import Architecture

CPU = torch.device("cpu")
NUM_STEPS = 10  # of a query of TSE
#: Operations of DARTS cells as ``xautodl`` calls them.
THEIR_OPS = {
    "sep_conv_3x3": "dua_sepc_3x3",
    "sep_conv_5x5": "dua_sepc_5x5",
    "dil_conv_3x3": "dil_sepc_3x3",
    "dil_conv_5x5": "dil_sepc_5x5",
}
Sides = dict[str, Callable[[], Any]]


def main() -> None:
    """Measures the cases, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--cases", nargs="+", choices=CASES, default=list(CASES))
    add("--num-archs", type=int, default=5)
    add("--repeats", type=int, default=4, help="steps of an architecture, in turn")
    add("--seed", type=int, default=0)
    add("--note", default="", help="what a reader must know, stored with the results")
    add("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in args.cases:
        torch.manual_seed(args.seed)
        found = [
            least(sides, 1 if "tse" in name else args.repeats)
            for sides in CASES[name](args.num_archs, args.seed)
        ]
        results[name] = summary(found)
        print(name, results[name]["ratios"], file=sys.stderr, flush=True)
    packages = {name: version(name) for name in ("xautodl", "ofa")}
    kernels = chosen_kernels("auto", CPU)
    facts = {"note": args.note, "seed": args.seed, "kernels": kernels, "peers": packages}
    write_result(args.output, {**facts, "results": results})


def least(sides: Sides, repeats: int) -> dict[str, float]:
    """The least CPU seconds of every side, run in turn after a first time."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            started = time.process_time()
            run()
            found[name].append(time.process_time() - started)
    return {name: min(seconds[1:]) for name, seconds in found.items()}


def summary(found: list[dict[str, float]]) -> dict[str, Any]:
    """The seconds of all sides, and how many times ours the others take."""
    seconds = {name: [each[name] for each in found] for name in found[0]}
    ours = [name for name in seconds if name.startswith("ours")]
    ratios = {
        f"{other} / {own}": round(sum(seconds[other]) / sum(seconds[own]), 3)
        for other in seconds
        if other not in ours
        for own in ours
    }
    return {"num_archs": len(found), "seconds": seconds, "ratios": ratios}


def step(network: nn.Module, opt: Any, x: Tensor, y: Tensor, *arch: Architecture) -> None:
    """Forward, backward and SGD step."""
    opt.zero_grad()
    out = network(x, *arch)
    F.cross_entropy(out[1] if isinstance(out, tuple) else out, y).backward()
    opt.step()


def our_sides(supernet: Supernet, arch: Architecture, x: Tensor, y: Tensor) -> Sides:
    """Our step with PyTorch's kernels, with ours, and in bfloat16 where the CPU has it."""
    opt, last = sgd(supernet), x.to(memory_format=torch.channels_last)

    def run(kernels: str, amp: bool) -> None:
        with using(kernels), autocast(CPU, amp):
            step(supernet, opt, last, y, arch)

    kernels = chosen_kernels("auto", CPU)
    sides: Sides = {
        "ours without kernels": partial(run, "off", False),
        "ours": partial(run, kernels, False),
    }
    if has_bfloat16(CPU):
        sides["ours in bfloat16"] = partial(run, kernels, True)
    return sides


def their_sides(name: str, network: nn.Module, x: Tensor, y: Tensor) -> Sides:
    """Their step as it is, and in channels_last."""
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    x_last = x.to(memory_format=torch.channels_last)
    return {
        name: partial(step, network, sgd(network), x, y),
        f"{name} in channels_last": partial(step, last, sgd(last), x_last, y),
    }


def sgd(network: nn.Module) -> torch.optim.SGD:
    """SGD of all parameters."""
    return torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9)


def nasbench201(num_archs: int, seed: int) -> Any:
    """C = 16, N = 5, batch 64."""
    from xautodl.models.cell_infers.tiny_network import TinyNetwork

    supernet, x, y = ours("nasbench201", 64, 32)
    for arch in archs_of(supernet, num_archs, seed):
        theirs = TinyNetwork(16, 5, structure(supernet, arch), 10).train()
        yield our_sides(supernet, arch, x, y) | their_sides("xautodl", theirs, x, y)


def darts_cells(num_archs: int, seed: int) -> Any:
    """C = 16, nine cells, batch 32."""
    from xautodl.models.cell_infers.nasnet_cifar import NASNetonCIFAR

    supernet, x, y = ours("darts", 32, 32, channels=16, layers=9)
    for arch in archs_of(supernet, num_archs, seed):
        cells: Mapping[str, Any] = supernet.space.cells(arch)
        genotype = {
            name: [
                tuple((THEIR_OPS.get(edge.op, edge.op), edge.source) for edge in pair)
                for pair in zip(cells[name][::2], cells[name][1::2], strict=True)
            ]
            for name in ("normal", "reduce")
        }
        concat = {f"{name}_concat": [2, 3, 4, 5] for name in ("normal", "reduce")}
        theirs = NASNetonCIFAR(16, 3, 3, 10, {**genotype, **concat}, False).train()
        yield our_sides(supernet, arch, x, y) | their_sides("xautodl", theirs, x, y)


def mobilenetv3(num_archs: int, seed: int) -> Any:
    """160 pixels, batch 16."""
    from ofa_peer import ofa_supernet, our_arch, random_archs, same_supernet

    theirs = ofa_supernet(1.0, 1000, 160, seed).train()
    supernet = same_supernet(theirs, 160).to(memory_format=torch.channels_last).train()
    x, y = torch.randn(16, 3, 160, 160), torch.randint(1000, (16,))
    for drawn in random_archs(num_archs, seed):
        theirs.set_active_subnet(**drawn)
        yield our_sides(supernet, our_arch(supernet, drawn), x, y) | their_sides(
            "ofa", theirs, x, y
        )


def tse_nasbench201(num_archs: int, seed: int) -> Any:
    """Ten minibatches of 64 on a supernet of C = 16, N = 5."""
    from xautodl.models.cell_operations import NAS_BENCH_201
    from xautodl.models.cell_searchs.generic_model import GenericNAS201Model

    supernet, x, y = ours("nasbench201", 64, 32)
    theirs = GenericNAS201Model(16, 5, 4, 10, NAS_BENCH_201, True, True).train()
    last = x.to(memory_format=torch.channels_last)

    def query(estimator: TSEEstimator, arch: Architecture) -> None:
        estimator.estimate(arch)

    def their_query(arch: Architecture) -> None:
        network = copy.deepcopy(theirs)
        network.set_cal_mode("dynamic", structure(supernet, arch))
        opt = torch.optim.SGD(network.weights, 1e-3, momentum=0.9)
        for _ in range(NUM_STEPS):
            step(network, opt, x, y)

    def estimator(kernels: str, amp: bool) -> TSEEstimator:
        batches = [(last, y)] * NUM_STEPS
        return TSEEstimator(supernet, batches, num_batches=NUM_STEPS, kernels=kernels, amp=amp)

    known = {"ours without kernels": estimator("off", False), "ours": estimator("auto", False)}
    if has_bfloat16(CPU):
        known["ours in bfloat16"] = estimator("auto", True)
    for arch in archs_of(supernet, num_archs, seed):
        own = {name: partial(query, each, arch) for name, each in known.items()}
        yield {**own, "xautodl": partial(their_query, arch)}


def ours(
    space: str, batch_size: int, side: int, **settings: Any
) -> tuple[Supernet, Tensor, Tensor]:
    """A supernet and a minibatch."""
    supernet = create_supernet(space, num_classes=10, **settings)
    x, y = torch.randn(batch_size, 3, side, side), torch.randint(10, (batch_size,))
    return supernet.to(memory_format=torch.channels_last).train(), x, y


def archs_of(supernet: Supernet, num_archs: int, seed: int) -> list[Architecture]:
    """Random architectures."""
    rng = np.random.default_rng(seed)
    return [supernet.space.sample(rng) for _ in range(num_archs)]


def structure(supernet: Supernet, arch: Architecture) -> Any:
    """A cell of NAS-Bench-201 as ``xautodl`` takes it."""
    from xautodl.models.cell_searchs.genotypes import Structure

    return Structure.str2structure(supernet.space.format(arch))


CASES: dict[str, Callable[[int, int], Any]] = {
    "nasbench201": nasbench201,
    "darts cells": darts_cells,
    "mobilenetv3": mobilenetv3,
    "tse nasbench201": tse_nasbench201,
}


if __name__ == "__main__":
    main()
