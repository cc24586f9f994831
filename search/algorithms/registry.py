"""Search algorithms by name, through one door for those built in and those of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from search.algorithms.base import SearchAlgorithm
from search.algorithms.definition import AlgorithmDefinition
from search.algorithms.options import AlgorithmOptions
from search.algorithms.problem import SearchProblem
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.own_code import refuse_own, running_own

_HERE = "search.algorithms.built_in"
#: The algorithms by name.
ALGORITHMS: NamedObjects[AlgorithmDefinition] = NamedObjects(
    "algorithm",
    "paceline.algorithms",
    AlgorithmDefinition,
    {
        "random": f"{_HERE}:RANDOM",
        "weaknas": f"{_HERE}:WEAKNAS",
        "structural-bo": f"{_HERE}:STRUCTURAL_BO",
        "neural-predictor": f"{_HERE}:NEURAL_PREDICTOR",
        "bo": f"{_HERE}:BO",
        "proxybo": f"{_HERE}:PROXYBO",
        "evolution": f"{_HERE}:EVOLUTION",
        "regularized-evolution": f"{_HERE}:REGULARIZED_EVOLUTION",
        "local-search": f"{_HERE}:LOCAL_SEARCH",
        "tpe": f"{_HERE}:TPE",
    },
)


def algorithm_classes(own: str | None = None) -> dict[str, type[AlgorithmOptions]]:
    """Returns the classes of settings by the names of algorithms, which commands make flags of.

    Args:
        own: An algorithm beside those that are built in, whose flags come first; None for none.

    Raises:
        ValueError: If there is no such algorithm.
    """
    names = dict.fromkeys([own, *ALGORITHMS])
    return {name: ALGORITHMS.find(name).options for name in names if name}


#: What an algorithm's number of random trials at the start is called.
_RANDOM_TRIALS = ("num_initial", "population_size")


def create_algorithm(
    name: str,
    problem: SearchProblem,
    options: AlgorithmOptions | None = None,
    **settings: Any,
) -> SearchAlgorithm:
    """Builds a search algorithm by its name.

    Args:
        name: One of ``ALGORITHMS``, or ``package.module:Object`` or ``file.py:Object`` of an
            ``AlgorithmDefinition``.
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
    entry = ALGORITHMS.find(name)
    if options is None:
        return _build(entry, problem, algorithm_options(name, **settings))
    if type(options) is not entry.options or settings:
        raise ValueError(
            f"Algorithm {entry.name!r} takes {entry.options.__name__}, or its fields by name, got "
            f"{', '.join([type(options).__name__, *settings])}."
        )
    return _build(entry, problem, options)


def _build(
    entry: AlgorithmDefinition, problem: SearchProblem, options: AlgorithmOptions
) -> SearchAlgorithm:
    """Builds an algorithm; what fails in one of one's own is told in a line."""
    if entry.name in ALGORITHMS:
        return entry.algorithm(problem, options)
    what, advice = f"Algorithm {entry.name!r}", "it is built by algorithm(problem, options)"
    with running_own(what, entry.algorithm, doing="could not be built", advice=advice):
        algorithm = entry.algorithm(problem, options)
    if not isinstance(getattr(algorithm, "problem", None), SearchProblem):
        advice = "call super().__init__(problem, options) in its __init__"
        refuse_own(what, entry.algorithm, "must have its SearchProblem as problem", "none", advice)
    return algorithm


def algorithm_options(name: str, **given: Any) -> AlgorithmOptions:
    """Builds the settings of an algorithm.

    Args:
        name: As of ``create_algorithm``.
        **given: Fields of its options; None means not given.

    Raises:
        ValueError: If the name is unknown, or an option is out of range or of another algorithm.
    """
    kind = ALGORITHMS.find(name).options
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
        name: As of ``create_algorithm``.
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
        name: As of ``create_algorithm``.
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
