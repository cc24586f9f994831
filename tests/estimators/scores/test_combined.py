"""Combined scores by hand, on planted truths, and on architectures they were not fitted to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators.rank_metrics import spearman
from estimators.scores.combined import MIN_NUM_KNOWN, CombinedScore, held_out

NAN = math.nan
Floats = NDArray[np.float64]


def planted(num_archs: int = 120, seed: int = 0) -> tuple[dict[str, Floats], Floats]:
    """Two independent causes of the truth, one with its sign reversed, and noise."""
    rng = np.random.default_rng(seed)
    a, b, noise = rng.normal(size=(3, num_archs))
    return {"a": a, "b": b, "noise": noise}, a - b + 0.3 * rng.normal(size=num_archs)


def test_rank_average_by_hand() -> None:
    combined = CombinedScore(
        {
            "macs": [10.0, 20.0, 20.0, 5.0],  # ranks 2, 3.5, 3.5, 1
            "curve": [[-1.0, -5.0], [-2.0, -2.0], [NAN, 0.0], [-1.0, -1.0]],  # ranks 2, 3, 1, 4
        }
    )
    assert combined.rank_average().tolist() == [2, 3.25, 2.25, 2.5]
    np.testing.assert_array_equal(combined.parts["curve"], [-6, -4, NAN, -2])


def test_a_fit_finds_which_features_matter_and_in_which_direction() -> None:
    features, truth = planted()
    known = np.arange(40)
    scores = CombinedScore(features).fit(known, truth[known])
    assert scores.shape == truth.shape
    others = slice(40, None)
    assert spearman(scores[others], truth[others]) > 0.9
    assert max(spearman(part[others], truth[others]) for part in features.values()) < 0.8
    assert abs(spearman(CombinedScore(features).rank_average(), truth)) < 0.3


def test_only_the_known_truths_matter() -> None:
    features, truth = planted()
    known = np.array([3, 90, 17, 44, 5, 61, 8, 100, 119, 0, 25, 76])
    combined = CombinedScore(features)
    expected = combined.fit(known, truth[known])
    np.testing.assert_allclose(combined.fit(known[::-1], truth[known[::-1]]), expected, rtol=1e-6)
    swapped = truth[known]
    swapped[0] += 10
    assert not np.allclose(combined.fit(known, swapped), expected, atol=1e-3)


def test_only_the_order_of_features_and_truths_matters() -> None:
    features, truth = planted()
    known = np.arange(30)
    expected = CombinedScore(features).fit(known, truth[known])
    bent = {name: np.exp(3 * values) for name, values in features.items()}
    found = CombinedScore(bent).fit(known, np.exp(truth[known]))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_feature_weighs_the_same_however_many_columns_it_has() -> None:
    features, truth = planted()
    known = np.arange(30)
    expected = CombinedScore(features).fit(known, truth[known])
    repeated = {**features, "noise": np.repeat(features["noise"][:, None], 50, axis=1)}
    found = CombinedScore(repeated).fit(known, truth[known])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_curve_says_more_than_its_sum() -> None:
    rng = np.random.default_rng(0)
    skills = rng.normal(size=(150, 2))  # the truth hangs on the first alone
    tells = rng.normal(size=(2, 20)) + 1
    curve = skills @ tells + 0.3 * rng.normal(size=(150, 20))
    found = held_out({"curve": curve}, skills[:, 0], num_known=40, num_splits=5)
    assert found.mean("fitted") > 0.95
    assert found.mean("curve") < 0.9


def test_diverged_candidates_are_worst() -> None:
    features, _ = planted()
    truth = features["a"]
    diverged = np.where(truth < np.quantile(truth, 0.2), NAN, truth)
    scores = CombinedScore({"a": diverged}).fit(np.arange(60), truth[:60])
    assert np.isfinite(scores).all()
    assert scores[np.isnan(diverged)].max() < scores[~np.isnan(diverged)].min()
    assert len(np.unique(scores[np.isnan(diverged)])) == 1


def test_nothing_to_learn_is_no_error() -> None:
    combined = CombinedScore({"constant": np.ones(30), "diverged": np.full((30, 3), NAN)})
    for truth in (np.ones(20), np.arange(20.0)):
        scores = combined.fit(np.arange(20), truth)
        np.testing.assert_allclose(scores, scores[0])


def test_held_out_by_hand() -> None:
    features, truth = planted()
    found = held_out(features, truth, num_known=40, num_splits=3, seed=7)
    rng = np.random.default_rng(7)
    combined = CombinedScore(features)
    for split in range(3):
        order = rng.permutation(120)
        known, unknown = order[:40], order[40:]
        scores = {
            "fitted": combined.fit(known, truth[known]),
            "rank_average": combined.rank_average(),
            **features,
        }
        assert list(found.spearman) == list(scores)
        for name, score in scores.items():
            expected = spearman(score[unknown], truth[unknown])
            assert found.spearman[name][split] == pytest.approx(expected)
    assert (found.num_known, found.num_unknown) == (40, 80)


def test_held_out_summaries() -> None:
    features, truth = planted()
    found = held_out(features, truth, num_known=40, num_splits=20)
    values = found.spearman
    assert found.mean("a") == pytest.approx(np.mean(values["a"]))
    assert found.sd("a") == pytest.approx(np.std(values["a"], ddof=1))
    difference = found.difference("fitted", "a")
    assert difference.value == pytest.approx(found.mean("fitted") - found.mean("a"))
    expected = np.percentile(values["fitted"] - values["a"], [2.5, 97.5])
    assert (difference.low, difference.high) == pytest.approx(tuple(expected))
    assert difference.low > 0
    again, other = (held_out(features, truth, 40, 20, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.spearman["fitted"], values["fitted"])
    assert not np.allclose(other.spearman["fitted"], values["fitted"])


def test_more_known_truths_help() -> None:
    features, truth = planted(200)
    features["curve"] = np.random.default_rng(1).normal(size=(200, 30)) + features["a"][:, None]
    means = [
        held_out(features, truth, num_known, 20).mean("fitted")
        for num_known in (MIN_NUM_KNOWN, 30, 100)
    ]
    assert means == sorted(means)


FEATURES, TRUTH = planted(30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CombinedScore({}), "one or more features .* got none"),
        (lambda: CombinedScore({"a": [1, 2], "b": [1, 2, 3]}), r"got a \(2,\), b \(3,\)"),
        (lambda: CombinedScore({"a": 1.0}), r"got a \(\)"),
        (lambda: CombinedScore({"a": [1.0], "b": 1.0}), r"b \(\)"),
        (lambda: CombinedScore({"a": np.ones((2, 0))}), r"got a \(2, 0\)"),
        (lambda: CombinedScore({"a": np.ones((2, 1, 1))}), r"got a \(2, 1, 1\)"),
        (lambda: CombinedScore({"a": [1, math.inf]}), "feature is infinite; give nan"),
        (lambda: fit(range(9), TRUTH[:9]), "at least 10 known truths, got 9"),
        (lambda: fit(range(12), TRUTH[:11]), r"got shapes \(12,\) and \(11,\)"),
        (lambda: fit(np.ones(30, np.bool_), TRUTH), "known must be indices, got bool"),
        (lambda: fit(range(20, 32), TRUTH[:12]), "must be from 0 to 29"),
        (lambda: fit(range(-1, 11), TRUTH[:12]), "must be from 0 to 29"),
        (lambda: fit([0, *range(12)], TRUTH[:13]), "known twice"),
        (lambda: fit(range(12), [*TRUTH[:11], NAN]), "truth is not finite"),
        (lambda: held_out({"fitted": TRUTH}, TRUTH, 10), "must not be named 'fitted'"),
        (lambda: held_out({"rank_average": TRUTH}, TRUTH, 10), "must not be named 'rank_average'"),
        (lambda: held_out(FEATURES, TRUTH[:29], 10), r"each of the 30 .* got shape \(29,\)"),
        (lambda: held_out(FEATURES, TRUTH, 9), "num_known must be from 10 to 28, .* got 9"),
        (lambda: held_out(FEATURES, TRUTH, 29), "num_known must be from 10 to 28, .* got 29"),
        (lambda: held_out(FEATURES, TRUTH, 10, 1), "num_splits must be at least 2, got 1"),
    ],
)
def test_mistakes_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def fit(known: Any, truth: Any) -> Floats:
    return CombinedScore(FEATURES).fit(np.asarray(known), truth)
