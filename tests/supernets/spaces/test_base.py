"""What the space base class does at the edges that the real spaces do not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, Decision, SearchSpace


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


class Pairs(SearchSpace):
    """Unordered pairs of letters: their canonical form is sorted."""

    name = "pairs"

    def __init__(self, letters: str) -> None:
        self.decisions = (Decision("first", tuple(letters)), Decision("second", tuple(letters)))
        super().__init__()

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.sort(choices, axis=1)

    def format(self, arch: Architecture) -> str:
        return "".join(self.decisions[0].options[choice] for choice in arch.choices)

    def parse(self, text: str) -> Architecture:
        return self.architecture([self.decisions[0].options.index(letter) for letter in text])


def test_mutants_that_are_the_parent_in_another_order_are_drawn_again() -> None:
    space, rng = Pairs("ab").restrict({"first": ("a",)}), np.random.default_rng(0)
    assert space.parse("ba") == space.parse("ab") == Architecture("pairs", (0, 1))
    assert {space.format(space.mutate(space.parse("ab"), rng)) for _ in range(20)} == {"aa"}
    found = {Pairs("abc").mutate(space.parse("ab"), rng).choices for _ in range(200)}
    assert found == {(0, 0), (1, 1), (0, 2), (1, 2)}  # by a for b, b for a, or c for either


class Merged(Pairs):
    """All choices make the same network."""

    name = "merged"

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.zeros_like(choices)


def test_mutation_gives_up_where_every_choice_makes_the_same_network() -> None:
    space = Merged("ab")
    with pytest.raises(ValueError, match="'merged' that cannot be mutated: whichever decision"):
        space.mutate(space.parse("ab"), np.random.default_rng(0))


def test_check_takes_what_is_not_canonical_and_no_more() -> None:
    space = Pairs("ab")
    space.check(Architecture("pairs", (1, 0)))
    with pytest.raises(ValueError, match="not canonical"):
        space.validate(Architecture("pairs", (1, 0)))
    for wrong, message in (
        (Architecture("other", (1, 0)), "from space 'other', but this space is 'pairs'"),
        (Architecture("pairs", (1,)), "2 decisions, got 1"),
        (Architecture("pairs", (1, 2)), "'second' takes an index from 0 to 1, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            space.check(wrong)


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_decisions_are_redrawn_with_the_probability(
    prob: float, make_space: Callable[..., SearchSpace]
) -> None:
    """Of four options every fourth draw is what it was."""
    space = make_space(4, 4)
    parents = np.tile([3, 1], (4000, 1))
    redrawn = space.redraw_choices(parents, prob, np.random.default_rng(0))
    share = (redrawn != parents).mean(axis=0)
    assert share == pytest.approx([0.75 * prob] * 2, abs=4.5 * 0.5 / 4000**0.5 if prob else 0)


def test_group_names_end_at_a_dot(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(*[2] * 12)  # d1 is no group of d10 and d11
    assert space.restrict({"d1": ("0",)}).size == 2**11


def test_restricting_twice_narrows(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(4, 2).restrict({"d0": ("0", "2", "3")}).restrict({"d0": ("3", "2")})
    assert [arch.choices for arch in space.enumerate()] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    with pytest.raises(ValueError, match="'d0' offers 2, 3, got 0"):
        space.restrict({"d0": ("0", "2")})
