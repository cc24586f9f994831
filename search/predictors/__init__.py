"""Predictors: cheap regressions of the score from the trials of a search."""

from __future__ import annotations

from search.predictors.base import ExtraInputs, Predictor, ProbabilisticPredictor
from search.predictors.ensemble import EnsemblePredictor, mlp_ensemble
from search.predictors.forest import ProbabilisticForest
from search.predictors.gaussian_process import GaussianProcess
from search.predictors.sklearn_models import gradient_boosting, mlp, random_forest
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

__all__ = [
    "OWN_VIEWS",
    "PREDICTORS",
    "EnsemblePredictor",
    "ExtraInputs",
    "GaussianProcess",
    "Predictor",
    "ProbabilisticForest",
    "ProbabilisticPredictor",
    "create_predictor",
    "gradient_boosting",
    "mlp",
    "mlp_ensemble",
    "random_forest",
]


def create_predictor(
    name: str,
    space: SearchSpace,
    seed: int,
    *,
    encoding: Encoding | None = None,
    extra_inputs: ExtraInputs | None = None,
) -> Predictor:
    """Builds an unfitted predictor.

    Args:
        name: One of ``PREDICTORS``.
        space: Space of the architectures it will be given.
        seed: Makes its fit repeatable; from 0 to 2**32 - 1.
        encoding: Encoding of the architectures, one of the space's; None for one-hot. Those of
            ``OWN_VIEWS``, Gaussian processes and graph networks, see structures and graphs.
        extra_inputs: Further numbers that it sees beside the encoding; None for none, as a graph
            network needs it.

    Raises:
        ValueError: If ``name`` is unknown, the space does not have the encoding, or the predictor
            cannot see the space, the encoding or extra inputs.
    """
    if name in OWN_VIEWS and encoding is not None:
        raise ValueError(
            f"Predictor {name!r} has its own view of architectures; leave encoding {encoding!r} "
            "out."
        )
    if name == "gaussian_process":
        return GaussianProcess(space, seed, extra_inputs=extra_inputs)
    if name == "gcn":
        if extra_inputs is not None:
            raise ValueError(
                "Predictor 'gcn' sees nothing but graphs; leave predictor inputs out, or use "
                "another predictor, such as gaussian_process or mlp_ensemble."
            )
        # needs torch, which a search of a table can do without
        from search.predictors.gcn import GCNPredictor

        return GCNPredictor(space, seed)
    encoding = encoding or "one-hot"
    space.check_encoding(encoding)
    if name == "mlp_ensemble":
        return mlp_ensemble(space, seed, encoding, extra_inputs)
    if name == "mlp":
        return mlp(space, seed, encoding, extra_inputs)
    if name == "random_forest":
        return random_forest(space, seed, encoding, extra_inputs)
    if name == "gradient_boosting":
        return gradient_boosting(space, seed, encoding, extra_inputs)
    raise ValueError(f"Unknown predictor {name!r}; choose from {', '.join(PREDICTORS)}.")
