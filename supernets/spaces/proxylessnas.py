"""The ProxylessNAS space: a chain of inverted residuals, of which those that keep the shape can be
left out.

Papers: ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware,
https://arxiv.org/abs/1812.00332; Neural Predictor for Neural Architecture Search (the space as it
is here), https://arxiv.org/abs/1912.00848

There are 22 blocks. The first has no expansion, and its kernel is searched: 3 options. Of the other
21, in six stages, the first of each stage changes the shape, and is one of 6 blocks; the other 15
may also be left out: 7 options. That is 3 * 6**6 * 7**15 = 664,506,689,423,701,824 architectures,
the 6.64e17 of Neural Predictor, and no other numbers of blocks with 3, 6 and 7 options of 22 in all
come to that.

Differs from ProxylessNAS:

1. It fixes the kernel of the first block at 3, which ``restrict({"first": ("e1k3",)})`` does here:
   2.22e17 architectures.
2. Blocks that are left out can be anywhere in a stage, so that the same network is written in
   several ways. All are architectures, as a supernet has weights of its own for each block;
   ``first_of_functions`` says which are one network.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace
from supernets.spaces.features import Structure
from supernets.spaces.stages import idle_last

KERNELS = (3, 5, 7)
EXPANDS = (3, 6)
#: Blocks of each stage, of which the first changes the shape.
STAGES = (4, 4, 4, 4, 4, 1)
NUM_BLOCKS = 1 + sum(STAGES)
#: Positions of the blocks that start a stage, and so cannot be left out.
STAGE_STARTS = tuple(1 + sum(STAGES[:stage]) for stage in range(len(STAGES)))

_FIRST_OPTIONS = tuple(f"e1k{kernel}" for kernel in KERNELS)
_OPTIONS = tuple(f"e{expand}k{kernel}" for expand in EXPANDS for kernel in KERNELS)
#: Blocks to choose from, beside leaving it out.
NUM_OPTIONS = len(_OPTIONS)
#: A block that is left out: the name of the option, its index, and how it is written.
SKIP = "skip"
_SKIPPED = NUM_OPTIONS
_UNWRITTEN = "-"
#: The network that the authors published for mobile phones.
_EXAMPLE = (
    "e1k3;e3k5,e3k3,-,-;e3k7,e3k3,e3k5,e3k5;e6k7,e3k5,e3k5,e3k5;"
    "e6k5,e3k5,e3k5,e3k5;e6k7,e6k7,e3k7,e3k7;e6k7"
)


class Block(NamedTuple):
    """What one block that is there chooses."""

    kernel: int
    expand: int


class ProxylessNASSpace(SearchSpace):
    """The 6.65e17 networks of the ProxylessNAS chain.

    Decisions are ``first`` and ``block.<stage>.<block>``, counted from 1. Options are inverted
    residuals by expansion and kernel, from ``e3k3`` to ``e6k7``, and ``skip``.

    Architectures are written by stage, with ``-`` for a block that is left out; see the example,
    which is the authors' network for mobile phones.

    Example:
        >>> space = ProxylessNASSpace()
        >>> space.size
        664506689423701824
        >>> arch = space.parse(
        ...     "e1k3;e3k5,e3k3,-,-;e3k7,e3k3,e3k5,e3k5;e6k7,e3k5,e3k5,e3k5;"
        ...     "e6k5,e3k5,e3k5,e3k5;e6k7,e6k7,e3k7,e3k7;e6k7"
        ... )
        >>> [len(stage) for stage in space.stages(arch)]
        [1, 2, 4, 4, 4, 4, 1]
        >>> space.stages(arch)[1]
        [Block(kernel=5, expand=3), Block(kernel=3, expand=3)]
    """

    name = "proxylessnas"
    decisions = (
        Decision("first", _FIRST_OPTIONS),
        *(
            Decision(f"block.{stage}.{block}", _OPTIONS if block == 1 else (*_OPTIONS, SKIP))
            for stage, num_blocks in enumerate(STAGES, start=1)
            for block in range(1, num_blocks + 1)
        ),
    )

    def stages(self, arch: Architecture) -> list[list[Block]]:
        """Returns the blocks that are there: the first, then those of each of the six stages."""
        return [
            [
                Block(*_kernel_and_expand(self.decisions[i].options[arch.choices[i]]))
                for i in positions
                if arch.choices[i] != _SKIPPED
            ]
            for positions in _positions()
        ]

    def format(self, arch: Architecture) -> str:
        """Writes ``e1k3;e3k5,e3k3,-,-;…``, stage by stage."""
        self.validate(arch)
        texts = [
            _UNWRITTEN if choice == _SKIPPED else decision.options[choice]
            for decision, choice in zip(self.decisions, arch.choices, strict=True)
        ]
        return ";".join(",".join(texts[i] for i in positions) for positions in _positions())

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes, or the JSON of a network that the authors published.

        That is ``{"name": "ProxylessNASNets", "blocks": […], …}``, of which kernels and expansions
        are read; widths are the supernet's, and those of published networks differ.

        Raises:
            ValueError: If ``text`` does not follow the notation.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        text = text.strip()
        stages = self._read_json(text) if text.startswith("{") else _read_stages(text)
        lengths, expected = [len(stage) for stage in stages], [1, *STAGES]
        if lengths != expected:
            raise self._error(text, f"its stages have {lengths} blocks, expected {expected}")
        choices = []
        blocks = [block for stage in stages for block in stage]
        for decision, block in zip(self.decisions, blocks, strict=True):
            option = SKIP if block == _UNWRITTEN else block
            if option not in decision.options:
                offered = ", ".join(decision.options).replace(SKIP, _UNWRITTEN)
                raise self._error(text, f"{decision.name} takes {offered}, got {block!r}")
            choices.append(decision.options.index(option))
        return self.architecture(choices)

    def _read_json(self, text: str) -> list[list[str]]:
        try:
            blocks = [_written(block) for block in json.loads(text)["blocks"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._error(
                text, f"it is no JSON of a network with blocks ({type(error).__name__}: {error})"
            ) from error
        starts = [0, *STAGE_STARTS, max(len(blocks), NUM_BLOCKS)]
        return [blocks[a:b] for a, b in zip(starts, starts[1:], strict=False)]

    def _error(self, text: str, why: str) -> ValueError:
        return ValueError(
            f"{text!r} is not an architecture of space {self.name!r}: {why}. "
            f"Expected, for example, {_EXAMPLE!r}."
        )

    def first_of_functions(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Moves the blocks that are left out to the end of their stages.

        In a restricted space that may give an architecture it does not offer, so each stands for
        itself there.
        """
        return _skips_last(choices) if self._is_whole else choices

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """Describes networks by depth, kernels and expansions, by stage, block and in all.

        Blocks that are left out are last, and have kernel and expansion 0.
        """
        ordered = _skips_last(choices)
        table = np.array([_kernel_and_expand(option) for option in _OPTIONS] + [(0, 0)])
        kernels, expands = np.moveaxis(table[ordered[:, 1:]], -1, 0)  # (num_archs, 21) each
        first = np.array(KERNELS)[ordered[:, 0]]
        starts = np.array(STAGE_STARTS) - 1
        of_blocks = (kernels > 0, kernels, expands)
        by_stage = [np.add.reduceat(each, starts, axis=1, dtype=np.int64) for each in of_blocks]
        totals = [each.sum(axis=1, keepdims=True) for each in by_stage]
        numbers = np.concatenate([first[:, None], *totals, *by_stage, kernels, expands], axis=1)
        return Structure(np.zeros((len(choices), 0), np.int64), numbers.astype(np.float64))


def _positions() -> list[range]:
    """The decisions of each stage, that of the first block alone."""
    starts = (0, *STAGE_STARTS, NUM_BLOCKS)
    return [range(a, b) for a, b in zip(starts, starts[1:], strict=False)]


def _kernel_and_expand(option: str) -> tuple[int, int]:
    expand, kernel = option.removeprefix("e").split("k")
    return int(kernel), int(expand)


def _skips_last(choices: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([choices[:, :1], idle_last(choices[:, 1:], STAGES, _SKIPPED)], axis=1)


def _read_stages(text: str) -> list[list[str]]:
    return [[block.strip() for block in stage.split(",")] for stage in text.split(";")]


def _written(block: Any) -> str:
    """A block of the authors' JSON in our notation."""
    layer = block["conv"] if "conv" in block else block["mobile_inverted_conv"]
    if layer is None or layer["name"] == "ZeroLayer":
        return _UNWRITTEN
    return f"e{layer['expand_ratio']}k{layer['kernel_size']}"
