"""Mixup and CutMix: equal to timm's, and decided by the seed and the step alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor

from supernets.data.mixup import SeededMixup

BOTH = {"mixup": 0.8, "cutmix": 1.0}


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Eight images, each of one value that no other has, and their labels."""
    x = torch.arange(1.0, 9.0)[:, None, None, None].expand(8, 3, 16, 16).clone()
    return x, torch.tensor([0, 1, 2, 3, 3, 0, 2, 1])


def mix(x: Tensor, y: Tensor, step: int = 0, **settings: Any) -> tuple[Tensor, Tensor]:
    return SeededMixup(num_classes=4, **{**BOTH, **settings})(x, y, step)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"cutmix": 0.0}, {"mixup"}),
        ({"mixup": 0.0}, {"cutmix"}),
        ({}, {"mixup", "cutmix"}),
        ({"prob": 0.5}, {"mixup", "cutmix", "none"}),
    ],
)
def test_it_mixes_as_timm_does(
    settings: dict[str, Any], kinds: set[str], batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch
    given = {**BOTH, "prob": 1.0, **settings}
    seen = set()
    for step in range(20):
        found_x, found_y = mix(x, y, step, label_smoothing=0.1, seed=3, **settings)
        reference = Mixup(
            given["mixup"], given["cutmix"], prob=given["prob"], label_smoothing=0.1, num_classes=4
        )
        np.random.seed(np.random.SeedSequence((3, step)).generate_state(4))
        expected_x, expected_y = reference(x.clone(), y)
        assert torch.equal(found_x, expected_x)
        assert torch.equal(found_y, expected_y)
        is_same = torch.equal(found_x, x)
        seen.add("none" if is_same else "mixup" if is_flat(found_x) else "cutmix")
    assert seen == kinds


def is_flat(x: Tensor) -> bool:
    """Whether each image still has one value only."""
    return bool((x.flatten(1).amax(1) == x.flatten(1).amin(1)).all())


def test_labels_have_the_weight_of_the_pixels(batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    share = (x + x.flip(0)) / 2  # 4.5 everywhere: what half of each would give
    assert torch.equal(share, torch.full_like(x, 4.5))
    for step in range(20):
        mixed, soft = mix(x, y, step)
        own = F.one_hot(y, 4).float()
        # image i has the mean value w * (i + 1) + (1 - w) * (8 - i)
        weight = (mixed.mean((1, 2, 3))[0] - 8) / (1 - 8)
        expected = weight * own + (1 - weight) * own.flip(0)
        assert torch.allclose(soft, expected, atol=1e-5)
        assert torch.allclose(soft.sum(1), torch.ones(8))


@pytest.mark.parametrize("switch_prob", [0.0, 1.0])
def test_switch_prob_chooses_between_the_two(
    switch_prob: float, batch: tuple[Tensor, Tensor]
) -> None:
    kinds = {is_flat(mix(*batch, step, switch_prob=switch_prob)[0]) for step in range(10)}
    assert kinds == {switch_prob == 0.0}


def test_prob_zero_only_smooths(batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    mixed, soft = mix(x, y, prob=0.0, label_smoothing=0.2)
    assert torch.equal(mixed, x)
    assert torch.allclose(soft, 0.8 * F.one_hot(y, 4) + 0.05)


def test_the_loss_of_unmixed_soft_labels_is_that_of_label_smoothing(
    batch: tuple[Tensor, Tensor],
) -> None:
    """PyTorch's cross entropy of soft labels, timm's, and both smoothed ones agree."""
    x, y = batch
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    _, soft = mix(x, y, prob=0.0, label_smoothing=0.1)
    losses = [
        F.cross_entropy(logits, soft),
        F.cross_entropy(logits, y, label_smoothing=0.1),
        SoftTargetCrossEntropy()(logits, soft),
        LabelSmoothingCrossEntropy(0.1)(logits, y),
    ]
    assert [loss.item() for loss in losses] == pytest.approx([losses[0].item()] * 4)


def test_seed_and_step_decide_whatever_ran_before(batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    mixing = SeededMixup(num_classes=4, seed=1, **BOTH)
    first = [mixing(x, y, step) for step in range(5)]
    np.random.seed(77)
    torch.manual_seed(77)
    again = [SeededMixup(num_classes=4, seed=1, **BOTH)(x, y, step) for step in reversed(range(5))]
    for (x1, y1), (x2, y2) in zip(first, reversed(again), strict=True):
        assert torch.equal(x1, x2) and torch.equal(y1, y2)
    assert len({tuple(soft.flatten().tolist()) for _, soft in first}) == 5
    other = [SeededMixup(num_classes=4, seed=2, **BOTH)(x, y, step)[1] for step in range(5)]
    assert not any(torch.equal(found, soft) for found, (_, soft) in zip(other, first, strict=True))


def test_global_random_states_stay_as_they_were(batch: tuple[Tensor, Tensor]) -> None:
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.rand(), torch.rand(1)
    np.random.seed(5)
    torch.manual_seed(5)
    mix(*batch)
    assert (np.random.rand(), torch.rand(1)) == expected


def test_images_and_labels_passed_in_stay_as_they_were(batch: tuple[Tensor, Tensor]) -> None:
    x, y = (tensor.clone() for tensor in batch)
    assert not torch.equal(mix(*batch)[0], x)
    assert torch.equal(batch[0], x) and torch.equal(batch[1], y)


def test_channels_last_stays(batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    mixed, _ = mix(x.to(memory_format=torch.channels_last), y)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, mix(x, y)[0])


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_last_of_an_odd_number_of_images_stays_unmixed(
    size: int, batch: tuple[Tensor, Tensor]
) -> None:
    x, y = batch[0][:size], batch[1][:size]
    mixed, soft = mix(x, y, label_smoothing=0.2)
    assert mixed.shape == x.shape and soft.shape == (size, 4)
    assert torch.equal(mixed[-1], x[-1])
    assert torch.allclose(soft[-1], 0.8 * F.one_hot(y[-1], 4) + 0.05)
    if size > 1:
        expected_x, expected_y = mix(x[:-1], y[:-1], label_smoothing=0.2)
        assert torch.equal(mixed[:-1], expected_x) and torch.equal(soft[:-1], expected_y)
        assert not torch.equal(mixed[:-1], x[:-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixup": 0.0, "cutmix": 0.0}, "mixup or cutmix must be positive"),
        ({"mixup": -1.0}, "mixup must not be negative, got -1.0."),
        ({"cutmix": -1.0}, "cutmix must not be negative"),
        ({"prob": 1.5}, "prob must be from 0 to 1"),
        ({"switch_prob": -0.5}, "switch_prob must be from 0 to 1"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to less than 1"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SeededMixup(**{"num_classes": 4, **BOTH, **settings})
