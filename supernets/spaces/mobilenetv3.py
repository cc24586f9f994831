"""Elastic MobileNetV3: five stages of elastic depth, blocks of elastic kernel and expansion.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace
from supernets.spaces.features import Structure
from supernets.spaces.keyed_lists import (
    read_choices,
    read_keyed_lists,
    read_object,
    write_keyed_lists,
)

NUM_STAGES = 5
MAX_DEPTH = 4  # blocks a stage holds
NUM_BLOCKS = NUM_STAGES * MAX_DEPTH
DEPTHS = (2, 3, 4)
KERNELS = (3, 5, 7)
EXPANDS = (3, 4, 6)

_EXAMPLE = (
    "d=2,2,2,2,2;k=3,5,-,-,7,3,-,-,3,3,-,-,5,5,-,-,7,7,-,-"
    ";e=3,4,-,-,6,6,-,-,3,3,-,-,4,4,-,-,6,3,-,-"
)


class Block(NamedTuple):
    """What one active block chooses."""

    kernel: int
    expand: int


class MobileNetV3Space(SearchSpace):
    """The space of OFA-MobileNetV3: 2.18e19 architectures, times the resolutions if several.

    Decisions are named ``depth.<stage>``, ``kernel.<stage>.<block>``, ``expand.<stage>.<block>``,
    counted from 1, and ``resolution``. The kernel and expansion of a block past its stage's depth
    are inactive.

    Architectures are written as ``d=…;k=…;e=…``: 5 depths, 20 kernel sizes, 20 expansion ratios,
    with ``-`` for inactive blocks; and ``;r=…`` where the resolution is a decision.

    Args:
        resolutions: Sides of the images in pixels that are searched; a decision if there are
            several.

    Raises:
        ValueError: If a resolution is not positive, or occurs twice.

    Example:
        >>> space = MobileNetV3Space(resolutions=(160, 224))
        >>> smallest, largest = space.extremes()
        >>> space.format(smallest)
        'd=2,2,2,2,2;k=3,3,-,-,3,3,-,-,3,3,-,-,3,3,-,-,3,3,-,-;e=...;r=160'
        >>> space.resolution(largest)
        224
        >>> [len(stage) for stage in space.stages(smallest)]
        [2, 2, 2, 2, 2]
    """

    name = "mobilenetv3"
    is_ordered = True

    def __init__(self, resolutions: Sequence[int] = ()) -> None:
        if any(side < 1 for side in resolutions) or len(set(resolutions)) < len(resolutions):
            raise ValueError(
                f"resolutions must be different positive numbers, got {list(resolutions)}."
            )
        self.resolutions = tuple(sorted(int(side) for side in resolutions))
        blocks = [f"{s}.{b}" for s in range(1, NUM_STAGES + 1) for b in range(1, MAX_DEPTH + 1)]
        self.decisions = (
            *(Decision(f"depth.{s}", _texts(DEPTHS)) for s in range(1, NUM_STAGES + 1)),
            *(Decision(f"kernel.{block}", _texts(KERNELS)) for block in blocks),
            *(Decision(f"expand.{block}", _texts(EXPANDS)) for block in blocks),
        )
        if len(self.resolutions) > 1:
            self.decisions += (Decision("resolution", _texts(self.resolutions)),)
        super().__init__()

    @property
    def size(self) -> int:
        """Number of architectures, each counted once however its inactive choices are written."""
        allowed = self._allowed
        total = len(allowed[-1]) if self.has_resolution else 1
        for stage in range(NUM_STAGES):
            blocks = [NUM_STAGES + stage * MAX_DEPTH + block for block in range(MAX_DEPTH)]
            options = [len(allowed[i]) * len(allowed[i + NUM_BLOCKS]) for i in blocks]
            total *= sum(math.prod(options[: DEPTHS[depth]]) for depth in allowed[stage])
        return total

    @property
    def has_resolution(self) -> bool:
        """Whether the resolution is a decision."""
        return len(self.resolutions) > 1

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns all but the kernels and expansions of blocks past the depth of their stage."""
        depths = np.array(DEPTHS)[choices[:, :NUM_STAGES]]  # (num_archs, NUM_STAGES)
        blocks = np.arange(MAX_DEPTH) < depths[:, :, None]  # (num_archs, NUM_STAGES, MAX_DEPTH)
        active = np.ones(choices.shape, np.bool_)
        active[:, NUM_STAGES : NUM_STAGES + 2 * NUM_BLOCKS] = np.tile(
            blocks.reshape(len(choices), NUM_BLOCKS), 2
        )
        return active

    def stages(self, arch: Architecture) -> list[list[Block]]:
        """Returns the active blocks of each of the five stages."""
        kernels = arch.choices[NUM_STAGES : NUM_STAGES + NUM_BLOCKS]
        expands = arch.choices[NUM_STAGES + NUM_BLOCKS :]
        return [
            [
                Block(KERNELS[kernels[i]], EXPANDS[expands[i]])
                for i in range(stage * MAX_DEPTH, stage * MAX_DEPTH + DEPTHS[arch.choices[stage]])
            ]
            for stage in range(NUM_STAGES)
        ]

    def resolution(self, arch: Architecture) -> int | None:
        """Returns the resolution ``arch`` decides on, or None where that is no decision."""
        return self.resolutions[arch.choices[-1]] if self.has_resolution else None

    def sum_over_blocks(self, table: NDArray[Any], choices: NDArray[np.int64]) -> NDArray[Any]:
        """Sums an entry per active block.

        Args:
            table: Entries of the blocks, (resolutions, 20, kernels, expansions); one resolution if
                it is no decision, or to use the same entries for all of them.
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            (num_archs,) of the table's type.
        """
        kernels = choices[:, NUM_STAGES : NUM_STAGES + NUM_BLOCKS]
        expands = choices[:, NUM_STAGES + NUM_BLOCKS : NUM_STAGES + 2 * NUM_BLOCKS]
        resolutions = choices[:, -1:] if len(table) > 1 else np.zeros((1, 1), np.int64)
        entries = table[resolutions, np.arange(NUM_BLOCKS), kernels, expands]
        active = self.is_active(choices)[:, NUM_STAGES : NUM_STAGES + NUM_BLOCKS]
        sums: NDArray[Any] = np.where(active, entries, 0).sum(axis=1)
        return sums

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """As of ``SearchSpace``; see ``supernets.spaces.structure``."""
        from supernets.spaces.structure import of_mobilenetv3  # which sees all spaces

        return of_mobilenetv3(self, choices)

    def format(self, arch: Architecture) -> str:
        """Writes ``d=…;k=…;e=…``, and ``;r=…`` where the resolution is a decision."""
        self.validate(arch)
        active = self._active(arch.choices)
        texts = [
            decision.options[choice] if is_active else "-"
            for decision, choice, is_active in zip(
                self.decisions, arch.choices, active, strict=True
            )
        ]
        return write_keyed_lists(texts, self._parts())

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes, or a JSON object or Python dict with the same keys.

        That form is of published OFA subnets, ``{"ks": […], "e": […], "d": […]}``, where ``"r"``
        may hold the resolution as a number or in a list. Numbers given for inactive blocks are
        checked and otherwise ignored.

        Raises:
            ValueError: If ``text`` does not follow the notation.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        text = text.strip()
        refusal = partial(self._error, text)
        values = (
            self._read_object(text) if text.startswith("{") else read_keyed_lists(text, refusal)
        )
        choices = read_choices(values, self._parts(), self.decisions, refusal)
        for depth in choices[:NUM_STAGES]:
            if depth < 0:
                raise self._error(text, "a depth is left out")
        for decision, choice, is_active in zip(
            self.decisions, choices, self._active(choices), strict=True
        ):
            if is_active and choice < 0:
                raise self._error(text, f"{decision.name} is active but left out")
        return self.architecture([max(choice, 0) for choice in choices])

    def _parts(self) -> dict[str, slice]:
        """Where the decisions of each key of the notation are."""
        parts = {
            "d": slice(0, NUM_STAGES),
            "k": slice(NUM_STAGES, NUM_STAGES + NUM_BLOCKS),
            "e": slice(NUM_STAGES + NUM_BLOCKS, NUM_STAGES + 2 * NUM_BLOCKS),
        }
        if self.has_resolution:
            parts["r"] = slice(-1, None)
        return parts

    def _read_object(self, text: str) -> dict[str, list[str]]:
        values = {}
        for key, items in read_object(text, partial(self._error, text)).items():
            if key == "wid" and items is None:  # in published files: the width, not elastic
                continue
            items = items if isinstance(items, list) else [items]
            values["k" if key == "ks" else key] = [str(item) for item in items]
        if not self.has_resolution:
            values.pop("r", None)
        return values

    def _error(self, text: str, why: str) -> ValueError:
        example = _EXAMPLE + (f";r={self.resolutions[0]}" if self.has_resolution else "")
        return ValueError(
            f"{text!r} is not an architecture of space {self.name!r}: {why}. "
            f"Expected, for example, {example!r}."
        )


def _texts(values: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
