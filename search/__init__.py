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
from search.predictors import PREDICTORS, create_predictor
from search.random_search import RandomSearch
from search.runner import run_search
from search.weaknas import POOLS, WeakNAS, top_n_schedule

__all__ = [
    "ALGORITHMS",
    "DEFAULT_BATCH_SIZES",
    "POOLS",
    "PREDICTORS",
    "FeasibilityCheck",
    "GeneticSearch",
    "RandomSearch",
    "RegularizedEvolution",
    "SearchAlgorithm",
    "StarvedError",
    "Trial",
    "TrialStore",
    "WeakNAS",
    "algorithm_settings",
    "create_algorithm",
    "create_predictor",
    "run_search",
    "top_n_schedule",
]
