"""Which paths a training step runs: their gradients are accumulated before one optimizer step.

Papers: Single Path One-Shot (uniform), https://arxiv.org/abs/1904.00420; Random Search and
Reproducibility for NAS (RandNAS, uniform), https://arxiv.org/abs/1902.07638; FairNAS (strict
fairness), https://arxiv.org/abs/1907.01845; Speedy Performance Estimation for NAS (MultiPaths),
https://arxiv.org/abs/2006.04492; Once for All (several uniform), https://arxiv.org/abs/1908.09791;
BigNAS (sandwich), https://arxiv.org/abs/2003.11142; AttentiveNAS (best-up and worst-up sandwich),
https://arxiv.org/abs/2011.09011
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from supernets.cost import CostModel
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

PATHS = ("uniform", "fair", "multi", "sandwich", "best-up", "worst-up")
#: Architectures whose cost sets the strata of a space too large to enumerate.
NUM_STRATA_SAMPLES = 10_000
#: Of best-up and worst-up: candidates per path, bins of MACs, tries to fill a bin.
NUM_CANDIDATES = 3
NUM_MACS_BINS = 25
MAX_BIN_DRAWS = 300

#: Loss of a path on the minibatch of the step, over all processes, in nats.
MeasureLoss = Callable[[Architecture], float]


class PathSampler(Protocol):
    """Draws the paths of one training step, from the step's rng alone.

    ``sums_gradients`` says whether the paths' gradients are summed instead of averaged;
    ``distills`` whether all paths but the first learn from the first one's logits instead of the
    labels.
    """

    sums_gradients: bool
    distills: bool

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """The architectures whose gradients are accumulated before one optimizer step."""


class UniformPaths:
    """Uniform architectures, one per step by default (SPOS, RandNAS).

    The RandNAS reference draws operations anew in every cell of the network; here one genotype
    serves all of them.

    Args:
        space: Where to draw from.
        num_paths: Paths per step. At least 1.
        sums_gradients: Whether gradients are summed (OFA) instead of averaged.

    Raises:
        ValueError: If ``num_paths`` is less than 1.
    """

    distills = False

    def __init__(
        self, space: SearchSpace, num_paths: int = 1, *, sums_gradients: bool = False
    ) -> None:
        if num_paths < 1:
            raise ValueError(f"num_paths must be at least 1, got {num_paths}.")
        self.space = space
        self.num_paths = num_paths
        self.sums_gradients = sums_gradients

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
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

    sums_gradients = False
    distills = False

    def __init__(self, space: SearchSpace) -> None:
        sizes = {len(decision.options) for decision in space.decisions}
        if len(sizes) != 1:
            raise ValueError(
                "Fair paths need the same number of options for every decision, "
                f"space {space.name!r} has {sorted(sizes)}; use uniform paths."
            )
        self.space = space
        self.num_paths = sizes.pop()

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws one path per option."""
        columns = [rng.permutation(self.num_paths) for _ in self.space.decisions]
        return [self.space.architecture(choices) for choices in zip(*columns, strict=True)]


class MultiPaths:
    """One path from each of several strata of equal size, ordered by parameter count.

    The TSE authors' code orders the strata by true benchmark accuracy, which leaks the answer into
    training.

    Args:
        space: Where to draw from.
        cost_model: Counts the parameters.
        num_paths: Strata, and paths per step. At least 2.

    Raises:
        ValueError: If ``num_paths`` is less than 2 or exceeds the space.
    """

    sums_gradients = False
    distills = False

    def __init__(self, space: SearchSpace, cost_model: CostModel, num_paths: int = 4) -> None:
        if not 2 <= num_paths <= space.size:
            raise ValueError(
                f"num_paths must be from 2 to the space's {space.size} architectures, "
                f"got {num_paths}."
            )
        if space.size <= MAX_ENUMERABLE_SIZE:
            archs = list(space.enumerate())
            choices = np.array([arch.choices for arch in archs])
        else:
            choices = space.sample_choices(NUM_STRATA_SAMPLES, np.random.default_rng(0))
            archs = space.architectures(choices)
        order = np.argsort(cost_model.measure_all(choices)["params"], kind="stable")
        self.strata = [[archs[i] for i in part] for part in np.array_split(order, num_paths)]

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws one path per stratum."""
        return [stratum[rng.integers(len(stratum))] for stratum in self.strata]


class SandwichPaths:
    """The largest and the smallest architecture and random ones between them (sandwich rule).

    The first path is the largest; the others learn from its logits. Gradients are summed.

    With ``pick`` each random path is the one of several candidates with the lowest (``"best"``) or
    highest (``"worst"``) loss on the step's minibatch. The candidates have similar MACs: those of a
    random architecture, to one of 25 equal bins of the range of the space.

    Differs from the papers:

    1. The candidates' losses are computed in train mode, so that they move the running statistics
       of BatchNorm; these are recalibrated before any use.
    2. The bins are relative to the range of the space; AttentiveNAS has bins of 25 MMACs.

    Args:
        space: Where to draw from; ordered by size.
        cost_model: Counts the MACs for ``pick``.
        num_paths: Paths per step with the two extremes. At least 3.
        pick: How random paths are chosen; None takes the first drawn.

    Raises:
        ValueError: If ``num_paths`` is less than 3, or the space is not ordered.
    """

    sums_gradients = True
    distills = True

    def __init__(
        self,
        space: SearchSpace,
        cost_model: CostModel,
        num_paths: int = 4,
        *,
        pick: Literal["best", "worst"] | None = None,
    ) -> None:
        if num_paths < 3:
            raise ValueError(
                "Sandwich paths are the largest, the smallest and at least one between them, so "
                f"num_paths must be at least 3, got {num_paths}."
            )
        self.space = space
        self.cost_model = cost_model
        self.num_paths = num_paths
        self.pick = pick
        self.extremes = space.extremes()
        self._range = self._macs(np.array([arch.choices for arch in self.extremes]))

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """The largest, ``num_paths - 2`` random ones, the smallest."""
        smallest, largest = self.extremes
        between = [self._draw(rng, measure_loss) for _ in range(self.num_paths - 2)]
        return [largest, *between, smallest]

    def _draw(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> Architecture:
        if self.pick is None:
            return self.space.sample(rng)
        drawn = self.space.sample_choices(MAX_BIN_DRAWS, rng)
        bins = self._bins(drawn)
        candidates = self.space.architectures(drawn[bins == bins[0]][:NUM_CANDIDATES])
        choose = min if self.pick == "best" else max
        return choose(candidates, key=measure_loss)

    def _macs(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        macs: NDArray[np.float64] = self.cost_model.measure_all(choices)["macs"].astype(np.float64)
        return macs

    def _bins(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        smallest, largest = self._range
        shares = (self._macs(choices) - smallest) / max(1.0, largest - smallest)
        bins: NDArray[np.int64] = np.floor(shares * NUM_MACS_BINS).astype(np.int64)
        return bins


def create_path_sampler(
    name: str, space: SearchSpace, cost_model: CostModel, num_paths: int | None = None
) -> PathSampler:
    """Builds a path sampler by name.

    Args:
        name: One of ``PATHS``.
        space: Where to draw from.
        cost_model: Counts parameters and MACs, for the samplers that need them.
        num_paths: Paths per step; None takes the sampler's own: 1 for ``"uniform"``, one per option
            for ``"fair"``, otherwise 4.

    Raises:
        ValueError: If the name is unknown, or ``num_paths`` or the space does not suit the sampler.
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
    if num_paths is None:
        num_paths = 4
    if name == "multi":
        return MultiPaths(space, cost_model, num_paths)
    if name == "sandwich":
        return SandwichPaths(space, cost_model, num_paths)
    if name == "best-up":
        return SandwichPaths(space, cost_model, num_paths, pick="best")
    if name == "worst-up":
        return SandwichPaths(space, cost_model, num_paths, pick="worst")
    raise ValueError(f"Unknown paths {name!r}; choose from {', '.join(PATHS)}.")
