"""What the space base class does at the edges that the real spaces do not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from supernets.spaces import MAX_ENUMERABLE_SIZE, Decision, SearchSpace


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


def test_values_are_the_numbers_of_the_options_or_their_indices() -> None:
    assert Decision("kernel", ("3", "5", "7")).values == (3, 5, 7)
    assert Decision("width", ("0.5", "1e2")).values == (0.5, 100)
    assert Decision("op", ("3", "none", "7")).values == (0, 1, 2)


def test_space_of_one_architecture_cannot_be_mutated(
    make_space: Callable[..., SearchSpace],
) -> None:
    space = make_space(2, 3).restrict({"d0": ("1",), "d1": ("2",)})
    (arch,) = space.enumerate()
    assert arch.choices == (1, 2)
    with pytest.raises(ValueError, match="'toy' that cannot be mutated"):
        space.mutate(arch, np.random.default_rng(0))


def test_group_names_end_at_a_dot(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(*[2] * 12)  # d1 is no group of d10 and d11
    assert space.restrict({"d1": ("0",)}).size == 2**11


def test_restricting_twice_narrows(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(4, 2).restrict({"d0": ("0", "2", "3")}).restrict({"d0": ("3", "2")})
    assert [arch.choices for arch in space.enumerate()] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    with pytest.raises(ValueError, match="'d0' offers 2, 3, got 0"):
        space.restrict({"d0": ("0", "2")})
