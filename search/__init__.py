"""Search algorithms, the predictors they use, and the record of their trials."""

from estimators.trials.store import Trial, TrialStore
from search.algorithms.base import FeasibilityCheck, SearchAlgorithm, StarvedError
from search.algorithms.evolution import GeneticSearch, RegularizedEvolution
from search.algorithms.factory import (
    ALGORITHMS,
    DEFAULT_BATCH_SIZES,
    algorithm_settings,
    create_algorithm,
)
from search.algorithms.local_search import LocalSearch
from search.algorithms.neural_predictor import NeuralPredictorSearch
from search.algorithms.proxybo import ProxyBO
from search.algorithms.random_search import RandomSearch
from search.algorithms.ranking_search import POOLS
from search.algorithms.structural_bo import StructuralBO
from search.algorithms.tpe import TPESearch
from search.algorithms.weaknas import ACQUISITIONS, KEEPS, SAMPLINGS, WeakNAS, top_n_schedule
from search.predictors import PREDICTORS, create_predictor
from search.report.page import write_search_report
from search.report.recorded_runs import Run, read_run
from search.report.test_results import HeldOutResults, held_out_results
from search.runner import run_search

__all__ = [
    "ACQUISITIONS",
    "ALGORITHMS",
    "DEFAULT_BATCH_SIZES",
    "KEEPS",
    "POOLS",
    "PREDICTORS",
    "SAMPLINGS",
    "FeasibilityCheck",
    "GeneticSearch",
    "HeldOutResults",
    "LocalSearch",
    "NeuralPredictorSearch",
    "ProxyBO",
    "RandomSearch",
    "RegularizedEvolution",
    "Run",
    "SearchAlgorithm",
    "StarvedError",
    "StructuralBO",
    "TPESearch",
    "Trial",
    "TrialStore",
    "WeakNAS",
    "algorithm_settings",
    "create_algorithm",
    "create_predictor",
    "held_out_results",
    "read_run",
    "run_search",
    "top_n_schedule",
    "write_search_report",
]
