"""A supernet to search, and searches without pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

import search.runs.results
import supernets.cli.train

TINY = "--channels 4 --cells-per-stage 1 --batch-size 400 --num-probes 0 --epochs 1 --paths uniform"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A digits supernet of one epoch."""
    output = tmp_path_factory.mktemp("supernet")
    assert supernets.cli.train.main([*TINY.split(), "--output", str(output)]) == 0
    return output / "last.pt"


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than small searches."""
    monkeypatch.setattr(search.runs.results, "plot_trials", lambda *args, **settings: None)
