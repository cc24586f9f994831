"""Released weights: every naming they come in, and what is said of files that do not fit."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.training.checkpoint import save_supernet
from supernets.training.ofa_checkpoints import load_ofa_checkpoint, to_ofa_state_dict
from supernets.training.released_files import read_released

StateDict = dict[str, Tensor]
BATCHNORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
SIZE = (3, 32, 32)


def randomised(**settings: Any) -> MobileNetV3Supernet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = MobileNetV3Supernet(**{"num_classes": 5, "input_size": SIZE, **settings})
        for name, tensor in supernet.state_dict().items():
            if "num_batches" in name:
                tensor.fill_(7)
            else:
                tensor.uniform_(0.5, 1.5)
    return supernet


@pytest.fixture(scope="module")
def source() -> MobileNetV3Supernet:
    return randomised(width=0.25)


@pytest.fixture
def released(source: MobileNetV3Supernet) -> StateDict:
    """What the file of a released elastic network would hold."""
    return {
        name.replace(".conv.", ".mobile_inverted_conv.", 1)
        if name.startswith("blocks")
        else name: tensor
        for name, tensor in to_ofa_state_dict(source).items()
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ofa_mbv3"


@pytest.fixture
def refusal(path: Path) -> Callable[..., str]:
    """Loads the file and gives back the one line that says why it cannot be."""

    def refusal(**settings: Any) -> str:
        with pytest.raises(ValueError) as caught:
            load_ofa_checkpoint(path, **{"input_size": SIZE, **settings})
        message = str(caught.value)
        assert "\n" not in message
        assert str(path) in message
        return message

    return refusal


def published_names() -> set[str]:
    """The 475 tensors of a released file, written out by the structure of the network."""
    names = {"feature_mix_layer.conv.weight"}
    names |= {f"classifier.linear.{part}" for part in ("weight", "bias")}
    convs = ["first_conv.conv", "final_expand_layer.conv"]
    norms = ["first_conv.bn", "final_expand_layer.bn"]
    first = "blocks.0.mobile_inverted_conv"
    convs += [f"{first}.depth_conv.conv", f"{first}.point_linear.conv"]
    norms += [f"{first}.depth_conv.bn", f"{first}.point_linear.bn"]
    for i in range(1, 21):
        block = f"blocks.{i}.mobile_inverted_conv"
        for part in ("inverted_bottleneck", "depth_conv", "point_linear"):
            convs.append(f"{block}.{part}.conv.conv")
            norms.append(f"{block}.{part}.bn.bn")
        names |= {f"{block}.depth_conv.conv.{matrix}_matrix" for matrix in ("7to5", "5to3")}
        if i in (5, 6, 7, 8, *range(13, 21)):
            for layer in ("reduce", "expand"):
                names |= {f"{block}.depth_conv.se.fc.{layer}.{p}" for p in ("weight", "bias")}
    names |= {f"{conv}.weight" for conv in convs}
    return names | {f"{norm}.{part}" for norm in norms for part in BATCHNORM}


def test_names_are_those_of_the_released_files(released: StateDict) -> None:
    assert released.keys() == published_names()
    assert len(released) == 475


@pytest.mark.parametrize(
    ("width", "num_params", "stem", "middle", "squeezed", "head"),
    [(1.0, 7_678_880, 16, 960, 240, 1280), (1.2, 10_715_752, 24, 1152, 288, 1536)],
)
def test_shapes_are_those_of_the_released_files(
    width: float, num_params: int, stem: int, middle: int, squeezed: int, head: int
) -> None:
    with torch.device("meta"):
        supernet = MobileNetV3Supernet(num_classes=1000, width=width)
    shapes = {name: tuple(t.shape) for name, t in to_ofa_state_dict(supernet).items()}
    last = "blocks.20.conv"
    assert shapes["first_conv.conv.weight"] == (stem, 3, 3, 3)
    assert shapes[f"{last}.inverted_bottleneck.conv.conv.weight"] == (middle, middle // 6, 1, 1)
    assert shapes[f"{last}.depth_conv.conv.conv.weight"] == (middle, 1, 7, 7)
    assert shapes[f"{last}.depth_conv.conv.7to5_matrix"] == (25, 25)
    assert shapes[f"{last}.depth_conv.conv.5to3_matrix"] == (9, 9)
    assert shapes[f"{last}.depth_conv.se.fc.reduce.weight"] == (squeezed, middle, 1, 1)
    assert shapes[f"{last}.point_linear.conv.conv.weight"] == (middle // 6, middle, 1, 1)
    assert shapes["classifier.linear.weight"] == (1000, head)
    assert sum(p.numel() for p in supernet.parameters()) == num_params


def current(released: StateDict) -> StateDict:
    return {name.replace("mobile_inverted_conv", "conv"): t for name, t in released.items()}


def wrapped_classifier(released: StateDict) -> StateDict:
    return {name.replace(".linear.", ".linear.linear."): t for name, t in released.items()}


def distributed(released: StateDict) -> StateDict:
    return {f"module.{name}": tensor for name, tensor in released.items()}


def not_nested(released: StateDict) -> StateDict:
    return {
        name.replace(".conv.conv.", ".conv.").replace(".bn.bn.", ".bn."): tensor
        for name, tensor in released.items()
    }


NAMINGS = {
    "released": dict,
    "current": current,
    "wrapped-classifier": wrapped_classifier,
    "distributed": distributed,
    "not-nested": not_nested,
    "current-not-nested": lambda released: not_nested(current(released)),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_naming_gives_the_same_weights(
    naming: str,
    path: Path,
    source: MobileNetV3Supernet,
    released: StateDict,
    weights_of: Callable[[nn.Module], StateDict],
    assert_same_weights: Callable[..., None],
) -> None:
    renamed = NAMINGS[naming](released)
    assert len(renamed) == len(released)
    torch.save({"state_dict": renamed}, path)
    loaded = load_ofa_checkpoint(path, input_size=SIZE)
    assert_same_weights(loaded, weights_of(source))
    assert loaded.settings == source.settings
    assert not loaded.training


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-1.6"])
@pytest.mark.parametrize("contents", ["bare", "state_dict", "with-epoch"])
def test_every_container_gives_the_same_weights(
    contents: str, zipped: bool, path: Path, source: MobileNetV3Supernet, released: StateDict,
    weights_of: Callable[[nn.Module], StateDict], assert_same_weights: Callable[..., None],
) -> None:  # fmt: skip
    thing = {
        "bare": released,
        "state_dict": {"state_dict": released},
        "with-epoch": {"epoch": 119, "best_acc": 76.1, "state_dict": released},
    }[contents]
    torch.save(thing, path, _use_new_zipfile_serialization=zipped)
    assert_same_weights(load_ofa_checkpoint(path, input_size=SIZE), weights_of(source))


def test_a_static_full_network_leaves_kernel_transforms_at_the_identity(
    path: Path, source: MobileNetV3Supernet, released: StateDict, caplog: pytest.LogCaptureFixture
) -> None:
    static = not_nested({n: t for n, t in released.items() if not n.endswith("_matrix")})
    torch.save({"state_dict": static}, path)
    with caplog.at_level(logging.INFO):
        loaded = load_ofa_checkpoint(path, input_size=SIZE)
    assert "no kernel transforms" in caplog.text
    expected = source.state_dict()
    for name, tensor in loaded.state_dict().items():
        identity = "kernel_transforms" in name
        assert torch.equal(tensor, torch.eye(len(tensor)) if identity else expected[name]), name


def test_nothing_is_said_of_a_file_that_fits(
    path: Path, released: StateDict, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(released, path)
    with caplog.at_level(logging.INFO):
        load_ofa_checkpoint(path, input_size=SIZE)
    assert not caplog.records


@pytest.mark.parametrize("width", [0.121, 0.25, 0.35, 0.5, 1.0, 1.2])
def test_width_is_found_in_the_shapes(width: float, path: Path) -> None:
    source = MobileNetV3Supernet(num_classes=3, width=width, input_size=SIZE)
    torch.save(to_ofa_state_dict(source), path)
    found = load_ofa_checkpoint(path, input_size=SIZE).settings["width"]
    assert found == width  # the roundest of those that fit
    assert load_ofa_checkpoint(path, width=width, input_size=SIZE).settings["width"] == width


def test_the_supernet_is_built_for_other_images(path: Path) -> None:
    torch.save(to_ofa_state_dict(randomised(width=0.25, input_size=(1, 32, 32))), path)
    loaded = load_ofa_checkpoint(path, input_size=(1, 64, 64), resolutions=(32, 64))
    assert loaded.input_size == (1, 64, 64)
    assert loaded.space.resolutions == (32, 64)
    assert loaded.conv_stem.in_channels == 1


def test_another_number_of_classes_starts_a_new_classifier(
    path: Path, source: MobileNetV3Supernet, released: StateDict, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(released, path)
    same = load_ofa_checkpoint(path, num_classes=5, input_size=SIZE)
    assert torch.equal(same.classifier.weight, source.classifier.weight)
    with caplog.at_level(logging.INFO):
        other = load_ofa_checkpoint(path, num_classes=7, input_size=SIZE)
    assert "5 classes, not 7: the classifier starts afresh" in caplog.text
    assert other.num_classes == 7
    assert other.classifier.weight.abs().max() < 0.5  # all were larger in the file
    assert torch.equal(other.conv_head.weight, source.conv_head.weight)


def test_a_missing_file_is_named(refusal: Callable[..., str], path: Path) -> None:
    assert "There is no file at" in refusal()
    path.mkdir()
    assert "There is no file at" in refusal()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-1.6"])
def test_truncated_files_are_refused(
    zipped: bool, refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    torch.save({"state_dict": released}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    lengths = [0, 1, 2, 4, 13, 14, 20, 30, 100, 150, 1000, 1003, 10_000, 60_000]
    lengths += [len(whole) // 2, len(whole) - 100, len(whole) - 1]
    for length in lengths:
        path.write_bytes(whole[:length])
        assert "truncated or damaged" in refusal()


def test_damaged_files_are_refused(
    refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    torch.save({"state_dict": released}, path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(released["classifier.linear.weight"].numpy().tobytes()) + 2] ^= 1
    path.write_bytes(whole)
    assert "truncated or damaged" in refusal()


def test_garbage_is_refused(refusal: Callable[..., str], path: Path) -> None:
    rng = random.Random(0)
    starts = (b"", b"\x80\x02", b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    for start in starts:
        for size in (0, 5, 64, 1000):
            for _ in range(10):
                path.write_bytes(start + rng.randbytes(size))
                assert "is not a file of PyTorch weights" in refusal()


@pytest.mark.parametrize(
    "thing",
    [torch.zeros(3), [1, 2], None, {"epoch": 3}, {0: torch.zeros(2)}, Path("not a plain type")],
    ids=["tensor", "list", "none", "number", "key", "class"],
)
def test_other_torch_files_are_refused(thing: Any, refusal: Callable[..., str], path: Path) -> None:
    torch.save(thing, path)
    assert "is not a file of PyTorch weights" in refusal()


def test_names_of_another_network_are_listed(
    refusal: Callable[..., str], path: Path, source: MobileNetV3Supernet
) -> None:
    save_supernet(path, source)
    message = refusal()
    assert "first_conv.conv.weight, first_conv.bn.weight, first_conv.bn.bias and 4" in message
    assert "missing; conv_stem.weight, bn1.weight, bn1.bias and 4" in message
    assert "more unexpected; expected a released OFA-MobileNetV3" in message


def test_missing_and_unexpected_names_are_exact(
    refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    name = "blocks.7.mobile_inverted_conv.point_linear.bn.bn.bias"
    other = "blocks.7.mobile_inverted_conv.depth_conv.conv.7to3_matrix"
    torch.save({**{n: t for n, t in released.items() if n != name}, other: torch.eye(9)}, path)
    message = refusal()
    assert f"blocks.7.conv.point_linear.bn.bias missing; {other} unexpected;" in message


def test_some_kernel_transforms_without_the_others_are_refused(
    refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    del released["blocks.7.mobile_inverted_conv.depth_conv.conv.5to3_matrix"]
    torch.save(released, path)
    assert "blocks.7.conv.depth_conv.conv.5to3_matrix missing;" in refusal()


def test_two_spellings_of_a_tensor_are_refused(
    refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    torch.save({**released, "classifier.linear.linear.bias": torch.zeros(5)}, path)
    message = refusal()
    assert "both classifier.linear.bias and classifier.linear.linear.bias" in message


def test_shapes_are_compared(refusal: Callable[..., str], path: Path, released: StateDict) -> None:
    name = "blocks.20.mobile_inverted_conv.depth_conv.conv.conv.weight"
    whole = released[name]
    released[name] = whole[:, :, 1:-1, 1:-1]
    torch.save(released, path)
    channels = len(whole)
    message = refusal()
    assert f"{name} has shape ({channels}, 1, 5, 5), ({channels}, 1, 7, 7) was" in message
    assert "width 0.25 and 3 channels" in message


def test_images_of_other_channels_are_refused(
    refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    torch.save(released, path)
    message = refusal(input_size=(1, 32, 32))
    assert "first_conv.conv.weight has shape (8, 3, 3, 3), (8, 1, 3, 3) was expected" in message


def test_another_width_than_the_files_is_refused(
    refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    torch.save(released, path)
    assert "is of width 0.25, not 1.2" in refusal(width=1.2)


@pytest.mark.parametrize("stem", [torch.zeros(7, 3, 3, 3), torch.tensor(1.0)], ids=["7", "scalar"])
def test_widths_of_no_multiplier_are_refused(
    stem: Tensor, refusal: Callable[..., str], path: Path, released: StateDict
) -> None:
    released["first_conv.conv.weight"] = stem
    torch.save(released, path)
    channels = 7 if stem.dim() else 0
    assert f"no width multiplier gives {channels} channels of the stem" in refusal()


def is_equal(supernet: MobileNetV3Supernet, source: MobileNetV3Supernet) -> bool:
    own = source.state_dict()
    return all(torch.equal(t, own[name]) for name, t in supernet.state_dict().items())


def zeros(weights: StateDict) -> StateDict:
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


@pytest.mark.parametrize("name", ["state_dict", "model", "ema", "net", "model_ema"])
def test_weights_are_found_in_what_trainings_wrap_them_in(
    name: str, released: StateDict, source: MobileNetV3Supernet, path: Path
) -> None:
    for contents in ({name: released, "epoch": 3}, {"ema": {name: released}}):
        torch.save(contents, path)
        assert is_equal(load_ofa_checkpoint(path, input_size=SIZE), source)


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema")],
)
def test_averaged_weights_are_taken_where_raw_ones_stand_beside_and_that_is_said(
    raw: str,
    averaged: str,
    released: StateDict,
    source: MobileNetV3Supernet,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    torch.save({raw: zeros(released), averaged: released}, path)
    assert is_equal(load_ofa_checkpoint(path, input_size=SIZE), source)
    assert f"averaged weights ({averaged}) beside raw ones ({raw})" in caplog.text
    torch.save({raw: released, averaged: zeros(released)}, path)
    assert is_equal(load_ofa_checkpoint(path, weights="raw", input_size=SIZE), source)
    assert read_released(path, expected="weights").provenance == {
        "file": path.name,
        "field": averaged,
        "is_averaged": True,
    }
    assert read_released(path, "raw", expected="weights").provenance["field"] == raw
    torch.save({averaged: released}, path)
    with pytest.raises(ValueError, match=f"holds averaged weights .{averaged}. and no raw ones"):
        read_released(path, "raw", expected="weights")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["first_conv.conv.weight", "first_conv.bn.running_var"])
def test_values_that_are_not_finite_are_refused_by_the_tensors_name(
    value: float, part: str, released: StateDict, path: Path, refusal: Callable[..., str]
) -> None:
    broken = released[part].clone()
    broken.view(-1)[0] = value
    torch.save({"state_dict": {**released, part: broken}}, path)
    assert f"{part} has 1 of {broken.numel()} values that are NaN or infinite" in refusal()


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("conv.", "conv._orig_mod.", 1),
        lambda name: name.replace("blocks.", "blocks.module.", 1),
    ],
)
def test_wrappers_of_modules_leave_names_alone(
    wrapped: Callable[[str], str],
    released: StateDict,
    source: MobileNetV3Supernet,
    path: Path,
) -> None:
    contents: dict[str, Any] = {wrapped(name): tensor for name, tensor in released.items()}
    torch.save({**contents, "n_averaged": torch.tensor(3)}, path)
    assert is_equal(load_ofa_checkpoint(path, input_size=SIZE), source)


def test_files_without_counts_of_batches_and_of_safetensors_load(
    released: StateDict, source: MobileNetV3Supernet, tmp_path: Path
) -> None:
    counted = {n: t.contiguous() for n, t in released.items() if "num_batches" not in n}
    save_file(counted, tmp_path / "ofa.safetensors")
    loaded = load_ofa_checkpoint(tmp_path / "ofa.safetensors", input_size=SIZE).state_dict()
    own = source.state_dict()
    assert all(torch.equal(t, own[n]) for n, t in loaded.items() if "num_batches" not in n)
    (tmp_path / "ofa.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is not a file of PyTorch weights"):
        load_ofa_checkpoint(tmp_path / "ofa.safetensors", input_size=SIZE)
