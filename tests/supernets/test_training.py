"""The training loop: resuming to the same bits, stopping, diverging, and what it writes."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernets import training
from supernets.base import Supernet
from supernets.cli import main
from supernets.spaces import NASBench201Space
from supernets.train_config import SCHEDULES, TrainConfig, create_scheduler
from supernets.training import train_step

EPOCHS = 3
STEPS_PER_EPOCH = 3  # 1149 images by 400, the last minibatch smaller
STEPS = EPOCHS * STEPS_PER_EPOCH
Run = Callable[..., int]


def arguments(output: Path, *flags: str) -> list[str]:
    tiny = "--dataset digits --channels 4 --cells-per-stage 1 --batch-size 400 --num-probes 1"
    return [*tiny.split(), "--epochs", str(EPOCHS), "--output", str(output), *flags]


def train(output: Path, *flags: str) -> int:
    return main(arguments(output, *flags))


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


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def checkpoint(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(output / "last.pt", weights_only=True)
    return loaded


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict of leaves; seconds are left out."""
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    else:
        return {prefix: value}
    leaves = {}
    for key, part in parts:
        if key != "seconds":
            leaves |= flat(part, f"{prefix}/{key}")
    return leaves


def assert_same_training(output: Path, other: Path) -> None:
    """Weights, optimizer, progress and settings are equal to the bit, and so is the table."""
    found, expected = flat(checkpoint(output)), flat(checkpoint(other))
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
        patch.setattr(training, "evaluate", lambda *args, **settings: kill())
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
    real = training.evaluate

    def evaluate(*args: Any, **settings: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **settings)

    monkeypatch.setattr(training, "evaluate", evaluate)
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


@pytest.mark.parametrize("lr", ["1e6", "1e30", "inf"])
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


def test_weights_broken_by_the_last_step_of_an_epoch_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    assert train(tmp_path, "--num-probes", "0") == 2
    assert "The weights are not finite after step 5" in capsys.readouterr().err
    assert checkpoint(tmp_path)["progress"]["step"] == STEPS_PER_EPOCH


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


@pytest.mark.parametrize("sched", SCHEDULES)
def test_every_schedule_falls_step_by_step(sched: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    config = TrainConfig(epochs=12, lr=0.1, min_lr=0.001, sched=sched)
    scheduler = create_scheduler(optimizer, config, STEPS_PER_EPOCH)
    rates = [training._lr_at(scheduler, step) for step in range(12 * STEPS_PER_EPOCH)]
    assert rates[0] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:], strict=False))
    assert rates[-1] < 0.011
    if sched == "step":  # a tenth every third of the epochs
        assert rates[4 * STEPS_PER_EPOCH] == pytest.approx(0.01)
        assert rates[4 * STEPS_PER_EPOCH - 1] == pytest.approx(0.1)
    if sched == "multistep":  # at a half and at three quarters; timm is one step early
        assert rates[6 * STEPS_PER_EPOCH - 2] == pytest.approx(0.1)
        assert rates[6 * STEPS_PER_EPOCH] == pytest.approx(0.01)
        assert rates[9 * STEPS_PER_EPOCH] == pytest.approx(0.001)


def test_warmup_rises_step_by_step() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    config = TrainConfig(epochs=4, lr=0.1, warmup_epochs=1, warmup_lr=0.05)
    scheduler = create_scheduler(optimizer, config, STEPS_PER_EPOCH)
    rates = [training._lr_at(scheduler, step) for step in range(STEPS_PER_EPOCH)]
    assert rates == pytest.approx([0.05, 0.05 + 0.05 / 3, 0.05 + 0.1 / 3])


@pytest.mark.parametrize("amp", [False, True])
def test_a_step_adds_the_gradient_of_the_mean_loss_over_paths(
    amp: bool,
    make_supernet: Callable[..., Supernet],
    make_batches: Callable[..., list[tuple[Tensor, Tensor]]],
) -> None:
    supernet = make_supernet(bn_mode="batch").train()
    space = supernet.space
    archs = [space.architecture([3, 0, 2, 1, 4, 3]), space.architecture([1, 2, 2, 1, 0, 4])]
    ((x, y),) = make_batches(1)
    losses = train_step(supernet, archs, x, y, amp=amp, weight=3.0)
    found = {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp, cache_enabled=False):
        logits = [supernet(x, arch).float() for arch in archs]
    assert (logits[0].bfloat16().float().equal(logits[0])) == amp
    expected = [F.cross_entropy(each, y) for each in logits]
    (3.0 * sum(expected) / 2).backward()  # type: ignore[union-attr]
    assert losses.tolist() == pytest.approx([loss.item() for loss in expected])
    assert found.keys() == {n for n, p in supernet.named_parameters() if p.grad is not None}
    for name, parameter in supernet.named_parameters():
        if name in found:
            assert parameter.grad is not None
            difference = (found[name] - parameter.grad).norm() / parameter.grad.norm()
            assert difference < (1e-2 if amp else 1e-5), name


def test_inactive_operations_move_with_zero_and_rest_with_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off the path only weight decay acts, and only where the gradient is zero, not missing."""
    before = {}
    for mode in ("zero", "skip"):
        used: set[str] = set()
        initial: dict[str, Tensor] = {}

        def step(
            supernet: Supernet,
            archs: Any,
            *args: Any,
            initial: dict[str, Tensor] = initial,
            used: set[str] = used,
            **settings: Any,
        ) -> Tensor:
            if not initial:
                initial |= {n: p.detach().clone() for n, p in supernet.named_parameters()}
            grads = {
                n: None if p.grad is None else p.grad.clone()
                for n, p in supernet.named_parameters()
            }
            losses = train_step(supernet, archs, *args, **settings)
            for name, parameter in supernet.named_parameters():
                old, new = grads[name], parameter.grad
                if new is not None and (old is None or not torch.equal(old, new)):
                    used.add(name)
            return losses

        monkeypatch.setattr(training, "train_step", step)
        flags = ["--paths", "uniform", "--epochs", "1", "--batch-size", "600", "--num-probes", "0"]
        assert train(tmp_path / mode, *flags, "--inactive-grads", mode) == 0
        after = checkpoint(tmp_path / mode)["state_dict"]
        moved = {name for name in initial if not torch.equal(after[name], initial[name])}
        assert used < initial.keys()  # two paths leave operations out
        before[mode] = moved, used, initial.keys()
    moved, _, every = before["zero"]
    assert moved == every
    moved, used, _ = before["skip"]
    assert moved == used


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": math.nan}, "lr must be positive, got nan"),
        ({"min_lr": 1.0}, "min_lr must be from 0 to lr, got 1.0"),
        ({"momentum": 1.0}, "momentum must be from 0 to less than 1, got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, got -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to less than 1, got 1.0"),
        ({"clip_grad": 0.0}, "clip_grad must be positive, got 0.0"),
        ({"warmup_epochs": 100}, "warmup_epochs must be from 0 to less than epochs, got 100"),
        ({"num_probes": -1}, "num_probes must not be negative, got -1"),
        ({"inactive_grads": "x"}, "inactive_grads must be zero or skip, got 'x'"),
        ({"sched": "x"}, "sched must be one of cosine, tanh, poly, step, multistep, got 'x'"),
        ({"opt": "x"}, "Optimizer 'x' cannot be used: .*not found"),
        ({"opt": "lookahead_x"}, "Optimizer 'lookahead_x' cannot be used"),
        ({"opt": "adahessian"}, "Optimizer 'adahessian' needs second-order gradients"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**settings)
    assert "\n" not in str(caught.value)


def test_known_optimizers_are_accepted() -> None:
    for name in ("sgd", "momentum", "adamw", "lamb", "lookahead_adamw"):
        assert TrainConfig(opt=name).opt == name


def test_training_outside_the_main_thread_works(tmp_path: Path) -> None:
    """Signals cannot be caught there; nothing else differs."""
    from threading import Thread

    statuses: list[int] = []
    flags = ["--epochs", "1", "--paths", "uniform", "--batch-size", "600"]
    thread = Thread(target=lambda: statuses.append(train(tmp_path, *flags)))
    thread.start()
    thread.join()
    assert statuses == [0]
