"""The loop that joins an algorithm, an estimator and the store of trials."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from tqdm import tqdm

from estimators.base import Estimator
from estimators.executors import Executor, InProcess, Measure
from estimators.executors.measure import trial_of_estimate
from estimators.trials.store import Trial, TrialStore
from estimators.trials.ties import TIE_BREAKERS
from search.algorithms.base import SearchAlgorithm
from search.algorithms.own_algorithm import asked, next_batch_size, running_algorithm
from supernets.runtime.outputs import WorkError
from supernets.runtime.progress import hides_bars
from supernets.spaces import Architecture

_logger = logging.getLogger(__name__)


class SearchError(WorkError, RuntimeError):
    """There is nothing to choose from, or nothing left to ask for, once a search has begun."""


def run_search(
    algorithm: SearchAlgorithm,
    estimator: Estimator,
    store: TrialStore,
    *,
    num_trials: int,
    batch_size: int,
    make_executor: Callable[[Measure], Executor] = InProcess,
) -> Trial:
    """Searches until the store holds ``num_trials`` trials, continuing from those it holds.

    A batch is recorded before any of it is measured, and told to the algorithm when all of it is.
    A search that was killed therefore continues to the very trials of an uninterrupted one. An
    ``EstimateError``, or a score that is not finite, makes a failed trial and the search goes on;
    any other error ends it, with the store consistent.

    An executor that measures several candidates at once finishes them in an order of its own.
    Batches of several are told whole, by number: their trials are the same wherever they are
    measured. With a ``batch_size`` of 1 an architecture is asked for whenever one is finished,
    while others are still measured, and trials are told as they come; what is asked for then
    depends on the order in which they were finished, which the store records.

    ``num_trials`` may be raised later. Its last batch is cut short to end on it, so that 105 and
    then 200 trials by batches of 10 differ from 200 at once; multiples of the batch size (after the
    algorithm's initial trials) do not.

    Args:
        algorithm: The algorithm, which has been told nothing yet.
        estimator: Measures architectures; higher scores are better.
        store: Records the trials.
        num_trials: Number of trials in the end, earlier and failed ones included.
        batch_size: Number of architectures asked for at once.
        make_executor: Builds the executor that measures.

    Returns:
        The trial with the best score; of equal accuracies that of the lower loss.

    Raises:
        ValueError: If an argument is out of range, or the space has not so many architectures.
        SpaceExhaustedError: If too few architectures are found that are feasible and were not seen.
        SearchError: If every trial failed.
        OwnCodeError: If an algorithm or an estimator of one's own fails, or returns what cannot be
            worked with.
    """
    check_search(algorithm, num_trials=num_trials, batch_size=batch_size)
    check_store(store, num_trials=num_trials)
    _tell_finished(algorithm, store, batch_size)
    if store.num_told < num_trials:
        measure = partial(trial_of_estimate, estimator, space=algorithm.space)
        with (
            tqdm(
                total=num_trials,
                initial=store.num_told,
                unit="trial",
                disable=hides_bars(),
            ) as progress,
            make_executor(measure) as executor,
        ):
            if batch_size == 1 and executor.capacity > 1:
                _logger.info(
                    "One at a time, by several workers: what is asked for depends on the order in "
                    "which candidates are finished, which another run need not repeat. It is kept "
                    "as the position of every trial."
                )
            for candidate in store.pending:
                executor.submit(*candidate)
            while True:
                for candidate in _ask(algorithm, store, num_trials, batch_size, executor.capacity):
                    executor.submit(*candidate)
                if not store.pending:
                    break
                trial = executor.poll(wait=True)
                while trial is not None:  # whatever else is finished, before the next ask
                    store.tell(trial)
                    _logger.debug("Trial %d: %s.", trial.number, trial.error or trial.score)
                    progress.update()
                    trial = executor.poll(wait=False)
                _tell_finished(algorithm, store, batch_size)
                progress.set_postfix(best=_best_score(store), refresh=False)
    best = store.best(tie_breaker=_tie_breaker(estimator))
    if not best:
        last = store.trials[-1]
        raise SearchError(
            f"All {num_trials} trials failed; the last, {algorithm.space.format(last.arch)}, with: "
            f"{last.error}"
        )
    return best[0]


def _tie_breaker(estimator: Estimator) -> str | None:
    """The metric that tells trials of equal score apart."""
    name = estimator.name
    if name == "from_scratch":
        from estimators.scores.from_scratch import FromScratchEstimator  # loads PyTorch

        if isinstance(estimator, FromScratchEstimator) and estimator.score is not None:
            name = estimator.score.name
    return TIE_BREAKERS.get(name)


def _tell_finished(algorithm: SearchAlgorithm, store: TrialStore, batch_size: int) -> None:
    """Tells what the algorithm may know: one by one as they come, or a whole batch by number."""
    with running_algorithm(algorithm, "failed in tell"):
        if batch_size == 1:
            algorithm.tell(store.finished_from(len(algorithm.trials)))
        elif not store.pending:
            algorithm.tell(store.trials_from(len(algorithm.trials)))


def _ask(
    algorithm: SearchAlgorithm, store: TrialStore, num_trials: int, batch_size: int, capacity: int
) -> Sequence[tuple[int, Architecture]]:
    """Asks for what is to be measured besides what is being measured, and records it."""
    in_flight = [arch for _, arch in store.pending]
    if in_flight and batch_size > 1:
        return ()
    wanted = next_batch_size(algorithm, batch_size)
    if batch_size == 1 and wanted == 1:
        wanted = capacity
    num_left = num_trials - store.num_told - len(in_flight)
    num_new = min(wanted - len(in_flight), num_left)
    if num_new <= 0:
        return ()
    # what is asked for depends on what was told alone, so that those in flight may come again
    proposed = asked(algorithm, len(in_flight) + num_new)
    store.ask([arch for arch in proposed if arch not in in_flight][:num_new])
    return store.pending[len(in_flight) :]


def _best_score(store: TrialStore) -> str:
    return "none" if store.best_score is None else f"{store.best_score:.4g}"


def check_search(algorithm: SearchAlgorithm, *, num_trials: int, batch_size: int) -> None:
    """Makes sure that a search of this size is possible.

    Args:
        algorithm: The algorithm, which has been told nothing yet.
        num_trials: Number of trials in the end.
        batch_size: Number of architectures asked for at once.

    Raises:
        ValueError: If an argument is out of range, or the space has not so many architectures.
        SpaceExhaustedError: If no first batch is found.
    """
    if num_trials < 1:
        raise ValueError(f"num_trials must be at least 1, got {num_trials}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if algorithm.trials:
        raise ValueError(
            f"The algorithm has been told {len(algorithm.trials)} trials already; give a fresh one."
        )
    problem = algorithm.problem
    num_archs = len(problem.feasible_choices) if problem.is_enumerable else problem.space.size
    if num_trials > num_archs:
        raise ValueError(
            f"num_trials is {num_trials}, but {problem.name} has only {num_archs} feasible "
            "architectures; lower it or loosen the constraint."
        )
    if not problem.is_enumerable:
        asked(algorithm, min(next_batch_size(algorithm, batch_size), num_trials))


def check_store(store: TrialStore, *, num_trials: int) -> None:
    """Makes sure that a store does not hold more trials than a search is to have.

    Args:
        store: A store that is new, or of an earlier part of the search.
        num_trials: Number of trials in the end.

    Raises:
        ValueError: If it holds more.
    """
    num_asked = len(store.trials) + len(store.pending)
    if num_asked > num_trials:
        raise ValueError(
            f"{store.path} holds {num_asked} trials already, more than num_trials={num_trials}; "
            "ask for at least as many, or use a new --output."
        )
