"""A ranking of estimators as one page that needs nothing else, and as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from estimators.html.elements import (
    Section,
    bullets,
    code,
    definitions,
    figure,
    flat,
    legend,
    notation,
    number,
    settings_table,
    with_unit,
    write_page,
)
from estimators.html.style import SCRIPT
from estimators.rank_metrics import best_first
from estimators.ranking.report_facts import supernet_facts_text, truth_facts_text
from estimators.ranking.report_plots import (
    MIN_SECONDS,
    plot_budgets,
    plot_costs,
    plot_early,
    plot_scatter,
)
from estimators.ranking.report_tables import (
    combined_table,
    differences_table,
    places_of,
    scores_of,
    scores_table,
    top_tables,
    truth_of,
)
from estimators.ranking.report_terms import SCORES, TERMS
from estimators.ranking.report_text import (
    BASELINES,
    METRICS,
    clear_winner,
    headline,
    settled_num_steps,
    the_best,
)
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.wording import plural


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """Writes a ranking as one HTML page, whose plots, style and script are in it.

    The same ranking gives the same bytes.

    Args:
        result: The ranking as ``ranking.json`` holds it.
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
    space, count = result["space"], len(result["supernets"])
    question = "Which cheap score ranks subnets best?"
    write_page(
        path,
        title=f"{question} {space}",
        heading=question,
        subtitle=f"{escape(space)} · {result['num_archs']} architectures · {count} "
        f"supernet{'' if count == 1 else 's'} · truth: {escape(result['truth']['source'])}",
        findings=headline(result),
        sections=[Section(*section) for section in sections],
        script=SCRIPT,
    )


def write_csv(result: Mapping[str, Any], path: Path) -> None:
    """Writes a row for the mean of each estimator, and one for each supernet under it.

    Empty is what is not known: of single supernets the seconds and, of course, the standard
    deviation over supernets.

    Args:
        result: The ranking as ``ranking.json`` holds it.
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


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a reader of the terminal wants to know, as plain values."""
    return {
        "space": result["space"],
        "num_archs": result["num_archs"],
        "truth": result["truth"]["source"],
        "spearman": {
            each["name"]: {
                key: round(each["metrics"]["spearman"][key], 3) for key in ("mean", "low", "high")
            }
            for each in result["estimators"]
        },
        "clearly_best": clear_winner(result),
        "noise_ceiling": result["noise_ceiling"] and round(result["noise_ceiling"]["spearman"], 3),
        "supernets": {
            each["name"]: {key: each[key] for key in ("val_top1", "probe_val_top1", "chance")}
            for each in result["supernets"]
        },
        "combined": result["combined"] and result["combined"]["spearman"],
        "suggested_num_steps": settled_num_steps(result),
    }


def _cost(result: Mapping[str, Any]) -> str:
    estimators, curves = result["estimators"], result["curves"]
    plots = []
    if curves:
        num_steps = settled_num_steps(result)
        caption = "Bands are 95 % intervals" + (
            "" if num_steps is None else "; dotted: where the order by tse has settled"
        )
        plots.append(figure(legend(curves) + plot_budgets(curves, num_steps), caption + "."))
    names = ", ".join(f"{place} {code(e['name'])}" for place, e in enumerate(estimators, 1))
    caption = (
        ("Lines, of the same colours, grow with B. " if curves else "")
        + f"Open squares are baselines; what takes less than {1000 * MIN_SECONDS:.0f} ms is drawn "
        f"there. {names}."
    )
    plots.append(figure(plot_costs(estimators, curves, BASELINES), caption))
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
    signs = "Diamonds are" if k > 1 else "The diamond is"
    above = (
        f"those above the line are among the {k} best" if k > 1 else "above the line is the best"
    )
    note = (
        f"To the right: truth{f' in {escape(unit)}' if unit else ''}. Up: place by the score on "
        f"supernet {code(result['supernets'][0]['name'])}, whose Spearman stands above. {signs} "
        f"{the_best(k, 'true')}; {above} by the score. Crosses at the bottom diverged."
    )
    hidden = int((known < low).sum())
    if hidden:
        signs = "The triangle is" if hidden == 1 else "Triangles are"
        note += (
            f" {signs} the {plural(hidden, 'architecture')} worth less than {with_unit(low, unit)}."
        )
    return f'<p>{note}</p>\n<div class="panels">{"".join(panels)}</div>'


def _early(result: Mapping[str, Any]) -> str:
    found = result["early"]
    if found is None:
        return ""
    curves, effective = found["spearman"], found["effective_budget"]
    first, num_epochs = found["first_overfit"], len(found["epochs"])
    limit = effective if first is not None and effective < num_epochs else None
    plot = plot_early(found["epochs"], curves, limit)
    caption = "How early in trainings from scratch their outcome can be told."
    if num_epochs == 1:
        caption += " They have one epoch, so that nothing is early here."
    elif first is None:
        caption += (
            f" No training loss falls below 0.1 nats within the {num_epochs} epochs: none is yet "
            "known to overfit."
        )
    else:
        caption += f" After epoch {first} a training loss is below 0.1 nats"
        caption += (
            "." if limit is None else f"; past epoch {limit}, dotted, training losses say less."
        )
    return f'<div class="plots">{figure(legend(curves) + plot, caption)}</div>'


def _diverged(result: Mapping[str, Any]) -> str:
    """Lists diverged architectures by score; scores with the same ones stand together."""
    failed: dict[tuple[str, ...], list[str]] = {}
    for estimator in result["estimators"]:
        if estimator["diverged"]:
            failed.setdefault(tuple(estimator["diverged"]), []).append(estimator["name"])
    lost = result.get("not_measured", {})
    left_out = [f"{notation(arch)}: {escape(problem)}" for arch, problem in lost.items()]
    known = f"<p>Not measured, and left out:</p>\n{bullets(left_out)}" if lost else ""
    if not failed:
        return f"<p>Every score of every architecture was finite.</p>{known}"
    return known + "".join(
        f"<details><summary>{', '.join(map(code, names))}: {len(archs)} of {result['num_archs']}"
        f"</summary>\n{bullets(map(notation, archs))}</details>\n"
        for archs, names in failed.items()
    )


def _measured(result: Mapping[str, Any]) -> str:
    facts = {
        "date": result["date"],
        "truth": truth_facts_text(result),
        "resamples of a bootstrap": str(result["num_bootstrap"]),
    }
    for supernet in result["supernets"]:
        facts[f"supernet {supernet['name']}"] = supernet_facts_text(supernet)
    facts |= flat(result["settings"])
    return f"<pre>{escape(result['command'])}</pre>\n{settings_table(facts)}"


def _terms(result: Mapping[str, Any]) -> str:
    terms = {escape(term): escape(sentence) for term, sentence in TERMS.items()}
    for estimator in result["estimators"]:
        name = estimator["name"]
        if name in SCORES:
            terms[code(name)] = escape(SCORES[name])
    return definitions(terms)
