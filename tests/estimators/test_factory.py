"""Estimators by name: what each needs, how its settings arrive, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from estimators.benchmarks.tabular import TabularEstimator
from estimators.factory import create_described_estimator, create_estimator
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.minibatches import Minibatches
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.multi_score_factory import create_multi_score
from estimators.scores.names import PROXY_SCORES, Score
from estimators.scores.registry import ESTIMATORS
from estimators.scores.settings import (
    EstimatorSettings,
    ExtraStepsSettings,
    FromScratchSettings,
    MultiScoreSettings,
    ProxySettings,
    TableSettings,
    TSEEMASettings,
    TSEESettings,
    TSESettings,
    ValSettings,
)
from estimators.scores.tse import TSEEstimator
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet

Batches = list[tuple[Tensor, Tensor]]
#: Those that are built from single minibatches, or none at all.
OF_MINIBATCHES = [name for name in ESTIMATORS if name not in ("from_scratch", "table", "combined")]


@pytest.fixture
def inputs(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> dict[str, Any]:
    """A supernet and minibatches of one pixel."""
    train = make_pixels([1.0, 2.0], *[[1.0]] * 99)
    data = Minibatches(train, make_pixels([1.0], [2.0]))
    return {"supernet": make_one_weight_supernet(0.0, 1.0), "data": data}


@pytest.fixture
def table(write_table: Callable[[str], Path]) -> TableSettings:
    return TableSettings(write_table("arch_str,other,top1\n0,1,50\n1,0,60\n"), "top1")


@pytest.fixture
def loaders(make_loaders: Callable[..., Loaders]) -> Loaders:
    return dataclasses.replace(make_loaders(), num_classes=2, input_size=(1, 1, 1))


@pytest.mark.parametrize("name", OF_MINIBATCHES)
def test_every_name_builds_an_estimator_of_that_name(name: str, inputs: dict[str, Any]) -> None:
    estimator = create_estimator(name, **inputs)
    assert estimator.name == name
    if name not in PROXY_SCORES:  # those look at convolutions, or at images of another size
        estimator.estimate(inputs["supernet"].space.architecture([1]))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_needed_must_be_given(name: str, inputs: dict[str, Any], tmp_path: Path) -> None:
    settings = {
        "from_scratch": {"epochs": 1, "folder": tmp_path},
        "table": {"table": tmp_path / "t.csv", "column": "c"},
        "combined": {"reference": tmp_path / "r.json"},
    }.get(name, {})
    made: EstimatorSettings = ESTIMATORS[name].settings(**settings)
    with pytest.raises(ValueError, match=f"^Estimator '{name}' needs {', '.join(made.needs)}.$"):
        create_estimator(name, made)
    if "train minibatches" in made.needs:
        less = {**inputs, "data": Minibatches(val=inputs["data"].val)}
        with pytest.raises(ValueError, match=f"'{name}' needs train minibatches.$"):
            create_estimator(name, made, **less)
    if "loaders as data" in made.needs:
        with pytest.raises(ValueError, match=f"'{name}' needs loaders as data.$"):
            create_estimator(name, made, **inputs)


def test_settings_of_another_estimator_are_refused(inputs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="^Estimator 'tse_e' takes TSEESettings, got TSESettings"):
        create_estimator("tse_e", TSESettings(), **inputs)
    with pytest.raises(ValueError, match="^Estimator 'snip' takes ProxySettings, got Extra"):
        create_estimator("snip", ExtraStepsSettings(), **inputs)


def test_settings_of_tse_arrive(inputs: dict[str, Any]) -> None:
    default = create_estimator("tse", **inputs)
    assert isinstance(default, TSEEstimator)
    training = default.training
    assert (len(training.batches), training.lr, training.amp) == (100, 0.001, False)
    settings = TSESettings(num_batches=2, lr=0.25)
    other = create_estimator("tse", settings, **inputs, device="cpu", amp=True)
    assert isinstance(other, TSEEstimator)
    training = other.training
    assert (len(training.batches), training.lr, training.amp) == (2, 0.25, True)
    assert other.device == torch.device("cpu")


def test_window_and_decay_arrive(inputs: dict[str, Any]) -> None:
    window = create_estimator("tse_e", TSEESettings(num_batches=9, window=4), **inputs)
    decay = create_estimator("tse_ema", TSEEMASettings(gamma=0.5), **inputs)
    assert isinstance(window, MultiScoreEstimator) and isinstance(decay, MultiScoreEstimator)
    assert window.score == Score("tse_e", window=4)
    assert decay.score == Score("tse_ema", gamma=0.5)
    with pytest.raises(ValueError, match="0.3epochs is in epochs, whose length is not known here"):
        create_estimator("tse_e", TSEESettings(window="0.3epochs"), **inputs)


def test_recalibration_of_val_acc_arrives(inputs: dict[str, Any]) -> None:
    default = create_estimator("val_acc", **inputs)
    assert isinstance(default, ValAccuracyEstimator)
    assert (default.recalibrate_batches, default.amp) == (None, False)
    data = dataclasses.replace(inputs["data"], recalibrate=inputs["data"].train[:1])
    other = create_estimator("val_acc", supernet=inputs["supernet"], data=data, amp=True)
    assert isinstance(other, ValAccuracyEstimator)
    assert other.recalibrate_batches is not None
    assert (len(other.recalibrate_batches), other.amp) == (1, True)


def test_settings_of_from_scratch_arrive_and_are_described(
    inputs: dict[str, Any], loaders: Loaders, tmp_path: Path
) -> None:
    settings = FromScratchSettings(
        epochs=2, schedule_epochs=3, lr=0.2, batch_size=10, score="tse_e", folder=tmp_path
    )
    found, described = create_described_estimator(
        "from_scratch", settings, supernet=inputs["supernet"], data=loaders
    )
    assert isinstance(found, FromScratchEstimator)
    recipe = found.config
    assert (recipe.epochs, recipe.stop_after, recipe.lr) == (3, 2, 0.2)
    assert (found.output, found.score) == (tmp_path, Score("tse_e", window=1))
    assert len(described.pop("trainings")) == 64
    assert described == {
        "name": "from_scratch",
        "score": "tse_e",
        "window": 1,
        "window_unit": "epochs",
        "epochs": 2,
        "schedule_epochs": 3,
        "lr": 0.2,
        "batch_size": 10,
        "device": "cpu",
        "amp": False,
    }
    with pytest.raises(ValueError, match="'from_scratch' needs a folder for its trainings"):
        create_estimator(
            "from_scratch",
            dataclasses.replace(settings, folder=None),
            supernet=inputs["supernet"],
            data=loaders,
        )


def test_the_table_is_read_and_described(inputs: dict[str, Any], table: TableSettings) -> None:
    space = inputs["supernet"].space
    found, described = create_described_estimator(
        "table", dataclasses.replace(table, arch_column="other"), space=space
    )
    assert isinstance(found, TabularEstimator)
    assert {arch.choices: value for arch, value in found.values.items()} == {(1,): 50, (0,): 60}
    assert described == {
        "name": "table",
        "table": "table.csv",
        "table_digest": found.digest,
        "table_column": "top1",
        "arch_column": "other",
    }
    assert create_described_estimator("table", table, space=space)[1]["arch_column"] == "arch_str"


def test_loaders_are_drawn_from_and_described(
    make_supernet: Callable[..., Supernet], make_loaders: Callable[..., Loaders]
) -> None:
    supernet, loaders = make_supernet(), make_loaders(seed=0)
    steps: dict[str, Any] = {"batch_size": 10, "num_batches": 2, "lr": 0.1, "kernels": "off"}
    machine = {"device": "cpu", "amp": False}
    drawn = {"tse_batch_size": 10, "tse_batches": 2, "tse_lr": 0.1}
    cases: list[tuple[str, EstimatorSettings, dict[str, Any]]] = [
        ("tse", TSESettings(**steps, race_for=5), {**drawn, "race_for": 5}),
        (
            "tse_e",
            TSEESettings(**steps, window="0.5epochs"),
            {**drawn, "window": 2, "window_unit": "minibatches"},
        ),
        (
            "tse_ema",
            TSEEMASettings(**steps),
            {**drawn, "gamma": 0.999, "gamma_unit": "minibatch"},
        ),
        ("val_acc", ValSettings(1), {"val_batches": 1, "recalibration": None}),
        ("synflow", ProxySettings(10), {"tse_batch_size": 10}),
        ("macs", EstimatorSettings(), {}),
    ]
    for name, settings, expected in cases:
        _, described = create_described_estimator(name, settings, supernet=supernet, data=loaders)
        assert described == {"name": name, **expected, **machine}
    recalibrated = ValSettings(1, 2)
    estimator, described = create_described_estimator(
        "val_loss", recalibrated, supernet=supernet, data=loaders
    )
    assert isinstance(estimator, MultiScoreEstimator) and estimator.val is not None
    assert estimator.val.recalibrate_batches is not None
    assert [len(y) for _, y in estimator.val.recalibrate_batches] == [10, 10]
    assert described["recalibration"] == {
        "split": "train",
        "transforms": "those of the test split",
        "num_batches": 2,
        "num_images": 20,
        "seed": 0,
    }


def test_minibatches_of_another_size_than_the_settings_are_refused(
    make_supernet: Callable[..., Supernet], make_loaders: Callable[..., Loaders]
) -> None:
    supernet, loaders = make_supernet(), make_loaders()
    message = "have 10 images, those of the settings 64; create the data with batch_size=64"
    with pytest.raises(ValueError, match=message):
        create_estimator("tse", supernet=supernet, data=loaders)
    with pytest.raises(ValueError, match=message):
        create_multi_score(["macs", "snip"], supernet=supernet, data=loaders)
    create_multi_score(["macs", "val_acc"], MultiScoreSettings(), supernet=supernet, data=loaders)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown estimator 'flops'; choose from tse, tse_e, "):
        create_estimator("flops")
