"""Predictors: cheap regressions of the score from the trials of a search."""

from __future__ import annotations

from search.predictors.base import ExtraInputs, Predictor
from search.predictors.sklearn_models import gradient_boosting, mlp, random_forest
from supernets.spaces import Encoding, SearchSpace

PREDICTORS = ("mlp", "random_forest", "gradient_boosting")

__all__ = [
    "PREDICTORS",
    "ExtraInputs",
    "Predictor",
    "create_predictor",
    "gradient_boosting",
    "mlp",
    "random_forest",
]


def create_predictor(
    name: str,
    space: SearchSpace,
    seed: int,
    *,
    encoding: Encoding = "one-hot",
    extra_inputs: ExtraInputs | None = None,
) -> Predictor:
    """Builds an unfitted predictor.

    Args:
        name: One of ``PREDICTORS``.
        space: Space of the architectures it will be given.
        seed: Makes its fit repeatable; from 0 to 2**32 - 1.
        encoding: What it sees of them; one of the space's encodings.
        extra_inputs: What it sees beside; None for nothing.

    Raises:
        ValueError: If ``name`` is unknown, or the space does not have the encoding.
    """
    space.check_encoding(encoding)
    if name == "mlp":
        return mlp(space, seed, encoding, extra_inputs)
    if name == "random_forest":
        return random_forest(space, seed, encoding, extra_inputs)
    if name == "gradient_boosting":
        return gradient_boosting(space, seed, encoding, extra_inputs)
    raise ValueError(f"Unknown predictor {name!r}; choose from {', '.join(PREDICTORS)}.")
