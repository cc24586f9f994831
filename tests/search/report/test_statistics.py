"""What a report of searches computes, against values worked out by hand and by scipy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import ttest_ind

from estimators.trials.store import Trial
from search.report.groups import RunGroup
from search.report.recorded_runs import RecordedRun
from search.report.statistics import (
    best_so_far,
    bests_at,
    curve_over_queries,
    curve_over_seconds,
    difference_of_means,
    digits_of,
    is_on_front,
    mean_curve,
    queries_to_best,
    tsne,
)
from supernets.spaces import SearchSpace

NAN = float("nan")


@pytest.fixture
def group_of(small_space: SearchSpace) -> object:
    """Runs of given scores, None for a failure, all trials of the given seconds."""
    archs = list(small_space.enumerate())

    def group_of(
        *runs: Sequence[float | None], seconds: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> RunGroup:
        return RunGroup(
            "label",
            tuple(
                RecordedRun(
                    f"run-{i}",
                    small_space,
                    {"seed": i},
                    tuple(
                        Trial(j, archs[j], score, {}, each, None if score is not None else "failed")
                        for j, score in enumerate(scores)
                    ),
                    (range(len(scores)),),
                )
                for i, (scores, each) in enumerate(zip(runs, seconds, strict=False))
            ),
        )

    return group_of


def test_best_so_far_by_hand(group_of) -> None:
    (run,) = group_of([None, 2.0, 1.0, None, 3.0, 3.0]).runs
    np.testing.assert_array_equal(best_so_far(run.trials), [NAN, 2, 2, 2, 3, 3])
    assert queries_to_best(run) == 5


def test_the_interval_of_a_mean_is_students() -> None:
    curve = mean_curve(np.arange(2.0), np.array([[1.0, 5.0], [3.0, 5.0]]))
    assert curve.mean.tolist() == [2, 5]
    # standard error 1, and the quantile of one degree of freedom from a printed table
    assert curve.low == pytest.approx([2 - 12.7062, 5], abs=1e-4)
    assert curve.high == pytest.approx([2 + 12.7062, 5], abs=1e-4)
    alone = mean_curve(np.arange(2.0), np.array([[1.0, 5.0]]))
    assert np.isnan(alone.low).all() and np.isnan(alone.high).all()


def test_curves_over_queries_go_from_the_first_success_to_the_end_of_the_shortest(group_of) -> None:
    group = group_of([None, 1.0, 2.0, 4.0], [5.0, 4.0, 6.0])
    curve = curve_over_queries(group)
    assert curve.x.tolist() == [2, 3]
    assert curve.mean.tolist() == [(1 + 5) / 2, (2 + 6) / 2]
    assert group.num_trials == 3
    np.testing.assert_array_equal(bests_at(group, 1), [NAN, 5])
    np.testing.assert_array_equal(bests_at(group, 3), [2, 6])


def test_curves_over_seconds_by_hand(group_of) -> None:
    # ends of measurements: 1, 2, 3, 4 s and 1.5, 3, 4.5 s
    group = group_of([None, 1.0, 2.0, 4.0], [5.0, 4.0, 6.0], seconds=(1.0, 1.5))
    curve = curve_over_seconds(group)
    assert curve.x.tolist() == [2, 3, 4]
    assert curve.mean.tolist() == [(1 + 5) / 2, (2 + 5) / 2, (4 + 5) / 2]
    # one run ends before the other has its first success
    apart = group_of([1.0, 2.0], [None, 5.0], seconds=(1.0, 9.0))
    assert len(curve_over_seconds(apart).x) == 0


def test_long_curves_over_seconds_are_thinned_out(group_of, monkeypatch) -> None:
    monkeypatch.setattr("search.report.statistics._MAX_POINTS", 5)
    group = group_of([float(i) for i in range(41)])
    curve = curve_over_seconds(group)
    assert curve.x.tolist() == [1, 11, 21, 31, 41]
    assert curve.mean.tolist() == [0, 10, 20, 30, 40]


def test_differences_are_welchs() -> None:
    first, second = np.array([3.0, 4.0, 5.5]), np.array([1.0, 3.5])
    found = difference_of_means(first, second)
    assert found is not None
    expected = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.verdict == "within noise"
    with_failure = difference_of_means(np.array([3.0, NAN, 4.0, 5.5]), second)
    assert with_failure == found


def test_differences_without_noise_or_without_seeds() -> None:
    for num_seeds, verdict in ((2, "too few to tell"), (5, "clear")):
        same = difference_of_means(np.full(num_seeds, 2.0), np.full(num_seeds, 1.0))
        assert same is not None and (same.low, same.high, same.verdict) == (1, 1, verdict)
    assert difference_of_means(np.array([2.0, 2.5]), np.array([1.0])) is None
    assert difference_of_means(np.array([2.0, NAN]), np.array([1.0, 1.5])) is None


def test_the_front_is_what_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    costs, scores = rng.integers(0, 8, (2, 60)).astype(float)
    found = is_on_front(costs, scores)
    for i in range(60):
        is_dominated = any(
            costs[j] <= costs[i]
            and scores[j] >= scores[i]
            and (costs[j] < costs[i] or scores[j] > scores[i])
            for j in range(60)
        )
        assert found[i] == (not is_dominated)
    assert 1 < found.sum() < 30


@pytest.mark.parametrize(
    ("scores", "digits"),
    [
        ([90.0, 91, 94, NAN], 2),  # the better half lies within 3
        ([-15.0, -14.8, -14.75], 4),
        ([1.0, 1.0], 3),
        ([0.0, 0, 50_000], 0),
    ],
)
def test_digits(scores: list[float], digits: int) -> None:
    assert digits_of(np.array(scores)) == digits


def test_a_map_is_repeatable_and_keeps_neighbours_together(small_space: SearchSpace) -> None:
    archs = [arch for arch in small_space.enumerate() if len(set(arch.choices[:3])) == 1][:9]
    # three heads of three equal digits, with three tails each
    places = tsne(small_space, archs)
    assert places.shape == (9, 2)
    np.testing.assert_array_equal(places, tsne(small_space, archs))
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    for i in range(9):
        nearest = np.argsort(distances[i])[1:3]
        assert {archs[j].choices[0] for j in nearest} == {archs[i].choices[0]}
