"""Search spaces as fixed lists of categorical decisions; everything torch-free that a search needs
to know.

A space is the product of its decisions. Sampling, mutation, one-hot encoding and validation are
written once here; a space adds its notation and whatever structure it has.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Spaces up to this many points are enumerated where that is exact and cheap; larger ones are
#: sampled.
MAX_ENUMERABLE_SIZE = 100_000


@dataclass(frozen=True)
class Decision:
    """One categorical choice of a space.

    Args:
        name: Where the choice acts, for example ``"3<-1"`` for the edge from node 1 to node 3.
        options: What can be chosen, in index order.
    """

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Architecture:
    """A point of a search space: hashable, comparable, and free of weights.

    Args:
        space: Name of the space the point belongs to.
        choices: One option index per decision, in the order of ``SearchSpace.decisions``.
    """

    space: str
    choices: tuple[int, ...]


class SearchSpace(abc.ABC):
    """A list of categorical decisions, and the notation of its points."""

    name: str
    decisions: tuple[Decision, ...]

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(decision.options) for decision in self.decisions)

    @abc.abstractmethod
    def format(self, arch: Architecture) -> str:
        """Writes ``arch`` in the field's notation."""

    @abc.abstractmethod
    def parse(self, text: str) -> Architecture:
        """Reads the notation that ``format`` writes.

        Raises:
            ValueError: If ``text`` is not an architecture of this space; the message shows a valid
                one.
        """

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """Builds a validated architecture from option indices.

        Raises:
            ValueError: If the number of choices or one of them is out of range.
        """
        arch = Architecture(self.name, tuple(int(choice) for choice in choices))
        self.validate(arch)
        return arch

    def validate(self, arch: Architecture) -> None:
        """Checks that ``arch`` belongs to this space.

        Raises:
            ValueError: If it is from another space, or a choice is out of range.
        """
        if arch.space != self.name:
            raise ValueError(
                f"Architecture is from space {arch.space!r}, but this space is {self.name!r}."
            )
        if len(arch.choices) != len(self.decisions):
            raise ValueError(
                f"Space {self.name!r} has {len(self.decisions)} decisions, "
                f"got {len(arch.choices)} choices."
            )
        for decision, choice in zip(self.decisions, arch.choices, strict=True):
            if not 0 <= choice < len(decision.options):
                raise ValueError(
                    f"Decision {decision.name!r} takes an index from 0 to "
                    f"{len(decision.options) - 1}, got {choice}."
                )

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draws one architecture uniformly."""
        sizes = [len(decision.options) for decision in self.decisions]
        return Architecture(self.name, tuple(rng.integers(sizes).tolist()))

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Redraws one uniformly chosen decision of ``arch`` to a different option."""
        changeable = [i for i, decision in enumerate(self.decisions) if len(decision.options) > 1]
        position = changeable[rng.integers(len(changeable))]
        shift = 1 + rng.integers(len(self.decisions[position].options) - 1)
        choices = list(arch.choices)
        choices[position] = int((choices[position] + shift) % len(self.decisions[position].options))
        return Architecture(self.name, tuple(choices))

    def enumerate(self) -> Iterator[Architecture]:
        """Yields every architecture once, in lexicographic order of the choices.

        Raises:
            ValueError: If the space has more than ``MAX_ENUMERABLE_SIZE`` points.
        """
        if self.size > MAX_ENUMERABLE_SIZE:
            raise ValueError(
                f"Space {self.name!r} has {self.size} architectures; "
                f"only spaces up to {MAX_ENUMERABLE_SIZE} are enumerated, sample this one instead."
            )
        for choices in itertools.product(*(range(len(d.options)) for d in self.decisions)):
            yield Architecture(self.name, choices)

    def encode(self, archs: Sequence[Architecture]) -> NDArray[np.float32]:
        """One-hot encodes architectures, shape (num_archs, sum of the decisions' option counts)."""
        sizes = np.array([len(decision.options) for decision in self.decisions])
        offsets = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        encoding = np.zeros((len(archs), int(sizes.sum())), dtype=np.float32)
        if archs:
            columns = (
                np.array([arch.choices for arch in archs]) + offsets
            )  # (num_archs, num_decisions)
            np.put_along_axis(encoding, columns, 1.0, axis=1)
        return encoding
