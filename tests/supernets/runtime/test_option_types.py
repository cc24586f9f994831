"""Kinds of values of options: numbers in range, paths, names."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import supernets.runtime.option_types as kinds
from search.differentiable.search_config import SearchConfig, Stage
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.networks.factory import create_supernet
from supernets.training.standalone_config import RetrainConfig
from supernets.training.supernet_config import TrainConfig


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (kinds.SEED, "010", 10),
        (kinds.CELLS, " 8 ", 8),
        (kinds.NON_NEGATIVE, "5e-4", 5e-4),
        (kinds.PROBABILITY, "1", 1.0),
        (kinds.NON_NEGATIVE, "60e6", 60e6),
    ],
)
def test_numbers_are_read(kind: kinds.Whole | kinds.Real, text: str, value: float) -> None:
    assert kind(text) == value
    kind.check("x", value)
    kind.check("x", np.asarray(value)[()])


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (kinds.POSITIVE_INT, "0", "must be at least 1, got 0"),
        (kinds.NON_NEGATIVE_INT, "-1", "must not be negative, got -1"),
        (kinds.POSITIVE_INT, "1.0", "must be a whole number, got '1.0'"),
        (kinds.POSITIVE_INT, "", "must be a whole number, got ''"),
        (kinds.SEED, str(2**32), "must be at most 4294967295"),
        (kinds.POSITIVE_INT, "9" * 5000, "must be a whole number"),
        (kinds.FRACTION, "nan", "must be between 0 and 1, got nan"),
        (kinds.FRACTION, "1", "must be between 0 and 1, got 1"),
        (kinds.RATE, "1", "must be from 0 to less than 1, got 1"),
        (kinds.POSITIVE, "inf", "must be a finite number, got inf"),
        (kinds.NON_NEGATIVE, "1e308", r"must be at most 1e\+18, got 1e308"),
        (kinds.ALPHA, "1e308", "must be from 0 to 1000, got 1e308"),
        (kinds.POSITIVE, "abc", "must be a number, got 'abc'"),
    ],
)
def test_other_numbers_are_refused_in_a_line(
    kind: kinds.Whole | kinds.Real, text: str, message: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message) as caught:
        kind(text)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("1h30m", 5400), ("90m", 5400), ("2d", 172800), ("0.5h", 1800), ("45", 45)],
)
def test_times_are_read_in_hours_minutes_and_seconds(text: str, seconds: float) -> None:
    assert kinds.DURATION(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "4 h", "h", "0", "-1h", "1m1h", "nan", "1e999", "9e9"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be"):
        kinds.DURATION(text)


def test_paths_have_the_users_home_for_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert kinds.path("~/x") == Path("/home/someone/x")
    assert kinds.path("a/~/x") == Path("a/~/x")
    assert kinds.architecture("~/best.json") == "/home/someone/best.json"
    assert kinds.architecture("|none~0|") == "|none~0|"


@pytest.mark.parametrize("text", ["", " ", "\0", "a\0b", "x" * 300, "x/" * 3000])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be"):
        kinds.path(text)


def test_names_are_a_line_of_text() -> None:
    assert kinds.name("cifar10_test acc") == "cifar10_test acc"
    for text in ("", "\t", "a\nb", "a\0"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a name"):
            kinds.name(text)


@pytest.mark.parametrize("config", [TrainConfig(), RetrainConfig(), SearchConfig(), Stage(1)])
def test_recipes_refuse_every_number_that_is_none(config: object) -> None:
    for name, value in vars(config).items():
        if isinstance(value, bool | str | tuple):
            continue
        for wrong in (math.nan, math.inf, -math.inf, 10**400, 1e308, -1, "1", True, [1]):
            with pytest.raises(ValueError, match="must|needs|no opt|cannot|has no"):
                type(config)(**{**vars(config), name: wrong})


@pytest.mark.parametrize("name", ["image_size", "val_fraction", "batch_size", "seed", "cutout"])
def test_data_refuse_every_number_that_is_none(name: str) -> None:
    for wrong in (math.nan, math.inf, -1, 10**30, "1", True):
        with pytest.raises(ValueError, match=f"{name} must"):
            if name in {field.name for field in fields(DataConfig)}:
                DataConfig(**{name: wrong})
            create_loaders("digits", **{name: wrong})


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        ("nasbench201", {"channels": 10**12}, "channels must be at most"),
        ("nasbench201", {"cells_per_stage": 10**30}, "cells_per_stage must be at most"),
        ("nasnet", {"layers": 10**9}, "layers must be at most"),
        ("darts", {"channels": 1e30}, "channels must be a whole number"),
        ("mobilenetv3", {"width": 1e30}, "width must be above 0 and at most 16"),
        ("mobilenetv3", {"input_size": (3, 10**9, 10**9)}, "input_size must be at most"),
        ("nasbench201", {"channels": 4096, "cells_per_stage": 64}, "must fit in the"),
        ("mobilenetv3", {"strides": 7}, "strides must be a list"),
    ],
)
def test_sizes_are_bounded_before_anything_is_allocated(
    space: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create_supernet(space, **{"num_classes": 10, **settings})
