"""Predictors: cheap regressions of the score from the trials of a search."""

from search.predictors.base import ExtraInputs, Predictor, ProbabilisticPredictor
from search.predictors.registry import OWN_VIEWS, PREDICTORS, create_predictor

__all__ = [
    "OWN_VIEWS",
    "PREDICTORS",
    "ExtraInputs",
    "Predictor",
    "ProbabilisticPredictor",
    "create_predictor",
]
