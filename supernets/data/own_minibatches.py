"""Minibatches of anybody's making, as of a ``DataLoader``, checked and of usable kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from supernets.data.image_loader import Loader
from supernets.runtime.option_types import shown
from supernets.runtime.own_code import OwnCodeError

Minibatch = tuple[Tensor, Tensor]


def checked_minibatch(
    minibatch: Any, what: str, dtype: torch.dtype = torch.float32, *, are_images: bool = True
) -> Minibatch:
    """Returns the images (N, C, H, W) and labels (N,) int64 of a minibatch; real numbers as asked.

    Whole numbers are refused as images: they are levels of pixels that nobody normalised.

    Args:
        minibatch: What is to be ``(x, y)``.
        what: What it is of, in messages, for example ``"the train minibatches"``.
        dtype: What the images are to be; those that are stay as they are.
        are_images: Whether they must have four axes; False for inputs of any network.

    Raises:
        OwnCodeError: If it is something else than images and labels.

    Example:
        >>> x, y = checked_minibatch([torch.zeros(2, 3, 8, 8).double(), torch.ones(2).int()], "val")
        >>> x.dtype, y.dtype
        (torch.float32, torch.int64)
    """
    if not isinstance(minibatch, tuple | list) or len(minibatch) != 2:
        raise OwnCodeError(
            f"Each of {what} must be (images, labels), got {shown(minibatch)}; make it so."
        )
    x, y = minibatch
    if not isinstance(x, Tensor) or are_images and x.dim() != 4 or not x.is_floating_point():
        raise OwnCodeError(
            f"Images of {what} must be a tensor (N, C, H, W) of real numbers, got {_told(x)}; "
            "normalise them where they are made, as (pixels / 255 - mean) / std."
        )
    if not isinstance(y, Tensor) or y.shape != x.shape[:1] or y.is_floating_point():
        raise OwnCodeError(
            f"Labels of {what} must be a tensor ({len(x)},) of whole numbers, got {_told(y)}."
        )
    return x.to(dtype), y.to(torch.int64)


def checked_minibatches(
    batches: Iterable[Any],
    what: str,
    dtype: torch.dtype = torch.float32,
    *,
    are_images: bool = True,
) -> Iterator[Minibatch]:
    """Yields minibatches as ``checked_minibatch`` returns them; the arguments are its own."""
    for minibatch in batches:
        yield checked_minibatch(minibatch, what, dtype, are_images=are_images)


def check_first(batches: Iterable[Any], what: str) -> None:
    """Looks at the first minibatch, so that wrong ones are refused before there is work.

    Nothing random that comes later depends on it. Loaders of this package are not looked at, nor
    what can be iterated over once.

    Args:
        batches: The minibatches.
        what: As of ``checked_minibatch``.

    Raises:
        OwnCodeError: As ``checked_minibatch``.
    """
    if isinstance(batches, Loader):
        return
    own = batches.generator if isinstance(batches, DataLoader) else None
    state = None if own is None else own.get_state()
    with torch.random.fork_rng(devices=[]):
        iterator = iter(batches)
        if iterator is not batches:
            for minibatch in iterator:
                checked_minibatch(minibatch, what)
                break
    if own is not None and state is not None:
        own.set_state(state)


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return shown(value)
