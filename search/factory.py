"""Search algorithms by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from search.base import SearchAlgorithm
from search.predictors import PREDICTORS, create_predictor
from search.random_search import RandomSearch
from search.weaknas import WeakNAS
from supernets.spaces import Architecture, SearchSpace

ALGORITHMS = ("random", "weaknas")


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    seed: int = 0,
    is_feasible: Callable[[Architecture], bool] | None = None,
    predictor: str | None = None,
    num_initial: int | None = None,
    top_n: int | Sequence[int] | None = None,
    exclude_before_top: bool | None = None,
    pool_size: int | None = None,
) -> SearchAlgorithm:
    """Builds a search algorithm.

    Args:
        name: One of ``ALGORITHMS``.
        space: What is searched.
        seed: Makes the search repeatable.
        is_feasible: Which architectures may be asked for; all of them by default.
        predictor: weaknas: one of ``PREDICTORS``; "mlp" if None.
        num_initial: weaknas: number of uniform trials to begin with; 10 if None.
        top_n: weaknas: how many of the best-predicted to draw from; 100 if None.
        exclude_before_top: weaknas: whether seen architectures leave the ranking before its top is
            cut; False if None.
        pool_size: weaknas: size of the pool ranked in a large space; 10,000 if None.

    Raises:
        ValueError: If ``name`` or ``predictor`` is unknown, or an option is given that the
            algorithm does not have.
    """
    settings = algorithm_settings(
        name,
        predictor=predictor,
        num_initial=num_initial,
        top_n=top_n,
        exclude_before_top=exclude_before_top,
        pool_size=pool_size,
    )
    if name == "random":
        return RandomSearch(space, seed=seed, is_feasible=is_feasible)
    make_predictor = partial(create_predictor, settings.pop("predictor"), space)
    return WeakNAS(
        space, make_predictor=make_predictor, seed=seed, is_feasible=is_feasible, **settings
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
            "num_initial": 10,
            "top_n": 100,
            "exclude_before_top": False,
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
    if chosen.get("predictor", "mlp") not in PREDICTORS:
        raise ValueError(
            f"Unknown predictor {chosen['predictor']!r}; choose from {', '.join(PREDICTORS)}."
        )
    return defaults | chosen
