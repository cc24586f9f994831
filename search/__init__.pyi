"""Search algorithms, the predictors they use, and the record of their trials."""

from .algorithms.base import FeasibilityCheck as FeasibilityCheck
from .algorithms.base import SearchAlgorithm as SearchAlgorithm
from .algorithms.base import SpaceExhaustedError as SpaceExhaustedError
from .algorithms.evolution import RegularizedEvolution as RegularizedEvolution
from .algorithms.evolution import SPOSEvolution as SPOSEvolution
from .algorithms.factory import ALGORITHMS as ALGORITHMS
from .algorithms.factory import DEFAULT_BATCH_SIZES as DEFAULT_BATCH_SIZES
from .algorithms.factory import algorithm_settings as algorithm_settings
from .algorithms.factory import create_algorithm as create_algorithm
from .algorithms.local_search import LocalSearch as LocalSearch
from .algorithms.neural_predictor import NeuralPredictorSearch as NeuralPredictorSearch
from .algorithms.pool_search import POOLS as POOLS
from .algorithms.proxybo import ProxyBO as ProxyBO
from .algorithms.random_search import RandomSearch as RandomSearch
from .algorithms.structural_bo import StructuralBO as StructuralBO
from .algorithms.tpe import TPESearch as TPESearch
from .algorithms.weaknas import ACQUISITIONS as ACQUISITIONS
from .algorithms.weaknas import KEEPS as KEEPS
from .algorithms.weaknas import SAMPLINGS as SAMPLINGS
from .algorithms.weaknas import WeakNAS as WeakNAS
from .algorithms.weaknas import top_n_schedule as top_n_schedule
from .predictors import PREDICTORS as PREDICTORS
from .predictors import create_predictor as create_predictor
from .report.page import write_search_report as write_search_report
from .report.recorded_runs import RecordedRun as RecordedRun
from .report.recorded_runs import read_run as read_run
from .report.test_results import HeldOutResults as HeldOutResults
from .report.test_results import held_out_results as held_out_results

# of estimators.trials.store; a stub may name modules of its own package alone
from .runner import Trial as Trial  # type: ignore[attr-defined]
from .runner import TrialStore as TrialStore  # type: ignore[attr-defined]
from .runner import run_search as run_search
