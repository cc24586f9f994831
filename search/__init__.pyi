"""Search algorithms, the predictors they use, and the record of their trials."""

from .algorithms.base import SearchAlgorithm as SearchAlgorithm
from .algorithms.base import SpaceExhaustedError as SpaceExhaustedError
from .algorithms.definition import AlgorithmDefinition as AlgorithmDefinition
from .algorithms.evolution import RegularizedEvolution as RegularizedEvolution
from .algorithms.evolution import RegularizedEvolutionOptions as RegularizedEvolutionOptions
from .algorithms.evolution import SPOSEvolution as SPOSEvolution
from .algorithms.evolution import SPOSEvolutionOptions as SPOSEvolutionOptions
from .algorithms.local_search import LocalSearch as LocalSearch
from .algorithms.local_search import LocalSearchOptions as LocalSearchOptions
from .algorithms.neural_predictor import NeuralPredictorOptions as NeuralPredictorOptions
from .algorithms.neural_predictor import NeuralPredictorSearch as NeuralPredictorSearch
from .algorithms.options import POOLS as POOLS
from .algorithms.options import ZERO_COST_FEATURES as ZERO_COST_FEATURES
from .algorithms.options import AlgorithmOptions as AlgorithmOptions
from .algorithms.problem import FeasibilityCheck as FeasibilityCheck
from .algorithms.problem import SearchProblem as SearchProblem
from .algorithms.proxybo import BOOptions as BOOptions
from .algorithms.proxybo import ProxyBO as ProxyBO
from .algorithms.proxybo import ProxyBOOptions as ProxyBOOptions
from .algorithms.random_search import RandomSearch as RandomSearch
from .algorithms.registry import ALGORITHMS as ALGORITHMS
from .algorithms.registry import algorithm_options as algorithm_options
from .algorithms.registry import algorithm_settings as algorithm_settings
from .algorithms.registry import create_algorithm as create_algorithm
from .algorithms.structural_bo import StructuralBO as StructuralBO
from .algorithms.structural_bo import StructuralBOOptions as StructuralBOOptions
from .algorithms.tpe import TPEOptions as TPEOptions
from .algorithms.tpe import TPESearch as TPESearch
from .algorithms.weaknas import ACQUISITIONS as ACQUISITIONS
from .algorithms.weaknas import KEEPS as KEEPS
from .algorithms.weaknas import SAMPLINGS as SAMPLINGS
from .algorithms.weaknas import WeakNAS as WeakNAS
from .algorithms.weaknas import WeakNASOptions as WeakNASOptions
from .algorithms.weaknas import top_n_schedule as top_n_schedule
from .differentiable.search_config import GRADIENT_ALGORITHMS as GRADIENT_ALGORITHMS
from .differentiable.search_config import SearchConfig as SearchConfig
from .differentiable.search_config import Stage as Stage
from .differentiable.search_config import StageOptions as StageOptions
from .differentiable.search_config import search_config as search_config
from .predictors import PREDICTORS as PREDICTORS
from .predictors import PredictorDefinition as PredictorDefinition
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
from .runs.gradient_job import GradientJob as GradientJob
from .runs.gradients import GradientResult as GradientResult
from .runs.gradients import search_by_gradients as search_by_gradients
from .runs.job import SearchJob as SearchJob
from .runs.results import SearchResult as SearchResult
from .runs.search import search as search
from .runs.staged import staged_search as staged_search
from .runs.staged_job import StagedBasics as StagedBasics
from .runs.staged_job import StagedJob as StagedJob
from .runs.staged_results import StagedResult as StagedResult
from .staged.algorithm import StagedSearch as StagedSearch
from .staged.options import StagedOptions as StagedOptions
from .staged.records import LevelTrial as LevelTrial
from .staged.records import Measurement as Measurement
