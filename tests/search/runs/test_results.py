"""Exports of a search know it by what decided its trials."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from search.runs import results as search_result
from search.runs.results import check_export


def header(table: str, digest: str) -> dict[str, Any]:
    return {"seed": 0, "estimator": {"name": "table", "table": table, "table_digest": digest}}


def test_a_search_replaces_its_own_export_whatever_its_table_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {
        "format": "paceline-subnet",
        "version": 1,
        "space": "nasbench201",
        "architecture": "any",
        "settings": {},
        "cost": {},
        "metrics": {},
        "data": {},
        "provenance": {"search_digest": search_result._search_digest(header("a.csv", "1"))},
    }
    (tmp_path / "subnet.json").write_text(json.dumps(record))
    args = argparse.Namespace(export=tmp_path, overwrite=False)
    check_export(args, header("b.csv", "1"))
    with pytest.raises(ValueError, match="--overwrite"):
        check_export(args, header("a.csv", "2"))
