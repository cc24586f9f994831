"""Levels as text, and measurements as points of a space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estimators.scores.settings import TSESettings, ValSettings
from estimators.trials.store import Trial, TrialStore
from search.staged.levels import (
    LevelledSpace,
    TableLevel,
    TrainLevel,
    read_level,
    read_levels,
    sizes_for,
)
from supernets.spaces import NASBench201Space
from supernets.spaces.factory import create_space


def test_a_level_is_an_estimator_with_its_settings() -> None:
    level = read_level("tse:num_batches=10,lr=0.01")
    assert level.settings == TSESettings(num_batches=10, lr=0.01) and level.is_inherited
    level = read_level("val_acc:num_recalibrate_batches=4")
    assert level.settings == ValSettings(num_recalibrate_batches=4)
    assert read_level("macs").settings == type(read_level("macs").settings)()


def test_a_level_is_a_training_with_sizes_of_the_network() -> None:
    level = read_level("train:epochs=2,image_size=16,num_train=500,channels=8,cells_per_stage=3")
    assert level.settings == TrainLevel(epochs=2, image_size=16, num_train=500)
    assert sizes_for(level, "nasbench201") == {"channels": 8, "cells_per_stage": 3}
    assert not level.is_inherited
    assert read_level("table:column=a,seconds=7").settings == TableLevel("a", 7.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tsee", r"Level 'tsee': there is no 'tsee'; choose from train, table, tse"),
        ("traim:epochs=1", r"there is no 'traim'; choose from train"),
        ("mine.py:OBJECT:a=1", r"mine.py"),
        ("tse:batches=10", r"unknown setting 'batches'; it has batch_size, num_batches"),
        ("tse:num_batches=0", r"Level 'tse:num_batches=0': num_batches must be at least 1"),
        ("tse:num_batches=ten", r"num_batches must be a whole number, got 'ten'"),
        ("tse:num_batches", r"settings are key=value, each once and with commas between"),
        ("tse:lr=1,lr=2", r"settings are key=value, each once"),
        ("train:score=val_loss", r"score must be one of val_acc, tse"),
        ("train:epochs=0", r"epochs must be at least 1"),
        ("table:column=a", r"needs its column and the seconds"),
        ("table:column=a,seconds=0", r"seconds must be above 0"),
        ("from_scratch", r"from_scratch is none; write train:epochs="),
        ("macs:a=1", r"unknown setting 'a'; it has no settings"),
    ],
)
def test_what_is_no_level_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_level(text)


def test_levels_are_some_and_each_once() -> None:
    with pytest.raises(ValueError, match="needs --levels"):
        read_levels([])
    with pytest.raises(ValueError, match="--levels has tse twice"):
        read_levels(["tse", "val_acc", "tse"])
    with pytest.raises(ValueError, match="'train' and 'train:epochs=1' are the same"):
        read_levels(["train", "train:epochs=1"])


def test_blanks_about_settings_do_not_count() -> None:
    assert read_level("train:epochs=2, channels=8").sizes == {"channels": "8"}
    with pytest.raises(ValueError, match="--levels has tse:lr=1 twice"):
        read_levels(["tse:lr=1", "tse:kernels=off,lr=1"])


def test_kernels_are_not_of_the_name_of_a_level() -> None:
    """Or a search that began where there were none could not be continued where there are."""
    off = read_level("tse:num_batches=5,kernels=off,lr=1")
    assert off.text == "tse:num_batches=5,lr=1"
    assert off.settings == TSESettings(num_batches=5, lr=1.0, kernels="off")
    assert read_level("tse:kernels=off").text == "tse"


@pytest.mark.parametrize(
    ("space", "sizes", "message"),
    [
        ("nasbench201", "layers=3", r"unknown setting 'layers'; it has epochs.*cells_per_stage"),
        ("nasbench201", "channels=0", "channels must be at least 1"),
        ("nasbench201", "bn_mode=mine", "bn_mode must be one of"),
    ],
)
def test_sizes_are_those_of_the_space(space: str, sizes: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sizes_for(read_level(f"train:epochs=1,{sizes}"), space)


def test_measurements_are_points_of_a_space_that_a_store_keeps(tmp_path: Path) -> None:
    space = NASBench201Space()
    levelled = LevelledSpace(space, ["tse", "train"])
    arch = space.sample(np.random.default_rng(0))
    points = [levelled.joined(level, arch) for level in (1, 0)]
    assert [levelled.split(point) for point in points] == [(1, arch), (0, arch)]
    assert all(levelled.parse(levelled.format(point)) == point for point in points)
    assert levelled.size == 2 * space.size
    path = tmp_path / "trials.db"
    with TrialStore.open(path, {"a": 1}, levelled) as store:
        store.ask(points)
        store.tell(Trial(0, points[0], 1.5, {}, 2.0, None))
    with TrialStore.open(path, {"a": 1}, levelled) as store:
        assert [trial.arch for trial in store.trials] == points[:1]
        assert store.pending == ((1, points[1]),)
        with pytest.raises(ValueError, match="was asked before"):
            store.ask(points[:1])


def test_points_of_a_space_with_inactive_decisions_are_canonical() -> None:
    space = create_space("mobilenetv3")
    levelled = LevelledSpace(space, ["a", "b"])
    arch = space.sample(np.random.default_rng(0))
    levelled.validate(levelled.joined(1, arch))
    with pytest.raises(ValueError, match="'c' is no level; expected one of a, b"):
        levelled.parse("c x")
