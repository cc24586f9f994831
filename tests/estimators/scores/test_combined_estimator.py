"""The combined score as an estimator: its file of known truths, and what it predicts from it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators.base import EstimateError
from estimators.scores.combined import CombinedScore
from estimators.scores.combined_estimator import CombinedEstimator, Reference
from estimators.scores.multi_score import Record
from estimators.scores.names import Score
from supernets.spaces import Architecture, SearchSpace

NUM_KNOWN = 40


class Pass:
    """Records two costs of which only macs says what an architecture is worth."""

    def __init__(self, problem: str | None = None) -> None:
        self.problem = problem

    def measure(self, arch: Architecture) -> Record:
        macs, params = (float(choice) for choice in arch.choices)
        return Record({"macs": macs, "params": params}, {}, {}, self.problem)


@pytest.fixture
def space(make_space: Callable[..., SearchSpace]) -> SearchSpace:
    return make_space(50, 50)


@pytest.fixture
def reference() -> Reference:
    rng = np.random.default_rng(0)
    macs, params = rng.permutation(50)[:NUM_KNOWN], rng.permutation(50)[:NUM_KNOWN]
    return Reference(
        digest="abc",
        settings={"tse_batches": 3},
        scores=[
            Score("macs"),
            Score("params"),
            Score("tse"),
            Score("tse_e", window=2),
            Score("tse_ema", gamma=0.5),
        ],
        features={
            "macs": macs.astype(np.float64),
            "params": params.astype(np.float64),
            "tse": rng.standard_normal((NUM_KNOWN, 3)),
        },
        truth=90 + macs / 10,
    )


def test_a_file_keeps_everything(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    reference.features["macs"][3] = math.nan
    reference.features["tse"][5] = math.nan
    reference.write(path)
    found = Reference.read(path)
    assert (found.digest, found.settings, found.scores) == (
        "abc",
        {"tse_batches": 3},
        reference.scores,
    )
    assert found.features.keys() == reference.features.keys()
    for name, table in reference.features.items():
        np.testing.assert_array_equal(found.features[name], table)
    np.testing.assert_array_equal(found.truth, reference.truth)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "is not a reference: .*No such file"),
        ("{", "is not a reference: Expecting property name"),
        ("[]", "is not a reference; expected reference.json of a ranking"),
        ('{"format": "other"}', "is not a reference"),
        ({"truth": ...}, "truth must be lists of finite numbers, got None"),
        ({"scores": [["tse"]]}, "scores must be names with window and gamma"),
        ({"scores": [["no_score", 1, 0.9]]}, "scores: Unknown score 'no_score'"),
        ({"features": {"macs": ["many"]}}, r"features must be \['macs', 'params', 'tse'\]"),
    ],
)
def test_other_files_are_refused(content, message, reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "reference.json"
    if isinstance(content, dict):
        reference.write(path)
        kept = {**json.loads(path.read_text()), **content}
        content = json.dumps({key: value for key, value in kept.items() if value is not ...})
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        Reference.read(path)


def test_any_value_of_a_reference_is_read_or_refused_in_a_line(
    edits: Callable[..., Any],
    is_refused: Callable[..., bool],
    reference: Reference,
    tmp_path: Path,
) -> None:
    path, num_refused = tmp_path / "reference.json", 0
    settings = {"tse_lr": 0.1, "tse_batch_size": 64, "val_batches": 2}
    recalibration = {"recalibration": {"num_batches": 3, "split": "train"}}
    Reference(
        **{**vars(reference), "settings": {**reference.settings, **settings, **recalibration}}
    ).write(path)
    for _, edited in edits(json.loads(path.read_text()), every=3):
        path.write_text(json.dumps(edited))

        def fit() -> None:
            found = Reference.read(path)
            scores = CombinedScore(found.features).fit(np.arange(NUM_KNOWN), found.truth)
            assert np.isfinite(scores).all()

        num_refused += is_refused(path, fit)
    assert num_refused > 70


def test_finds_out_which_score_matters(reference: Reference, space: SearchSpace) -> None:
    del reference.features["tse"]
    estimator = CombinedEstimator(
        Pass(), Reference(**{**vars(reference), "scores": reference.scores[:2]})
    )
    better, worse = (estimator.estimate(space.architecture(c)) for c in ([40, 2], [10, 48]))
    assert better.score > 0 > worse.score
    assert better.metrics == {"macs": 40, "params": 2, "combined": better.score}


def test_one_that_diverges_has_no_score(reference: Reference, space: SearchSpace) -> None:
    estimator = CombinedEstimator(Pass("loss is nan"), reference)
    with pytest.raises(EstimateError, match="loss is nan"):
        estimator.estimate(space.architecture([1, 1]))


def test_needs_enough_known_truths(reference: Reference) -> None:
    few = Reference(**{**vars(reference), "truth": reference.truth[:9]})
    with pytest.raises(ValueError, match="at least 10 architectures of known truth.* has 9"):
        CombinedEstimator(Pass(), few)


def test_costs_of_a_reference_from_before_are_said_to_be_the_benchmarks(
    reference: Reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "reference.json"
    reference.features["naswot"] = reference.features["macs"] + 1
    old = replace(reference, scores=[*reference.scores, Score("naswot")])
    old.write(path)
    found = Reference.read(path).as_measured_now("nasbench201", path)
    names = ["benchmark_macs", "benchmark_params", "tse", "tse_e", "tse_ema"]
    assert [score.name for score in found.scores] == names
    assert [*found.features] == names[:3]
    np.testing.assert_array_equal(found.features["benchmark_macs"], reference.features["macs"])
    assert "macs are the benchmark's (benchmark_macs)" in caplog.text
    assert "naswot is left out" in caplog.text
    caplog.clear()
    for kept, space in (
        (replace(old, revisions={"macs": 2, "params": 2, "naswot": 2}), "nasbench201"),
        (old, "mobilenetv3"),
    ):
        kept.write(path)
        read = Reference.read(path)
        assert read.as_measured_now(space, path) is read
    assert not caplog.text
    alone = replace(old, scores=[Score("naswot")], features={"naswot": old.features["naswot"]})
    with pytest.raises(ValueError, match="no score that is measured as it was; rank again"):
        alone.as_measured_now("nasbench201", path)
