"""The same images in minibatches of another size."""

from __future__ import annotations

from itertools import chain, islice, repeat

import pytest
import torch
from torch import Tensor

from supernets.data.rebatching import rebatched


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    """Images whose only pixel is their number, as is their label."""
    numbers = torch.arange(sum(sizes)).split(sizes)
    return [(n.float().view(-1, 1, 1, 1), n) for n in numbers]


@pytest.mark.parametrize("sizes", [(6,), (1, 1, 1, 1, 1, 1), (4, 2), (2, 4), (5, 1), (3, 3)])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 6, 9])
def test_order_and_sizes(sizes: tuple[int, ...], batch_size: int) -> None:
    found = list(rebatched(batches(*sizes), batch_size))
    whole, rest = divmod(6, batch_size)
    assert [len(y) for _, y in found] == [batch_size] * whole + [rest] * (rest > 0)
    assert torch.cat([y for _, y in found]).tolist() == list(range(6))
    assert all(torch.equal(x.flatten(), y.float()) for x, y in found)


def test_endless_batches_are_read_only_as_far_as_needed() -> None:
    endless = chain.from_iterable(repeat(batches(3, 2)))
    found = [y.tolist() for _, y in islice(rebatched(endless, 4), 3)]
    assert found == [[0, 1, 2, 3], [4, 0, 1, 2], [3, 4, 0, 1]]


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        list(rebatched([], 0))
