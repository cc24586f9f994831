"""Runs that differ in their seed make a group; scores of one meaning make a comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from estimators.trials.store import Trial
from search.report.groups import group_runs
from search.report.recorded_runs import RecordedRun
from supernets.spaces import SearchSpace


@pytest.fixture
def run_of(small_space: SearchSpace) -> Callable[..., RecordedRun]:
    """A run of ``num_trials`` trials with some settings."""

    def run_of(
        name: str, seed: int = 0, num_trials: int = 3, *, estimator: str = "tse", **settings: Any
    ) -> RecordedRun:
        header = {
            "space": small_space.name,
            "resolution": None,
            "supernet": settings.pop("supernet", None),
            "algorithm": {"name": name, "batch_size": 2, **settings},
            "estimator": {"name": estimator},
            "constraints": [],
            "seed": seed,
        }
        archs = list(small_space.enumerate())[:num_trials]
        trials = tuple(Trial(i, arch, float(i), {}, 0.0, None) for i, arch in enumerate(archs))
        return RecordedRun(f"{name}-{seed}", small_space, header, trials, (range(num_trials),))

    return run_of


def test_seeds_make_a_group_in_their_order(run_of: Callable[..., RecordedRun]) -> None:
    runs = [run_of("random", 2), run_of("weaknas", 0), run_of("random", 0, 5), run_of("random", 1)]
    (comparison,) = group_runs(runs)
    assert [group.label for group in comparison.groups] == ["random", "weaknas"]
    assert [run.name for run in comparison.groups[0].runs] == ["random-0", "random-1", "random-2"]
    assert [group.num_trials for group in comparison.groups] == [3, 3]
    assert comparison.runs == [runs[2], runs[3], runs[0], runs[1]]
    assert comparison.budget == 3


def test_labels_say_what_differs_between_groups_of_one_algorithm(
    run_of: Callable[..., RecordedRun],
) -> None:
    runs = [
        run_of("weaknas", predictor="mlp", top_n=100),
        run_of("weaknas", predictor="random_forest", top_n=100),
        run_of("weaknas", predictor="mlp"),
        run_of("evolution", top_n=5),
    ]
    (comparison,) = group_runs(runs)
    assert [group.label for group in comparison.groups] == [
        "weaknas predictor=mlp top_n=100",
        "weaknas predictor=random_forest top_n=100",
        "weaknas predictor=mlp top_n=not set",
        "evolution",
    ]


def test_scores_of_other_meaning_are_compared_apart(run_of: Callable[..., RecordedRun]) -> None:
    runs = [
        run_of("random"),
        run_of("random", estimator="val_acc"),
        run_of("random", supernet="ab" * 32),
        run_of("random", 1),
    ]
    comparisons = group_runs(runs)
    assert [comparison.label for comparison in comparisons] == [
        "digits4x3, tse supernet=null",
        "digits4x3, val_acc",
        "digits4x3, tse supernet=abababab",
    ]
    assert [len(comparison.runs) for comparison in comparisons] == [2, 1, 1]
    assert all(comparison.groups[0].label == "random" for comparison in comparisons)


def test_the_same_run_twice_and_no_run_are_refused(run_of: Callable[..., RecordedRun]) -> None:
    with pytest.raises(ValueError, match="random-1 and random-1 have the same settings and seed 1"):
        group_runs([run_of("random", 1), run_of("random", 0), run_of("random", 1, 4)])
    with pytest.raises(ValueError, match="at least one run"):
        group_runs([])
