"""What a ranking of estimators says, in words and honest about its noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estimators.html.elements import Difference, code, duration, marked, number, with_unit
from estimators.ranking.report_facts import MIN_ARCHS, supernets_sentence, truth_sentence
from estimators.scores.names import PROXY_SCORES

#: Scores that look at no data and cost nothing, which every other has to beat.
BASELINES = ("macs", "params", "benchmark_macs", "benchmark_params")
#: Below this, intervals are too wide to tell estimators apart.
FEW_ARCHS = 30
#: Sums of so few losses are much the same as those of fewer.
MIN_STEPS = 10

METRICS = {
    "spearman": "Spearman",
    "kendall_tau_b": "Kendall τ-b",
    "pearson": "Pearson",
    "precision_at_k": "Precision@{k}",
    "top_k_regret": "Top-{k} regret",
    "top_k_mean": "Mean truth of top {k}",
}


def difference(
    result: Mapping[str, Any], first: str, second: str, metric: str = "spearman"
) -> Difference | None:
    """Finds a metric of ``first`` minus that of ``second``, whichever way the pair is stored.

    Returns:
        None if they were not compared; without a verdict where there are too few architectures.
    """
    is_judged = result["num_archs"] >= MIN_ARCHS
    for pair in result["differences"]:
        if pair["metric"] != metric or pair["value"] is None or pair["low"] is None:
            continue
        if (pair["a"], pair["b"]) == (first, second):
            return Difference(pair["value"], pair["low"], pair["high"], is_judged=is_judged)
        if (pair["a"], pair["b"]) == (second, first):
            return Difference(-pair["value"], -pair["high"], -pair["low"], is_judged=is_judged)
    return None


def headline(result: Mapping[str, Any]) -> list[str]:
    """Writes the findings in order of importance, one sentence or two each, as HTML."""
    ranked = _ranked(result)
    if not ranked:
        return ["No estimator could rank these architectures."]
    facts = [supernets_sentence(result), truth_sentence(result, _spearman_to_judge(result))]
    best, others = ranked[0], [estimator["name"] for estimator in ranked[1:]]
    if result["truth"]["sd"] == 0:
        found = [
            "<strong>All these architectures are worth the same</strong>: there is no order to "
            "find, and nothing is said of any score."
        ]
        return [sentence for sentence in [*found, *facts] if sentence]
    winner = clear_winner(result)
    if result["num_archs"] < MIN_ARCHS:
        found = [_too_few(result, ranked)]
    else:
        found = [_best(result, ranked, winner)]
    if _is_ordered(result, best):
        named = others[:1] if winner is not None else []
        if best["name"] in BASELINES:
            named += [name for name in others if name not in BASELINES][:1]
        named += [name for name in ("val_acc", *BASELINES) if name in others]
        known = others[:1] if winner is None else []  # said already
        for name in dict.fromkeys(named):
            found += [] if name in known else [_against(result, best["name"], name, others)]
        found += [_as_good(result, best, ranked[1:])] if others else []
        found += [_combined(result, ranked), _top(result, best), _best_top(result, ranked)]
        found += _budget(result)
        found += _race(result)
    return [sentence for sentence in [*found, *facts, *_caveats(result)] if sentence]


def clear_winner(result: Mapping[str, Any]) -> str | None:
    """Returns the best score if its lead over the next and over all that is free is clear."""
    ranked = _ranked(result)
    if len(ranked) < 2 or not _is_ordered(result, ranked[0]):
        return None
    names: list[str] = [estimator["name"] for estimator in ranked]
    rivals = [names[1], *(name for name in names[1:] if name in BASELINES)]
    leads = [difference(result, names[0], name) for name in rivals]
    is_clear = all(lead is not None and lead.verdict == "clear" for lead in leads)
    return names[0] if is_clear else None


def _ranked(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the estimators that have a correlation, best first."""
    return [e for e in result["estimators"] if e["metrics"]["spearman"]["mean"] is not None]


def _is_ordered(result: Mapping[str, Any], estimator: Mapping[str, Any]) -> bool:
    """Whether its order is clearly better than chance; of a handful of architectures none is."""
    low = estimator["metrics"]["spearman"]["low"]
    return result["num_archs"] >= MIN_ARCHS and low is not None and low > 0


def the_best(k: int, of: str = "") -> str:
    """Writes words such as ``the 3 best`` and ``the true best``."""
    return " ".join(["the", *([of] if of else []), *([str(k)] if k > 1 else []), "best"])


def _spearman_to_judge(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns Spearman of the best score, with its interval, where this says anything."""
    ranked = _ranked(result)
    return ranked[0]["metrics"]["spearman"] if ranked and _is_ordered(result, ranked[0]) else None


def _too_few(result: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> str:
    """Writes the finding on a handful of architectures, whose intervals say nothing."""
    few, highest = f"{result['num_archs']} architectures", _highest(ranked)
    worth = number(ranked[0]["metrics"]["spearman"]["mean"])
    if len(ranked) == 1:
        who = code(highest[0])
        return f"<strong>{few} are too few to tell whether {who} ranks</strong>: Spearman {worth}."
    return (
        f"<strong>{few} are too few to tell scores apart</strong>: the highest Spearman, {worth}, "
        f"is that of {_listed(highest)}."
    )


def _highest(ranked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the best, several where they share the highest Spearman."""
    highest = ranked[0]["metrics"]["spearman"]["mean"]
    return [e["name"] for e in ranked if e["metrics"]["spearman"]["mean"] == highest]


def _listed(names: Sequence[str]) -> str:
    *first, last = map(code, names)
    return f"{', '.join(first)} and {last}" if first else last


def _best(
    result: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]], winner: str | None
) -> str:
    best, others = ranked[0], [estimator["name"] for estimator in ranked[1:]]
    spearman, supernets = best["metrics"]["spearman"], len(result["supernets"])
    who = code(best["name"])
    if best["num_steps"] is not None:
        who += f" (B = {best['num_steps']})"
    worth = f"{number(spearman['mean'])} [{number(spearman['low'])}, {number(spearman['high'])}]"
    if supernets > 1:
        worth += f", mean of {supernets} supernets (± {number(spearman['sd'])})"
    archs, highest = f"these {result['num_archs']} architectures", _highest(ranked)
    if not _is_ordered(result, best):
        only = "The only score here" if not others else "No score here"
        sentence = f"<strong>{only} ranks {archs} clearly better than chance</strong>: "
        if not others:
            sentence = f"<strong>{who} ranks {archs} not clearly better than chance</strong>: "
            return sentence + f"Spearman {worth}."
        if len(highest) > 1:
            return sentence + f"{_listed(highest)} share the highest Spearman, {worth}."
        return sentence + f"the highest Spearman is that of {who}, {worth}."
    worth += f", at {duration(best['seconds'])} each"
    if not others:
        return f"{who} ranks {archs} with a Spearman of {worth}."
    if winner is not None:
        sentence = f"<strong>{who} ranks {archs} best</strong>: Spearman {worth}."
        if winner in BASELINES and not set(others) <= set(BASELINES):
            sentence += " It is a baseline: no score that looks at data or weights ranks better."
        return sentence
    if len(highest) > 1:
        return (
            f"<strong>No score is clearly best</strong>: {_listed(highest)} share the highest "
            f"Spearman, {worth}."
        )
    sentence = (
        f"<strong>No score is clearly best</strong>: {who} has the highest Spearman, {worth}."
    )
    lead = difference(result, best["name"], others[0])
    if lead is not None:
        is_free = ", which costs nothing" if others[0] in BASELINES else ""
        sentence += (
            f" Its lead over the next, {code(others[0])}{is_free}, is {lead}, {marked(lead)}."
        )
    return sentence


def _against(result: Mapping[str, Any], best: str, name: str, others: Sequence[str]) -> str:
    found = difference(result, best, name)
    if found is None:
        return ""
    who = code(name)
    if name in BASELINES and best not in BASELINES:
        who += ", which costs nothing"
        if found.verdict != "clear":
            return f"<strong>Not clearly better than {who}</strong>: {found}, {marked(found)}."
    if name == others[0]:
        who = f"the next, {who}"
    elif best in BASELINES and name not in BASELINES and name != "val_acc":
        who = f"the best that is no baseline, {who}"
    return f"Against {who}: {found}, {marked(found)}."


def _as_good(
    result: Mapping[str, Any], best: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> str:
    """Which estimators are not clearly worse, and the cheapest of them."""
    pairs = [(e, difference(result, best["name"], e["name"])) for e in others]
    equals = [e for e, found in pairs if found is not None and found.verdict != "clear"]
    if not equals:
        is_said = len(pairs) == 1 or any(found is None for _, found in pairs)
        return "" if is_said else "All others are clearly worse."
    cheapest = min([best, *equals], key=lambda e: e["seconds"])
    names = ", ".join(code(e["name"]) for e in equals)
    sentence = f"Not clearly worse: {names}. "
    if cheapest is best:
        return sentence + ("It is no cheaper." if len(equals) == 1 else "None of them is cheaper.")
    return sentence + (
        f"Of all these the cheapest is {code(cheapest['name'])}: Spearman "
        f"{number(cheapest['metrics']['spearman']['mean'])} at {duration(cheapest['seconds'])}."
    )


def _combined(result: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> str:
    """What a fit to a few known truths adds to the best of the scores in it."""
    found = result["combined"]
    names = {estimator["name"] for estimator in ranked}
    parts = [] if found is None else [part for part in found["parts"] if part["name"] in names]
    if not parts:
        return ""
    best = max(parts, key=lambda part: part["mean"])
    gain = Difference(best["difference"], best["low"], best["high"])
    always = {"clear": "better", "clearly worse": "worse"}.get(gain.verdict)
    if gain.low == gain.high == 0:
        always = "no better and no worse"
    return (
        f"All scores combined, fitted to {found['num_known']} known truths, rank the other "
        f"{found['num_unknown']} with a Spearman of {number(found['spearman']['mean'])}, against "
        f"{code(best['name'])} alone {gain}, between which 95 % of {found['num_splits']} random "
        "splits lie: " + ("sometimes better, sometimes worse" if always is None else always) + "."
    )


def _top(result: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    k, metrics = result["top_k"], best["metrics"]
    precision, regret = metrics["precision_at_k"]["mean"], metrics["top_k_regret"]["mean"]
    if precision is None or regret is None:
        return ""
    unit = result["truth"]["unit"]
    found, chance = (
        number(value, 1).removesuffix(".0")
        for value in (k * precision, k * k / result["num_archs"])
    )
    average = " on average" if len(result["supernets"]) > 1 else ""
    distance = with_unit(regret, "points" if unit == "%" else unit)
    if k == 1:
        where = "is the best of all" if regret == 0 else f"lies {distance} below the best of all"
        return f"The one it ranks best {where}{average}."
    where = f"the best of them lies {distance} below the best of all"
    if regret == 0:
        where = "the best of all is among them"
    return (
        f"Of the {k} it ranks best, {found} {'is' if found == '1' else 'are'} among the true {k} "
        f"best{average}, where chance finds {chance}, and {where}."
    )


def _best_top(result: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> str:
    """Says whose top is the best, if it is not the best estimator's."""
    tops = {e["name"]: e["metrics"]["top_k_mean"] for e in ranked}
    tops = {name: top for name, top in tops.items() if top["mean"] is not None}
    best = ranked[0]["name"]
    if best not in tops:
        return ""
    name = max(tops, key=lambda name: tops[name]["mean"])
    if tops[name]["mean"] == tops[best]["mean"]:
        return ""
    worth = [
        f"{with_unit(top['mean'], result['truth']['unit'])} "
        f"[{number(top['low'], 2)}, {number(top['high'], 2)}]"
        for top in (tops[name], tops[best])
    ]
    found = difference(result, name, best, "top_k_mean")
    if found is None or found.verdict != "clear":
        tail = "." if found is None else f": {found}, {marked(found)}."
        return (
            f"Nor is its top {result['top_k']} the best by its mean truth; that of {code(name)} is "
            f"worth {worth[0]} against {worth[1]}{tail}"
        )
    return (
        f"But the best top {result['top_k']} is that of {code(name)}, worth {worth[0]} on average "
        f"against {worth[1]}: {found}, {marked(found)}."
    )


def _budget(result: Mapping[str, Any]) -> list[str]:
    """Says from which B on the order by tse hardly changes; nothing if that order is chance."""
    found = result["suggested_num_steps"]
    if found is None or not _orders_by_losses(result):
        return []
    largest, threshold = found["largest"], number(found["threshold"], 2)
    each = ""
    if len(found["per_supernet"]) > 1:
        each = f" (of each supernet: {', '.join(map(str, found['per_supernet']))})"
    if largest < MIN_STEPS:
        return [
            f"Whether more steps than B = {largest} would rank otherwise cannot be told of so few."
        ]
    if found["num_steps"] == largest:
        return [
            f"The order by {code('tse')} goes on changing up to the largest B = {largest}: one "
            f"step before, it correlates less than {threshold} with the last. More steps may rank "
            "otherwise."
        ]
    if settled_num_steps(result) is None:
        return [
            f"The order by {code('tse')} settles late: it correlates {threshold} or better with "
            f"that of the largest, B = {largest}, only from B = {found['num_steps']} on{each}. "
            "More steps may rank otherwise."
        ]
    return [
        f"<strong>B = {found['num_steps']}</strong> would have been enough: the order by "
        f"{code('tse')} then correlates {threshold} or better with that of the largest, "
        f"B = {largest}{each}. Whether more than {largest} rank better this cannot tell."
    ]


def settled_num_steps(result: Mapping[str, Any]) -> int | None:
    """Returns the B from which on the order by tse hardly changes, if it was reached early.

    Sums of more than half of the losses are much the same in any case.

    Returns:
        None if it settled late, if there were few steps, or if the order is that of chance.
    """
    found = result["suggested_num_steps"]
    if found is None or not _orders_by_losses(result) or found["largest"] < MIN_STEPS:
        return None
    num_steps: int = found["num_steps"]
    return num_steps if 2 * num_steps <= found["largest"] else None


def _orders_by_losses(result: Mapping[str, Any]) -> bool:
    """Whether the order by tse is known, and clearly better than chance."""
    return any(e["name"] == "tse" and _is_ordered(result, e) for e in result["estimators"])


def _race(result: Mapping[str, Any]) -> list[str]:
    found = result["race"]
    if found is None or not _orders_by_losses(result):
        return []
    saved = sum(found["share_saved"]) / len(found["share_saved"])
    end = "the same" if found["is_same_top"] else "<b>not the same</b>"
    number_of = "" if found["k"] == 1 else f" {found['k']}"
    return [
        f"Racing by {code('tse')} for the{number_of} best would have saved {100 * saved:.0f} % of "
        f"the training steps and found {end}{number_of}."
    ]


def _caveats(result: Mapping[str, Any]) -> list[str]:
    found = []
    if MIN_ARCHS <= result["num_archs"] < FEW_ARCHS:
        found.append(
            f"{result['num_archs']} architectures are few: what is within noise here may be clear "
            "of more."
        )
    if 2 * result["top_k"] > result["num_archs"]:
        found.append(f"The top {result['top_k']} are most of them, so they say little.")
    inherits = {e["name"] for e in result["estimators"]} - {*BASELINES, *PROXY_SCORES}
    if len(result["supernets"]) == 1 and inherits:
        found.append("There is one supernet; another training of it may rank otherwise.")
    return found
