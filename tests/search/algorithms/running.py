"""Runs algorithms without estimators, for the tests of algorithms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from estimators.trials.store import Trial
from search.algorithms.base import SearchAlgorithm
from supernets.spaces import Architecture


def told(
    algorithm: SearchAlgorithm, archs: Sequence[Architecture], scores: Sequence[float | None]
) -> SearchAlgorithm:
    """Tells an algorithm the scores of architectures, None for those that failed; returns it."""
    start = len(algorithm.trials)
    algorithm.tell(
        [
            Trial(start + i, arch, score, {}, 0.0, "failed" if score is None else None)
            for i, (arch, score) in enumerate(zip(archs, scores, strict=True))
        ]
    )
    return algorithm


def run(
    algorithm: SearchAlgorithm,
    num_trials: int,
    batch_size: int,
    score: Callable[[Architecture], float | None],
) -> SearchAlgorithm:
    """Asks and tells until there are so many trials; returns the algorithm."""
    while len(algorithm.trials) < num_trials:
        num_left = num_trials - len(algorithm.trials)
        archs = algorithm.ask(min(algorithm.next_batch_size(batch_size), num_left))
        told(algorithm, archs, [score(arch) for arch in archs])
    return algorithm
