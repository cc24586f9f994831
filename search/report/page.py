"""Searches as one page that needs nothing else: what they found, how fast, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from estimators.html.elements import (
    Section,
    code,
    definitions,
    figure,
    legend,
    number,
    write_page,
)
from estimators.html.svg import RAMP, SERIES
from search.report.figures import (
    LATE_STEPS,
    plot_cells,
    plot_front,
    plot_map,
    plot_predictions,
    plot_progress,
    plot_quality,
    progress_range,
)
from search.report.groups import Group, Task, group_runs
from search.report.recorded_runs import RecordedRun
from search.report.replay import RoundQuality, replay, rounds_to_judge
from search.report.statistics import (
    MAX_QUERIES,
    Curve,
    curve_over_queries,
    curve_over_seconds,
    embed,
    is_on_front,
    mean_curve,
)
from search.report.tables import (
    algorithms_table,
    best_table,
    failures,
    front_table,
    measured,
    runs_table,
)
from search.report.text import MIN_SECONDS, TERMS, best_found, headline, task_digits
from supernets.runtime.progress import hides_bars
from supernets.runtime.wording import plural
from supernets.spaces import CellSpace
from supernets.spaces.factory import TABLE_SPACES

#: Architectures whose cells are drawn, the first of them openly.
NUM_DRAWN = 3
#: Runs with fewer trials get no map, and only as many are on one.
MIN_MAPPED, MAX_MAPPED = 30, 500
#: Trials of a group that are drawn against MACs, at most.
MAX_POINTS = 2000


def write_search_report(runs: Sequence[RecordedRun], path: str | Path) -> None:
    """Writes searches as one HTML page, whose plots and style are in it.

    Runs that differ in their seed alone make one curve. Runs whose scores mean different things
    (another space, supernet or estimator) are told apart, and not compared. The predictors of
    searches that have them are fitted again, up to twelve times a run.

    The same runs in the same order give the same bytes.

    Args:
        runs: The runs that ``read_run`` returned, at least one.
        path: The file, replaced atomically; its folder must exist.

    Raises:
        ValueError: If there are no runs, or two have the same settings and seed.
    """
    tasks = group_runs(runs)
    findings: list[str] = []
    sections: list[Section] = []
    for i, task in enumerate(tasks):
        judged = {g.label: rounds for g in task.groups if (rounds := _judged(g))}
        quality = {label: _quality(rounds) for label, rounds in judged.items()}
        sentences = headline(task, quality)
        findings += [f"{code(task.label)}: {' '.join(sentences)}"] if len(tasks) > 1 else sentences
        sections += _sections(task, judged, quality, f"-{i}" if len(tasks) > 1 else "")
    spaces = dict.fromkeys(run.space.name for run in runs)
    labels = dict.fromkeys(group.label for task in tasks for group in task.groups)
    num_trials = sum(len(run.trials) for run in runs)
    write_page(
        Path(path),
        title=f"Search of {', '.join(spaces)}",
        heading="What the search found" if len(runs) == 1 else "What the searches found",
        subtitle=f"{escape(', '.join(spaces))} · {plural(len(runs), 'run')} · "
        f"{plural(num_trials, 'trial')} · {', '.join(map(code, labels))}",
        findings=findings,
        sections=[*sections, Section("terms", "Terms", _terms())],
    )


def _sections(
    task: Task,
    judged: dict[str, list[list[RoundQuality]]],
    quality: dict[str, Curve],
    suffix: str,
) -> list[Section]:
    title = f" · {code(task.label)}" if suffix else ""
    bodies = (
        ("found", "Best found", _found(task, suffix)),
        ("progress", "Best so far", _progress(task, suffix)),
        ("predictor", "Predictor", _predictor(task, judged, quality, suffix)),
        ("front", "Score and MACs", _front(task, suffix)),
        ("map", "Where it searched", _maps(task, suffix)),
        ("failed", "Failed trials", failures(task)),
        ("measured", "How it was measured", measured(task)),
    )
    sections = [Section(f"{key}{suffix}", f"{name}{title}", body) for key, name, body in bodies]
    if suffix:  # one link to each task instead of one to each section
        links = (code(task.label) if section is sections[0] else "" for section in sections)
        sections = [
            section._replace(link=link) for section, link in zip(sections, links, strict=True)
        ]
    return sections


def _found(task: Task, suffix: str) -> str:
    best = best_found(task)
    parts = [best_table(task)]
    for i, found in enumerate(best[:NUM_DRAWN]):
        space, arch = found.run.space, found.trial.arch
        if not isinstance(space, CellSpace):
            break
        plot = plot_cells(space, arch, f"cells{suffix}-{i}")
        picture = (
            f'<div class="scroll cells" tabindex="0" role="region" aria-label="Cells">{plot}</div>'
        )
        title = "The best" if i == 0 else f"Number {i + 1}"
        opened = " open" if i == 0 else ""
        parts.append(f"<details{opened}><summary>{title}, drawn</summary>{picture}</details>")
    return "\n".join(parts)


def _progress(task: Task, suffix: str) -> str:
    plots = []
    for unit, curve_of in (("queries", curve_over_queries), ("seconds", curve_over_seconds)):
        if unit == "seconds" and _max_seconds(task) < MIN_SECONDS:
            continue
        plots.append(_progress_figure(task, unit, curve_of, suffix))
    note = "" if len(plots) == 2 else "<p>Measuring took next to no time, so that is not drawn.</p>"
    return (
        f'<div class="plots">{"".join(plots)}</div>\n{note}\n{algorithms_table(task)}\n'
        f"<details{' open' if len(task.runs) <= 3 else ''}><summary>"
        f"{plural(len(task.runs), 'run')}</summary>{runs_table(task)}</details>"
    )


def _max_seconds(task: Task) -> float:
    return max(sum(trial.seconds for trial in run.trials) for run in task.runs)


def _progress_figure(task: Task, unit: str, curve_of: Callable[[Group], Curve], suffix: str) -> str:
    every = {group.label: curve_of(group) for group in task.groups}
    curves = {label: curve for label, curve in every.items() if len(curve.x)}
    if not curves:
        return ""
    visible = progress_range(list(curves.values()))
    plot = plot_progress(
        curves, task.series, visible, unit=unit, identifier=f"progress-{unit}{suffix}"
    )
    sizes = dict.fromkeys(len(group.runs) for group in task.groups)
    caption = (
        f"Best score so far against {'queries' if unit == 'queries' else 'seconds of measuring'}"
    )
    if max(sizes) > 1:
        caption += (
            f", mean over {'/'.join(map(str, sizes))} seeds up to the end of the shortest run; "
            "bands are 95 % intervals"
        )
    caption += "."
    if unit == "queries" and max(curve.x[-1] for curve in curves.values()) > MAX_QUERIES:
        caption += f" Of so many queries {MAX_QUERIES:,} are drawn, evenly spread."
    if min(curve.mean.min() for curve in curves.values()) < visible[0]:
        caption += f" Scores below {number(visible[0], task_digits(task))} are cut off."
    return figure(legend(curves, task.series) + plot, caption)


def _judged(group: Group) -> list[list[RoundQuality]]:
    """The rounds that could be judged in all runs, each with what every run shows."""
    shortest = min(group.runs, key=lambda run: len(run.trials))
    rounds = rounds_to_judge(shortest.rounds)
    of_runs = [
        {
            each.num_before: each
            for each in replay(
                run.make_predictor,
                run.trials,
                tqdm(
                    rounds,
                    desc=f"predictor of {run.name}",
                    unit="round",
                    leave=False,
                    disable=hides_bars(),
                ),
                seed=run.seed,
                num_fitted=run.num_fitted,
            )
        }
        for run in group.runs
        if run.make_predictor is not None
    ]
    if len(of_runs) < len(group.runs):
        return []
    common = set.intersection(*(set(of_run) for of_run in of_runs))
    return [[of_run[start] for of_run in of_runs] for start in sorted(common)]


def _quality(rounds: list[list[RoundQuality]]) -> Curve:
    x = np.array([judged[0].num_before for judged in rounds], np.float64)
    return mean_curve(x, np.array([[each.kendall_tau for each in judged] for judged in rounds]).T)


def _predictor(
    task: Task,
    judged: dict[str, list[list[RoundQuality]]],
    quality: dict[str, Curve],
    suffix: str,
) -> str:
    if not judged:
        return ""
    caption = "How well the order of a round's scores was predicted before it: 0 is chance"
    if max(len(group.runs) for group in task.groups) > 1:
        caption += ", bands are 95 % intervals over seeds"
    plot = plot_quality(quality, task.series, f"quality{suffix}")
    plots = [figure(legend(quality, task.series) + plot, f"{caption}.")]
    for i, (label, rounds) in enumerate(judged.items()):
        late = zip(LATE_STEPS, SERIES, rounds[-len(LATE_STEPS) :], strict=False)
        keys = " ".join(
            f'<span><span style="color:var(--ramp-{step})">{sign}</span> after '
            f"{each[0].num_before} trials</span>"
            for step, (*_, sign), each in late
        )
        plot = plot_predictions(rounds, label, f"predictions{suffix}-{i}")
        caption = f"{code(label)}: trials of rounds, by when they were predicted"
        if len(rounds) > len(LATE_STEPS):
            caption += "; those of earlier rounds in grey"
        caption += ". On the dotted line predictions are right."
        plots.append(figure(f'<div class="legend">{keys}</div>{plot}', caption))
    return f'<div class="plots">{"".join(plots)}</div>'


def _front(task: Task, suffix: str) -> str:
    if task.runs[0].space.name in TABLE_SPACES:
        return "<p>MACs are not known here: there are tables of this space, and no networks.</p>"
    if not all(run.costs for run in task.runs):
        return (
            "<p>MACs are not known here: the file of a supernet was not found where it was, or "
            "holds other weights than were searched.</p>"
        )
    points, is_thinned = {}, False
    for group in task.groups:
        pairs = [
            (run.costs[trial.arch].macs / 1e6, trial.score)
            for run in group.runs
            for trial in run.trials
            if trial.score is not None
        ]
        macs, scores = np.array(pairs[:: -(-len(pairs) // MAX_POINTS)], np.float64).T
        points[group.label] = (macs, scores)
        is_thinned |= len(macs) < len(pairs)
    best = best_found(task)
    macs = np.array([found.run.costs[found.trial.arch].macs / 1e6 for found in best])
    scores = np.array([found.score for found in best])
    chosen = np.flatnonzero(is_on_front(macs, scores))
    chosen = chosen[np.lexsort((-scores[chosen], macs[chosen]))]
    lowest = _lowest_shown(np.concatenate([each for _, each in points.values()]))
    front = (macs[chosen], scores[chosen])
    plot = plot_front(points, task.series, front, lowest, f"front{suffix}")
    caption = "Diamonds on the line are the Pareto front: nothing that costs as little scores more."
    num_below = sum(int((each < lowest).sum()) for _, each in points.values())
    if num_below:
        caption += (
            f" Triangles at the bottom are the {plural(num_below, 'trial')} below "
            f"{number(lowest, task_digits(task))}."
        )
    if is_thinned:
        caption += " Of many trials some are drawn, evenly spread; the front is that of all."
    keys = legend(points, task.series) if len(points) > 1 else ""
    table = front_table(task, [best[i] for i in chosen])
    return f'<div class="plots">{figure(keys + plot, caption)}</div>\n{table}'


def _lowest_shown(scores: NDArray[np.float64]) -> float:
    """The least score, unless a few bad ones would leave no room for the others."""
    low, tenth, high = scores.min(), np.quantile(scores, 0.1), scores.max()
    return float(tenth - 0.1 * (high - tenth) if low < tenth - 2 * (high - tenth) else low)


def _maps(task: Task, suffix: str) -> str:
    groups = [group for group in task.groups if len(group.runs[0].trials) >= MIN_MAPPED]
    if not groups:
        return ""
    runs = [group.runs[0] for group in groups]
    each = max(MAX_MAPPED // len(runs), MIN_MAPPED)
    shown = [
        np.unique(np.linspace(0, len(run.trials) - 1, each).round().astype(int)) for run in runs
    ]
    archs = list(
        dict.fromkeys(
            run.trials[i].arch for run, chosen in zip(runs, shown, strict=True) for i in chosen
        )
    )
    places = dict(zip(archs, embed(runs[0].space, archs), strict=True))
    panels = []
    for i, (group, run, chosen) in enumerate(zip(groups, runs, shown, strict=True)):
        steps, keys = _steps(run)
        scores = [run.trials[j].score for j in chosen]
        best = max(range(len(chosen)), key=lambda j: -np.inf if scores[j] is None else scores[j])
        of_run = np.array([places[run.trials[j].arch] for j in chosen])
        plot = plot_map(of_run, steps[chosen], best, group.label, f"map{suffix}-{i}")
        panels.append(figure(keys + plot, f"{code(group.label)}, seed {run.seed}"))
    note = (
        "Each point is a trial of one run, on a t-SNE map of one-hot encodings"
        + (" that all plots share" if len(runs) > 1 else "")
        + ". Colours say as which query it was asked for; the diamond is the best."
    )
    if any(len(chosen) < len(run.trials) for run, chosen in zip(runs, shown, strict=True)):
        note += f" Of long runs {each} trials are shown, evenly spread."
    return f'<p>{note}</p>\n<div class="maps">{"".join(panels)}</div>'


def _steps(run: RecordedRun) -> tuple[NDArray[np.int64], str]:
    """The step of the ramp of every trial, (num_trials,), and a legend of them."""
    parts = np.array_split(np.arange(len(run.rounds)), min(len(RAMP), len(run.rounds)))
    of_parts = np.linspace(0, len(RAMP) - 1, len(parts)).round().astype(int)
    steps = np.zeros(len(run.trials), np.int64)
    keys = []
    for step, part in zip(of_parts, parts, strict=True):
        start, stop = run.rounds[part[0]].start, run.rounds[part[-1]].stop
        steps[start:stop] = step
        keys.append(
            f'<span><span style="color:var(--ramp-{step})">●</span> {start + 1}–{stop}</span>'
        )
    return steps, f'<div class="legend">{" ".join(keys)}</div>'


def _terms() -> str:
    return definitions({escape(term): escape(sentence) for term, sentence in TERMS.items()})
