"""Elastic ResNet-50D: depths and widths of the stem and four stages, expansion of every bottleneck.

Papers: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791; Bag of Tricks for Image Classification with Convolutional Neural
Networks, https://arxiv.org/abs/1812.01187

Differs from the authors' code, which released the space with its weights as ``ofa_resnet50``:

1. They list three widths inside the stem, of which 0.65 and 0.8 are both 24 channels; here are two.
2. The stem's depth is 0 or 2 for them as well, but 1 is also taken, as 0.
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

NUM_STAGES = 4
#: Bottlenecks that a stage has at least, and those that can be added.
BASE_DEPTHS = (2, 2, 4, 2)
DEPTHS = (0, 1, 2)
MAX_DEPTHS = tuple(depth + DEPTHS[-1] for depth in BASE_DEPTHS)
NUM_BLOCKS = sum(MAX_DEPTHS)
#: The stage of each bottleneck, and its place there.
STAGE_OF = tuple(stage for stage in range(NUM_STAGES) for _ in range(MAX_DEPTHS[stage]))
PLACE_OF = tuple(place for stage in range(NUM_STAGES) for place in range(MAX_DEPTHS[stage]))
#: Widths in percent: inside of bottlenecks of what they put out, of all else of ResNet-50's.
EXPANDS = (20, 25, 35)
WIDTHS = (65, 80, 100)
STEM_WIDTHS = (65, 100)

#: Where the decisions are: depth of the stem and of the stages; bottlenecks; width inside the stem,
#: of the stem, and of the stages.
STEM_DEPTH, FIRST_DEPTH, FIRST_EXPAND = 0, 1, 1 + NUM_STAGES
INNER_WIDTH = FIRST_EXPAND + NUM_BLOCKS
STEM_WIDTH, FIRST_WIDTH = INNER_WIDTH + 1, INNER_WIDTH + 2
_PARTS = {
    "d": slice(0, FIRST_EXPAND),
    "e": slice(FIRST_EXPAND, INNER_WIDTH),
    "w": slice(INNER_WIDTH, FIRST_WIDTH + NUM_STAGES),
}
_EXAMPLE = "d=0,0,0,0,0;e=20,20,-,-,20,20,-,-,20,20,20,20,-,-,20,20,-,-;w=65,65,65,65,65,65"


class Stage(NamedTuple):
    """What a stage chooses, as indices of ``WIDTHS`` and, for each bottleneck, ``EXPANDS``."""

    width: int
    expands: tuple[int, ...]


class Quantities(NamedTuple):
    """What many architectures are, as indices of options, and which bottlenecks there are."""

    has_stem_layer: NDArray[np.bool_]  # (num_archs,)
    inner_width: NDArray[np.int64]  # (num_archs,) of STEM_WIDTHS
    stem_width: NDArray[np.int64]  # (num_archs,) of WIDTHS
    widths: NDArray[np.int64]  # (num_archs, NUM_STAGES) of WIDTHS
    expands: NDArray[np.int64]  # (num_archs, NUM_BLOCKS) of EXPANDS
    active: NDArray[np.bool_]  # (num_archs, NUM_BLOCKS)


class ResNet50DSpace(SearchSpace):
    """The space of OFA-ResNet50: 1,639,276,531,308 architectures that differ.

    Decisions are named ``stem.depth``, ``depth.<stage>``, ``expand.<stage>.<block>``,
    ``stem.width``, ``width.stem`` and ``width.<stage>``, counted from 1. The stem has a convolution
    with a skip between its two where ``stem.depth`` is 2; ``depth`` is what a stage has beyond 2,
    2, 4 and 2 bottlenecks, and the expansion of one past it is inactive. ``stem.width`` is the
    width between the convolutions of the stem, ``width.stem`` what it puts out. Expansions and
    widths are in percent, of the stage's width and of ResNet-50's.

    Architectures are written as ``d=…;e=…;w=…``: 5 depths, 18 expansions with ``-`` for inactive
    ones, 6 widths, each from the stem on.

    Example:
        >>> space = ResNet50DSpace()
        >>> smallest, largest = space.extremes()
        >>> space.format(smallest)
        'd=0,0,0,0,0;e=20,20,-,-,20,20,-,-,20,20,20,20,-,-,20,20,-,-;w=65,65,65,65,65,65'
        >>> space.stages(largest)[0]
        Stage(width=2, expands=(2, 2, 2, 2))
        >>> space.size
        1639276531308
    """

    name = "resnet50d"
    is_ordered = True

    def __init__(self) -> None:
        self.decisions = (
            Decision("stem.depth", ("0", "2")),
            *(Decision(f"depth.{s}", _texts(DEPTHS)) for s in range(1, NUM_STAGES + 1)),
            *(
                Decision(f"expand.{stage + 1}.{place + 1}", _texts(EXPANDS))
                for stage, place in zip(STAGE_OF, PLACE_OF, strict=True)
            ),
            Decision("stem.width", _texts(STEM_WIDTHS)),
            Decision("width.stem", _texts(WIDTHS)),
            *(Decision(f"width.{s}", _texts(WIDTHS)) for s in range(1, NUM_STAGES + 1)),
        )
        super().__init__()

    @property
    def size(self) -> int:
        """Number of architectures, each counted once however its inactive choices are written."""
        options = [len(allowed) for allowed in self._allowed]
        total = options[STEM_DEPTH] * math.prod(options[INNER_WIDTH:])
        first = FIRST_EXPAND
        for stage, (base, largest) in enumerate(zip(BASE_DEPTHS, MAX_DEPTHS, strict=True)):
            blocks = options[first : first + largest]
            depths = self._allowed[FIRST_DEPTH + stage]
            total *= sum(math.prod(blocks[: base + DEPTHS[depth]]) for depth in depths)
            first += largest
        return total

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns all but the expansions of bottlenecks past the depth of their stage."""
        depths = np.array(DEPTHS)[choices[:, FIRST_DEPTH:FIRST_EXPAND]] + BASE_DEPTHS
        active = np.ones(choices.shape, np.bool_)
        active[:, FIRST_EXPAND:INNER_WIDTH] = depths[:, STAGE_OF] > PLACE_OF
        return active

    def has_stem_layer(self, arch: Architecture) -> bool:
        """Returns whether the stem of ``arch`` has its optional convolution."""
        return arch.choices[STEM_DEPTH] == 1

    def stem_choices(self, arch: Architecture) -> tuple[int, int]:
        """Returns the width inside the stem, of ``STEM_WIDTHS``, and of it, of ``WIDTHS``."""
        return arch.choices[INNER_WIDTH], arch.choices[STEM_WIDTH]

    def stages(self, arch: Architecture) -> list[Stage]:
        """Returns what each of the four stages of ``arch`` chooses."""
        stages, first = [], FIRST_EXPAND
        for stage, (base, largest) in enumerate(zip(BASE_DEPTHS, MAX_DEPTHS, strict=True)):
            depth = base + DEPTHS[arch.choices[FIRST_DEPTH + stage]]
            expands = arch.choices[first : first + depth]
            stages.append(Stage(arch.choices[FIRST_WIDTH + stage], expands))
            first += largest
        return stages

    def quantities(self, choices: NDArray[np.int64]) -> Quantities:
        """Returns what architectures are, as arrays.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).
        """
        return Quantities(
            choices[:, STEM_DEPTH] == 1,
            choices[:, INNER_WIDTH],
            choices[:, STEM_WIDTH],
            choices[:, FIRST_WIDTH:],
            choices[:, FIRST_EXPAND:INNER_WIDTH],
            self.is_active(choices)[:, FIRST_EXPAND:INNER_WIDTH],
        )

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """Describes networks by depths, widths and the expansions of the bottlenecks there are."""
        found = self.quantities(choices)
        expands = np.where(found.active, np.array(EXPANDS)[found.expands], 0) / 100
        stages = [slice(sum(MAX_DEPTHS[:s]), sum(MAX_DEPTHS[: s + 1])) for s in range(NUM_STAGES)]
        widths = np.array(WIDTHS)[found.widths] / 100
        of_stages = np.stack([expands[:, stage].sum(axis=1) for stage in stages], axis=1)
        depths = np.stack([found.active[:, stage].sum(axis=1) for stage in stages], axis=1)
        numbers = [
            found.has_stem_layer[:, None],
            np.array(STEM_WIDTHS)[found.inner_width, None] / 100,
            np.array(WIDTHS)[found.stem_width, None] / 100,
            depths,
            depths.sum(axis=1, keepdims=True),
            widths,
            widths.sum(axis=1, keepdims=True),
            of_stages,
            of_stages * widths,
            expands.sum(axis=1, keepdims=True),
            expands,
        ]
        labels = np.zeros((len(choices), 0), np.int64)
        return Structure(labels, np.concatenate(numbers, axis=1).astype(np.float64))

    def format(self, arch: Architecture) -> str:
        """Writes ``d=…;e=…;w=…``."""
        self.validate(arch)
        texts = [
            decision.options[choice] if is_active else "-"
            for decision, choice, is_active in zip(
                self.decisions, arch.choices, self._active(arch.choices), strict=True
            )
        ]
        return write_keyed_lists(texts, _PARTS)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes, or a JSON object or Python dict as OFA's code has them.

        Those are ``{"d": […], "e": […], "w": […]}`` with expansions such as 0.25, and widths as
        indices from 0 on. Numbers given for inactive bottlenecks are checked and otherwise ignored.

        Raises:
            ValueError: If ``text`` does not follow the notation.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        text = text.strip()
        refusal = partial(self._error, text)
        values = self._read_object(text) if text[:1] == "{" else read_keyed_lists(text, refusal)
        choices = read_choices(values, _PARTS, self.decisions, refusal)
        if -1 in choices[:FIRST_EXPAND]:
            raise refusal("a depth is left out")
        for decision, choice, is_active in zip(
            self.decisions, choices, self._active(choices), strict=True
        ):
            if is_active and choice < 0:
                raise refusal(f"{decision.name} is active but left out")
        return self.architecture([max(choice, 0) for choice in choices])

    def _read_object(self, text: str) -> dict[str, list[str]]:
        """The texts of our notation for what an object of OFA's says."""
        refusal = partial(self._error, text)
        values: dict[str, list[str]] = {}
        for key, items in read_object(text, refusal).items():
            items = items if isinstance(items, list) else [items]
            meanings = _MEANINGS.get(key, {})
            for item in items:
                if isinstance(item, bool) or not isinstance(item, int | float):
                    raise refusal(f"{key} holds {item!r}, which is no number")
                if meanings and item not in meanings:
                    known = ", ".join(str(each) for each in meanings)
                    raise refusal(f"{key} takes {known} in this form, got {item!r}")
            values[key] = [meanings.get(item, str(item)) for item in items]
        if values.get("d", [""])[0] == "1":
            values["d"][0] = "0"
        if values.get("w", [""])[0] == "80":
            values["w"][0] = "65"
        return values

    def _error(self, text: str, why: str) -> ValueError:
        return ValueError(
            f"{text!r} is not an architecture of space {self.name!r}: {why}. "
            f"Expected, for example, {_EXAMPLE!r}."
        )


def _texts(values: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


#: What numbers of OFA's objects stand for.
_MEANINGS: dict[str, dict[Any, str]] = {
    "d": {depth: str(depth) for depth in DEPTHS},
    "e": {expand / 100: str(expand) for expand in EXPANDS},
    "w": dict(enumerate(_texts(WIDTHS))),
}
