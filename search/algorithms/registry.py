"""Search algorithms by name: the one place that lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from search.algorithms.base import SearchAlgorithm
from search.algorithms.evolution import (
    RegularizedEvolution,
    RegularizedEvolutionOptions,
    SPOSEvolution,
    SPOSEvolutionOptions,
)
from search.algorithms.local_search import LocalSearch, LocalSearchOptions
from search.algorithms.neural_predictor import NeuralPredictorOptions, NeuralPredictorSearch
from search.algorithms.options import AlgorithmOptions
from search.algorithms.problem import SearchProblem
from search.algorithms.proxybo import BOOptions, ProxyBO, ProxyBOOptions
from search.algorithms.random_search import RandomSearch
from search.algorithms.structural_bo import StructuralBO, StructuralBOOptions
from search.algorithms.tpe import TPEOptions, TPESearch
from search.algorithms.weaknas import WeakNAS, WeakNASOptions


@dataclass(frozen=True)
class AlgorithmEntry:
    """An algorithm that can be asked for by name.

    Args:
        algorithm: Its class, built from a ``SearchProblem`` and its options.
        options: Class of its settings; the flags of ``supernet-search`` are made of their fields.
        batch_size: How many architectures are asked for at once where nothing else is said.
        predicts: Whether its class has ``can_predict`` and ``predict_best``, of a last predictor,
            which can put an architecture first that was never measured.

    Example:
        >>> ALGORITHMS["evolution"].batch_size
        50
    """

    algorithm: type[SearchAlgorithm]
    options: type[AlgorithmOptions] = AlgorithmOptions
    batch_size: int = 1
    predicts: bool = False


ALGORITHMS: dict[str, AlgorithmEntry] = {
    "random": AlgorithmEntry(RandomSearch, batch_size=10),
    "weaknas": AlgorithmEntry(WeakNAS, WeakNASOptions, batch_size=10, predicts=True),
    "structural-bo": AlgorithmEntry(StructuralBO, StructuralBOOptions),
    "neural-predictor": AlgorithmEntry(
        NeuralPredictorSearch, NeuralPredictorOptions, batch_size=10, predicts=True
    ),
    "bo": AlgorithmEntry(ProxyBO, BOOptions),
    "proxybo": AlgorithmEntry(ProxyBO, ProxyBOOptions),
    "evolution": AlgorithmEntry(SPOSEvolution, SPOSEvolutionOptions, batch_size=50),
    "regularized-evolution": AlgorithmEntry(RegularizedEvolution, RegularizedEvolutionOptions),
    "local-search": AlgorithmEntry(LocalSearch, LocalSearchOptions),
    "tpe": AlgorithmEntry(TPESearch, TPEOptions),
}
#: What an algorithm's number of random trials at the start is called.
_RANDOM_TRIALS = ("num_initial", "population_size")


def algorithm_entry(name: str) -> AlgorithmEntry:
    """Returns the entry of a name in ``ALGORITHMS``.

    Raises:
        ValueError: If there is none.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"Unknown algorithm {name!r}; choose from {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


def create_algorithm(
    name: str,
    problem: SearchProblem,
    options: AlgorithmOptions | None = None,
    **settings: Any,
) -> SearchAlgorithm:
    """Builds a search algorithm by its name.

    Args:
        name: One of ``ALGORITHMS``.
        problem: What is searched.
        options: Its settings; None for those of ``settings``.
        **settings: Fields of its options, in place of these; None means not given.

    Raises:
        ValueError: If the name is unknown, an option is out of range or of another algorithm, or
            the algorithm cannot search the problem.

    Example:
        >>> from search import SearchProblem, create_algorithm
        >>> from supernets.spaces import NASBench201Space
        >>> problem = SearchProblem(NASBench201Space(), seed=0)
        >>> len(create_algorithm("evolution", problem, num_parents=5).ask(2))
        2
    """
    entry = algorithm_entry(name)
    if options is None:
        return entry.algorithm(problem, algorithm_options(name, **settings))
    if type(options) is not entry.options or settings:
        raise ValueError(
            f"Algorithm {name!r} takes {entry.options.__name__}, or its fields by name, got "
            f"{', '.join([type(options).__name__, *settings])}."
        )
    return entry.algorithm(problem, options)


def algorithm_options(name: str, **given: Any) -> AlgorithmOptions:
    """Builds the settings of an algorithm.

    Args:
        name: One of ``ALGORITHMS``.
        **given: Fields of its options; None means not given.

    Raises:
        ValueError: If the name is unknown, or an option is out of range or of another algorithm.
    """
    kind = algorithm_entry(name).options
    chosen = {option: value for option, value in given.items() if value is not None}
    known = {field.name for field in fields(kind)}
    for option, value in chosen.items():
        if option not in known:
            raise ValueError(
                f"Algorithm {name!r} has no option {option}, got {value!r}; leave it out."
            )
    return kind(**chosen)


def algorithm_settings(name: str, **given: Any) -> dict[str, Any]:
    """Returns an algorithm's settings, defaults filled in, for the header of its trials.

    Args:
        name: One of ``ALGORITHMS``.
        **given: As of ``algorithm_options``.

    Raises:
        ValueError: As ``algorithm_options``.
    """
    return algorithm_options(name, **given).settings()


def fitting_options(
    name: str, num_trials: int, given: Mapping[str, Any], stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns options with fewer random trials where the defaults would leave no others.

    Half of so few trials are random then, at least one. What was given is left as it is.

    Args:
        name: One of ``ALGORITHMS``.
        num_trials: Number of trials at the end of the search.
        given: Fields of the algorithm's options by name; None means not given.
        stored: ``algorithm_settings`` of the search that is continued, whose numbers stay.
    """
    defaults, fitted = algorithm_settings(name), dict(given)
    option = next((option for option in _RANDOM_TRIALS if option in defaults), None)
    if option is None or given.get(option) is not None:
        return fitted
    if stored is not None:
        fitted[option] = stored.get(option)
    elif 0 < num_trials <= defaults[option]:
        fitted[option] = max(1, num_trials // 2)
    if fitted.get(option) is not None and given.get("tournament_size") is None:
        if "tournament_size" in defaults:
            fitted["tournament_size"] = min(defaults["tournament_size"], fitted[option])
    return fitted


def num_random_trials(settings: Mapping[str, Any]) -> int:
    """Returns how many random trials an algorithm of these ``algorithm_settings`` begins with."""
    return next((int(settings[option]) for option in _RANDOM_TRIALS if option in settings), 0)
