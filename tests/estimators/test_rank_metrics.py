"""Metrics of rankings by hand and against scipy, and resamples against explicit ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from estimators.bootstrap import Interval, draw_resamples
from estimators.rank_metrics import (
    METRICS,
    compare,
    kendall_tau_b,
    pearson,
    precision_at_k,
    rank_correlation_curve,
    spearman,
    top_k,
    top_k_mean,
    top_k_regret,
)

NAN = math.nan
PLAIN: dict[str, Callable[..., float]] = {
    "spearman": lambda scores, truth, k: spearman(scores, truth),
    "kendall_tau_b": lambda scores, truth, k: kendall_tau_b(scores, truth),
    "pearson": lambda scores, truth, k: pearson(scores, truth),
    "precision_at_k": precision_at_k,
    "top_k_regret": top_k_regret,
    "top_k_mean": top_k_mean,
}


def scores_and_truth(seed: int, n: int = 30) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """With ties in both."""
    rng = np.random.default_rng(seed)
    truth = np.round(rng.normal(size=n), 1)
    return np.round(truth + rng.normal(size=n), 1), truth


@pytest.mark.parametrize("seed", range(5))
def test_correlations_are_scipys(seed: int) -> None:
    scores, truth = scores_and_truth(seed)
    assert spearman(scores, truth) == pytest.approx(stats.spearmanr(scores, truth).statistic)
    assert kendall_tau_b(scores, truth) == pytest.approx(stats.kendalltau(scores, truth).statistic)
    assert pearson(scores, truth) == pytest.approx(stats.pearsonr(scores, truth).statistic)


@pytest.mark.parametrize("correlation", [spearman, kendall_tau_b, pearson])
def test_perfect_orders(correlation: Callable[..., float]) -> None:
    truth = [3.0, 1.0, 4.0, 1.5, 9.0]
    assert correlation(truth, truth) == pytest.approx(1, abs=1e-15)
    assert correlation([-x for x in truth], truth) == pytest.approx(-1, abs=1e-15)


def test_diverged_candidates_are_last_and_tied() -> None:
    scores, truth = [3.0, NAN, 1.0, 5.0, NAN], [4.0, 3.0, 2.0, 1.0, 0.0]
    replaced = [3.0, -9.0, 1.0, 5.0, -9.0]
    assert spearman(scores, truth) == pytest.approx(stats.spearmanr(replaced, truth).statistic)
    assert kendall_tau_b(scores, truth) == pytest.approx(
        stats.kendalltau(replaced, truth).statistic
    )
    expected = stats.pearsonr([3, 1, 5], [4, 2, 1]).statistic
    assert pearson(scores, truth) == pytest.approx(expected)


@pytest.mark.parametrize("correlation", [spearman, kendall_tau_b, pearson])
@pytest.mark.parametrize("constant", [[0.1] * 7, [NAN] * 7])
def test_what_orders_nothing_has_no_correlation(
    correlation: Callable[..., float], constant: list[float]
) -> None:
    truth = list(range(7))
    assert correlation(constant, truth) == 0.0
    assert correlation(truth, [0.1] * 7) == 0.0
    assert correlation([1.0], [2.0]) == 0.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_scores_neither_overflow_nor_vanish(scale: float) -> None:
    assert pearson(np.array([1, 2, 4]) * scale, [1, 2, 4]) == pytest.approx(1)


def test_top_k_by_hand() -> None:
    scores = [2.0, NAN, 7.0, 2.0, 7.0, NAN, -5.0]
    assert top_k(scores, 7).tolist() == [2, 4, 0, 3, 6, 1, 5]
    assert top_k(scores, 3).tolist() == [2, 4, 0]


def test_metrics_of_the_top_by_hand() -> None:
    truth = [90.0, 94.0, 92.0, 93.0, 91.0]
    scores = [5.0, 1.0, 4.0, 3.0, NAN]  # best first: 90, 92, 93, 94, 91
    assert [precision_at_k(scores, truth, k) for k in (1, 2, 3, 4, 5)] == pytest.approx(
        [0, 0, 2 / 3, 3 / 4, 1]
    )
    assert [top_k_regret(scores, truth, k) for k in (1, 2, 3, 4, 5)] == [4, 2, 1, 0, 0]
    assert [top_k_mean(scores, truth, k) for k in (1, 2, 3, 4)] == pytest.approx(
        [90, 91, 275 / 3, 92.25]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spearman([1, 2], [1, 2, 3]), r"got shapes \(2,\) and \(3,\)"),
        (lambda: pearson([[1, 2]], [[1, 2]]), r"got shapes \(1, 2\) and \(1, 2\)"),
        (lambda: kendall_tau_b([], []), r"got shapes \(0,\) and \(0,\)"),
        (lambda: spearman([1, math.inf], [1, 2]), "score is infinite; give nan"),
        (lambda: pearson([1, 2], [1, NAN]), "truth is not finite"),
        (lambda: top_k([1, -math.inf], 1), "score is infinite"),
        (lambda: top_k([1, 2], 3), "k must be from 1 to the 2 architectures, got 3"),
        (lambda: top_k_mean([1, 2], [1, 2], 0), "k must be from 1 to the 2 architectures, got 0"),
        (lambda: compare({}, [1, 2]), "one or more estimators .* got none"),
        (lambda: compare({"a": [1, 2]}, [1, 2], k=1), r"got a \(2,\)"),
        (lambda: compare({"a": [[1, 2]], "b": [[1, 2]] * 2}, [1, 2], k=1), r"b \(2, 2\)"),
        (lambda: compare({"a": [[1, 2]]}, [1, 2, 3], k=1), r"shapes \(2,\) and \(3,\)"),
        (lambda: compare({"a": [[1, 2]]}, [1, 2]), "k must be from 1 to the 2 .* got 10"),
        (lambda: compare({"a": [[1, 2]]}, [1, 2], k=1, num_bootstrap=0), "at least 1, got 0"),
        (lambda: compare({"a": [[1, 2], [1, math.inf]]}, [1, 2], k=1), "score is infinite"),
        (lambda: rank_correlation_curve([1, 2], [1, 2], [1]), r"\(num_archs, B\), got \(2,\)"),
        (lambda: rank_correlation_curve([[1], [2]], [1, 2], [2]), r"the 1 recorded, got \[2\]"),
        (lambda: rank_correlation_curve([[1], [2]], [1, 2], [0]), r"the 1 recorded, got \[0\]"),
        (lambda: rank_correlation_curve([[1], [2]], [1, 2, 3], [1]), r"\(2,\) and \(3,\)"),
    ],
)
def test_mistakes_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("k", [1, 4, 30])
def test_resamples_are_measured_as_if_written_out(k: int) -> None:
    for seed in range(12):
        scores, truth = scores_and_truth(seed)
        scores[seed : seed + 5] = NAN
        comparison = compare({"a": [scores]}, truth, k=k, num_bootstrap=1, seed=seed)
        # a single resample is its own percentile
        drawn = np.repeat(np.arange(30), draw_resamples(30, 1, seed)[0].astype(int))
        assert len(drawn) == 30
        for metric in METRICS:
            (found,) = comparison.summary("a", metric).per_supernet
            assert found.low == found.high
            expected = PLAIN[metric](scores[drawn], truth[drawn], k)
            assert found.low == pytest.approx(expected, abs=1e-12), metric
            assert found.value == pytest.approx(PLAIN[metric](scores, truth, k), abs=1e-12)


@pytest.mark.parametrize("scores", [[1.0, 2, 2], [1.0, 1, 1], [NAN, NAN, 1], [NAN] * 3])
def test_resamples_that_order_nothing_have_no_correlation(scores: list[float]) -> None:
    comparison = compare({"a": [scores]}, [0.1, 0.2, 0.4], k=1, num_bootstrap=200)
    for metric in ("spearman", "kendall_tau_b", "pearson"):
        found = comparison.summary("a", metric).mean
        assert -1 <= found.low <= 0 <= found.high <= 1


def test_architectures_are_drawn_uniformly_with_replacement() -> None:
    drawn = draw_resamples(20, 5000, 0)
    assert (drawn.sum(axis=1) == 20).all()
    assert (drawn == 0).mean() == pytest.approx((1 - 1 / 20) ** 20, abs=0.01)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.06)


def test_intervals_are_percentiles_of_the_resamples() -> None:
    scores, truth = scores_and_truth(0)
    weights = draw_resamples(30, 400, 3)
    resampled = [
        stats.spearmanr(np.repeat(scores, w.astype(int)), np.repeat(truth, w.astype(int))).statistic
        for w in weights
    ]
    comparison = compare({"a": [scores]}, truth, num_bootstrap=400, seed=3)
    found = comparison.summary("a", "spearman").mean
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(resampled, [2.5, 97.5])))


def test_intervals_cover_the_correlation_of_the_population() -> None:
    rng = np.random.default_rng(0)
    expected = 6 / math.pi * math.asin(0.8 / 2)  # of a normal pair of correlation 0.8
    num_covered = 0
    for seed in range(100):
        truth = rng.normal(size=100)
        scores = 0.8 * truth + 0.6 * rng.normal(size=100)
        (found,) = rank_correlation_curve(scores[:, None], truth, [1], num_bootstrap=200, seed=seed)
        num_covered += found.low <= expected <= found.high
    assert 87 <= num_covered < 100


def test_summary_over_supernets() -> None:
    truth = [1.0, 2, 3, 4]
    scores = [[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 4, 3]]  # correlations 1, -1, 0.8
    summary = compare({"a": scores}, truth, k=2, num_bootstrap=20).summary("a", "spearman")
    assert [found.value for found in summary.per_supernet] == pytest.approx([1, -1, 0.8])
    assert summary.mean.value == pytest.approx(0.8 / 3)
    assert summary.sd == pytest.approx(np.std([1, -1, 0.8], ddof=1))
    single = compare({"a": scores[:1]}, truth, k=2, num_bootstrap=20).summary("a", "spearman")
    assert single.sd is None
    assert single.per_supernet == (single.mean,)


def test_the_interval_of_the_mean_is_that_of_resamples_means() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    opposite = np.stack([truth, -truth])  # whatever is drawn, the correlations cancel
    found = compare({"a": opposite}, truth, num_bootstrap=50).summary("a", "kendall_tau_b").mean
    assert found == Interval(pytest.approx(0), pytest.approx(0), pytest.approx(0))


def noisy(seed: int = 0) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Three estimators on two supernets: good, almost the same, bad."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=80)
    good = truth + rng.normal(size=(2, 80))
    almost = good + 0.05 * rng.normal(size=(2, 80))
    return {"good": good, "almost": almost, "bad": truth + 4 * rng.normal(size=(2, 80))}, truth


@pytest.mark.parametrize("metric", METRICS)
def test_no_difference_to_itself(metric: str) -> None:
    scores, truth = noisy()
    comparison = compare({**scores, "same": scores["good"].copy()}, truth, num_bootstrap=50)
    assert comparison.difference("good", "same", metric) == Interval(0, 0, 0)
    assert comparison.difference("good", "good", metric) == Interval(0, 0, 0)
    assert comparison.share_greater("good", "same", metric) == 0


def test_differences_are_paired() -> None:
    scores, truth = noisy()
    comparison = compare(scores, truth, num_bootstrap=300)
    values = {name: comparison.summary(name, "spearman").mean for name in scores}
    close = comparison.difference("good", "almost", "spearman")
    assert close.value == pytest.approx(values["good"].value - values["almost"].value)
    assert close.high - close.low < (values["good"].high - values["good"].low) / 5
    clear = comparison.difference("good", "bad", "spearman")
    assert clear.low > 0
    back = comparison.difference("bad", "good", "spearman")
    assert (back.value, back.low, back.high) == pytest.approx(
        (-clear.value, -clear.high, -clear.low)
    )
    assert comparison.share_greater("good", "bad", "spearman") > 0.97
    assert comparison.share_greater("bad", "good", "top_k_regret") > 0.5


def test_the_seed_decides_the_resamples() -> None:
    scores, truth = noisy()
    first, again, other = (
        compare(scores, truth, num_bootstrap=40, seed=seed) for seed in (1, 1, 2)
    )
    for metric in METRICS:
        assert first.summary("bad", metric) == again.summary("bad", metric)
    assert first.summary("bad", "pearson") != other.summary("bad", "pearson")
    # nor does it matter who else is compared
    alone = compare({"bad": scores["bad"]}, truth, num_bootstrap=40, seed=1)
    assert alone.summary("bad", "spearman") == first.summary("bad", "spearman")


def test_diverged_candidates_are_named() -> None:
    scores = {"a": [[1, NAN, 3], [1, 2, 3]], "b": [[NAN, NAN, 0], [0, 1, NAN]]}
    comparison = compare(scores, [1, 2, 3], k=1, num_bootstrap=5)
    assert comparison.names == ("a", "b")
    assert comparison.diverged == {"a": ((1,), ()), "b": ((0, 1), (2,))}


def test_unknown_names_are_refused() -> None:
    scores, truth = noisy()
    comparison = compare(scores, truth, num_bootstrap=2)
    with pytest.raises(ValueError, match="Unknown estimator 'tse'; choose from good, almost, bad"):
        comparison.difference("good", "tse", "spearman")
    with pytest.raises(ValueError, match="Unknown metric 'tau'; choose from spearman, kendall"):
        comparison.summary("good", "tau")


def test_a_curve_has_the_intervals_of_the_comparison() -> None:
    scores, truth = noisy()
    table = np.stack([scores[name][0] for name in scores], axis=1)  # (num_archs, 3)
    table[5, 2] = NAN
    found = rank_correlation_curve(table, truth, [3, 1], num_bootstrap=60, seed=4)
    comparison = compare(
        {str(i): table[None, :, i] for i in range(3)}, truth, num_bootstrap=60, seed=4
    )
    for interval, name in zip(found, ("2", "0"), strict=True):
        expected = comparison.summary(name, "spearman").mean
        assert vars(interval) == pytest.approx(vars(expected))
