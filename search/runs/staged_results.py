"""What a staged search hands over: its answer, what every level cost and contributed, a picture."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.report.verdict import Verdict
from search.runner import SearchError
from search.runs.staged_job import STAGED, StagedJob
from search.staged.algorithm import LEAST_AT_TOP
from search.staged.levels import LevelledSpace
from search.staged.measuring import LevelMeasure
from search.staged.records import Answer, LevelTrial
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.wording import plural
from supernets.spaces.code_of_files import code_of

if TYPE_CHECKING:
    from search.runs.staged import StagedRun

_logger = logging.getLogger(__name__)

#: A level whose interval of trust reaches below this is not known to say anything.
LEAST_TRUST = 0.0


@dataclass(frozen=True)
class StagedResult:
    """What a staged search has come to.

    Args:
        output: Folder of the run.
        space: Space of the measurements.
        trials: All measurements, in the order they were told.
        answer: What it found; None where it is not finished.
        summary: What ``best.json`` holds.
        is_finished: Whether it came to its end, and was not stopped by Ctrl-C.

    Example:
        >>> from search import StagedBasics, StagedJob, staged_search
        >>> basics = StagedBasics(supernet="last.pt", levels=("tse", "val_acc"), budget=600)
        >>> result = staged_search(StagedJob(basics), "runs/staged")  # doctest: +SKIP
        >>> result.summary["best"], result.summary["levels"]  # doctest: +SKIP
    """

    output: Path
    space: LevelledSpace
    trials: Sequence[LevelTrial]
    answer: Answer | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    is_finished: bool = True


def note_levels(levels: Sequence[LevelMeasure]) -> None:
    """Says which levels there are, and which counts."""
    names = ", ".join(level.name for level in levels)
    _logger.info("Levels: %s; the last is what counts.", names)


def finish_staged(job: StagedJob, output: Path, run: StagedRun) -> StagedResult:
    """Writes all files of a finished search but those of its trials.

    Raises:
        SearchError: If every measurement failed.
    """
    search, space = run.search, run.space.inner
    answer = search.answer()
    if answer is None:
        failed = [trial for trial in run.store.trials if trial.error is not None]
        last = ""
        if failed:
            level = run.names[run.space.split(failed[-1].arch)[0]]
            last = f"; the last, at {level}, with: {failed[-1].error}"
        raise SearchError(f"All {plural(len(failed), 'measurement')} failed{last}")
    rows = level_rows(run.names, search.trials, answer)
    measured = {
        run.names[trial.level]: trial.score for trial in search.trials if trial.arch == answer.arch
    }
    best: dict[str, Any] = {"architecture": space.format(answer.arch)}
    if answer.score is not None:
        best |= {"score": answer.score.value, "interval": [answer.score.low, answer.score.high]}
    best["measured"] = measured
    cost_model = run.subject.cost_model
    if cost_model is not None:
        cost = asdict(cost_model.measure(answer.arch))
        best["cost"] = {name: value for name, value in cost.items() if value is not None}
    baselines: dict[str, Any] = {}
    if run.heaviest is not None:
        heaviest = run.heaviest
        baselines["most_macs"] = {"architecture": space.format(heaviest)}
        if answer.score is not None:
            (expected,) = search.expected([heaviest])
            baselines["most_macs"] |= {
                "score": expected.value,
                "interval": [expected.low, expected.high],
            }
    result: dict[str, Any] = {
        "status": "finished",
        "space": space.name,
        **code_of(space.name),
        "algorithm": STAGED,
        "budget_seconds": search.budget,
        "seconds": round(search.spent, 3),
        "measurements": len(search.trials),
        "failed": sum(trial.score is None for trial in search.trials),
        **run.executors.lost_workers,
        "best": [best],
        "baselines": baselines,
        "levels": rows,
    }
    verdict = _verdict(rows, best, baselines)
    result["verdict"] = verdict.as_json()
    plot_levels(run.names, search.trials, output / "search.png")
    with atomic_write(output / "best.json") as file:
        file.write(json.dumps(result, indent=2) + "\n")
    for row in rows:
        _logger.info(
            "%s: %s, %.0f s (%.0f %%), trust %.2f (%.2f to %.2f)",
            row["name"],
            plural(row["measurements"], "measurement"),
            row["seconds"],
            100 * row["share"],
            *(row["trust"], *row["trust_interval"]),
        )
    say = _logger.warning if verdict.doubts else _logger.info
    say(verdict.line)
    return StagedResult(output, run.space, run.levelled_trials(), answer, result)


def level_rows(
    names: Sequence[str], trials: Sequence[LevelTrial], answer: Answer
) -> list[dict[str, Any]]:
    """What every level cost, and how far it can be trusted.

    Returns:
        For each level its name, the number of its measurements and of those that failed, their
        seconds together and in the mean, its share of all seconds, and its trust with the interval
        of that.
    """
    total = math.fsum(trial.seconds for trial in trials) or 1.0
    rows = []
    for level, (name, trust) in enumerate(zip(names, answer.trust, strict=True)):
        own = [trial for trial in trials if trial.level == level]
        seconds = math.fsum(trial.seconds for trial in own)
        rows.append(
            {
                "name": name,
                "measurements": len(own),
                "failed": sum(trial.score is None for trial in own),
                "seconds": round(seconds, 3),
                "mean_seconds": round(seconds / len(own), 3) if own else None,
                "share": round(seconds / total, 4),
                "trust": round(trust.value, 3),
                "trust_interval": [round(trust.low, 3), round(trust.high, 3)],
            }
        )
    return rows


def _verdict(
    rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any], baselines: Mapping[str, Any]
) -> Verdict:
    """Whether the answer is any good."""
    verdict, top = Verdict(), rows[-1]
    verdict.said.append(f"{plural(top['measurements'], 'measurement')} at {top['name']}")
    if "score" in best:
        low, high = best["interval"]
        verdict.said.append(
            f"expected of the answer: {best['score']:.4g} ({low:.4g} to {high:.4g})"
        )
    if top["measurements"] < LEAST_AT_TOP:
        verdict.doubts.append(
            f"so few at {top['name']} that how far other levels can be trusted is a guess; raise "
            "--budget or choose a cheaper last level"
        )
    for row in rows:
        if row["failed"] > row["measurements"] / 2:
            verdict.doubts.append(
                f"{row['failed']} of {plural(row['measurements'], 'measurement')} at {row['name']} "
                "failed, see the column error of trials.csv"
            )
    for row, after in zip(rows, rows[1:], strict=False):
        if (row["mean_seconds"] or 0) > (after["mean_seconds"] or math.inf):
            verdict.said.append(
                f"{row['name']} takes longer than {after['name']}; levels are meant to rise in cost"
            )
    heaviest = baselines.get("most_macs", {})
    if "score" in best and "score" in heaviest:
        gain = best["score"] - heaviest["score"]
        verdict.said.append(f"{gain:+.3g} against the architecture of most MACs")
        if best["interval"][0] <= heaviest["score"]:
            verdict.doubts.append("the architecture of most MACs may be as good, for no search")
    for row in rows[:-1]:
        if row["measurements"] and row["trust_interval"][0] <= LEAST_TRUST:
            verdict.said.append(f"{row['name']} is not known to say anything of {top['name']}")
    return verdict


def plot_levels(names: Sequence[str], trials: Sequence[LevelTrial], path: Path) -> None:
    """Draws the scores of every level over the seconds that were spent, as a PNG file.

    Args:
        names: Names of the levels.
        trials: The measurements, in the order they were told.
        path: The file, replaced atomically.
    """
    from matplotlib.figure import Figure  # here, as loading takes a second

    from supernets.runtime.figures import write_png

    figure = Figure(figsize=(7, 2.2 * len(names) + 0.6), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    spent = np.cumsum([trial.seconds for trial in trials])
    hours = spent / 3600 if len(spent) and spent[-1] > 7200 else spent
    unit = "hours" if hours is not spent else "seconds"
    for level, (axis, name) in enumerate(zip(axes, names, strict=True)):
        rows = [i for i, t in enumerate(trials) if t.level == level and t.score is not None]
        scores = np.array([trials[i].score for i in rows], np.float64)
        axis.scatter(hours[rows], scores, s=14, alpha=0.7)
        if len(rows):
            axis.step(hours[rows], np.maximum.accumulate(scores), where="post", color="C1")
        axis.set_title(name, fontsize=9)
        axis.set_ylabel("score")
    axes[-1].set_xlabel(f"{unit} of measuring")
    write_png(figure, path)
