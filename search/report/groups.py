"""Which runs of a report can be compared, and which differ in their seed alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from estimators.html.page import flattened
from search.report.recorded_runs import RecordedRun
from supernets.runtime.digests import without_labels

#: What scores have to have in common to be compared.
_MEASURED = ("space", "resolution", "supernet", "estimator")
_DIGEST_LENGTH = 8


@dataclass(frozen=True)
class RunGroup:
    """Runs with the same settings, by seed.

    Args:
        label: Name that tells it from the other groups of its comparison.
        runs: The runs, at least one, in the order of their seeds.
    """

    label: str
    runs: tuple[RecordedRun, ...]

    @property
    def num_trials(self) -> int:
        """Number of trials of the shortest run."""
        return min(len(run.trials) for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """Groups whose scores can be compared: one space, measured in one way.

    Args:
        label: Name that tells it from the other comparisons of its report.
        groups: The groups, in the order their first runs were given in.
    """

    label: str
    groups: tuple[RunGroup, ...]

    @property
    def runs(self) -> list[RecordedRun]:
        """The runs of all groups."""
        return [run for group in self.groups for run in group.runs]

    @property
    def series(self) -> dict[str, int]:
        """The number of every group by its label: the same colour in all plots."""
        return {group.label: i for i, group in enumerate(self.groups)}

    @property
    def budget(self) -> int:
        """Number of trials that every run has."""
        return min(group.num_trials for group in self.groups)


def group_runs(runs: Sequence[RecordedRun]) -> list[Comparison]:
    """Sorts runs into comparisons and groups, in the order they are given in.

    Raises:
        ValueError: If there are no runs, or two have the same settings and seed.
    """
    if not runs:
        raise ValueError("A report needs at least one run, got none.")
    settings = [without_labels({key: run.header[key] for key in _MEASURED}) for run in runs]
    comparisons = []
    for label, compared in _sorted_by(runs, settings, _comparison_name):
        others = [_without_seed(run.header) for run in compared]
        groups = [
            RunGroup(label, tuple(_by_seed(of_group)))
            for label, of_group in _sorted_by(compared, others, _group_name)
        ]
        comparisons.append(Comparison(label, tuple(groups)))
    return comparisons


def _without_seed(header: Mapping[str, Any]) -> dict[str, Any]:
    return without_labels({key: value for key, value in header.items() if key != "seed"})


def _by_seed(runs: Iterable[RecordedRun]) -> list[RecordedRun]:
    by_seed: dict[int, RecordedRun] = {}
    for run in runs:
        if run.seed in by_seed:
            raise ValueError(
                f"Runs {by_seed[run.seed].name} and {run.name} have the same settings and seed "
                f"{run.seed}; give one of them."
            )
        by_seed[run.seed] = run
    return [by_seed[seed] for seed in sorted(by_seed)]


def _comparison_name(settings: Mapping[str, Any]) -> str:
    return f"{settings['space']}, {settings['estimator']['name']}"


def _group_name(settings: Mapping[str, Any]) -> str:
    name: str = settings["algorithm"]["name"]
    return name


def _sorted_by(
    runs: Sequence[RecordedRun], settings: Sequence[Mapping[str, Any]], name_of: Any
) -> list[tuple[str, list[RecordedRun]]]:
    """Runs of equal settings, with a name and, where it is shared, the settings that differ."""
    found: dict[str, list[int]] = {}
    for i, each in enumerate(settings):
        found.setdefault(json.dumps(each, sort_keys=True), []).append(i)
    firsts = [settings[positions[0]] for positions in found.values()]
    labels = []
    for own in firsts:
        namesakes = [flattened(other) for other in firsts if name_of(other) == name_of(own)]
        keys = dict.fromkeys(key for other in namesakes for key in other)
        differing = [key for key in keys if len({other.get(key) for other in namesakes}) > 1]
        parts = [f"{key.split('.')[-1]}={_shown(flattened(own).get(key))}" for key in differing]
        labels.append(" ".join([name_of(own), *parts]))
    positions = found.values()
    return [(label, [runs[i] for i in each]) for label, each in zip(labels, positions, strict=True)]


def _shown(value: str | None) -> str:
    """A setting, of a digest its beginning."""
    if value is None:
        return "not set"
    is_digest = len(value) == 64 and not value.strip("0123456789abcdef")
    return value[:_DIGEST_LENGTH] if is_digest else value
