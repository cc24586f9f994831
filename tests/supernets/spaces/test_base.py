"""What the space base class does at the edges that the real spaces do not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from supernets.spaces import MAX_ENUMERABLE_SIZE, SearchSpace


def test_size_is_the_product_of_the_options(make_space: Callable[..., SearchSpace]) -> None:
    assert make_space(2, 3, 7).size == 42
    assert make_space(*[10] * 30).size == 10**30  # exact, beyond 64 bits


def test_enumeration_is_lexicographic(make_space: Callable[..., SearchSpace]) -> None:
    assert [arch.choices for arch in make_space(2, 1, 3).enumerate()] == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 0, 2),
        (1, 0, 0),
        (1, 0, 1),
        (1, 0, 2),
    ]


def test_enumeration_stops_at_its_limit(make_space: Callable[..., SearchSpace]) -> None:
    assert next(make_space(MAX_ENUMERABLE_SIZE).enumerate()).choices == (0,)
    with pytest.raises(ValueError, match="100001 architectures.*sample this one instead"):
        next(make_space(MAX_ENUMERABLE_SIZE + 1).enumerate())


def test_mutation_leaves_decisions_without_alternative_alone(
    make_space: Callable[..., SearchSpace],
) -> None:
    space, rng = make_space(1, 2, 1), np.random.default_rng(0)
    arch = space.architecture((0, 0, 0))
    assert {space.mutate(arch, rng).choices for _ in range(20)} == {(0, 1, 0)}


def test_encoding_of_decisions_of_different_sizes(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(2, 1, 3)
    encoding = space.encode([space.architecture((1, 0, 2)), space.architecture((0, 0, 0))])
    assert encoding.tolist() == [[0, 1, 1, 0, 0, 1], [1, 0, 1, 1, 0, 0]]
