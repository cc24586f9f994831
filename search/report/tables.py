"""Tables of the page about searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from estimators.html.elements import (
    Row,
    bullets,
    code,
    count,
    duration,
    flat,
    notation,
    number,
    settings_table,
    short,
    table,
    verdict,
)
from estimators.trials.store import Trial
from search.report.groups import Group, Task
from search.report.recorded_runs import RecordedRun
from search.report.statistics import queries_to_best, scores_of
from search.report.text import (
    Found,
    best_found,
    differences,
    mean_best,
    meaning,
    meaning_in_code,
    other_metrics,
    ranked_groups,
    seeds_of,
    task_digits,
)
from supernets.runtime.wording import plural

#: Settings that are left out of the table of settings.
_NOT_SET = ("null", "[]")
#: Architectures in the table of the best.
NUM_BEST = 10
#: Errors that are listed, and failed trials of each, at most.
MAX_ERRORS, MAX_FAILED = 50, 50


def best_table(task: Task) -> str:
    """Builds the table of the best architectures of all runs."""
    best = best_found(task)[:NUM_BEST]
    heads, rows = _arch_rows(task, best)
    note = f"<p>The score is {meaning_in_code(meaning(task))}.</p>"
    return f"{note}\n{table('Best architectures', heads, rows, kind='found')}"


def front_table(task: Task, front: Sequence[Found]) -> str:
    """Builds the table of the front's architectures, in the order they are given in, folded."""
    heads, rows = _arch_rows(task, front)
    return (
        f"<details><summary>{plural(len(front), 'architecture')} on the front</summary>\n"
        f"{table('Pareto front', heads, rows, kind='archs')}</details>"
    )


def algorithms_table(task: Task) -> str:
    """Builds the table of means over seeds after the common budget; empty for a single group."""
    if len(task.groups) == 1:
        return ""
    ranked = ranked_groups(task)
    found = differences(task, ranked[0])
    rows: list[Row] = []
    for place, group in enumerate(ranked, 1):
        queries = np.mean([queries_to_best(run) for run in group.runs])
        against = "" if place == 1 else verdict(found[group.label])
        rows.append(
            (
                [
                    f'<th scope="row"><i>{place}</i> {code(group.label)}</th>',
                    f"<td>{len(group.runs)}</td>",
                    f"<td>{mean_best(task, group)}</td>",
                    f"<td>{number(float(queries), 1)}</td>",
                    f"<td>{against}</td>",
                ],
                "",
            )
        )
    heads = [
        "Algorithm",
        "Seeds",
        f"Best after {plural(task.budget, 'query')}",
        "Queries to its best",
    ]
    note = (
        "Means over seeds with 95 % intervals; best first. The last column is the first algorithm "
        "minus that of the row: ▲ clearly above 0, ▼ clearly below, ≈ within noise."
    )
    if max(len(run.trials) for run in task.runs) > task.budget:
        note += f" After {plural(task.budget, 'query')}, as the shortest run has no more."
    heads.append(f"{code(ranked[0].label)} minus it")
    return f"<p>{note}</p>\n{table('Algorithms', heads, rows)}"


def runs_table(task: Task) -> str:
    """Builds the table with a row for every run."""
    digits = task_digits(task)
    rows: list[Row] = []
    for group in task.groups:
        for run in group.runs:
            scores = scores_of(run.trials)
            cells = [
                str(run.seed),
                str(len(run.trials)),
                str(int(np.isnan(scores).sum())),
                number(float(np.nanmax(scores)), digits),
                str(queries_to_best(run)),
                duration(sum(trial.seconds for trial in run.trials)),
            ]
            name = (
                f'<th scope="row">{code(group.label)}</th><td class="name">{escape(run.name)}</td>'
            )
            rows.append(([name, *(f"<td>{cell}</td>" for cell in cells)], ""))
    heads = ["Algorithm", "Run", "Seed", "Queries", "Failed", "Best", "Found at", "Time"]
    return table("Runs", heads, rows, kind="runs")


def failures(task: Task) -> str:
    """Lists failed trials by their error, of many the first; empty without any."""
    by_error: dict[str, list[tuple[Group, RecordedRun, Trial]]] = {}
    for group in task.groups:
        for run in group.runs:
            for trial in run.trials:
                if trial.error is not None:
                    by_error.setdefault(trial.error, []).append((group, run, trial))
    parts = []
    for error, failed in list(by_error.items())[:MAX_ERRORS]:
        items = [
            f"{code(group.label)}, seed {run.seed}, query {trial.number + 1}: "
            f"{notation(run.space.format(trial.arch))}"
            for group, run, trial in failed[:MAX_FAILED]
        ]
        if len(failed) > MAX_FAILED:
            items.append(f"and {len(failed) - MAX_FAILED} more")
        parts.append(
            f"<details><summary>{code(error)}: {plural(len(failed), 'trial')}</summary>\n"
            f"{bullets(items)}</details>\n"
        )
    if len(by_error) > MAX_ERRORS:
        num_left = sum(map(len, list(by_error.values())[MAX_ERRORS:]))
        parts.append(f"<p>And {plural(num_left, 'trial')} with other errors.</p>\n")
    return "".join(parts)


def measured(task: Task) -> str:
    """Lists command, settings and versions of every group; folded if there are several."""
    if len(task.groups) == 1:
        return _settings_of(task.groups[0])
    return "".join(
        f"<details><summary>{code(group.label)}</summary>\n{_settings_of(group)}</details>\n"
        for group in task.groups
    )


def _settings_of(group: Group) -> str:
    first = group.runs[0]
    settings = {key: value for key, value in first.header.items() if key != "seed"}
    facts = {"runs": ", ".join(run.name for run in group.runs), "seeds": seeds_of(group.runs)}
    facts |= {key: text for key, text in flat(settings).items() if text not in _NOT_SET}
    for name in dict.fromkeys(name for run in group.runs for name in run.versions):
        values = dict.fromkeys(run.versions.get(name, "not known") for run in group.runs)
        facts[name] = ", ".join(values)
    note = "" if len(group.runs) == 1 else f"<p>Seed {first.seed}; the others differ in it.</p>\n"
    return f"{note}<pre>{escape(first.command)}</pre>\n{settings_table(facts)}"


def _arch_rows(task: Task, archs: Sequence[Found]) -> tuple[list[str], list[Row]]:
    digits, meant = task_digits(task), meaning(task)
    has_costs = any(found.trial.arch in found.run.costs for found in archs)
    metrics = list(
        dict.fromkeys(name for found in archs for name in other_metrics(found.trial, meant))
    )
    num_runs = len(task.runs)
    rows: list[Row] = []
    for place, found in enumerate(archs, 1):
        trial = found.trial
        cells = [
            f"<td>{place}</td>",
            f"<td>{number(found.score, digits)}</td>",
            f'<td class="text">{notation(found.run.space.format(trial.arch))}</td>',
            *(f"<td>{_metric(trial.metrics.get(name))}</td>" for name in metrics),
        ]
        if has_costs:
            cost = found.run.costs.get(trial.arch)
            params, macs = ("–", "–") if cost is None else (count(cost.params), count(cost.macs))
            cells += [f"<td>{params}</td>", f"<td>{macs}</td>"]
        if num_runs > 1:
            by = f"{code(found.group.label)}, seed {found.run.seed}"
            num_finders = sum(
                any(t.arch == trial.arch and t.score is not None for t in run.trials)
                for run in task.runs
            )
            cells += [f"<td>{by}</td>", f"<td>{num_finders} of {num_runs} runs</td>"]
        rows.append(([*cells, f"<td>{found.query}</td>"], ""))
    heads = ["", "Score", "Architecture", *map(code, metrics)]
    heads += ["Params", "MACs"] if has_costs else []
    heads += ["Found by", "Found in"] if num_runs > 1 else []
    return [*heads, "Query"], rows


def _metric(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else short(value)
