"""Search algorithms by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from search.base import FeasibilityCheck, SearchAlgorithm
from search.predictors import PREDICTORS, create_predictor
from search.random_search import RandomSearch
from search.weaknas import WeakNAS
from supernets.spaces import ENCODINGS, SearchSpace

ALGORITHMS = ("random", "weaknas")


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    seed: int = 0,
    are_feasible: FeasibilityCheck | None = None,
    predictor: str | None = None,
    encoding: str | None = None,
    num_initial: int | None = None,
    top_n: int | Sequence[int] | None = None,
    exclude_before_top: bool | None = None,
    pool: str | None = None,
    pool_size: int | None = None,
) -> SearchAlgorithm:
    """Builds a search algorithm.

    Args:
        name: One of ``ALGORITHMS``.
        space: What is searched.
        seed: Makes the search repeatable.
        are_feasible: Which architectures may be asked for; all of them by default.
        predictor: weaknas: one of ``PREDICTORS``; "mlp" if None.
        encoding: weaknas: one of ``ENCODINGS``, what the predictor sees; "one-hot" if None.
        num_initial: weaknas: number of uniform trials to begin with; 10 if None.
        top_n: weaknas: how many of the best-predicted to draw from; 100 if None.
        exclude_before_top: weaknas: whether seen architectures leave the ranking before its top is
            cut; False if None.
        pool: weaknas: one of ``POOLS``, what is ranked in a large space; "fresh" if None.
        pool_size: weaknas: size of that pool; 10,000 if None.

    Raises:
        ValueError: If a name is unknown, or an option is given that the algorithm does not have.
    """
    settings = algorithm_settings(
        name,
        predictor=predictor,
        encoding=encoding,
        num_initial=num_initial,
        top_n=top_n,
        exclude_before_top=exclude_before_top,
        pool=pool,
        pool_size=pool_size,
    )
    if name == "random":
        return RandomSearch(space, seed=seed, are_feasible=are_feasible)
    make_predictor = partial(
        create_predictor, settings.pop("predictor"), space, encoding=settings.pop("encoding")
    )
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
    if name == "random":
        defaults: dict[str, Any] = {}
    elif name == "weaknas":
        defaults = {
            "predictor": "mlp",
            "encoding": "one-hot",
            "num_initial": 10,
            "top_n": 100,
            "exclude_before_top": False,
            "pool": "fresh",
            "pool_size": 10_000,
        }
    else:
        raise ValueError(f"Unknown algorithm {name!r}; choose from {', '.join(ALGORITHMS)}.")
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
