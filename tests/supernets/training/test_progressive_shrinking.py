"""Progressive shrinking: the phases, what passes from one to the next, and how they resume."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernets.cli.train import main
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.spaces import MobileNetV3Space, NASBench201Space
from supernets.training import progressive_shrinking
from supernets.training import supernet as training
from supernets.training.channel_sorting import sort_channels
from supernets.training.checkpoint import load_supernet
from supernets.training.loop import TrainResult
from supernets.training.progressive_shrinking import phases_for, train_progressively
from supernets.training.supernet import train_step
from supernets.training.supernet_config import TrainConfig

SPACE = MobileNetV3Space()
# 57 images by 30; the phases without epochs are left out
STEPS = 2
TINY = (
    "--space mobilenetv3 --width 0.1 --strides 2 2 2 1 1 1 --val-fraction 0.96 --batch-size 30 "
    "--num-probes 0 --paths progressive --phase-epochs 1 1 0 0 1 0 "
    "--phase-warmup-epochs 0 0 0 0 0 0 --phase-lrs 0.1 0.05 1 1 0.04 1 --dropout 0.1 "
    "--ema-decay 0.5"
).split()
FOLDERS = ["phase-1-full", "phase-2-kernel", "phase-3-expand-1"]


def train(output: Path, *flags: str) -> int:
    return main([*TINY, "--output", str(output), *flags])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an uninterrupted run."""
    output = tmp_path_factory.mktemp("whole")
    assert train(output) == 0
    return output


def options(space: MobileNetV3Space) -> tuple[set[int], set[int], set[int]]:
    """Kernels, depths and expansions that are drawn."""
    rng = np.random.default_rng(0)
    stages = [stage for _ in range(100) for stage in space.stages(space.sample(rng))]
    blocks = [block for stage in stages for block in stage]
    return {kernel for kernel, _ in blocks}, {len(s) for s in stages}, {e for _, e in blocks}


def test_the_phases_are_the_papers() -> None:
    """Rates are those per GPU times 32."""
    expected: list[tuple[Any, ...]] = [
        ("full", {7}, {4}, {6}, 1, 180, 5, 2.6, None),
        ("kernel", {3, 5, 7}, {4}, {6}, 1, 120, 5, 32 * 3e-2, None),
        ("depth-1", {3, 5, 7}, {3, 4}, {6}, 2, 25, 0, 32 * 2.5e-3, None),
        ("depth-2", {3, 5, 7}, {2, 3, 4}, {6}, 2, 120, 5, 32 * 7.5e-3, None),
        ("expand-1", {3, 5, 7}, {2, 3, 4}, {4, 6}, 4, 25, 0, 32 * 2.5e-3, {6}),
        ("expand-2", {3, 5, 7}, {2, 3, 4}, {3, 4, 6}, 4, 120, 5, 32 * 7.5e-3, {4, 6}),
    ]
    for phase, row in zip(phases_for(SPACE), expected, strict=True):
        name, kernels, depths, expands, num_paths, epochs, warmup_epochs, lr, trained = row
        assert phase.name == name
        assert options(phase.space) == (kernels, depths, expands), name
        assert phase.num_paths == num_paths
        assert (phase.epochs, phase.warmup_epochs) == (epochs, warmup_epochs)
        assert phase.lr == pytest.approx(lr)
        assert (None if phase.trained_expands is None else set(phase.trained_expands)) == trained
    assert phases_for(SPACE)[-1].space.size == SPACE.size


def test_all_resolutions_are_there_from_the_first_phase_on() -> None:
    for phase in phases_for(MobileNetV3Space((128, 160))):
        rng = np.random.default_rng(0)
        assert {phase.space.resolution(phase.space.sample(rng)) for _ in range(20)} == {128, 160}


def test_phases_without_epochs_are_left_out() -> None:
    phases = phases_for(SPACE, epochs=(3, 0, 0, 2, 0, 1))
    assert [phase.name for phase in phases] == ["full", "depth-2", "expand-2"]
    assert options(phases[1].space) == ({3, 5, 7}, {2, 3, 4}, {6})
    # none but the largest expansion is trained when the last phase begins
    assert [phase.trained_expands for phase in phases] == [None, None, (6,)]


def test_a_phase_has_epochs_and_rates_of_its_own() -> None:
    config = TrainConfig(epochs=9, lr=0.5, warmup_epochs=4, min_lr=0.1, label_smoothing=0.1)
    phase = phases_for(
        SPACE, epochs=[1, 2, 3, 4, 5, 6], warmup_epochs=[0, 1, 0, 0, 0, 0], lrs=[0.01] * 6
    )[1]
    assert phase.config(config) == TrainConfig(
        epochs=2, lr=0.01, warmup_epochs=1, min_lr=0.0, label_smoothing=0.1
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": [1, 2]}, "has 6 phases .full, kernel, .*, but epochs has 2 values: .1, 2."),
        ({"warmup_epochs": [0] * 7}, "but warmup_epochs has 7 values"),
        ({"lrs": []}, "but lrs has 0 values"),
        ({"epochs": [0, 1, 1, 1, 1, 1]}, "at least 1 in the first phase and 0 in the others"),
        ({"epochs": [1, 1, -1, 1, 1, 1]}, "at least 1 in the first phase and 0 in the others"),
    ],
)
def test_lists_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phases_for(SPACE, **settings)


def test_the_recipe_of_every_phase_is_checked() -> None:
    phase = phases_for(SPACE, epochs=[9, 9, 9, 5, 9, 9])[3]
    with pytest.raises(ValueError, match="Phase 'depth-2': warmup_epochs must be .*, got 5"):
        phase.config(TrainConfig())


def test_other_spaces_have_no_phases() -> None:
    with pytest.raises(ValueError, match="'nasbench201' has no decision 'kernel'"):
        phases_for(NASBench201Space())


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert not [name for name in expected if not torch.equal(found[name], expected[name])]


@pytest.fixture
def make_supernet() -> Callable[[], MobileNetV3Supernet]:
    def make() -> MobileNetV3Supernet:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return MobileNetV3Supernet(
                num_classes=10, width=0.1, input_size=(1, 8, 8), strides=(2, 2, 2, 1, 1, 1)
            )

    return make


@pytest.mark.slow
def test_phases_hand_on_weights_and_learn_from_the_first(
    make_supernet: Callable[[], MobileNetV3Supernet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the weights that count are averaged ones."""
    trained: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    real = progressive_shrinking.train_supernet

    def train_supernet(
        supernet: MobileNetV3Supernet, *args: Any, teacher: nn.Module | None, **settings: Any
    ) -> TrainResult:
        before = None if teacher is None else parameters(teacher)
        seen = {"start": state(supernet), "paths": args[1], "folder": args[3].name, **settings}
        result = real(supernet, *args, teacher=teacher, **settings)
        trained.append(seen | {"teacher": before, "end": state(supernet)})
        if teacher is not None:
            assert before is not None
            assert_equal(parameters(teacher), before)
            assert all(parameter.grad is None for parameter in teacher.parameters())
        return result

    def step(supernet: nn.Module, archs: Any, x: Tensor, *args: Any, **settings: Any) -> Tensor:
        steps.append({"x": x, **settings})
        return train_step(supernet, archs, x, *args, **settings)

    monkeypatch.setattr(progressive_shrinking, "train_supernet", train_supernet)
    monkeypatch.setattr(training, "train_step", step)
    phases = phases_for(
        SPACE, epochs=[1, 1, 0, 0, 1, 1], warmup_epochs=[0] * 6, lrs=[0.1] * 4 + [0.05] * 2
    )
    supernet = make_supernet()
    initial = state(supernet)
    loaders = create_loaders(DataConfig("digits", val_fraction=0.96), batch_size=30)
    config = TrainConfig(num_probes=0, kd_ratio=0.5, ema_decay=0.3)
    device = torch.device("cpu")
    train_progressively(supernet, loaders, phases, config, tmp_path, device=device)

    assert_equal(trained[0]["start"], initial)
    stored = []
    for phase, seen in zip(phases, trained, strict=True):
        assert seen["space"] is phase.space
        assert seen["paths"].space is phase.space
        assert (seen["paths"].num_paths, seen["paths"].sums_gradients) == (phase.num_paths, True)
        last = load_supernet(tmp_path / seen["folder"] / "last.pt")
        assert not torch.equal(last.bn1.weight, seen["end"]["bn1.weight"])  # type: ignore[union-attr,arg-type]
        stored.append(last)
    assert isinstance(stored[1], MobileNetV3Supernet)
    assert_equal(trained[1]["start"], state(stored[0]))
    for i, widths in ((2, (6,)), (3, (6, 4))):
        unsorted = stored[i - 1]
        assert isinstance(unsorted, MobileNetV3Supernet)
        as_it_was = state(unsorted)
        sort_channels(unsorted, widths)
        assert_equal(trained[i]["start"], state(unsorted))
        changed = [n for n, t in as_it_was.items() if not torch.equal(t, trained[i]["start"][n])]
        assert any("conv_dw" in name for name in changed)

    largest = stored[0].extract(SPACE.extremes()[1])
    assert trained[0]["teacher"] is None
    for seen in trained[1:]:
        assert_equal(seen["teacher"], parameters(largest))
    assert len(steps) == len(phases) * STEPS
    assert all(settings["teacher_logits"] is None for settings in steps[:STEPS])
    for settings in steps[STEPS:]:  # the teacher normalises by the minibatch too
        expected = largest.train()(settings["x"])
        torch.testing.assert_close(settings["teacher_logits"], expected, rtol=1e-3, atol=1e-4)
    assert {(settings["kd_ratio"], settings["weight"]) for settings in steps} == {(0.5, 1.0)}


@pytest.mark.slow
def test_the_last_checkpoint_is_that_of_the_last_phase(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(path.name for path in whole.iterdir() if path.is_dir()) == FOLDERS
    supernet = load_supernet(whole / "last.pt")
    assert supernet.space.size == SPACE.size
    before = (whole / "last.pt").read_bytes()
    assert before == (whole / FOLDERS[-1] / "last.pt").read_bytes()
    capsys.readouterr()
    assert train(whole, "--resume") == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["status"], block["checkpoint"]) == ("finished", str(whole / "last.pt"))
    assert (whole / "last.pt").read_bytes() == before


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_probes_are_of_the_phase(
    make_supernet: Callable[[], MobileNetV3Supernet],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one has a single architecture, so all measure the same."""
    monkeypatch.setattr(training, "NUM_PROBE_IMAGES", 100)
    phases = phases_for(SPACE, epochs=[1, 0, 0, 0, 0, 0], warmup_epochs=[0] * 6)
    train_progressively(
        make_supernet(),
        create_loaders(DataConfig("digits", val_fraction=0.96), batch_size=30, eval_batch_size=100),
        phases,
        TrainConfig(num_probes=1),
        tmp_path,
        device=torch.device("cpu"),
    )
    (row,) = table(tmp_path / "phase-1-full")
    assert row["probe_val_top1"] == row["smallest_val_top1"] == row["largest_val_top1"]


class Killed(BaseException):
    """The process is gone: nothing of ours may catch this."""


def kill(*args: Any) -> Any:
    raise Killed


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Runs ``action`` in the ``number``-th step of all phases, from 1."""
    count = 0

    def step(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        losses = train_step(*args, **settings)
        if count == number:
            action()
        return losses

    monkeypatch.setattr(training, "train_step", step)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict of leaves; seconds are left out."""
    if isinstance(value, (dict, list, tuple)):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        leaves = {}
        for key, part in parts:
            if key != "seconds":
                leaves |= flat(part, f"{prefix}/{key}")
        return leaves
    return {prefix: value}


def leaves(folder: Path) -> dict[str, Any]:
    """All that a checkpoint holds."""
    return flat(torch.load(folder / "last.pt", weights_only=True))


leaves_of_whole = cache(leaves)  # those of the uninterrupted run do not change


def assert_same_run(output: Path, other: Path) -> None:
    """All phases are equal to the bit."""
    for folder in FOLDERS:
        found, expected = leaves(output / folder), leaves_of_whole(other / folder)
        assert found.keys() == expected.keys()
        assert any("raw_state_dict" in key for key in found)
        for key, value in expected.items():
            same = (
                torch.equal(found[key], value) if isinstance(value, Tensor) else found[key] == value
            )
            assert same, f"{folder}: {key}"
        assert table(output / folder) == table(other / folder)
    last = output / FOLDERS[-1] / "last.pt"
    assert (output / "last.pt").read_bytes() == last.read_bytes()


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(capsys.readouterr().out)
    return block


@pytest.mark.slow
@pytest.mark.parametrize("index", [1, 2])
def test_a_run_stopped_within_a_phase_resumes_to_the_same_bits(
    index: int,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, index * STEPS + 1, send(signal.SIGTERM))
        capsys.readouterr()
        assert train(tmp_path) == 130
    block = last_json(capsys)
    assert (block["status"], block["steps"]) == ("interrupted", 1)
    assert block["checkpoint"] == str(tmp_path / FOLDERS[index] / "last.pt")
    assert not (tmp_path / "last.pt").exists()
    assert train(tmp_path, "--auto-resume") == 0
    assert_same_run(tmp_path, whole)


@pytest.mark.slow
def test_a_run_killed_between_phases_resumes_to_the_same_bits(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(progressive_shrinking, "_load_teacher", kill)
        with pytest.raises(Killed):
            train(tmp_path)
    assert [path.name for path in tmp_path.rglob("last.pt")] == ["last.pt"]
    with monkeypatch.context() as patch:  # before the first checkpoint of sorted channels
        at_step(patch, STEPS + 2, kill)
        with pytest.raises(Killed):
            train(tmp_path, "--resume")
    assert (tmp_path / FOLDERS[2]).exists()
    assert not (tmp_path / FOLDERS[2] / "last.pt").exists()
    assert train(tmp_path, "--resume") == 0
    assert_same_run(tmp_path, whole)


def test_a_signal_where_a_phase_ends_stops_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, STEPS, send(signal.SIGINT))
        capsys.readouterr()
        assert train(tmp_path) == 130
    block = last_json(capsys)
    assert (block["status"], block["steps"]) == ("interrupted", 1)
    assert block["checkpoint"] == str(tmp_path / FOLDERS[1] / "last.pt")
