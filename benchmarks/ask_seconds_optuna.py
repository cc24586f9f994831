#!/usr/bin/env python3
"""How long does ``structural-bo`` take to ask, beside Optuna's ``GPSampler``?

Both are told the same random architectures, whose scores are a random linear function of their
encodings, and then asked in turn for one more, which they are told as well. The first asks, which
make what is computed once, are timed apart. Seconds are those of the processor. Where the sampler
asks for what is known it is told it and asked again, and each of these counts as an ask. Needs the
package optuna.

    python benchmarks/ask_seconds_optuna.py --output benchmarks/results/ask_seconds_optuna.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from ask_seconds import SPACES, landscape
from hardware import write_result
from optuna_peer import OptunaSearch
from tqdm import tqdm

from estimators.trials.store import Trial
from search import SearchProblem, create_algorithm
from supernets import create_space

ALGORITHM, PEER = "structural-bo", "optuna-gp"


def main() -> None:
    """Times the asks of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--spaces", nargs="+", choices=SPACES, default=["mobilenetv3"])
    add("--num-trials", nargs="+", type=int, default=[100, 200])
    add("--asks", type=int, default=15, help="of each, after the first")
    add("--seed", type=int, default=0)
    add("--output", type=Path, required=True)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        name: {str(number): asks(name, number, args.asks, args.seed) for number in args.num_trials}
        for name in args.spaces
    }
    write_result(
        args.output,
        {
            "note": args.note,
            "optuna": optuna.__version__,
            "target": "ratio at least 1",
            "spaces": result,
        },
    )


def asks(space_name: str, num_trials: int, num_asks: int, seed: int) -> dict[str, Any]:
    """CPU seconds of single asks of both, with so many trials told and up to ``num_asks`` more."""
    space = create_space(space_name)
    archs, scores = landscape(space, num_trials)
    weights = np.linalg.lstsq(space.encode(archs), scores, rcond=None)[0]
    peer = OptunaSearch(PEER, space, seed)
    peer.tell_known(dict(zip(archs, scores.tolist(), strict=True)))
    ours = create_algorithm(ALGORITHM, SearchProblem(space, seed))
    ours.tell([Trial(i, archs[i], float(scores[i]), {}, 0.0, None) for i in range(num_trials)])
    seconds: dict[str, list[float]] = {ALGORITHM: [], PEER: []}
    for _ in tqdm(range(num_asks + 1), f"{space_name}, {num_trials}", disable=None):
        for name, algorithm in ((ALGORITHM, ours), (PEER, peer)):
            repeats = peer.num_repeats
            started = time.process_time()
            asked = algorithm.ask(1)
            num_asked = 1 + (peer.num_repeats - repeats if name == PEER else 0)
            seconds[name].append((time.process_time() - started) / num_asked)
            values = space.encode(asked) @ weights
            number = len(algorithm.trials)
            algorithm.tell([Trial(number, asked[0], float(values[0]), {}, 0.0, None)])
    median = {name: float(np.median(each[1:])) for name, each in seconds.items()}
    return {
        "first": {name: each[0] for name, each in seconds.items()},
        "median": median,
        "most": {name: max(each[1:]) for name, each in seconds.items()},
        "ratio": median[PEER] / median[ALGORITHM],
        "seconds": {name: each[1:] for name, each in seconds.items()},
        "repeats_of_peer": peer.num_repeats,
    }


if __name__ == "__main__":
    main()
