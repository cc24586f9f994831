"""Options of the estimators: what belongs to which, and the minibatches they ask for."""

from __future__ import annotations

import argparse
from dataclasses import fields

import pytest

import search.cli
from estimators import ESTIMATORS
from search.estimation import OPTIONS_OF, EstimatorOptions, check_options, flag, train_batch_size


def test_every_option_is_of_one_estimator_and_on_the_command_line():
    assert tuple(OPTIONS_OF) == ESTIMATORS
    options = [option for names in OPTIONS_OF.values() for option in names]
    assert sorted(options) == sorted(field.name for field in fields(EstimatorOptions))
    parser: argparse.ArgumentParser = search.cli.build_parser()
    flags = {name for action in parser._actions for name in action.option_strings}
    assert {flag(option) for option in options} <= flags


@pytest.mark.parametrize("name", ESTIMATORS)
def test_own_options_are_accepted_and_others_refused(name):
    given = {
        "tse_batches": 1,
        "tse_batch_size": 1,
        "tse_lr": 0.1,
        "val_batches": 1,
        "recalibrate_batches": 0,
        "table": "table.csv",
        "table_column": "c",
        "arch_column": "a",
    }
    own = {option: given[option] for option in OPTIONS_OF[name]}
    check_options(name, EstimatorOptions(**own))
    for option in given.keys() - own.keys():
        with pytest.raises(ValueError, match=f"{flag(option)} belongs to --estimator"):
            check_options(name, EstimatorOptions(**own, **{option: given[option]}))


def test_supernets_that_need_recalibration_get_it_in_batches_of_200(make_supernet):
    elastic, plain = make_supernet("mobilenetv3"), make_supernet()
    none = EstimatorOptions()
    assert train_batch_size("val_acc", none, elastic) == 200
    assert train_batch_size("val_acc", none, plain) == train_batch_size("tse", none, elastic) == 64
    assert train_batch_size("tse", EstimatorOptions(tse_batch_size=16), elastic) == 16
    off = EstimatorOptions(recalibrate_batches=0)
    assert train_batch_size("val_acc", off, plain) == 64
    with pytest.raises(ValueError, match="must be at least 1 for a mobilenetv3 supernet"):
        train_batch_size("val_acc", off, elastic)
