"""Which paths a training step runs: their gradients are accumulated before one optimizer step.

Papers: Single Path One-Shot (uniform, bins of MACs), https://arxiv.org/abs/1904.00420; Random
Search and Reproducibility for NAS (RandNAS, uniform), https://arxiv.org/abs/1902.07638; FairNAS
(strict fairness), https://arxiv.org/abs/1907.01845; Speedy Performance Estimation for NAS
(MultiPaths), https://arxiv.org/abs/2006.04492; Once for All (several uniform),
https://arxiv.org/abs/1908.09791; BigNAS (sandwich), https://arxiv.org/abs/2003.11142; AttentiveNAS
(best-up and worst-up sandwich), https://arxiv.org/abs/2011.09011
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from supernets.cost.analytic import CostModel
from supernets.runtime.option_types import POSITIVE_INT
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

_logger = logging.getLogger(__name__)

#: Architectures whose cost sets the strata of a space too large to enumerate, and shows which bins
#: of macs-bins are empty.
NUM_STRATA_SAMPLES = 10_000
#: Of best-up and worst-up: candidates per path, bins of MACs, tries to fill a bin.
NUM_CANDIDATES = 3
NUM_MACS_BINS = 25
MAX_BIN_DRAWS = 300
#: Of macs-bins: architectures drawn to find one in the bin of a path, and drawn at a time.
MAX_MACS_DRAWS = 500
NUM_DRAWS_AT_ONCE = 50


#: Loss of a path on the minibatch of the step, over all processes, in nats.
MeasureLoss = Callable[[Architecture], float]


class PathSampler(Protocol):
    """Draws the paths of one training step, from the step's rng alone.

    ``sums_gradients`` says whether the paths' gradients are summed instead of averaged;
    ``distills`` whether all paths but the first learn from the first one's logits instead of the
    labels.

    Example:
        >>> class LargestFirst:
        ...     sums_gradients, distills = False, False
        ...
        ...     def __init__(self, space, cost_model, num_paths):
        ...         self.space = space
        ...
        ...     def sample(self, rng, measure_loss):
        ...         return [self.space.extremes()[1], self.space.sample(rng)]
    """

    sums_gradients: bool
    distills: bool

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws the architectures whose gradients are accumulated before one optimizer step.

        They need not be canonical.
        """


class UniformPaths:
    """Uniform architectures, one per step by default (SPOS, RandNAS).

    The RandNAS reference draws operations anew in every cell of the network; here one genotype
    serves all of them.

    Args:
        space: Space to draw from.
        num_paths: Paths per step. At least 1.
        sums_gradients: Whether gradients are summed (OFA) instead of averaged.

    Raises:
        ValueError: If ``num_paths`` is less than 1.
    """

    distills = False

    def __init__(
        self, space: SearchSpace, num_paths: int = 1, *, sums_gradients: bool = False
    ) -> None:
        POSITIVE_INT.check("num_paths", num_paths)
        self.space = space
        self.num_paths = num_paths
        self.sums_gradients = sums_gradients

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws ``num_paths`` independent architectures."""
        return [self.space.sample(rng) for _ in range(self.num_paths)]


class BinnedPaths:
    """Uniform architectures within uniform bins of MACs (SPOS), one per step by default.

    For each path a bin is chosen uniformly. The path is the first of up to 500 uniform
    architectures that falls in the bin; if none does, it is the first of them.

    Differs from SPOS' code: bins that are empty in the space, to 10,000 architectures drawn here,
    are never chosen.

    Args:
        space: Space to draw from.
        cost_model: Counts the MACs.
        minimum: MACs where the first bin starts.
        maximum: MACs where the last bin ends.
        num_bins: Bins of equal width. At least 1.
        num_paths: Paths per step. At least 1.

    Raises:
        ValueError: If a number is out of range, or all bins are empty.
    """

    sums_gradients = False
    distills = False

    def __init__(
        self,
        space: SearchSpace,
        cost_model: CostModel,
        minimum: float,
        maximum: float,
        num_bins: int,
        num_paths: int = 1,
    ) -> None:
        if not 0 <= minimum < maximum < float("inf"):
            raise ValueError(
                "Bins of MACs need a minimum of at least 0 and a larger, finite maximum, got "
                f"{minimum:g} and {maximum:g}."
            )
        if num_bins < 1:
            raise ValueError(f"The number of bins of MACs must be at least 1, got {num_bins}.")
        POSITIVE_INT.check("num_paths", num_paths)
        self.space = space
        self.num_paths = num_paths
        self._cost_model = cost_model
        self._minimum, self._maximum, self._num_bins = minimum, maximum, num_bins
        macs = _macs(cost_model, space.sample_choices(NUM_STRATA_SAMPLES, np.random.default_rng(0)))
        bins = self._bins(macs)
        #: Those that paths are drawn from, in ascending order.
        self.bins: list[int] = np.unique(bins[bins >= 0]).tolist()
        if not self.bins:
            raise ValueError(
                f"No architecture of space {space.name!r} has from {minimum:,.0f} to "
                f"{maximum:,.0f} MACs; {NUM_STRATA_SAMPLES:,} random ones have from "
                f"{macs.min():,.0f} to {macs.max():,.0f}."
            )
        num_empty = num_bins - len(self.bins)
        if num_empty:
            _logger.info(
                "%d of %d bins of MACs are left out: no architecture of space %r falls in them",
                num_empty,
                num_bins,
                space.name,
            )

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws ``num_paths`` independent architectures."""
        return [self._draw(rng) for _ in range(self.num_paths)]

    def _draw(self, rng: np.random.Generator) -> Architecture:
        wanted = self.bins[rng.integers(len(self.bins))]
        otherwise: NDArray[np.int64] | None = None
        for _ in range(MAX_MACS_DRAWS // NUM_DRAWS_AT_ONCE):
            drawn = self.space.sample_choices(NUM_DRAWS_AT_ONCE, rng)
            fitting = drawn[self._bins(_macs(self._cost_model, drawn)) == wanted]
            if len(fitting):
                return self.space.architectures(fitting[:1])[0]
            otherwise = drawn[:1] if otherwise is None else otherwise
        assert otherwise is not None
        return self.space.architectures(otherwise)[0]

    def _bins(self, macs: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bin of each architecture, -1 outside of all; the last one has both its ends."""
        bins = (macs - self._minimum) * self._num_bins // (self._maximum - self._minimum)
        is_inside = (macs >= self._minimum) & (macs <= self._maximum)
        return np.where(is_inside, np.minimum(bins, self._num_bins - 1), -1).astype(np.int64)


class FairPaths:
    """Strict fairness (FairNAS): every option of every decision is used exactly once per step.

    Path c takes the c-th element of an independent permutation per decision. The gradients are
    averaged over the paths as in the TSE authors' code; the FairNAS paper sums them.

    Where only some decisions of the space compete (``SearchSpace.fair_decisions``: in NASNet cells
    the operations, but not what they read), the others are drawn uniformly once per step, in common
    to all paths. Each operation is then used once per step on every edge that was drawn; twice on
    one that was drawn twice. Such paths are not canonical: canonical numbering differs from path to
    path and moves operations to other edges, so that some weights would be used twice and others
    not at all.

    Args:
        space: Space to draw from; all decisions that compete need the same number of options.

    Raises:
        ValueError: If they differ in their number of options.
    """

    sums_gradients = False
    distills = False

    def __init__(self, space: SearchSpace) -> None:
        self._options = [np.array(indices) for indices in space.allowed]
        self._is_fair = [
            space.fair_decisions is None or i in space.fair_decisions
            for i in range(len(space.decisions))
        ]
        sizes = {
            len(options)
            for options, is_fair in zip(self._options, self._is_fair, strict=True)
            if is_fair
        }
        if len(sizes) != 1:
            raise ValueError(
                "Fair paths need the same number of options for every decision they permute, "
                f"space {space.name!r} has {sorted(sizes)}; use uniform paths."
            )
        self.space = space
        self.num_paths = sizes.pop()

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws one path per option; not canonical where only some decisions compete."""
        columns = [
            options[rng.permutation(self.num_paths)]
            if is_fair
            else np.full(self.num_paths, options[rng.integers(len(options))])
            for options, is_fair in zip(self._options, self._is_fair, strict=True)
        ]
        rows = np.stack(columns, axis=1)  # (num_paths, num_decisions)
        if self.space.fair_decisions is not None:
            return self.space.architectures(rows)
        return [self.space.architecture(choices) for choices in rows.tolist()]


class MultiPaths:
    """One path from each of several strata of equal size, ordered by parameter count.

    The TSE authors' code orders the strata by true benchmark accuracy, which leaks the answer into
    training. Parameters are counted as the tables of the space do (``Supernet.benchmark_count``),
    so that trainings that were begun with these strata go on with them.

    Args:
        space: Space to draw from.
        cost_model: Counts the parameters.
        num_paths: Number of strata, and of paths per step. At least 2.

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
        params = cost_model.benchmark_costs(choices)["benchmark_params"]
        order = np.argsort(params, kind="stable")
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
        space: Space to draw from, which must be ordered by size.
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
        self._range = _macs(cost_model, np.array([arch.choices for arch in self.extremes]))

    def sample(self, rng: np.random.Generator, measure_loss: MeasureLoss) -> list[Architecture]:
        """Draws the paths: the largest, ``num_paths - 2`` random ones, the smallest."""
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

    def _bins(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        smallest, largest = self._range
        shares = (_macs(self.cost_model, choices) - smallest) / max(1.0, largest - smallest)
        bins: NDArray[np.int64] = np.floor(shares * NUM_MACS_BINS).astype(np.int64)
        return bins


def _macs(cost_model: CostModel, choices: NDArray[np.int64]) -> NDArray[np.float64]:
    macs: NDArray[np.float64] = cost_model.measure_all(choices)["macs"].astype(np.float64)
    return macs
