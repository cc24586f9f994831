"""Minibatches of another size, of the same images in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


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
