"""What a space consists of: its decisions, and its points."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """One categorical choice of a space.

    Args:
        name: Name of the place where the choice acts, for example ``"3<-1"`` for the edge from node
            1 to node 3.
        options: The options, in index order.
    """

    name: str
    options: tuple[str, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The options as numbers, or their indices if they are not all numbers."""
        try:
            return tuple(float(option) for option in self.options)
        except ValueError:
            return tuple(float(index) for index in range(len(self.options)))


@dataclass(frozen=True)
class Architecture:
    """A point of a search space: hashable, comparable, and free of weights.

    Args:
        space: Name of the space the point belongs to.
        choices: One option index per decision, in the order of ``SearchSpace.decisions``.
    """

    space: str
    choices: tuple[int, ...]
