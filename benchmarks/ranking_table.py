#!/usr/bin/env python3
"""Rankings of several training strategies in the layout of the TSE paper's Table 4, beside it.

Strategies that the table does not have, such as those of other spaces, stand alone. The result
holds the scores of every cell, so that anything else can be computed from it, and the difference of
TSE to every other score with its interval, paired by resampled cells.

Paper: Speedy Performance Estimation for Neural Architecture Search (B = 100, NAS-Bench-201,
CIFAR-10, 200 cells), https://arxiv.org/abs/2006.04492

    python benchmarks/ranking_table.py --output benchmarks/results/ranking_strategies.json \
        --rankings RandNAS=runs/rank_rand/ranking.json FairNAS=runs/rank_fair/ranking.json \
        MultiPaths=runs/rank_multi/ranking.json --note "..."
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hardware import write_result

from estimators.ranking.report_facts import difference

#: Mean and deviation over 3 supernets of the Spearman correlation, and of the mean true accuracy of
#: the top 10, by score and strategy.
PAPER = {
    "tse": {
        "RandNAS": ((0.70, 0.02), (92.67, 0.12)),
        "FairNAS": ((0.84, 0.01), (92.70, 0.10)),
        "MultiPaths": ((0.83, 0.01), (92.63, 0.12)),
    },
    "val_acc_after": {
        "RandNAS": ((0.44, 0.15), (91.47, 0.31)),
        "FairNAS": ((0.56, 0.17), (91.73, 0.21)),
        "MultiPaths": ((0.67, 0.05), (91.77, 0.78)),
    },
    "sovl": {
        "RandNAS": ((0.54, 0.13), (92.57, 0.15)),
        "FairNAS": ((0.84, 0.06), (92.67, 0.06)),
        "MultiPaths": ((0.83, 0.01), (92.73, 0.06)),
    },
    "tlmini": {
        "RandNAS": ((0.62, 0.03), (91.80, 0.40)),
        "FairNAS": ((0.72, 0.09), (92.33, 0.40)),
        "MultiPaths": ((0.74, 0.02), (92.43, 0.06)),
    },
}
TARGETS = (
    "TSE above val accuracy everywhere, interval of the difference above 0; "
    "FairNAS TSE at least 0.80; combined at least 0.88 and clear of MACs"
)
FIELDS = ("mean", "sd", "low", "high")


def main() -> None:
    """Writes the table as JSON, and to the terminal as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rankings", nargs="+", required=True, metavar="NAME=FILE")
    add("--output", type=Path, required=True)
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    rankings = {}
    for item in args.rankings:
        name, _, path = item.partition("=")
        rankings[name] = json.loads(Path(path).read_text(encoding="utf-8"))
    result = {name: summary(name, ranking) for name, ranking in rankings.items()}
    write_result(
        args.output,
        {
            "note": args.note,
            **({"targets": TARGETS} if set(result) & set(PAPER["tse"]) else {}),
            "strategies": result,
        },
    )
    print(markdown(result), file=sys.stderr)


def summary(strategy: str, ranking: dict[str, Any]) -> dict[str, Any]:
    """What one ranking says, beside what the paper has."""
    scores = {}
    for each in ranking["estimators"]:
        name = each["name"]
        paper = PAPER.get(name, {}).get(strategy)
        scores[name] = {
            "spearman": {key: each["metrics"]["spearman"][key] for key in FIELDS},
            f"top_{ranking['top_k']}_mean": {
                key: each["metrics"]["top_k_mean"][key] for key in FIELDS
            },
            "seconds": each["seconds"],
            "paper": paper and {"spearman": paper[0], "top_10_mean": paper[1]},
        }
    return {
        "command": ranking["command"],
        "num_supernets": len(ranking["supernets"]),
        "num_archs": ranking["num_archs"],
        "settings": ranking["settings"],
        "truth": ranking["truth"],
        "noise_ceiling": ranking.get("noise_ceiling"),
        "scores": scores,
        "tse_minus": {
            other: found and {key: getattr(found, key) for key in ("value", "low", "high")}
            for other in scores
            if other != "tse"
            for found in [difference(ranking, "tse", other)]
        },
        "combined": ranking["combined"],
        "race": ranking["race"],
        "suggested_num_steps": ranking["suggested_num_steps"],
        "curves": ranking["curves"],
        "early": ranking["early"],
        "cells": cells(ranking),
    }


def cells(ranking: dict[str, Any]) -> dict[str, Any]:
    """What is known of every architecture, in columns; scores are higher-is-better.

    Scores, to 9 digits, are lists of one number an architecture, one list a supernet; null is what
    diverged.
    """
    archs = ranking["archs"]
    names = [each["name"] for each in ranking["estimators"]]
    return {
        **{key: [arch[key] for arch in archs] for key in ("architecture", "truth")},
        "scores": {
            name: [
                [digits(arch["scores"][name][i]) for arch in archs]
                for i in range(len(ranking["supernets"]))
            ]
            for name in names
        },
    }


def digits(score: float | None) -> float | None:
    """Nine digits of a score."""
    return None if score is None else float(f"{score:.9g}")


def markdown(strategies: dict[str, Any]) -> str:
    """One row a score; ours, then the paper's in brackets."""
    names = list(strategies)
    rows = ["| score | " + " | ".join(names) + " | seconds |", "|---" * (len(names) + 2) + "|"]
    for score in next(iter(strategies.values()))["scores"]:
        texts = [score]
        for name in names:
            found = strategies[name]["scores"][score]
            value, paper = found["spearman"], found["paper"]
            spread = f" ± {value['sd']:.2f}" if value["sd"] is not None else ""
            text = f"{value['mean']:.2f}{spread} [{value['low']:.2f}, {value['high']:.2f}]"
            texts.append(text + (f" ({paper['spearman'][0]:.2f})" if paper else ""))
        texts.append(f"{strategies[names[0]]['scores'][score]['seconds']:.1f}")
        rows.append("| " + " | ".join(texts) + " |")
    rows += ["", "| TSE minus | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for other in strategies[names[0]]["tse_minus"]:
        found = [strategies[name]["tse_minus"][other] for name in names]
        differences = [
            f"{each['value']:+.3f} [{each['low']:.3f}, {each['high']:.3f}]" if each else ""
            for each in found
        ]
        rows.append("| " + " | ".join([other, *differences]) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
