"""Estimators: what an architecture is worth, measured with data, and how well that ranks."""

from estimators.base import Estimate, EstimateError, Estimator
from estimators.benchmarks.tabular import TabularEstimator
from estimators.factory import ESTIMATORS, create_estimator, create_one_pass
from estimators.rank_metrics import Comparison, compare
from estimators.ranking.learning_curves import LcSVR, effective_budget
from estimators.scores.combined import CombinedScore
from estimators.scores.extra_steps import BriefTraining
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.inherited import ValAccuracyEstimator
from estimators.scores.multi_score import OnePassEstimator, Record
from estimators.scores.names import SCORES, Score
from estimators.scores.tse import TSEEstimator
from estimators.trials.store import Trial, TrialStore

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
