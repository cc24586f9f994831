"""Scores within windows of MACs, against numbers computed by hand and by SciPy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from estimators.bootstrap import draw_resamples
from estimators.ranking.macs_windows import MacsWindow
from estimators.ranking.window_comparison import compare_windows, first_truth
from tests.estimators.ranking.window_example import MACS, NAMES, SWAPPED, TRUTH, WINDOW, compared


def by_name(window: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in window["estimators"]}


def means(estimator: dict[str, Any]) -> dict[str, float]:
    return {metric: found["mean"] for metric, found in estimator["metrics"].items()}


def test_a_window_by_hand() -> None:
    found = compared()
    json.dumps(found, allow_nan=False)
    assert found["outside"] == ["arch 12", "arch 13"]
    (window,) = found["windows"]
    assert (window["target"], window["tolerance"], window["num_archs"]) == (100, 0.05, 12)
    assert (window["low"], window["high"], window["problem"]) == (95, 105, None)
    assert window["truth"] == pytest.approx({"mean": 6.5, "sd": np.sqrt(143 / 12), "best": 12})
    assert [each["name"] for each in window["estimators"]] == ["swapped", "macs"]
    swapped, macs = window["estimators"]
    # twelve places are off by one: 1 - 6 * 12 / (12 * 143); 6 of 66 pairs are the wrong way;
    # what it puts first is worth 11, where 12 is the best
    assert means(swapped) == pytest.approx(
        {"spearman": 1 - 72 / 1716, "kendall_tau_b": 54 / 66, "first_truth": 11, "regret": 1}
    )
    # truths 10-12 have the fewest MACs, then 1-3, 4-6 and 7-9 the most: of mean ranks 2, 5, 8, 11
    # the covariance is -27, the squares 135 and 143; 27 pairs are right and 27 wrong; the three
    # with the most MACs are worth 8 in the mean
    assert means(macs) == pytest.approx(
        {"spearman": -27 / np.sqrt(135 * 143), "kendall_tau_b": 0, "first_truth": 8, "regret": 4}
    )
    assert (swapped["num_first"], macs["num_first"]) == ([1], [3])
    against = {metric: each["value"] for metric, each in swapped["minus_macs"].items()}
    expected = {"kendall_tau_b": 54 / 66, "first_truth": 3}
    expected["spearman"] = 1 - 72 / 1716 + 27 / np.sqrt(135 * 143)
    assert against == pytest.approx(expected)
    # a random pick is worth 6.5 in the mean
    assert swapped["minus_random"]["first_truth"]["value"] == pytest.approx(4.5)
    assert window["random"]["first_truth"]["mean"] == pytest.approx(6.5)
    assert window["random"]["regret"]["mean"] == pytest.approx(5.5)


def test_intervals_are_paired_in_the_resamples_of_the_window() -> None:
    window = compared(num_bootstrap=40, seed=3)["windows"][0]
    truth, macs, score = TRUTH[:12], MACS[:12], SWAPPED[:12]
    differences, taus, firsts = [], [], []
    for drawn in draw_resamples(12, 40, 3).astype(int):
        rows = np.repeat(np.arange(12), drawn)
        a, b = (spearmanr(each[rows], truth[rows]).statistic for each in (score, macs))
        differences.append(a - b)
        taus.append(kendalltau(score[rows], truth[rows]).statistic)
        most = macs[rows] == macs[rows].max()
        firsts.append(truth[rows][score[rows].argmax()] - truth[rows][most].mean())
    own = by_name(window)["swapped"]
    for found, values in (
        (own["minus_macs"]["spearman"], differences),
        (own["metrics"]["kendall_tau_b"], taus),
        (own["minus_macs"]["first_truth"], firsts),
    ):
        ends = np.percentile(values, (2.5, 97.5))
        assert [found["low"], found["high"]] == pytest.approx(ends)


def test_the_truth_itself_has_no_regret_and_macs_are_no_better_than_macs() -> None:
    scores = {"truth": [TRUTH], "macs": [MACS]}
    (window,) = compared(scores)["windows"]
    found = by_name(window)
    assert set(found) == {"truth", "macs"}
    regret = found["truth"]["metrics"]["regret"]
    assert (regret["mean"], regret["low"], regret["high"]) == (0, 0, 0)
    nothing = {"value": 0, "low": 0, "high": 0}
    assert all(each == nothing for each in found["macs"]["minus_macs"].values())


def test_a_score_that_orders_nothing_is_a_random_pick() -> None:
    scores = {"same": [np.ones(14)], "diverged": [np.full(14, np.nan)]}
    (window,) = compared(scores)["windows"]
    for name in scores:
        found = by_name(window)[name]
        assert found["metrics"]["spearman"]["mean"] == 0
        assert found["metrics"]["regret"] == window["random"]["regret"]
        assert found["minus_random"]["first_truth"] == {"value": 0, "low": 0, "high": 0}
        assert found["num_first"] == [12]


def test_what_diverged_comes_last() -> None:
    score = SWAPPED.copy()
    score[11] = np.nan  # of truth 12
    score[10] = np.nan  # which had been first
    (window,) = compared({"score": [score]})["windows"]
    assert by_name(window)["score"]["metrics"]["first_truth"]["mean"] == 9


def test_several_supernets_are_their_mean() -> None:
    (window,) = compared({"score": [SWAPPED, -TRUTH]})["windows"]
    regret = by_name(window)["score"]["metrics"]["regret"]
    assert [each["value"] for each in regret["per_supernet"]] == [1, 11]
    assert (regret["mean"], regret["sd"]) == pytest.approx((6, np.std([1, 11], ddof=1)))
    assert by_name(window)["score"]["minus_macs"]["first_truth"]["value"] == pytest.approx(6 - 8)


def test_windows_may_overlap_and_one_may_be_too_small() -> None:
    windows = [WINDOW, MacsWindow(100.0, 0.03), MacsWindow(98.0, 0.07)]
    found = compared(windows=windows)
    whole, small, other = found["windows"]
    assert small["num_archs"] == 6 and small["estimators"] == []
    assert small["problem"] == "Only 6 were measured and have a truth; 10 are needed."
    assert small["random"] is None and small["truth"] is None
    assert whole["estimators"] == other["estimators"]
    assert found["outside"] == ["arch 12", "arch 13"]


def test_ties_for_the_first_place_are_worth_their_mean() -> None:
    weights = np.array([[1.0, 1, 1, 1], [0, 2, 1, 0], [3, 0, 0, 1]])
    found = first_truth([5, 5, 1, np.nan], [1.0, 4, 7, 9], weights)
    # 1 and 4; 4 alone, drawn twice; 1 alone
    assert found.tolist() == [2.5, 4, 1]


def test_there_must_be_a_score() -> None:
    with pytest.raises(ValueError, match="There is no score to compare"):
        compare_windows([WINDOW], {}, TRUTH, MACS, notations=NAMES, num_bootstrap=5, seed=0)
