"""Settings of the estimators: what belongs to which, and what is refused before any work."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from estimators.scores.names import CURVE_SCORES, PROXY_SCORES, SCORES, VAL_SCORES
from estimators.scores.registry import estimator_classes
from estimators.scores.settings import (
    RANKED,
    CombinedSettings,
    EstimatorSettings,
    FromScratchSettings,
    MultiScoreSettings,
    TableSettings,
    TSEEMASettings,
    TSEESettings,
    TSESettings,
    ValSettings,
)
from supernets.cli.option_flags import add_options, check_family, from_args
from supernets.runtime.options import options_of

CLASSES = estimator_classes()
TRAINS = (*CURVE_SCORES, "val_acc_after", "val_loss_after")
#: Every flag with a value, and whose it is.
FLAGS = {
    "--tse-batches 2": TRAINS,
    "--tse-batch-size 1": (*TRAINS, *PROXY_SCORES, "combined"),
    "--tse-lr 0.1": TRAINS,
    "--kernels off": TRAINS,
    "--tse-window 2": ("tse_e", "from_scratch"),
    "--tse-gamma 0.5": ("tse_ema", "from_scratch"),
    "--race-for 1": ("tse",),
    "--val-batches 1": VAL_SCORES,
    "--recalibrate-batches 0": VAL_SCORES,
    "--scratch-epochs 2": ("from_scratch",),
    "--scratch-schedule-epochs 3": ("from_scratch",),
    "--scratch-lr 0.1": ("from_scratch",),
    "--scratch-batch-size 1": ("from_scratch",),
    "--scratch-dir folder": ("from_scratch",),
    "--scratch-score tse_e": ("from_scratch",),
    "--reference reference.json": ("combined",),
    "--table table.csv": ("table",),
    "--table-column c": ("table",),
    "--arch-column a": ("table",),
    "--trust-pickle": ("table",),
}


def parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for kind in CLASSES.values():
        add_options(parser, kind)
    return parser.parse_args(" ".join(flags).split())


def test_every_flag_of_the_family_is_among_those_tested() -> None:
    declared = {
        option.flag_of(name)
        for kind in CLASSES.values()
        for name, option in options_of(kind).items()
    }
    assert declared == {flag.split()[0] for flag in FLAGS}
    assert {name for users in FLAGS.values() for name in users} <= CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_own_flags_are_accepted_and_others_refused(name: str) -> None:
    own = [flag for flag, users in FLAGS.items() if name in users]
    given = [flag for flag in own if name != "from_scratch" or "gamma" not in flag]
    args = parse(*given)
    check_family(CLASSES, name, args, by="--estimator")
    check_family(CLASSES, ["params", name], args, by="--estimator")
    settings = from_args(CLASSES[name], args)
    assert type(settings) is CLASSES[name]
    for other in FLAGS.keys() - own:
        with pytest.raises(ValueError, match=f"{other.split()[0]} is for --estimator .*, not "):
            check_family(CLASSES, name, parse(*given, other), by="--estimator")


def test_values_arrive_in_their_fields() -> None:
    flags = "--tse-batches 7 --tse-batch-size 5 --tse-lr 0.5 --race-for 2"
    assert from_args(TSESettings, parse(flags)) == TSESettings(5, 7, 0.5, race_for=2)
    assert from_args(MultiScoreSettings, parse("--tse-window 0.3epochs --val-batches 2")) == (
        MultiScoreSettings(window="0.3epochs", num_val_batches=2)
    )
    table = from_args(TableSettings, parse("--table t.csv --table-column c --trust-pickle"))
    assert table == TableSettings(Path("t.csv"), "c", trust_pickle=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": None}, "--estimator from_scratch needs --scratch-epochs"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"score": "macs"}, "score must be one of val_acc, tse, tse_e, tse_ema, got 'macs'"),
        (
            {"schedule_epochs": 2},
            "--scratch-schedule-epochs must be at least the --scratch-epochs 3, got 2",
        ),
        ({"window": 2}, "--tse-window needs --scratch-score tse_e; leave it out or choose"),
        ({"gamma": 0.5}, "--tse-gamma needs --scratch-score tse_ema; leave it out or choose"),
        (
            {"gamma": 0.5, "score": "tse_e"},
            "--tse-gamma needs --scratch-score tse_ema; leave it out or choose",
        ),
        (
            {"window": 4, "score": "tse_e"},
            "--tse-window must be at most the --scratch-epochs 3, got 4",
        ),
    ],
)
def test_settings_of_trainings_from_scratch_go_together(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FromScratchSettings(**{"epochs": 3, **given})


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (TableSettings, {}, "--estimator table needs --table"),
        (TableSettings, {"table": Path("t.csv")}, "--table needs --table-column"),
        (CombinedSettings, {}, "combined needs --reference, reference.json of supernet-rank"),
        (TSESettings, {"num_batches": 0}, "num_batches must be at least 1, got 0"),
        (TSESettings, {"lr": 0}, "lr must be positive, got 0"),
        (TSEEMASettings, {"gamma": 1.5}, "gamma must be above 0 and at most 1, got 1.5"),
        (ValSettings, {"num_val_batches": 0}, "num_val_batches must be at least 1, got 0"),
    ],
)
def test_what_is_missing_or_out_of_range_is_refused(
    kind: type[EstimatorSettings], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**given)


@pytest.mark.parametrize("window", [11, "11batches"])
def test_a_window_beyond_the_minibatches_is_refused_before_any_data_is_opened(
    window: int | str,
) -> None:
    with pytest.raises(ValueError, match="at most the 10 minibatches that are measured, got 11"):
        TSEESettings(num_batches=10, window=window)
    TSEESettings(num_batches=11, window=window)


def test_every_estimator_has_its_batch_size() -> None:
    assert TSESettings(batch_size=3).train_batch_size == 3
    assert FromScratchSettings(epochs=1, batch_size=5).train_batch_size == 5
    defaults = [CLASSES[name]() for name in SCORES]
    assert {settings.train_batch_size for settings in defaults} == {64}


def test_scores_share_their_settings() -> None:
    assert RANKED.keys() == {*SCORES, "benchmark_params", "benchmark_macs"}
    shared = MultiScoreSettings.of(TSEESettings(num_batches=9, window=4))
    assert shared == MultiScoreSettings(num_batches=9, window=4)
    assert MultiScoreSettings.of(TSESettings(lr=0.5, race_for=3)) == MultiScoreSettings(lr=0.5)


def test_settings_are_read_without_pytorch_or_scipy() -> None:
    code = "import estimators.scores.settings, estimators.executors.settings, sys; "
    code += "print(sorted({'torch', 'scipy', 'sklearn', 'timm'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
