"""What searches found, in words and honest about noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from estimators.html.elements import (
    MAX_SHOWN,
    Difference,
    code,
    count,
    duration,
    marked,
    notation,
    number,
    short,
)
from estimators.trials.store import Trial, place
from estimators.trials.ties import tie_breaker
from search.report.groups import Group, Task
from search.report.recorded_runs import RecordedRun
from search.report.statistics import (
    Curve,
    Floats,
    bests_at,
    difference_of_means,
    digits_of,
    mean_curve,
    scores_of,
)
from supernets.runtime.wording import plural
from supernets.spaces import Architecture

#: Runs measured in less say nothing about seconds.
MIN_SECONDS = 1.0

TERMS = {
    "Query": "An architecture that was measured. Failed ones count.",
    "Score": "What the search makes as high as it can.",
    "Best so far": "The highest score of the queries up to here.",
    "[low, high], bands": "Student's 95 % interval of the mean over seeds: where the mean of many "
    "seeds may lie. Of few seeds it is wide, of one it is not known.",
    "Clear, within noise": "A difference of two means is clear if its 95 % interval (Welch) lies "
    "on one side of 0, otherwise within noise. The best of many algorithms was chosen by these "
    "runs and looks a little better here than it is.",
    "Time, seconds": "Of the measurements alone, one after the other.",
    "Round": "Trials that were asked for at once. The predictor of the search is fitted again as "
    "it was before the round, and judged on the round. Rounds of fewer than five trials are judged "
    "together, by what was known before the first of them.",
    "Kendall τ": "Of all pairs among the trials of a round, the share that the predictor puts in "
    "the right order, minus the share in the wrong order. 1 is the same order, 0 is chance. A "
    "search asks for what is predicted best, and to order the best among themselves is harder than "
    "to order random architectures.",
    "Pareto front": "Architectures that none beats: no other has a higher score at no more MACs, "
    "or the same score at fewer.",
    "t-SNE": "A map on which architectures with many equal decisions lie close to each other; "
    "its directions and long distances mean nothing.",
}


class Found(NamedTuple):
    """A trial, and where it is from."""

    trial: Trial
    score: float
    group: Group
    run: RecordedRun

    @property
    def query(self) -> int:
        """Number of the query, from 1."""
        return self.trial.number + 1


def best_found(task: Task) -> list[Found]:
    """Lists all architectures that succeeded, best first, each by its best trial.

    Among equal accuracies the one with the lower loss comes first, otherwise the earlier one.
    """
    breaker = tie_breaker(task.runs[0].header["estimator"])
    everything = [
        Found(trial, trial.score, group, run)
        for group in task.groups
        for run in group.runs
        for trial in run.trials
        if trial.score is not None
    ]
    everything.sort(key=lambda found: (*place(found.trial, breaker), found.query))
    best: dict[Architecture, Found] = {}
    for found in everything:
        best.setdefault(found.trial.arch, found)
    return list(best.values())


def task_digits(task: Task) -> int:
    """Returns the number of digits of scores after the point."""
    return digits_of(np.concatenate([scores_of(run.trials) for run in task.runs]))


def meaning(task: Task) -> str:
    """Returns the metric that the score is, perhaps negated; the estimator's name if it is none."""
    trials = [trial for run in task.runs for trial in run.trials if trial.score is not None]
    for name in trials[0].metrics:
        values = [(trial.metrics.get(name), trial.score) for trial in trials]
        if all(value == score for value, score in values):
            return name
        if all(value is not None and -value == score for value, score in values):
            return f"minus {name}"
    name = task.runs[0].header["estimator"]["name"]
    return str(name)


def other_metrics(trial: Trial, meant: str) -> dict[str, float]:
    """Returns the metrics that the score does not mean already."""
    said = (meant, meant.removeprefix("minus "))
    return {name: value for name, value in trial.metrics.items() if name not in said}


def differences(task: Task, best: Group) -> dict[str, Difference | None]:
    """Returns how much higher ``best``'s mean is after the common budget, by the others' labels."""
    digits, budget = task_digits(task), task.budget
    return {
        group.label: difference_of_means(bests_at(best, budget), bests_at(group, budget), digits)
        for group in task.groups
        if group is not best
    }


def ranked_groups(task: Task) -> list[Group]:
    """Sorts groups by the mean of the best after the common budget, those without one last."""

    def key(group: Group) -> float:
        mean = float(bests_at(group, task.budget).mean())
        return -mean if np.isfinite(mean) else np.inf

    return sorted(task.groups, key=key)


def mean_best(task: Task, group: Group) -> str:
    """Writes the mean of the best after the common budget, with its interval if it has one."""
    digits = task_digits(task)
    values = bests_at(group, task.budget)
    if not np.isfinite(values).all():
        return "–"
    if are_equal(values):
        return f"{number(float(values[0]), digits)} in all {len(values)} seeds"
    (_, mean, low, high) = (float(each[0]) for each in mean_curve(np.zeros(1), values[:, None]))
    text = number(mean, digits)
    return text if np.isnan(low) else f"{text} [{number(low, digits)}, {number(high, digits)}]"


def are_equal(bests: Floats) -> bool:
    """Returns whether all of several seeds found the same score."""
    return len(bests) > 1 and float(np.ptp(bests)) == 0


def headline(task: Task, quality: Mapping[str, Curve]) -> list[str]:
    """Writes the findings in order of importance, as HTML.

    Args:
        task: Task that was searched.
        quality: Kendall's tau by round, by the label of a group; see ``plot_quality``.
    """
    sentences = [_best(task), *_ties(task), *_judged(task)]
    sentences += [*_algorithms(task), *_predictors(quality, len(task.groups))]
    num_trials = sum(len(run.trials) for run in task.runs)
    num_failed = sum(trial.score is None for run in task.runs for trial in run.trials)
    if num_failed:
        sentences.append(f"{num_failed} of {num_trials} trials failed.")
    return sentences


def costs_of(found: Found) -> str:
    """Writes parameters and MACs; empty if they are not known."""
    cost = found.run.costs.get(found.trial.arch)
    return "" if cost is None else f"{count(cost.params)} parameters, {count(cost.macs)} MACs"


def _best(task: Task) -> str:
    best = best_found(task)[0]
    meant = meaning(task)
    text = best.run.space.format(best.trial.arch)
    arch = f": {notation(text)}" if len(text) <= MAX_SHOWN else ""
    seconds = sum(trial.seconds for trial in best.run.trials[: best.query])
    spent = f" and {duration(seconds)} of measuring" if seconds >= MIN_SECONDS else ""
    facts = [costs_of(best)]
    facts += [
        f"{code(name)} {short(value)}"
        for name, value in other_metrics(best.trial, meant).items()
        if math.isfinite(value)
    ]
    facts = [fact for fact in facts if fact]
    return (
        f"<strong>The best scores {number(best.score, task_digits(task))}</strong> "
        f"({meaning_in_code(meant)}){arch}. Found by {code(best.group.label)}, seed "
        f"{best.run.seed}, after {best.query} of {plural(len(best.run.trials), 'query')}{spent}"
        + (f"; {'; '.join(facts)}." if facts else ".")
    )


def _ties(task: Task) -> list[str]:
    """How many architectures share the best score, if several do."""
    found = best_found(task)
    num_tied = sum(each.score == found[0].score for each in found)
    if len(found) == 1 and len(task.runs) > 1:
        return []
    if len(found) == 1:
        return ["Only one architecture has a score, so that nothing was chosen."]
    if num_tied == len(found):
        return [
            f"<strong>All {num_tied} architectures score the same</strong>: which one comes first "
            "is arbitrary."
        ]
    return [f"{num_tied} architectures share that score."] if num_tied > 1 else []


def _judged(task: Task) -> list[str]:
    """What the search that found the best said of its result at its end."""
    text = best_found(task)[0].run.verdict
    return [f"What the search said of its result: {escape(text)}"] if text else []


def meaning_in_code(meant: str) -> str:
    """Sets a meaning such as ``minus tse`` with the name in the letters of programs."""
    if meant.startswith("minus "):
        return f"minus {code(meant.removeprefix('minus '))}"
    return code(meant)


def _algorithms(task: Task) -> list[str]:
    ranked = ranked_groups(task)
    best = ranked[0]
    num_seeds = len(best.runs)
    found_best = mean_best(task, best)
    if not are_equal(bests_at(best, task.budget)):
        found_best += f", mean of {num_seeds} seeds" if num_seeds > 1 else ", one seed"
    if len(ranked) == 1:
        if num_seeds == 1:
            return []
        return [f"After {plural(task.budget, 'query')} the best is {found_best}."]
    highest = float(bests_at(best, task.budget).mean())
    equals = [g.label for g in ranked if float(bests_at(g, task.budget).mean()) == highest]
    who = " and ".join(map(code, equals)) if equals else code(best.label)
    sentences = [
        f"After {plural(task.budget, 'query')}, {who} {'have' if len(equals) > 1 else 'has'} the "
        f"best score{' on average' if num_seeds > 1 else ''}: {found_best}."
    ]
    found = differences(task, best)
    known = [difference for difference in found.values() if difference is not None]
    for group in ranked[1:]:
        difference = found[group.label]
        if difference is not None:
            sentences.append(f"Against {code(group.label)}: {difference}, {marked(difference)}.")
    if known and all(difference.verdict == "within noise" for difference in known):
        sentences.append(
            "So nothing here shows that one algorithm is better than another: what differs is "
            "within the noise of seeds."
        )
    if len(known) < len(found):
        which = "all" if not known else "some"
        sentences.append(
            f"Noise is not known where there is one run, which is so for {which} comparisons here; "
            "runs of more seeds would tell algorithms apart."
        )
    return sentences


def _predictors(quality: Mapping[str, Curve], num_groups: int) -> list[str]:
    sentences = []
    for label, curve in quality.items():
        who = f"The predictor of {code(label)}" if num_groups > 1 else "The predictor"
        average = number(float(np.mean(curve.mean)), 2)
        sentences.append(
            f"{who} orders the trials of a next round with a Kendall τ of {average} on average "
            f"(0 is chance), and of {number(float(curve.mean[-1]), 2)} in the last one."
            if len(curve.mean) > 1
            else f"{who} orders the trials of the only round that can be judged with a Kendall τ "
            f"of {average} (0 is chance)."
        )
    return sentences


def seeds_of(runs: Sequence[RecordedRun]) -> str:
    """Lists seeds, such as ``0, 1, 2``."""
    return ", ".join(str(run.seed) for run in runs)
