"""Predictors: cheap regressions of the score from the trials of a search."""

from search.predictors.base import FeatureFunction, Predictor, ProbabilisticPredictor
from search.predictors.registry import OWN_VIEWS, PREDICTORS, create_predictor

__all__ = [
    "OWN_VIEWS",
    "PREDICTORS",
    "FeatureFunction",
    "Predictor",
    "ProbabilisticPredictor",
    "create_predictor",
]
