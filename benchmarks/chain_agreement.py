#!/usr/bin/env python3
"""Compares the chains of ProxylessNAS and NAS-Bench-Macro with what is known, and times them.

ProxylessNAS: logits of paths against the static network of the authors' package ``ofa`` with the
same weights, parameters and MACs against their counters. NAS-Bench-Macro, of which there are no
weights: parameters and MACs against all rows of its table. Of both: extracted networks against
paths, bit by bit, and steps of a path against steps of the extracted network, in turns, in CPU time
of a single thread, with and without the optimizer, which moves the whole supernet. The trivial
baseline of an error is that of another random subnet. Needs the extra ``peers``.

    python benchmarks/chain_agreement.py --table nasbench_macro.csv.gz \\
        --output benchmarks/results/chain_agreement.json
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from agreement import relative_error, steps
from hardware import write_result
from ofa.utils.pytorch_utils import count_net_flops, count_parameters
from ofa_proxylessnas_peer import randomise, same_network, their_network
from torch import Tensor

from supernets import create_supernet
from supernets.networks.proxylessnas import ProxylessNASSupernet

#: Settings of the timed supernets, and images in a step.
TIMED: dict[str, tuple[dict[str, Any], int]] = {
    "proxylessnas": ({"width": 0.5, "input_size": (3, 96, 96)}, 8),
    "nasbench_macro": ({"stem_channels": 16, "input_size": (3, 32, 32)}, 32),
}


def main() -> None:
    """Compares, and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--table", type=Path, required=True, help="of NAS-Bench-Macro")
    add("--num-subnets", type=int, default=20)
    add("--side", type=int, default=64, help="of the compared images of ProxylessNAS in pixels")
    add("--num-timed", type=int, default=4)
    add("--repeats", type=int, default=5)
    add("--seed", type=int, default=0)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    result: dict[str, Any] = {
        "note": args.note,
        "seed": args.seed,
        "error": "largest |difference| of logits / largest |logit|, maximum over subnets",
        "target": "errors at most 1e-5, a step of a path at most 1.05 of the extracted network's",
        "proxylessnas": proxylessnas(args.num_subnets, args.side, args.seed),
        "nasbench_macro": nasbench_macro(args.table, args.num_subnets, args.seed),
    }
    for name, (settings, batch_size) in TIMED.items():
        torch.manual_seed(args.seed)
        supernet = create_supernet(name, num_classes=10, **settings).train()
        found = steps(supernet, batch_size, args.num_timed, args.repeats, args.seed)
        result[name]["steps"] = {**settings, **found}
    result["wall_seconds"] = time.perf_counter() - started
    write_result(args.output, result)


@torch.no_grad()
def proxylessnas(num_subnets: int, side: int, seed: int) -> dict[str, Any]:
    """Errors and counts against the package ``ofa``."""
    torch.manual_seed(seed)
    shape = (3, side, side)
    supernet = randomise(ProxylessNASSupernet(num_classes=10, width=0.5, input_size=shape)).eval()
    x = torch.randn(4, *shape)
    choices = supernet.space.sample_choices(num_subnets, np.random.default_rng(seed))
    params, macs = supernet.count(choices)
    errors, of_another, macs_apart, num_equal, num_same_bits = [], [], [], 0, 0
    last: Tensor | None = None
    for i, arch in enumerate(supernet.space.architectures(choices)):
        expected, found = same_network(supernet, arch)(x), supernet(x, arch)
        errors.append(relative_error(found, expected))
        if last is not None:
            of_another.append(relative_error(last, expected))
        last = expected
        num_same_bits += torch.equal(supernet.extract(arch)(x), found)
        theirs = their_network(supernet, arch).eval()
        num_equal += int(params[i]) == count_parameters(theirs)
        counted = count_net_flops(theirs, (1, *shape))
        macs_apart.append(abs(float(macs[i]) - counted) / counted)
    return {
        "size": supernet.space.size,
        "num_subnets": num_subnets,
        "max_error": max(errors),
        "min_error_of_another_subnet": min(of_another),
        "num_extracted_with_the_bits_of_the_path": num_same_bits,
        "num_equal_parameters": num_equal,
        "max_relative_difference_of_macs": max(macs_apart),  # theirs are summed in float32
    }


@torch.no_grad()
def nasbench_macro(table: Path, num_subnets: int, seed: int) -> dict[str, Any]:
    """Counts against the table, and extracted networks against paths."""
    torch.manual_seed(seed)
    supernet = create_supernet("nasbench_macro", num_classes=10)
    with gzip.open(table, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    archs = [supernet.space.parse(row["arch"]) for row in rows]
    params, macs = supernet.count(supernet.space.choices_of(archs))
    small = create_supernet("nasbench_macro", num_classes=10, stem_channels=8).eval()
    x = torch.randn(4, 3, 32, 32)
    sampled = [small.space.sample(np.random.default_rng((seed, i))) for i in range(num_subnets)]
    return {
        "size": supernet.space.size,
        "num_rows": len(rows),
        "num_equal_parameters": sum(
            int(found) == int(row["params"]) for found, row in zip(params, rows, strict=True)
        ),
        "num_equal_macs": sum(
            int(found) == int(row["macs"]) for found, row in zip(macs, rows, strict=True)
        ),
        "num_subnets": num_subnets,
        "num_extracted_with_the_bits_of_the_path": sum(
            torch.equal(small(x, arch), small.extract(arch)(x)) for arch in sampled
        ),
    }


if __name__ == "__main__":
    main()
