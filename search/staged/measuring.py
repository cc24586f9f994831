"""Measures architectures at the levels of a staged search."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from estimators.base import Estimate, Estimator
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

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures an architecture; its seconds are what it counts for.

        A measurement that was made before, and is only read, counts for what it took then.
        """
        start = time.perf_counter()
        estimate = self.estimator.estimate(arch)
        seconds = max(estimate.seconds, time.perf_counter() - start)
        return replace(estimate, seconds=seconds if self.seconds is None else self.seconds)

    @property
    def estimator_name(self) -> str:
        """Name of the estimator."""
        return self.estimator.name


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
        """Returns the trial of an architecture at a level, failed ones included."""
        level, arch = point.choices[0], Architecture(self.space.name, point.choices[1:])
        trial = trial_of_estimate(_Named(self.levels[level]), number, arch, self.space)
        return replace(trial, arch=point)


class _Named:
    """A level as an estimator."""

    def __init__(self, level: LevelMeasure) -> None:
        self._level, self.name = level, level.estimator_name

    def estimate(self, arch: Architecture) -> Estimate:
        return self._level.estimate(arch)
