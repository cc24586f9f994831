"""A comparison of scores whose answers are known by construction."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from estimators.ranking import comparison
from estimators.ranking.comparison import PARTS, compare_epochs, compare_scores
from estimators.scores.names import BENCHMARK_SCORES, SCORES, Score
from estimators.scores.score_tables import combined_features
from estimators.trials.store import Trial
from supernets.spaces import Architecture

NUM_ARCHS, NUM_STEPS = 24, 7
TRUTH = np.random.default_rng(0).permutation(NUM_ARCHS).astype(np.float64)


def trials_of(supernet: int, diverged: int | None = None) -> list[Trial]:
    """Losses that follow the truth from step 5 on and contradict it before."""
    trials = []
    for i, truth in enumerate(TRUTH):
        losses = np.full(NUM_STEPS, 2.0)
        losses[:4] += 0.01 * truth
        losses[4:] -= 0.05 * truth
        losses += 0.1 * supernet
        if i == diverged:
            losses[6] = math.nan
        metrics = {"val_top1": truth, "val_loss": 1.0, "params": 5.0, "macs": 100.0 - truth}
        seconds = {"extract": 0.25, "train": 1.75, "val": 0.5}
        trials.append(
            Trial(
                i,
                Architecture("toy", (i,)),
                None if i == diverged else 1.0,
                {**metrics, **{f"seconds_{part}": s for part, s in seconds.items()}},
                2.5,
                "nan" if i == diverged else None,
                {"train_loss": tuple(losses)},
            )
        )
    return trials


def compared(names: list[str], trials: list[list[Trial]], **settings: Any) -> dict[str, Any]:
    result = compare_scores(
        [Score(name) for name in names],
        trials,
        TRUTH,
        notations=[f"arch {i}" for i in range(NUM_ARCHS)],
        **{"top_k": 3, "num_bootstrap": 50, "num_known": 10, "stability": 0.98, "seed": 0}
        | settings,
    )
    json.dumps(result, allow_nan=False)
    return result


def test_every_score_has_its_parts() -> None:
    assert set(PARTS) == {*SCORES, *BENCHMARK_SCORES}


def test_order_correlations_and_costs() -> None:
    result = compared(["macs", "params", "val_acc", "tse"], [trials_of(0), trials_of(1)])
    assert [each["name"] for each in result["estimators"]][:2] in (
        ["val_acc", "tse"],
        ["tse", "val_acc"],
    )
    by_name = {each["name"]: each for each in result["estimators"]}
    means = {name: each["metrics"]["spearman"]["mean"] for name, each in by_name.items()}
    assert means == pytest.approx({"val_acc": 1, "tse": 1, "params": 0, "macs": -1})
    assert {name: each["seconds"] for name, each in by_name.items()} == pytest.approx(
        {"val_acc": 0.75, "tse": 2.0, "params": 0, "macs": 0}
    )
    assert by_name["tse"]["num_steps"] == 7 and by_name["macs"]["num_steps"] is None
    curve = result["curves"]["tse"]
    assert curve["num_steps"] == [1, 2, 5, 7]
    # 4 steps of 0.01 against: after 5 the sum has 0.04 - 0.05
    assert curve["spearman"] == pytest.approx([-1, -1, 1, 1])
    assert curve["seconds"] == pytest.approx([2 / 7, 4 / 7, 10 / 7, 2])
    assert result["suggested_num_steps"] == {
        "num_steps": 5,
        "threshold": 0.98,
        "per_supernet": [5, 5],
        "largest": 7,
    }
    assert len(result["differences"]) == 12
    assert {each["metric"] for each in result["differences"][6:]} == {"top_k_mean"}
    pairs = {(each["a"], each["b"]): each["value"] for each in result["differences"][:6]}
    assert len(pairs) == 6 and min(pairs.values()) >= 0
    assert pairs["params", "macs"] == pytest.approx(1)
    assert result["race"]["is_same_top"] and len(result["race"]["share_saved"]) == 2
    assert result["archs"][3]["scores"]["macs"] == [100 - TRUTH[3]] * 2


def test_combined_is_judged_beside_its_parts() -> None:
    combined = compared(["tse", "macs", "tlmini"], [trials_of(0)])["combined"]
    assert combined["features"] == ["tse", "macs"]
    assert combined["spearman"]["mean"] > 0.95
    parts = {part["name"]: part for part in combined["parts"]}
    assert parts["macs"]["mean"] == pytest.approx(-1)
    assert parts["macs"]["difference"] == pytest.approx(combined["spearman"]["mean"] + 1)
    assert combined["spearman"]["per_supernet"] == [combined["spearman"]["mean"]]
    alone = compared(["tse"], [trials_of(0)])
    assert (alone["combined"], alone["combined_problem"]) == (None, "It needs two or more scores.")


@pytest.mark.parametrize(
    ("num_known", "problem"),
    [(22, "on the other 2, which are too few; 10 are needed."), (9, "at least 10 known truths")],
)
def test_a_combined_score_is_not_judged_on_a_handful(num_known: int, problem: str) -> None:
    result = compared(["tse", "macs"], [trials_of(0)], num_known=num_known)
    assert result["combined"] is None and problem in result["combined_problem"]
    least = compared(["tse", "macs"], [trials_of(0)], num_known=14)
    assert least["combined"]["num_unknown"] == 10 and least["combined_problem"] is None


def test_combined_of_several_supernets_is_their_mean() -> None:
    both = compared(["tse", "macs"], [trials_of(0), trials_of(1)])["combined"]
    single = [compared(["tse", "macs"], [trials_of(i)])["combined"] for i in (0, 1)]
    means = [each["spearman"]["mean"] for each in single]
    assert both["spearman"]["per_supernet"] == means
    assert both["spearman"]["mean"] == pytest.approx(np.mean(means))
    for part in both["parts"]:
        alone = [p for each in single for p in each["parts"] if p["name"] == part["name"]]
        for key in ("mean", "difference"):
            assert part[key] == pytest.approx(np.mean([each[key] for each in alone]))


def test_what_diverged_is_last_and_named() -> None:
    best = int(TRUTH.argmax())
    result = compared(["tse", "val_acc"], [trials_of(0), trials_of(1, diverged=best)])
    by_name = {each["name"]: each for each in result["estimators"]}
    assert by_name["tse"]["diverged"] == [f"arch {best}"]
    assert by_name["val_acc"]["diverged"] == []
    assert result["archs"][best]["scores"]["tse"][1] is None
    first, second = by_name["tse"]["metrics"]["spearman"]["per_supernet"]
    assert first["value"] == pytest.approx(1) and second["value"] < 0.9


def test_curves_are_features_whole_and_other_sums_of_them_are_none() -> None:
    trials = trials_of(0)
    features = combined_features([Score("tlmini"), Score("tse"), Score("val_loss")], trials)
    assert {name: table.shape for name, table in features.items()} == {
        "tse": (NUM_ARCHS, NUM_STEPS),
        "val_loss": (NUM_ARCHS,),
    }
    np.testing.assert_array_equal(features["tse"][2], -np.array(trials[2].curves["train_loss"]))
    alone = combined_features([Score("tlmini")], trials)
    np.testing.assert_array_equal(alone["tlmini"], [-t.curves["train_loss"][-1] for t in trials])


def test_epochs_of_trainings_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    few_draws = partial(comparison.lc_svr_correlations, num_draws=20)  # of 1000, for seconds each
    monkeypatch.setattr(comparison, "lc_svr_correlations", few_draws)
    rng = np.random.default_rng(1)
    trials = [
        Trial(
            i,
            Architecture("toy", (i,)),
            1.0,
            {},
            1.0,
            None,
            {
                "train_loss": (2 + 0.01 * truth, 1 - 0.02 * truth, 0.99 - 0.02 * truth, 0.5),
                "val_top1": tuple(rng.random(3)) + (truth,),
            },
        )
        for i, truth in enumerate(TRUTH)
    ]
    costs = np.ones((NUM_ARCHS, 2))
    found = compare_epochs(trials, costs, TRUTH, num_known=10, seed=0)
    assert found["epochs"] == [1, 2, 3, 4]
    assert found["spearman"]["TSE"] == pytest.approx([-1, 1, 1, 1])
    assert found["spearman"]["TSE-E"][:3] == pytest.approx([-1, 1, 1])
    assert found["spearman"]["VAccES"][3] == pytest.approx(1)
    assert found["spearman"]["LcSVR"][:2] == [None, None]
    assert found["effective_budget"] == 3
    json.dumps(found, allow_nan=False)
    for num_known in (5, 15):  # too few to fit to, too few to rank
        again = compare_epochs(trials, costs, TRUTH, num_known=num_known, seed=0)
        assert "LcSVR" not in again["spearman"]
