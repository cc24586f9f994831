"""Rankings in Python: what they find, that they go on, and what they refuse before any work."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators.benchmarks.tabular import TabularEstimator
from estimators.rank_metrics import spearman
from estimators.ranking.ranking import rank_scores
from estimators.ranking.result import Ranking, RankingError
from estimators.ranking.settings import ComparisonSettings, TableTruthSettings
from estimators.ranking.supernets import RankedSupernet
from estimators.ranking.truth import Truth
from estimators.scores.combined_estimator import Reference
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.settings import MultiScoreSettings
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.spaces import Architecture

SETTINGS = MultiScoreSettings(batch_size=10, num_batches=2)
COMPARISON = ComparisonSettings(top_k=2, num_bootstrap=20)
WINDOWS = ComparisonSettings(macs_windows=(1e6,), macs_tolerance=0.999999, num_bootstrap=20)


@pytest.fixture
def ranked(
    make_supernet: Callable[..., Supernet], make_loaders: Callable[..., Loaders]
) -> RankedSupernet:
    return RankedSupernet(make_supernet(), make_loaders(seed=0), "seed 0")


@pytest.fixture
def archs(ranked: RankedSupernet) -> list[Architecture]:
    """Six of distinct MACs."""
    rng, space, costs = np.random.default_rng(0), ranked.supernet.space, CostModel(ranked.supernet)
    drawn = {costs.measure(arch).macs: arch for arch in (space.sample(rng) for _ in range(40))}
    return list(drawn.values())[:6]


@pytest.fixture
def rank(
    ranked: RankedSupernet, archs: list[Architecture], tmp_path: Path
) -> Callable[..., Ranking]:
    """Ranks by MACs, against the truth that more of them are better."""
    costs = CostModel(ranked.supernet)
    truth = {arch: float(costs.measure(arch).macs) for arch in archs}

    def run(scores: Any = ("tse", "macs"), **others: Any) -> Ranking:
        given: dict[str, Any] = {
            "supernets": [ranked],
            "archs": archs,
            "truth": truth,
            "output": tmp_path / "run",
            "settings": SETTINGS,
            "comparison": COMPARISON,
        }
        return rank_scores(scores=scores, **{**given, **others})

    return run


def test_what_is_ranked_by_its_truth_is_ranked_perfectly(
    rank: Callable[..., Ranking], archs: list[Architecture], tmp_path: Path
) -> None:
    ranking = rank(command="in Python")
    assert ranking.spearman["macs"] == pytest.approx(1)
    assert list(ranking.spearman)[0] == "macs" and set(ranking.spearman) == {"macs", "tse"}
    assert ranking.result["truth"]["source"] == "given values"
    assert [each["name"] for each in ranking.result["supernets"]] == ["seed 0"]
    run = tmp_path / "run"
    assert json.loads((run / "ranking.json").read_text()) == ranking.result
    assert Reference.read(run / "reference.json").truth.tolist() == ranking.reference.truth.tolist()
    assert "in Python" in (run / "report.html").read_text()
    assert (run / "ranking.csv").exists()


def test_measurements_are_kept_and_not_made_again(
    rank: Callable[..., Ranking], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = rank(args={"top_k": 2})
    assert json.loads((tmp_path / "run" / "args.json").read_text())["args"] == {"top_k": 2}
    monkeypatch.setattr(MultiScoreEstimator, "measure", lambda *_: pytest.fail("measured again"))
    again = rank()
    assert again.result["archs"] == first.result["archs"]
    with pytest.raises(ValueError, match="was written with other settings: .*estimators was"):
        rank(("tse",))


def test_what_does_not_go_together_is_refused_and_nothing_is_written(
    rank: Callable[..., Ranking],
    ranked: RankedSupernet,
    archs: list[Architecture],
    make_supernet: Callable[..., Supernet],
    tmp_path: Path,
) -> None:
    other = dataclasses.replace(ranked, supernet=make_supernet("nasnet"), name="other")
    truth = dict.fromkeys(archs, 1.0)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"supernets": []}, "no supernet to rank"),
        ({"supernets": [ranked, other]}, "other is of space 'nasnet', seed 0 of 'nasbench201'"),
        ({"scores": []}, "There is no score to compare"),
        ({"scores": ["flops"], "comparison": ComparisonSettings(top_k=6)}, "Unknown score 'flops'"),
        ({"device": "tpu"}, "Unknown device 'tpu'; this machine has cpu"),
        ({"output": 5}, "output must be a path or text, got 5"),
        ({"amp": "x"}, "amp must be True or False, got 'x'"),
        ({"truth": {**truth, archs[0]: "a"}}, "Values of the truth must be numbers, got 'a'"),
        ({"archs": archs[:1]}, "A ranking is of two architectures at least, got 1"),
        ({"comparison": ComparisonSettings(top_k=6)}, "--top-k must be less than the 6 arch"),
        ({"archs": [*archs, archs[0]]}, "An architecture is given twice"),
        ({"truth": {archs[0]: 1.0}}, "The truth lacks 5 of 6 architectures"),
        ({"truth": dict.fromkeys(archs, math.nan)}, "6 values of the truth .* are not finite"),
        ({"truth": {**truth, archs[3]: math.inf}}, "1 value of the truth .* is not finite"),
        ({"scores": ["flops"]}, "Unknown score 'flops'"),
        ({"comparison": WINDOWS}, "of these 6, .* MACs, there are 6 in .* rank more, draw them"),
        ({"settings": MultiScoreSettings()}, "have 10 images, those of the settings 64"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            rank(**given)
    assert not (tmp_path / "run").exists()


def test_too_few_that_could_be_measured_are_no_ranking(
    rank: Callable[..., Ranking], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(self: MultiScoreEstimator, arch: Architecture) -> Any:
        raise MemoryError("too large")

    monkeypatch.setattr(MultiScoreEstimator, "measure", too_large)
    with pytest.raises(RankingError, match="6 have a truth and 0 could be measured, too few"):
        rank()


def test_a_truth_says_where_it_is_from(rank: Callable[..., Ranking], archs: Any) -> None:
    table = TabularEstimator({arch: 20.0 + 10 * i for i, arch in enumerate(archs)}, "top1").values
    ranking = rank(truth=Truth("a table", "%", table, test_images=100))
    assert ranking.result["truth"]["source"] == "a table"
    assert 0 < ranking.result["noise_ceiling"]["by_test_set"] <= 1


def test_columns_of_seeds_are_two_or_more() -> None:
    for columns in (("a",), ("a", "a")):
        with pytest.raises(ValueError, match="must be two or more different columns, got a"):
            TableTruthSettings(Path("t.csv"), "c", seed_columns=columns)


def test_arguments_of_another_kind_are_refused(
    rank: Callable[..., Ranking], ranked: RankedSupernet
) -> None:
    for wrong in ([ranked.supernet], ranked):
        with pytest.raises(ValueError, match="supernets must be a list of RankedSupernet objects"):
            rank(supernets=wrong)
    with pytest.raises(ValueError, match=r"scores must be a list of texts, got 'tse'; "):
        rank("tse")


def test_a_supernet_is_one_with_loaders(ranked: RankedSupernet) -> None:
    wrong: Any = "x"
    with pytest.raises(ValueError, match="supernet must be a Supernet, got 'x'; load_supernet"):
        RankedSupernet(wrong, ranked.loaders)
    with pytest.raises(ValueError, match="loaders must be a Loaders, got 'x'; create_loaders"):
        RankedSupernet(ranked.supernet, wrong)


def test_half_of_few_architectures_are_the_top_and_the_call_is_recorded(
    rank: Callable[..., Ranking],
    ranked: RankedSupernet,
    archs: list[Architecture],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    found = rank(["macs", "params"], comparison=ComparisonSettings(num_bootstrap=20), device="auto")
    assert found.result["top_k"] == 3
    assert [text for text in caplog.messages if "top_k" in text] == [
        "The top are 3 of the 6 architectures; --top-k, or top_k, chooses another number."
    ]
    asked = json.loads((tmp_path / "run" / "args.json").read_text())["args"]
    assert asked["supernets"] == [{"name": "seed 0", "path": None}]
    assert asked["archs"] == [ranked.supernet.space.format(arch) for arch in archs]
    assert (asked["amp"], asked["comparison"]["top_k"]) == (False, 3)


@pytest.fixture
def many(ranked: RankedSupernet) -> list[Architecture]:
    """Thirty, whose MACs may be the same."""
    rng, space = np.random.default_rng(1), ranked.supernet.space
    return list({space.sample(rng): None for _ in range(40)})[:30]


def test_windows_of_macs_are_compared_and_told(
    rank: Callable[..., Ranking],
    ranked: RankedSupernet,
    many: list[Architecture],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level("INFO")
    macs = np.array([CostModel(ranked.supernet).measure(arch).macs for arch in many])
    truth = {arch: float(i) for i, arch in enumerate(many)}
    target = float(np.median(macs))
    inside = np.abs(macs - target) <= 0.3 * target
    assert 10 <= inside.sum() < 30
    comparison = dataclasses.replace(COMPARISON, macs_windows=(target,), macs_tolerance=0.3)
    found = rank(["macs", "params"], archs=many, truth=truth, comparison=comparison).result
    (window,) = found["macs_windows"]["windows"]
    assert window["num_archs"] == inside.sum()
    assert len(found["macs_windows"]["outside"]) == 30 - inside.sum()
    values, costs = np.arange(30.0)[inside], macs[inside]
    assert window["truth"]["best"] == values.max()
    regret = values.max() - values[costs == costs.max()].mean()
    own = next(each for each in window["estimators"] if each["name"] == "macs")
    assert own["metrics"]["regret"]["mean"] == pytest.approx(regret)
    assert own["metrics"]["spearman"]["mean"] == pytest.approx(spearman(costs, values))
    told = [text for text in caplog.messages if "indow" in text or "ithin" in text]
    assert told[0].endswith(f"are {inside.sum()} of 30 architectures.")
    assert told[1] == f"In no window: {30 - inside.sum()} architectures."
    assert f"of {inside.sum()} architectures: Spearman of params" in told[2]
    # the same measurements can be compared without windows, and with others
    plain = rank(["macs", "params"], archs=many, truth=truth).result
    assert "macs_windows" not in plain
    auto = dataclasses.replace(COMPARISON, macs_windows=("auto",), macs_tolerance=0.9)
    again = rank(["macs", "params"], archs=many, truth=truth, comparison=auto).result
    quartiles = [each["target"] for each in again["macs_windows"]["windows"]]
    assert quartiles == sorted(set(quartiles)) and set(quartiles) <= set(macs)
    assert json.loads((tmp_path / "run" / "ranking.json").read_text()) == again
