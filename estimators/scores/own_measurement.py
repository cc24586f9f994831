"""What an estimator of one's own finds of an architecture, checked as it comes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from estimators.base import Estimate, EstimateError, short_of_memory_is_its_fault
from supernets.runtime.own_code import kind_of, refuse_own, running_own


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


def measure_own(
    name: str, estimator: object, estimate: Callable[[], Estimate], notation: str
) -> OwnRecord:
    """Measures an architecture by a score of one's own, for a comparison of scores.

    Args:
        name: Name of the score.
        estimator: What measures it.
        estimate: Measures the architecture.
        notation: Its notation, for messages.

    Raises:
        OwnCodeError: As ``estimate_of_own``.
    """
    try:
        found = estimate_of_own(name, estimator, estimate, notation)
    except EstimateError as error:
        return OwnRecord({name: math.nan}, {}, f"{name}: {str(error) or type(error).__name__}")
    return OwnRecord(
        {name: found.score, **{f"{name}.{key}": value for key, value in found.metrics.items()}},
        {f"{name}.{key}": curve for key, curve in found.curves.items()},
        None,
    )


def estimate_of_own(
    name: str, estimator: object, estimate: Callable[[], Estimate], notation: str
) -> Estimate:
    """Measures an architecture by an estimator of one's own.

    Args:
        name: Name of the estimator.
        estimator: The estimator, for messages.
        estimate: Measures the architecture.
        notation: Its notation, for messages.

    Returns:
        What it found, in Python's own numbers.

    Raises:
        EstimateError: If it says so, runs out of memory, or the score is not finite: the
            architecture has no score.
        OwnCodeError: If it raises anything else, or returns what is no ``Estimate`` of numbers.
    """
    what = f"Estimator {name!r}"
    advice = (
        "what was measured before is kept: mend it and run the same again, or raise EstimateError "
        "where an architecture has no score"
    )
    doing = f"failed on {notation}"
    with running_own(what, estimator, doing=doing, advice=advice, passed=(EstimateError,)):
        with short_of_memory_is_its_fault():
            found: Any = estimate()

    def number(of: str, value: object) -> float:
        read = _number(value)
        if read is None:
            refuse_own(what, estimator, f"must give a number as {of}", f"{kind_of(value)}{where}")
        return read

    def named(of: str, values: object) -> Mapping[str, Any]:
        if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
            expected = f"must give a dict by names as {of}"
            refuse_own(what, estimator, expected, f"{kind_of(values)}{where}")
        return values

    where = f" for {notation}"
    if not isinstance(found, Estimate):
        advice = "return Estimate(score=…, metrics={}, seconds=…)"
        expected = "must return an Estimate from estimate(arch)"
        refuse_own(what, estimator, expected, f"{kind_of(found)}{where}", advice)
    score = number("score", found.score)
    metrics = {
        key: number(f"metric {key!r}", v) for key, v in named("metrics", found.metrics).items()
    }
    curves: dict[str, tuple[float, ...]] = {}
    for key, curve in named("curves", found.curves).items():
        of = f"each value of curve {key!r}"
        if isinstance(curve, str) or not (isinstance(curve, Sequence) or hasattr(curve, "tolist")):
            refuse_own(
                what, estimator, f"must give a tuple as curve {key!r}", kind_of(curve) + where
            )
        curves[key] = tuple(number(of, value) for value in curve)
    seconds = number("seconds", found.seconds)
    if not math.isfinite(score):
        raise EstimateError(f"The score is {score}.")
    return Estimate(score, metrics, seconds, curves)


def _number(value: Any) -> float | None:
    """A number of Python, NumPy or PyTorch as a float; None for anything else."""
    if isinstance(value, numbers.Real):
        return float(value)
    if tuple(getattr(value, "shape", (None,))) == () and hasattr(value, "item"):
        value = value.item()  # a tensor or an array of no dimensions
        return float(value) if isinstance(value, numbers.Real) else None
    return None
