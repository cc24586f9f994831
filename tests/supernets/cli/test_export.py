"""Exported subnets: whole folders, equal logits everywhere, and every refusal in one line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from supernets import create_space, load_subnet, load_supernet
from supernets.cli import train as cli
from supernets.cli.export import main
from supernets.data.loaders import Loaders
from supernets.export import files as export_files
from supernets.export import folder as subnet_folder
from supernets.export.architecture_file import read_architecture
from supernets.export.folder import read_subnet_record
from supernets.export.retrain_source import RetrainSource
from supernets.export.subnet import export_subnet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.runtime.versions import versions
from supernets.training.checkpoint import read_checkpoint, reopen_data
from supernets.training.evaluation import evaluate
from tests.commands import TORCH_EXPORT, error_line_of

ARCH = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
FILES = ["cells.png", "subnet.json", "subnet.onnx", "subnet.pt2", "weights.safetensors"]
CPU = torch.device("cpu")

pytestmark = TORCH_EXPORT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet of one epoch."""
    output = tmp_path_factory.mktemp("supernet")
    tiny = "--channels 4 --cells-per-stage 1 --batch-size 400 --num-probes 0 --epochs 1 --no-amp"
    assert cli.main([*tiny.split(), "--output", str(output)]) == 0
    return output / "last.pt"


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its subnet ``ARCH``; never written to."""
    folder = tmp_path_factory.mktemp("exported") / "deep" / "subnet"
    assert run(checkpoint, ARCH, folder) == 0
    return folder


def run(checkpoint: Path, arch: str, output: Path, *flags: str) -> int:
    return main(["--supernet", str(checkpoint), "--arch", arch, "--output", str(output), *flags])


error_line = error_line_of("supernet-export")


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export to damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes((exported / name).read_bytes())
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        load_subnet(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_the_loaded_subnet_is_the_recalibrated_one(checkpoint: Path, exported: Path) -> None:
    supernet = load_supernet(checkpoint)
    loaders = reopen_data(read_checkpoint(checkpoint), checkpoint, device=CPU)
    subnet = supernet.to_standalone(supernet.extract(supernet.space.parse(ARCH)))
    recalibrate_bn(subnet, loaders.train_eval, 3)
    loaded = load_subnet(exported)
    assert not loaded.training
    x, _ = next(iter(loaders.test))
    with torch.inference_mode():
        assert torch.allclose(loaded(x), subnet(x), atol=1e-6)
        assert loaded(x).std() > 0.01
    record = read_subnet_record(exported)
    assert record["recalibration"] == {
        "split": "train",
        "transforms": "those of the test split",
        "num_batches": 3,  # an epoch has no more
        "num_images": 1149,
        "seed": 0,
    }
    test = evaluate(loaded, loaders.test, device=CPU)
    assert record["metrics"]["test_top1"] == pytest.approx(test.top1)
    assert record["metrics"]["test_loss"] == pytest.approx(test.loss, abs=1e-5)
    assert record["metrics"]["num_test_images"] == test.num_images == 360


def test_the_record_says_what_it_is(checkpoint: Path, exported: Path) -> None:
    record = read_subnet_record(exported)
    assert (record["space"], record["architecture"]) == ("nasbench201", ARCH)
    parameters = sum(p.numel() for p in load_subnet(exported).parameters())
    assert record["cost"]["params"] == parameters
    assert record["data"]["class_names"] == [str(i) for i in range(10)]
    assert record["provenance"]["supernet"] == checkpoint.name  # it was given by an absolute path
    assert record["versions"] == versions()
    assert sorted(path.name for path in exported.iterdir()) == FILES
    assert sorted(path.name for path in exported.parent.iterdir()) == ["subnet"]


def test_the_program_gives_the_same_logits_at_every_batch_size(exported: Path) -> None:
    program = torch.export.load(exported / "subnet.pt2").module()
    loaded = load_subnet(exported)
    generator = torch.Generator().manual_seed(0)
    for size in (1, 2, 8, 33):
        x = torch.randn(size, 1, 8, 8, generator=generator)
        with torch.inference_mode():
            assert torch.allclose(program(x), loaded(x), atol=1e-5)


@pytest.mark.slow
def test_both_files_load_in_a_fresh_process(exported: Path, tmp_path: Path) -> None:
    """The program with PyTorch alone; the weights without the supernet."""
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.save(x, tmp_path / "x.pt")
    script = f"""
import sys, torch
x = torch.load({str(tmp_path / "x.pt")!r})
with torch.inference_mode():
    logits = torch.export.load({str(exported / "subnet.pt2")!r}).module()(x)
    one = torch.export.load({str(exported / "subnet.pt2")!r}).module()(x[:1])
assert not any(name.split(".")[0] in ("supernets", "search", "estimators") for name in sys.modules)
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from supernets import load_subnet
with torch.inference_mode():
    again = load_subnet({str(exported)!r})(x)
torch.save([logits, one, again], {str(tmp_path / "logits.pt")!r})
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with torch.inference_mode():
        expected = load_subnet(exported)(x)
    logits, one, again = torch.load(tmp_path / "logits.pt")
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(one, expected[:1], atol=1e-5)
    assert torch.allclose(again, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|skip_connect~0|+|avg_pool_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|",
    ],
    ids=["zero", "weightless"],
)
def test_cells_without_weights_export_too(arch: str, checkpoint: Path, tmp_path: Path) -> None:
    assert run(checkpoint, arch, tmp_path / "subnet", "--formats", "pt2") == 0
    x = torch.randn(3, 1, 8, 8)
    program = torch.export.load(tmp_path / "subnet" / "subnet.pt2").module()
    with torch.inference_mode():
        assert torch.allclose(program(x), load_subnet(tmp_path / "subnet")(x), atol=1e-5)


def test_an_export_holds_no_image_and_no_path_of_this_machine(
    checkpoint: Path,
    exported: Path,
    tmp_path: Path,
    leaks: Callable[[Path, Loaders], list[str]],
) -> None:
    """All formats, though the supernet was named by its absolute path."""
    loaders = reopen_data(read_checkpoint(checkpoint), checkpoint, device=CPU)
    assert leaks(exported, loaders) == []
    assert torch.export.load(exported / "subnet.pt2").example_inputs is None
    x, _ = next(iter(loaders.test))
    torch.save({"path": str(Path.cwd()), "one": x[:1]}, tmp_path / "leaky.pt")
    found = leaks(tmp_path, loaders)  # PyTorch stores all memory behind a slice
    assert len(found) > 500 and any(str(Path.cwd()) in line for line in found)


def test_the_record_has_the_checksum_of_every_other_file(exported: Path) -> None:
    record = read_subnet_record(exported)
    assert record["files"] == {
        name: export_files.sha256(exported / name) for name in FILES if name != "subnet.json"
    }


def test_a_program_says_which_images_it_expects(exported: Path) -> None:
    assert read_subnet_record(exported)["input_size"] == [1, 8, 8]
    program = torch.export.load(exported / "subnet.pt2").module()
    with pytest.raises(RuntimeError, match=r"shape\[1\] to be equal to 1, but got 3"):
        program(torch.zeros(2, 3, 8, 8))
    with pytest.raises(RuntimeError, match=r"shape\[2\] to be equal to 8, but got 9"):
        program(torch.zeros(2, 1, 9, 8))


def test_exports_of_before_all_checksums_still_load(exported: Path, copy: Path) -> None:
    record = json.loads((copy / "subnet.json").read_text())
    del record["files"]
    (copy / "subnet.json").write_text(json.dumps(record))
    x = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(load_subnet(copy)(x), load_subnet(exported)(x))


def test_an_existing_export_is_refused_before_any_work(
    checkpoint: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert run(checkpoint, ARCH, copy, "--formats") == 2
    assert f"{copy} holds an exported subnet; pass --overwrite to replace" in error_line(capsys)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert run(checkpoint, ARCH, copy, "--formats", "--overwrite") == 0
    assert (copy / "notes.txt").read_text() == "mine"
    assert load_subnet(copy)


def test_an_export_that_is_being_moved_into_place_is_read_whole(
    checkpoint: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after the first file was moved: weights and record are of one export."""
    other, real, moved = ARCH.replace("nor_conv_1x1", "none"), os.replace, []

    def replace(source: Path, target: Path) -> None:
        if Path(target).parent == copy:
            if len(moved) == 2:
                raise KeyboardInterrupt
            moved.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    assert run(checkpoint, other, copy, "--formats", "--overwrite") == 130
    assert moved == ["cells.png", "weights.safetensors"]
    assert json.loads((copy / "subnet.json").read_text())["architecture"] == ARCH
    assert read_subnet_record(copy)["architecture"] == other
    assert load_subnet(copy)


def test_exporting_again_with_overwrite_replaces_the_files(
    checkpoint: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ARCH.replace("nor_conv_1x1", "none")
    before = (copy / "weights.safetensors").read_bytes()
    assert run(checkpoint, other, copy, "--recalibrate-batches=1", "--formats", "--overwrite") == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["status"], block["subnet"]) == ("finished", str(copy))
    record = read_subnet_record(copy)
    assert (record["architecture"], record["recalibration"]["num_images"]) == (other, 400)
    assert (copy / "weights.safetensors").read_bytes() != before
    names = sorted(path.name for path in copy.iterdir())
    assert names == ["cells.png", "subnet.json", "weights.safetensors"]
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_an_empty_folder_is_taken(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "subnet").mkdir()
    assert run(checkpoint, ARCH, tmp_path / "subnet", "--formats") == 0
    assert load_subnet(tmp_path / "subnet")


def test_anything_else_is_never_overwritten(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "thesis" / "chapter1.txt"
    precious.parent.mkdir()
    precious.write_text("x")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "subnet.json").write_text('{"format": "other"}')
    for output in (precious.parent, precious, tmp_path / "half"):
        assert run(checkpoint, ARCH, output) == 2
        assert "exists and is no exported subnet; choose another folder" in error_line(capsys)
    assert precious.read_text() == "x"
    assert len(list((tmp_path / "half").iterdir())) == 1


def test_a_failed_export_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supernet = load_supernet(checkpoint)
    loaders = reopen_data(read_checkpoint(checkpoint), checkpoint, device=CPU)
    real = load_subnet

    def other_weights(folder: Path) -> torch.nn.Module:
        subnet = real(folder)
        with torch.no_grad():
            next(subnet.parameters()).add_(0.5)
        return subnet

    monkeypatch.setattr(subnet_folder, "load_subnet", other_weights)
    with pytest.raises(RuntimeError, match="reloaded weights.safetensors gives logits that differ"):
        export_subnet(
            supernet,
            supernet.space.parse(ARCH),
            loaders,
            tmp_path / "subnet",
            device=CPU,
            formats=(),
        )
    assert list(tmp_path.iterdir()) == []


def test_the_supernet_is_only_read(checkpoint: Path, tmp_path: Path) -> None:
    supernet = load_supernet(checkpoint)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    loaders = reopen_data(read_checkpoint(checkpoint), checkpoint, device=CPU)
    arch = supernet.space.parse(ARCH)
    export_subnet(supernet, arch, loaders, tmp_path / "subnet", device=CPU, formats=())
    assert all(torch.equal(before[name], t) for name, t in supernet.state_dict().items())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_damaged_weights_are_refused(damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / "weights.safetensors")
    assert "weights.safetensors" in refusal(copy)


def test_weights_that_do_not_fit_are_refused_in_one_line(copy: Path) -> None:
    path = copy / "weights.safetensors"
    weights = load_file(path)
    removed = sorted(weights)[:2]
    save_file({name: weights[name] for name in weights if name not in removed}, path)
    record = json.loads((copy / "subnet.json").read_text())
    record["weights_sha256"] = export_files.sha256(path)
    (copy / "subnet.json").write_text(json.dumps(record))
    assert "do not fit its settings" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "was not written by supernet-export"),
        ({"version": 2}, "has version 2, this version reads up to 1; update"),
        ({"space": "elsewhere"}, "is of space 'elsewhere', which is unknown here"),
        ({"architecture": "|x|"}, "is damaged: '|x|' is not a NAS-Bench-201 architecture"),
        ({"settings": {"num_classes": 10, "width": 3}}, "is damaged: "),
        ({"settings": None}, "settings must be values by name, got None"),
    ],
)
def test_damaged_records_are_refused(change: dict[str, Any], message: str, copy: Path) -> None:
    record = json.loads((copy / "subnet.json").read_text()) | change
    (copy / "subnet.json").write_text(json.dumps(record))
    assert message in refusal(copy)


def test_any_value_of_a_record_is_read_or_refused_in_a_line(
    edits: Callable[..., Any], is_refused: Callable[..., bool], copy: Path
) -> None:
    path = copy / "subnet.json"
    whole, num_refused = json.loads(path.read_text()), 0
    for at, edited in edits(whole, every=6):
        path.write_text(json.dumps(edited))
        is_light = at[0] in ("cost", "data", "files", "formats", "metrics", "versions")
        read = read_subnet_record if is_light else RetrainSource.of_subnet
        num_refused += is_refused(copy, partial(read, copy))
    assert num_refused > 50


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_by_file_and_name(value: float, copy: Path) -> None:
    path = copy / "weights.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("running_var"))
    weights[name].view(-1)[1] = value
    save_file(weights, path)
    record = json.loads((copy / "subnet.json").read_text())
    record["weights_sha256"] = export_files.sha256(path)
    (copy / "subnet.json").write_text(json.dumps(record))
    message = refusal(copy)
    assert f"{path}: {name} has 1 of" in message and "NaN or infinite" in message


def test_folders_that_are_no_exports_are_refused(copy: Path, tmp_path: Path) -> None:
    for text in ("", "{", "[1, 2]"):
        (copy / "subnet.json").write_text(text)
        refusal(copy)
    (copy / "subnet.json").unlink()
    for folder in (copy, tmp_path / "none"):
        assert f"{folder} holds no exported subnet (no subnet.json); give the" in refusal(folder)


@pytest.mark.parametrize(
    ("arch", "flags", "message"),
    [
        ("|none~0|", [], "'|none~0|' is not a NAS-Bench-201 architecture: it has 1"),
        (ARCH.replace("none", "conv"), [], "unknown operation 'conv'"),
        ("none.json", [], "There is no file none.json; give a best.json of supernet-search"),
        (ARCH, ["--formats", "timm"], "timm has no networks of space 'nasbench201'"),
        (ARCH, ["--device", "tpu"], "Unknown device 'tpu'"),
        (ARCH, ["--data-dir", "x"], "digits come with scikit-learn; leave out --data-dir x."),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    arch: str,
    flags: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(checkpoint, arch, tmp_path / "subnet", *flags) == 2
    assert message in error_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["supernet", "arch", "output"])
def test_what_is_needed_is_named(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"--{name}=x" for name in ("supernet", "arch", "output") if name != missing]
    assert main(given) == 2
    assert f"--{missing} is required" in error_line(capsys)


def test_a_bad_supernet_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "subnet"
    assert run(tmp_path / "none.pt", ARCH, output) == 2
    assert "There is no checkpoint" in error_line(capsys)
    bad = tmp_path / "bad.pt"
    bad.write_bytes(checkpoint.read_bytes()[:5000])
    assert run(bad, ARCH, output) == 2
    assert "truncated" in error_line(capsys)
    torch.save({"a": 1}, bad)
    assert run(bad, ARCH, output) == 2
    assert "is not a supernet checkpoint" in error_line(capsys)
    stored = torch.load(checkpoint, weights_only=True)
    torch.save(stored | {"space": "elsewhere"}, bad)
    assert run(bad, ARCH, output) == 2
    assert "space 'elsewhere', which is unknown here; known are nasbench201" in error_line(capsys)
    torch.save(stored | {"space": "mobilenetv3"}, bad)
    assert run(bad, ARCH, output, "--space", "nasbench201") == 2
    assert "holds a supernet of space 'mobilenetv3', not 'nasbench201'" in error_line(capsys)
    torch.save({key: stored[key] for key in stored if key != "data"}, bad)
    assert run(bad, ARCH, output) == 2
    assert "without its training and data settings" in error_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


def test_other_images_than_those_of_the_training_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    stored["data"]["split_digest"] = "0" * 64
    torch.save(stored, tmp_path / "last.pt")
    assert run(tmp_path / "last.pt", ARCH, tmp_path / "subnet") == 2
    assert "The images of digits are not those" in error_line(capsys)


def test_an_output_below_a_file_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert run(checkpoint, ARCH, tmp_path / "file" / "subnet") == 2
    assert "Cannot write to" in error_line(capsys)


def test_best_json_gives_the_first_architecture_and_its_trial(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = tmp_path / "best.json"
    trial = {"number": 3, "architecture": ARCH, "score": -1.5}
    best.write_text(json.dumps({"space": "nasbench201", "best": [trial, {}]}))
    assert run(checkpoint, str(best), tmp_path / "subnet", "--formats") == 0
    record = read_subnet_record(tmp_path / "subnet")
    assert (record["architecture"], record["provenance"]["trial"]) == (ARCH, trial)
    capsys.readouterr()
    for text in ("{", "[]", '{"space": "nasbench201", "best": []}', '{"best": 3}'):
        best.write_text(text)
        assert run(checkpoint, str(best), tmp_path / "other") == 2
        assert "is not a best.json of supernet-search" in error_line(capsys)
    assert run(checkpoint, str(tmp_path / "gone.json"), tmp_path / "other") == 2
    assert "gone.json; give a best.json of supernet-search, or an arch" in error_line(capsys)
    for space, message in (
        ("elsewhere", "is of space 'elsewhere', which is unknown here"),
        ("darts", "is from space 'darts', but this supernet"),
    ):
        best.write_text(json.dumps({"space": space, "best": [trial]}))
        assert run(checkpoint, str(best), tmp_path / "other") == 2
        assert message in error_line(capsys)
    assert run(checkpoint, str(tmp_path), tmp_path / "other") == 2
    assert f"is a folder; for the best of its search give {best}" in error_line(capsys)
    assert not (tmp_path / "other").exists()


def test_an_architecture_is_read_from_its_notation() -> None:
    space = create_space("nasbench201")
    assert read_architecture(ARCH, space) == (space.parse(ARCH), None)
