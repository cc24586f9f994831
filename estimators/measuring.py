"""Measuring a list of architectures into a store, from which a killed run continues."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from estimators.base import EstimateError, Estimator
from estimators.one_pass import OnePassEstimator
from estimators.trials import Trial, TrialStore
from supernets.spaces import Architecture

#: Before the name of a part, the metric of a trial that says how long the part took.
SECONDS = "seconds_"


def measure_all(
    archs: Sequence[Architecture],
    store: TrialStore,
    measure: Callable[[int, Architecture], Trial],
    *,
    description: str,
) -> tuple[Trial, ...]:
    """Measures what the store does not hold yet.

    Args:
        archs: Distinct architectures.
        store: New, or of an earlier part of the same measurement.
        measure: Gives the trial of a number and an architecture.
        description: For the progress bar.

    Returns:
        One trial for each architecture, in their order.

    Raises:
        ValueError: If the store holds other architectures.
    """
    known = [trial.arch for trial in store.trials] + [arch for _, arch in store.pending]
    if not known:
        store.ask(archs)
    elif set(known) != set(archs):
        raise ValueError(f"{store.path} holds other architectures; use a new --output.")
    total, done = len(archs), len(store.trials)
    with tqdm(total=total, initial=done, unit="arch", desc=description) as progress:
        for number, arch in store.pending:
            store.tell(measure(number, arch))
            progress.update()
    return store.trials


def trial_of_estimate(estimator: Estimator, number: int, arch: Architecture) -> Trial:
    """Measures an architecture; an ``EstimateError`` makes a failed trial."""
    start = time.perf_counter()
    try:
        estimate = estimator.estimate(arch)
    except EstimateError as error:
        seconds = time.perf_counter() - start
        message = str(error) or type(error).__name__
        return Trial(number, arch, None, metrics={}, seconds=seconds, error=message)
    return Trial(
        number,
        arch,
        estimate.score,
        metrics=estimate.metrics,
        seconds=estimate.seconds,
        error=None,
        curves=estimate.curves,
    )


def trial_of_pass(one_pass: OnePassEstimator, number: int, arch: Architecture) -> Trial:
    """Measures all scores of an architecture; one that diverges keeps what was measured."""
    start = time.perf_counter()
    record = one_pass.measure(arch)
    seconds = time.perf_counter() - start
    score = one_pass.score.of(record.metrics, record.curves)
    error = None
    if not math.isfinite(score):
        error = record.problem or f"The score {one_pass.name} is not finite."
    return Trial(
        number,
        arch,
        None if error else score,
        metrics={**record.metrics, **{SECONDS + part: s for part, s in record.seconds.items()}},
        seconds=seconds,
        error=error,
        curves=record.curves,
    )
