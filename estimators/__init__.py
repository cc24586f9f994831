"""Estimators: what an architecture is worth, measured with data."""

from estimators.base import Estimate, EstimateError, Estimator
from estimators.factory import ESTIMATORS, create_estimator
from estimators.inherited import ValAccuracyEstimator
from estimators.tabular import TabularEstimator
from estimators.tse import TSEEstimator

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "EstimateError",
    "Estimator",
    "TSEEstimator",
    "TabularEstimator",
    "ValAccuracyEstimator",
    "create_estimator",
]
