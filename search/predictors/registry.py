"""Predictors by name, through one door for those built in and those of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from search.predictors.base import FeatureFunction, Predictor, ProbabilisticPredictor
from search.predictors.definition import PredictorDefinition
from search.predictors.own_predictor import build_own
from supernets.runtime.named_objects import HOW_TO_NAME, NamedObjects
from supernets.spaces import Encoding, SearchSpace

_HERE = "search.predictors.built_in"
#: The predictors by name; what one needs is imported once it is built.
PREDICTORS: NamedObjects[PredictorDefinition] = NamedObjects(
    "predictor",
    "paceline.predictors",
    PredictorDefinition,
    {
        "mlp": f"{_HERE}:MLP",
        "random_forest": f"{_HERE}:RANDOM_FOREST",
        "gradient_boosting": f"{_HERE}:GRADIENT_BOOSTING",
        "gaussian_process": f"{_HERE}:GAUSSIAN_PROCESS",
        "mlp_ensemble": f"{_HERE}:MLP_ENSEMBLE",
        "gcn": f"{_HERE}:GCN",
    },
)
#: Which names there are, for the help of options.
WHICH_PREDICTOR = f"{', '.join(PREDICTORS)}, or your own as {HOW_TO_NAME}"


def create_predictor(
    name: str,
    space: SearchSpace,
    seed: int,
    *,
    encoding: Encoding | None = None,
    zero_cost_features: FeatureFunction | None = None,
) -> Predictor:
    """Builds an unfitted predictor.

    Args:
        name: One of ``PREDICTORS``, or ``package.module:Object`` or ``file.py:Object`` of a
            ``PredictorDefinition``.
        space: Space of the architectures it will be given.
        seed: Makes its fit repeatable; from 0 to 2**32 - 1.
        encoding: Encoding of the architectures, one of the space's; None for one-hot. Not of those
            with their own view, such as Gaussian processes and graph networks, which see structures
            and graphs.
        zero_cost_features: Further numbers that it sees beside the encoding; None for none, as a
            graph network needs it.

    Raises:
        ValueError: If ``name`` is unknown, the space does not have the encoding, or the predictor
            cannot see the space, the encoding or extra inputs.
    """
    definition = PREDICTORS.find(name)
    seen: dict[str, Any] = {}
    if not definition.has_own_view:
        seen["encoding"] = encoding or "one-hot"
        space.check_encoding(seen["encoding"])
    elif encoding is not None:
        raise ValueError(
            f"Predictor {definition.name!r} has its own view of architectures; leave encoding "
            f"{encoding!r} out."
        )
    if definition.takes_features:
        seen["zero_cost_features"] = zero_cost_features
    elif zero_cost_features is not None:
        raise ValueError(
            f"Predictor {definition.name!r} sees nothing but architectures; leave predictor inputs "
            "out, or use another predictor, such as gaussian_process or mlp_ensemble."
        )
    if definition.name in PREDICTORS:
        return definition.builder(space, seed, **seen)
    return build_own(definition, space, seed, seen)


def graph_classifier_maker(space: SearchSpace) -> Callable[[int], Predictor]:
    """Returns what builds graph networks that tell two classes apart, from a seed below 2**32."""
    from search.predictors.gcn import GCNPredictor

    return partial(GCNPredictor, space, loss="bce")


def forest_maker(space: SearchSpace, encoding: Encoding) -> Callable[[int], ProbabilisticPredictor]:
    """Returns what builds probabilistic forests, from a seed below 2**32."""
    from search.predictors.forest import ProbabilisticForest

    return partial(ProbabilisticForest, space, encoding=encoding)
