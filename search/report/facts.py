"""What searches found, as the numbers that their page says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from estimators.html.page import Difference, flattened
from estimators.trials.store import Trial, place
from estimators.trials.ties import tie_breaker
from search.report.groups import Comparison, RunGroup
from search.report.recorded_runs import RecordedRun
from search.report.statistics import (
    Curve,
    Floats,
    bests_at,
    difference_of_means,
    digits_of,
    mean_curve,
    queries_to_best,
    trial_scores,
)
from supernets.cost.analytic import Cost
from supernets.spaces import Architecture

#: Settings that are left out of the table of settings.
_NOT_SET = ("null", "[]")


class Found(NamedTuple):
    """A trial that succeeded, its score, where it is from, and how many runs found the same."""

    trial: Trial
    score: float
    group: RunGroup
    run: RecordedRun
    num_finders: int

    @property
    def query(self) -> int:
        """Number of the query, from 1."""
        return self.trial.number + 1

    @property
    def cost(self) -> Cost | None:
        """Cost of the architecture; None if it is not known."""
        return self.run.costs.get(self.trial.arch)

    @property
    def architecture(self) -> str:
        """Notation of the architecture."""
        return self.run.space.format(self.trial.arch)

    @property
    def seconds(self) -> float:
        """Seconds that its run had measured when it was found."""
        return sum(trial.seconds for trial in self.run.trials[: self.query])

    def metric(self, name: str) -> float | None:
        """Returns the value of a metric, None where it is not finite or not known."""
        value = self.trial.metrics.get(name, math.nan)
        return value if math.isfinite(value) else None


@dataclass(frozen=True)
class GroupResult:
    """What the runs of one group found within the common budget.

    Args:
        group: The group.
        bests: Best score of each run, nan where none succeeded, (num_runs,).
        lead: How much higher the mean of the best group is; None where noise is not known.
    """

    group: RunGroup
    bests: Floats
    lead: Difference | None = None

    @property
    def is_known(self) -> bool:
        """Whether every run found something."""
        return bool(np.isfinite(self.bests).all())

    @property
    def is_equal(self) -> bool:
        """Whether several seeds all found the same score."""
        return len(self.bests) > 1 and float(np.ptp(self.bests)) == 0

    @cached_property
    def interval(self) -> tuple[float, float, float]:
        """The mean over runs and the ends of its 95 % interval, which are nan of a single run."""
        (_, mean, low, high) = (float(a[0]) for a in mean_curve(np.zeros(1), self.bests[:, None]))
        return mean, low, high

    @property
    def queries_to_best(self) -> float:
        """Mean number of queries after which the best of a run was found."""
        return float(np.mean([queries_to_best(run) for run in self.group.runs]))


@dataclass(frozen=True)
class ComparisonFacts:
    """What was found by runs whose scores can be compared.

    Args:
        comparison: The runs.
        quality: Kendall's tau of predictors by round, by the label of a group.
    """

    comparison: Comparison
    quality: Mapping[str, Curve]

    @property
    def _trials(self) -> Iterator[tuple[Trial, RunGroup, RecordedRun]]:
        for group in self.comparison.groups:
            for run in group.runs:
                for trial in run.trials:
                    yield trial, group, run

    @cached_property
    def best(self) -> list[Found]:
        """All architectures that succeeded, best first, each by its best trial.

        Among equal accuracies the one with the lower loss comes first, otherwise the earlier one.
        """
        breaker = tie_breaker(self.comparison.runs[0].header["estimator"])
        scored = [(t, t.score, g, run) for t, g, run in self._trials if t.score is not None]
        scored.sort(key=lambda found: (*place(found[0], breaker), found[0].number))
        finders = Counter(arch for run in self.comparison.runs for arch in _found_by(run))
        best: dict[Architecture, Found] = {}
        for found in scored:
            arch = found[0].arch
            if arch not in best:
                best[arch] = Found(*found, finders[arch])
        return list(best.values())

    @cached_property
    def digits(self) -> int:
        """Number of digits of scores after the point."""
        return digits_of(np.concatenate([trial_scores(run.trials) for run in self.comparison.runs]))

    @cached_property
    def score_meaning(self) -> tuple[bool, str]:
        """Whether the score is negated, and the metric that it is; the estimator if it is none."""
        trials = [trial for trial, *_ in self._trials if trial.score is not None]
        for name in trials[0].metrics:
            values = [(trial.metrics.get(name), trial.score) for trial in trials]
            for sign in (1, -1):
                if all(value is not None and sign * value == score for value, score in values):
                    return sign < 0, name
        return False, str(self.comparison.runs[0].header["estimator"]["name"])

    def other_metrics(self, found: Sequence[Found]) -> list[str]:
        """Returns the names of metrics that the score does not mean already."""
        names = dict.fromkeys(name for each in found for name in each.trial.metrics)
        return [name for name in names if name != self.score_meaning[1]]

    @cached_property
    def ranked(self) -> list[GroupResult]:
        """The groups by the mean of the best after the common budget, those without one last."""
        budget = self.comparison.budget

        def key(result: GroupResult) -> float:
            return -float(result.bests.mean()) if result.is_known else np.inf

        results = [GroupResult(each, bests_at(each, budget)) for each in self.comparison.groups]
        results.sort(key=key)
        best = results[0].bests
        return results[:1] + [
            replace(each, lead=difference_of_means(best, each.bests, self.digits))
            for each in results[1:]
        ]

    @property
    def winners(self) -> list[str]:
        """Labels of the groups that share the highest mean."""
        first = self.ranked[0]
        if not first.is_known:
            return [first.group.label]
        highest = float(first.bests.mean())
        return [e.group.label for e in self.ranked if e.is_known and e.bests.mean() == highest]

    @property
    def failures(self) -> dict[str, list[tuple[Trial, RunGroup, RecordedRun]]]:
        """The failed trials by their error."""
        by_error: dict[str, list[tuple[Trial, RunGroup, RecordedRun]]] = {}
        for trial, group, run in self._trials:
            if trial.error is not None:
                by_error.setdefault(trial.error, []).append((trial, group, run))
        return by_error


def _found_by(run: RecordedRun) -> set[Architecture]:
    return {trial.arch for trial in run.trials if trial.score is not None}


def settings_of(group: RunGroup) -> dict[str, str]:
    """Returns runs, settings and versions of a group, as text by name."""
    runs, header = group.runs, group.runs[0].header
    found = {"runs": ", ".join(run.name for run in runs)}
    found["seeds"] = ", ".join(str(run.seed) for run in runs)
    settings = flattened({key: value for key, value in header.items() if key != "seed"})
    found |= {key: text for key, text in settings.items() if text not in _NOT_SET}
    for name in dict.fromkeys(name for run in runs for name in run.versions):
        found[name] = ", ".join(dict.fromkeys(r.versions.get(name, "not known") for r in runs))
    return found
