"""A ranking of estimators as one page that needs nothing else, and as a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from estimators.ranking import best_first
from estimators.report_plots import (
    MIN_SECONDS,
    SERIES,
    plot_budgets,
    plot_costs,
    plot_early,
    plot_scatter,
)
from estimators.report_style import SCRIPT, STYLE
from estimators.report_tables import (
    combined_table,
    differences_table,
    notation,
    places_of,
    scores_of,
    scores_table,
    settings_table,
    top_tables,
    truth_of,
)
from estimators.report_words import (
    BASELINES,
    METRICS,
    SCORES,
    TERMS,
    code,
    headline,
    number,
    with_unit,
)
from supernets.atomic import atomic_write


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """Writes a ranking as one HTML page, whose plots, style and script are in it.

    The same ranking gives the same bytes.

    Args:
        result: As in ``ranking.json``.
        path: The file, replaced atomically.
    """
    sections = (
        ("scores", "Scores", scores_table(result)),
        ("cost", "Cost", _cost(result)),
        ("places", "Scores and truth", _places(result)),
        ("differences", "Differences", differences_table(result)),
        ("top", f"The top {result['top_k']}", top_tables(result)),
        ("combined", "Combined score", combined_table(result)),
        ("early", "From scratch, early", _early(result)),
        ("diverged", "Diverged", _diverged(result)),
        ("measured", "How it was measured", _measured(result)),
        ("terms", "Terms", _terms(result)),
    )
    shown = [section for section in sections if section[2]]
    links = " ".join(f'<a href="#{key}">{title}</a>' for key, title, _ in shown)
    space, count = escape(result["space"]), len(result["supernets"])
    first, *rest = headline(result)
    bodies = [
        f'<section id="{key}">\n<h2>{title}</h2>\n{body}\n</section>' for key, title, body in shown
    ]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Which cheap score ranks subnets best? {space}</title>",
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>",
        "<h1>Which cheap score ranks subnets best?</h1>",
        f"<p>{space} · {result['num_archs']} architectures · {count} "
        f"supernet{'' if count == 1 else 's'} · truth: {escape(result['truth']['source'])}</p>",
        f'<div class="card"><p>{first}</p>\n{_list(rest)}</div>',
        f"<nav>{links}</nav>",
        *bodies,
        f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
    ]
    with atomic_write(path) as file:
        file.write("\n".join(parts))


def write_csv(result: Mapping[str, Any], path: Path) -> None:
    """Writes a row for the mean of each estimator, and one for each supernet under it.

    Empty is what is not known: of single supernets the seconds and, of course, the standard
    deviation over supernets.

    Args:
        result: As in ``ranking.json``.
        path: The file, replaced atomically.
    """
    ends = ("low", "high", "sd")
    keys = [key for metric in METRICS for key in (metric, *(f"{metric}_{end}" for end in ends))]
    columns = ["estimator", "num_steps", "supernet", *keys, "seconds", "num_diverged"]
    rows = []
    for estimator in result["estimators"]:
        name, metrics = estimator["name"], estimator["metrics"]
        row = {"estimator": name, "num_steps": estimator["num_steps"], "supernet": "mean"}
        row |= {"seconds": estimator["seconds"], "num_diverged": len(estimator["diverged"])}
        for metric in METRICS:
            row[metric] = metrics[metric]["mean"]
            row |= {f"{metric}_{end}": metrics[metric][end] for end in ends}
        rows.append(row)
        for i, supernet in enumerate(result["supernets"]):
            row = {"estimator": name, "num_steps": estimator["num_steps"]}
            row |= {"supernet": supernet["name"]}
            row["num_diverged"] = int(np.isnan(scores_of(result, name, i)).sum())
            for metric in METRICS:
                single = metrics[metric]["per_supernet"][i]
                row |= {metric: single["value"], f"{metric}_low": single["low"]}
                row[f"{metric}_high"] = single["high"]
            rows.append(row)
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _cost(result: Mapping[str, Any]) -> str:
    estimators, curves = result["estimators"], result["curves"]
    plots = []
    if curves:
        suggested = result["suggested_num_steps"]
        num_steps = None if suggested is None else suggested["num_steps"]
        caption = "Bands are 95 % intervals" + (
            "" if suggested is None else "; dotted: suggested B"
        )
        plots.append(_figure(_legend(curves) + plot_budgets(curves, num_steps), caption + "."))
    names = ", ".join(f"{place} {code(e['name'])}" for place, e in enumerate(estimators, 1))
    caption = (
        ("Lines, of the same colours, grow with B. " if curves else "")
        + f"Open squares are baselines; what takes less than {1000 * MIN_SECONDS:.0f} ms is drawn "
        f"there. {names}."
    )
    plots.append(_figure(plot_costs(estimators, curves, BASELINES), caption))
    return f'<div class="plots">{"".join(plots)}</div>'


def _places(result: Mapping[str, Any]) -> str:
    truth, k, unit = truth_of(result), result["top_k"], result["truth"]["unit"]
    is_top = np.isin(np.arange(len(truth)), best_first(truth)[:k])
    known = truth[np.isfinite(truth)]
    low, tenth, high = float(known.min()), float(np.quantile(known, 0.1)), float(known.max())
    if low < tenth - 2 * (high - tenth):  # a few bad ones would leave no room for the others
        low = tenth - 0.1 * (high - tenth)
    panels = []
    for i, estimator in enumerate(result["estimators"]):
        name, scores = estimator["name"], scores_of(result, estimator["name"])
        plot = plot_scatter(
            name, truth, places_of(scores), is_top, np.isnan(scores), low, f"places-{i}"
        )
        spearman = estimator["metrics"]["spearman"]["per_supernet"][0]["value"]
        panels.append(f"<figure><p>{code(name)} {number(spearman, 2)}</p>{plot}</figure>\n")
    note = (
        f"To the right: truth{f' in {escape(unit)}' if unit else ''}. Up: place by the score on "
        f"supernet {code(result['supernets'][0]['name'])}, whose Spearman stands above. Diamonds "
        f"are the true {k} best; those above the line are among the {k} best by the score. Crosses "
        "at the bottom diverged."
    )
    hidden = int((known < low).sum())
    if hidden:
        note += f" Triangles are the {hidden} architectures worth less than {with_unit(low, unit)}."
    return f'<p>{note}</p>\n<div class="panels">{"".join(panels)}</div>'


def _early(result: Mapping[str, Any]) -> str:
    found = result["early"]
    if found is None:
        return ""
    curves, effective = found["spearman"], found["effective_budget"]
    plot = plot_early(found["epochs"], curves, effective)
    caption = "How early in trainings from scratch their outcome can be told."
    if effective is not None:
        caption += f" Past {effective} epochs, dotted, training losses say less: some overfit."
    return f'<div class="plots">{_figure(_legend(curves) + plot, caption)}</div>'


def _diverged(result: Mapping[str, Any]) -> str:
    """By name; scores that the same architectures failed stand together."""
    failed: dict[tuple[str, ...], list[str]] = {}
    for estimator in result["estimators"]:
        if estimator["diverged"]:
            failed.setdefault(tuple(estimator["diverged"]), []).append(estimator["name"])
    if not failed:
        return "<p>Every score of every architecture was finite.</p>"
    return "".join(
        f"<details><summary>{', '.join(map(code, names))}: {len(archs)} of {result['num_archs']}"
        f"</summary>\n{_list(map(notation, archs))}</details>\n"
        for archs, names in failed.items()
    )


def _measured(result: Mapping[str, Any]) -> str:
    truth, unit = result["truth"], result["truth"]["unit"]
    facts = {
        "date": result["date"],
        "truth": f"{truth['source']}: mean {with_unit(truth['mean'], unit)}, standard deviation "
        f"{with_unit(truth['sd'], unit)}, best {with_unit(truth['best'], unit)}",
        "resamples of a bootstrap": str(result["num_bootstrap"]),
    }
    for supernet in result["supernets"]:
        key = f"supernet {supernet['name']}"
        facts[key] = f"{supernet['path']} (digest {supernet['digest']})"
    facts |= _flat(result["settings"])
    return f"<pre>{escape(result['command'])}</pre>\n{settings_table(facts)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as ``outer.inner``."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[f"{prefix}{key}"] = text
    return flat


def _terms(result: Mapping[str, Any]) -> str:
    terms = {escape(term): escape(sentence) for term, sentence in TERMS.items()}
    for estimator in result["estimators"]:
        name = estimator["name"]
        if name in SCORES:
            terms[code(name)] = escape(SCORES[name])
    return "<dl>" + "".join(f"<dt>{t}</dt><dd>{s}</dd>\n" for t, s in terms.items()) + "</dl>"


def _figure(plot: str, caption: str) -> str:
    return f"<figure>{plot}<figcaption>{caption}</figcaption></figure>\n"


def _legend(curves: Iterable[str]) -> str:
    keys = "".join(
        f'<span><span style="color:var(--series-{i % len(SERIES)})">'
        f"{SERIES[i % len(SERIES)][3]}</span> {code(name)}</span> "
        for i, name in enumerate(curves)
    )
    return f'<div class="legend">{keys}</div>'


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"
