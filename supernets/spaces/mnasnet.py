"""The MnasNet space of Accel-NASBench: seven blocks of inverted residuals, 104 billion networks.

Papers: Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS,
https://arxiv.org/abs/2404.08005; MnasNet: Platform-Aware Neural Architecture Search for Mobile,
https://arxiv.org/abs/1807.11626

Differs from MnasNet's own space, as the benchmark does:

1. Expansions are 1, 4 or 6 where theirs are 3 or 6 with other kinds of blocks beside them, and
   blocks' widths and numbers of strides are those of EfficientNet-B0, which are not searched.
"""

from __future__ import annotations

import re

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace

EXPANDS = (1, 4, 6)
KERNELS = (3, 5)
#: Channels of each block, the stride of its first layer, and the most layers it has.
WIDTHS = (16, 24, 40, 80, 112, 192, 320)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
MAX_LAYERS = (3, 3, 3, 3, 3, 4, 3)
NUM_BLOCKS = len(WIDTHS)
#: Without and with squeeze-and-excitation, as the notation has it.
SQUEEZES = ("n", "s")
#: Decisions of a block.
KINDS = ("expand", "kernel", "layers", "squeeze")

_BLOCK = re.compile(r"e([146])k([35])l([1-4])([ns])")
_EXAMPLE = "e1k3l1n-e6k3l2n-e6k5l2s-e6k3l3n-e6k5l3s-e6k5l4s-e6k3l1n"


class MnasNetSpace(SearchSpace):
    """The networks of Accel-NASBench, all layers of a block alike.

    Decisions are ``expand.<block>``, ``kernel.<block>``, ``layers.<block>`` and
    ``squeeze.<block>``, counted from 1, block by block. Architectures are written as
    ``e1k3l1n-e6k3l2n-…``: of each block the expansion, the kernel, the number of layers, and ``s``
    or ``n``, with or without squeeze-and-excitation.

    Example:
        >>> space = MnasNetSpace()
        >>> space.size
        104485552128
        >>> arch = space.parse("e1k3l1n-e6k3l2n-e6k5l2s-e6k3l3n-e6k5l3s-e6k5l4s-e6k3l1n")
        >>> arch.choices[:8]
        (0, 0, 0, 0, 2, 0, 1, 0)
    """

    name = "mnasnet"
    decisions = tuple(
        decision
        for block, max_layers in enumerate(MAX_LAYERS, 1)
        for decision in (
            Decision(f"expand.{block}", tuple(map(str, EXPANDS))),
            Decision(f"kernel.{block}", tuple(map(str, KERNELS))),
            Decision(f"layers.{block}", tuple(map(str, range(1, max_layers + 1)))),
            Decision(f"squeeze.{block}", SQUEEZES),
        )
    )

    def format(self, arch: Architecture) -> str:
        """Writes ``e…k…l…s`` or ``e…k…l…n`` of each block, joined by ``-``."""
        self.validate(arch)
        pairs = zip(self.decisions, arch.choices, strict=True)
        texts = [decision.options[choice] for decision, choice in pairs]
        blocks = zip(*(texts[i :: len(KINDS)] for i in range(len(KINDS))), strict=True)
        return "-".join(f"e{e}k{k}l{num}{squeeze}" for e, k, num, squeeze in blocks)

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes.

        Raises:
            ValueError: If it is not text of seven such blocks.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        blocks = [_BLOCK.fullmatch(block) for block in text.strip().split("-")]
        options = [option for block in blocks if block for option in block.groups()]
        if None in blocks or len(blocks) != NUM_BLOCKS:
            raise self._error(text, f"it is not {NUM_BLOCKS} blocks as e6k5l2s, joined by '-'")
        choices = []
        for decision, option in zip(self.decisions, options, strict=True):
            if option not in decision.options:
                offered = ", ".join(decision.options)
                raise self._error(text, f"{decision.name} takes {offered}, got {option}")
            choices.append(decision.options.index(option))
        return self.architecture(choices)

    def _error(self, text: str, why: str) -> ValueError:
        return ValueError(
            f"{text!r} is not an architecture of space {self.name!r}: {why}. "
            f"Expected, for example, {_EXAMPLE!r}."
        )
