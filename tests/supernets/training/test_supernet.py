"""What a training of a supernet gives to each step, and measures after each epoch."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernets.cli.train import main
from supernets.cost.analytic import CostModel
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.nasnet import NASNetSupernet
from supernets.spaces import Architecture
from supernets.training import supernet as training
from supernets.training.checkpoint import load_supernet
from supernets.training.evaluation import evaluate_recalibrated
from supernets.training.loop import TrainingError
from supernets.training.path_sampling import FairPaths, SandwichPaths, UniformPaths
from supernets.training.supernet import train_step, train_supernet
from supernets.training.supernet_config import TrainConfig
from tests.supernets.training.states import spy_on_steps

CELLS = "--channels 4 --cells-per-stage 1 --num-probes 0 --epochs 1".split()
ELASTIC = (
    "--space mobilenetv3 --width 0.1 --strides 2 2 2 1 1 1 --val-fraction 0.8 --num-probes 0 "
    "--epochs 1"
).split()
NASNET = "--channels 2 --layers 3 --val-fraction 0.95 --num-probes 0 --epochs 1".split()


def train(output: Path, *flags: str) -> int:
    """Trains cells, unless the flags name another space."""
    tiny = [] if "--space" in flags else CELLS
    return main([*tiny, "--output", str(output), *flags])


def checkpoint(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(output / "last.pt", weights_only=True)
    return loaded


def table(output: Path) -> list[dict[str, str]]:
    with open(output / "summary.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            [*ELASTIC, "--paths", "sandwich", "--dropout", "0.2", "--drop-path", "0.3"],
            {"distills": True, "weight": 1.0, "dropout": 0.2, "drop_path": 0.3},
        ),
        (["--paths", "uniform", "--num-paths", "4"], {"distills": False, "weight": 0.25}),
        (
            ["--dropout", "0.1", "--label-smoothing", "0.2"],
            {"dropout": 0.1, "label_smoothing": 0.2, "aux_weight": 0.0},
        ),
        (
            ["--space", "nasnet", *NASNET, "--drop-path", "0.1"],
            {"drop_path": 0.1, "aux_weight": 0.0, "weight": 1.0},
        ),
        (
            ["--space", "darts", *NASNET, "--image-size", "32", "--aux-weight", "0.4"],
            {"drop_path": 0.0, "aux_weight": 0.4, "weight": 1.0},
        ),
    ],
)
def test_a_step_is_as_paths_and_recipe_say(
    flags: list[str],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = spy_on_steps(monkeypatch)
    assert train(tmp_path, *flags, "--batch-size", "1200") == 0
    (step,) = steps
    assert {name: step[name] for name in expected} == expected
    assert step["teacher_logits"] is None
    assert step["y"].dim() == 1


def test_mixed_images_have_soft_labels_that_are_smoothed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spy_on_steps(monkeypatch)
    flags = ["--paths", "uniform", "--batch-size", "400"]
    assert train(tmp_path / "plain", *flags) == 0
    assert train(tmp_path / "mixed", *flags, "--mixup", "0.8", "--label-smoothing", "0.1") == 0
    for plain, mixed in zip(steps[:2], steps[3:5], strict=True):  # the third is of odd size
        soft = mixed["y"]
        assert mixed["label_smoothing"] == 0.0
        torch.testing.assert_close(soft.sum(1), torch.ones(len(soft)))
        assert soft.min().item() == pytest.approx(0.01)
        share = ((soft - 0.01) / 0.9).gather(1, plain["y"][:, None]).clamp(0, 1)[:, :, None, None]
        partner, same = plain["x"].flip(0), (plain["y"] == plain["y"].flip(0))[:, None, None, None]
        (weight,) = {round(value, 4) for value in share[~same].tolist()}
        torch.testing.assert_close(
            mixed["x"], weight * plain["x"] + (1 - weight) * partner, rtol=1e-3, atol=1e-3
        )


def elastic_supernet() -> MobileNetV3Supernet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MobileNetV3Supernet(
            num_classes=10, width=0.1, input_size=(1, 8, 8), strides=(2, 2, 2, 1, 1, 1)
        )


def test_dropout_follows_from_the_step_alone(tmp_path: Path) -> None:
    loaders = create_loaders(DataConfig("digits", val_fraction=0.8), batch_size=150)
    config = TrainConfig(epochs=1, lr=0.1, dropout=0.5, drop_path=0.5, num_probes=0)
    trained = []
    for seed in range(2):
        torch.manual_seed(seed)  # what ran before must not matter, nor what comes after change
        state = torch.get_rng_state()
        supernet = elastic_supernet()
        paths = UniformPaths(supernet.space)
        folder = tmp_path / str(seed)
        folder.mkdir()
        train_supernet(supernet, loaders, paths, config, folder, device=torch.device("cpu"))
        assert torch.equal(torch.get_rng_state(), state)
        trained.append(supernet.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_teacher_has_the_memory_format_of_the_training(
    channels_last: bool, tmp_path: Path
) -> None:
    """Which moves its logits: a resumed phase reads it from a file, and must get the same."""
    supernet = elastic_supernet()
    paths, teacher = UniformPaths(supernet.space), supernet.extract(supernet.space.extremes()[1])
    teacher.to(memory_format=torch.contiguous_format)
    config = TrainConfig(epochs=1, num_probes=0, channels_last=channels_last)
    loaders = create_loaders(DataConfig("digits", val_fraction=0.8), batch_size=300)
    device = torch.device("cpu")
    train_supernet(supernet, loaders, paths, config, tmp_path, device=device, teacher=teacher)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    for name, weight in teacher.named_parameters():
        if weight.dim() == 4:
            expected = torch.empty(weight.shape).to(memory_format=wanted).stride()
            assert weight.stride() == expected, name


def test_dropping_blocks_needs_a_supernet_that_can(
    tmp_path: Path, make_supernet: Callable[..., Supernet]
) -> None:
    supernet = make_supernet(num_classes=10, input_size=(1, 8, 8))
    loaders, config = create_loaders("digits"), TrainConfig(drop_path=0.1)
    paths, device = UniformPaths(supernet.space), torch.device("cpu")
    with pytest.raises(ValueError, match="'nasbench201' has no blocks to drop"):
        train_supernet(supernet, loaders, paths, config, tmp_path, device=device)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("auxiliary", "aux_weight", "message"),
    [
        (False, 0.4, "'nasnet' has no auxiliary head for an aux_weight of 0.4; build it with one"),
        (True, 0.0, "An aux_weight of 0 leaves the auxiliary head of the supernet untrained"),
    ],
)
def test_an_auxiliary_head_and_its_weight_go_together(
    auxiliary: bool, aux_weight: float, message: str, tmp_path: Path
) -> None:
    supernet = NASNetSupernet(num_classes=10, channels=2, layers=3, auxiliary=auxiliary)
    loaders, config = create_loaders("digits"), TrainConfig(aux_weight=aux_weight)
    paths, device = UniformPaths(supernet.space), torch.device("cpu")
    with pytest.raises(ValueError, match=message):
        train_supernet(supernet, loaders, paths, config, tmp_path, device=device)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_canonical_is_named_by_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Architecture] = []

    def step(supernet: Supernet, archs: list[Architecture], *args: Any, **settings: Any) -> Tensor:
        drawn.extend(archs)
        return torch.tensor([1.0, 1.0, float("nan"), 1.0, 1.0, 1.0, 1.0])

    monkeypatch.setattr(training, "train_step", step)
    supernet = NASNetSupernet(num_classes=10, channels=2, layers=3, input_size=(1, 8, 8))
    space, device = supernet.space, torch.device("cpu")
    loaders, config = create_loaders("digits"), TrainConfig(num_probes=0)
    with pytest.raises(TrainingError, match="The loss became nan at step 0") as caught:
        train_supernet(supernet, loaders, FairPaths(space), config, tmp_path, device=device)
    arch = space.architecture(drawn[2].choices)
    assert arch != drawn[2]
    assert f", path {space.format(arch)}; lower --lr" in str(caught.value)


@pytest.mark.slow
def test_the_table_has_the_extremes_of_an_ordered_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured with the averaged weights, on the first images of the val split."""
    monkeypatch.setattr(training, "NUM_PROBE_IMAGES", 150)
    monkeypatch.setattr(training, "NUM_PROBE_BN_BATCHES", 2)
    supernet = elastic_supernet()
    loaders = create_loaders(
        DataConfig("digits", val_fraction=0.8), batch_size=100, eval_batch_size=100
    )
    config = TrainConfig(epochs=1, lr=0.1, num_probes=1, ema_decay=0.5)
    paths = SandwichPaths(supernet.space, CostModel(supernet), num_paths=3)
    device = torch.device("cpu")
    result = train_supernet(supernet, loaders, paths, config, tmp_path, device=device)
    trained = load_supernet(result.checkpoint)
    val_batches, bn_batches = list(loaders.val)[:2], list(islice(loaders.train_eval, 2))

    def measure(arch: Architecture) -> float:
        return evaluate_recalibrated(
            trained,
            trained.extract(arch),
            val_batches,
            recalibrate_batches=bn_batches,
            device=device,
        ).top1

    (row,) = table(tmp_path)
    smallest, largest = supernet.space.extremes()
    assert float(row["smallest_val_top1"]) == pytest.approx(measure(smallest))
    assert float(row["largest_val_top1"]) == pytest.approx(measure(largest))
    assert 0 <= float(row["probe_val_top1"]) <= 100


def test_the_table_of_an_unordered_space_has_no_extremes(tmp_path: Path) -> None:
    assert train(tmp_path, "--paths", "uniform", "--batch-size", "1200", "--num-probes", "1") == 0
    (row,) = table(tmp_path)
    assert "probe_val_top1" in row and "largest_val_top1" not in row


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
        flags = ["--paths", "uniform", "--batch-size", "600"]
        assert train(tmp_path / mode, *flags, "--inactive-grads", mode) == 0
        after = checkpoint(tmp_path / mode)["state_dict"]
        moved = {name for name in initial if not torch.equal(after[name], initial[name])}
        assert used < initial.keys()  # two paths leave operations out
        before[mode] = moved, used, initial.keys()
    moved, _, every = before["zero"]
    assert moved == every
    moved, used, _ = before["skip"]
    assert moved == used
