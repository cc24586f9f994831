"""What a space consists of: its decisions, and its points."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """One categorical choice of a space.

    Args:
        name: Name of the place where the choice acts, for example ``"3<-1"`` for the edge from node
            1 to node 3.
        options: The options, in index order.

    Example:
        >>> Decision("kernel", ("3", "5", "7")).values
        (3.0, 5.0, 7.0)
        >>> Decision("op", ("skip", "conv")).values
        (0.0, 1.0)
    """

    name: str
    options: tuple[str, ...]

    @property
    def is_quantity(self) -> bool:
        """Whether the options are numbers, or no more than two, as with and without something."""
        if len(self.options) <= 2:
            return True
        try:
            return all(math.isfinite(float(option)) for option in self.options)
        except ValueError:
            return False

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

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
        >>> arch = space.parse(cell)
        >>> arch
        Architecture(space='nasbench201', choices=(3, 0, 1, 0, 0, 4))
        >>> {arch: 93.1}[Architecture("nasbench201", (3, 0, 1, 0, 0, 4))]
        93.1
    """

    space: str
    choices: tuple[int, ...]
