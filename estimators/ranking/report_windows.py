"""What the page, the CSV file and the terminal say of windows of MACs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from estimators.html.page import Difference
from estimators.ranking.macs_windows import macs_in_words
from estimators.ranking.window_comparison import CORRELATIONS, MACS

#: Metrics of a window, in the order of their columns.
WINDOW_METRICS = (*CORRELATIONS, "first_truth", "regret")


class WindowFacts:
    """What follows from the comparison within one window.

    Args:
        window: The window as ``ranking.json`` holds it.
    """

    def __init__(self, window: Mapping[str, Any]) -> None:
        self.window = window
        #: What to call it.
        self.name = f"{macs_in_words(window['target'])} MACs ± {100 * window['tolerance']:g} %"
        others = [each for each in window["estimators"] if each["name"] != MACS]
        #: The baseline; None where nothing was compared.
        self.macs = next((e for e in window["estimators"] if e["name"] == MACS), None)
        #: The estimator of the highest Spearman that is not MACs, None if there is none.
        self.best: Mapping[str, Any] | None = others[0] if others else None

    @property
    def is_led_by_macs(self) -> bool:
        """Whether MACs rank better than everything else, as far as the numbers themselves say."""
        return bool(self.window["estimators"][0]["name"] == MACS)

    @property
    def are_macs_equal(self) -> bool:
        """Whether all of the window have the same MACs, so that these say nothing."""
        return self.macs is not None and self.macs["num_first"][0] == self.window["num_archs"]

    def over_random(self, estimator: Mapping[str, Any], metric: str = "spearman") -> Difference:
        """A correlation, which is what an estimator is better than a random order by."""
        found = estimator["metrics"][metric]
        return Difference(found["mean"], found["low"], found["high"])

    def over_macs(self, estimator: Mapping[str, Any], metric: str = "spearman") -> Difference:
        """A correlation of an estimator minus that of MACs."""
        return Difference(**estimator["minus_macs"][metric])

    def gain(self, estimator: Mapping[str, Any], baseline: str, unit: str) -> Difference:
        """The truth of what an estimator puts first minus that of a baseline.

        Args:
            estimator: The estimator.
            baseline: ``"macs"``, for what has the most MACs, or ``"random"``.
            unit: Unit of the truth.
        """
        digits = 2 if unit == "%" else 3
        return Difference(**estimator[f"minus_{baseline}"]["first_truth"], digits=digits)


def windows_facts(result: Mapping[str, Any]) -> list[WindowFacts]:
    """The facts of each window of a ranking, none where it was not asked for them."""
    return [WindowFacts(each) for each in result.get("macs_windows", {"windows": []})["windows"]]


def window_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a CSV file: of each window its estimators in the mean, and a random pick."""
    for facts in windows_facts(result):
        window = facts.window
        own = {"macs_window": window["target"], "num_archs": window["num_archs"]}
        for estimator in window["estimators"]:
            row = {**own, "estimator": estimator["name"], "supernet": "mean"}
            for metric in WINDOW_METRICS:
                found = estimator["metrics"][metric]
                row |= {metric: found["mean"]}
                row |= {f"{metric}_{end}": found[end] for end in ("low", "high", "sd")}
            for metric, found in estimator["minus_macs"].items():
                row |= {f"{metric}_minus_macs": found["value"]}
                row |= {f"{metric}_minus_macs_{end}": found[end] for end in ("low", "high")}
            yield row
        if window["random"] is not None:
            row = {**own, "estimator": "random pick", "supernet": "mean"}
            for metric, found in window["random"].items():
                row |= {metric: found["mean"]}
                row |= {f"{metric}_{end}": found[end] for end in ("low", "high")}
            yield row


def windows_summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a reader of the terminal wants to know of the windows; empty without any."""
    if "macs_windows" not in result:
        return {}
    found = []
    for facts in windows_facts(result):
        window = facts.window
        each = {"macs": window["target"], "num_archs": window["num_archs"]}
        if window["problem"] is not None:
            found.append({**each, "problem": window["problem"]})
            continue
        scores: dict[str, Any] = {}
        for estimator in window["estimators"]:
            metrics, name = estimator["metrics"], estimator["name"]
            scores[name] = {"spearman": _rounded(metrics["spearman"])}
            if name != MACS:
                scores[name] |= {"minus_macs": _rounded(estimator["minus_macs"]["spearman"])}
            scores[name] |= {"regret": round(metrics["regret"]["mean"], 4)}
        random = {"regret": round(window["random"]["regret"]["mean"], 4)}
        found.append({**each, "scores": scores, "random_pick": random})
    return {"macs_windows": found, "in_no_window": len(result["macs_windows"]["outside"])}


def _rounded(found: Mapping[str, Any]) -> dict[str, float]:
    """A value with the ends of its interval."""
    ends = ("mean", "value", "low", "high")
    return {key: round(found[key], 3) for key in ends if key in found}
