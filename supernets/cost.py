"""What an architecture costs, and constraints on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from supernets.base import Supernet
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture

Metric = Literal["params", "macs"]
METRICS: tuple[Metric, ...] = ("params", "macs")
#: Architectures drawn to find the feasible range of a space too large to enumerate.
NUM_RANGE_SAMPLES = 20_000


@dataclass(frozen=True)
class Cost:
    """What one architecture costs.

    Args:
        params: Number of parameters.
        macs: Multiply-accumulates for one image.
    """

    params: int
    macs: int


@dataclass(frozen=True)
class Constraint:
    """A closed interval for one metric.

    Args:
        metric: ``"params"`` or ``"macs"``.
        minimum: Smallest allowed value.
        maximum: Largest allowed value.

    Raises:
        ValueError: If the metric is unknown or the interval is empty.
    """

    metric: Metric
    minimum: float = 0.0
    maximum: float = float("inf")

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"Unknown metric {self.metric!r}; choose from {', '.join(METRICS)}.")
        if not self.minimum <= self.maximum:
            raise ValueError(
                f"The minimum of {self.metric} ({self.minimum:g}) must not exceed its maximum "
                f"({self.maximum:g})."
            )

    def is_satisfied(self, cost: Cost) -> bool:
        """Whether ``cost`` lies in the interval."""
        value: int = getattr(cost, self.metric)
        return self.minimum <= value <= self.maximum


class CostModel:
    """Exact costs of a supernet's subnets, without building them.

    The counting convention is the space's own, see ``Supernet.count``.

    Args:
        supernet: Any supernet; its weights are not looked at.
    """

    def __init__(self, supernet: Supernet) -> None:
        self.space = supernet.space
        self._count = supernet.count

    def measure(self, arch: Architecture) -> Cost:
        """The cost of ``arch`` as a stand-alone network."""
        params, macs = self._count(arch)
        return Cost(params, macs)


def feasibility_check(
    cost_model: CostModel, constraints: Sequence[Constraint]
) -> Callable[[Architecture], bool] | None:
    """Turns constraints into a predicate, after making sure that something satisfies it.

    Spaces that can be enumerated are checked exactly; of larger ones 20,000 architectures are
    drawn.

    Args:
        cost_model: Measures the architectures.
        constraints: All have to hold. May be empty.

    Returns:
        The predicate, or None without constraints.

    Raises:
        ValueError: If no architecture satisfies all of them; the message names the range of each
            metric.
    """
    if not constraints:
        return None

    def is_feasible(arch: Architecture) -> bool:
        cost = cost_model.measure(arch)
        return all(constraint.is_satisfied(cost) for constraint in constraints)

    costs = []
    for arch in _candidates(cost_model):
        cost = cost_model.measure(arch)
        if all(constraint.is_satisfied(cost) for constraint in constraints):
            return is_feasible
        costs.append(cost)
    asked = " and ".join(f"{c.metric} in [{c.minimum:,.0f}, {c.maximum:,.0f}]" for c in constraints)
    found = []
    for metric in dict.fromkeys(constraint.metric for constraint in constraints):
        values = np.array([getattr(cost, metric) for cost in costs])
        near = [c for c in constraints if c.metric == metric]
        gap = max(near, key=lambda c: c.minimum).minimum, min(near, key=lambda c: c.maximum).maximum
        text = f"{metric} from {values.min():,} to {values.max():,}"
        below, above = values[values < gap[0]], values[values > gap[1]]
        if below.size and above.size:
            text += f" (nearest: {below.max():,} and {above.min():,})"
        found.append(text)
    raise ValueError(
        f"No architecture of {cost_model.space.name!r} has {asked}; "
        f"this space offers {' and '.join(found)}."
    )


def _candidates(cost_model: CostModel) -> Iterable[Architecture]:
    space = cost_model.space
    if space.size <= MAX_ENUMERABLE_SIZE:
        return space.enumerate()
    rng = np.random.default_rng(0)
    return (space.sample(rng) for _ in range(NUM_RANGE_SAMPLES))
