"""Versions that a result records."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

import supernets
from supernets.runtime.versions import versions


def test_versions_need_no_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("supernets.runtime.versions.version", missing)
    found = versions()
    assert found["paceline"] == supernets.__version__
    assert found["torch"] == found["scikit-learn"] == "unknown"
