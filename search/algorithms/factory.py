"""Search algorithms by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from search.algorithms.base import FeasibilityCheck, SearchAlgorithm
from search.algorithms.evolution import RegularizedEvolution, SPOSEvolution
from search.algorithms.local_search import LocalSearch
from search.algorithms.neural_predictor import NeuralPredictorSearch
from search.algorithms.proxybo import ProxyBO
from search.algorithms.random_search import RandomSearch
from search.algorithms.structural_bo import StructuralBO
from search.algorithms.tpe import TPESearch
from search.algorithms.weaknas import WeakNAS
from search.predictors import (
    OWN_VIEWS,
    PREDICTORS,
    ExtraInputs,
    ProbabilisticForest,
    create_predictor,
)
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
        "sampling": "uniform",
        "keep": "all",
        "acquisition": "mean",
        "num_members": 5,
    },
    "structural-bo": {"num_initial": 5, "pool_size": 10_000},
    "neural-predictor": {
        "predictor": "gcn",
        "encoding": "one-hot",
        "predictor_inputs": (),
        "num_initial": 172,
        "two_stage": False,
        "threshold_quantile": 0.5,
        "pool": "fresh",
        "pool_size": 10_000,
    },
    "bo": {
        "encoding": "one-hot",
        "num_initial": 5,
        "rand_prob": 0.0,
        "pool": "fresh",
        "pool_size": 5_000,
    },
    "proxybo": {
        "encoding": "one-hot",
        "predictor_inputs": (),
        "num_initial": 5,
        "tau0": 0.05,
        "rand_prob": 0.0,
        "pool": "fresh",
        "pool_size": 5_000,
    },
    "evolution": {"num_initial": 50, "num_parents": 10, "mutation_prob": 0.1},
    "regularized-evolution": {"population_size": 50, "tournament_size": 10},
    "local-search": {"num_initial": 10},
    "tpe": {"num_initial": 20, "gamma": 0.25, "num_candidates": 24},
}
#: Options that have an effect only beside a value of another one.
_ONLY_WITH = {"num_members": ("acquisition", "ei"), "threshold_quantile": ("two_stage", True)}
ALGORITHMS = tuple(_DEFAULTS)
#: What an algorithm's number of random trials at the start is called.
_RANDOM_TRIALS = ("num_initial", "population_size")
#: All options of algorithms, by the names ``create_algorithm`` has for them.
ALGORITHM_OPTIONS = tuple(
    dict.fromkeys(option for defaults in _DEFAULTS.values() for option in defaults)
)
#: How many architectures are asked for at once where nothing else is said.
DEFAULT_BATCH_SIZES = {
    "random": 10,
    "weaknas": 10,
    "structural-bo": 1,
    "neural-predictor": 10,
    "bo": 1,
    "proxybo": 1,
    "evolution": 50,
    "regularized-evolution": 1,
    "local-search": 1,
    "tpe": 1,
}


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    seed: int = 0,
    are_feasible: FeasibilityCheck | None = None,
    cheap_scores: ExtraInputs | None = None,
    **options: Any,
) -> SearchAlgorithm:
    """Builds a search algorithm.

    Args:
        name: One of ``ALGORITHMS``.
        space: Space that is searched.
        seed: Makes the search repeatable.
        are_feasible: Which architectures may be asked for; all of them by default.
        cheap_scores: What the predictor of weaknas and neural-predictor sees beside the encoding,
            and the proxies of proxybo; None for nothing.
        **options: Arguments of the algorithm's class; and of those with predictors ``predictor``,
            one of ``PREDICTORS``, ``encoding``, one of the space's encodings where it sees one, and
            ``predictor_inputs``, names of what ``cheap_scores`` gives. None means not given.

    Raises:
        ValueError: If a name is unknown, an option is out of range, the algorithm does not have it,
            or the space does not have the encoding.
    """
    settings = algorithm_settings(name, **options)
    if name == "random":
        return RandomSearch(space, seed=seed, are_feasible=are_feasible)
    if name == "evolution":
        return SPOSEvolution(space, seed=seed, are_feasible=are_feasible, **settings)
    if name == "regularized-evolution":
        return RegularizedEvolution(space, seed=seed, are_feasible=are_feasible, **settings)
    if name == "structural-bo":
        return StructuralBO(space, seed=seed, are_feasible=are_feasible, **settings)
    if name == "local-search":
        return LocalSearch(space, seed=seed, are_feasible=are_feasible, **settings)
    if name == "tpe":
        return TPESearch(space, seed=seed, are_feasible=are_feasible, **settings)
    encoding = settings.pop("encoding", None)
    if encoding is not None:
        space.check_encoding(encoding)
    needs_inputs = name == "proxybo" or settings.get("predictor_inputs")
    if needs_inputs and (cheap_scores is None or not settings["predictor_inputs"]):
        raise ValueError(
            f"{name} needs predictor_inputs, the cheap scores it looks at, such as macs synflow; "
            "and cheap_scores, which gives them."
        )
    settings.pop("predictor_inputs", None)
    common: dict[str, Any] = {"seed": seed, "are_feasible": are_feasible, **settings}
    if name in ("bo", "proxybo"):
        make_forest = partial(ProbabilisticForest, space, encoding=encoding)
        proxies = cheap_scores if name == "proxybo" else None
        return ProxyBO(space, make_predictor=make_forest, proxies=proxies, **common)
    predictor = common.pop("predictor")
    make_predictor = partial(
        create_predictor, predictor, space, encoding=encoding, extra_inputs=cheap_scores
    )
    make_predictor(0)  # refuses now what it could not be fitted to later
    if name == "weaknas":
        return WeakNAS(space, make_predictor=make_predictor, **common)
    make_classifier = None
    if predictor == "gcn" and common["two_stage"]:
        # needs torch, which a search of a table can do without
        from search.predictors.gcn import GCNPredictor

        make_classifier = partial(GCNPredictor, space, loss="bce")
    return NeuralPredictorSearch(
        space, make_predictor=make_predictor, make_classifier=make_classifier, **common
    )


def algorithm_settings(name: str, **given: Any) -> dict[str, Any]:
    """Returns an algorithm's settings, defaults filled in, for the header of its trials.

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
    settings = defaults | chosen
    if settings.get("predictor") in OWN_VIEWS:
        if "encoding" in chosen:
            raise ValueError(
                f"Predictor {settings['predictor']!r} has its own view of architectures; leave "
                f"encoding {chosen['encoding']!r} out."
            )
        del settings["encoding"]
    if (settings.get("acquisition"), settings.get("predictor")) == ("ei", "gaussian_process"):
        raise ValueError(
            "Acquisition 'ei' goes by how much predictors of several seeds differ, and those of "
            "'gaussian_process' do not; choose another predictor, or algorithm structural-bo."
        )
    for option, (other, needed) in _ONLY_WITH.items():
        if option in settings and settings[other] != needed:
            if option in chosen:
                raise ValueError(
                    f"Option {option} of algorithm {name!r} has no effect unless {other} is "
                    f"{needed}; leave {option} out, or set {other}."
                )
            del settings[option]
    return settings


def fitting_options(
    name: str, num_trials: int, given: Mapping[str, Any], stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns options with fewer random trials where the defaults would leave no others.

    Half of so few trials are random then, at least one. What was given is left as it is.

    Args:
        name: One of ``ALGORITHMS``.
        num_trials: Number of trials at the end of the search.
        given: Options of ``create_algorithm`` by name; None means not given.
        stored: ``algorithm_settings`` of the search that is continued, whose numbers stay.
    """
    defaults, fitted = _DEFAULTS[name], dict(given)
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
