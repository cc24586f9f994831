"""Exported networks of the ProxylessNAS space: timm loads them through our entry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supernets import create_supernet, load_subnet
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.export.folder import read_subnet_record
from supernets.export.subnet import export_subnet

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_timm_computes_what_the_path_computes(tmp_path: Path, stem_stride: int) -> None:
    torch.manual_seed(0)
    loaders = create_loaders(DataConfig("digits"), batch_size=64)
    supernet = create_supernet(
        "proxylessnas",
        num_classes=10,
        width=0.1,
        input_size=(1, 8, 8),
        strides=(stem_stride, 1, 2, 1, 1, 1, 1),
    )
    arch = supernet.space.parse(
        "e1k3;e3k5,-,e3k3,-;e3k7,-,-,e3k3;e6k7,-,-,e3k5;e6k5,-,e3k3,e3k5;e6k7,e6k7,e6k7,e6k5;e6k7"
    )
    folder = tmp_path / "subnet"
    export_subnet(supernet, arch, loaders, folder, device=torch.device("cpu"), formats=("timm",))
    facts = read_subnet_record(folder)["formats"]["load_with_timm.py"]
    assert facts["max_difference"] <= 1e-5
    assert facts["conv_stem_stride"] == stem_stride
    x, subnet = torch.randn(3, 1, 8, 8), load_subnet(folder)
    for name, tensor in supernet.extract(arch).named_parameters():
        assert torch.equal(subnet.get_parameter(name), tensor)
    assert subnet(x).shape == (3, 10)
