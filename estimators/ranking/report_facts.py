"""What the page of a ranking says beyond what ``ranking.json`` holds, as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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


class RankingFacts:
    """What follows from a ranking; estimators are as it has them.

    Args:
        result: The ranking as ``ranking.json`` holds it.
    """

    def __init__(self, result: Mapping[str, Any]) -> None:
        estimators, combined, self._result = result["estimators"], result["combined"], result
        #: The estimators that have a correlation, best first.
        self.ranked = [e for e in estimators if e["metrics"]["spearman"]["mean"] is not None]
        best = self.ranked[0] if self.ranked else None
        #: Names of all of them but the best.
        self.others: list[str] = [estimator["name"] for estimator in self.ranked[1:]]
        #: Lead of the best over each other, None where it is not known.
        self.leads = {o: difference(result, self.ranked[0]["name"], o) for o in self.others}
        #: Whether the best order is clearly better than chance.
        self.is_ordered = best is not None and self._is_ordered(best)
        #: Name of the best if its lead over the next and over all that is free is clear.
        self.winner: str | None = None
        rivals = [*self.others[:1], *(name for name in self.others if name in BASELINES)]
        if best is not None and rivals and self.is_ordered and all(map(self._is_clear, rivals)):
            self.winner = best["name"]
        known = [name for name, lead in self.leads.items() if lead is not None]
        #: Estimators that are not clearly worse than the best.
        self.equals = [
            e for e in self.ranked[1:] if e["name"] in known and not self._is_clear(e["name"])
        ]
        #: Whether all of several others are clearly worse.
        self.are_others_worse = len(self.others) > 1 and all(map(self._is_clear, self.others))
        parts = [] if combined is None else combined["parts"]
        #: What the combined score adds to each of its parts, None where it is not known.
        self.gains = {p["name"]: _difference(p, p["difference"]) for p in parts}
        ranked_parts = [p for p in parts if any(p["name"] == e["name"] for e in self.ranked)]
        #: The best of these that has a correlation, None without one.
        self.best_part = max(ranked_parts, key=lambda p: float(p["mean"]), default=None)
        #: Whether the order by tse is clearly better than chance.
        self.is_tse_ordered = any(e["name"] == "tse" and self._is_ordered(e) for e in self.ranked)
        #: Whether some scores depend on inherited weights.
        own = {name for name, e in result.get("own_scores", {}).items() if not e["inherits"]}
        names = {estimator["name"] for estimator in estimators}
        self.inherits = bool(names - {*BASELINES, *PROXY_SCORES} - own)
        #: Names of scores by the architectures that diverged of them.
        self.diverged: dict[tuple[str, ...], list[str]] = {}
        for estimator in estimators:
            if estimator["diverged"]:
                self.diverged.setdefault(tuple(estimator["diverged"]), []).append(estimator["name"])

    def _is_ordered(self, estimator: Mapping[str, Any]) -> bool:
        """Whether an order is better than chance; of a handful of architectures none is."""
        low = estimator["metrics"]["spearman"]["low"]
        return self._result["num_archs"] >= MIN_ARCHS and low is not None and low > 0

    def _is_clear(self, other: str) -> bool:
        lead = self.leads[other]
        return lead is not None and lead.verdict == "clear"

    @property
    def asked(self) -> list[str]:
        """Names of others that the best is set against one by one."""
        names = self.others[:1] if self.winner is not None else []
        if self.ranked[0]["name"] in BASELINES:
            names += [name for name in self.others if name not in BASELINES][:1]
        names += [name for name in ("val_acc", *BASELINES) if name in self.others]
        said = [] if self.winner is not None else self.others[:1]
        return [n for n in dict.fromkeys(names) if n not in said and self.leads[n] is not None]

    @property
    def best_top(self) -> Mapping[str, Any] | None:
        """The estimator whose top has the best mean truth, None if that is the best one's."""
        means = [estimator["metrics"]["top_k_mean"]["mean"] for estimator in self.ranked]
        highest = max((mean for mean in means if mean is not None), default=None)
        return None if means[0] in (None, highest) else self.ranked[means.index(highest)]

    @property
    def settled_num_steps(self) -> int | None:
        """B from which on the order by tse hardly changes, if that says anything.

        Sums of more than half of the losses are much the same in any case.
        """
        found = self._result["suggested_num_steps"]
        if found is None or not self.is_tse_ordered or found["largest"] < MIN_STEPS:
            return None
        num_steps: int = found["num_steps"]
        return num_steps if 2 * num_steps <= found["largest"] else None

    @property
    def effective_budget(self) -> int | None:
        """Epoch after which losses of trainings from scratch say less; None if there is none."""
        early = self._result["early"]
        if early is None or early["first_overfit"] is None:
            return None
        effective: int = early["effective_budget"]
        return effective if effective < len(early["epochs"]) else None


def difference(
    result: Mapping[str, Any], first: str, second: str, metric: str = "spearman"
) -> Difference | None:
    """Finds a metric of ``first`` minus that of ``second``, whichever way the pair is stored.

    Returns:
        None if they were not compared; without a verdict where there are too few architectures.
    """
    is_judged = result["num_archs"] >= MIN_ARCHS
    for pair in result["differences"]:
        if pair["metric"] == metric and {pair["a"], pair["b"]} == {first, second}:
            found = _difference(pair, pair["value"], is_judged)
            if found is None or pair["a"] == first:
                return found
            return Difference(-found.value, -found.high, -found.low, is_judged=is_judged)
    return None


def _difference(
    found: Mapping[str, Any], value: float | None, is_judged: bool = True
) -> Difference | None:
    if value is None or found["low"] is None:
        return None
    return Difference(value, found["low"], found["high"], is_judged=is_judged)


def spearman_axis(estimators: Iterable[Mapping[str, Any]]) -> tuple[float, float, float | None]:
    """Finds two tenths that hold all intervals between them, and the best baseline's Spearman."""
    spearmans = {e["name"]: e["metrics"]["spearman"] for e in estimators}
    ends = [s[key] for s in spearmans.values() for key in ("low", "mean", "high")]
    known = [end for end in ends if end is not None] or [0.0, 1.0]
    low, high = math.floor(10 * min(known)) / 10, math.ceil(10 * max(known)) / 10
    margin = 0.1 if low == high else 0.0
    means = [spearmans[name]["mean"] for name in BASELINES if name in spearmans]
    baseline = max((mean for mean in means if mean is not None), default=None)
    return low - margin, high + margin, baseline


def mean_places(result: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """Returns the mean place over supernets of each architecture by a score, (num_archs,)."""
    supernets = range(len(result["supernets"]))
    places = [places_of(reported_scores(result, name, i)) for i in supernets]
    return np.asarray(np.mean(places, axis=0), np.float64)


def truth_of(result: Mapping[str, Any]) -> NDArray[np.float64]:
    """Returns the true values, nan where they are not known, (num_archs,)."""
    return np.array([arch["truth"] for arch in result["archs"]], dtype=float)  # None is nan


def reported_scores(result: Mapping[str, Any], name: str, supernet: int = 0) -> NDArray[np.float64]:
    """Returns the scores of one estimator on one supernet, nan where it diverged, (num_archs,)."""
    return np.array([arch["scores"][name][supernet] for arch in result["archs"]], dtype=float)


def places_of(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the place of each score in ``best_first``, from 1."""
    places = np.empty(len(scores), dtype=np.int64)
    places[best_first(scores)] = np.arange(1, len(scores) + 1)
    return places
