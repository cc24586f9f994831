"""Search algorithms by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from search.base import FeasibilityCheck, SearchAlgorithm
from search.evolution import GeneticSearch, RegularizedEvolution
from search.predictors import PREDICTORS, ExtraInputs, create_predictor
from search.random_search import RandomSearch
from search.weaknas import WeakNAS
from supernets.spaces import ENCODINGS, SearchSpace

_DEFAULTS: dict[str, dict[str, Any]] = {
    "random": {},
    "weaknas": {
        "predictor": "mlp",
        "encoding": "one-hot",
        "predictor_inputs": (),
        "num_initial": 10,
        "top_n": 100,
        "exclude_before_top": False,
        "pool": "fresh",
        "pool_size": 10_000,
    },
    "evolution": {"num_initial": 50, "num_parents": 10, "mutation_prob": 0.1},
    "regularized-evolution": {"population_size": 50, "tournament_size": 10},
}
ALGORITHMS = tuple(_DEFAULTS)
#: All options of algorithms, by the names ``create_algorithm`` has for them.
ALGORITHM_OPTIONS = tuple(
    dict.fromkeys(option for defaults in _DEFAULTS.values() for option in defaults)
)
#: How many architectures are asked for at once where nothing else is said.
DEFAULT_BATCH_SIZES = {"random": 10, "weaknas": 10, "evolution": 50, "regularized-evolution": 1}


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    seed: int = 0,
    are_feasible: FeasibilityCheck | None = None,
    predictor: str | None = None,
    encoding: str | None = None,
    predictor_inputs: Sequence[str] | None = None,
    cheap_scores: ExtraInputs | None = None,
    num_initial: int | None = None,
    top_n: int | Sequence[int] | None = None,
    exclude_before_top: bool | None = None,
    pool: str | None = None,
    pool_size: int | None = None,
    num_parents: int | None = None,
    mutation_prob: float | None = None,
    population_size: int | None = None,
    tournament_size: int | None = None,
) -> SearchAlgorithm:
    """Builds a search algorithm.

    Args:
        name: One of ``ALGORITHMS``.
        space: What is searched.
        seed: Makes the search repeatable.
        are_feasible: Which architectures may be asked for; all of them by default.
        predictor: weaknas: one of ``PREDICTORS``; "mlp" if None.
        encoding: weaknas: one of the space's encodings, what the predictor sees; "one-hot" if
            None.
        predictor_inputs: weaknas: names of what ``cheap_scores`` gives; none if None.
        cheap_scores: weaknas: what the predictor sees beside the encoding; None for nothing.
        num_initial: weaknas, evolution: number of random trials to begin with; 10 and 50 if None.
        top_n: weaknas: how many of the best-predicted to draw from; 100 if None.
        exclude_before_top: weaknas: whether seen architectures leave the ranking before its top is
            cut; False if None.
        pool: weaknas: one of ``POOLS``, what is ranked in a large space; "fresh" if None.
        pool_size: weaknas: size of that pool; 10,000 if None.
        num_parents: evolution: how many of the best trials are parents; 10 if None.
        mutation_prob: evolution: probability with which a mutant redraws a decision; 0.1 if None.
        population_size: regularized-evolution: how many trials live; 50 if None.
        tournament_size: regularized-evolution: how many of them compete; 10 if None.

    Raises:
        ValueError: If a name is unknown, an option is out of range, the algorithm does not have it,
            or the space does not have the encoding.
    """
    settings = algorithm_settings(
        name,
        predictor=predictor,
        encoding=encoding,
        predictor_inputs=predictor_inputs,
        num_initial=num_initial,
        top_n=top_n,
        exclude_before_top=exclude_before_top,
        pool=pool,
        pool_size=pool_size,
        num_parents=num_parents,
        mutation_prob=mutation_prob,
        population_size=population_size,
        tournament_size=tournament_size,
    )
    if name == "random":
        return RandomSearch(space, seed=seed, are_feasible=are_feasible)
    if name == "evolution":
        return GeneticSearch(space, seed=seed, are_feasible=are_feasible, **settings)
    if name == "regularized-evolution":
        return RegularizedEvolution(space, seed=seed, are_feasible=are_feasible, **settings)
    space.check_encoding(settings["encoding"])
    make_predictor = partial(
        create_predictor,
        settings.pop("predictor"),
        space,
        encoding=settings.pop("encoding"),
        extra_inputs=cheap_scores,
    )
    if settings.pop("predictor_inputs") and cheap_scores is None:
        raise ValueError("predictor_inputs need cheap_scores, which gives them.")
    return WeakNAS(
        space, make_predictor=make_predictor, seed=seed, are_feasible=are_feasible, **settings
    )


def algorithm_settings(name: str, **given: Any) -> dict[str, Any]:
    """The settings an algorithm runs with, defaults filled in, for the header of its trials.

    Args:
        name: One of ``ALGORITHMS``.
        **given: Options of ``create_algorithm`` by name; None means not given.

    Raises:
        ValueError: As ``create_algorithm``.
    """
    if name not in ALGORITHMS:
        raise ValueError(f"Unknown algorithm {name!r}; choose from {', '.join(ALGORITHMS)}.")
    defaults = _DEFAULTS[name]
    chosen = {option: value for option, value in given.items() if value is not None}
    for option, value in chosen.items():
        if option not in defaults:
            raise ValueError(
                f"Algorithm {name!r} has no option {option}, got {value!r}; leave it out."
            )
    for option, names in (("predictor", PREDICTORS), ("encoding", ENCODINGS)):
        if option in chosen and chosen[option] not in names:
            raise ValueError(
                f"Unknown {option} {chosen[option]!r}; choose from {', '.join(names)}."
            )
    return defaults | chosen
