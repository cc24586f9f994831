"""Rankings made up for the tests of what is written of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', {}), "
    "('dil_conv_5x5', 1), ('max_pool_3x3', 0), ('skip_connect', 1), ('avg_pool_3x3', 2), "
    "('sep_conv_5x5', 1)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('skip_connect', 0)], reduce_concat=range(2, 6))"
)


def make_result(
    names: Sequence[str] = ("tse", "val_acc", "macs"),
    *,
    num_archs: int = 40,
    num_supernets: int = 2,
    notation: str = "|op~{}|",
    is_full: bool = True,
) -> dict[str, Any]:
    """A ranking whose estimators get worse by 0.1 in Spearman, each difference +-0.04."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(80, 94, num_archs)
    singles = range(num_supernets)

    def interval(value: float, width: float) -> dict[str, float]:
        return {"value": value, "low": value - width, "high": value + width}

    def metric(value: float, width: float) -> dict[str, Any]:
        mean = {"mean": value, "sd": 0.01 if num_supernets > 1 else None, **interval(value, width)}
        del mean["value"]
        return {**mean, "per_supernet": [interval(value + i, width) for i in singles]}

    estimators = [
        {
            "name": name,
            "num_steps": 100 if name == "tse" else None,
            "metrics": {
                "spearman": metric(0.9 - 0.1 * i, 0.05),
                "kendall_tau_b": metric(0.7 - 0.1 * i, 0.05),
                "pearson": metric(0.8 - 0.1 * i, 0.05),
                "precision_at_k": metric(0.6, 0.2),
                "top_k_regret": metric(0.25, 0.1),
                "top_k_mean": metric(93.0 - i, 0.3),
            },
            "seconds": {"tse": 3.2, "macs": 0.00002}.get(name, 2.5),
            "diverged": [],
        }
        for i, name in enumerate(names)
    ]
    differences = [
        {"a": a, "b": b, "metric": "spearman", **interval(0.1 * (j - i), 0.04), "share_above": 1.0}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j
    ]
    archs = [
        {
            "architecture": notation.format(i),
            "truth": float(truth[i]),
            "params": 73_306 + i,
            "macs": 7_783_050 + i,
            "scores": {name: [float(truth[i] + rng.normal()) for _ in singles] for name in names},
        }
        for i in range(num_archs)
    ]
    curve = {"num_steps": [1, 10, 100], "spearman": [0.5, 0.8, 0.9], "seconds": [0.05, 0.4, 3.2]}
    curve |= {"low": [0.4, 0.7, 0.85], "high": [0.6, 0.9, 0.95]}
    suggested = {"num_steps": 37, "threshold": 0.98, "per_supernet": [35, 37], "largest": 100}
    race = {"k": 10, "share_saved": [0.41, 0.45], "is_same_top": True}
    part = {"name": "tse", "mean": 0.9, "sd": 0.02, "difference": 0.03, "low": 0.01, "high": 0.05}
    combined = {
        "num_known": 8,
        "num_unknown": 32,
        "num_splits": 20,
        "features": ["tse", "macs"],
        "spearman": {"mean": 0.93, "sd": 0.01},
        "parts": [part],
    }
    early = {
        "epochs": [1, 2, 3],
        "spearman": {"TSE": [0.5, 0.6, 0.7], "LcSVR": [None, None, 0.6]},
        "effective_budget": 2,
        "first_overfit": 3,
    }
    quality = {"val_top1": 41.5, "best_val_top1": 60.25, "num_val_images": 5120, "epochs": 96}
    quality |= {"probe_val_top1": 55.0, "chance": 10.0, "is_above_chance": True}
    truth_facts = {"source": "table a.csv", "unit": "%", "mean": 87.0, "sd": 4.0, "best": 94.0}
    ceiling = {"spearman": 0.97, "test_images": 10_000, "by_test_set": 0.97}
    return {
        "space": "nasbench201",
        "num_archs": num_archs,
        "top_k": 10,
        "num_bootstrap": 1000,
        "date": "2026-11-22",
        "command": "supernet-rank --output run",
        "truth": {**truth_facts, "test_images": 10_000},
        "noise_ceiling": {**ceiling, "num_seeds": 0, "by_seeds": None},
        "supernets": [
            {"name": f"fair-{i}", "path": f"{i}.pt", "digest": "abc", **quality} for i in singles
        ],
        "settings": {"training": {"lr": 0.025, "batches": None}, "device": "cpu"},
        "estimators": estimators,
        "differences": differences,
        "curves": {"tse": curve} if is_full else {},
        "suggested_num_steps": suggested if is_full else None,
        "race": race if is_full else None,
        "combined": combined if is_full else None,
        "early": early if is_full else None,
        "archs": archs,
    }
