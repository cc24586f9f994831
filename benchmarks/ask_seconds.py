#!/usr/bin/env python3
"""How long does an algorithm take to ask, with so many trials told?

In the 15,625 cells of NAS-Bench-201 and in the 2e19 subnets of MobileNetV3: tells random
architectures, whose scores are a random linear function of their encodings, and times one ask of
the usual size. The space and what is computed once per search are ready by then: the first ask,
which also makes them, is timed apart. Seconds are those of the processor, which other jobs on the
machine change little.

    python benchmarks/ask_seconds.py --output benchmarks/results/ask_seconds.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from hardware import write_result
from numpy.typing import NDArray
from tqdm import tqdm

from estimators.trials.store import Trial
from search import ALGORITHMS, SearchProblem, create_algorithm
from search.algorithms.base import SearchAlgorithm
from supernets import create_space
from supernets.spaces import Architecture, SearchSpace

#: With options as in the factory; proxybo is bo but for its proxies, which are its user's.
SEARCHES: dict[str, tuple[str, dict[str, str]]] = {
    **{name: (name, {}) for name in ALGORITHMS if name != "proxybo"},
    "weaknas:random_forest": ("weaknas", {"predictor": "random_forest"}),
    "weaknas:gradient_boosting": ("weaknas", {"predictor": "gradient_boosting"}),
    "weaknas:gaussian_process": ("weaknas", {"predictor": "gaussian_process"}),
}
SPACES = ("nasbench201", "mobilenetv3")
GRAPH_SPACES = ("nasbench201",)


def main() -> None:
    """Times what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--searches", nargs="+", choices=tuple(SEARCHES), default=list(SEARCHES))
    add("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    add("--num-trials", nargs="+", type=int, default=[10, 50, 100, 200, 500, 1000, 2000])
    add("--repeats", type=int, default=3, help="the least time of so many is given")
    add("--threads", type=int, default=1)
    add("--output", type=Path, required=True)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    seconds: dict[str, dict[str, dict[str, float]]] = {}
    for space_name in args.spaces:
        space = create_space(space_name)
        archs, scores = landscape(space, max(args.num_trials))
        for label in tqdm(args.searches, desc=space_name, unit="search"):
            name, options = SEARCHES[label]
            if name == "neural-predictor" and space_name not in GRAPH_SPACES:
                options = {**options, "predictor": "mlp"}
            found = seconds.setdefault(space_name, {})[label] = {}
            for num_trials in args.num_trials:
                trials = [
                    Trial(i, archs[i], float(scores[i]), {}, 0.0, None) for i in range(num_trials)
                ]
                times = []
                for _ in range(args.repeats):
                    # told one fewer, so that the last ask is not the first
                    algorithm = create_algorithm(name, SearchProblem(space), **options)
                    algorithm.tell(trials[:-1])
                    first = ask_seconds(algorithm, ALGORITHMS[name].batch_size)
                    algorithm.tell(trials[-1:])
                    times.append(ask_seconds(algorithm, ALGORITHMS[name].batch_size))
                found[str(num_trials)] = min(times)
                found["first"] = first
    write_result(
        args.output,
        {
            "note": args.note,
            "batch_sizes": {label: ALGORITHMS[SEARCHES[label][0]].batch_size for label in SEARCHES},
            "seconds": seconds,
            "slowest": max(
                value
                for by_search in seconds.values()
                for found in by_search.values()
                for number, value in found.items()
                if number != "first"
            ),
        },
    )


def landscape(space: SearchSpace, num_archs: int) -> tuple[list[Architecture], NDArray[np.float64]]:
    """Random architectures with a linear function of what they are."""
    rng = np.random.default_rng(0)
    archs = list(dict.fromkeys(space.architectures(space.sample_choices(2 * num_archs, rng))))
    archs = archs[:num_archs]
    features = space.encode(archs)
    return archs, features @ rng.normal(size=features.shape[1])


def ask_seconds(algorithm: SearchAlgorithm, batch_size: int) -> float:
    """Of one ask, of the processor."""
    started = time.process_time()
    algorithm.ask(batch_size)
    return time.process_time() - started


if __name__ == "__main__":
    main()
