"""Scores of curves by hand, at every prefix, and races that find what full measurements find."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from estimators.scores.loss_curves import (
    TopK,
    choose_num_batches,
    prefix_scores,
    race,
    tlmini,
    tse,
    tse_e,
    tse_ema,
)

CURVE = [4.0, 2.0, 1.0, 0.5]


def random_losses(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 3, shape)


def test_scores_by_hand() -> None:
    assert [tse(CURVE, b) for b in (1, 2, 3, 4)] == [4, 6, 7, 7.5]
    assert [tse_e(CURVE, b, 2) for b in (1, 2, 3, 4)] == [4, 6, 3, 1.5]
    assert [tlmini(CURVE, b) for b in (1, 2, 3, 4)] == CURVE
    # 4 * 1/8 + 2 * 1/4 + 1 * 1/2 + 0.5
    assert tse_ema(CURVE, 4, gamma=0.5) == 2
    assert tse_ema(CURVE, 2, gamma=0.5) == 4
    # 4; 0.4 + 1.8 = 2.2; 0.22 + 0.9 = 1.12; 0.112 + 0.45 = 0.562
    found = [float(tse_ema(CURVE, b, variant="ref")) for b in (1, 2, 3, 4)]
    assert found == pytest.approx([4, 2.2, 1.12, 0.562])


def test_gamma_is_the_papers_by_default() -> None:
    losses = random_losses(50)
    expected = sum(0.999 ** (50 - t) * losses[t - 1] for t in range(1, 51))
    assert tse_ema(losses, 50) == pytest.approx(expected, rel=1e-12)


def test_limits_of_the_family_are_tse_and_tlmini() -> None:
    losses = random_losses(3, 20)
    np.testing.assert_allclose(tse_ema(losses, 15, gamma=1), tse(losses, 15), rtol=1e-12)
    np.testing.assert_allclose(tse_e(losses, 15, 15), tse(losses, 15), rtol=1e-12)
    np.testing.assert_allclose(tse_e(losses, 15, 99), tse(losses, 15), rtol=1e-12)
    np.testing.assert_array_equal(tse_e(losses, 15, 1), tlmini(losses, 15))


def test_any_leading_shape() -> None:
    losses = random_losses(2, 3, 7)
    for score in (tse, tlmini, tse_ema):
        found = score(losses, 5)
        assert found.shape == (2, 3)
        assert found[1, 2] == score(losses[1, 2], 5)
        assert score(losses[0, 0], 5).shape == ()


@pytest.mark.parametrize(
    ("kind", "options", "score"),
    [
        ("tse", {}, tse),
        ("tse_e", {"window": 3}, tse_e),
        ("tse_ema", {}, tse_ema),
        ("tse_ema", {"gamma": 0.9}, tse_ema),
        ("tse_ema", {"variant": "ref"}, tse_ema),
        ("tlmini", {}, tlmini),
    ],
)
def test_a_prefix_scores_what_its_losses_alone_score(
    kind: Any, options: dict[str, Any], score: Any
) -> None:
    losses = random_losses(5, 12)
    losses[2, 6] = math.nan
    losses[3, 0] = math.inf
    scores = prefix_scores(losses, kind, **options)
    assert scores.shape == (5, 12)
    for b in range(1, 13):
        np.testing.assert_array_equal(scores[:, b - 1], score(losses, b, **options))
        np.testing.assert_allclose(
            scores[:, b - 1], score(losses[:, :b].copy(), b, **options), rtol=1e-12
        )
    expected = np.zeros((5, 12), np.bool_)
    expected[2, 6:] = expected[3] = True
    np.testing.assert_array_equal(np.isnan(scores), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tse(CURVE, 0), "num_steps must be from 1 to the 4 steps recorded, got 0"),
        (lambda: tse(CURVE, 5), "num_steps must be from 1 to the 4 steps recorded, got 5"),
        (lambda: tlmini([], 1), r"at least 1 step, got \(0,\)"),
        (lambda: tse(1.0, 1), r"at least 1 step, got \(\)"),
        (lambda: tse_e(CURVE, 2, 0), "window of at least 1 step, got 0"),
        (lambda: tse_ema(CURVE, 2, 0), "gamma must be more than 0 and at most 1, got 0"),
        (lambda: tse_ema(CURVE, 2, 1.1), "gamma must be more than 0 and at most 1, got 1.1"),
        (lambda: tse_ema(CURVE, 2, 0.9, "ref"), "'ref' has none"),
        (lambda: tse_ema(CURVE, 2, variant="mean"), "Unknown variant 'mean'; choose from paper"),  # type: ignore[arg-type]
        (lambda: prefix_scores(CURVE, "sum"), "Unknown curve score 'sum'; choose from tse"),  # type: ignore[arg-type]
        (lambda: prefix_scores(CURVE, "tse_e"), "needs a window of at least 1 step, got None"),
        (lambda: prefix_scores(CURVE, "tse", window=2), "window is of tse_e, tse has none"),
        (lambda: prefix_scores(CURVE, "tse_e", window=2, gamma=0.9), "gamma and variant are of"),
        (lambda: prefix_scores(CURVE, "tse", variant="ref"), "gamma and variant are of tse_ema"),
        (lambda: choose_num_batches(CURVE), r"at least 2 architectures, got \(4,\)"),
        (lambda: choose_num_batches([CURVE]), r"at least 2 architectures, got \(1, 4\)"),
        (lambda: choose_num_batches([CURVE] * 2, 0), "threshold must be more than 0"),
        (lambda: choose_num_batches([CURVE] * 2, 1.5), "at most 1, got 1.5"),
        (lambda: race(CURVE, 1), r"must be \(num_archs, B\), got \(4,\)"),
        (lambda: race([CURVE, [1, -0.5, 1, 1]], 1), "losses of 0 or more, got -0.5"),
        (lambda: race([CURVE], 2), "k must be at most the 1 candidates, got 2"),
        (lambda: race([CURVE], 0), "k must be at least 1, got 0"),
        (lambda: TopK(0), "k must be at least 1, got 0"),
        (lambda: TopK(2).add(math.nan), "must be finite, got nan"),
        (lambda: TopK(2).add(math.inf), "must be finite, got inf"),
    ],
)
def test_mistakes_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_num_batches_is_where_the_order_has_settled() -> None:
    # TSE of steps 1..4: the order of the last is reached at step 1, lost at 2, regained at 3.
    losses = [[1, 4, 0, 1], [2, 2, 2, 2], [3, 0, 6, 1]]
    assert np.cumsum(losses, axis=1).T.tolist() == [[1, 2, 3], [5, 4, 3], [5, 6, 9], [6, 8, 10]]
    assert choose_num_batches(losses, threshold=1) == 3


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95, 0.98])
def test_num_batches_by_the_definition(threshold: float) -> None:
    for seed in range(5):
        losses = random_losses(30, 40, seed=seed) + random_losses(30, 1, seed=seed + 50) / 3
        found = choose_num_batches(losses, threshold)
        correlations = [
            spearmanr(losses[:, :b].sum(axis=1), losses.sum(axis=1)).statistic for b in range(1, 41)
        ]
        assert min(correlations[found - 1 :]) >= threshold
        assert found == 1 or correlations[found - 2] < threshold


def test_num_batches_ranks_diverged_candidates_last() -> None:
    losses = np.array([[1.0, 1, 1], [2, 2, 2], [0, math.nan, 1]])
    assert choose_num_batches(losses, 1) == 2
    losses[2, 0] = 3
    assert choose_num_batches(losses, 1) == 1


def test_num_batches_where_nothing_is_ordered() -> None:
    assert choose_num_batches(np.ones((4, 6))) == 6


def test_threshold_is_the_kth_least() -> None:
    best = TopK(2)
    thresholds = []
    for value in (5.0, 7.0, 6.0, 9.0, 1.0, 1.0):
        best.add(value)
        thresholds.append(best.threshold)
    assert thresholds == [math.inf, 7, 6, 6, 5, 1]


def test_a_race_by_hand() -> None:
    found = race(
        [
            [1, 1, 1, 1],  # 4
            [2, 2, 2, 2],  # 5 is the first sum above 4: stopped at 6
            [0, 1, 1, 1],  # 3, the new best
            [3, 0, 0, 0],  # a tie is finished, but comes after
            [0, math.nan, 0, 0],
            [0, 0, 0, 9],  # is too much only at the end, so it is finished
            [9, 9, 9, 9],
        ],
        k=1,
    )
    assert found.num_steps.tolist() == [4, 3, 4, 4, 2, 4, 1]
    assert found.is_finished.tolist() == [True, False, True, True, False, True, False]
    np.testing.assert_array_equal(found.bounds, [4, 6, 3, 3, math.nan, 9, 9])
    assert found.top.tolist() == [2]
    assert found.share_saved == pytest.approx(1 - 22 / 28)


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("has_ties", [False, True])
def test_a_race_finds_the_same_top_as_full_measurements(k: int, has_ties: bool) -> None:
    saved = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        losses = rng.uniform(0, 2, (25, 1)) * rng.uniform(0.5, 1.5, (25, 8))
        if has_ties:
            losses = np.round(losses)
        losses[rng.random((25, 8)) < 0.01] = math.nan
        sums = np.cumsum(losses, axis=1)[:, -1]
        order = np.argsort(np.where(np.isnan(sums), math.inf, sums), kind="stable")
        found = race(losses, k)
        assert found.top.tolist() == [i for i in order[:k] if np.isfinite(sums[i])]
        np.testing.assert_array_equal(found.bounds[found.is_finished], sums[found.is_finished])
        assert not (found.bounds > sums).any()
        saved.append(found.share_saved)
    assert min(saved) >= 0
    assert np.mean(saved) > 0.05


def test_a_race_of_diverging_candidates_has_no_top() -> None:
    found = race(np.full((3, 4), math.nan), 2)
    assert found.top.tolist() == []
    assert found.num_steps.tolist() == [1, 1, 1]
    assert found.share_saved == 0.75
