"""The table of rankings keeps every cell's scores and pairs TSE with every other score."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``benchmarks/ranking_table.py``, imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("table", BENCHMARKS / "ranking_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_ranking(names: list[str], num_supernets: int) -> dict[str, Any]:
    """Of three cells, as ``supernet-rank`` writes it."""
    metric = {"mean": 0.5, "sd": None, "low": 0.4, "high": 0.6}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return {
        "command": "supernet-rank",
        "supernets": [{"name": str(i)} for i in range(num_supernets)],
        "num_archs": 3,
        "top_k": 2,
        "settings": {"tse_window": 30},
        "truth": {"source": "table"},
        "estimators": [
            {"name": name, "metrics": {"spearman": metric, "top_k_mean": metric}, "seconds": 1.0}
            for name in names
        ],
        "differences": [
            {"a": a, "b": b, "metric": "spearman", "value": 0.1, "low": -0.05, "high": 0.25}
            for a, b in pairs
        ],
        "archs": [
            {
                "architecture": f"|cell~{i}|",
                "truth": 90.0 + i,
                "scores": {name: [i + j / 3 for j in range(num_supernets)] for name in names},
            }
            for i in range(3)
        ],
        **dict.fromkeys(("combined", "race", "suggested_num_steps", "curves", "early")),
    }


def test_scores_of_every_cell_and_paired_differences_are_stored(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = make_ranking(["macs", "tse", "benchmark_macs", "val_acc"], 2)
    ranking["archs"][1]["scores"]["val_acc"][0] = None
    (tmp_path / "ranking.json").write_text(json.dumps(ranking))
    given = ["--rankings", f"FairNAS={tmp_path / 'ranking.json'}", "--output"]
    monkeypatch.setattr(sys, "argv", ["ranking_table.py", *given, str(tmp_path / "table.json")])
    script.main()
    text = (tmp_path / "table.json").read_text()
    found = json.loads(text)["strategies"]["FairNAS"]
    assert found["settings"] == {"tse_window": 30}
    assert found["tse_minus"] == {
        "macs": {"value": -0.1, "low": -0.25, "high": 0.05},
        "benchmark_macs": {"value": 0.1, "low": -0.05, "high": 0.25},
        "val_acc": {"value": 0.1, "low": -0.05, "high": 0.25},
    }
    cells = found["cells"]
    assert cells["architecture"] == ["|cell~0|", "|cell~1|", "|cell~2|"]
    assert cells["truth"] == [90, 91, 92]
    assert cells["scores"]["tse"] == [[0, 1, 2], [0.333333333, 1.33333333, 2.33333333]]
    assert cells["scores"]["val_acc"][0] == [0, None, 2]
    assert "[90.0, 91.0, 92.0]" in text  # on one line
