"""What a ranking found: the scores beside the truth, as plain values and as files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from estimators.ranking.comparison import compare_epochs, compare_scores, not_measured
from estimators.ranking.facts import noise_ceiling
from estimators.ranking.macs_windows import choose_windows
from estimators.ranking.report import write_csv, write_report
from estimators.ranking.scores import score_units
from estimators.ranking.settings import ComparisonSettings
from estimators.ranking.supernets import MeasuredSupernet
from estimators.ranking.truth import Truth
from estimators.ranking.window_comparison import compare_windows
from estimators.scores.combined import MIN_NUM_KNOWN
from estimators.scores.combined_estimator import Reference
from estimators.scores.names import Score
from estimators.scores.own_scores import OwnScore
from estimators.scores.revisions import revisions
from estimators.scores.score_tables import combined_features, score_table
from estimators.trials.store import Trial
from supernets.cost.analytic import CostModel
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.outputs import WorkError
from supernets.spaces import Architecture


class RankingError(WorkError, RuntimeError):
    """Too few architectures could be measured, or have a truth, to be ranked."""


@dataclass(frozen=True)
class Ranking:
    """How well scores rank architectures.

    Args:
        result: All that was found, as ``ranking.json`` holds it.
        reference: What the combined score is fitted to in searches, as ``reference.json`` holds it.

    Example:
        >>> each = {"name": "macs", "metrics": {"spearman": {"mean": 0.8}}}
        >>> Ranking({"estimators": [each]}, reference=None).spearman
        {'macs': 0.8}
    """

    result: Mapping[str, Any]
    reference: Reference

    @property
    def spearman(self) -> dict[str, float]:
        """Spearman correlation with the truth, mean over supernets, of each score, best first."""
        return {
            each["name"]: each["metrics"]["spearman"]["mean"] for each in self.result["estimators"]
        }

    def write(self, output: Path) -> None:
        """Writes reference.json, ranking.json, ranking.csv and report.html into a folder."""
        self.reference.write(output / "reference.json")
        with atomic_write(output / "ranking.json") as file:
            file.write(json.dumps(self.result, indent=1, allow_nan=False) + "\n")
        write_csv(self.result, output / "ranking.csv")
        write_report(self.result, output / "report.html")


def compare_measurements(
    archs: Sequence[Architecture],
    truth: Truth,
    trained: Sequence[Trial],
    measured: Sequence[Sequence[Trial]],
    scores: Sequence[Score],
    subjects: Sequence[MeasuredSupernet],
    settings: ComparisonSettings,
    own: Sequence[OwnScore] = (),
    *,
    command: str,
) -> Ranking:
    """Compares what was measured of the architectures whose truth is known.

    Args:
        archs: The architectures.
        truth: What they are worth.
        trained: Trials of trainings from scratch, one for each architecture; empty for none.
        measured: Trials of each supernet, one for each architecture.
        scores: The scores that they are compared by.
        subjects: The supernets.
        settings: How they are compared.
        own: The scores of one's own among them.
        command: The command line, for the report.

    Raises:
        RankingError: If too few architectures could be measured or have a truth.
    """
    values = truth.table
    if values is None:
        values = {trial.arch: trial.score for trial in trained if trial.score is not None}
    lost = not_measured(measured)
    known = [i for i, arch in enumerate(archs) if arch in values and i not in lost]
    top_k = settings.fitted(len(archs)).top_k
    assert top_k is not None
    if len(known) <= top_k:
        num_with_truth = sum(arch in values for arch in archs)
        raise RankingError(
            f"Of {len(archs)} architectures {num_with_truth} have a truth and "
            f"{len(archs) - len(lost)} could be measured, too few for a top {top_k}; "
            "where trainings from scratch diverged, lower --truth-lr."
        )
    true = np.array([values[archs[i]] for i in known])
    supernet = subjects[0].given.supernet
    space, costs = supernet.space, CostModel(supernet)
    # costs do not depend on when or where something was measured, so they are those of now
    measured = [
        [
            replace(trials[i], metrics={**trials[i].metrics, **costs.metrics(archs[i])})
            for i in known
        ]
        for trials in measured
    ]
    num_known = settings.num_known
    if num_known is None:
        num_known = max(MIN_NUM_KNOWN, len(known) // 5)
    found = compare_scores(
        scores,
        measured,
        true,
        notations=[space.format(archs[i]) for i in known],
        top_k=top_k,
        num_bootstrap=settings.num_bootstrap,
        num_known=num_known,
        stability=settings.stability,
        seed=settings.seed,
    )
    if settings.macs_windows is not None:
        macs = costs.measure_all(space.choices_of(archs))["macs"]
        found["macs_windows"] = compare_windows(
            choose_windows(settings.macs_windows, settings.macs_tolerance, macs),
            {score.name: score_table(score, measured) for score in scores},
            true,
            macs[known],
            notations=[space.format(archs[i]) for i in known],
            num_bootstrap=settings.num_bootstrap,
            seed=settings.seed,
        )
    early = None
    if trained:
        counts = np.array([[each["params"], each["macs"]] for each in found["archs"]], np.float64)
        trainings = [trained[i] for i in known]
        early = compare_epochs(trainings, counts, true, num_known=num_known, seed=settings.seed)
    first = subjects[0]
    result = {
        "space": space.name,
        "num_archs": len(known),
        "top_k": top_k,
        "num_bootstrap": settings.num_bootstrap,
        "date": date.today().isoformat(),
        "command": command,
        "truth": {
            "source": truth.source,
            "unit": truth.unit,
            "mean": float(true.mean()),
            "sd": float(true.std()),
            "best": float(true.max()),
            "test_images": truth.test_images,
            "failed": [space.format(trial.arch) for trial in trained if trial.score is None],
        },
        "noise_ceiling": noise_ceiling(
            true,
            test_images=truth.test_images,
            repeats=[np.array([each[archs[i]] for i in known]) for each in truth.repeats],
            seed=settings.seed,
        ),
        "supernets": [
            subject.facts(trials) for subject, trials in zip(subjects, measured, strict=True)
        ],
        "settings": {**first.settings, **score_units(scores, len(first.given.loaders.train))},
        "not_measured": {space.format(archs[i]): lost[i] for i in lost},
        **_facts_of_own(own, measured, [space.format(archs[i]) for i in known]),
        **found,
        "early": early,
    }
    reference = Reference(
        digest=first.digest,
        settings=first.settings,
        scores=scores,
        features=combined_features(scores, measured[0]),
        truth=true,
        own={each.name: each.record() for each in own},
        **revisions(space.name, [score.name for score in scores]),
    )
    return Ranking(result, reference)


def _facts_of_own(
    own: Sequence[OwnScore], trials: Sequence[Sequence[Trial]], notations: Sequence[str]
) -> dict[str, Any]:
    """Says of scores of one's own where they are from, and why they lack for some architectures."""
    problems = {
        notation: trial.error
        for each in reversed(trials)
        for notation, trial in zip(notations, each, strict=True)
        if any(math.isnan(trial.metrics[score.name]) for score in own)
    }
    known = {each.name: {"source": each.given, "inherits": each.inherits} for each in own}
    return {"own_scores": known, "problems": problems} if own else {}
