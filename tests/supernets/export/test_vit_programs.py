"""Exported Vision Transformers: timm alone loads what its arguments say, and our entry the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from supernets import create_supernet, load_subnet
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.export.folder import read_subnet_record
from supernets.export.formats import choose_formats
from supernets.export.programs import check_logits
from supernets.export.subnet import export_subnet
from supernets.networks.base import Supernet
from supernets.training.evaluation import evaluate
from tests.commands import TORCH_EXPORT

#: Of equal layers whose heads are as wide as the embedding, and others.
ALIKE, UNLIKE = "e=48;d=2;h=3,3;r=4,4", "e=48;d=3;h=2,3,4;r=1,2,4"
CPU = torch.device("cpu")

pytestmark = [TORCH_EXPORT, pytest.mark.slow]


@pytest.fixture(scope="module")
def loaders() -> Loaders:
    return create_loaders(DataConfig("digits"), batch_size=64)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    supernet = create_supernet("vit", num_classes=10, preset="digits", input_size=(1, 8, 8))
    with torch.no_grad():  # fresh logits are all but zero
        for parameter in supernet.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return supernet


@pytest.fixture(scope="module")
def exported(
    supernet: Supernet, loaders: Loaders, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Both in all formats, by their notation; never written to."""
    folders = {}
    for notation in (ALIKE, UNLIKE):
        folders[notation] = tmp_path_factory.mktemp("exported") / "subnet"
        arch = supernet.space.parse(notation)
        export_subnet(supernet, arch, loaders, folders[notation], device=CPU)
    return folders


@pytest.mark.parametrize("notation", [ALIKE, UNLIKE])
def test_all_files_compute_what_the_path_computes(
    supernet: Supernet, loaders: Loaders, exported: dict[str, Path], notation: str
) -> None:
    record, subnet = read_subnet_record(exported[notation]), load_subnet(exported[notation])
    x, arch = torch.randn(5, 1, 8, 8), supernet.space.parse(notation)
    with torch.inference_mode():
        assert torch.equal(subnet(x), supernet.eval()(x, arch))
    assert record["metrics"]["test_top1"] == evaluate(subnet, loaders.test, device=CPU).top1
    params, macs = supernet.count(np.array([arch.choices]))
    assert record["cost"] == {"params": params[0], "macs": macs[0]}
    assert record["recalibration"] is None
    formats = choose_formats(None, "vit")
    assert ("onnx" in formats) == ("subnet.onnx" in record["formats"])
    assert {"subnet.pt2", "load_with_timm.py"} <= record["formats"].keys()
    assert all(facts["max_difference"] <= 1e-5 for facts in record["formats"].values())
    assert record["formats"]["load_with_timm.py"]["timm_alone"] == (notation == ALIKE)


def test_timm_alone_loads_what_its_arguments_say(exported: dict[str, Path], tmp_path: Path) -> None:
    folder, x = tmp_path / "subnet", torch.randn(3, 1, 8, 8)
    shutil.copytree(exported[ALIKE], folder)
    (folder / "load_with_timm.py").unlink()
    assert json.loads((folder / "config.json").read_text())["architecture"].startswith("vit_")
    save_file({"x": x}, tmp_path / "x")
    script = f"""
import sys
sys.modules["supernets"] = None
import timm, torch
from safetensors.torch import load_file, save_file
network = timm.create_model("local-dir:" + {str(folder)!r}, pretrained=True).eval()
other = timm.create_model("local-dir:" + {str(folder)!r}, pretrained=True, num_classes=4)
x = load_file({str(tmp_path / "x")!r})["x"]
assert other(x).shape == (3, 4)
assert torch.equal(other.norm.weight, network.norm.weight)
assert network.pretrained_cfg["label_names"][3] == "3"
with torch.inference_mode():
    save_file({{"logits": network(x)}}, {str(tmp_path / "logits")!r})
"""
    subprocess.run([sys.executable, "-I", "-B", "-c", script], cwd=tmp_path, check=True)
    with torch.inference_mode():
        expected = load_subnet(exported[ALIKE])(x)
    check_logits("local-dir", load_file(tmp_path / "logits")["logits"], expected)


def test_weights_that_are_not_finite_are_not_loaded(
    exported: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "subnet"
    shutil.copytree(exported[UNLIKE], folder)
    weights = load_file(folder / "weights.safetensors")
    weights["blocks.1.norm1.weight"][0] = float("nan")
    save_file(weights, folder / "weights.safetensors")
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['load']()"
    command = [sys.executable, "-I", "-B", "-c", script, str(folder / "load_with_timm.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"ValueError: {folder / 'weights.safetensors'}: ")
    assert "blocks.1.norm1.weight has values that are NaN or infinite" in line


def test_a_network_without_batchnorm_refuses_to_recalibrate_it(
    supernet: Supernet, loaders: Loaders, tmp_path: Path
) -> None:
    arch, folder = supernet.space.parse(ALIKE), tmp_path / "subnet"
    with pytest.raises(ValueError, match="no BatchNorm to recalibrate; leave --recalibrate-batche"):
        export_subnet(supernet, arch, loaders, folder, device=CPU, recalibrate_batches=3)
    assert not folder.exists()
