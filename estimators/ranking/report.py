"""A ranking of estimators as one page that needs nothing else, and as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from estimators.html.page import write_page
from estimators.rank_metrics import best_first
from estimators.ranking.report_facts import (
    BASELINES,
    METRICS,
    MIN_ARCHS,
    MIN_STEPS,
    REFERENCES,
    RankingFacts,
    difference,
    mean_places,
    places_of,
    reported_scores,
    spearman_axis,
    truth_of,
)
from estimators.ranking.report_windows import window_rows, windows_facts, windows_summary
from supernets.runtime.atomic_write import atomic_write


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """Writes a ranking as one HTML page, whose plots, style and script are in it.

    The same ranking gives the same bytes.

    Args:
        result: The ranking as ``ranking.json`` holds it.
        path: The file, replaced atomically.
    """
    from estimators.ranking.report_plots import ranking_panels, ranking_plots

    names = [estimator["name"] for estimator in result["estimators"]]
    found = findings_facts(result)
    truth, top_k = truth_of(result), result["top_k"]
    found |= {
        "METRICS": METRICS,
        "axis": spearman_axis(result["estimators"]),
        "plots": ranking_plots(result, found["facts"]),
        "panels": ranking_panels(result),
        "references": dict.fromkeys([names[0], *(name for name in REFERENCES if name in names)]),
        "best_by_truth": best_first(truth)[:top_k].tolist(),
        "best_by_score": best_first(reported_scores(result, names[0]))[:top_k].tolist(),
        "true_places": places_of(truth).tolist(),
        "mean_places": {name: mean_places(result, name).tolist() for name in names},
    }
    write_page(path, Path(__file__).with_name("report.html.j2"), found)


def findings_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all that ``findings.html.j2`` names."""
    return {
        "result": result,
        "facts": RankingFacts(result),
        "windows": windows_facts(result),
        "difference": difference,
        "BASELINES": BASELINES,
        "MIN_ARCHS": MIN_ARCHS,
        "MIN_STEPS": MIN_STEPS,
    }


def write_csv(result: Mapping[str, Any], path: Path) -> None:
    """Writes a row for the mean of each estimator, and one for each supernet under it.

    Empty is what is not known: of single supernets the seconds and, of course, the standard
    deviation over supernets. Below stand the windows of MACs, if the ranking has some, with columns
    of their own beside those that are shared.

    Args:
        result: The ranking as ``ranking.json`` holds it.
        path: The file, replaced atomically.
    """
    ends = ("low", "high", "sd")
    keys = [key for metric in METRICS for key in (metric, *(f"{metric}_{end}" for end in ends))]
    columns = ["estimator", "num_steps", "supernet", *keys, "seconds", "num_diverged"]
    rows = []
    for estimator in result["estimators"]:
        name, metrics = estimator["name"], estimator["metrics"].items()
        own = {"estimator": name, "num_steps": estimator["num_steps"]}
        means = {m: found["mean"] for m, found in metrics}
        means |= {f"{m}_{end}": found[end] for m, found in metrics for end in ends}
        counts = {"seconds": estimator["seconds"], "num_diverged": len(estimator["diverged"])}
        rows.append({**own, "supernet": "mean", **means, **counts})
        for i, supernet in enumerate(result["supernets"]):
            singles = [(m, found["per_supernet"][i]) for m, found in metrics]
            values = {m: single["value"] for m, single in singles}
            values |= {f"{m}_{end}": single[end] for m, single in singles for end in ends[:2]}
            num_diverged = int(np.isnan(reported_scores(result, name, i)).sum())
            rows.append(
                {**own, "supernet": supernet["name"], **values, "num_diverged": num_diverged}
            )
    if "macs_windows" in result:
        rows += window_rows(result)
        given = (key for row in rows for key in row)
        columns = list(dict.fromkeys(["macs_window", "num_archs", *columns, *given]))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a reader of the terminal wants to know, as plain values."""
    facts, ceiling = RankingFacts(result), result["noise_ceiling"]
    return {
        "space": result["space"],
        "num_archs": result["num_archs"],
        "truth": result["truth"]["source"],
        "spearman": {
            each["name"]: {
                key: None if value is None else round(value, 3)
                for key, value in each["metrics"]["spearman"].items()
                if key in ("mean", "low", "high")
            }
            for each in result["estimators"]
        },
        "clearly_best": facts.winner,
        "noise_ceiling": ceiling and round(ceiling["spearman"], 3),
        "supernets": {
            each["name"]: {key: each[key] for key in ("val_top1", "probe_val_top1", "chance")}
            for each in result["supernets"]
        },
        "combined": result["combined"] and result["combined"]["spearman"],
        "suggested_num_steps": facts.settled_num_steps,
        **windows_summary(result),
    }
