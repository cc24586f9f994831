"""Constraints of a search: made from bounds, explained where they leave too little to search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from search.algorithms.base import SpaceExhaustedError
from supernets.cost.analytic import Constraint, CostModel, Metric

_NUM_SAMPLES = 100_000


def constraints_within(
    bounds: Mapping[Metric, tuple[float | None, float | None]],
) -> list[Constraint]:
    """Builds the constraints of those metrics that have a bound.

    Args:
        bounds: Smallest and largest value per metric, latency in milliseconds; None for no bound.

    Raises:
        ValueError: If an interval is empty.
    """
    constraints = []
    for metric, (minimum, maximum) in bounds.items():
        if minimum is None and maximum is None:
            continue
        per_unit = 1000.0 if metric == "latency" else 1.0
        least = 0.0 if minimum is None else minimum / per_unit
        most = float("inf") if maximum is None else maximum / per_unit
        constraints.append(Constraint(metric, least, most))
    return constraints


@contextmanager
def explained_exhaustion(
    cost_model: CostModel, constraints: Sequence[Constraint]
) -> Iterator[None]:
    """Adds to a ``SpaceExhaustedError`` how many random architectures satisfy each constraint.

    Args:
        cost_model: Measures the architectures of the space that is searched.
        constraints: Constraints of the search.

    Raises:
        SpaceExhaustedError: If there is such an error, with the longer message.
    """
    try:
        yield
    except SpaceExhaustedError as error:
        if not constraints:
            raise
        rng = np.random.default_rng(0)
        costs = cost_model.measure_all(cost_model.space.sample_choices(_NUM_SAMPLES, rng))
        reports = []
        for constraint in constraints:
            values = costs[constraint.metric]
            share = ((values >= constraint.minimum) & (values <= constraint.maximum)).mean()
            reports.append(
                f"{constraint.metric} from {constraint.minimum:.4g} to {constraint.maximum:.4g} "
                f"holds for {share:.2%} (they have {values.min():.4g} to {values.max():.4g})"
            )
        raise SpaceExhaustedError(
            f"{error} Of random architectures {'; '.join(reports)}."
        ) from error
