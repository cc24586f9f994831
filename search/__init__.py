"""Search algorithms, the predictors they use, and the record of their trials."""

from estimators.trials import Trial, TrialStore
from search.base import FeasibilityCheck, SearchAlgorithm, StarvedError
from search.evolution import GeneticSearch, RegularizedEvolution
from search.factory import (
    ALGORITHMS,
    DEFAULT_BATCH_SIZES,
    algorithm_settings,
    create_algorithm,
)
from search.held_out_results import HeldOutResults, held_out_results
from search.local_search import LocalSearch
from search.neural_predictor import NeuralPredictorSearch
from search.pools import POOLS
from search.predictors import PREDICTORS, create_predictor
from search.proxybo import ProxyBO
from search.random_search import RandomSearch
from search.recorded_runs import Run, read_run
from search.report_page import write_search_report
from search.runner import run_search
from search.structural_bo import StructuralBO
from search.tpe import TPESearch
from search.weaknas import ACQUISITIONS, KEEPS, SAMPLINGS, WeakNAS, top_n_schedule

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
