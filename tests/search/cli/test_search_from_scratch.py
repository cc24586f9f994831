"""supernet-search with trainings from scratch: what is trained, scored, kept, and refused."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from search.cli.search import main
from supernets.training import standalone as standard_training
from supernets.training.standalone import training_loss

QUICK = "--no-amp --scratch-batch-size 600"
STEPS_PER_EPOCH = 2
Command = Callable[..., int]


@pytest.fixture
def run(checkpoint: Path, no_plots: None) -> Command:
    """Searches by trainings of two epochs unless flags say otherwise; draws no plots."""

    def run(output: Path, flags: str) -> int:
        given = ["--supernet", str(checkpoint), "--output", str(output), *QUICK.split()]
        return main(
            [*given, *"--estimator from_scratch --scratch-epochs 2".split(), *flags.split()]
        )

    return run


def rows(output: Path) -> list[tuple[Any, ...]]:
    """The recorded trials, all but their seconds."""
    columns = "number, arch, is_told, score, error, metrics, curves"
    with sqlite3.connect(output / "trials.db") as connection:
        found = connection.execute(f"SELECT {columns} FROM trials ORDER BY number").fetchall()
    connection.close()
    return found


def header_of(output: Path) -> dict[str, Any]:
    with sqlite3.connect(output / "trials.db") as connection:
        header = dict(connection.execute("SELECT key, value FROM header"))
    connection.close()
    return {key: json.loads(value) for key, value in header.items()}


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Runs ``action`` once, during the ``number``-th step of training from now (from 1)."""
    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == number:
            action()
        return training_loss(*args, **settings)

    monkeypatch.setattr(standard_training, "training_loss", loss)


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def forbidden() -> None:
    raise AssertionError("a network was trained")


@pytest.mark.slow
def test_a_search_by_the_training_speed_of_early_epochs(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--algorithm regularized-evolution --population-size 3 --tournament-size 2 --report"
    score = "--scratch-score tse_ema --tse-gamma 0.5 --scratch-schedule-epochs 4 --scratch-lr 0.05"
    assert run(tmp_path, f"{flags} --num-trials 4 {score}") == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["status"], block["trials"], block["failed"]) == ("finished", 4, 0)
    for row in rows(tmp_path):
        curves, metrics = json.loads(row[6]), json.loads(row[5])
        assert {name: len(curve) for name, curve in curves.items()} == {
            "train_loss": 2,
            "val_top1": 2,
            "val_loss": 2,
        }
        first, second = curves["train_loss"]
        assert row[3] == -metrics["tse_ema"] == pytest.approx(-(0.5 * first + second))
        assert metrics.keys() == {"val_top1", "val_loss", "tse_ema"}
    header = header_of(tmp_path)["estimator"]
    assert len(header.pop("trainings")) == 64
    assert header == {
        "name": "from_scratch",
        "score": "tse_ema",
        "gamma": 0.5,
        "gamma_unit": "epoch",
        "epochs": 2,
        "schedule_epochs": 4,
        "lr": 0.05,
        "batch_size": 600,
        "device": "cpu",
        "amp": False,
    }
    settings = json.loads((tmp_path / "scratch" / "settings.json").read_text())
    assert (settings["recipe epochs"], settings["recipe stop_after"]) == (4, 2)
    assert (settings["recipe lr"], settings["data batch_size"]) == (0.05, 600)
    assert len(list((tmp_path / "scratch").iterdir())) == 1 + 4
    assert "minus <code>tse_ema</code>" in (tmp_path / "report.html").read_text()


def test_trainings_are_shared_by_searches_of_other_scores(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = f"--algorithm random --num-trials 3 --scratch-dir {tmp_path / 'shared'}"
    assert run(tmp_path / "a", flags) == 0
    assert not (tmp_path / "a" / "scratch").exists()
    at_step(monkeypatch, 1, forbidden)
    scores = "--scratch-score tse_e --tse-window 2"
    assert run(tmp_path / "b", f"{flags} {scores}") == 0
    assert run(tmp_path / "c", f"{flags} --scratch-score tse") == 0
    by_val, by_window, by_sum = (rows(tmp_path / name) for name in "abc")
    for val, window, total in zip(by_val, by_window, by_sum, strict=True):
        assert val[1] == window[1] == total[1]  # architectures
        assert val[6] == window[6] == total[6]  # curves
        metrics, curves = json.loads(val[5]), json.loads(val[6])
        assert val[3] == metrics["val_top1"] == curves["val_top1"][-1]
        assert window[3] == pytest.approx(-sum(curves["train_loss"])) == total[3]
    header = header_of(tmp_path / "a")["estimator"]
    assert (header["score"], header["epochs"], header["schedule_epochs"]) == ("val_acc", 2, 2)
    assert header_of(tmp_path / "b")["estimator"]["window"] == 2


@pytest.mark.slow
def test_a_search_stopped_within_a_training_equals_an_uninterrupted_one(
    run: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = (
        "--algorithm weaknas --predictor gradient_boosting --num-initial 2 --batch-size 2 "
        "--max-params 6000 --num-trials 4 --scratch-schedule-epochs 3 --scratch-score tse"
    )
    assert run(tmp_path / "whole", flags) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 2 * 2 * STEPS_PER_EPOCH + 2, sigterm)  # of the third candidate
        capsys.readouterr()
        assert run(tmp_path / "parts", flags) == 130
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    assert len(list((tmp_path / "parts" / "scratch").glob("*/last.pt"))) == 1
    # what was left of the third one, and the fourth
    at_step(monkeypatch, 2 * 2 * STEPS_PER_EPOCH - 2 + 1, forbidden)
    assert run(tmp_path / "parts", flags) == 0
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_trainings_that_diverge_are_failed_trials(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--algorithm random --num-trials 2 --scratch-lr 1e18") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "All 2 trials failed; the last, |" in error
    assert "with: The training from scratch diverged" in error
    assert len(rows(tmp_path)) == 2


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines: list[str] = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("supernet-search: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--estimator tse", "--scratch-epochs is for --estimator from_scratch, not"),
        ("--estimator val_acc --scratch-lr 1", "is for --estimator from_scratch, not"),
        ("--tse-batches 3", "--tse-batches is for --estimator"),
        ("--val-batches 3", "--val-batches is for --estimator"),
        ("--race-for 3", "--race-for is for --estimator tse, not from_scratch."),
        ("--scratch-schedule-epochs 1", "must be at least the --scratch-epochs 2, got 1."),
        ("--tse-gamma 0.5", "--tse-gamma needs --scratch-score tse_ema;"),
        (
            "--export subnet",
            "--export hands over weights inherited from the supernet, and from_scr",
        ),
        ("--scratch-dir /dev/null/folder", "choose another --scratch-dir."),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(
    flags: str,
    message: str,
    run: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_step(monkeypatch, 1, forbidden)
    assert run(tmp_path / "run", flags) == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "run" / "trials.db").exists()


def test_a_budget_and_a_supernet_must_be_given(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--estimator", "from_scratch", "--output", str(tmp_path)]
    assert main([*given, "--supernet", str(checkpoint)]) == 2
    assert "--estimator from_scratch needs --scratch-epochs" in error_line(capsys)
    assert main([*given, "--space", "nasbench201", "--scratch-epochs", "2"]) == 2
    assert "--estimator from_scratch needs --supernet." in error_line(capsys)


def test_a_search_is_continued_with_the_same_settings_only(
    run: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = "--algorithm random --num-trials 1"
    assert run(tmp_path / "a", flags) == 0
    capsys.readouterr()
    at_step(monkeypatch, 1, forbidden)
    assert run(tmp_path / "a", f"{flags} --scratch-score tse") == 2
    assert "trials.db" in (error := error_line(capsys)) and "estimator " in error
    for change, message in (
        ("--scratch-lr 0.2", "recipe lr was 0.1 and is now 0.2"),
        ("--scratch-schedule-epochs 3", "recipe epochs was 2 and is now 3"),
        ("--scratch-batch-size 500", "data batch_size was 600 and is now 500"),
        ("--amp", "recipe amp was False and is now True"),
    ):
        assert run(tmp_path / "a", f"{flags} {change}") == 2
        assert message in error_line(capsys)
    # nor with another folder of trainings
    other = f"--scratch-lr 0.2 --scratch-dir {tmp_path / 'other'}"
    assert run(tmp_path / "a", f"{flags} {other}") == 2
    assert "estimator " in error_line(capsys)
