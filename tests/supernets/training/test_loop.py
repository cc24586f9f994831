"""The training loop: resuming to the same bits, stopping, diverging, and what it writes."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernets.cli.train import main
from supernets.networks.base import Supernet
from supernets.spaces import NASBench201Space
from supernets.training import supernet as training
from supernets.training.checkpoint import load_supernet
from supernets.training.supernet import train_step
from tests.supernets.training.states import flat, send, spy_on_steps

EPOCHS = 3
STEPS_PER_EPOCH = 3
STEPS = EPOCHS * STEPS_PER_EPOCH
# 57 images by 20, the last minibatch smaller
CELLS = (
    "--channels 4 --cells-per-stage 1 --val-fraction 0.96 --batch-size 20 --num-probes 1"
).split()
ELASTIC = (
    "--space mobilenetv3 --width 0.1 --strides 2 2 2 1 1 1 --val-fraction 0.96 --batch-size 20 "
    "--num-probes 0"
).split()


@pytest.fixture(scope="module", autouse=True)
def few_probe_images() -> Iterator[None]:
    """Probes are measured on the first minibatch of the val split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "NUM_PROBE_IMAGES", 1)
        yield


def train(output: Path, *flags: str) -> int:
    """Trains cells, unless the flags name another space."""
    tiny = [] if "--space" in flags else CELLS
    return main([*tiny, "--epochs", str(EPOCHS), "--output", str(output), *flags])


def at_step(
    monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None], before: bool = False
) -> None:
    """Runs ``action`` once, during the ``number``-th step from now (from 1)."""
    real, count = train_step, 0

    def step(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if before and count == number:
            action()
        losses = real(*args, **settings)
        if not before and count == number:
            action()
        return losses

    monkeypatch.setattr(training, "train_step", step)


def checkpoint(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(output / "last.pt", weights_only=True)
    return loaded


@cache
def whole(output: Path) -> dict[str, Any]:
    """What an uninterrupted training has left, read once."""
    return flat(checkpoint(output))


def assert_same_training(output: Path, other: Path) -> None:
    """Weights, optimizer, progress and settings are equal to the bit, and so is the table."""
    found, expected = flat(checkpoint(output)), whole(other)
    assert found.keys() == expected.keys()
    assert any("momentum_buffer" in key or "exp_avg_sq" in key for key in found)
    for key, value in expected.items():
        if isinstance(value, Tensor):
            assert torch.equal(found[key], value), key
        else:
            assert found[key] == value, key
    rows, expected_rows = ([without_seconds(row) for row in table(o)] for o in (output, other))
    assert rows == expected_rows
    assert [row["epoch"] for row in rows] == [str(epoch + 1) for epoch in range(EPOCHS)]


def table(output: Path) -> list[dict[str, str]]:
    with open(output / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_seconds(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != "seconds"}


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(capsys.readouterr().out)
    return block


RECIPES = {
    "fair": [],
    "uniform-skip": ["--paths", "uniform", "--inactive-grads", "skip", "--clip-grad", "1"],
    "multi": ["--paths", "multi", "--num-paths", "2", "--label-smoothing", "0.1"],
    "adamw": ["--paths", "uniform", "--num-paths", "2", "--opt", "adamw", "--lr", "0.002"],
    "warmup": ["--paths", "uniform", "--warmup-epochs", "1", "--bn-mode", "affine"],
    "mixed": "--paths uniform --mixup 0.2 --cutmix 1 --dropout 0.2 --ema-decay 0.9".split(),
    "sandwich": [
        *ELASTIC,
        *"--paths sandwich --num-paths 3 --resolutions 8 12 --dropout 0.2 --drop-path 0.3".split(),
        *"--clip-value 1 --no-decay-bn-bias --label-smoothing 0.1".split(),
    ],
    "best-up": [
        *ELASTIC,
        *"--paths best-up --num-paths 3 --mixup 0.4 --ema-decay 0.5 --inactive-grads skip".split(),
    ],
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The output of a whole training by the name of its recipe, trained on first use."""
    done: dict[str, Path] = {}

    def get(recipe: str) -> Path:
        if recipe not in done:
            output = tmp_path_factory.mktemp(recipe)
            assert train(output, *RECIPES[recipe]) == 0
            done[recipe] = output
        return done[recipe]

    return get


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "step"),
    [
        ("fair", 1),
        ("fair", STEPS_PER_EPOCH),
        ("fair", 2 * STEPS_PER_EPOCH + 1),
        ("uniform-skip", 2),
        ("uniform-skip", 2 * STEPS_PER_EPOCH),
        ("multi", STEPS_PER_EPOCH + 2),
        ("adamw", STEPS_PER_EPOCH + 1),
        ("warmup", 2),
        ("mixed", STEPS_PER_EPOCH + 1),
        ("sandwich", STEPS_PER_EPOCH + 2),
        ("best-up", 2 * STEPS_PER_EPOCH),
    ],
)
def test_stopped_and_resumed_equals_uninterrupted(
    recipe: str,
    step: int,
    uninterrupted: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = uninterrupted(recipe)
    with monkeypatch.context() as patch:
        at_step(patch, step, send(signal.SIGTERM))
        capsys.readouterr()
        assert train(tmp_path, *RECIPES[recipe]) == 130
    block = last_json(capsys)
    assert block["status"] == "interrupted"
    assert (block["steps"], block["epochs"]) == (step, step // STEPS_PER_EPOCH)
    assert checkpoint(tmp_path)["progress"]["step"] == step
    assert train(tmp_path, *RECIPES[recipe], "--resume") == 0
    assert last_json(capsys)["steps"] == STEPS
    assert_same_training(tmp_path, expected)


@pytest.mark.slow
def test_stopped_three_times_equals_uninterrupted(
    uninterrupted: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume: list[str] = []
    for num_steps in (2, 1, 2):  # the second is the end of an epoch
        with monkeypatch.context() as patch:
            at_step(patch, num_steps, send(signal.SIGINT))
            assert train(tmp_path, *RECIPES["adamw"], *resume) == 130
        resume = ["--resume"]
    assert train(tmp_path, *RECIPES["adamw"], *resume) == 0
    assert_same_training(tmp_path, uninterrupted("adamw"))


def test_a_stop_during_the_last_step_finishes(
    uninterrupted: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, STEPS, send(signal.SIGTERM), before=True)
        assert train(tmp_path) == 0
    assert last_json(capsys)["status"] == "finished"
    assert_same_training(tmp_path, uninterrupted("fair"))


class Killed(BaseException):
    """The process is gone: nothing of ours may catch this."""


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("step", [2, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1, STEPS])
def test_killed_between_checkpoints_equals_uninterrupted(
    step: int,
    uninterrupted: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every_step = ["--checkpoint-minutes", "1e-9"]
    with monkeypatch.context() as patch:
        at_step(patch, step, kill)
        with pytest.raises(Killed):
            train(tmp_path, *every_step)
    assert checkpoint(tmp_path)["progress"]["step"] == step - 1
    assert train(tmp_path, *every_step, "--resume") == 0
    assert_same_training(tmp_path, uninterrupted("fair"))


def test_killed_while_an_epoch_ends_equals_uninterrupted(
    uninterrupted: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_step = ["--checkpoint-minutes", "1e-9"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_recalibrated", lambda *args, **settings: kill())
        with pytest.raises(Killed):
            train(tmp_path, *every_step)
    assert checkpoint(tmp_path)["progress"]["step"] == STEPS_PER_EPOCH - 1
    assert train(tmp_path, *every_step, "--resume") == 0
    assert_same_training(tmp_path, uninterrupted("fair"))


def test_resuming_a_finished_training_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "--paths", "uniform", "--epochs", "1") == 0
    before = {name: (tmp_path / name).read_bytes() for name in ("last.pt", "summary.csv")}
    capsys.readouterr()
    assert train(tmp_path, "--paths", "uniform", "--epochs", "1", "--resume") == 0
    assert last_json(capsys)["status"] == "finished"
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


def test_another_seed_gives_other_weights(
    uninterrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    assert train(tmp_path, "--seed", "1", "--epochs", "1") == 0
    found = checkpoint(tmp_path)["state_dict"]["skeleton.classifier.weight"]
    expected = checkpoint(uninterrupted("fair"))["state_dict"]["skeleton.classifier.weight"]
    assert not torch.equal(found, expected)


def test_a_second_signal_interrupts_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    at_step(monkeypatch, 2, twice)
    assert train(tmp_path) == 130
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"status": "interrupted"}
    assert "Traceback" not in captured.err
    assert not (tmp_path / "last.pt").exists()


def test_a_signal_between_epochs_stops_in_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = training.evaluate_recalibrated

    def evaluate(*args: Any, **settings: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **settings)

    monkeypatch.setattr(training, "evaluate_recalibrated", evaluate)
    assert train(tmp_path) == 130
    assert last_json(capsys)["steps"] == STEPS_PER_EPOCH + 1
    assert [row["epoch"] for row in table(tmp_path)] == ["1"]


def test_a_loss_that_is_not_finite_names_step_path_and_lr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, count = train_step, 0

    def step(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        losses = real(*args, **settings)
        if count == STEPS_PER_EPOCH + 2:
            losses[1] = math.nan
        return losses

    monkeypatch.setattr(training, "train_step", step)
    assert train(tmp_path, "--paths", "multi", "--num-paths", "2", "--checkpoint-minutes", "9") == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(error) == 1
    assert error[0].startswith("supernet-train: error: The loss became nan at step 4, lr 0.0")
    notation = error[0].split("path ")[1].split(";")[0]
    NASBench201Space().parse(notation)
    assert str(tmp_path / "last.pt") in error[0]
    assert checkpoint(tmp_path)["progress"]["step"] == STEPS_PER_EPOCH


@pytest.mark.parametrize("lr", ["1e6", "1e18"])
def test_a_huge_learning_rate_ends_in_one_line_and_leaves_no_broken_checkpoint(
    lr: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Cells without affine BatchNorm forgive large weights; weight decay makes them explode.
    flags = ["--paths", "uniform", "--num-probes", "0", "--checkpoint-minutes", "1e-9"]
    status = train(tmp_path, "--lr", lr, "--weight-decay", "0.1", *flags)
    assert status == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("supernet-train: error: The ")
    assert "lower --lr" in error
    if (tmp_path / "last.pt").exists():
        for name, tensor in checkpoint(tmp_path)["state_dict"].items():
            assert tensor.isfinite().all() or "running" in name


@pytest.mark.parametrize("flags", [[], ["--ema-decay", "0.9"]])
def test_weights_broken_by_the_last_step_of_an_epoch_are_not_saved(
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, count = train_step, 0

    def step(supernet: Supernet, *args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        losses = real(supernet, *args, **settings)
        if count == 2 * STEPS_PER_EPOCH:  # the loss is fine, the gradient is not
            gradient = next(supernet.parameters()).grad
            assert gradient is not None
            gradient.fill_(math.inf)
        return losses

    monkeypatch.setattr(training, "train_step", step)
    assert train(tmp_path, "--num-probes", "0", *flags) == 2
    assert "The weights are not finite after step 5" in capsys.readouterr().err
    assert checkpoint(tmp_path)["progress"]["step"] == STEPS_PER_EPOCH
    for name, tensor in checkpoint(tmp_path)["state_dict"].items():
        assert tensor.isfinite().all(), name


def test_the_table_has_the_mean_loss_and_rate_of_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = train_step
    losses: list[float] = []

    def step(*args: Any, **settings: Any) -> Tensor:
        values = real(*args, **settings)
        losses.append(values.mean().item())
        return values

    monkeypatch.setattr(training, "train_step", step)
    assert train(tmp_path, "--lr", "0.1", "--min-lr", "0.02") == 0
    rows = table(tmp_path)
    for epoch, row in enumerate(rows):
        own = losses[epoch * STEPS_PER_EPOCH : (epoch + 1) * STEPS_PER_EPOCH]
        assert float(row["train_loss"]) == pytest.approx(sum(own) / len(own), rel=1e-6)
        last = (epoch + 1) * STEPS_PER_EPOCH - 1
        cosine = 0.02 + 0.5 * (0.1 - 0.02) * (1 + math.cos(math.pi * last / STEPS))
        assert float(row["lr"]) == pytest.approx(cosine)
        assert int(row["step"]) == last + 1
        assert 0 <= float(row["probe_val_top1"]) <= 100
        assert float(row["seconds"]) > 0


def test_the_averaged_weights_are_those_of_the_supernet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decay 0 after the first step, then 1 - k**(-2/3) after step k, up to what was asked for."""
    steps = spy_on_steps(monkeypatch)
    flags = ["--paths", "uniform", "--ema-decay", "0.4", "--epochs", "1", "--num-probes", "0"]
    assert train(tmp_path, *flags) == 0
    stored = checkpoint(tmp_path)
    first, second = steps[1]["weights"], steps[2]["weights"]  # after the steps before
    third, found = stored["raw_state_dict"], stored["state_dict"]
    decay = 1 - 2 ** (-2 / 3)
    assert 0.36 < decay < 0.4
    assert found.keys() == third.keys() == first.keys()
    for name, tensor in found.items():
        if tensor.is_floating_point():
            average = decay * first[name] + (1 - decay) * second[name]
            average = 0.4 * average + 0.6 * third[name]
            torch.testing.assert_close(tensor, average, msg=name)
            assert not torch.equal(average, third[name]), name
        else:
            assert torch.equal(tensor, third[name]), name
    loaded = load_supernet(tmp_path / "last.pt").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in found.items())


def test_without_an_average_there_is_one_set_of_weights(
    uninterrupted: Callable[[str], Path],
) -> None:
    assert "raw_state_dict" not in checkpoint(uninterrupted("fair"))
    assert "raw_state_dict" in checkpoint(uninterrupted("mixed"))


@pytest.mark.parametrize("flag", ["--clip-value", "--clip-grad"])
def test_gradients_are_clipped(flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of plain SGD with rate 1 and no decay moves the weights by the gradient."""
    steps = spy_on_steps(monkeypatch)
    flags = "--opt momentum --momentum 0 --lr 1 --weight-decay 0 --epochs 1 --batch-size 1200"
    assert train(tmp_path, *flags.split(), "--num-probes", "0", flag, "0.01") == 0
    before, after = steps[0]["weights"], checkpoint(tmp_path)["state_dict"]
    names = [name for name in after if name.endswith(("weight", "bias"))]
    moved = torch.cat([(after[name] - before[name]).flatten() for name in names])
    if flag == "--clip-value":
        assert moved.abs().max().item() == pytest.approx(0.01, rel=1e-4)
        assert (moved.abs() > 0.0099).sum() > 10
    else:
        assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_inactive_operations_move_in_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_steps(monkeypatch)
    flags = ["--paths", "uniform", "--epochs", "1", "--batch-size", "30", "--num-probes", "0"]
    assert train(tmp_path, *flags) == 0
    before, after = steps[1]["weights"], checkpoint(tmp_path)["state_dict"]
    names = [name for name in after if name.endswith(("weight", "bias"))]
    assert not [name for name in names if torch.equal(after[name], before[name])]


def test_training_outside_the_main_thread_works(tmp_path: Path) -> None:
    """Signals cannot be caught there; nothing else differs."""
    from threading import Thread

    statuses: list[int] = []
    flags = ["--epochs", "1", "--paths", "uniform", "--batch-size", "30"]
    thread = Thread(target=lambda: statuses.append(train(tmp_path, *flags)))
    thread.start()
    thread.join()
    assert statuses == [0]
