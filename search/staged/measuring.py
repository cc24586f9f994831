"""Measures architectures at the levels of a staged search."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from estimators.base import Estimator
from estimators.executors.measure import trial_of_estimate
from estimators.trials.store import Trial
from supernets.spaces import Architecture, SearchSpace


@dataclass(frozen=True)
class LevelMeasure:
    """What measures at one level.

    Args:
        name: Name of the level.
        estimator: What measures there.
        seconds: What a measurement counts for; None for what it takes.
        described: All that decides its scores, as plain values.
    """

    name: str
    estimator: Estimator
    seconds: float | None
    described: Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """Measures points of a ``LevelledSpace``; what a worker is sent.

    Args:
        space: Space of the architectures.
        levels: What measures at each level.
    """

    space: SearchSpace
    levels: Sequence[LevelMeasure]

    def __call__(self, number: int, point: Architecture) -> Trial:
        """Returns the trial of an architecture at a level, failed ones included.

        Its seconds are what it counts for: of a measurement that was made before, and is only read,
        what it took then.
        """
        index, arch = point.choices[0], Architecture(self.space.name, point.choices[1:])
        level, start = self.levels[index], time.perf_counter()
        trial = trial_of_estimate(level.estimator, number, arch, self.space)
        seconds = trial.seconds
        if trial.score is not None:
            taken = max(trial.seconds, time.perf_counter() - start)
            seconds = taken if level.seconds is None else level.seconds
        return replace(trial, arch=point, seconds=seconds)
