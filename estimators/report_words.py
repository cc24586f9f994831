"""What a ranking of estimators says, in words and honest about its noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estimators.report_facts import supernets_sentence, truth_sentence
from estimators.report_html import Difference, code, duration, marked, number, with_unit

#: Scores that look at no data and cost nothing, which every other has to beat.
BASELINES = ("macs", "params", "benchmark_macs", "benchmark_params")
#: Below this, intervals are too wide to tell estimators apart.
FEW_ARCHS = 30
#: Below this, resamples are too much alike for their intervals to tell anything.
MIN_ARCHS = 10

METRICS = {
    "spearman": "Spearman",
    "kendall_tau_b": "Kendall τ-b",
    "pearson": "Pearson",
    "precision_at_k": "Precision@{k}",
    "top_k_regret": "Top-{k} regret",
    "top_k_mean": "Mean truth of top {k}",
}

TERMS = {
    "Spearman": "Correlation between the ranks by the score and the ranks by the truth; 1 is the "
    "same order, 0 is chance; ties get their average rank.",
    "Kendall τ-b": "Share of pairs of architectures in the right order minus the share in the "
    "wrong order, corrected for ties.",
    "Pearson": "Correlation of the values themselves; few architectures far from the others can "
    "decide it.",
    "Precision@k": "Share of the k best by the score that are among the k best by the truth.",
    "Top-k regret": "How far the best of the k that the score ranks best lies below the best of "
    "all; 0 means that the best of all is among them.",
    "Mean truth of top k": "Average truth of the k architectures that the score ranks best.",
    "[low, high]": "95 % interval of a bootstrap over the architectures: what other "
    "architectures, drawn alike, would have shown.",
    "±": "Standard deviation over supernets: what another of these supernets would change.",
    "Clear, within noise": "A difference is clear if its 95 % interval lies on one side of 0, "
    "otherwise within noise; both scores see the same resampled architectures. The best of many "
    "scores was chosen by these data and looks a little better here than it is.",
    "B": "Extra training steps of a subnet that starts with the weights it inherits.",
    "Seconds": "Mean wall-clock time of one architecture on the machine that measured; scores of "
    "the same steps share their time, so that several together cost little more than one.",
    "Diverged": "The score was not finite; such an architecture is ranked last.",
    "Racing": "Stopping a candidate once the sum of its losses exceeds the k-th lowest sum "
    "finished so far. Losses are never negative, so it could not have entered the top k, which "
    "stays the very same.",
    "Combined score": "A regression on several scores, fitted to a few architectures of known "
    "truth and judged on the others.",
}

SCORES = {
    "tse": "Minus the sum of the training losses of B extra steps.",
    "tse_e": "Like tse, of the last steps alone: the minibatches of the window in the settings.",
    "tse_ema": "Like tse, where earlier losses count less: by the gamma of the settings for each "
    "minibatch, while the paper's is for each epoch.",
    "tlmini": "Minus the training loss of the last of B extra steps.",
    "sovl": "Minus the sum of validation losses, of one minibatch after each of B extra steps.",
    "val_acc": "Validation accuracy with inherited weights.",
    "val_loss": "Minus the validation loss with inherited weights.",
    "val_acc_after": "Validation accuracy after the extra steps.",
    "val_loss_after": "Minus the validation loss after the extra steps.",
    "grad_norm": "Norms of the gradients of fresh weights, summed.",
    "snip": "Weight times gradient of fresh weights, summed without signs.",
    "grasp": "How removing fresh weights changes the flow of gradients.",
    "fisher": "Fisher information of the channels at fresh weights.",
    "synflow": "Flow through all fresh weights when all are positive, without data.",
    "jacob_cov": "How differently the outputs depend on each image, at fresh weights.",
    "naswot": "How differently the images switch the activations on, at fresh weights.",
    "params": "The number of parameters.",
    "macs": "The number of multiply-accumulates.",
    "benchmark_params": "The number of parameters as the benchmark's table has it, with those of "
    "convolutions that the output does not need.",
    "benchmark_macs": "The number of multiply-accumulates as the benchmark's table has it, with "
    "those of convolutions that the output does not need.",
}


def difference(
    result: Mapping[str, Any], first: str, second: str, metric: str = "spearman"
) -> Difference | None:
    """A metric of ``first`` minus that of ``second``, whichever way round the pair is stored.

    Returns:
        None if they were not compared.
    """
    for pair in result["differences"]:
        if pair["metric"] != metric or pair["value"] is None or pair["low"] is None:
            continue
        if (pair["a"], pair["b"]) == (first, second):
            return Difference(pair["value"], pair["low"], pair["high"])
        if (pair["a"], pair["b"]) == (second, first):
            return Difference(-pair["value"], -pair["high"], -pair["low"])
    return None


def headline(result: Mapping[str, Any]) -> list[str]:
    """The findings in order of importance, one sentence or two each, as HTML."""
    ranked = _ranked(result)
    if not ranked:
        return ["No estimator could rank these architectures."]
    best, others = ranked[0], [estimator["name"] for estimator in ranked[1:]]
    winner = clear_winner(result)
    found = [_best(result, best, others, winner)]
    if _is_ordered(best):
        named = others[:1] if winner is not None else []
        if best["name"] in BASELINES:
            named += [name for name in others if name not in BASELINES][:1]
        named += [name for name in ("val_acc", *BASELINES) if name in others]
        known = others[:1] if winner is None else []  # said already
        for name in dict.fromkeys(named):
            found += [] if name in known else [_against(result, best["name"], name, others)]
        found += [_as_good(result, best, ranked[1:])] if others else []
        found += [_combined(result, ranked), _top(result, best), _best_top(result, ranked)]
        found += _budget(result, ranked)
        found += _race(result)
    found += [supernets_sentence(result), truth_sentence(result, best["metrics"]["spearman"])]
    return [sentence for sentence in [*found, *_caveats(result)] if sentence]


def clear_winner(result: Mapping[str, Any]) -> str | None:
    """The score that ranks best, if its lead over the next and over all that is free is clear."""
    ranked = _ranked(result)
    if len(ranked) < 2 or result["num_archs"] < MIN_ARCHS or not _is_ordered(ranked[0]):
        return None
    names: list[str] = [estimator["name"] for estimator in ranked]
    rivals = [names[1], *(name for name in names[1:] if name in BASELINES)]
    leads = [difference(result, names[0], name) for name in rivals]
    is_clear = all(lead is not None and lead.verdict == "clear" for lead in leads)
    return names[0] if is_clear else None


def _ranked(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those estimators that have a correlation, best first."""
    return [e for e in result["estimators"] if e["metrics"]["spearman"]["mean"] is not None]


def _is_ordered(estimator: Mapping[str, Any]) -> bool:
    """Whether its order is clearly better than chance."""
    low = estimator["metrics"]["spearman"]["low"]
    return low is not None and low > 0


def _best(
    result: Mapping[str, Any], best: Mapping[str, Any], others: Sequence[str], winner: str | None
) -> str:
    spearman, supernets = best["metrics"]["spearman"], len(result["supernets"])
    who = code(best["name"])
    if best["num_steps"] is not None:
        who += f" (B = {best['num_steps']})"
    worth = f"{number(spearman['mean'])} [{number(spearman['low'])}, {number(spearman['high'])}]"
    if supernets > 1:
        worth += f", mean of {supernets} supernets (± {number(spearman['sd'])})"
    archs = f"these {result['num_archs']} architectures"
    if not _is_ordered(best):
        only = "The only score here" if not others else "No score here"
        sentence = f"<strong>{only} ranks {archs} clearly better than chance</strong>: "
        if not others:
            sentence = f"<strong>{who} ranks {archs} not clearly better than chance</strong>: "
            return sentence + f"Spearman {worth}."
        return sentence + f"the highest Spearman is that of {who}, {worth}."
    worth += f", at {duration(best['seconds'])} each"
    if not others:
        return f"{who} ranks {archs} with a Spearman of {worth}."
    if winner is not None:
        sentence = f"<strong>{who} ranks {archs} best</strong>: Spearman {worth}."
        if winner in BASELINES:
            sentence += " It is a baseline: no score that looks at data or weights ranks better."
        return sentence
    sentence = (
        f"<strong>No score is clearly best</strong>: {who} has the highest Spearman, {worth}."
    )
    lead = difference(result, best["name"], others[0])
    if lead is not None:
        is_free = ", which costs nothing" if others[0] in BASELINES else ""
        too_few = result["num_archs"] < MIN_ARCHS and lead.verdict == "clear"
        tail = ", but of too few architectures" if too_few else ""
        sentence += (
            f" Its lead over the next, {code(others[0])}{is_free}, is {lead}, {marked(lead)}{tail}."
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
        return "" if any(found is None for _, found in pairs) else "All others are clearly worse."
    cheapest = min([best, *equals], key=lambda e: e["seconds"])
    names = ", ".join(code(e["name"]) for e in equals)
    sentence = f"Not clearly worse: {names}. "
    if cheapest is best:
        return sentence + "None of them is cheaper."
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
    return (
        f"All scores combined, fitted to {found['num_known']} known truths, rank the other "
        f"{found['num_unknown']} with {number(found['spearman']['mean'])}, against "
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
    return (
        f"Of the {k} it ranks best, {found} are among the true {k} best{average}, where chance "
        f"finds {chance}, and the best of them lies {distance} below the best of all."
    )


def _best_top(result: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> str:
    """Whose top is the best, if it is not the best estimator's."""
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


def _budget(result: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> list[str]:
    """From which B on the order by tse hardly changes; nothing where that order is chance."""
    found = result["suggested_num_steps"]
    by_losses = [estimator for estimator in ranked if estimator["name"] == "tse"]
    if found is None or not by_losses or not _is_ordered(by_losses[0]):
        return []
    largest, threshold = found["largest"], number(found["threshold"], 2)
    each = ""
    if len(found["per_supernet"]) > 1:
        each = f" (of each supernet: {', '.join(map(str, found['per_supernet']))})"
    if not is_settled(result):
        return [
            f"The order by {code('tse')} goes on changing up to the largest B = {largest}: from "
            f"B = {found['num_steps']} on it correlates {threshold} or better with the last"
            f"{each}. More steps may rank otherwise."
        ]
    return [
        f"<strong>B = {found['num_steps']}</strong> would have been enough: the order by "
        f"{code('tse')} then correlates {threshold} or better with that of the largest, "
        f"B = {largest}{each}. Whether more than {largest} rank better this cannot tell."
    ]


def is_settled(result: Mapping[str, Any]) -> bool:
    """Whether the order by tse was settled long before the last of its steps.

    Sums of more than half of the losses are much the same in any case.
    """
    found = result["suggested_num_steps"]
    return found is not None and 2 * found["num_steps"] <= found["largest"]


def _race(result: Mapping[str, Any]) -> list[str]:
    found = result["race"]
    if found is None:
        return []
    saved = sum(found["share_saved"]) / len(found["share_saved"])
    end = "the same" if found["is_same_top"] else "<b>not the same</b>"
    return [
        f"Racing for the {found['k']} best would have saved {100 * saved:.0f} % of the training "
        f"steps and found {end} {found['k']}."
    ]


def _caveats(result: Mapping[str, Any]) -> list[str]:
    found = []
    if result["num_archs"] < FEW_ARCHS:
        found.append(f"{result['num_archs']} architectures are few: hardly anything can be clear.")
    if 2 * result["top_k"] > result["num_archs"]:
        found.append(f"The top {result['top_k']} are most of them, so they say little.")
    if len(result["supernets"]) == 1:
        found.append("There is one supernet; another training of it may rank otherwise.")
    return found
