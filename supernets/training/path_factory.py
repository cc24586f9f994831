"""Builds path samplers by name."""

from __future__ import annotations

from functools import partial
from typing import Literal

from supernets.cost.analytic import CostModel
from supernets.spaces import SearchSpace
from supernets.training.own_paths import build_own
from supernets.training.path_sampling import (
    BinnedPaths,
    FairPaths,
    MultiPaths,
    PathSampler,
    SandwichPaths,
    UniformPaths,
)
from supernets.training.paths import PATHS


def create_path_sampler(
    name: str,
    space: SearchSpace,
    cost_model: CostModel,
    num_paths: int | None = None,
    *,
    macs_bins: tuple[float, float, int] | None = None,
) -> PathSampler:
    """Builds a path sampler by name.

    Args:
        name: One of ``PATHS``, or ``package.module:Object`` or ``file.py:Object`` of a
            ``PathsDefinition``.
        space: Space to draw from.
        cost_model: Counts parameters and MACs, for the samplers that need them.
        num_paths: Paths per step; None takes the sampler's own: 1 for ``"uniform"`` and
            ``"macs-bins"``, one per option for ``"fair"``, otherwise 4.
        macs_bins: Minimum, maximum and number of the bins of ``"macs-bins"``, and None otherwise.

    Raises:
        ValueError: If the name is unknown, or ``num_paths``, ``macs_bins`` or the space does not
            suit the sampler.
    """
    definition = PATHS.find(name)
    if definition.takes_macs_bins != (macs_bins is not None):
        raise ValueError(
            f"Paths macs-bins need macs_bins, and others have none; got paths {name!r} with "
            f"macs_bins {macs_bins}."
        )
    bins = () if macs_bins is None else (macs_bins,)
    if definition.name in PATHS:
        return definition.builder(space, cost_model, num_paths, *bins)
    return build_own(definition, space, cost_model, num_paths, *bins)


def uniform(space: SearchSpace, cost_model: CostModel, num_paths: int | None) -> UniformPaths:
    """Builds uniform paths, one per step by default."""
    return UniformPaths(space, 1 if num_paths is None else num_paths)


def macs_bins(
    space: SearchSpace,
    cost_model: CostModel,
    num_paths: int | None,
    bins: tuple[float, float, int],
) -> BinnedPaths:
    """Builds paths uniform over bins of MACs, one per step by default."""
    return BinnedPaths(space, cost_model, *bins, 1 if num_paths is None else num_paths)


def fair(space: SearchSpace, cost_model: CostModel, num_paths: int | None) -> FairPaths:
    """Builds fair paths, one per option.

    Raises:
        ValueError: If another number is asked for.
    """
    sampler = FairPaths(space)
    if num_paths not in (None, sampler.num_paths):
        raise ValueError(
            f"Fair paths run every option once, so num_paths is {sampler.num_paths}, "
            f"got {num_paths}; leave it out or use other paths."
        )
    return sampler


def multi(space: SearchSpace, cost_model: CostModel, num_paths: int | None) -> MultiPaths:
    """Builds paths of several strata of costs, 4 per step by default."""
    return MultiPaths(space, cost_model, 4 if num_paths is None else num_paths)


def _sandwich(
    pick: Literal["best", "worst"] | None,
    space: SearchSpace,
    cost_model: CostModel,
    num_paths: int | None,
) -> SandwichPaths:
    return SandwichPaths(space, cost_model, 4 if num_paths is None else num_paths, pick=pick)


#: Builders of sandwiches, 4 paths per step by default.
sandwich, best_up, worst_up = (partial(_sandwich, pick) for pick in (None, "best", "worst"))
