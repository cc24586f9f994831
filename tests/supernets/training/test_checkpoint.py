"""Checkpoints: self-describing, atomic, and refused in one line when they are not whole."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from supernets import load_supernet
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.networks.base import Supernet
from supernets.training.checkpoint import (
    FORMAT,
    VERSION,
    read_checkpoint,
    read_training_checkpoint,
    reopen_data,
    save_supernet,
    weights_digest,
)

BNModes = ("ref", "batch", "drnas", "affine")
Make = Callable[..., Supernet]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last.pt"


@pytest.fixture
def saved(path: Path, make_supernet: Make) -> Path:
    save_supernet(path, make_supernet())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        load_supernet(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def saved_object(thing: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("bn_mode", BNModes)
def test_a_checkpoint_rebuilds_the_supernet(bn_mode: str, path: Path, make_supernet: Make) -> None:
    supernet = make_supernet(bn_mode=bn_mode, num_classes=5, seed=3).eval()
    save_supernet(path, supernet)
    loaded = load_supernet(path)
    assert loaded.settings == supernet.settings
    assert not loaded.training
    assert weights_digest(loaded) == weights_digest(supernet)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    arch = supernet.space.architecture([3, 0, 2, 1, 4, 3])
    with torch.inference_mode():
        assert torch.equal(loaded(x, arch), supernet(x, arch))


def test_it_holds_plain_types_only(saved: Path) -> None:
    checkpoint = torch.load(saved, weights_only=True)
    assert (checkpoint["format"], checkpoint["version"]) == (FORMAT, VERSION)
    assert checkpoint["space"] == "nasbench201"


def test_training_state_comes_back(path: Path, make_supernet: Make) -> None:
    data = create_loaders("digits", batch_size=64).settings | {"batch_size": 64}
    state = {"data": data, "data_dir": None, "skip_bad_images": False}
    save_supernet(path, make_supernet(), train_config={"epochs": 3}, **state)
    assert read_training_checkpoint(path)["train_config"] == {"epochs": 3}


def test_a_supernet_without_training_state_loads_but_is_not_continued(saved: Path) -> None:
    assert load_supernet(saved).num_classes == 3
    with pytest.raises(ValueError, match="without its training and data settings"):
        read_training_checkpoint(saved)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert "There is no checkpoint" in refusal(tmp_path / "none.pt")
    assert "There is no checkpoint" in refusal(tmp_path)


def test_folder_of_a_training_says_which_file_of_it_is_wanted(saved: Path) -> None:
    if saved.name != "last.pt":
        saved.rename(saved.with_name("last.pt"))
    with pytest.raises(ValueError, match=r"it is a folder, give .*last\.pt"):
        load_supernet(saved.parent)


def test_every_truncation_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    lengths = [0, 1, 2, 4, 30, 100, 1000, len(whole) // 2, len(whole) - 100, len(whole) - 1]
    for length in lengths:
        saved.write_bytes(whole[:length])
        assert "truncated" in refusal(saved)


def test_garbage_is_refused(path: Path) -> None:
    rng = random.Random(0)
    samples = [rng.randbytes(size) for size in (1, 5, 64, 1000) for _ in range(25)]
    samples += [b"\x80\x02" + rng.randbytes(50) for _ in range(20)]  # begins as a pickle
    samples += [b"PK\x03\x04" + bytes(100), b"hello\n", b"\x89PNG\r\n\x1a\n" + bytes(100)]
    for sample in samples:
        path.write_bytes(sample)
        refusal(path)


def test_a_flipped_bit_in_the_weights_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    weights = load_supernet(saved).state_dict()["skeleton.classifier.weight"]
    position = whole.index(weights.numpy().tobytes())
    damaged = bytearray(whole)
    damaged[position + 2] ^= 1
    saved.write_bytes(damaged)
    assert torch.load(saved, weights_only=True)["format"] == FORMAT  # PyTorch does not notice
    assert "damaged" in refusal(saved)


@pytest.mark.parametrize(
    "thing",
    [
        torch.zeros(3),
        {"state_dict": {}},
        [1, 2],
        None,
        {"format": "other", "version": 1},
        Path("not a plain type"),
    ],
    ids=["tensor", "state_dict", "list", "none", "format", "class"],
)
def test_other_torch_files_are_refused(thing: Any, path: Path) -> None:
    path.write_bytes(saved_object(thing))
    assert "is not a supernet checkpoint; expected one from supernet-train" in refusal(path)


def test_a_newer_version_asks_for_an_update(path: Path) -> None:
    path.write_bytes(saved_object({"format": FORMAT, "version": VERSION + 1}))
    assert f"version {VERSION + 1}" in refusal(path)
    assert "update" in refusal(path)


def test_an_unknown_space_is_named(saved: Path) -> None:
    checkpoint = read_checkpoint(saved) | {"space": "elsewhere"}
    saved.write_bytes(saved_object(checkpoint))
    assert "space 'elsewhere', which is unknown here; known are nasbench201" in refusal(saved)


def test_weights_of_another_size_are_refused(saved: Path) -> None:
    checkpoint = read_checkpoint(saved)
    checkpoint["supernet_settings"]["channels"] = 5
    saved.write_bytes(saved_object(checkpoint))
    assert "do not fit" in refusal(saved)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
def test_a_failed_write_leaves_the_old_checkpoint_and_nothing_else(
    kind: type[BaseException],
    saved: Path,
    make_supernet: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = saved.read_bytes()

    def save(thing: Any, file: Any) -> None:
        file.write(b"half")
        raise kind("disk full")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(kind):
        save_supernet(saved, make_supernet(seed=1))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_the_digest_follows_weights_and_names_alone(path: Path, make_supernet: Make) -> None:
    supernet = make_supernet()
    digest = weights_digest(supernet)
    assert weights_digest(make_supernet()) == digest
    assert weights_digest(make_supernet().to(memory_format=torch.channels_last)) == digest
    assert weights_digest(make_supernet(seed=1)) != digest
    with torch.no_grad():
        supernet.get_parameter("skeleton.classifier.bias")[1] += 1e-6
    assert weights_digest(supernet) != digest


def test_timm_data_are_reopened_as_they_were(
    tmp_path: Path, write_images: Callable[..., None], assert_same: Callable[..., None]
) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / "train" / name, 10)
        write_images(tmp_path / "official" / name, 2)
    loaders = create_loaders(
        DataConfig(
            "timm",
            data_dir=tmp_path,
            image_size=12,
            num_val=4,
            augmentation=TimmAugmentation(color_jitter=(0.1, 0.2, 0.3), interpolation="bicubic"),
            timm_options=TimmOptions(test_split="official", crop_pct=0.5),
        ),
        batch_size=3,
        seed=5,
        num_workers=0,
    )
    stored = json.loads(json.dumps({**loaders.settings, "batch_size": 3}))
    checkpoint = {"data": stored, "data_dir": str(tmp_path), "skip_bad_images": False}

    def reopen(**settings: Any) -> Loaders:
        return reopen_data(
            checkpoint, Path("last.pt"), device=torch.device("cpu"), num_workers=0, **settings
        )

    again = reopen()
    assert again.settings == loaders.settings
    for split in ("train", "train_eval", "val", "test"):
        assert_same(getattr(again, split), getattr(loaders, split))
    larger = reopen(image_size=20, batch_size=7)
    assert (larger.input_size, larger.train.batch_size) == ((3, 20, 20), 7)
    assert larger.settings == {**loaders.settings, "image_size": 20}
    with pytest.raises(ValueError, match="image_size must be at least 1, got 0"):
        reopen(image_size=0)


def test_what_is_passed_over_may_change_but_no_image(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 10)
    loaders = create_loaders(DataConfig("folder", data_dir=tmp_path), num_workers=0)
    stored = {**loaders.settings, "batch_size": 3}
    checkpoint = {"data": stored, "data_dir": str(tmp_path), "skip_bad_images": False}

    def reopen() -> Loaders:
        return reopen_data(checkpoint, Path("x"), device=torch.device("cpu"), num_workers=0)

    (tmp_path / "cat/notes.txt").write_text("x")
    assert reopen().settings["found"]["passed_over"] == {".txt": 1}
    del stored["found"]  # as earlier versions had it
    reopen()
    (tmp_path / "cat/000.png").rename(tmp_path / "cat/100.png")
    with pytest.raises(ValueError, match="are not those x was trained on"):
        reopen()


def test_timm_data_of_a_version_that_tested_on_val_beside_test_are_reopened(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    for name in ("cat", "dog"):
        for split, count in (("train", 10), ("val", 3), ("test", 2)):
            write_images(tmp_path / split / name, count)
    then = create_loaders(
        DataConfig("timm", data_dir=tmp_path, timm_options=TimmOptions(test_split="val")),
        num_workers=0,
    )
    stored = {**then.settings, "batch_size": 3, "timm_options": {"test_split": None}}
    del stored["found"]
    checkpoint = {"data": stored, "data_dir": str(tmp_path), "skip_bad_images": False}
    again = reopen_data(checkpoint, Path("x"), device=torch.device("cpu"), num_workers=0)
    assert [again.settings[f"num_{split}"] for split in ("train", "val", "test")] == [16, 4, 6]
