"""Searches read back from the folders they were written to."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.trials.store import Trial, read_header, read_trials
from search.algorithms.base import SearchAlgorithm
from search.algorithms.meta_supernets import meta_supernet
from search.algorithms.problem import SearchProblem
from search.algorithms.registry import ALGORITHMS, algorithm_options, create_algorithm
from search.algorithms.zero_cost_features import ZeroCostFeatures
from search.predictors.base import FeatureFunction, Predictor
from search.predictors.registry import PREDICTORS
from supernets.cost.analytic import Cost, CostModel, Counting
from supernets.networks.base import Supernet
from supernets.runtime.foreign_fields import ForeignFileError, check_dict, naming_field, read_json
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.trusted_code import object_of_file
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.code_of_files import FIELD, space_of_file
from supernets.spaces.factory import SPACES, create_space
from supernets.training.checkpoint import read_checkpoint, supernet_from_checkpoint, weights_digest

_HEADER_KEYS = ("space", "resolution", "supernet", "algorithm", "estimator", "seed")
#: What is within some of them.
_SETTINGS = {"algorithm": ("name", "batch_size"), "estimator": ("name",)}
#: Options with defaults that must not be given where there are no networks.
_OF_NETWORKS = ("num_workers", "device")
#: Switches with a ``--no-`` form; others are off unless they are given.
_CAN_BE_TURNED_OFF = ("amp",)
_RECORD_KEYS = {"args", "versions", "git_commit"}


@dataclass(frozen=True)
class RecordedRun:
    """One search as it was recorded.

    Args:
        name: Name of the run's folder.
        space: Space that was searched.
        header: Header of the run's store: all that decided the trials.
        trials: The told trials by number, at least one of which succeeded.
        rounds: Positions in ``trials`` of what was asked for at once, one after the other.
        costs: Costs of the architectures of all trials; empty if they are not known.
        make_predictor: Builds an unfitted predictor as the search had it, from a seed below 2**32;
            None if it had none, or if not a single one ranks.
        num_fitted: Number of first trials that the predictor was fitted to; None for all that were
            told.
        command: Command line that wrote the run.
        versions: Versions of the software the run was made with, by name.
        verdict: What the search said of its result at its end; empty if that is not known.
    """

    name: str
    space: SearchSpace
    header: Mapping[str, Any]
    trials: tuple[Trial, ...]
    rounds: tuple[range, ...]
    costs: Mapping[Architecture, Cost] = field(default_factory=dict)
    make_predictor: Callable[[int], Predictor] | None = None
    num_fitted: int | None = None
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""

    @property
    def seed(self) -> int:
        """Seed of the algorithm."""
        seed: int = self.header["seed"]
        return seed


def read_run(folder: str | Path, *, trust_code: bool = False) -> RecordedRun:
    """Reads the files that ``supernet-search`` wrote to its ``--output``; changes none of them.

    Costs need the supernet that was searched, with the weights it had. Where its file is gone or
    has changed since, they are left out, as in spaces that there are only tables of.

    Args:
        folder: Folder with ``trials.db`` and ``args.json``.
        trust_code: Whether code that is not part of paceline, of a space, an algorithm or a
            predictor, may be imported if the search names some; without a question where this
            process has loaded it already.

    Raises:
        ValueError: If the folder holds no search, none of its trials succeeded, it is in use by a
            search, or was written by another version.
    """
    folder = Path(folder)
    path = folder / "trials.db"
    if not path.is_file():
        raise ValueError(f"{folder} holds no search: it has no trials.db; give an --output folder.")
    header, record = read_header(path), _read_record(folder)
    if "levels" in header:
        raise ValueError(
            f"{folder} holds a staged search, whose measurements are of several levels; its answer "
            "and its levels are in best.json, its picture is search.png."
        )
    missing = [key for key in _HEADER_KEYS if key not in header]
    for key, names in _SETTINGS.items():
        settings = header.get(key)
        if isinstance(settings, dict):
            missing += [f"{key}.{name}" for name in names if name not in settings]
        elif key not in missing:
            missing.append(key)
    if missing:
        raise ValueError(
            f"{path} was not written by supernet-search: its header has no {', '.join(missing)}."
        )
    with naming_field(path, "header"):
        kinds.BATCH.check("batch_size", header["algorithm"]["batch_size"])
        kinds.SEED.check("seed", header["seed"])
        supernet = _supernet(header, record["args"], trust_code)
        if supernet is None:
            given = str(record["args"].get("space"))
            code = {FIELD: given} if ":" in given else {}
            space_of_file(path, {**header, **code}, trust_code=trust_code)
        space = create_space(header["space"]) if supernet is None else supernet.space
    trials = read_trials(path, space)
    if all(trial.score is None for trial in trials):
        last = f", the last with: {trials[-1].error}" if trials else "."
        raise ValueError(f"{folder} holds {len(trials)} trials and none that succeeded{last}")
    cost_model = None if supernet is None else CostModel(supernet)
    with naming_field(path, "header"):
        for objects, named in _named_objects(header["algorithm"]):
            given = record["args"].get(named)
            reference = given if objects.is_reference(given) else None
            name = header["algorithm"]["name" if named == "algorithm" else named]
            object_of_file(objects, path, name, reference, trust_code=trust_code)
        algorithm, knows_inputs = _algorithm(header, space, folder, cost_model)
    rounds = rounds_of(algorithm, trials, header["algorithm"]["batch_size"])
    return RecordedRun(
        name=folder.resolve().name,
        space=space,
        header=header,
        trials=trials,
        rounds=rounds,
        costs={} if cost_model is None else _costs(cost_model, trials),
        make_predictor=algorithm.reported_predictor if knows_inputs else None,
        num_fitted=algorithm.num_fitted,
        command=_command(record["args"], has_networks=header["supernet"] is not None),
        versions={**record["versions"], "git commit": str(record["git_commit"] or "none")},
        verdict=_verdict(folder, len(trials)),
    )


def rounds_of(
    algorithm: SearchAlgorithm, trials: Sequence[Trial], batch_size: int
) -> tuple[range, ...]:
    """Returns the positions of trials asked for at once, of a search that was never prolonged.

    Args:
        algorithm: The algorithm as it was at the start, which is told the trials.
        trials: The trials in the order of their numbers.
        batch_size: Batch size of the search.
    """
    rounds: list[range] = []
    start = 0
    while start < len(trials):
        stop = min(start + algorithm.batch_size_after(start, batch_size), len(trials))
        rounds.append(range(start, stop))
        start = stop
    algorithm.tell(trials)
    return tuple(rounds)


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "args.json"
    record: dict[str, Any] = read_json(path, "the record of how a search went")
    if not isinstance(record, dict) or not _RECORD_KEYS <= record.keys():
        raise ValueError(f"{path} was not written by supernet-search; give an --output folder.")
    for name in ("args", "versions"):
        check_dict(path, record, name)
    return record


def _verdict(folder: Path, num_trials: int) -> str:
    """The text in ``best.json``, if that was written after the last of the trials."""
    try:
        result = read_json(folder / "best.json", "what a search found")
    except ForeignFileError:
        return ""
    verdict = result.get("verdict") if isinstance(result, dict) else None
    if not isinstance(verdict, dict) or result.get("trials") != num_trials:
        return ""
    text = verdict.get("text")
    return text if isinstance(text, str) else ""


def _supernet(
    header: Mapping[str, Any], args: Mapping[str, Any], trust_code: bool
) -> Counting | None:
    """Returns the supernet of the run or what stands for it.

    None if its file is gone or has other weights, or there are only tables of the space.
    """
    if header["supernet"] is None:
        return meta_supernet(header["space"]) if SPACES.is_known(header["space"]) else None
    given = args.get("supernet")
    if not isinstance(given, str) or not Path(given).is_file():
        return None
    path = Path(given)
    supernet, digest = _trained_supernet(path, path.stat().st_mtime_ns, trust_code)
    return supernet if digest == header["supernet"] else None


@lru_cache(maxsize=1)
def _trained_supernet(path: Path, written: int, trust_code: bool) -> tuple[Supernet, str]:
    """Reads a supernet and the digest of its weights; runs in a row often share it."""
    supernet = supernet_from_checkpoint(read_checkpoint(path, trust_code=trust_code), path)
    return supernet, weights_digest(supernet)


def _named_objects(settings: Mapping[str, Any]) -> list[tuple[NamedObjects[Any], str]]:
    """Which objects a search had by name, and by which option; what the header says is first."""
    found: list[tuple[NamedObjects[Any], str]] = [(ALGORITHMS, "algorithm")]
    return [*found, (PREDICTORS, "predictor")] if "predictor" in settings else found


def _algorithm(
    header: Mapping[str, Any], space: SearchSpace, folder: Path, cost_model: CostModel | None
) -> tuple[SearchAlgorithm, bool]:
    """The algorithm, told nothing, and whether all that its predictor sees is known."""
    settings = dict(header["algorithm"])
    name = settings.pop("name")
    del settings["batch_size"]
    options = algorithm_options(name, **settings)  # refuses what this version does not have
    names, path = settings.get("predictor_inputs", ()), folder / "cheap_scores.db"
    features: FeatureFunction | None = _not_known if names else None
    if names and cost_model is not None:
        inputs = ZeroCostFeatures(names, space, count=cost_model.measure_all, path=path)
        if path.is_file() or not inputs.proxies:
            inputs.measure_with(_not_measured)
            features = inputs
    problem = SearchProblem(space, seed=header["seed"], zero_cost_features=features)
    algorithm = create_algorithm(name, problem, options)
    return algorithm, not algorithm.predictor_sees_features or features is not _not_known


def _not_known(choices: NDArray[np.int64]) -> NDArray[np.float64]:
    raise ValueError("What the predictor of this run saw beside architectures is not known.")


def _not_measured(arch: Architecture) -> Mapping[str, float]:
    raise ValueError(f"The zero-cost proxies of {arch.choices} are not in the run's folder.")


def _costs(cost_model: CostModel, trials: Sequence[Trial]) -> dict[Architecture, Cost]:
    found = cost_model.measure_all(np.array([trial.arch.choices for trial in trials]))
    return {
        trial.arch: Cost(int(params), int(macs))
        for trial, params, macs in zip(trials, found["params"], found["macs"], strict=True)
    }


def _command(args: Mapping[str, Any], *, has_networks: bool) -> str:
    """A command of the same settings; what was read from ``--config`` is among them.

    Args:
        args: The resolved options of the run.
        has_networks: Whether it was of a supernet; otherwise some options must not be given.
    """
    words = ["supernet-search"]
    for name, value in args.items():
        option = name.replace("_", "-")
        is_out_of_place = name in _OF_NETWORKS and not has_networks
        if name == "config" or value is None or is_out_of_place:
            continue
        if isinstance(value, bool):
            if value or name in _CAN_BE_TURNED_OFF:
                words.append(f"--{option}" if value else f"--no-{option}")
        else:
            values = value if isinstance(value, list) else [value]
            words += [f"--{option}", *map(str, values)]
    return shlex.join(words)
