"""Recipes for digits: a few of their epochs, after which random subnets are above chance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import supernets.cli.train
from search.cli.search import main

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "epochs"), [("nasbench_macro", 8), ("proxylessnas", 7), ("resnet50d", 2)]
)
def test_random_subnets_of_recipes_learn(
    space: str, epochs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_plots: None
) -> None:
    flags = ["--config", str(ROOT / "recipes" / f"digits_{space}.yaml")]
    flags += ["--epochs", str(epochs), "--num-probes", "0", "--output", str(tmp_path / "train")]
    assert supernets.cli.train.main(flags) == 0
    capsys.readouterr()
    flags = "--algorithm random --estimator val_acc --recalibrate-batches 4 --num-trials 4".split()
    flags += [
        "--supernet",
        str(tmp_path / "train" / "last.pt"),
        "--output",
        str(tmp_path / "search"),
    ]
    assert main(flags) == 0
    scores = [trial["score"] for trial in json.loads(capsys.readouterr().out)["best"]]
    assert min(scores) > 20  # percent; chance is 10
