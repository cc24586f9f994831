"""A whole search by gradients as a Python call: it is the command, and is continued."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import search.cli.search
from search import (
    GradientJob,
    SearchConfig,
    SearchJob,
    Stage,
    search_by_gradients,
    search_config,
)
from search.differentiable import loop
from search.runs.gradient_job import GradientBasics
from tests.own_frames import frames_to_forward

SMALL = {"channels": 4, "cells_per_stage": 1}
CONFIG = SearchConfig(gradient="tse-joint", tse_batches=2, seed=1, stages=search_config(
    "darts-tse").stages[:1])  # fmt: skip


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than small searches; tests of the command draw them."""
    monkeypatch.setattr(loop, "plot_search", lambda *_: None)


def job_of(epochs: int) -> GradientJob:
    config = replace(CONFIG, stages=(replace(CONFIG.stages[0], epochs=epochs),))
    recipe = GradientBasics("darts-tse").recipe(config, amp=False, given={})
    return GradientJob("darts-tse", config=config, recipe=recipe, network=SMALL, batch_size=200)


@pytest.mark.slow
def test_a_call_is_the_command_and_is_continued(tmp_path: Path) -> None:
    result = search_by_gradients(job_of(1), tmp_path / "a", device="cpu")
    assert result.training.is_finished and result.arch is not None
    best = json.loads((tmp_path / "a" / "best.json").read_text())
    assert best == {"status": "finished", **result.summary}
    flags = "--algorithm darts-tse --epochs 1 --tse-batches 2 --seed 1 --batch-size 200 --no-amp"
    flags += f" --channels 4 --cells-per-stage 1 --device cpu --output {tmp_path / 'b'}"
    ways = frames_to_forward(lambda: search.cli.search.main(flags.split()))
    (step,) = [way for way in ways if "add_gradients" in way]
    assert step[:2] == ("main", "search_by_gradients") and len(step) <= 8
    alphas = [(tmp_path / name / "alphas.csv").read_text() for name in "ab"]
    assert alphas[0] == alphas[1]
    again = search_by_gradients(job_of(1), tmp_path / "b", device="cpu")  # there is nothing to do
    assert again.summary["best"] == result.summary["best"]
    with pytest.raises(ValueError, match="other settings: .*epochs was 1 and is now 2"):
        search_by_gradients(job_of(2), tmp_path / "a", device="cpu")


def test_another_relaxation_and_gradient_are_recorded(tmp_path: Path) -> None:
    """As by --relaxation and --arch-gradient: the name alone does not say what was done."""
    config = search_config("gdas", given={"seed": 1})
    config = replace(config, stages=(replace(config.stages[0], epochs=1),))
    recipe = GradientBasics("darts-tse").recipe(config, amp=False, given={})
    job = GradientJob("darts-tse", config=config, recipe=recipe, network=SMALL, batch_size=600)
    search_by_gradients(job, tmp_path, device="cpu")
    best = json.loads((tmp_path / "best.json").read_text())
    named = best["algorithm"], best["relaxation"], best["arch_gradient"]
    assert named == ("darts-tse", "gumbel", "first-order")


def test_jobs_are_checked() -> None:
    assert GradientJob("gdas").settings == search_config("gdas")
    assert GradientJob("drnas").weights.epochs == 100
    for settings, message in (
        ({"algorithm": "evolution"}, "Unknown algorithm 'evolution'; choose from darts, darts-tse"),
        ({"space": "mobilenetv3"}, "Space 'mobilenetv3' has no network of all operations, which"),
        ({"network": {"bn_mode": "affine"}}, "leave bn_mode out"),
    ):
        with pytest.raises(ValueError, match=message):
            GradientJob(**settings)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"config": {"epochs": 1}}, "config must be a SearchConfig or None, got {'epochs': 1}"),
        ({"network": [8]}, r"network must be a Mapping, got \[8\]; {'channels': 8} is one"),
        ({"network": {"channels": "4"}}, "channels must be a whole number, got '4'"),
        ({"data": "digits"}, "data must be a DataConfig, got 'digits'"),
        ({"network": {"chanels": 4}}, r"have no chanels; .* did you mean channels\?"),
    ],
)
def test_jobs_of_other_things_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradientJob(**fields)


def test_a_job_that_asks_and_tells_is_refused(tmp_path: Path) -> None:
    job: Any = SearchJob(supernet=Path("x"))
    with pytest.raises(ValueError, match="job must be a GradientJob, got a SearchJob; a SearchJob"):
        search_by_gradients(job, tmp_path / "run")
    text: Any = "darts"
    with pytest.raises(ValueError, match="got 'darts'; GradientJob"):
        search_by_gradients(text, tmp_path / "run")


def test_stages_are_stages() -> None:
    stages: Any = [3]
    with pytest.raises(ValueError, match="stages must be a list of Stage objects, got 3 in it"):
        SearchConfig(stages=stages)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"given": {"nope": 3}}, "have no nope; there are relaxation, gradient, tse_batches"),
        ({"given": 3}, "given must be a Mapping or None, got 3; {'alpha_lr'"),
        ({"given": {"stages": (Stage(3),)}}, "Stages are given as stages=StageOptions"),
        ({"stages": 3}, r"stages must be a StageOptions or None, got 3; StageOptions\("),
    ],
)
def test_settings_of_other_names_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search_config("darts", **given)
