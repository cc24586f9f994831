"""What a score of one's own finds of an architecture, as a comparison of scores records it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from estimators.base import Estimate, EstimateError, short_of_memory_is_its_fault
from supernets.runtime.option_types import shown
from supernets.runtime.outputs import WorkError


class OwnScoreError(WorkError):
    """A score of one's own failed by no fault of an architecture; the message is one line."""


@dataclass(frozen=True)
class OwnRecord:
    """What a score of one's own found of an architecture.

    Args:
        metrics: Its score under its name, nan if there is none; and its metrics as ``name.metric``.
        curves: Its curves as ``name.curve``.
        problem: Why there is no score; None if there is one.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    problem: str | None


def measure_own(name: str, estimate: Callable[[], Estimate], notation: str) -> OwnRecord:
    """Measures an architecture by a score of one's own.

    Args:
        name: Name of the score.
        estimate: Measures the architecture.
        notation: Its notation, for messages.

    Raises:
        OwnScoreError: If it fails otherwise than by an ``EstimateError`` or for lack of memory.
    """
    try:
        with short_of_memory_is_its_fault():
            return _record(name, estimate())
    except EstimateError as error:
        return OwnRecord({name: math.nan}, {}, f"{name}: {str(error) or type(error).__name__}")
    except Exception as error:
        reason = " ".join(str(error).split())
        raise OwnScoreError(
            f"Score {name!r} failed on {notation}: {type(error).__name__}: {reason}. What was "
            "measured before is kept; mend it and go on, or raise EstimateError where an "
            "architecture has no score."
        ) from error


def _record(name: str, estimate: Any) -> OwnRecord:
    if not isinstance(estimate, Estimate):
        raise TypeError(f"estimate must return an Estimate, got {shown(estimate)}")
    score = float(estimate.score)
    if not math.isfinite(score):
        raise EstimateError(f"The score is {score}.")
    return OwnRecord(
        {name: score, **{f"{name}.{key}": float(v) for key, v in estimate.metrics.items()}},
        {f"{name}.{key}": tuple(map(float, v)) for key, v in estimate.curves.items()},
        None,
    )
