"""Searches as one page that needs nothing else: what they found, how fast, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from estimators.html.page import write_page
from search.report.facts import ComparisonFacts, settings_of
from search.report.groups import Comparison, RunGroup, group_runs
from search.report.recorded_runs import RecordedRun
from search.report.replay import RoundQuality, predictor_rank_correlation, rounds_to_judge
from search.report.statistics import MAX_QUERIES, Curve, mean_curve, queries_to_best, trial_scores
from supernets.runtime.instances import check_list, checked_path
from supernets.runtime.progress import hides_bars
from supernets.spaces.factory import has_networks

#: Architectures in the table of the best.
NUM_BEST = 10
#: Errors that are listed, and failed trials of each, at most.
MAX_ERRORS, MAX_FAILED = 50, 50


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
    check_list("runs", runs, RecordedRun, "read_run reads one from its folder")
    path = checked_path("path", path)
    comparisons = group_runs(runs)
    labels = (group.label for comparison in comparisons for group in comparison.groups)
    shown = {
        "comparisons": [
            _shown(comparison, f"-{i}" if len(comparisons) > 1 else "")
            for i, comparison in enumerate(comparisons)
        ],
        "spaces": ", ".join(dict.fromkeys(run.space.name for run in runs)),
        "num_runs": len(runs),
        "num_trials": sum(len(run.trials) for run in runs),
        "labels": list(dict.fromkeys(labels)),
        "settings_of": settings_of,
        "queries_to_best": queries_to_best,
        "best_score": lambda run: float(np.nanmax(trial_scores(run.trials))),
        "MAX_QUERIES": MAX_QUERIES,
        "NUM_BEST": NUM_BEST,
        "MAX_ERRORS": MAX_ERRORS,
        "MAX_FAILED": MAX_FAILED,
    }
    write_page(path, Path(__file__).with_name("report.html.j2"), shown)


def _shown(comparison: Comparison, suffix: str) -> dict[str, Any]:
    """What the page names of one comparison."""
    from search.report import figures  # loads matplotlib

    judged = {g.label: rounds for g in comparison.groups if (rounds := _judged(g))}
    quality = {label: _quality(rounds) for label, rounds in judged.items()}
    facts = ComparisonFacts(comparison, quality)
    return {
        "facts": facts,
        "suffix": suffix,
        "cells": figures.cell_plots(facts, suffix),
        "progress": figures.progress_figures(comparison, suffix),
        "quality": figures.quality_plot(comparison, quality, suffix) if quality else None,
        "predictions": {
            label: (
                *figures.predictions_plot(rounds, label, f"predictions{suffix}-{i}"),
                len(rounds),
            )
            for i, (label, rounds) in enumerate(judged.items())
        },
        "front": figures.front_figure(facts, suffix),
        "is_of_tables": not has_networks(comparison.runs[0].space.name),
        "maps": figures.map_figures(comparison, suffix),
    }


def _judged(group: RunGroup) -> list[list[RoundQuality]]:
    """The rounds that could be judged in all runs, each with what every run shows."""
    shortest = min(group.runs, key=lambda run: len(run.trials))
    rounds = rounds_to_judge(shortest.rounds)
    of_runs = []
    for run in group.runs:
        if run.make_predictor is None:
            return []
        bar = tqdm(
            rounds, f"predictor of {run.name}", unit="round", leave=False, disable=hides_bars()
        )
        found = predictor_rank_correlation(
            run.make_predictor, run.trials, bar, seed=run.seed, num_fitted=run.num_fitted
        )
        of_runs.append({each.num_before: each for each in found})
    common = set.intersection(*(set(of_run) for of_run in of_runs))
    return [[of_run[start] for of_run in of_runs] for start in sorted(common)]


def _quality(rounds: Sequence[Sequence[RoundQuality]]) -> Curve:
    x = np.array([judged[0].num_before for judged in rounds], np.float64)
    return mean_curve(x, np.array([[each.kendall_tau for each in judged] for judged in rounds]).T)
