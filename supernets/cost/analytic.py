"""What an architecture costs, and constraints on it."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

Metric = Literal["params", "macs", "latency"]
METRICS: tuple[Metric, ...] = ("params", "macs", "latency")
#: Says of architectures (num_archs, num_decisions) which satisfy all constraints, (num_archs,).
FeasibilityCheck = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
#: Architectures drawn to find a feasible one in a space too large to enumerate.
NUM_RANGE_SAMPLES = 500_000
_CHUNK_SIZE = 20_000


class Counting(Protocol):
    """Counts what architectures of a space cost: a supernet, or what knows as much without one."""

    #: Whether tables of the space count costs in another way.
    has_benchmark_count: bool

    @property
    def space(self) -> SearchSpace:
        """The space."""

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts params and macs, (num_archs,), of choices (num_archs, num_decisions)."""

    def benchmark_count(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Counts as ``count`` does, in the convention of the space's tables if they have one."""


@dataclass(frozen=True)
class Cost:
    """What one architecture costs.

    Args:
        params: Number of parameters.
        macs: Multiply-accumulates for one image.
        latency: Seconds for one batch, if it was asked for.

    Example:
        >>> Cost(params=73_306, macs=7_783_360).latency is None
        True
    """

    params: int
    macs: int
    latency: float | None = None


@dataclass(frozen=True)
class Constraint:
    """A closed interval for one metric.

    Args:
        metric: ``"params"``, ``"macs"`` or ``"latency"`` (seconds).
        minimum: Smallest allowed value.
        maximum: Largest allowed value.

    Raises:
        ValueError: If the metric is unknown or the interval is empty.

    Example:
        >>> Constraint("macs", maximum=60e6)
        Constraint(metric='macs', minimum=0.0, maximum=60000000.0)
    """

    metric: Metric
    minimum: float = 0.0
    maximum: float = float("inf")

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"Unknown metric {self.metric!r}; choose from {', '.join(METRICS)}.")
        for name in ("minimum", "maximum"):
            bound = getattr(self, name)
            if isinstance(bound, bool) or not isinstance(bound, numbers.Real):
                raise ValueError(f"The {name} of {self.metric} must be a number, got {bound!r}.")
        if not self.minimum <= self.maximum:
            raise ValueError(
                f"The minimum of {self.metric} ({self.minimum:g}) must not exceed its maximum "
                f"({self.maximum:g})."
            )


class CostModel:
    """Costs of a supernet's subnets, without building them.

    ``params`` and ``macs`` are exactly those of the network one gets: see ``Supernet.count``.

    Args:
        counting: Any supernet, whose weights are not looked at, or what counts without one.
        space: Space that a check of feasibility draws from; None for the whole space of the
            supernet.
        latency: Predicts the seconds of architectures (num_archs, num_decisions) as (num_archs,),
            for example ``LatencyTable.predict``; None if latency is not asked for.

    Example:
        >>> from supernets import create_supernet
        >>> supernet = create_supernet("nasbench201", num_classes=10)
        >>> cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
        >>> CostModel(supernet).measure(supernet.space.parse(cell))
        Cost(params=344346, macs=47104650, latency=None)
    """

    def __init__(
        self,
        counting: Counting,
        *,
        space: SearchSpace | None = None,
        latency: Callable[[NDArray[np.int64]], NDArray[np.float64]] | None = None,
    ) -> None:
        self.space = counting.space if space is None else space
        self._count, self._benchmark_count = counting.count, counting.benchmark_count
        #: Whether tables of the space count in another way.
        self.has_benchmark_costs = counting.has_benchmark_count
        self._latency = latency

    @property
    def has_latency(self) -> bool:
        """Whether latency is predicted."""
        return self._latency is not None

    def measure(self, arch: Architecture) -> Cost:
        """Returns the cost of ``arch`` as a stand-alone network.

        Raises:
            ValueError: If ``arch`` is of another space.
        """
        self.space.validate(arch)
        costs = self.measure_all(np.array([arch.choices]))
        latency = float(costs["latency"][0]) if "latency" in costs else None
        return Cost(int(costs["params"][0]), int(costs["macs"][0]), latency)

    def measure_all(self, choices: NDArray[np.int64]) -> dict[Metric, NDArray[Any]]:
        """Returns the costs of architectures (num_archs, num_decisions), as arrays (num_archs,)."""
        params, macs = self._count(choices)
        costs: dict[Metric, NDArray[Any]] = {"params": params, "macs": macs}
        if self._latency is not None:
            costs["latency"] = self._latency(choices)
        return costs

    def benchmark_costs(self, choices: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Returns ``benchmark_params`` and ``benchmark_macs`` of architectures, each (num_archs,).

        These are the numbers of the tables of a space, for comparisons with what was published: see
        ``Supernet.benchmark_count``. Those of one ``Architecture`` are among its ``metrics``.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), as ``space.choices_of``
                returns them.

        Raises:
            ValueError: If it has another shape.
        """
        if np.ndim(choices) != 2:
            raise ValueError(
                "Expected choices of shape (num_archs, num_decisions), as of space.choices_of; got "
                f"{type(choices).__name__}. For one architecture use metrics(arch)."
            )
        params, macs = self._benchmark_count(choices)
        return {"benchmark_params": params, "benchmark_macs": macs}

    def metrics(self, arch: Architecture) -> dict[str, float]:
        """Returns the costs of ``arch`` but latency, by name; those of tables where they differ.

        Raises:
            ValueError: If ``arch`` is of another space.
        """
        self.space.validate(arch)
        choices = np.array([arch.choices])
        params, macs = self._count(choices)
        found = {"params": params, "macs": macs}
        if self.has_benchmark_costs:
            found |= self.benchmark_costs(choices)
        return {name: float(values[0]) for name, values in found.items()}


def feasibility_check(
    cost_model: CostModel, constraints: Sequence[Constraint]
) -> FeasibilityCheck | None:
    """Turns constraints into a check of many architectures, after making sure that some pass it.

    Spaces that can be enumerated are searched exactly; of larger ones up to 500,000 architectures
    are drawn.

    Args:
        cost_model: Measures the architectures.
        constraints: Constraints that all have to hold. May be empty.

    Returns:
        The check, or None without constraints.

    Raises:
        ValueError: If latency is constrained and not predicted, or no architecture satisfying all
            constraints is found; the message names the range of each metric.
    """
    if not constraints:
        return None
    if not cost_model.has_latency and any(c.metric == "latency" for c in constraints):
        raise ValueError("A constraint on latency needs a latency table; none was given.")

    def are_feasible(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return _satisfy(constraints, cost_model.measure_all(choices))

    seen: list[dict[Metric, NDArray[Any]]] = []
    for choices in _candidates(cost_model):
        costs = cost_model.measure_all(choices)
        if _satisfy(constraints, costs).any():
            return are_feasible
        seen.append(costs)
    found = []
    for metric in dict.fromkeys(constraint.metric for constraint in constraints):
        values = np.concatenate([costs[metric] for costs in seen])
        near = [c for c in constraints if c.metric == metric]
        gap = max(c.minimum for c in near), min(c.maximum for c in near)
        text = f"{metric} from {_shown(metric, values.min())} to {_shown(metric, values.max())}"
        below, above = values[values < gap[0]], values[values > gap[1]]
        if below.size and above.size:
            text += f" (nearest: {_shown(metric, below.max())} and {_shown(metric, above.min())})"
        found.append(text)
    asked = [
        f"{c.metric} in [{_shown(c.metric, c.minimum)}, {_shown(c.metric, c.maximum)}]"
        for c in constraints
    ]
    raise ValueError(
        f"No architecture of {cost_model.space.name!r} has {' and '.join(asked)}; "
        f"this space offers {' and '.join(found)}."
    )


def _satisfy(
    constraints: Sequence[Constraint], costs: dict[Metric, NDArray[Any]]
) -> NDArray[np.bool_]:
    satisfied = np.ones(costs["params"].shape, np.bool_)
    for constraint in constraints:
        values = costs[constraint.metric]
        satisfied &= (values >= constraint.minimum) & (values <= constraint.maximum)
    return satisfied


def _candidates(cost_model: CostModel) -> Iterator[NDArray[np.int64]]:
    """All architectures, or the extremes and many random ones, in chunks."""
    space = cost_model.space
    if space.size <= MAX_ENUMERABLE_SIZE:
        yield np.array([arch.choices for arch in space.enumerate()])
        return
    if space.is_ordered:
        yield np.array([arch.choices for arch in space.extremes()])
    rng = np.random.default_rng(0)
    for _ in range(NUM_RANGE_SAMPLES // _CHUNK_SIZE):
        yield space.sample_choices(_CHUNK_SIZE, rng)


def _shown(metric: Metric, value: float) -> str:
    return f"{1000 * value:.4g} ms" if metric == "latency" else f"{value:,.0f}"
