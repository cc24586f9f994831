"""The three numbers of a search, by hand."""

from __future__ import annotations

import pytest

from search import Trial
from search.report.test_results import HeldOutResults, held_out_results


@pytest.fixture
def trials(small_space):
    """Five, of which one failed and two are the best."""
    return [
        Trial(
            number,
            small_space.architecture([number // 3, number % 3, 0, 0]),
            score,
            {},
            0.0,
            "failed" if score is None else None,
        )
        for number, score in enumerate((1.0, 7.0, None, 7.0, 2.0))
    ]


@pytest.fixture
def values(trials):
    """Those of the trials are 10, 11, 12, 13 and 14."""
    return {trial.arch: 10.0 + trial.number for trial in trials}


def test_by_score_by_prediction_and_by_test_value(trials, values, small_space):
    predicted = small_space.architecture([2, 2, 2, 2])
    values[predicted] = 80.0
    assert held_out_results(trials, predicted, values) == HeldOutResults(11.0, 80.0, 14.0)


def test_without_a_predictor(trials, values):
    assert held_out_results(trials, None, values) == HeldOutResults(11.0, None, 14.0)


def test_failed_trials_have_no_results(trials, values):
    values[trials[2].arch] = 99.0
    assert held_out_results(trials, None, values).best_tested == 14.0


def test_what_the_values_lack_is_none(trials, values, small_space):
    del values[trials[1].arch], values[trials[4].arch]
    other = small_space.architecture([2, 2, 2, 2])
    assert held_out_results(trials, other, values) == HeldOutResults(None, None, 13.0)
    assert held_out_results(trials, None, {}) == HeldOutResults(None, None, None)
