"""Which paths a training step runs: their gradients are accumulated before one optimizer step.

Papers: Single Path One-Shot (uniform), https://arxiv.org/abs/1904.00420; Random Search and
Reproducibility for NAS (RandNAS, uniform), https://arxiv.org/abs/1902.07638; FairNAS (strict
fairness), https://arxiv.org/abs/1907.01845; Speedy Performance Estimation for NAS (MultiPaths),
https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

PATHS = ("uniform", "fair", "multi")
#: Architectures whose cost sets the strata of a space too large to enumerate.
NUM_STRATA_SAMPLES = 10_000


class PathSampler(Protocol):
    """Draws the paths of one training step, from the step's rng alone."""

    def sample(self, rng: np.random.Generator) -> list[Architecture]:
        """The architectures whose gradients are averaged before one optimizer step."""


class UniformPaths:
    """Uniform architectures, one per step by default (SPOS, RandNAS).

    The RandNAS reference draws operations anew in every cell of the network; here one genotype
    serves all of them.

    Args:
        space: Where to draw from.
        num_paths: Paths per step. At least 1.

    Raises:
        ValueError: If ``num_paths`` is less than 1.
    """

    def __init__(self, space: SearchSpace, num_paths: int = 1) -> None:
        if num_paths < 1:
            raise ValueError(f"num_paths must be at least 1, got {num_paths}.")
        self.space = space
        self.num_paths = num_paths

    def sample(self, rng: np.random.Generator) -> list[Architecture]:
        """Draws ``num_paths`` independent architectures."""
        return [self.space.sample(rng) for _ in range(self.num_paths)]


class FairPaths:
    """Strict fairness (FairNAS): every option of every decision is used exactly once per step.

    Path c takes the c-th element of an independent permutation per decision. The gradients are
    averaged over the paths as in the TSE authors' code; the FairNAS paper sums them.

    Args:
        space: Where to draw from; all its decisions need the same number of options.

    Raises:
        ValueError: If the decisions differ in their number of options.
    """

    def __init__(self, space: SearchSpace) -> None:
        sizes = {len(decision.options) for decision in space.decisions}
        if len(sizes) != 1:
            raise ValueError(
                "Fair paths need the same number of options for every decision, "
                f"space {space.name!r} has {sorted(sizes)}; use uniform paths."
            )
        self.space = space
        self.num_paths = sizes.pop()

    def sample(self, rng: np.random.Generator) -> list[Architecture]:
        """Draws one path per option."""
        columns = [rng.permutation(self.num_paths) for _ in self.space.decisions]
        return [self.space.architecture(choices) for choices in zip(*columns, strict=True)]


class MultiPaths:
    """One path from each of several strata of equal size, ordered by parameter count.

    The TSE authors' code orders the strata by true benchmark accuracy, which leaks the answer into
    training.

    Args:
        space: Where to draw from.
        num_params: Number of parameters of an architecture.
        num_paths: Strata, and paths per step. At least 2.

    Raises:
        ValueError: If ``num_paths`` is less than 2 or exceeds the space.
    """

    def __init__(
        self, space: SearchSpace, num_params: Callable[[Architecture], int], num_paths: int = 4
    ) -> None:
        if not 2 <= num_paths <= space.size:
            raise ValueError(
                f"num_paths must be from 2 to the space's {space.size} architectures, "
                f"got {num_paths}."
            )
        if space.size <= MAX_ENUMERABLE_SIZE:
            archs = list(space.enumerate())
        else:
            rng = np.random.default_rng(0)
            archs = [space.sample(rng) for _ in range(NUM_STRATA_SAMPLES)]
        order = np.argsort([num_params(arch) for arch in archs], kind="stable")
        self.strata = [[archs[i] for i in part] for part in np.array_split(order, num_paths)]

    def sample(self, rng: np.random.Generator) -> list[Architecture]:
        """Draws one path per stratum."""
        return [stratum[rng.integers(len(stratum))] for stratum in self.strata]


def create_path_sampler(
    name: str,
    space: SearchSpace,
    num_params: Callable[[Architecture], int],
    num_paths: int | None = None,
) -> PathSampler:
    """Builds a path sampler by name.

    Args:
        name: ``"uniform"``, ``"fair"`` or ``"multi"``.
        space: Where to draw from.
        num_params: Number of parameters of an architecture, for the strata of ``"multi"``.
        num_paths: Paths per step; None takes the sampler's own (1, one per option, 4).

    Raises:
        ValueError: If the name is unknown, or ``num_paths`` does not suit the sampler.
    """
    if name == "uniform":
        return UniformPaths(space, 1 if num_paths is None else num_paths)
    if name == "fair":
        sampler = FairPaths(space)
        if num_paths not in (None, sampler.num_paths):
            raise ValueError(
                f"Fair paths run every option once, so num_paths is {sampler.num_paths}, "
                f"got {num_paths}; leave it out or use other paths."
            )
        return sampler
    if name == "multi":
        return MultiPaths(space, num_params, 4 if num_paths is None else num_paths)
    raise ValueError(f"Unknown paths {name!r}; choose from {', '.join(PATHS)}.")
