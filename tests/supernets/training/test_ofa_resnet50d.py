"""Released weights of OFA-ResNet50: their names and shapes, and what is said of other files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernets.cli.train import main
from supernets.networks.base import Supernet
from supernets.networks.resnet50d import ResNet50DSupernet
from supernets.spaces.factory import SPACES
from supernets.training.ofa_resnet50d import to_ofa_resnet_state_dict
from supernets.training.released_files import read_released
from supernets.training.released_weights import released_network
from tests.commands import error_line_of

BATCHNORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
NETWORK = released_network(SPACES.find("resnet50d"))
SIZE = {"input_size": (3, 16, 16), "strides": (2, 1)}


def load(path: Path, **settings: Any) -> ResNet50DSupernet:
    released = read_released(path, expected=NETWORK.expected)
    supernet = NETWORK.supernet(released, **{**SIZE, "num_classes": None, **settings})
    assert isinstance(supernet, ResNet50DSupernet)
    return supernet


@pytest.fixture
def source(make_supernet: Callable[..., Supernet]) -> ResNet50DSupernet:
    supernet = make_supernet("resnet50d")
    assert isinstance(supernet, ResNet50DSupernet)
    return supernet


def published_names() -> set[str]:
    """The tensors of the released file, written out by the structure of the network."""
    names = {f"classifier.linear.linear.{part}" for part in ("weight", "bias")}
    layers = ["input_stem.0", "input_stem.1.conv", "input_stem.2"]
    for i in range(18):
        layers += [f"blocks.{i}.conv{j}" for j in (1, 2, 3)]
        layers += [f"blocks.{i}.downsample"] * (i in (0, 4, 8, 14))
    names |= {f"{layer}.conv.conv.weight" for layer in layers}
    return names | {f"{layer}.bn.bn.{part}" for layer in layers for part in BATCHNORM}


def test_names_and_shapes_are_those_of_the_released_file() -> None:
    with torch.device("meta"):
        supernet = ResNet50DSupernet(num_classes=1000)
    shapes = {name: tuple(t.shape) for name, t in to_ofa_resnet_state_dict(supernet).items()}
    assert shapes.keys() == published_names()
    assert shapes["input_stem.1.conv.conv.conv.weight"] == (32, 32, 3, 3)
    assert shapes["blocks.0.conv1.conv.conv.weight"] == (88, 64, 1, 1)
    assert shapes["blocks.17.conv3.conv.conv.weight"] == (2048, 720, 1, 1)
    assert shapes["blocks.14.downsample.conv.conv.weight"] == (2048, 1024, 1, 1)
    assert shapes["classifier.linear.linear.weight"] == (1000, 2048)


def as_static(name: str) -> str:
    """The name that a network which is not elastic has for the same tensor."""
    for part in ("conv", "bn", "linear"):
        name = name.replace(f".{part}.{part}.", f".{part}.")
    return name


@pytest.mark.parametrize("rename", [str, as_static, "module.{}".format])
def test_every_spelling_gives_the_same_weights(
    rename: Callable[[str], str], source: ResNet50DSupernet, tmp_path: Path
) -> None:
    weights = {rename(name): t for name, t in to_ofa_resnet_state_dict(source).items()}
    torch.save({"state_dict": weights}, tmp_path / "ofa_resnet50")
    loaded = load(tmp_path / "ofa_resnet50")
    assert loaded.settings == source.settings and not loaded.training
    own = source.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in loaded.state_dict().items())


def test_other_classes_start_afresh(source: ResNet50DSupernet, tmp_path: Path) -> None:
    torch.save(to_ofa_resnet_state_dict(source), tmp_path / "ofa")
    loaded, own = load(tmp_path / "ofa", num_classes=7), source.state_dict()
    assert loaded.num_classes == 7
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(own[name], tensor) != name.startswith("fc."), name


def refused(tensors: dict[str, Tensor], path: Path, **settings: Any) -> str:
    torch.save(tensors, path)
    with pytest.raises(ValueError) as caught:
        load(path, **settings)
    return str(caught.value)


def test_files_that_do_not_fit_are_refused(source: ResNet50DSupernet, tmp_path: Path) -> None:
    path, tensors = tmp_path / "ofa", to_ofa_resnet_state_dict(source)
    assert "is of width 0.125, not 1.0; leave the width out" in refused(tensors, path, width=1.0)
    message = refused(tensors, path, input_size=(1, 16, 16))
    assert "input_stem.0.conv.conv.weight has shape (4, 3, 3, 3), (4, 1, 3, 3) was" in message
    assert message.endswith(f"; {NETWORK.expected}.")
    short = {name: t for name, t in tensors.items() if "blocks.17." not in name}
    assert "blocks.17.conv1.conv.weight, blocks.17.conv1.bn.weight" in refused(short, path)
    odd = {**tensors, "input_stem.2.bn.bn.weight": torch.ones(9)}
    assert "input_stem.2.bn.bn.weight has shape (9,), (8,) was expected" in refused(odd, path)


def test_the_command_stores_and_refuses_them(
    source: ResNet50DSupernet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ResNet50DSupernet(num_classes=10, width=0.125, input_size=(1, 8, 8), strides=(1, 1))
    torch.save({"state_dict": to_ofa_resnet_state_dict(ours)}, tmp_path / "ofa")
    torch.save(to_ofa_resnet_state_dict(source), tmp_path / "other")
    flags = "--space resnet50d --dataset digits --strides 1 1 --epochs 0 --num-probes 0"

    def train(name: str) -> int:
        given = ["--from-ofa", str(tmp_path / name), "--output", str(tmp_path / f"run-{name}")]
        return main([*flags.split(), *given])

    assert train("ofa") == 0
    stored = torch.load(tmp_path / "run-ofa" / "last.pt", weights_only=True)
    own = ours.state_dict()
    assert stored["supernet_settings"] == ours.settings
    assert all(torch.equal(own[name], tensor) for name, tensor in stored["state_dict"].items())
    capsys.readouterr()
    assert train("other") == 2
    line = error_line_of("supernet-train")(capsys)
    assert "input_stem.0.conv.conv.weight has shape (4, 3, 3, 3), (4, 1, 3, 3) was" in line
