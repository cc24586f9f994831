"""The space that a contract is about, and what its tests draw from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES


def space_definition(owner: type, space: str | None) -> SpaceDefinition:
    """Returns the definition that the attribute ``space`` of a contract names.

    Raises:
        TypeError: If it names none.
        ValueError: If there is no such space.
    """
    if not isinstance(space, str):
        raise TypeError(
            f"{owner.__name__} must say which space it tests, as in "
            f'space = "my_space.py:SPACE"; got {space!r}.'
        )
    return SPACES.find(space)


class SpaceUnderTest:
    """What tests of a space have in common; attributes and methods are for subclasses to set."""

    #: Name of the space, as commands take it: ``"my_space.py:SPACE"`` or ``"my_package:SPACE"``.
    space: ClassVar[str | None] = None
    #: Settings of networks, of which those that decide the space are taken.
    settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def search_space(self) -> SearchSpace:
        """The space under test."""
        return space_definition(type(self), self.space).create_space(**self.settings)

    def whole(self, space: SearchSpace) -> SearchSpace:
        """Returns the space of which ``space``, which may be restricted, is a part."""
        return space

    def merges_active_choices(self, space: SearchSpace) -> bool:
        """Returns whether a network can be written in several ways that are all active."""
        return False

    def refuses_choices(self, space: SearchSpace) -> bool:
        """Returns whether there are choices of offered options that make no architecture."""
        return False

    def restriction(self, space: SearchSpace, i: int) -> str | None:
        """Returns what to name to restrict decision ``i``; None if it cannot be."""
        return space.decisions[i].name

    def offered(self, space: SearchSpace, i: int) -> list[int]:
        """Returns the options of decision ``i`` by their effect on what ``restrict`` accepts."""
        name, options = self.restriction(space, i), space.decisions[i].options
        if name is None:
            return list(range(len(options)))
        found = []
        for index, option in enumerate(options):
            try:
                space.restrict({name: (option,)})
            except ValueError:
                continue
            found.append(index)
        return found

    def raw_choices(self, space: SearchSpace, num_archs: int, seed: int = 0) -> NDArray[np.int64]:
        """Returns offered options for all decisions, active or not."""
        rng = np.random.default_rng(seed)
        num_drawn = 3 * num_archs if self.refuses_choices(space) else num_archs
        columns = [
            rng.choice(self.offered(space, i), num_drawn) for i in range(len(space.decisions))
        ]
        choices = np.stack(columns, axis=1).astype(np.int64)
        if self.refuses_choices(space):
            choices = choices[space.are_valid(space.canonicalize(choices))]
        return choices[:num_archs]

    def skip_if_choices_are_refused(self, space: SearchSpace) -> None:
        """Skips what presumes that all choices make an architecture."""
        if self.refuses_choices(space):
            pytest.skip("samples uniform architectures, as some choices make none")


def choices_of(archs: Sequence[Architecture]) -> NDArray[np.int64]:
    """Returns the choices of architectures, (num_archs, num_decisions)."""
    return np.array([arch.choices for arch in archs])


def samples(space: SearchSpace, num_archs: int, seed: int = 0) -> list[Architecture]:
    """Draws architectures one by one."""
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(num_archs)]


def assert_alike(space: SearchSpace, found: NDArray[np.int64], expected: NDArray[np.int64]) -> None:
    """Compares how often each option is active in two equally large draws."""
    assert found.shape == expected.shape
    for i, decision in enumerate(space.decisions):
        for option in range(len(decision.options)):
            counts = [
                int(((choices[:, i] == option) & space.is_active(choices)[:, i]).sum())
                for choices in (found, expected)
            ]
            assert abs(counts[0] - counts[1]) <= 4.5 * math.sqrt(sum(counts)), decision.name
