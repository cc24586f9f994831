"""What a finished search hands over: its JSON, its pictures and pages, and the exported subnet."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from estimators import Estimator, TabularEstimator
from estimators.executors import ExecutorFactory
from estimators.trials.store import Trial, TrialStore
from estimators.trials.ties import TIE_BREAKERS, num_tied, score_name, tie_breaker
from search.algorithms.base import SearchAlgorithm
from search.algorithms.neural_predictor import NeuralPredictorSearch
from search.algorithms.weaknas import WeakNAS
from search.report.page import write_search_report
from search.report.recorded_runs import read_run
from search.report.test_results import held_out_results
from search.report.trial_plot import plot_trials
from search.report.verdict import Verdict, judge_search, next_commands
from supernets.cost.analytic import Constraint, CostModel
from supernets.data.loaders import Loaders
from supernets.export.files import ExportError, check_export_target, holds_export
from supernets.export.folder import read_subnet_record
from supernets.export.subnet import export_subnet, export_summary
from supernets.networks.base import Supernet
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.digests import without_labels
from supernets.spaces import Architecture, SearchSpace

_logger = logging.getLogger(__name__)

#: Trials in ``best.json`` and in the JSON block.
NUM_BEST = 5


@dataclass(frozen=True)
class Trained:
    """What the search reads of a trained supernet."""

    supernet: Supernet
    loaders: Loaders
    digest: str
    #: Of its training, a row per epoch.
    history: Sequence[Mapping[str, float]] = ()


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
    executors: ExecutorFactory
    #: By which the result is judged; the search does not see them.
    test_values: Mapping[Architecture, float] | None


def finish_search(
    args: argparse.Namespace, job: Job, trials: Sequence[Trial], best: Sequence[Trial]
) -> dict[str, Any]:
    """Writes all files of a finished search but those of its trials.

    Args:
        args: The options of ``supernet-search``.
        job: The search; its store is closed.
        trials: All trials that were told, by number.
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
        **_ties(job, trials),
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
    chosen, result["export_choice"] = _chosen(args, job, best[0], result.get("predicted_best"))
    if result["export_choice"] is None:
        del result["export_choice"]
    verdict = _verdict(args, job, trials, best[0])
    result["verdict"] = verdict.as_json()
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
        source = result["export_choice"]
        if source["choice"] == "measured":
            source = {**source, "trial": described[0]}
        result["export"] = _export(args, job, chosen, source)
    say = _logger.warning if verdict.doubts else _logger.info
    say(verdict.line)
    return result


def _ties(job: Job, trials: Sequence[Trial]) -> dict[str, Any]:
    """How many trials share the best score, and what one image is worth of an accuracy; logs it."""
    settings = job.header["estimator"]
    breaker, tied = tie_breaker(settings), num_tied(trials)
    found: dict[str, Any] = {"tied": tied, "ties_broken_by": breaker}
    worth = ""
    if score_name(settings) in TIE_BREAKERS and job.trained is not None:
        val = job.trained.loaders.val
        num_images, num_batches = val.num_images, settings.get("val_batches")
        if num_batches is not None:
            num_images = min(num_images, num_batches * val.batch_size)
        found["points_per_image"] = 100 / num_images
        worth = (
            f" One of the {num_images} validation images is worth {100 / num_images:.3g} points."
        )
    if tied > 1:
        chosen = "the first of them" if breaker is None else f"the one of least {breaker}"
        _logger.warning(
            f"{tied} of {len(trials)} trials share the best score; {chosen} comes first.{worth}"
        )
    return found


def _search_digest(header: Mapping[str, Any]) -> str:
    """Tells searches apart by all that decides their trials but the number of these."""
    text = json.dumps(without_labels(header), sort_keys=True, default=str)
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


def _chosen(
    args: argparse.Namespace, job: Job, best: Trial, predicted: Mapping[str, Any] | None
) -> tuple[Architecture, dict[str, Any] | None]:
    """The architecture to export, and what is recorded of the choice where one is exported."""
    if args.export is None:
        return best.arch, None
    space = job.algorithm.space
    if args.export_choice == "predicted" and predicted is None:
        _logger.warning(
            "Too few trials have succeeded to fit a predictor; the best measured one is exported."
        )
    if args.export_choice != "predicted" or predicted is None:
        return best.arch, {"choice": "measured", "architecture": space.format(best.arch)}
    arch = space.parse(predicted["architecture"])
    measured = {trial.arch: trial.score for trial in job.algorithm.trials}
    if arch not in measured:
        _logger.info("The exported subnet was predicted to be the best and never measured.")
    return arch, {
        "choice": "predicted",
        **predicted,
        "is_measured": arch in measured,
        "score": measured.get(arch),
    }


def _verdict(args: argparse.Namespace, job: Job, trials: Sequence[Trial], best: Trial) -> Verdict:
    """Whether the result is any good, and what to do with it."""
    truth = job.test_values
    if truth is None and isinstance(job.estimator, TabularEstimator):
        truth = job.estimator.values
    trained, is_table = job.trained, isinstance(job.estimator, TabularEstimator)
    verdict = judge_search(
        trials,
        best,
        job.algorithm.space,
        cost_model=job.cost_model,
        loaders=None if trained is None or is_table else trained.loaders,
        history=() if trained is None or job.estimator.name == "from_scratch" else trained.history,
        truth=truth if isinstance(truth, dict) else None,  # not a benchmark read file by file
    )
    verdict.next_commands = next_commands(
        args.output,
        job.header["space"],
        supernet=args.supernet,
        exported=args.export,
        loaders=None if trained is None else trained.loaders,
        table_column=job.header["estimator"].get("table_column"),
    )
    return verdict


def _export(
    args: argparse.Namespace, job: Job, arch: Architecture, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the subnet of an architecture with inherited weights.

    Args:
        args: The options.
        job: The search.
        arch: The architecture.
        source: Record of how it was chosen.
    """
    assert job.trained is not None
    provenance = {
        "supernet": str(args.supernet),
        "supernet_digest": job.trained.digest,
        "search": str(args.output),
        "search_digest": _search_digest(job.header),
        **source,
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
