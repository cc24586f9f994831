"""Files of exported MobileNetV3 subnets: equal logits without us, and nothing unproven is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn

from supernets import create_space, create_supernet, load_subnet, save_supernet
from supernets.cli.export import main
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.export import timm_files as export_timm
from supernets.export.files import sha256
from supernets.export.folder import read_subnet_record, write_subnet_folder
from supernets.export.formats import choose_formats
from supernets.export.programs import check_logits
from supernets.export.subnet import export_subnet
from supernets.networks import mobilenetv3_subnet
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.networks.factory import create_subnet, settings_of_subnet
from supernets.runtime.private_names import SqueezeExcite, decode_arch_def, round_channels
from supernets.spaces import Architecture
from supernets.training.evaluation import evaluate
from tests.commands import TORCH_EXPORT

#: Few blocks, all kernels and expansions.
NOTATION = (
    "d=2,2,2,2,2;k=3,5,-,-,7,3,-,-,3,3,-,-,5,5,-,-,7,7,-,-;"
    "e=3,4,-,-,6,6,-,-,3,3,-,-,4,4,-,-,6,3,-,-"
)
CPU = torch.device("cpu")
MISSING_ONNX = pytest.mark.skipif(
    "onnx" not in choose_formats(None, "mobilenetv3"), reason="needs paceline[onnx]"
)

pytestmark = [TORCH_EXPORT, pytest.mark.slow]


@pytest.fixture(scope="module")
def loaders() -> Loaders:
    """Digits of 16 pixels."""
    return create_loaders(DataConfig("digits", image_size=16), batch_size=64)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """Of two resolutions, its stem without a stride."""
    torch.manual_seed(0)
    return create_supernet(
        "mobilenetv3",
        num_classes=10,
        width=0.25,
        input_size=(1, 16, 16),
        resolutions=(8, 16),
        strides=(1, 2, 1, 2, 1, 1),
    )


@pytest.fixture(scope="module")
def arch(supernet: Supernet) -> Architecture:
    """Of the smaller resolution."""
    return supernet.space.parse(f"{NOTATION};r=8")


@pytest.fixture(scope="module")
def exported(
    supernet: Supernet,
    arch: Architecture,
    loaders: Loaders,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """``arch`` in all formats; never written to."""
    folder = tmp_path_factory.mktemp("exported") / "subnet"
    export_subnet(supernet, arch, loaders, folder, device=CPU, recalibrate_batches=2)
    return folder


def images(num_images: int, side: int = 8) -> Tensor:
    return torch.randn(num_images, 1, side, side, generator=torch.Generator().manual_seed(3))


def logits(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network(x)
    return found


def test_the_loaded_subnet_is_the_recalibrated_one(
    supernet: Supernet, arch: Architecture, loaders: Loaders, exported: Path
) -> None:
    subnet = supernet.extract(arch)
    recalibrate_bn(subnet, loaders.train_eval, 2)
    loaded = load_subnet(exported)
    record = read_subnet_record(exported)
    for side in (16, 8):  # resized to the resolution, and of it
        x = images(5, side)
        assert torch.allclose(logits(loaded, x), logits(subnet, x), atol=1e-6)
        assert logits(loaded, x).std() > 0.01
    assert record["metrics"]["test_top1"] == evaluate(loaded, loaders.test, device=CPU).top1
    assert record["recalibration"]["num_images"] == 128


def test_the_record_is_of_the_resolution(
    supernet: Supernet, arch: Architecture, exported: Path
) -> None:
    record = read_subnet_record(exported)
    assert (record["input_size"], record["data"]["image_size"]) == ([1, 8, 8], 16)
    assert record["architecture"].endswith("r=8")
    params, macs = supernet.count(np.array([arch.choices]))
    assert record["cost"] == {"params": params[0], "macs": macs[0]}
    assert "kernel_transform" not in record["settings"]
    assert all(facts["max_difference"] <= 1e-4 for facts in record["formats"].values())
    assert record["formats"]["load_with_timm.py"]["conv_stem_stride"] == 1


@pytest.mark.slow
def test_an_export_holds_no_image_and_no_path_of_this_machine(
    exported: Path, loaders: Loaders, leaks: Callable[[Path, Loaders], list[str]]
) -> None:
    assert leaks(exported, loaders) == []


def test_the_record_has_the_checksum_of_the_files_that_run_code(exported: Path) -> None:
    files = read_subnet_record(exported)["files"]
    assert files.keys() == {path.name for path in exported.iterdir()} - {"subnet.json"}
    for name in ("load_with_timm.py", "subnet.pt2", "config.json"):
        assert files[name] == sha256(exported / name)


def test_the_weights_have_the_names_of_timm(exported: Path) -> None:
    weights = load_file(exported / "weights.safetensors")
    assert weights.keys() == load_subnet(exported).network.state_dict().keys()  # type: ignore
    assert {name.split(".")[0] for name in weights} == {
        *("conv_stem", "bn1", "blocks", "conv_head", "classifier")
    }


def test_the_program_takes_any_number_of_images(exported: Path) -> None:
    program = torch.export.load(exported / "subnet.pt2").module()
    for size in (1, 2, 9):
        expected = logits(load_subnet(exported), images(size))
        assert torch.allclose(logits(program, images(size)), expected, atol=1e-5)


@MISSING_ONNX
def test_an_activation_is_one_node(exported: Path, arch: Architecture) -> None:
    import onnx

    kinds = [node.op_type for node in onnx.load(exported / "subnet.onnx").graph.node]
    network = load_subnet(exported).network
    modules = list(network.modules())  # type: ignore
    for kind, activation in (("HardSwish", nn.Hardswish), ("HardSigmoid", nn.Hardsigmoid)):
        count = sum(isinstance(module, activation) for module in modules)
        assert kinds.count(kind) == count > 0


@MISSING_ONNX
def test_onnx_runtime_takes_any_number_of_images(exported: Path) -> None:
    import onnx
    import onnxruntime

    model = onnx.load(exported / "subnet.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "num_images"
    assert all(not tensor.external_data for tensor in model.graph.initializer)
    session = onnxruntime.InferenceSession(
        exported / "subnet.onnx", providers=["CPUExecutionProvider"]
    )
    for size in (1, 2, 9):
        (found,) = session.run(["logits"], {"images": images(size).numpy()})
        expected = logits(load_subnet(exported), images(size))
        assert found.shape == (size, 10)
        check_logits("subnet.onnx", torch.from_numpy(found), expected)


@pytest.mark.slow
def test_timm_loads_the_folder_where_this_package_does_not_exist(
    exported: Path, tmp_path: Path
) -> None:
    save_file({"x": images(5)}, tmp_path / "x")
    script = f"""
import sys
sys.modules["supernets"] = sys.modules["search"] = sys.modules["estimators"] = None
try:
    import supernets
except ImportError:
    pass
else:
    raise AssertionError("supernets is there")
import timm, timm.data, torch
from safetensors.torch import load_file, save_file
x = load_file({str(tmp_path / "x")!r})["x"]
name = {"local-dir:" + str(exported)!r}
try:
    timm.create_model(name)
except RuntimeError as error:
    assert "Unknown model (paceline_mobilenetv3)" in str(error), error
else:
    raise AssertionError("timm knows the entry already")
import runpy
load = runpy.run_path({str(exported / "load_with_timm.py")!r})["load"]
assert {str(exported)!r} not in sys.path
network = timm.create_model(name, pretrained=True).eval()
config = network.pretrained_cfg
assert config["input_size"] == [1, 8, 8] and config["label_names"][3] == "3", config
assert tuple(timm.data.resolve_model_data_config(network)["mean"]) == tuple(config["mean"])
other = timm.create_model(name, num_classes=4, pretrained=True)
assert torch.equal(other.conv_head.weight, network.conv_head.weight)
with torch.inference_mode():
    found = {{"load": load()(x), "create_model": network(x)}}
save_file(found, {str(tmp_path / "logits")!r})
assert tuple(other(x).shape) == (5, 4)
"""
    # -I: neither this folder nor the environment is looked at; -B: no bytecode in the export
    command = [sys.executable, "-I", "-B", "-c", script]
    subprocess.run(command, cwd=tmp_path, check=True)
    expected = logits(load_subnet(exported), images(5))
    for name, found in load_file(tmp_path / "logits").items():
        check_logits(name, found, expected)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for Python run without a process of their own, in which timm loads for seconds.

    Importing this package fails in them all the same.
    """

    def run(command: list[str], **settings: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-I", "-B", "-c"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", *command[5:]])
            for name in ("supernets", "estimators", "search"):
                patch.setitem(sys.modules, name, None)
            try:
                exec(command[4], {"__name__": "__main__"})
            except Exception:
                return subprocess.CompletedProcess(command, 1, "", traceback.format_exc())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.slow
def test_timm_is_not_given_weights_that_are_not_finite(
    exported: Path, tmp_path: Path, in_this_process: None
) -> None:
    folder = tmp_path / "subnet"
    shutil.copytree(exported, folder)
    weights = load_file(folder / "weights.safetensors")
    weights["blocks.1.0.bn1.running_var"][0] = float("nan")
    save_file(weights, folder / "weights.safetensors")
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['load']()"
    command = [sys.executable, "-I", "-B", "-c", script, str(folder / "load_with_timm.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"ValueError: {folder / 'weights.safetensors'}: ")
    assert "blocks.1.0.bn1.running_var has values that are NaN or infinite" in line


def record_of(supernet: Supernet, arch: Architecture, loaders: Loaders) -> dict[str, Any]:
    """What ``write_subnet_folder`` has to know."""
    return {
        "space": supernet.space.name,
        "architecture": supernet.space.format(arch),
        "settings": supernet.settings,
        "data": loaders.settings,
    }


@pytest.mark.slow
def test_with_a_strided_stem_timm_needs_no_attribute_set(
    loaders: Loaders, tmp_path: Path, caplog: pytest.LogCaptureFixture, in_this_process: None
) -> None:
    supernet = create_supernet("mobilenetv3", num_classes=10, width=0.25, input_size=(1, 32, 32))
    arch = supernet.space.parse(NOTATION)
    subnet = supernet.extract(arch).eval()
    record = record_of(supernet, arch, loaders)
    write_subnet_folder(tmp_path / "subnet", subnet, record, (1, 32, 32), formats=["timm"])
    assert "conv_stem.stride" not in caplog.text
    arguments = json.loads((tmp_path / "subnet" / "config.json").read_text())["model_args"]
    assert arguments.pop("stem_stride") == 2
    network = MobileNetV3(
        decode_arch_def(arguments.pop("arch_def")),
        num_classes=10,
        in_chans=1,
        **arguments,
        fix_stem=True,
        head_bias=False,
        act_layer=nn.Hardswish,
        se_layer=partial(
            SqueezeExcite,
            gate_layer="hard_sigmoid",
            force_act_layer=nn.ReLU,
            rd_round_fn=round_channels,
        ),
    )
    network.load_state_dict(load_file(tmp_path / "subnet" / "weights.safetensors"))
    x = images(3, 32)
    assert torch.allclose(logits(network.eval(), x), logits(subnet, x), atol=1e-6)


@pytest.mark.parametrize(
    ("of_timm", "interpolation", "crop_pct"),
    [
        ({}, "bilinear", 1.0),
        (
            {"augmentation": {"interpolation": "bicubic"}, "timm_options": {"crop_pct": 0.9}},
            *("bicubic", 0.9),
        ),
        (
            {"augmentation": {"interpolation": "random"}, "timm_options": {"crop_pct": 0.875}},
            *("bilinear", 0.875),
        ),
    ],
)
def test_timm_is_told_how_images_are_prepared(
    of_timm: dict[str, Any],
    interpolation: str,
    crop_pct: float,
    supernet: Supernet,
    arch: Architecture,
    loaders: Loaders,
    tmp_path: Path,
) -> None:
    data = {**loaders.settings, **of_timm}
    size = (1, 8, 8)
    export_timm.write_timm_files(tmp_path, arch, size, settings=supernet.settings, data=data)
    config = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    assert (config["interpolation"], config["crop_pct"]) == (interpolation, crop_pct)
    assert (config["mean"], config["input_size"]) == (loaders.settings["mean"], [1, 8, 8])


@pytest.fixture
def write(supernet: Supernet, arch: Architecture, loaders: Loaders, tmp_path: Path) -> Any:
    """Writes ``arch`` in one format."""
    subnet = supernet.extract(arch).eval()
    record = record_of(supernet, arch, loaders)

    def write(name: str) -> nn.Module:
        write_subnet_folder(tmp_path / "subnet", subnet, record, (1, 16, 16), formats=[name])
        return subnet

    return write


@pytest.fixture
def rewrite(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes what was exported again in one format, its program after an edit."""

    def rewrite(name: str, edit: Callable[[torch.export.ExportedProgram], object]) -> None:
        def export(*args: Any, **kwargs: Any) -> torch.export.ExportedProgram:
            program = torch.export.load(exported / "subnet.pt2")
            edit(program)
            return program

        monkeypatch.setattr(torch.export, "export", export)
        subnet, record = load_subnet(exported), read_subnet_record(exported)
        write_subnet_folder(tmp_path / "subnet", subnet, record, (1, 16, 16), formats=[name])

    return rewrite


@pytest.mark.slow
def test_another_program_is_not_kept(rewrite: Any, tmp_path: Path) -> None:
    def bias(program: torch.export.ExportedProgram) -> None:
        with torch.no_grad():
            program.state_dict["classifier.bias"].add_(0.1)

    with pytest.raises(RuntimeError, match="reloaded subnet.pt2 gives logits that differ"):
        rewrite("pt2", bias)
    assert list(tmp_path.iterdir()) == []


@MISSING_ONNX
def test_another_onnx_file_is_not_kept(
    rewrite: Any, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    def biased(program: Any, args: Any, path: Path, **kwargs: Any) -> None:
        model = onnx.load(exported / "subnet.onnx")
        (weight,) = (t for t in model.graph.initializer if tuple(t.dims)[:1] == (10,))
        values = onnx.numpy_helper.to_array(weight) * np.float32(scale)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        onnx.save(model, path)

    monkeypatch.setattr(torch.onnx, "export", biased)
    scale = 1.01
    with pytest.raises(RuntimeError, match="reloaded subnet.onnx gives logits that differ"):
        rewrite("onnx", lambda program: None)
    assert list(tmp_path.iterdir()) == []
    scale = 1.0
    rewrite("onnx", lambda program: None)
    assert (tmp_path / "subnet" / "subnet.onnx").is_file()


@pytest.mark.slow
def test_another_definition_is_not_kept(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None
) -> None:
    real = mobilenetv3_subnet.timm_definition
    monkeypatch.setattr(
        mobilenetv3_subnet,
        "timm_definition",
        lambda *args, **kwargs: real(*args, **kwargs) | {"stem_stride": 2},
    )
    with pytest.raises(RuntimeError, match="reloaded load_with_timm.py gives logits that differ"):
        write("timm")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_timm_cannot_load_is_not_kept(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_timm, "_PROGRAM", "raise SystemExit('size mismatch')")
    with pytest.raises(RuntimeError, match="fails in a process of its own; .*\nsize mismatch"):
        write("timm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_best_json_with_a_resolution_is_exported(
    supernet: Supernet,
    arch: Architecture,
    loaders: Loaders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = {"space": "mobilenetv3", "best": [{"architecture": supernet.space.format(arch)}]}
    (tmp_path / "best.json").write_text(json.dumps(best))
    save_supernet(
        tmp_path / "last.pt",
        supernet,
        train_config={},
        data={**loaders.settings, "batch_size": 64},
        data_dir=None,
        skip_bad_images=False,
    )
    flags = [f"--arch={tmp_path / 'best.json'}", f"--output={tmp_path / 'subnet'}", "--formats"]
    assert main([f"--supernet={tmp_path / 'last.pt'}", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == supernet.space.format(arch)
    assert sorted(path.name for path in (tmp_path / "subnet").iterdir()) == [
        *("subnet.json", "weights.safetensors")
    ]
    assert load_subnet(tmp_path / "subnet").resolution == 8


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [([[1.0, -4.0]], [[1.0, -4.0]], 0.0), ([[1.0, -4.0]], [[1.0, -5.0]], 0.2)],
)
def test_differences_are_relative_to_the_largest_logit(
    found: list[list[float]], expected: list[list[float]], difference: float
) -> None:
    tensors = torch.tensor(found), torch.tensor(expected)
    assert check_logits("x", *tensors, tolerance=1.0) == pytest.approx(difference)
    if difference:
        with pytest.raises(RuntimeError, match="differ by 0.2 of the largest"):
            check_logits("x", *tensors)


def test_logits_that_are_no_numbers_are_a_difference() -> None:
    with pytest.raises(RuntimeError, match="nan"):
        check_logits("x", torch.tensor([[float("nan")]]), torch.ones(1, 1), tolerance=1e9)


@pytest.mark.slow
@MISSING_ONNX
def test_averages_at_the_border_of_odd_maps_are_those_every_runtime_agrees_on(
    tmp_path: Path,
) -> None:
    """Some runtimes divide such a window by all its cells if padding is to be included."""
    import onnx

    space = create_space("nasbench201")
    arch = space.parse(
        "|avg_pool_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    )
    sizes: dict[str, Any] = dict(num_classes=2, channels=4, cells_per_stage=1)
    network = create_subnet(arch, input_size=(3, 15, 15), bn_mode="affine", **sizes).eval()
    x = torch.randn(2, 3, 15, 15)
    path = tmp_path / "odd.onnx"
    torch.onnx.export(network, (x,), path, dynamo=True, verbose=False, external_data=False)
    pools = [node for node in onnx.load(path).graph.node if node.op_type == "AveragePool"]
    attributes = [
        {each.name: onnx.helper.get_attribute_value(each) for each in pool.attribute}
        for pool in pools
    ]
    assert sum(each.get("ceil_mode", 0) for each in attributes) == 2  # both reductions
    assert not any(each.get("count_include_pad", 0) for each in attributes)


@pytest.mark.slow
def test_exports_lie_in_folders_whose_names_are_not_utf8(tmp_path: Path) -> None:
    supernet = create_supernet(
        "nasbench201", num_classes=3, channels=4, cells_per_stage=1, input_size=(3, 8, 8)
    )
    arch = supernet.space.parse("|skip_connect~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    record = {
        "space": "nasbench201",
        "architecture": supernet.space.format(arch),
        "settings": settings_of_subnet(supernet.space.name, supernet.settings),
        "data": {},
    }
    subnet = supernet.to_standalone(supernet.extract(arch)).eval()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    formats = [name for name in ("pt2", "onnx") if name in choose_formats(None, "nasbench201")]
    write_subnet_folder(folder, subnet, record, (3, 8, 8), formats=formats)
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(load_subnet(folder)(x), subnet(x), atol=1e-5)
