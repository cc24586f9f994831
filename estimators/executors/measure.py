"""Measuring a list of architectures into a store, from which a killed run continues."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from estimators.base import EstimateError, Estimator, short_of_memory_is_its_fault
from estimators.executors import Executor, InProcess, Measure
from estimators.executors.base import failed
from estimators.scores.names import SECONDS
from estimators.scores.own_measurement import estimate_of_own
from estimators.trials.store import Trial, TrialStore
from supernets.runtime.own_code import is_own
from supernets.runtime.progress import hides_bars
from supernets.spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    from estimators.scores.from_scratch import FromScratchEstimator
    from estimators.scores.multi_score import MultiScoreEstimator


def measure_all(
    archs: Sequence[Architecture],
    store: TrialStore,
    measure: Measure,
    *,
    description: str,
    make_executor: Callable[[Measure], Executor] = InProcess,
) -> tuple[Trial, ...]:
    """Measures what the store does not hold yet.

    Args:
        archs: The architectures, each only once.
        store: A store that is new, or of an earlier part of the same measurement.
        measure: Measures an architecture, given its number, and returns the trial.
        description: Text of the progress bar.
        make_executor: Builds the executor that measures.

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
    missing = store.pending
    with _progress(len(archs), missing, description) as progress, ExitStack() as stack:
        if missing:  # otherwise no worker is started
            for trial in stack.enter_context(make_executor(measure)).measure(missing):
                store.tell(trial)
                progress.update()
    by_arch = {trial.arch: trial for trial in store.trials}
    return tuple(by_arch[arch] for arch in archs)


def train_all(
    archs: Sequence[Architecture],
    trainer: FromScratchEstimator,
    *,
    make_executor: Callable[[Measure], Executor] = InProcess,
) -> tuple[Trial, ...]:
    """Trains architectures from scratch; what is finished is kept by the trainer.

    Args:
        archs: The architectures, each only once.
        trainer: Estimator that trains the architectures and keeps the results.
        make_executor: Builds the executor that trains what is not finished.

    Returns:
        One trial for each architecture, in their order.
    """
    measure = partial(trial_of_estimate, trainer)
    candidates = list(enumerate(archs))
    missing = [(i, arch) for i, arch in candidates if not trainer.is_finished(arch)]
    trials = [measure(i, arch) for i, arch in candidates if (i, arch) not in missing]
    with _progress(len(archs), missing, "training from scratch") as progress, ExitStack() as stack:
        if missing:
            for trial in stack.enter_context(make_executor(measure)).measure(missing):
                trials.append(trial)
                progress.update()
    return tuple(sorted(trials, key=lambda trial: trial.number))


def _progress(total: int, missing: Sequence[object], description: str) -> Any:
    """A bar of architectures, which is not shown where none is missing."""
    return tqdm(
        total=total,
        initial=total - len(missing),
        unit="arch",
        desc=description,
        disable=hides_bars() or not missing,
    )


def trial_of_estimate(
    estimator: Estimator, number: int, arch: Architecture, space: SearchSpace | None = None
) -> Trial:
    """Measures an architecture; an ``EstimateError`` or too little memory makes a failed trial.

    Args:
        estimator: What measures it.
        number: Number of the candidate.
        arch: Architecture of the candidate.
        space: Its space, whose notation messages have; None for its choices.

    Raises:
        OwnCodeError: If an estimator of one's own fails by no fault of the architecture.
    """
    start = time.perf_counter()
    try:
        if is_own(estimator):
            notation = str(arch.choices) if space is None else space.format(arch)
            call = partial(estimator.estimate, arch)
            estimate = estimate_of_own(estimator.name, estimator, call, notation)
        else:
            with short_of_memory_is_its_fault():
                estimate = estimator.estimate(arch)
    except EstimateError as error:
        message = str(error) or type(error).__name__
        return failed(number, arch, message, time.perf_counter() - start)
    return Trial(
        number,
        arch,
        estimate.score,
        metrics=estimate.metrics,
        seconds=estimate.seconds,
        error=None,
        curves=estimate.curves,
    )


def trial_of_scores(multi_score: MultiScoreEstimator, number: int, arch: Architecture) -> Trial:
    """Measures all scores of an architecture; one that diverges keeps what was measured.

    Raises:
        OwnCodeError: If a score of one's own fails by no fault of the architecture.
    """
    start = time.perf_counter()
    try:
        with short_of_memory_is_its_fault():
            record = multi_score.measure(arch)
    except EstimateError as failure:
        return failed(number, arch, str(failure), time.perf_counter() - start)
    seconds = time.perf_counter() - start
    score = multi_score.score.of(record.metrics, record.curves)
    error = None
    own = [record.metrics[each.name] for each in multi_score.own]
    if not all(map(math.isfinite, (score, *own))):
        error = record.problem or f"The score {multi_score.name} is not finite."
    return Trial(
        number,
        arch,
        None if error else score,
        metrics={**record.metrics, **{SECONDS + part: s for part, s in record.seconds.items()}},
        seconds=seconds,
        error=error,
        curves=record.curves,
    )
