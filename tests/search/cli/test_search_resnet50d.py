"""Elastic ResNet-50D by commands alone: the recipe for digits, shorter, and searches of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import supernets.cli.train
from search.cli.search import main
from supernets import load_subnet, load_supernet
from tests.commands import TORCH_EXPORT

ROOT = Path(__file__).parents[3]

pytestmark = [TORCH_EXPORT, pytest.mark.slow]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The supernet of the recipe after one of its epochs, of a part of the images."""
    output = tmp_path_factory.mktemp("resnet50d")
    recipe = ["--config", str(ROOT / "recipes" / "digits_resnet50d.yaml")]
    shorter = "--epochs 1 --warmup-epochs 0 --num-probes 0 --val-fraction 0.7".split()
    assert supernets.cli.train.main([*recipe, *shorter, "--output", str(output)]) == 0
    return output / "last.pt"


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(capsys.readouterr().out)
    return block


def test_weaknas_by_tse_exports_a_subnet(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_plots: None
) -> None:
    flags = (
        "--algorithm weaknas --estimator tse --tse-batches 2 --num-trials 4 --num-initial 2 "
        "--batch-size 2 --max-macs 900000"
    ).split()
    output, subnet = tmp_path / "search", tmp_path / "subnet"
    flags += ["--supernet", str(checkpoint), "--output", str(output), "--export", str(subnet)]
    assert main(flags) == 0
    block = found(capsys)
    assert (block["space"], block["trials"], block["failed"]) == ("resnet50d", 4, 0)
    assert block["export"]["cost"]["macs"] <= 900_000
    supernet = load_supernet(checkpoint)
    arch = supernet.space.parse(block["best"][0]["architecture"])
    own, network = supernet.state_dict(), load_subnet(subnet)
    for name, weight in network.named_parameters():
        assert torch.equal(weight, own[name][tuple(slice(size) for size in weight.shape)])
    assert {name for name, _ in network.named_parameters()} == {
        name for name, _ in supernet.extract(arch).named_parameters()
    }


@pytest.mark.parametrize(
    "flags",
    [
        "--algorithm structural-bo --estimator naswot --num-trials 4 --num-initial 2",
        "--algorithm random --estimator val_acc --num-trials 1 --recalibrate-batches 1",
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
