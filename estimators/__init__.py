"""Estimators: what an architecture is worth, measured with data, and how well that ranks."""

from estimators.base import Estimate, EstimateError, Estimator
from estimators.brief_training import BriefTraining
from estimators.combined import CombinedScore
from estimators.factory import ESTIMATORS, create_estimator, create_one_pass
from estimators.from_scratch import FromScratchEstimator
from estimators.inherited import ValAccuracyEstimator
from estimators.learning_curves import LcSVR, effective_budget
from estimators.one_pass import OnePassEstimator, Record
from estimators.ranking import Comparison, compare
from estimators.scores import SCORES, Score
from estimators.tabular import TabularEstimator
from estimators.trials import Trial, TrialStore
from estimators.tse import TSEEstimator

__all__ = [
    "ESTIMATORS",
    "SCORES",
    "BriefTraining",
    "CombinedScore",
    "Comparison",
    "Estimate",
    "EstimateError",
    "Estimator",
    "FromScratchEstimator",
    "LcSVR",
    "OnePassEstimator",
    "Record",
    "Score",
    "TSEEstimator",
    "TabularEstimator",
    "Trial",
    "TrialStore",
    "ValAccuracyEstimator",
    "compare",
    "create_estimator",
    "create_one_pass",
    "effective_budget",
]
