"""Minibatches of other sizes than they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def without_single_images(
    minibatches: Iterable[tuple[Tensor, Tensor]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields minibatches ``(x, y)``, joining those of a single image to the one before."""
    waiting: tuple[Tensor, Tensor] | None = None
    for x, y in minibatches:
        if waiting is not None and len(y) == 1:
            waiting = torch.cat([waiting[0], x]), torch.cat([waiting[1], y])
            continue
        if waiting is not None:
            yield waiting
        waiting = x, y
    if waiting is not None:
        yield waiting


def rebatched(
    batches: Iterable[tuple[Tensor, Tensor]], batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields minibatches ``(x, y)`` of ``batch_size`` images, the last one of what is left.

    Args:
        batches: Yields ``(x, y)`` with x (N, C, H, W) and y (N,), with any N.
        batch_size: Number of images per minibatch. At least 1.

    Raises:
        ValueError: If ``batch_size`` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    waiting: list[tuple[Tensor, Tensor]] = []
    num_waiting = 0
    for x, y in batches:
        waiting.append((x, y))
        num_waiting += len(y)
        if num_waiting >= batch_size:
            x, y = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            whole = num_waiting - num_waiting % batch_size
            for start in range(0, whole, batch_size):
                yield x[start : start + batch_size], y[start : start + batch_size]
            num_waiting -= whole
            waiting = [(x[whole:], y[whole:])] if num_waiting else []
    if num_waiting:
        x, y = (torch.cat(parts) for parts in zip(*waiting, strict=True))
        yield x, y
