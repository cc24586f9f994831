"""What minibatches of anybody's making are taken for, and which are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from supernets.data.own_minibatches import check_first, checked_minibatch, checked_minibatches
from supernets.runtime.own_code import OwnCodeError

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_real_numbers_and_labels_are_converted(kind: torch.dtype) -> None:
    x, y = checked_minibatch([IMAGES.to(kind), LABELS.to(torch.uint8)], "val")
    assert torch.equal(x, IMAGES.to(kind).float()) and x.dtype == torch.float32
    assert torch.equal(y, LABELS) and y.dtype == torch.int64


def test_what_is_right_stays_as_it_is() -> None:
    ((x, y),) = checked_minibatches([(IMAGES, LABELS)], "val")
    assert x is IMAGES and y is LABELS
    rows = IMAGES.flatten(1)
    assert checked_minibatch((rows, LABELS), "val", are_images=False)[0] is rows
    doubles = IMAGES.double()
    assert checked_minibatch((doubles, LABELS), "val", torch.float64)[0] is doubles


@pytest.mark.parametrize(
    ("minibatch", "message"),
    [
        (
            (IMAGES.mul(255).to(torch.uint8), LABELS),
            r"Images of the val minibatches must be a tensor \(N, C, H, W\) of real numbers, got "
            r"uint8 of shape \(4, 3, 8, 8\); normalise them where they are made, as \(pixels / 255",
        ),
        ((IMAGES.long(), LABELS), "got int64 of shape"),
        ((IMAGES.numpy(), LABELS), "must be a tensor"),
        ((IMAGES[0], LABELS), r"got float32 of shape \(3, 8, 8\)"),
        ((IMAGES, LABELS.float()), r"Labels of .* must be a tensor \(4,\) of whole numbers, got f"),
        ((IMAGES, LABELS[:3]), r"got int64 of shape \(3,\)"),
        ((IMAGES, LABELS, LABELS), r"Each of the val minibatches must be \(images, labels\)"),
        ({"image": IMAGES}, "must be .images, labels., got a dict|got {"),
    ],
    ids=["pixels", "integers", "array", "one image", "real labels", "fewer", "three", "mapping"],
)
def test_what_cannot_be_computed_with_is_refused(minibatch: Any, message: str) -> None:
    with pytest.raises(OwnCodeError, match=message) as caught:
        checked_minibatch(minibatch, "the val minibatches")
    assert "\n" not in str(caught.value)
    with pytest.raises(OwnCodeError, match=message):
        check_first([minibatch], "the val minibatches")


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(3)])
def test_the_look_at_the_first_minibatch_changes_nothing(
    generator: torch.Generator | None,
) -> None:
    data = TensorDataset(torch.arange(50).view(50, 1, 1, 1).float(), torch.arange(50))

    def order(looks: bool) -> Tensor:
        if generator is not None:
            generator.manual_seed(3)
        torch.manual_seed(2)
        loader: DataLoader[Any] = DataLoader(data, 7, shuffle=True, generator=generator)
        if looks:
            check_first(loader, "val")
        return torch.cat([y for _, y in loader])

    assert torch.equal(order(looks=True), order(looks=False))


def test_what_can_be_iterated_over_once_is_left_whole() -> None:
    def once() -> Iterator[Any]:
        yield IMAGES, LABELS

    batches = once()
    check_first(batches, "val")
    assert len(list(batches)) == 1
    check_first([], "val")
