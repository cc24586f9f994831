"""A search by validation accuracy of images in files, stopped and continued: the same trials."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import supernets.cli.train
from estimators.scores import minibatches
from search.cli.search import main
from supernets.data import decoded_loader, loaders
from tests.search.cli.conftest import TINY


def trials(run: Path) -> list[Any]:
    with sqlite3.connect(run / "trials.db") as connection:
        return connection.execute("SELECT number, score, metrics FROM trials").fetchall()


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_a_continued_search_has_the_trials_of_decoding_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(loaders, "MEMORY_BUDGET", 0)
    monkeypatch.setattr(decoded_loader, "MEMORY_BUDGET", 0)
    data = ["--dataset", "folder", "--data-dir", str(tmp_path / "images"), "--num-workers", "0"]
    supernet = tmp_path / "supernet"
    assert supernets.cli.train.main([*TINY.split(), *data, "--output", str(supernet)]) == 0

    def search(output: str, num_trials: int) -> list[Any]:
        flags = f"--algorithm random --estimator val_acc --num-trials {num_trials} --num-workers 0"
        given = ["--supernet", str(supernet / "last.pt"), "--output", str(tmp_path / output)]
        assert main([*given, *flags.split()]) == 0
        return trials(tmp_path / output)

    capsys.readouterr()
    search("run", 2)
    assert capsys.readouterr().err.count("val images once; they are") == 1
    found = search("run", 5)
    monkeypatch.setattr(minibatches, "decoded_once", lambda loader, what: loader)
    search("plain", 2)
    assert found == search("plain", 5) and len(found) == 5
