"""The loop that joins an algorithm, an estimator and the store of trials."""

from __future__ import annotations

from tqdm import tqdm

from estimators.base import Estimator
from estimators.measuring import trial_of_estimate
from estimators.trials import Trial, TrialStore
from search.base import SearchAlgorithm


class SearchError(RuntimeError):
    """Every trial failed, so there is nothing to choose from."""


def run_search(
    algorithm: SearchAlgorithm,
    estimator: Estimator,
    store: TrialStore,
    *,
    num_trials: int,
    batch_size: int,
) -> Trial:
    """Searches until the store holds ``num_trials`` trials, continuing from those it holds.

    A batch is recorded before any of it is measured, and told to the algorithm when all of it is.
    A search that was killed therefore continues to the very trials of an uninterrupted one. An
    ``EstimateError`` makes a failed trial and the search goes on; any other error ends it, with
    the store consistent.

    ``num_trials`` may be raised later. Its last batch is cut short to end on it, so that 105 and
    then 200 trials by batches of 10 differ from 200 at once; multiples of the batch size (after the
    algorithm's initial trials) do not.

    Args:
        algorithm: Fresh: it has been told nothing yet.
        estimator: Measures architectures; higher scores are better.
        store: Records the trials.
        num_trials: Number of trials in the end, earlier and failed ones included.
        batch_size: Number of architectures asked for at once.

    Returns:
        The trial with the best score.

    Raises:
        ValueError: If an argument is out of range, or the space has not so many architectures.
        StarvedError: If too few architectures are found that are feasible and were not seen.
        SearchError: If every trial failed.
    """
    check_search(algorithm, num_trials=num_trials, batch_size=batch_size)
    check_store(store, num_trials=num_trials)
    with tqdm(total=num_trials, initial=len(store.trials), unit="trial") as progress:
        while True:
            for number, arch in store.pending:
                store.tell(trial_of_estimate(estimator, number, arch))
                progress.update()
                progress.set_postfix(best=_best_score(store), refresh=False)
            algorithm.tell(store.trials[len(algorithm.trials) :])
            num_left = num_trials - len(algorithm.trials)
            if num_left == 0:
                break
            store.ask(algorithm.ask(min(algorithm.next_batch_size(batch_size), num_left)))
    best = store.best()
    if not best:
        raise SearchError(
            f"All {num_trials} trials failed; the last with: {store.trials[-1].error}"
        )
    return best[0]


def _best_score(store: TrialStore) -> str:
    best = store.best()
    return f"{best[0].score:.4g}" if best else "none"


def check_search(algorithm: SearchAlgorithm, *, num_trials: int, batch_size: int) -> None:
    """Makes sure that a search of this size is possible.

    Args:
        algorithm: Fresh: it has been told nothing yet.
        num_trials: Number of trials in the end.
        batch_size: Number of architectures asked for at once.

    Raises:
        ValueError: If an argument is out of range, or the space has not so many architectures.
        StarvedError: If no first batch is found.
    """
    if num_trials < 1:
        raise ValueError(f"num_trials must be at least 1, got {num_trials}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if algorithm.trials:
        raise ValueError(
            f"The algorithm has been told {len(algorithm.trials)} trials already; give a fresh one."
        )
    space = algorithm.space
    num_archs = len(algorithm.feasible_choices) if algorithm.is_enumerable else space.size
    if num_trials > num_archs:
        raise ValueError(
            f"num_trials is {num_trials}, but space {space.name!r} has only {num_archs} feasible "
            "architectures; lower it or loosen the constraint."
        )
    if not algorithm.is_enumerable:
        algorithm.ask(min(algorithm.next_batch_size(batch_size), num_trials))


def check_store(store: TrialStore, *, num_trials: int) -> None:
    """Makes sure that a store does not hold more trials than a search is to have.

    Args:
        store: New, or of an earlier part of the search.
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
