"""What every estimator returns, and the one error a search survives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from supernets.spaces import Architecture


@dataclass(frozen=True)
class Estimate:
    """The measurement of one architecture.

    Args:
        score: Higher is better, for every estimator.
        metrics: Scalars in their natural sign and unit, e.g. ``{"tse": 143.2}`` nats.
        seconds: Wall-clock time the measurement took.
        curves: Values recorded step by step, e.g. ``{"train_loss": (2.30, 2.21, …)}`` nats.

    Example:
        >>> Estimate(score=-143.2, metrics={"tse": 143.2}, seconds=4.1).curves
        {}
    """

    score: float
    metrics: Mapping[str, float]
    seconds: float
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class EstimateError(RuntimeError):
    """This architecture cannot be scored; a search records it as a failed trial and goes on."""


class Estimator(Protocol):
    """Measures an architecture; the same architecture always gets the same score.

    Example:
        >>> class FewestParameters:
        ...     name = "fewest-parameters"
        ...
        ...     def __init__(self, cost_model):
        ...         self.cost_model = cost_model
        ...
        ...     def estimate(self, arch):
        ...         params = self.cost_model.measure(arch).params
        ...         return Estimate(score=-params, metrics={"params": params}, seconds=0.0)
    """

    name: str

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures ``arch``.

        Raises:
            EstimateError: If this architecture cannot be scored.
        """
