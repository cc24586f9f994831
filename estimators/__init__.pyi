"""Estimators: what an architecture is worth, measured with data, and how well that ranks."""

from .base import Estimate as Estimate
from .base import EstimateError as EstimateError
from .base import Estimator as Estimator
from .benchmarks.tabular import TabularEstimator as TabularEstimator
from .factory import ESTIMATORS as ESTIMATORS
from .factory import create_estimator as create_estimator
from .factory import create_multi_score as create_multi_score
from .rank_metrics import Comparison as Comparison
from .rank_metrics import compare as compare
from .ranking.learning_curves import LcSVR as LcSVR
from .ranking.learning_curves import effective_budget as effective_budget
from .scores.combined import CombinedScore as CombinedScore
from .scores.extra_steps import ExtraSteps as ExtraSteps
from .scores.from_scratch import FromScratchEstimator as FromScratchEstimator
from .scores.inherited import ValAccuracyEstimator as ValAccuracyEstimator
from .scores.multi_score import MultiScoreEstimator as MultiScoreEstimator
from .scores.multi_score import Record as Record
from .scores.names import SCORES as SCORES
from .scores.names import Score as Score
from .scores.tse import TSEEstimator as TSEEstimator
from .trials.store import Trial as Trial
from .trials.store import TrialStore as TrialStore
