"""Tables of a ranking as HTML; each scrolls in a box of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.html.elements import (
    Difference,
    Row,
    code,
    count,
    duration,
    notation,
    number,
    short,
    table,
    verdict,
    with_unit,
)
from estimators.rank_metrics import best_first
from estimators.ranking.report_facts import MIN_ARCHS
from estimators.ranking.report_text import BASELINES, METRICS, difference, the_best

#: What estimators are compared with, besides the best of them.
REFERENCES = ("val_acc", "macs")


def scores_table(result: Mapping[str, Any]) -> str:
    """Builds the table of all metrics of every estimator, with a picture of its Spearman."""
    estimators, k = result["estimators"], result["top_k"]
    in_unit = ("top_k_regret", "top_k_mean") if result["truth"]["unit"] == "%" else ()
    spearmans = {e["name"]: e["metrics"]["spearman"] for e in estimators}
    ends = [s[key] for s in spearmans.values() for key in ("low", "mean", "high")]
    known = [end for end in ends if end is not None] or [0.0, 1.0]
    span = (math.floor(10 * min(known)) / 10, math.ceil(10 * max(known)) / 10)
    if span[0] == span[1]:
        span = (span[0] - 0.1, span[1] + 0.1)
    means = [spearmans[name]["mean"] for name in BASELINES if name in spearmans]
    baseline = max((mean for mean in means if mean is not None), default=None)
    rows: list[Row] = []
    for place, estimator in enumerate(estimators, 1):
        name, steps, metrics = estimator["name"], estimator["num_steps"], estimator["metrics"]
        is_baseline = name in BASELINES
        detail = "baseline" if is_baseline else f"B = {steps}" if steps else ""
        cells = [f'<th scope="row"><i>{place}</i> {code(name)}<small>{detail}</small></th>']
        cells += [_metric(metrics[key], 2 if key in in_unit else 3) for key in METRICS]
        cells.insert(2, f"<td>{_interval_picture(spearmans[name], span, baseline)}</td>")
        cells.append(_sortable(estimator["seconds"], duration(estimator["seconds"])))
        num_diverged = len(estimator["diverged"])
        cells.append(_sortable(num_diverged, str(num_diverged)))
        rows.append((cells, "baseline" if is_baseline else ""))
    ends_of_axis = f"<span>{number(span[0], 1)}</span><span>{number(span[1], 1)}</span>"
    heads = ["Score", *(title.format(k=k) for title in METRICS.values())]
    heads.insert(2, f'<span class="axis">{ends_of_axis}</span>')
    note = (
        "Best first. Under each mean its 95 % interval"
        + (" and the standard deviation over supernets" if len(result["supernets"]) > 1 else "")
        + "; the picture shows Spearman with its interval"
        + (", and dashed the best baseline." if baseline is not None else ".")
    )
    heads += ["Seconds each", "Diverged"]
    return f"<p>{note}</p>\n{table('Scores', heads, rows, kind='sortable')}"


def differences_table(result: Mapping[str, Any]) -> str:
    """Builds the table of every estimator against the best and against what users know."""
    names = [estimator["name"] for estimator in result["estimators"]]
    references = list(dict.fromkeys([names[0], *(name for name in REFERENCES if name in names)]))
    rows = [
        (
            [
                f'<th scope="row">{code(name)}</th>',
                *(f"<td>{verdict(difference(result, name, other))}</td>" for other in references),
            ],
            "",
        )
        for name in names
    ]
    note = "Spearman of the row minus that of the column, with its 95 % interval: " + (
        "▲ clearly better, ▼ clearly worse, ≈ within noise."
        if result["num_archs"] >= MIN_ARCHS
        else "? as there are too few architectures to tell."
    )
    heads = ["Score", *(f"minus {code(reference)}" for reference in references)]
    return f"<p>{note}</p>\n{table('Differences', heads, rows)}"


def top_tables(result: Mapping[str, Any]) -> str:
    """Builds tables of the best by truth, where scores place them, and of the best by a score."""
    archs, k, unit = result["archs"], result["top_k"], result["truth"]["unit"]
    truth, num_supernets = truth_of(result), len(result["supernets"])
    names = [estimator["name"] for estimator in result["estimators"]]
    places = {
        name: np.mean([places_of(scores_of(result, name, i)) for i in range(num_supernets)], axis=0)
        for name in names
    }
    true_order = best_first(truth)[:k]
    by_truth: list[Row] = []
    for place, index in enumerate(true_order, 1):
        cells = _arch_cells(place, archs[index], unit)
        for name in names:
            is_diverged = None in archs[index]["scores"][name]
            text = "diverged" if is_diverged else f"{places[name][index]:.1f}".removesuffix(".0")
            is_found = not is_diverged and places[name][index] <= k
            cells.append(f"<td><mark>{text}</mark></td>" if is_found else f"<td>{text}</td>")
        by_truth.append((cells, ""))
    best, true_places = names[0], places_of(truth)
    by_score: list[Row] = []
    for place, index in enumerate(best_first(scores_of(result, best))[:k], 1):
        score = archs[index]["scores"][best][0]
        cells = _arch_cells(place, archs[index], unit)
        true_place = f"<mark>{true_places[index]}</mark>"
        cells.append(f"<td>{true_place if index in true_order else true_places[index]}</td>")
        cells.append(f"<td>{'diverged' if score is None else short(score)}</td>")
        by_score.append((cells, ""))
    heads = ["", "Architecture", "Truth", "Params", "MACs"]
    among, them = ("among ", "them") if k > 1 else ("", "it")
    averaged = " on average over supernets" if num_supernets > 1 else ""
    return (
        f"<p>{the_best(k).capitalize()} by truth, and the place that each score gives {them}"
        f"{averaged}. Marked: {among}{the_best(k)} by the score. Equal truths and scores are "
        "placed in the order of the list.</p>\n"
        + table("Best by truth", [*heads, *map(code, names)], by_truth, kind="archs")
        + f"\n<p>{the_best(k).capitalize()} by {code(best)} on supernet "
        f"{code(result['supernets'][0]['name'])}. Marked: {among}{the_best(k, 'true')}.</p>\n"
        + table("Best by score", [*heads, "True place", "Score"], by_score, kind="archs")
    )


def combined_table(result: Mapping[str, Any]) -> str:
    """Builds the table of the combined score beside its parts; empty if there is none."""
    found = result["combined"]
    if found is None:
        return ""
    rows = [([f"<th>combined</th><td>{_mean(found['spearman'])}</td><td></td>"], "")]
    for part in found["parts"]:
        beyond = None
        if part["difference"] is not None and part["low"] is not None:
            beyond = Difference(part["difference"], part["low"], part["high"])
        cells = [f"<th>{code(part['name'])}</th>", f"<td>{_mean(part)}</td>"]
        rows.append(([*cells, f"<td>{verdict(beyond)}</td>"], ""))
    note = (
        f"A regression on {', '.join(map(code, found['features']))}, fitted to the truth of "
        f"{found['num_known']} architectures and judged on the others: Spearman, mean of "
        f"{found['num_splits']} random splits ± standard deviation over splits. In brackets lie "
        "95 % of the splits, which share architectures: less than other architectures would change."
    )
    heads = ["Score", "Spearman", "Combined minus it"]
    return f"<p>{note}</p>\n{table('Combined score', heads, rows)}"


def truth_of(result: Mapping[str, Any]) -> NDArray[np.float64]:
    """Returns the true values, nan where they are not known, (num_archs,)."""
    return np.array([arch["truth"] for arch in result["archs"]], dtype=float)  # None is nan


def scores_of(result: Mapping[str, Any], name: str, supernet: int = 0) -> NDArray[np.float64]:
    """Returns the scores of one estimator on one supernet, nan where it diverged, (num_archs,)."""
    return np.array([arch["scores"][name][supernet] for arch in result["archs"]], dtype=float)


def places_of(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the place of each score in ``best_first``, from 1."""
    places = np.empty(len(scores), dtype=np.int64)
    places[best_first(scores)] = np.arange(1, len(scores) + 1)
    return places


def _interval_picture(
    spearman: Mapping[str, Any], span: tuple[float, float], baseline: float | None
) -> str:
    if spearman["mean"] is None:
        return ""

    def x(value: float) -> str:
        return f"{5 + 130 * (value - span[0]) / ((span[1] - span[0]) or 1):.1f}"

    parts = []
    if span[0] <= 0 <= span[1]:
        parts.append(f'<path class="zero" d="M{x(0)} 0V24"/>')
    if baseline is not None:
        parts.append(f'<path class="reference" d="M{x(baseline)} 0V24"/>')
    if spearman["low"] is not None:
        parts.append(f'<path d="M{x(spearman["low"])} 12H{x(spearman["high"])}"/>')
    parts.append(f'<circle cx="{x(spearman["mean"])}" cy="12" r="4"/>')
    return f'<svg class="interval" viewBox="0 0 140 24" aria-hidden="true">{"".join(parts)}</svg>'


def _metric(metric: Mapping[str, Any], digits: int) -> str:
    text = f"<b>{number(metric['mean'], digits)}</b>"
    if metric["low"] is not None:
        low, high = number(metric["low"], digits), number(metric["high"], digits)
        text += f"<small>[{low}, {high}]</small>"
    if metric["sd"] is not None:
        text += f"<small>± {number(metric['sd'], digits)}</small>"
    return _sortable(metric["mean"], text)


def _sortable(value: float | None, text: str) -> str:
    return f"<td>{text}</td>" if value is None else f'<td data-value="{value}">{text}</td>'


def _mean(spread: Mapping[str, Any]) -> str:
    return f"{number(spread['mean'])} ± {number(spread['sd'])}"


def _arch_cells(place: int, arch: Mapping[str, Any], unit: str) -> list[str]:
    return [
        f"<td>{place}</td>",
        f'<td class="text">{notation(arch["architecture"])}</td>',
        f"<td>{with_unit(arch['truth'], unit)}</td>",
        f"<td>{count(arch['params'])}</td>",
        f"<td>{count(arch['macs'])}</td>",
    ]
