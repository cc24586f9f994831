"""What the page of a ranking says beyond what ``ranking.json`` holds, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.html.page import Difference
from estimators.rank_metrics import best_first
from estimators.scores.names import PROXY_SCORES

#: Scores that look at no data and cost nothing, which every other has to beat.
BASELINES = ("macs", "params", "benchmark_macs", "benchmark_params")
#: What estimators are compared with in a table, besides the best of them.
REFERENCES = ("val_acc", "macs")
#: Below this, resamples are too much alike for their intervals to tell anything.
MIN_ARCHS = 10
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
Estimator = Mapping[str, Any]


@dataclass(frozen=True)
class RankingFacts:
    """What follows from a ranking; estimators are as ``ranking.json`` has them.

    Args:
        ranked: The estimators that have a correlation, best first.
        is_ordered: Whether the best order is clearly better than chance.
        winner: Name of the best score if its lead over the next and over all that is free is clear.
        lead: Lead of the best over the next; None where it is not known.
        against: Lead of the best over others that a reader asks for, by their names.
        equals: Estimators that are not clearly worse than the best.
        are_others_worse: Whether all others are clearly worse and it is not said otherwise.
        gains: What the combined score adds to each of its parts, by their names.
        best_part: Name of the best of these that has a correlation.
        best_top: The estimator whose top is the best by its mean truth, if not that of the best.
        is_tse_ordered: Whether the order by tse is clearly better than chance.
        settled_num_steps: B from which on the order by tse hardly changes, if it was reached early.
        inherits: Whether some scores depend on inherited weights.
        effective_budget: Epoch after which losses of trainings from scratch say less; None if none.
        diverged: Names of scores by the architectures that diverged of them.
    """

    ranked: Sequence[Estimator]
    is_ordered: bool = False
    winner: str | None = None
    lead: Difference | None = None
    against: Sequence[tuple[str, Difference]] = ()
    equals: Sequence[Estimator] = ()
    are_others_worse: bool = False
    gains: Mapping[str, Difference | None] = field(default_factory=dict)
    best_part: str | None = None
    best_top: Estimator | None = None
    is_tse_ordered: bool = False
    settled_num_steps: int | None = None
    inherits: bool = False
    effective_budget: int | None = None
    diverged: Mapping[tuple[str, ...], Sequence[str]] = field(default_factory=dict)


def ranking_facts(result: Mapping[str, Any]) -> RankingFacts:
    """Finds what a ranking, as ``ranking.json`` holds it, says of its scores."""
    ranked = [e for e in result["estimators"] if e["metrics"]["spearman"]["mean"] is not None]
    always: dict[str, Any] = {
        "gains": _gains(result["combined"]),
        "effective_budget": _effective_budget(result["early"]),
        "diverged": _diverged(result),
    }
    if not ranked:
        return RankingFacts(ranked, **always)
    best, others = ranked[0], [estimator["name"] for estimator in ranked[1:]]
    leads = {name: difference(result, best["name"], name) for name in others}
    is_ordered = _is_ordered(result, best)
    rivals = [*others[:1], *(name for name in others if name in BASELINES)]
    is_won = is_ordered and bool(others) and all(_is_clear(leads[name]) for name in rivals)
    asked = others[:1] if is_won else []
    if best["name"] in BASELINES:
        asked += [name for name in others if name not in BASELINES][:1]
    asked += [name for name in ("val_acc", *BASELINES) if name in others]
    said = [] if is_won else others[:1]
    known = {name: lead for name, lead in leads.items() if lead is not None}
    equals = [e for e in ranked[1:] if e["name"] in known and not _is_clear(known[e["name"]])]
    is_tse_ordered = any(e["name"] == "tse" and _is_ordered(result, e) for e in ranked)
    names = {estimator["name"] for estimator in result["estimators"]}
    return RankingFacts(
        ranked,
        is_ordered=is_ordered,
        winner=best["name"] if is_won else None,
        lead=leads[others[0]] if others else None,
        against=[(n, known[n]) for n in dict.fromkeys(asked) if n in known and n not in said],
        equals=equals,
        are_others_worse=len(others) > 1 and len(known) == len(others) and not equals,
        best_part=_best_part(result["combined"], [estimator["name"] for estimator in ranked]),
        best_top=_best_top(ranked),
        is_tse_ordered=is_tse_ordered,
        settled_num_steps=_settled_num_steps(result) if is_tse_ordered else None,
        inherits=bool(names - {*BASELINES, *PROXY_SCORES}),
        **always,
    )


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


def _is_clear(found: Difference | None) -> bool:
    return found is not None and found.verdict == "clear"


def _is_ordered(result: Mapping[str, Any], estimator: Estimator) -> bool:
    """Whether its order is clearly better than chance; of a handful of architectures none is."""
    low = estimator["metrics"]["spearman"]["low"]
    return result["num_archs"] >= MIN_ARCHS and low is not None and low > 0


def _gains(combined: Mapping[str, Any] | None) -> dict[str, Difference | None]:
    return {
        part["name"]: None
        if part["difference"] is None or part["low"] is None
        else Difference(part["difference"], part["low"], part["high"])
        for part in ([] if combined is None else combined["parts"])
    }


def _best_part(combined: Mapping[str, Any] | None, names: Sequence[str]) -> str | None:
    parts = [] if combined is None else [p for p in combined["parts"] if p["name"] in names]
    return max(parts, key=lambda part: float(part["mean"]))["name"] if parts else None


def _best_top(ranked: Sequence[Estimator]) -> Estimator | None:
    tops = [e for e in ranked if e["metrics"]["top_k_mean"]["mean"] is not None]
    if not tops or tops[0] is not ranked[0]:
        return None
    found = max(tops, key=lambda e: e["metrics"]["top_k_mean"]["mean"])
    means = {e["metrics"]["top_k_mean"]["mean"] for e in (found, ranked[0])}
    return found if len(means) == 2 else None


def _settled_num_steps(result: Mapping[str, Any]) -> int | None:
    """Sums of more than half of the losses are much the same in any case."""
    found = result["suggested_num_steps"]
    if found is None or found["largest"] < MIN_STEPS or 2 * found["num_steps"] > found["largest"]:
        return None
    num_steps: int = found["num_steps"]
    return num_steps


def _effective_budget(early: Mapping[str, Any] | None) -> int | None:
    if early is None or early["first_overfit"] is None:
        return None
    effective: int = early["effective_budget"]
    return effective if effective < len(early["epochs"]) else None


def _diverged(result: Mapping[str, Any]) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for estimator in result["estimators"]:
        if estimator["diverged"]:
            found.setdefault(tuple(estimator["diverged"]), []).append(estimator["name"])
    return found


@dataclass(frozen=True)
class SpearmanAxis:
    """The axis of the small pictures of Spearman beside the table of scores.

    Args:
        low: Its left end.
        high: Its right end.
        baseline: Spearman of the best baseline; None without one.
    """

    low: float
    high: float
    baseline: float | None

    def x(self, value: float) -> str:
        """Returns where a value lies in a picture of 140 pixels."""
        return f"{5 + 130 * (value - self.low) / (self.high - self.low):.1f}"


def spearman_axis(estimators: Sequence[Estimator]) -> SpearmanAxis:
    """Finds an axis from tenth to tenth that holds all intervals."""
    spearmans = {e["name"]: e["metrics"]["spearman"] for e in estimators}
    ends = [s[key] for s in spearmans.values() for key in ("low", "mean", "high")]
    known = [end for end in ends if end is not None] or [0.0, 1.0]
    low, high = math.floor(10 * min(known)) / 10, math.ceil(10 * max(known)) / 10
    if low == high:
        low, high = low - 0.1, high + 0.1
    means = [spearmans[name]["mean"] for name in BASELINES if name in spearmans]
    return SpearmanAxis(low, high, max((m for m in means if m is not None), default=None))


@dataclass(frozen=True)
class TopArch:
    """An architecture of the top.

    Args:
        arch: The architecture as ``ranking.json`` has it.
        true_place: Its place by truth, from 1.
        places: Its mean place over supernets by each score, None where that diverged.
    """

    arch: Mapping[str, Any]
    true_place: int
    places: Mapping[str, float | None]


def top_archs(result: Mapping[str, Any]) -> tuple[list[TopArch], list[TopArch]]:
    """Lists the best by truth, and the best by the best score on the first supernet."""
    truth, archs = truth_of(result), result["archs"]
    names = [estimator["name"] for estimator in result["estimators"]]
    num_supernets = len(result["supernets"])
    places = {
        name: np.mean([places_of(scores_of(result, name, i)) for i in range(num_supernets)], axis=0)
        for name in names
    }
    true_places = places_of(truth)

    def top(i: int) -> TopArch:
        scores = archs[i]["scores"]
        found = {n: None if None in scores[n] else float(places[n][i]) for n in names}
        return TopArch(archs[i], int(true_places[i]), found)

    orders = best_first(truth), best_first(scores_of(result, names[0]))
    by_truth, by_score = ([top(int(i)) for i in order[: result["top_k"]]] for order in orders)
    return by_truth, by_score


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
