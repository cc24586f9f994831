"""Estimators by name: what each needs, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from estimators.benchmarks.tabular import TabularEstimator
from estimators.factory import ESTIMATORS, create_estimator
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.names import COST_SCORES, PROXY_SCORES, Score
from estimators.scores.tse import TSEEstimator
from supernets.data.loaders import Loaders
from supernets.training.standalone_config import RetrainConfig

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def inputs(
    make_one_weight_supernet: Callable[..., Any],
    make_pixels: Callable[..., Batches],
    make_loaders: Callable[..., Loaders],
    write_table: Callable[[str], Path],
    tmp_path: Path,
) -> dict[str, Any]:
    """Something of everything."""
    supernet = make_one_weight_supernet(0.0, 1.0)
    return {
        "supernet": supernet,
        "train_batches": make_pixels([1.0, 2.0], *[[1.0]] * 99),
        "val_batches": make_pixels([1.0], [2.0]),
        "recalibrate_batches": make_pixels([1.0]),
        "num_batches": 2,
        "lr": 0.25,
        "race_for": 2,
        "window": 2,
        "gamma": 0.5,
        "loaders": dataclasses.replace(make_loaders(), num_classes=2, input_size=(1, 1, 1)),
        "recipe": RetrainConfig(epochs=3, stop_after=2),
        "output": tmp_path,
        "score": Score("tse_e", window=2),
        "table": write_table("arch_str,other,top1\n0,1,50\n,0,60\n"),
        "arch_column": "other",
        "value_column": "top1",
        "space": supernet.space,
    }


TRAINED = ("num_batches", "lr", "space")
NEEDS: dict[str, tuple[str, ...]] = {
    "tse": ("supernet", "train_batches"),
    "tse_e": ("supernet", "train_batches"),
    "tse_ema": ("supernet", "train_batches"),
    "tlmini": ("supernet", "train_batches"),
    "sovl": ("supernet", "train_batches", "val_batches"),
    "val_acc": ("supernet", "val_batches"),
    "val_loss": ("supernet", "val_batches"),
    "val_acc_after": ("supernet", "train_batches", "val_batches"),
    "val_loss_after": ("supernet", "train_batches", "val_batches"),
    **{name: ("supernet", "train_batches") for name in PROXY_SCORES},
    "params": ("supernet",),
    "macs": ("supernet",),
    "from_scratch": ("supernet", "loaders", "recipe", "output", "score"),
    "table": ("table", "value_column", "space"),
}
TAKES: dict[str, tuple[str, ...]] = {
    "tse": (*TRAINED, "race_for"),
    "tse_e": (*TRAINED, "window"),
    "tse_ema": (*TRAINED, "gamma"),
    "tlmini": TRAINED,
    "sovl": TRAINED,
    "val_acc": ("recalibrate_batches", "space"),
    "val_loss": ("recalibrate_batches", "space"),
    "val_acc_after": (*TRAINED, "recalibrate_batches"),
    "val_loss_after": (*TRAINED, "recalibrate_batches"),
    **{name: ("space",) for name in (*PROXY_SCORES, *COST_SCORES)},
    "from_scratch": (),
    "table": ("arch_column",),
}


def pick(inputs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: inputs[name] for name in names}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_name_builds_an_estimator_of_that_name(name: str, inputs: dict[str, Any]) -> None:
    if name == "table":  # its rows without an architecture are read under another column only
        inputs["table"].write_text("arch_str,other,top1\n0,1,50\n1,0,60\n")
    estimator = create_estimator(name, **pick(inputs, *NEEDS[name]))
    assert estimator.name == name
    # those look at convolutions, or at images of another size
    if name not in (*PROXY_SCORES, "from_scratch"):
        estimator.estimate(inputs["space"].architecture([1]))


@pytest.mark.parametrize(("name", "missing"), [(n, key) for n in NEEDS for key in NEEDS[n]])
def test_what_is_needed_must_be_given(name: str, missing: str, inputs: dict[str, Any]) -> None:
    given = pick(inputs, *(key for key in NEEDS[name] if key != missing))
    with pytest.raises(ValueError, match=f"^Estimator '{name}' needs {missing}.$"):
        create_estimator(name, **given)


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="needs table, value_column, space"):
        create_estimator("table")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_does_not_apply_must_be_left_out(name: str, inputs: dict[str, Any]) -> None:
    for key in inputs.keys() - {*NEEDS[name], *TAKES[name]}:
        with pytest.raises(ValueError, match=f"'{name}' does not use {key}; leave it out"):
            create_estimator(name, **pick(inputs, *NEEDS[name], key))


def test_settings_of_tse_arrive(inputs: dict[str, Any]) -> None:
    given = pick(inputs, *NEEDS["tse"])
    default = create_estimator("tse", **given)
    assert isinstance(default, TSEEstimator)
    training = default.training
    assert (len(training.batches), training.lr, training.amp) == (100, 0.001, False)
    other = create_estimator("tse", **given, num_batches=2, lr=0.25, device="cpu", amp=True)
    assert isinstance(other, TSEEstimator)
    training = other.training
    assert (len(training.batches), training.lr, training.amp) == (2, 0.25, True)
    assert other.device == torch.device("cpu")


@pytest.mark.parametrize("key", ["num_batches", "lr"])
def test_zero_is_a_value_to_refuse_not_to_replace_by_the_default(
    key: str, inputs: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        create_estimator("tse", **pick(inputs, *NEEDS["tse"]), **{key: 0})


def test_settings_of_val_acc_arrive(inputs: dict[str, Any]) -> None:
    given = pick(inputs, *NEEDS["val_acc"])
    default = create_estimator("val_acc", **given)
    assert isinstance(default, ValAccuracyEstimator)
    assert (default.recalibrate_batches, default.amp) == (None, False)
    other = create_estimator(
        "val_acc", **given, recalibrate_batches=inputs["recalibrate_batches"], amp=True
    )
    assert isinstance(other, ValAccuracyEstimator)
    assert other.recalibrate_batches is not None
    assert (len(other.recalibrate_batches), other.amp) == (1, True)


def test_settings_of_from_scratch_arrive(inputs: dict[str, Any]) -> None:
    given = pick(inputs, *NEEDS["from_scratch"])
    found = create_estimator("from_scratch", **given, device="cpu")
    assert isinstance(found, FromScratchEstimator)
    assert (found.config, found.output, found.score) == (
        given["recipe"],
        given["output"],
        given["score"],
    )
    assert found.device == torch.device("cpu")


def test_settings_of_the_table_arrive(inputs: dict[str, Any]) -> None:
    table = create_estimator("table", **pick(inputs, *NEEDS["table"], *TAKES["table"]))
    assert isinstance(table, TabularEstimator)
    assert {arch.choices: value for arch, value in table.values.items()} == {(1,): 50, (0,): 60}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown estimator 'flops'; choose from tse, tse_e, "):
        create_estimator("flops")
