"""What a search hands over: its result, its pictures and pages, and the exported subnet."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estimators.base import Estimator
from estimators.benchmarks.tabular import TabularEstimator
from estimators.executors import ExecutorFactory
from estimators.scores.registry import ESTIMATORS
from estimators.trials.dataframe import trials_dataframe
from estimators.trials.store import Trial, TrialStore
from estimators.trials.ties import TIE_BREAKERS, num_tied, score_name, tie_breaker
from search.algorithms.base import SearchAlgorithm
from search.algorithms.neural_predictor import NeuralPredictorSearch
from search.algorithms.problem import SearchProblem
from search.algorithms.weaknas import WeakNAS
from search.report.test_results import held_out_results
from search.report.trial_plot import plot_trials
from search.report.verdict import Verdict, judge_search, next_commands
from search.runs.job import ResultOptions, SearchJob
from search.runs.subject import Trained
from supernets.cost.analytic import CostModel
from supernets.export.files import ExportError, check_export_target, holds_export
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.digests import without_labels
from supernets.runtime.outputs import Outputs
from supernets.runtime.wording import plural
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.code_of_files import code_of

if TYPE_CHECKING:
    import pandas
    import torch

_logger = logging.getLogger(__name__)

#: Trials in ``best.json`` and in the JSON block.
NUM_BEST = 5


@dataclass(frozen=True)
class Setup:
    """A search, ready to run."""

    algorithm: SearchAlgorithm
    batch_size: int
    estimator: Estimator
    store: TrialStore
    header: Mapping[str, Any]
    #: With all resolutions, also those that are not searched.
    space: SearchSpace
    cost_model: CostModel | None
    trained: Trained | None
    device: torch.device | str
    executors: ExecutorFactory
    #: By which the result is judged; the search does not see them.
    test_values: Mapping[Architecture, float] | None


@dataclass(frozen=True)
class SearchResult:
    """What a search has come to.

    Args:
        output: Folder of the run.
        space: Space of the architectures.
        trials: All trials that were told, by number.
        best: The best of them, best first, five at most; of one that is not finished none.
        summary: What ``best.json`` holds, and what was exported.
        is_finished: Whether it came to its end, and was not stopped by Ctrl-C.

    Example:
        >>> from search import SearchJob, search
        >>> result = search(SearchJob(supernet="last.pt"), "runs/search")  # doctest: +SKIP
        >>> result.best[0].score, result.summary["verdict"]["text"]  # doctest: +SKIP
    """

    output: Path
    space: SearchSpace
    trials: Sequence[Trial]
    best: Sequence[Trial] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    is_finished: bool = True

    def trials_dataframe(self) -> pandas.DataFrame:
        """Returns a row per trial, see ``estimators.trials.dataframe.trials_dataframe``.

        Raises:
            ImportError: If pandas is not installed.
        """
        return trials_dataframe(self.trials, self.space)


@contextmanager
def table_in_any_case(
    store: TrialStore, path: Path, told: Mapping[str, Callable[[Architecture], str]] | None = None
) -> Iterator[None]:
    """Writes the trials as a table at the end; after an error that one is not hidden by another.

    Args:
        store: The trials.
        path: The table.
        told: As of ``TrialStore.write_csv``.
    """
    try:
        yield
    except BaseException:
        with suppress(OSError):
            store.write_csv(path, told)
        raise
    store.write_csv(path, told)


def finish(job: SearchJob, output: Path, setup: Setup) -> SearchResult:
    """Writes all files of a finished search but those of its trials.

    Args:
        job: What was searched.
        output: Folder of the run.
        setup: The search; its store is closed.
    """
    algorithm, trials = setup.algorithm, setup.store.trials
    best = setup.store.best(NUM_BEST, tie_breaker(setup.header["estimator"]))
    described = [_describe(trial, algorithm.space, setup.cost_model) for trial in best]
    result: dict[str, Any] = {
        "status": "finished",
        "space": algorithm.space.name,
        **code_of(algorithm.space.name),
        "estimator": setup.header["estimator"],
        "trials": job.num_trials,
        "failed": sum(trial.score is None for trial in trials),
        **setup.executors.lost_workers,
        "best": described,
        **_ties(setup, trials),
    }
    _note_failed(trials, algorithm.space)
    predicted = None
    if isinstance(algorithm, WeakNAS | NeuralPredictorSearch) and algorithm.can_predict:
        predicted, score = algorithm.predict_best()
        result["predicted_best"] = {
            "architecture": algorithm.space.format(predicted),
            "predicted_score": score,
        }
    if setup.test_values is not None:
        result["tested"] = {
            "column": job.test_column,
            **asdict(held_out_results(trials, predicted, setup.test_values)),
        }
    cost_model = setup.cost_model
    chosen, choice = _chosen(job, setup, best[0], result.get("predicted_best"))
    if choice is not None:
        result["export_choice"] = choice
    verdict = _verdict(job, output, setup, trials, best[0])
    result["verdict"] = verdict.as_json()
    plot_trials(
        trials,
        output / "search.png",
        score_name=setup.estimator.name,
        macs=None if cost_model is None else lambda arch: cost_model.measure(arch).macs,
    )
    with atomic_write(output / "best.json") as file:
        file.write(json.dumps(result, indent=2) + "\n")
    if job.report:
        from search.report.page import write_search_report  # both load SciPy and PyTorch
        from search.report.recorded_runs import read_run

        write_search_report([read_run(output)], output / "report.html")
    if choice is not None:
        if choice["choice"] == "measured":
            choice = {**choice, "trial": described[0]}
        result["export"] = _export(job, output, setup, chosen, choice)
    say = _logger.warning if verdict.doubts else _logger.info
    say(verdict.line)
    return SearchResult(output, setup.space, trials, best, result)


def _note_failed(trials: Sequence[Trial], space: SearchSpace) -> None:
    """Says how many trials failed, and the first of them."""
    failed = [trial for trial in trials if trial.score is None]
    if failed:
        _logger.warning(
            "%d of %s failed, see the column error of trials.csv; the first, %s, with: %s",
            len(failed),
            plural(len(trials), "trial"),
            space.format(failed[0].arch),
            failed[0].error,
        )


def _ties(setup: Setup, trials: Sequence[Trial]) -> dict[str, Any]:
    """How many trials share the best score, and what one image is worth of an accuracy; logs it."""
    settings = setup.header["estimator"]
    breaker, tied = tie_breaker(settings), num_tied(trials)
    found: dict[str, Any] = {"tied": tied, "ties_broken_by": breaker}
    worth = ""
    if score_name(settings) in TIE_BREAKERS and setup.trained is not None:
        val = setup.trained.loaders.val
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


def own_outputs(job: SearchJob, output: Path, outputs: Outputs) -> None:
    """Names the folders that a search writes.

    Raises:
        ValueError: If they are one, or cannot be written.
    """
    if job.export is not None:
        if job.export.resolve() == output.resolve():
            raise ValueError(
                f"--export {job.export} is --output, which holds the search; name another folder."
            )
        check_export_target(job.export, overwrite=True)  # whose export is there is asked later
        outputs.add(job.export.parent, option="--export")
    outputs.own(output, kind="search")


def check_export(job: ResultOptions, header: Mapping[str, Any]) -> None:
    """Makes sure that the search may export where it was asked to, if it was.

    What the same search exported before is replaced, as when it is continued with more trials.

    Raises:
        ValueError: If not.
    """
    if job.export is not None:
        overwrite = job.overwrite or _is_export_of(job.export, header)
        check_export_target(job.export, overwrite=overwrite)


def _is_export_of(folder: Path, header: Mapping[str, Any]) -> bool:
    """Whether the folder holds what the search with this header exported before."""
    if not holds_export(folder):
        return False
    from supernets.export.folder import read_subnet_record  # loads PyTorch

    provenance = read_subnet_record(folder).get("provenance")
    return isinstance(provenance, dict) and provenance.get("search_digest") == _search_digest(
        header
    )


def _chosen(
    job: SearchJob, setup: Setup, best: Trial, predicted: Mapping[str, Any] | None
) -> tuple[Architecture, dict[str, Any] | None]:
    """The architecture to export, and what is recorded of the choice where one is exported."""
    if job.export is None:
        return best.arch, None
    space = setup.algorithm.space
    if job.export_choice == "predicted" and predicted is None:
        _logger.warning(
            "Too few trials have succeeded to fit a predictor; the best measured one is exported."
        )
    if job.export_choice != "predicted" or predicted is None:
        return best.arch, {"choice": "measured", "architecture": space.format(best.arch)}
    arch = space.parse(predicted["architecture"])
    measured = {trial.arch: trial.score for trial in setup.algorithm.trials}
    if arch not in measured:
        _logger.info("The exported subnet was predicted to be the best and never measured.")
    return arch, {
        "choice": "predicted",
        **predicted,
        "is_measured": arch in measured,
        "score": measured.get(arch),
    }


def _verdict(
    job: SearchJob, output: Path, setup: Setup, trials: Sequence[Trial], best: Trial
) -> Verdict:
    """Whether the result is any good, and what to do with it."""
    truth = setup.test_values
    if truth is None and isinstance(setup.estimator, TabularEstimator):
        truth = setup.estimator.values
    trained, is_table = setup.trained, isinstance(setup.estimator, TabularEstimator)
    name = setup.estimator.name
    trains_anew = ESTIMATORS.is_known(name) and ESTIMATORS.find(name).trains_anew
    known, part = None, ""
    if isinstance(truth, dict):  # not a benchmark read file by file
        known, part = _part_that_was_searched(truth, setup.algorithm.problem)
    verdict = judge_search(
        trials,
        best,
        setup.algorithm.space,
        cost_model=setup.cost_model,
        loaders=None if trained is None or is_table else trained.loaders,
        history=() if trained is None or trains_anew else trained.history,
        truth=known,
        truth_is_of=part,
    )
    verdict.next_commands = next_commands(
        output,
        setup.header["space"],
        supernet=job.supernet,
        exported=job.export,
        loaders=None if trained is None else trained.loaders,
        table_column=setup.header["estimator"].get("table_column"),
    )
    return verdict


def _part_that_was_searched(
    truth: dict[Architecture, float], problem: SearchProblem
) -> tuple[dict[Architecture, float], str]:
    """The true values of what a search could have found, and which part of all that is."""
    parts = []
    if problem.pool is not None:
        truth = {arch: truth[arch] for arch in problem.pool if arch in truth}
        parts.append(" of the pool")
    if problem.are_feasible is not None and truth:
        feasible = problem.are_feasible(np.array([arch.choices for arch in truth]))
        truth = {arch: truth[arch] for arch, fits in zip(truth, feasible, strict=True) if fits}
        parts.append(" within the limits")
    return truth, "".join(parts)


def _export(
    job: SearchJob, output: Path, setup: Setup, arch: Architecture, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes the subnet of an architecture with inherited weights.

    Args:
        job: What was searched.
        output: Folder of the run.
        setup: The search.
        arch: The architecture.
        source: Record of how it was chosen.
    """
    import torch  # here, as a search of a table exports nothing

    from supernets.export.subnet import export_subnet, export_summary

    assert setup.trained is not None and job.export is not None
    provenance = {
        "supernet": str(job.supernet),
        "supernet_digest": setup.trained.digest,
        "search": str(output),
        "search_digest": _search_digest(setup.header),
        **source,
    }
    try:
        record = export_subnet(
            setup.trained.supernet,
            arch,
            setup.trained.loaders,
            job.export,
            device=torch.device(setup.device),
            provenance=provenance,
            overwrite=job.overwrite or _is_export_of(job.export, setup.header),
        )
    except ExportError as error:
        raise ExportError(
            f"{error} The search itself is finished; the same command again exports its best."
        ) from error
    return {"subnet": str(job.export), **export_summary(record)}


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
