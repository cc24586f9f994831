"""What a step adds to the gradients, checked against losses written out and autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.nasnet import NASNetSupernet
from supernets.spaces import Architecture
from supernets.training.supernet import train_step

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def elastic(tiny_settings: dict[str, Any]) -> MobileNetV3Supernet:
    """A tiny elastic MobileNetV3 in float64, so that the order of sums does not matter."""
    settings = {key: tiny_settings[key] for key in ("num_classes", "input_size")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = MobileNetV3Supernet(width=0.1, strides=(2, 2, 2, 1, 1, 1), **settings)
    return supernet.double().train()


@pytest.fixture
def batch(make_batches: Callable[..., Batches]) -> tuple[Tensor, Tensor]:
    ((x, y),) = make_batches(1)
    return x.double(), y


def sandwich(supernet: Supernet) -> list[Architecture]:
    smallest, largest = supernet.space.extremes()
    rng = np.random.default_rng(0)
    return [largest, supernet.space.sample(rng), supernet.space.sample(rng), smallest]


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def soft_cross_entropy(logits: Tensor, probabilities: Tensor) -> Tensor:
    return -(probabilities * logits.log_softmax(1)).sum(1).mean()


def gradients_of(module: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: grad for name, grad in zip(names, found, strict=True) if grad is not None}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Up to the rounding of the loss itself, which is in float32."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("weight", [None, 3.0])
@pytest.mark.parametrize("amp", [False, True])
def test_a_step_adds_the_weighted_gradients_of_its_paths(
    amp: bool,
    weight: float | None,
    make_supernet: Callable[..., Supernet],
    make_batches: Callable[..., Batches],
) -> None:
    supernet = make_supernet(bn_mode="batch").train()
    space = supernet.space
    archs = [space.architecture([3, 0, 2, 1, 4, 3]), space.architecture([1, 2, 2, 1, 0, 4])]
    ((x, y),) = make_batches(1)
    losses = train_step(supernet, archs, x, y, amp=amp, weight=weight)
    found = gradients(supernet)
    with torch.autocast("cpu", torch.bfloat16, enabled=amp, cache_enabled=False):
        logits = [supernet(x, arch).float() for arch in archs]
    assert (logits[0].bfloat16().float().equal(logits[0])) == amp
    own = [F.cross_entropy(each, y) for each in logits]
    assert losses.tolist() == pytest.approx([loss.item() for loss in own])
    expected = gradients_of(supernet, (0.5 if weight is None else weight) * (own[0] + own[1]))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        difference = (found[name] - gradient).norm() / gradient.norm()
        assert difference < (1e-2 if amp else 1e-5), name
    assert not losses.requires_grad


def test_a_second_step_adds_to_the_first(
    elastic: MobileNetV3Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    archs = sandwich(elastic)[:2]
    train_step(elastic, archs, *batch)
    once = {name: gradient.clone() for name, gradient in gradients(elastic).items()}
    train_step(elastic, archs, *batch)
    assert_close(gradients(elastic), {name: 2 * gradient for name, gradient in once.items()})


def test_paths_of_a_sandwich_learn_from_the_first_which_learns_the_labels(
    elastic: MobileNetV3Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    archs = sandwich(elastic)
    settings: dict[str, Any] = {"label_smoothing": 0.1, "distills": True, "weight": 1.0}
    losses = train_step(elastic, archs, x, y, **settings)
    found = gradients(elastic)
    logits = [elastic(x, arch) for arch in archs]
    smoothed = 0.9 * F.one_hot(y, 3) + 0.1 / 3
    soft = logits[0].detach().softmax(1)
    expected = [soft_cross_entropy(logits[0], smoothed)]
    expected += [soft_cross_entropy(each, soft) for each in logits[1:]]
    assert losses.tolist() == pytest.approx([loss.item() for loss in expected], rel=1e-5)
    assert_close(found, gradients_of(elastic, torch.stack(expected).sum()))


def test_without_distillation_all_paths_learn_the_labels(
    elastic: MobileNetV3Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    archs = sandwich(elastic)
    losses = train_step(elastic, archs, x, y)
    expected = [F.cross_entropy(elastic(x, arch), y).item() for arch in archs]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kd_ratio", [1.0, 0.3])
def test_a_teacher_is_learned_from_beside_the_labels(
    kd_ratio: float, elastic: MobileNetV3Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    archs = sandwich(elastic)[1:3]
    teacher_logits = 3 * torch.randn(len(y), 3, generator=torch.Generator().manual_seed(5))
    settings: dict[str, Any] = {"teacher_logits": teacher_logits, "kd_ratio": kd_ratio}
    losses = train_step(elastic, archs, x, y, label_smoothing=0.1, **settings, weight=1.0)
    found = gradients(elastic)
    smoothed, soft = 0.9 * F.one_hot(y, 3) + 0.1 / 3, teacher_logits.softmax(1)
    logits = [elastic(x, arch) for arch in archs]
    expected = [
        soft_cross_entropy(each, smoothed) + kd_ratio * soft_cross_entropy(each, soft)
        for each in logits
    ]
    assert losses.tolist() == pytest.approx([loss.item() for loss in expected], rel=1e-5)
    assert_close(found, gradients_of(elastic, torch.stack(expected).sum()))


def test_a_teacher_of_no_weight_is_none(
    elastic: MobileNetV3Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    archs = sandwich(elastic)[1:3]
    expected = train_step(elastic, archs, *batch)
    without = {name: gradient.clone() for name, gradient in gradients(elastic).items()}
    elastic.zero_grad()
    logits = torch.randn(len(batch[1]), 3)
    losses = train_step(elastic, archs, *batch, teacher_logits=logits, kd_ratio=0.0)
    assert torch.equal(losses, expected)
    for name, gradient in gradients(elastic).items():
        assert torch.equal(gradient, without[name]), name


def test_soft_labels_take_the_place_of_labels(
    elastic: MobileNetV3Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    archs = sandwich(elastic)[:1]
    soft = torch.rand(len(y), 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    losses = train_step(elastic, archs, x, soft)
    found = gradients(elastic)
    expected = soft_cross_entropy(elastic(x, archs[0]), soft)
    assert losses.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_close(found, gradients_of(elastic, expected))


@pytest.mark.parametrize("distills", [False, True])
def test_students_of_the_first_path_have_no_dropout(
    distills: bool,
    elastic: MobileNetV3Supernet,
    batch: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real: Callable[..., Tensor] = elastic.forward
    rates: list[tuple[float, float]] = []

    def forward(x: Tensor, arch: Architecture, *, dropout: float, drop_path: float) -> Tensor:
        rates.append((dropout, drop_path))
        return real(x, arch, dropout=dropout, drop_path=drop_path)

    monkeypatch.setattr(elastic, "forward", forward)
    train_step(elastic, sandwich(elastic), *batch, dropout=0.3, drop_path=0.2, distills=distills)
    others: Sequence[tuple[float, float]] = [(0.0, 0.0) if distills else (0.3, 0.2)] * 3
    assert rates == [(0.3, 0.2), *others]


@pytest.fixture
def with_auxiliary_head() -> NASNetSupernet:
    """Tiny NASNet cells in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = NASNetSupernet(num_classes=3, channels=2, layers=3, auxiliary=True)
    return supernet.double().train()


@pytest.fixture
def larger_batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Of the size that an auxiliary head needs."""
    return F.interpolate(batch[0], 32)[:6], batch[1][:6]


@pytest.mark.parametrize("aux_weight", [0.0, 0.4, 2.0])
def test_an_auxiliary_head_adds_its_weighted_loss(
    aux_weight: float, with_auxiliary_head: NASNetSupernet, larger_batch: tuple[Tensor, Tensor]
) -> None:
    supernet, (x, y) = with_auxiliary_head, larger_batch
    rng = np.random.default_rng(0)
    archs = [supernet.space.sample(rng) for _ in range(2)]
    losses = train_step(supernet, archs, x, y, label_smoothing=0.1, aux_weight=aux_weight)
    found = gradients(supernet)
    smoothed = 0.9 * F.one_hot(y, 3) + 0.1 / 3
    expected = []
    for arch in archs:
        logits, auxiliary_logits = supernet.forward_with_auxiliary(x, arch)
        expected.append(soft_cross_entropy(logits, smoothed))
        if aux_weight:
            expected[-1] += aux_weight * soft_cross_entropy(auxiliary_logits, smoothed)
    assert losses.tolist() == pytest.approx([loss.item() for loss in expected], rel=1e-5)
    assert_close(found, gradients_of(supernet, torch.stack(expected).mean()))
    assert any(".auxiliary." in name for name in found) == (aux_weight > 0)


def test_an_auxiliary_head_learns_what_its_path_learns(
    with_auxiliary_head: NASNetSupernet, larger_batch: tuple[Tensor, Tensor]
) -> None:
    """Of a student the soft labels."""
    supernet, (x, y) = with_auxiliary_head, larger_batch
    rng = np.random.default_rng(1)
    archs = [supernet.space.sample(rng) for _ in range(2)]
    losses = train_step(supernet, archs, x, y, distills=True, aux_weight=0.5)
    first, student = [supernet.forward_with_auxiliary(x, arch) for arch in archs]
    soft = first[0].softmax(1)
    expected = [
        F.cross_entropy(first[0], y) + 0.5 * F.cross_entropy(first[1], y),
        soft_cross_entropy(student[0], soft) + 0.5 * soft_cross_entropy(student[1], soft),
    ]
    assert losses.tolist() == pytest.approx([loss.item() for loss in expected], rel=1e-5)


@pytest.mark.parametrize("drop_path", [0.0, 0.2])
def test_an_auxiliary_head_leaves_the_rates_of_the_path(
    drop_path: float,
    with_auxiliary_head: NASNetSupernet,
    larger_batch: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = with_auxiliary_head.forward_with_auxiliary
    rates: list[dict[str, float]] = []

    def forward(x: Tensor, arch: Architecture, **given: float) -> tuple[Tensor, Tensor]:
        rates.append(given)
        return real(x, arch, **given)

    monkeypatch.setattr(with_auxiliary_head, "forward_with_auxiliary", forward)
    arch = with_auxiliary_head.space.sample(np.random.default_rng(0))
    settings: dict[str, float] = {"dropout": 0.1, "drop_path": drop_path}
    train_step(with_auxiliary_head, [arch], *larger_batch, aux_weight=0.4, **settings)
    assert rates == [settings]
