"""Predictors: cheap regressions of the score from the trials of a search."""

from search.predictors.base import FeatureFunction, Predictor, ProbabilisticPredictor
from search.predictors.definition import PredictorDefinition
from search.predictors.registry import PREDICTORS, create_predictor

__all__ = [
    "PREDICTORS",
    "FeatureFunction",
    "Predictor",
    "PredictorDefinition",
    "ProbabilisticPredictor",
    "create_predictor",
]
