"""What a finished search hands over: its JSON, its pictures and pages, and the exported subnet."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from estimators import Estimator
from estimators.executors.options import ExecutorOptions
from estimators.trials import Trial, TrialStore
from search.base import SearchAlgorithm
from search.held_out_results import held_out_results
from search.neural_predictor import NeuralPredictorSearch
from search.recorded_runs import read_run
from search.report import plot_trials
from search.report_page import write_search_report
from search.weaknas import WeakNAS
from supernets.atomic import atomic_write
from supernets.base import Supernet
from supernets.cost import Constraint, CostModel
from supernets.data import Loaders
from supernets.export import export_subnet, export_summary, read_subnet_record
from supernets.export_files import ExportError, check_export_target, holds_export
from supernets.spaces import Architecture, SearchSpace

#: Trials in ``best.json`` and in the JSON block.
NUM_BEST = 5


@dataclass(frozen=True)
class Trained:
    """What the search reads of a trained supernet."""

    supernet: Supernet
    loaders: Loaders
    digest: str


@dataclass(frozen=True)
class Job:
    """A search, ready to run."""

    algorithm: SearchAlgorithm
    batch_size: int
    estimator: Estimator
    store: TrialStore
    header: Mapping[str, Any]
    cost_model: CostModel | None
    constraints: Sequence[Constraint]
    trained: Trained | None
    device: torch.device
    executors: ExecutorOptions
    #: By which the result is judged; the search does not see them.
    test_values: Mapping[Architecture, float] | None


def finish_search(
    args: argparse.Namespace, job: Job, trials: Sequence[Trial], best: Sequence[Trial]
) -> dict[str, Any]:
    """Writes all files of a finished search but those of its trials.

    Args:
        args: The options of ``supernet-search``.
        job: The search; its store is closed.
        trials: All told trials, by number.
        best: The best of them, best first; one at least.

    Returns:
        What the command prints.
    """
    algorithm = job.algorithm
    described = [_describe(trial, algorithm.space, job.cost_model) for trial in best]
    result: dict[str, Any] = {
        "status": "finished",
        "space": algorithm.space.name,
        "estimator": job.header["estimator"],
        "trials": args.num_trials,
        "failed": sum(trial.score is None for trial in trials),
        **job.executors.lost_workers,
        "best": described,
    }
    predicted = None
    if isinstance(algorithm, WeakNAS | NeuralPredictorSearch) and algorithm.can_predict:
        predicted, score = algorithm.predict_best()
        result["predicted_best"] = {
            "architecture": algorithm.space.format(predicted),
            "predicted_score": score,
        }
    if job.test_values is not None:
        result["tested"] = {
            "column": args.test_column,
            **asdict(held_out_results(trials, predicted, job.test_values)),
        }
    cost_model = job.cost_model
    plot_trials(
        trials,
        args.output / "search.png",
        score_name=job.estimator.name,
        macs=None if cost_model is None else lambda arch: cost_model.measure(arch).macs,
    )
    with atomic_write(args.output / "best.json") as file:
        file.write(json.dumps(result, indent=2) + "\n")
    if args.report:
        write_search_report([read_run(args.output)], args.output / "report.html")
    if args.export is not None:
        result["export"] = _export(args, job, best[0].arch, described[0])
    return result


def _search_digest(header: Mapping[str, Any]) -> str:
    """Tells searches apart by all that decides their trials but the number of these."""
    text = json.dumps(header, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def check_export(args: argparse.Namespace, header: Mapping[str, Any]) -> None:
    """Makes sure that the search may export where it was asked to, if it was.

    What the same search exported before is replaced, as when it is continued with more trials.

    Raises:
        ValueError: If not.
    """
    if args.export is not None:
        overwrite = args.overwrite or _is_export_of(args.export, header)
        check_export_target(args.export, overwrite=overwrite)


def _is_export_of(folder: Path, header: Mapping[str, Any]) -> bool:
    """Whether the folder holds what the search with this header exported before."""
    if not holds_export(folder):
        return False
    provenance = read_subnet_record(folder).get("provenance")
    return isinstance(provenance, dict) and provenance.get("search_digest") == _search_digest(
        header
    )


def _export(
    args: argparse.Namespace, job: Job, arch: Architecture, trial: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the subnet of an architecture with inherited weights."""
    assert job.trained is not None
    provenance = {
        "supernet": str(args.supernet),
        "supernet_digest": job.trained.digest,
        "search": str(args.output),
        "search_digest": _search_digest(job.header),
        "trial": trial,
    }
    try:
        record = export_subnet(
            job.trained.supernet,
            arch,
            job.trained.loaders,
            args.export,
            device=job.device,
            provenance=provenance,
            overwrite=args.overwrite or _is_export_of(args.export, job.header),
        )
    except ExportError as error:
        raise ExportError(
            f"{error} The search itself is finished; the same command again exports its best."
        ) from error
    return {"subnet": str(args.export), **export_summary(record)}


def _describe(trial: Trial, space: SearchSpace, cost_model: CostModel | None) -> dict[str, Any]:
    described = {
        "number": trial.number,
        "architecture": space.format(trial.arch),
        "score": trial.score,
        "metrics": dict(trial.metrics),
    }
    if cost_model is not None:
        cost = asdict(cost_model.measure(trial.arch))
        described["cost"] = {name: value for name, value in cost.items() if value is not None}
    return described
