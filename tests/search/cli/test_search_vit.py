"""Elastic Vision Transformers by commands alone: the recipe for digits, searches, exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import supernets.cli.retrain
import supernets.cli.train
from search.cli.search import main
from supernets import load_subnet, load_supernet
from tests.commands import TORCH_EXPORT, error_line_of

ROOT = Path(__file__).parents[3]

pytestmark = [TORCH_EXPORT, pytest.mark.slow]
error_line = error_line_of("supernet-search")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The supernet of the recipe after three of its epochs."""
    output = tmp_path_factory.mktemp("vit")
    recipe = ["--config", str(ROOT / "recipes" / "digits_vit.yaml")]
    shorter = "--epochs 3 --warmup-epochs 1 --num-probes 1".split()
    assert supernets.cli.train.main([*recipe, *shorter, "--output", str(output)]) == 0
    return output / "last.pt"


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(capsys.readouterr().out)
    return block


def test_weaknas_by_tse_exports_a_transformer_that_is_trained_on(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_plots: None
) -> None:
    flags = (
        "--algorithm weaknas --estimator tse --tse-batches 3 --num-trials 6 --num-initial 3 "
        "--batch-size 3 --max-macs 700000"
    ).split()
    output, subnet = tmp_path / "search", tmp_path / "subnet"
    flags += ["--supernet", str(checkpoint), "--output", str(output), "--export", str(subnet)]
    assert main(flags) == 0
    block = found(capsys)
    assert (block["space"], block["trials"], block["failed"]) == ("vit", 6, 0)
    assert block["export"]["cost"]["macs"] <= 700_000
    supernet = load_supernet(checkpoint)
    x = torch.randn(4, *supernet.input_size)
    arch = supernet.space.parse(block["best"][0]["architecture"])
    with torch.inference_mode():
        assert torch.equal(load_subnet(subnet)(x), supernet(x, arch))

    flags = "--epochs 1 --opt adamw --lr 0.001 --min-lr 0 --drop-path 0.1 --formats".split()
    flags += ["--subnet", str(subnet), "--output", str(tmp_path / "trained")]
    assert supernets.cli.retrain.main(flags) == 0
    assert found(capsys)["status"] == "finished"


@pytest.mark.parametrize(
    "flags",
    [
        "--algorithm structural-bo --estimator val_acc --num-trials 12 --num-initial 6",
        "--algorithm local-search --estimator naswot --num-trials 6",
        "--algorithm neural-predictor --estimator macs --num-trials 8 --num-initial 6",
        "--algorithm regularized-evolution --estimator grasp --num-trials 6 --population-size 4 "
        "--tournament-size 2",
    ],
)
def test_other_searches_find_one(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_plots: None,
    flags: str,
) -> None:
    where = ["--supernet", str(checkpoint), "--output", str(tmp_path)]
    assert main([*flags.split(), *where]) == 0
    assert found(capsys)["failed"] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--estimator synflow", "LayerNorm, which this network has, divides it out"),
        ("--estimator val_acc --recalibrate-batches 4", "A vit supernet has no BatchNorm"),
    ],
)
def test_what_says_nothing_of_transformers_is_refused(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    message: str,
) -> None:
    where = ["--supernet", str(checkpoint), "--output", str(tmp_path / "search")]
    assert main(["--algorithm", "random", "--num-trials", "4", *flags.split(), *where]) == 2
    assert message in error_line(capsys)
