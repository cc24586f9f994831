"""Predictors by name; what a predictor needs is imported once it is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from search.predictors.base import FeatureFunction, Predictor, ProbabilisticPredictor
from supernets.spaces import Encoding, SearchSpace

PREDICTORS = (
    "mlp",
    "random_forest",
    "gradient_boosting",
    "gaussian_process",
    "mlp_ensemble",
    "gcn",
)
#: Of these, the ones that do not look at encodings.
OWN_VIEWS = ("gaussian_process", "gcn")


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
        name: One of ``PREDICTORS``.
        space: Space of the architectures it will be given.
        seed: Makes its fit repeatable; from 0 to 2**32 - 1.
        encoding: Encoding of the architectures, one of the space's; None for one-hot. Those of
            ``OWN_VIEWS``, Gaussian processes and graph networks, see structures and graphs.
        zero_cost_features: Further numbers that it sees beside the encoding; None for none, as a
            graph network needs it.

    Raises:
        ValueError: If ``name`` is unknown, the space does not have the encoding, or the predictor
            cannot see the space, the encoding or extra inputs.
    """
    if name not in PREDICTORS:
        raise ValueError(f"Unknown predictor {name!r}; choose from {', '.join(PREDICTORS)}.")
    if name in OWN_VIEWS:
        if encoding is not None:
            raise ValueError(
                f"Predictor {name!r} has its own view of architectures; leave encoding "
                f"{encoding!r} out."
            )
        if name == "gaussian_process":
            from search.predictors.gaussian_process import GaussianProcess

            return GaussianProcess(space, seed, zero_cost_features=zero_cost_features)
        if zero_cost_features is not None:
            raise ValueError(
                "Predictor 'gcn' sees nothing but graphs; leave predictor inputs out, or use "
                "another predictor, such as gaussian_process or mlp_ensemble."
            )
        from search.predictors.gcn import GCNPredictor

        return GCNPredictor(space, seed)
    encoding = encoding or "one-hot"
    space.check_encoding(encoding)
    if name == "mlp_ensemble":
        from search.predictors.ensemble import mlp_ensemble

        return mlp_ensemble(space, seed, encoding, zero_cost_features)
    from search.predictors.sklearn_models import sklearn_predictor

    return sklearn_predictor(name, space, seed, encoding, zero_cost_features)


def graph_classifier_maker(space: SearchSpace) -> Callable[[int], Predictor]:
    """Returns what builds graph networks that tell two classes apart, from a seed below 2**32."""
    from search.predictors.gcn import GCNPredictor

    return partial(GCNPredictor, space, loss="bce")


def forest_maker(space: SearchSpace, encoding: Encoding) -> Callable[[int], ProbabilisticPredictor]:
    """Returns what builds probabilistic forests, from a seed below 2**32."""
    from search.predictors.forest import ProbabilisticForest

    return partial(ProbabilisticForest, space, encoding=encoding)
