"""Paths of one's own at work: what a step is to run is checked before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from supernets.runtime.own_code import is_own, kind_of, refuse_own, running_own
from supernets.spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    from supernets.training.path_sampling import MeasureLoss, PathSampler
    from supernets.training.paths import PathsDefinition

#: What a sampler has.
_OF_SAMPLERS = ("sample", "sums_gradients", "distills")


def build_own(definition: PathsDefinition, *given: Any) -> PathSampler:
    """Builds a path sampler of one's own.

    Args:
        definition: Its definition.
        *given: What it is built from.

    Raises:
        OwnCodeError: If that fails, or what is built is no path sampler.
    """
    what, build = f"Paths {definition.name!r}", definition.builder
    bins = ", macs_bins" if definition.takes_macs_bins else ""
    advice = f"it is built by build(space, cost_model, num_paths{bins})"
    with running_own(what, build, doing="could not be built", advice=advice):
        sampler = build(*given)
    expected = f"must be an object with {', '.join(_OF_SAMPLERS)}"
    missing = [each for each in _OF_SAMPLERS if not hasattr(sampler, each)]
    if missing:
        came = f"{kind_of(sampler)} without {', '.join(missing)}"
        refuse_own(what, build, expected, came)
    for name in _OF_SAMPLERS[1:]:
        value = getattr(sampler, name)
        if not isinstance(value, bool):
            refuse_own(what, build, f"must have True or False as {name}", kind_of(value))
    return sampler


def draw_paths(
    paths: PathSampler, space: SearchSpace, rng: np.random.Generator, measure_loss: MeasureLoss
) -> list[Architecture]:
    """Draws the paths of a step; those of one's own are checked.

    Args:
        paths: Draws them.
        space: Space of the supernet.
        rng: The random numbers of the step.
        measure_loss: Measures the loss of a candidate.

    Raises:
        OwnCodeError: If paths of one's own fail, or are no list of architectures of the space.
    """
    if not is_own(paths):
        return paths.sample(rng, measure_loss)
    what = f"Paths {type(paths).__name__}"
    advice = "what was trained to the last checkpoint is kept: mend it and resume"
    with running_own(what, paths, doing="failed in sample", advice=advice):
        archs = paths.sample(rng, measure_loss)
    expected = "must sample a list of at least one Architecture"
    if isinstance(archs, str) or not isinstance(archs, Sequence) or not archs:
        refuse_own(what, paths, expected, kind_of(archs), "return [arch] for a single path")
    for arch in archs:
        if not isinstance(arch, Architecture):
            advice = "self.space.sample(rng) makes one, space.parse(notation) as well"
            refuse_own(what, paths, expected, f"{kind_of(arch)} in it", advice)
        with running_own(what, paths, doing="sampled what is not of the space"):
            space.check(arch)
    return list(archs)
