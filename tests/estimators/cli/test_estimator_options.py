"""Options of the estimators: what belongs to which, and the minibatches they ask for."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

import search.cli.options
from estimators import ESTIMATORS
from estimators.cli.estimator_options import (
    COMBINED,
    USERS,
    EstimatorOptions,
    check_options,
    check_recalibration,
    flag,
    train_batch_size,
)


def test_every_option_is_of_some_estimator_and_on_the_command_line():
    assert {name for users in USERS.values() for name in users} <= {*ESTIMATORS, COMBINED}
    options = list(USERS)
    assert options == [field.name for field in fields(EstimatorOptions)]
    parser: argparse.ArgumentParser = search.cli.options.build_parser()
    flags = {name for action in parser._actions for name in action.option_strings}
    assert {flag(option) for option in options} <= flags


@pytest.mark.parametrize("name", [*ESTIMATORS, COMBINED])
def test_own_options_are_accepted_and_others_refused(name):
    given = {
        "tse_batches": 2,
        "tse_batch_size": 1,
        "tse_lr": 0.1,
        "tse_window": 2,
        "tse_gamma": 0.5,
        "race_for": 1,
        "val_batches": 1,
        "recalibrate_batches": 0,
        "scratch_epochs": 2,
        "scratch_schedule_epochs": 3,
        "scratch_lr": 0.1,
        "scratch_batch_size": 1,
        "scratch_dir": "folder",
        "scratch_score": "tse_e",
        "reference": "reference.json",
        "table": "table.csv",
        "table_column": "c",
        "arch_column": "a",
    }
    own = {option: value for option, value in given.items() if name in USERS[option]}
    if name == "from_scratch":  # whose scores have either a window or a gamma
        del given["tse_gamma"], own["tse_gamma"]
    check_options([name], EstimatorOptions(**own))
    check_options(["params", name], EstimatorOptions(**own))
    for option in given.keys() - own.keys():
        with pytest.raises(ValueError, match=f"{flag(option)} belongs to estimator"):
            check_options([name], EstimatorOptions(**own, **{option: given[option]}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scratch_epochs": None}, "--estimator from_scratch needs --scratch-epochs"),
        ({"scratch_epochs": 0}, "--scratch-epochs must be at least 1, got 0"),
        ({"scratch_batch_size": 0}, "--scratch-batch-size must be at least 1, got 0"),
        (
            {"scratch_schedule_epochs": 2},
            "--scratch-schedule-epochs must be at least the --scratch-epochs 3, got 2",
        ),
        ({"tse_window": 2}, "--tse-window needs --scratch-score tse_e; leave it out or choose"),
        ({"tse_gamma": 0.5}, "--tse-gamma needs --scratch-score tse_ema; leave it out or choose"),
        (
            {"tse_gamma": 0.5, "scratch_score": "tse_e"},
            "--tse-gamma needs --scratch-score tse_ema; leave it out or choose",
        ),
        (
            {"tse_window": 4, "scratch_score": "tse_e"},
            "--tse-window must be at most the --scratch-epochs 3, got 4",
        ),
    ],
)
def test_options_of_trainings_from_scratch_go_together(given, message):
    options = EstimatorOptions(**{"scratch_epochs": 3, **given})
    with pytest.raises(ValueError, match=message):
        check_options(["from_scratch"], options)


@pytest.mark.parametrize("window", [11, "11batches"])
def test_a_window_beyond_the_minibatches_is_refused_before_any_data_is_opened(window):
    options = EstimatorOptions(tse_batches=10, tse_window=window)
    with pytest.raises(ValueError, match="at most the 10 minibatches that are measured, got 11"):
        check_options(["tse_e"], options)
    check_options(["tse_e"], EstimatorOptions(tse_batches=11, tse_window=window))


def test_every_estimator_has_its_batch_size():
    options = EstimatorOptions(tse_batch_size=3, scratch_batch_size=5)
    assert (train_batch_size("tse", options), train_batch_size("from_scratch", options)) == (3, 5)
    default = EstimatorOptions()
    assert train_batch_size("val_acc", default) == train_batch_size("from_scratch", default) == 64


def test_recalibration_cannot_be_left_out_where_the_supernet_needs_it(make_supernet):
    elastic, plain = make_supernet("mobilenetv3"), make_supernet()
    off = EstimatorOptions(recalibrate_batches=0)
    check_recalibration(["tse", "val_acc"], EstimatorOptions(), elastic)
    check_recalibration(["val_acc"], off, plain)
    check_recalibration(["tse"], off, elastic)
    for name in ("val_acc", "val_loss_after"):
        with pytest.raises(ValueError, match="must be at least 1 for a mobilenetv3 supernet"):
            check_recalibration(["tse", name], off, elastic)
