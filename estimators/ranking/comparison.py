"""What all scores of some architectures say about each other: the content of ``ranking.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.rank_metrics import METRICS, Comparison, Summary, compare, rank_correlation_curve
from estimators.ranking.learning_curves import (
    MIN_ARCHS,
    MIN_EPOCHS,
    early_correlations,
    effective_budget,
    first_overfit,
    lc_svr_correlations,
)
from estimators.scores.combined import (
    FITTED,
    MIN_NUM_KNOWN,
    MIN_NUM_UNKNOWN,
    RANK_AVERAGE,
    HeldOut,
    held_out,
)
from estimators.scores.loss_curves import choose_num_batches, prefix_scores, race
from estimators.scores.names import (
    BENCHMARK_SCORES,
    COST_SCORES,
    CURVE_SCORES,
    PROXY_SCORES,
    SECONDS,
    TRAIN_CURVE,
    VAL_CURVE,
    Score,
)
from estimators.scores.score_tables import combined_features, losses_of, score_table
from estimators.scores.windows import default_window
from estimators.trials.store import Trial

#: Parts of a pass that each score has to wait for; a proxy for itself alone.
PARTS = {
    **dict.fromkeys(("tse", "tse_e", "tse_ema", "tlmini"), ("extract", "train")),
    "sovl": ("extract", "train", "sovl"),
    **dict.fromkeys(("val_acc", "val_loss"), ("extract", "val")),
    **dict.fromkeys(("val_acc_after", "val_loss_after"), ("extract", "train", "val_after")),
    **{name: (name,) for name in PROXY_SCORES},
    **dict.fromkeys((*COST_SCORES, *BENCHMARK_SCORES), ()),
}
#: Numbers of steps at which correlations are drawn: of each power of ten 1, 2 and 5.
GRID = tuple(step * 10**power for power in range(6) for step in (1, 2, 5))
#: Splits into known and unknown architectures that a combined score is measured on.
NUM_SPLITS = 100
Floats = NDArray[np.float64]


def compare_scores(
    scores: Sequence[Score],
    trials: Sequence[Sequence[Trial]],
    truth: Floats,
    *,
    notations: Sequence[str],
    top_k: int,
    num_bootstrap: int,
    num_known: int,
    stability: float,
    seed: int,
) -> dict[str, Any]:
    """Compares scores with the truth and with each other.

    Args:
        scores: The scores, each name only once.
        trials: The trials of each supernet that ``trial_of_scores`` returned, one for each
            architecture.
        truth: True values, shape (num_archs,), finite, higher is better.
        notations: Notation of each architecture.
        top_k: Number of architectures that count as the top.
        num_bootstrap: Number of resamples behind the intervals.
        num_known: Number of architectures whose truth a combined score is fitted to.
        stability: Rank correlation with the largest B at which a smaller one is enough.
        seed: Seed of everything that is drawn.

    Returns:
        Plain values; nothing in them is nan.
    """
    by_name = {score.name: score for score in scores}
    tables = {name: score_table(score, trials) for name, score in by_name.items()}
    comparison = compare(tables, truth, k=top_k, num_bootstrap=num_bootstrap, seed=seed)
    names = sorted(by_name, key=lambda name: -comparison.summary(name, "spearman").mean.value)
    curves = _curves(by_name, trials, truth, num_bootstrap, seed)
    losses = [losses_of(each, TRAIN_CURVE) for each in trials]
    has_curves = any(name in CURVE_SCORES for name in names)
    features = [combined_features(scores, each) for each in trials]
    problem = _combined_problem(len(features[0]), len(truth), num_known)
    return {
        "estimators": [
            {
                "name": name,
                "num_steps": losses[0].shape[1] if name in CURVE_SCORES else None,
                "metrics": {m: plain_summary(comparison.summary(name, m)) for m in METRICS},
                "seconds": _seconds(name, trials),
                "diverged": _diverged(comparison, name, notations),
            }
            for name in names
        ],
        "differences": _differences(comparison, names),
        "curves": curves,
        "suggested_num_steps": _suggested(losses, stability) if has_curves else None,
        "race": _race(losses, top_k) if "tse" in names else None,
        "combined": _combined(features, truth, num_known, seed) if problem is None else None,
        "combined_problem": problem,
        "archs": [
            {
                "architecture": notation,
                "truth": float(truth[i]),
                "params": round(trials[0][i].metrics["params"]),
                "macs": round(trials[0][i].metrics["macs"]),
                "scores": {name: _numbers(tables[name][:, i]) for name in names},
            }
            for i, notation in enumerate(notations)
        ],
    }


def not_measured(trials: Sequence[Sequence[Trial]]) -> dict[int, str]:
    """Finds the architectures that cannot be compared, by index, and why.

    A network that diverges has been measured all the same; one that was given up has not.

    Args:
        trials: The trials of each supernet, one for each architecture.
    """
    return {
        i: trial.error or "" for each in trials for i, trial in enumerate(each) if not trial.metrics
    }


def compare_epochs(
    trials: Sequence[Trial], costs: Floats, truth: Floats, *, num_known: int, seed: int
) -> dict[str, Any]:
    """Measures how early the end of trainings from scratch can be told.

    Args:
        trials: Trials of the trainings, with curves of "train_loss" and "val_top1" by epoch.
        costs: Costs of the architectures, such as params and macs, (num_archs, num_costs).
        truth: True values, shape (num_archs,).
        num_known: Number of architectures that LcSVR is fitted to.
        seed: Seed of everything that is drawn.
    """
    train_losses, val_top1 = losses_of(trials, "train_loss"), losses_of(trials, "val_top1")
    num_epochs = train_losses.shape[1]
    epochs = range(1, num_epochs + 1)
    found = early_correlations(train_losses, val_top1, truth, epochs)
    if num_epochs >= MIN_EPOCHS and MIN_ARCHS <= num_known <= len(trials) - MIN_NUM_UNKNOWN:
        found["LcSVR"] = lc_svr_correlations(
            val_top1, costs, truth, epochs, num_train_archs=num_known, seed=seed
        )
    return {
        "epochs": list(epochs),
        "spearman": {name: _numbers(values) for name, values in found.items()},
        "effective_budget": effective_budget(train_losses),
        "first_overfit": first_overfit(train_losses),
    }


def _seconds(name: str, trials: Sequence[Sequence[Trial]]) -> float:
    """Returns the mean seconds of one candidate."""
    parts = PARTS.get(name, (name,))  # a score of one's own is a part by itself
    records = [trial.metrics for each in trials for trial in each]
    return float(np.mean([sum(record[SECONDS + p] for p in parts) for record in records]))


def _diverged(comparison: Comparison, name: str, notations: Sequence[str]) -> list[str]:
    indices = {i for each in comparison.diverged[name] for i in each}
    return [notations[i] for i in sorted(indices)]


def _differences(comparison: Comparison, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the differences of all pairs, the one of better Spearman first."""
    found = []
    for metric in ("spearman", "top_k_mean"):
        for a, b in combinations(names, 2):
            interval = comparison.difference(a, b, metric)
            found.append(
                {
                    "a": a,
                    "b": b,
                    "metric": metric,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "share_above": comparison.share_greater(a, b, metric),
                }
            )
    return found


def _curves(
    scores: Mapping[str, Score],
    trials: Sequence[Sequence[Trial]],
    truth: Floats,
    num_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Correlation of the scores of curves after each number of steps, in the mean of supernets."""
    found: dict[str, Any] = {}
    for name, score in scores.items():
        if name not in CURVE_SCORES:
            continue
        losses = [losses_of(each, VAL_CURVE if name == "sovl" else TRAIN_CURVE) for each in trials]
        num_steps = losses[0].shape[1]
        at = [step for step in GRID if step < num_steps] + [num_steps]
        kind: Any = "tse" if name == "sovl" else name
        options: dict[str, Any] = {}
        if name == "tse_e":
            options["window"] = score.window or default_window(num_steps)
        if name == "tse_ema":
            options["gamma"] = score.gamma
        intervals = [
            rank_correlation_curve(
                -prefix_scores(each, kind, **options),
                truth,
                at,
                num_bootstrap=num_bootstrap,
                seed=seed,
            )
            for each in losses
        ]
        mean = np.mean([[(i.value, i.low, i.high) for i in each] for each in intervals], axis=0)
        found[name] = {
            "num_steps": at,
            **dict(zip(("spearman", "low", "high"), mean.T.tolist(), strict=True)),
            "seconds": [_seconds(name, trials) * step / num_steps for step in at],
        }
    return found


def _suggested(losses: Sequence[Floats], stability: float) -> dict[str, Any]:
    per_supernet = [choose_num_batches(each, stability) for each in losses]
    return {
        "num_steps": max(per_supernet),
        "largest": losses[0].shape[1],
        "threshold": stability,
        "per_supernet": per_supernet,
    }


def _race(losses: Sequence[Floats], k: int) -> dict[str, Any]:
    """What racing would have saved, and whether it would have found the same."""
    races = [race(each, k) for each in losses]
    whole = [np.argsort(prefix_scores(each, "tse")[:, -1], kind="stable")[:k] for each in losses]
    return {
        "k": k,
        "share_saved": [found.share_saved for found in races],
        "is_same_top": all(
            found.top.tolist() == top[: len(found.top)].tolist()
            for found, top in zip(races, whole, strict=True)
        ),
    }


def _combined_problem(num_features: int, num_archs: int, num_known: int) -> str | None:
    """Says why there is no combined score, if there is none."""
    if num_features < 2:
        return "It needs two or more scores."
    if num_known < MIN_NUM_KNOWN:
        return f"A fit needs at least {MIN_NUM_KNOWN} known truths, it would have {num_known}."
    num_unknown = max(0, num_archs - num_known)
    if num_unknown < MIN_NUM_UNKNOWN:
        return (
            f"Fitted to {num_known} of {num_archs} architectures it would be judged on the other "
            f"{num_unknown}, which are too few; {MIN_NUM_UNKNOWN} are needed."
        )
    return None


def _combined(
    features: Sequence[Mapping[str, Floats]], truth: Floats, num_known: int, seed: int
) -> dict[str, Any]:
    """A score fitted to the few whose truth is known, beside its parts, on all others.

    One is fitted for each supernet, to the same architectures; correlations are their means.
    """
    per_supernet = [held_out(each, truth, num_known, NUM_SPLITS, seed) for each in features]
    found = HeldOut(
        num_known=num_known,
        num_unknown=len(truth) - num_known,
        spearman={
            name: np.mean([each.spearman[name] for each in per_supernet], axis=0)
            for name in per_supernet[0].spearman
        },
    )
    parts = []
    for name in (RANK_AVERAGE, *features[0]):
        interval = found.difference(FITTED, name)
        parts.append(
            {
                "name": name,
                "mean": found.mean(name),
                "sd": found.sd(name),
                "difference": interval.value,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return {
        "num_known": num_known,
        "num_unknown": len(truth) - num_known,
        "num_splits": NUM_SPLITS,
        "features": list(features[0]),
        "spearman": {
            "mean": found.mean(FITTED),
            "sd": found.sd(FITTED),
            "per_supernet": [each.mean(FITTED) for each in per_supernet],
        },
        "parts": sorted(parts, key=lambda part: -part["mean"]),
    }


def plain_summary(summary: Summary) -> dict[str, Any]:
    """Returns a metric of an estimator as plain values."""
    return {
        "mean": summary.mean.value,
        "sd": summary.sd,
        "low": summary.mean.low,
        "high": summary.mean.high,
        "per_supernet": [
            {"value": each.value, "low": each.low, "high": each.high}
            for each in summary.per_supernet
        ],
    }


def _numbers(values: Floats) -> list[float | None]:
    """Replaces nan by None for JSON, which has no nan."""
    return [None if math.isnan(value) else float(value) for value in values]
