"""The NAS-Bench-Macro space: eight layers, each one of three blocks, 6,561 networks for CIFAR-10.

Paper: Prioritized Architecture Sampling with Monte-Carlo Tree Search,
https://arxiv.org/abs/2103.11922

Differs from the benchmark:

1. Identities that change neither width nor sides do nothing, so that a stage's can be anywhere
   after its first layer. The benchmark trained such networks once, 3,969 in all, and lists each
   under every notation. All 6,561 notations are architectures here, as a supernet has weights of
   its own for each layer; ``first_of_functions`` says which are one network.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace
from supernets.spaces.features import Structure
from supernets.spaces.stages import idle_last

IDENTITY = 0
#: Blocks by their digits: nothing, or inverted residuals of an expansion and a kernel.
BLOCKS = ("identity", "mb_e3_k3", "mb_e6_k5")
#: Layers of each stage, of which the first halves the sides and doubles the channels.
STAGES = (2, 3, 3)
NUM_LAYERS = sum(STAGES)


class NASBenchMacroSpace(SearchSpace):
    """The networks of NAS-Bench-Macro.

    Decisions are ``layer.0`` to ``layer.7``, each of which is one of ``BLOCKS``. Architectures are
    written as the benchmark does, a digit for each layer: ``"22212220"``.

    Example:
        >>> space = NASBenchMacroSpace()
        >>> space.size
        6561
        >>> arch = space.parse("22212202")
        >>> space.format(arch), arch.choices
        ('22212202', (2, 2, 2, 1, 2, 2, 0, 2))
        >>> first = space.first_of_functions(space.choices_of([arch]))
        >>> space.format(space.architecture(first[0]))  # of the same network
        '22212220'
    """

    name = "nasbench_macro"
    decisions = tuple(Decision(f"layer.{layer}", BLOCKS) for layer in range(NUM_LAYERS))

    def format(self, arch: Architecture) -> str:
        """Writes a digit for each layer, e.g. ``22212220``."""
        self.validate(arch)
        return "".join(map(str, arch.choices))

    def parse(self, text: str) -> Architecture:
        """Reads a digit for each layer.

        Raises:
            ValueError: If it is not text of eight digits from 0 to 2.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        if not re.fullmatch(r"[0-2]{8}", text.strip()):
            raise ValueError(
                f"{text!r} is not a NAS-Bench-Macro architecture of {NUM_LAYERS} digits from 0 to "
                "2. Expected, for example, '22212220'."
            )
        return self.architecture([int(digit) for digit in text.strip()])

    def first_of_functions(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Moves the identities that do nothing to the end of their stages.

        In a restricted space that may give an architecture it does not offer, so each stands for
        itself there.
        """
        return idle_last(choices, STAGES, IDENTITY) if self._is_whole else choices

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """Describes networks by their blocks, identities last, and by how many a stage has."""
        first = idle_last(choices, STAGES, IDENTITY)
        counts = [
            (stage == block).sum(axis=1)
            for stage in np.split(first, np.cumsum(STAGES)[:-1], axis=1)
            for block in range(1, len(BLOCKS))
        ]
        per_block = [(first == block).sum(axis=1) for block in range(1, len(BLOCKS))]
        numbers = np.stack([*counts, *per_block], axis=1).astype(np.float64)
        return Structure(first, numbers)
