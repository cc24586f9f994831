"""Exported subnets of elastic ResNet-50D: every file computes what the path computes."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models import ResNet

from supernets import create_supernet, load_subnet
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.export.folder import read_subnet_record
from supernets.export.formats import choose_formats
from supernets.export.subnet import export_subnet
from supernets.networks.base import Supernet
from tests.commands import TORCH_EXPORT

#: With and without the stem's optional convolution.
WITH = "d=2,0,0,0,1;e=35,20,-,-,25,20,-,-,20,25,35,20,-,-,25,20,25,-;w=65,80,100,65,80,65"
WITHOUT = WITH.replace("d=2", "d=0")

pytestmark = [TORCH_EXPORT, pytest.mark.slow]


@pytest.fixture(scope="module")
def loaders() -> Loaders:
    return create_loaders(DataConfig("digits"), batch_size=64)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    size = {"input_size": (1, 8, 8), "strides": (1, 1), "width": 0.125}
    return create_supernet("resnet50d", num_classes=10, **size)


@pytest.fixture(scope="module", params=[WITH, WITHOUT])
def exported(
    request: pytest.FixtureRequest,
    supernet: Supernet,
    loaders: Loaders,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("exported") / "subnet"
    arch = supernet.space.parse(request.param)
    cpu = torch.device("cpu")
    export_subnet(supernet, arch, loaders, folder, device=cpu, recalibrate_batches=2)
    return request.param, folder


def test_all_files_compute_the_same(exported: tuple[str, Path], supernet: Supernet) -> None:
    notation, folder = exported
    record, subnet = read_subnet_record(folder), load_subnet(folder)
    assert type(subnet) is ResNet
    params, macs = supernet.count(np.array([supernet.space.parse(notation).choices]))
    assert record["cost"] == {"params": params[0], "macs": macs[0]}
    assert record["recalibration"]["num_batches"] == 2
    formats = choose_formats(None, "resnet50d")
    assert ("onnx" in formats) == ("subnet.onnx" in record["formats"])
    assert {"subnet.pt2", "load_with_timm.py"} <= record["formats"].keys()
    found = {name: facts["max_difference"] for name, facts in record["formats"].items()}
    assert max(found["subnet.pt2"], found["load_with_timm.py"]) <= 1e-6, found
    assert record["formats"]["load_with_timm.py"]["timm_alone"] is False


def test_timm_loads_it_with_other_classes(exported: tuple[str, Path]) -> None:
    notation, folder = exported
    loader = runpy.run_path(str(folder / "load_with_timm.py"))
    network = loader["load"]()
    import timm

    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=4).eval()
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network(x), load_subnet(folder)(x))
        assert other(x).shape == (3, 4)
        assert torch.equal(other.forward_features(x), network.forward_features(x))
    assert ("layer" in dict(network.conv1.named_children())) == (notation == WITH)
    assert network.pretrained_cfg["label_names"][3] == "3"


def test_weights_that_are_not_finite_are_not_loaded(exported: tuple[str, Path]) -> None:
    _, folder = exported
    path = folder / "weights.safetensors"
    good = load_file(path)
    save_file({**good, "bn1.running_var": good["bn1.running_var"] * float("nan")}, path)
    try:
        with pytest.raises(ValueError, match="bn1.running_var has values that are NaN or infin"):
            runpy.run_path(str(folder / "load_with_timm.py"))["load"]()
    finally:
        save_file(good, path)
