"""What a report of searches computes: best so far, intervals over seeds, the front, a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from estimators.html.page import Difference
from estimators.trials.store import Trial
from search.report.groups import RunGroup
from search.report.recorded_runs import RecordedRun
from supernets.spaces import Architecture, SearchSpace

Floats = NDArray[np.float64]

#: Points of a curve over seconds, at most.
_MAX_POINTS = 400
_MAX_PERPLEXITY = 30.0
#: Points of a curve over queries, at most.
MAX_QUERIES = 2000
#: Fewer seeds that all found the same do not show that others would.
MIN_SEEDS = 5


class Curve(NamedTuple):
    """A mean over runs with its 95 % interval, which is nan of a single run; each (num_points,)."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def trial_scores(trials: Sequence[Trial]) -> Floats:
    """Returns the scores, nan where a trial failed, (num_trials,)."""
    return np.array([trial.score for trial in trials], dtype=np.float64)  # None is nan


def best_so_far(trials: Sequence[Trial]) -> Floats:
    """Returns the best score after each trial, nan before the first success, (num_trials,)."""
    return np.asarray(np.fmax.accumulate(trial_scores(trials)), np.float64)


def mean_curve(x: Floats, values: Floats) -> Curve:
    """Computes the mean over runs with Student's 95 % interval.

    Args:
        x: Positions of the points, (num_points,).
        values: Values of each run, (num_runs, num_points).
    """
    num_runs = len(values)
    mean = values.mean(axis=0)
    if num_runs == 1:
        unknown = np.full_like(mean, np.nan)
        return Curve(x, mean, unknown, unknown)
    reach = student_t.ppf(0.975, num_runs - 1) * values.std(axis=0, ddof=1) / np.sqrt(num_runs)
    return Curve(x, mean, mean - reach, mean + reach)


def curve_over_queries(group: RunGroup) -> Curve:
    """Computes the best so far after each query, where all runs have one, up to the shortest."""
    count = group.num_trials
    values = np.array([best_so_far(run.trials)[:count] for run in group.runs])
    x = np.flatnonzero(np.isfinite(values).all(axis=0))
    if len(x) > MAX_QUERIES:
        x = x[np.linspace(0, len(x) - 1, MAX_QUERIES).round().astype(int)]
    return mean_curve(np.asarray(x + 1, np.float64), values[:, x])


def curve_over_seconds(group: RunGroup) -> Curve:
    """Computes the best so far after seconds of measuring, as ``curve_over_queries`` does."""
    ends = [np.cumsum([trial.seconds for trial in run.trials]) for run in group.runs]
    bests = [best_so_far(run.trials) for run in group.runs]
    start = max(end[np.isfinite(best)][0] for end, best in zip(ends, bests, strict=True))
    stop = min(end[-1] for end in ends)
    if start > stop:
        return mean_curve(np.empty(0), np.empty((len(ends), 0)))
    x = np.unique(np.concatenate(ends))
    x = x[(x >= start) & (x <= stop)]
    if len(x) > _MAX_POINTS:
        x = np.linspace(start, stop, _MAX_POINTS)
    values = [
        best[np.searchsorted(end, x, side="right") - 1]
        for end, best in zip(ends, bests, strict=True)
    ]
    return mean_curve(x, np.array(values))


def bests_at(group: RunGroup, num_trials: int) -> Floats:
    """Returns each run's best score after ``num_trials``, nan if none succeeded, (num_runs,)."""
    return np.array([best_so_far(run.trials)[num_trials - 1] for run in group.runs])


def queries_to_best(run: RecordedRun) -> int:
    """Returns after how many queries the best of a run was found."""
    return int(np.nanargmax(trial_scores(run.trials))) + 1


def difference_of_means(first: Floats, second: Floats, digits: int = 3) -> Difference | None:
    """Computes how much higher the mean of ``first`` is, with Welch's 95 % interval.

    Returns:
        None if either has fewer than two values, which leaves its noise unknown.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(first), len(second)) < 2:
        return None
    value = float(first.mean() - second.mean())
    variances = np.array([values.var(ddof=1) / len(values) for values in (first, second)])
    total = float(variances.sum())
    if total == 0:
        is_judged = value == 0 or min(len(first), len(second)) >= MIN_SEEDS
        return Difference(value, value, value, digits, is_judged)
    counts = np.array([len(first), len(second)])
    freedom = total**2 / float((variances**2 / (counts - 1)).sum())
    reach = float(student_t.ppf(0.975, freedom)) * total**0.5
    return Difference(value, value - reach, value + reach, digits)


def digits_of(scores: Floats) -> int:
    """Returns after how many digits scores of the better half differ to a hundredth."""
    known = scores[np.isfinite(scores)]
    spread = float(known.max() - np.median(known))
    return 3 if spread == 0 else int(np.clip(2 - np.floor(np.log10(spread)), 0, 8))


def is_on_front(costs: Floats, scores: Floats) -> NDArray[np.bool_]:
    """Returns those that no other beats in one of score and cost without losing in the other.

    Args:
        costs: Costs of the architectures, (num_archs,).
        scores: Scores of the architectures, (num_archs,).
    """
    pairs, own = np.unique(np.column_stack((costs, -scores)), axis=0, return_inverse=True)
    lowest = np.minimum.accumulate(np.append(np.inf, pairs[:, 1]))  # of what costs less or as much
    return np.asarray(pairs[:, 1] < lowest[:-1])[own.reshape(-1)]


def tsne(space: SearchSpace, archs: Sequence[Architecture]) -> Floats:
    """Maps one-hot encodings by t-SNE, (num_archs, 2); the same for the same architectures."""
    from sklearn.manifold import TSNE  # takes a second to load

    features = space.encode(archs).astype(np.float64)
    perplexity = min(_MAX_PERPLEXITY, (len(archs) - 1) / 3)
    # The exact method, as threads of the other may add up in any order.
    model = TSNE(perplexity=perplexity, init="pca", method="exact", random_state=0)
    return np.asarray(model.fit_transform(features), np.float64)
