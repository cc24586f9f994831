"""What a staged search asks for, is told and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from supernets.spaces import Architecture


class Measurement(NamedTuple):
    """What is asked for: an architecture, and the index of a level.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> Measurement(1, NASBench201Space().architecture([3] * 6)).level
        1
    """

    level: int
    arch: Architecture


@dataclass(frozen=True)
class LevelTrial:
    """What a measurement found.

    Args:
        level: Index of the level.
        arch: Architecture that was measured.
        score: Finite, higher is better; None if the measurement failed.
        seconds: What the measurement took.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> LevelTrial(0, NASBench201Space().architecture([3] * 6), 61.2, seconds=75.0).score
        61.2
    """

    level: int
    arch: Architecture
    score: float | None
    seconds: float


class Interval(NamedTuple):
    """What is expected, and bounds of it: 95 % of the belief."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Answer:
    """The architecture of the best expected score at the top level.

    Args:
        arch: The architecture; it may never have been measured there.
        score: Its score at the top level, in the unit of that; None where fewer than two were
            measured there.
        trust: Of each level the correlation of what it measures with what the top level says
            without noise, over architectures of the space.
    """

    arch: Architecture
    score: Interval | None
    trust: Sequence[Interval]
