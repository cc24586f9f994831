"""``supernet-retrain --arch``: which network an architecture alone stands for, and its training."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import MobileNetV3
from torch import Tensor, nn

import search.cli.search
from supernets import load_subnet
from supernets.cli.retrain import main
from supernets.data.loaders import create_loaders
from supernets.export import retrain
from supernets.export.folder import read_subnet_record
from supernets.export.retrain_source import RetrainSource
from supernets.export.subnet import data_record
from supernets.spaces.factory import create_space
from supernets.training import standalone as standard_training
from supernets.training.evaluation import evaluate
from supernets.training.standalone import training_loss
from tests.commands import TORCH_EXPORT

CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
#: The cells that DARTS found second.
GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
#: One of elastic MobileNetV3, at its smallest.
BLOCKS = f"d=2,2,2,2,2;k={','.join(['3,3,-,-'] * 5)};e={','.join(['3,3,-,-'] * 5)}"
TINY = "--epochs 2 --batch-size 400 --lr 0.05 --no-amp --formats".split()
SMALL_CELLS = "--channels 4 --cells-per-stage 1".split()
SMALL_GENOTYPE = "--channels 2 --layers 3".split()

pytestmark = TORCH_EXPORT


def run(arch: str, output: Path, *flags: str) -> int:
    return main(["--arch", arch, "--output", str(output), *TINY, *flags])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training of ``CELL``; never written to."""
    output = tmp_path_factory.mktemp("trained")
    assert run(CELL, output, "--space", "nasbench201", *SMALL_CELLS) == 0
    return output


def test_an_architecture_is_trained_and_handed_over(trained: Path) -> None:
    subnet, record = load_subnet(trained / "subnet"), read_subnet_record(trained / "subnet")
    assert (record["space"], record["architecture"]) == ("nasbench201", CELL)
    assert record["settings"] == {
        "num_classes": 10,
        "channels": 4,
        "cells_per_stage": 1,
        "input_size": [1, 8, 8],
    }
    assert record["provenance"] == {"arch": CELL}
    assert record["recipe"]["weights"] == "fresh"
    assert record["cost"]["params"] == sum(p.numel() for p in subnet.parameters())
    loaders = create_loaders("digits")  # with the splits that supernet-train would draw
    assert record["data"] == data_record(loaders)
    test = evaluate(subnet, loaders.test, device=torch.device("cpu"))
    assert record["metrics"]["test_loss"] == pytest.approx(test.loss)
    args = json.loads((trained / "args.json").read_text())["args"]
    assert (args["arch"], args["dataset"], args["subnet"]) == (CELL, "digits", None)


def test_the_training_is_that_of_the_subnet_of_this_architecture(
    trained: Path, tmp_path: Path
) -> None:
    subnet = trained / "subnet"
    flags = ["--subnet", str(subnet), "--space", "nasbench201", "--output", str(tmp_path), *TINY]
    assert main(flags) == 0
    weights = [(o / "subnet" / "weights.safetensors").read_bytes() for o in (trained, tmp_path)]
    assert weights[0] == weights[1]
    record = read_subnet_record(tmp_path / "subnet")
    assert record["provenance"] == {"subnet": "subnet", "exported": {"arch": CELL}}


@pytest.mark.slow
def test_a_stopped_genotype_is_resumed_with_the_same_settings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--space", "darts", *SMALL_GENOTYPE]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(GENOTYPE, whole, *flags) == 0
    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_loss(*args, **settings)

    monkeypatch.setattr(standard_training, "training_loss", loss)
    assert run(GENOTYPE, parts, *flags) == 130
    other = GENOTYPE.replace("'dil_conv_3x3', 2", "'dil_conv_5x5', 2")
    for arch, changed, message in (
        (GENOTYPE, ["--channels", "4"], "channels was 2 and is now 4"),
        (GENOTYPE, ["--val-fraction", "0.5"], "val_fraction was 0.2 and is now 0.5"),
        (GENOTYPE, ["--space", "nasnet"], "space was darts and is now nasnet"),
        (other, [], "architecture was "),
    ):
        assert run(arch, parts, *flags, *changed, "--resume") == 2
        assert message in capsys.readouterr().err
    assert not (parts / "subnet").exists()
    assert run(GENOTYPE, parts, *flags, "--resume") == 0
    assert len(load_subnet(parts / "subnet").skeleton.cells) == 3
    weights = [(o / "subnet" / "weights.safetensors").read_bytes() for o in (whole, parts)]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``best.json`` of a search of a table, which exports nothing."""
    folder = tmp_path_factory.mktemp("search")
    space = create_space("nasbench201")
    rows = [f"{space.format(arch)},{n}" for n, arch in enumerate(space.enumerate())]
    (folder / "table.csv").write_text("\n".join(["arch_str,accuracy", *rows]) + "\n")
    table = ["--estimator", "table", "--table", str(folder / "table.csv")]
    names = "--space nasbench201 --table-column accuracy --algorithm random --num-trials 3".split()
    assert search.cli.search.main([*table, *names, "--output", str(folder)]) == 0
    return folder / "best.json"


@pytest.mark.parametrize("flags", [[], ["--space", "nasbench201"]])
def test_the_best_of_a_search_is_trained(best: Path, tmp_path: Path, flags: list[str]) -> None:
    assert run(str(best), tmp_path, *SMALL_CELLS, *flags) == 0
    trial = json.loads(best.read_text())["best"][0]
    record = read_subnet_record(tmp_path / "subnet")
    assert record["architecture"] == trial["architecture"]
    assert record["provenance"] == {"arch": best.name, "trial": trial}
    load_subnet(tmp_path / "subnet")
    # what decides the training is the architecture, not where it was read
    notation = ["--space", "nasbench201", *SMALL_CELLS, "--resume"]
    assert run(trial["architecture"], tmp_path, *notation) == 0


def test_what_is_no_best_json_of_this_space_is_refused(
    best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(best), tmp_path / "output", "--space", "darts") == 2
    assert f"{best} is from space 'nasbench201', not 'darts'; leave" in capsys.readouterr().err
    table_only = tmp_path / "best.json"
    table_only.write_text(json.dumps({"space": "nasbench101", "best": [{"architecture": "x"}]}))
    assert run(str(table_only), tmp_path / "output") == 2
    assert "'nasbench101', which has no networks to train; those" in capsys.readouterr().err
    table_only.write_text("{}")
    assert run(str(table_only), tmp_path / "output") == 2
    assert "is not a best.json of supernet-search" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("space", "arch", "sizes", "side", "expected"),
    [
        ("nasbench201", CELL, {}, 32, {"channels": 16, "cells_per_stage": 5}),
        ("darts", GENOTYPE, {}, 95, {"channels": 16, "layers": 8, "stem": "cifar"}),
        ("darts", GENOTYPE, {}, 96, {"channels": 16, "layers": 8, "stem": "imagenet"}),
        (
            "nasnet",
            GENOTYPE,
            {"channels": 36, "layers": 20, "stem": "cifar"},
            96,
            {"channels": 36, "layers": 20, "stem": "cifar"},
        ),
        (
            "mobilenetv3",
            BLOCKS,
            {},
            160,
            {"width": 1.0, "strides": (2, 2, 2, 2, 1, 2), "resolutions": ()},
        ),
    ],
)
def test_what_is_not_asked_for_is_as_the_space_has_it(
    space: str, arch: str, sizes: dict[str, Any], side: int, expected: dict[str, Any]
) -> None:
    source = RetrainSource.of_architecture(arch, space)
    assert (source.data, source.weights, source.weights_sha256) == (None, None, None)
    settings = source.network_settings(7, (3, side, side), sizes, keep_weights=False)
    assert settings == {"num_classes": 7, "input_size": (3, side, side), **expected}


@pytest.fixture
def network_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., nn.Module]:
    """Gives the network that a command would train, without training."""

    class Captured(Exception):
        pass

    def network_of(arch: str, output: Path, *flags: str) -> nn.Module:
        with pytest.raises(Captured) as caught:
            run(arch, output, *flags)
        network: nn.Module = caught.value.args[0]
        return network

    def train(network: nn.Module, *args: Any, **settings: Any) -> None:
        raise Captured(network)

    monkeypatch.setattr(retrain, "train_standalone", train)
    return network_of


def test_networks_have_what_is_for_training_alone(
    tmp_path: Path, network_of: Callable[..., nn.Module]
) -> None:
    flags = "--space darts --image-size 32 --aux-weight 0.4 --drop-path 0.2".split()
    network = network_of(GENOTYPE, tmp_path, *flags, *SMALL_GENOTYPE)
    assert network.skeleton.auxiliary is not None
    assert network.drop_path.drop_prob == 0.2


def test_a_mobilenetv3_has_the_resolution_of_its_images(
    tmp_path: Path, network_of: Callable[..., nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    large = network_of(BLOCKS, tmp_path, "--space", "mobilenetv3", "--image-size", "32")
    assert isinstance(large, MobileNetV3)
    assert large.conv_stem.weight.shape == (16, 1, 3, 3)
    with torch.inference_mode():
        assert large.eval().forward_features(torch.zeros(1, 1, 64, 64)).shape[-2:] == (2, 2)
    for arch, flags, message in (
        (BLOCKS, ["--channels", "4"], "Networks of space 'mobilenetv3' have no --channels; leave"),
        (BLOCKS, [], "Images of 8 pixels are smaller than the network's total stride of 32;"),
        (BLOCKS + ";r=32", [], "has one of the resolutions that its supernet searched; export it"),
    ):
        assert run(arch, tmp_path / "output", "--space", "mobilenetv3", *flags) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--arch in a space's notation needs --space; choose from nasbench201,"),
        (["--space", "darts"], "is not an architecture of space 'darts'"),
        (["--space", "nasbench201", "--finetune"], "--arch is an architecture without weights;"),
        (["--space", "nasbench201", "--layers", "4"], "have no --layers; leave it out."),
        (["--space", "nasbench201", "--aux-weight", "0.4"], "have no --aux-weight; leave it out."),
        (["--space", "nasbench201", "--dataset", "cifar10"], "cifar10 needs the folder of its"),
        (["--space", "nasbench201", "--resume"], "There is no checkpoint at"),
        (["--subnet", "x"], "--subnet and --arch both say what to train; leave one of them out."),
    ],
)
def test_mistakes_are_refused_before_any_work(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    assert run(CELL, output, *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("supernet-retrain: error: ") and len(error.splitlines()) == 1
    assert message in error
    assert not output.exists() or not list(output.iterdir())


def test_a_subnet_of_another_space_than_is_asked_for_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--subnet", str(trained / "subnet"), "--space", "nasnet", *TINY]
    assert main([*flags, "--output", str(tmp_path / "output")]) == 2
    assert "is a subnet of space 'nasbench201', not 'nasnet'; leave" in capsys.readouterr().err
