"""The search algorithms that are built in, defined as one's own would be."""

from __future__ import annotations

from search.algorithms.definition import AlgorithmDefinition
from search.algorithms.evolution import (
    RegularizedEvolution,
    RegularizedEvolutionOptions,
    SPOSEvolution,
    SPOSEvolutionOptions,
)
from search.algorithms.local_search import LocalSearch, LocalSearchOptions
from search.algorithms.neural_predictor import NeuralPredictorOptions, NeuralPredictorSearch
from search.algorithms.proxybo import BOOptions, ProxyBO, ProxyBOOptions
from search.algorithms.random_search import RandomSearch
from search.algorithms.structural_bo import StructuralBO, StructuralBOOptions
from search.algorithms.tpe import TPEOptions, TPESearch
from search.algorithms.weaknas import WeakNAS, WeakNASOptions

RANDOM = AlgorithmDefinition("random", RandomSearch, batch_size=10)
WEAKNAS = AlgorithmDefinition("weaknas", WeakNAS, WeakNASOptions, batch_size=10, predicts=True)
STRUCTURAL_BO = AlgorithmDefinition("structural-bo", StructuralBO, StructuralBOOptions)
NEURAL_PREDICTOR = AlgorithmDefinition(
    "neural-predictor",
    NeuralPredictorSearch,
    NeuralPredictorOptions,
    batch_size=10,
    predicts=True,
)
BO = AlgorithmDefinition("bo", ProxyBO, BOOptions)
PROXYBO = AlgorithmDefinition("proxybo", ProxyBO, ProxyBOOptions)
EVOLUTION = AlgorithmDefinition("evolution", SPOSEvolution, SPOSEvolutionOptions, batch_size=50)
REGULARIZED_EVOLUTION = AlgorithmDefinition(
    "regularized-evolution", RegularizedEvolution, RegularizedEvolutionOptions
)
LOCAL_SEARCH = AlgorithmDefinition("local-search", LocalSearch, LocalSearchOptions)
TPE = AlgorithmDefinition("tpe", TPESearch, TPEOptions)
