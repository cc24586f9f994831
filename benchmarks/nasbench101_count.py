#!/usr/bin/env python3
"""Does the space hold exactly the cells of NAS-Bench-101?

Enumerates all cells, counts them by their number of vertices, and names each by the benchmark's
hash, which no two may share.

    python benchmarks/nasbench101_count.py --output benchmarks/results/nasbench101_count.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from hardware import write_result
from tqdm import tqdm

from supernets.spaces.nasbench101 import NASBench101Space
from supernets.spaces.nasbench101_cells import OPS, live_vertices

#: Cells by number of vertices; the paper has their sum.
EXPECTED = {2: 1, 3: 6, 4: 84, 5: 2_441, 6: 62_010, 7: 359_082}


def main() -> None:
    """Counts, compares and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    space = NASBench101Space()
    started = time.perf_counter()
    choices = space.all_choices()
    seconds = time.perf_counter() - started
    num_vertices, counts = np.unique(live_vertices(choices).sum(axis=1), return_counts=True)
    found = dict(zip(num_vertices.tolist(), counts.tolist(), strict=True))
    archs = space.architectures(choices)
    hashes = {space.module_hash(arch) for arch in tqdm(archs, unit="cell", mininterval=5)}
    result = {
        "num_cells": len(archs),
        "num_hashes": len(hashes),
        "num_cells_by_vertices": found,
        "is_as_expected": found == EXPECTED and len(hashes) == len(archs) == sum(EXPECTED.values()),
        "num_cells_by_operations": {n: space.restrict({"op": OPS[:n]}).size for n in (1, 2, 3)},
        "seconds_to_enumerate": seconds,
    }
    write_result(args.output, result)


if __name__ == "__main__":
    main()
