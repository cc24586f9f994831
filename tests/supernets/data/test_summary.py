"""The line on opened data, and images that are in two splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from supernets.data import summary as data_summary
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.data.summary import count_copies, summary

SIZES = {"train": 240, "val": 60, "test": 50}


def test_line_names_classes_splits_and_what_is_passed_over() -> None:
    assert summary(("bus", "car", "train"), SIZES, {"hidden": 2, ".heic": 10}) == (
        "3 classes (bus, car, train): 240 train, 60 val, 50 test images; "
        "12 files passed over: 10 .heic, 2 hidden"
    )
    many = summary([str(i) for i in range(1000)], SIZES, {f".{i}": 10 - i for i in range(8)})
    assert many.startswith("1000 classes (0, 1, 2, 3, 4, …): 240 train")
    assert many.endswith("52 files passed over: 10 .0, 9 .1, 8 .2, 7 .3, 6 .4, 12 others")
    assert summary(("a", "b"), SIZES, None).endswith("50 test images")
    assert summary(("a\nb", "c"), SIZES, None).startswith("2 classes (a b, c): ")


@pytest.fixture(params=["folder", "timm"])
def reader(request: pytest.FixtureRequest) -> str:
    """What reads a folder of images."""
    return str(request.param)


def test_equal_images_in_two_splits_are_a_warning_with_their_number(
    reader: str,
    tmp_path: Path,
    write_images: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in "ab":
        for split, count in (("train", 6), ("val", 3), ("test", 3)):
            write_images(tmp_path / split / name, count)
    for source, target in (
        ("train/a/000", "test/a/x"),
        ("train/b/001", "val/b/y"),
        ("train/a/002",) * 2,
    ):
        (tmp_path / f"{target}.png").write_bytes((tmp_path / f"{source}.png").read_bytes())
    loaders = create_loaders(DataConfig(reader, data_dir=tmp_path, image_size=8), num_workers=0)
    assert loaders.settings["found"]["images_in_two_splits"] == 2
    (message,) = (r.message for r in caplog.records if "in two splits" in r.message)
    assert message.startswith("2 images are in two splits, such as ")


def test_equal_files_that_are_no_images_are_no_copies_and_their_class_is_named(
    tmp_path: Path, write_images: Callable[..., None], caplog: pytest.LogCaptureFixture, reader: str
) -> None:
    for name in "ab":
        write_images(tmp_path / "train" / name, 6)
    write_images(tmp_path / "test" / "a", 3)
    for path in ("train/a/x.jpg", "train/b/x.jpg", "test/b/x.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"<html>404</html>")
    loaders = create_loaders(
        DataConfig(reader, data_dir=tmp_path, image_size=8, skip_bad_images=True), num_workers=0
    )
    assert loaders.settings["found"]["images_in_two_splits"] == 0
    assert "in two" not in caplog.text
    assert "The test split has no readable image of b." in caplog.text


def test_files_are_compared_by_all_of_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(data_summary, "_is_image", lambda path: True)
    whole = bytes(20_000)
    for name, content in enumerate((whole, whole, b"x" + whole[1:], whole[:-1] + b"x", b"", b"")):
        (tmp_path / str(name)).write_bytes(content)
    middle = bytearray(whole)
    middle[10_000] = 1
    (tmp_path / "6").write_bytes(middle)
    splits = {"train": np.array([0, 2, 4]), "val": np.array([3, 6]), "test": np.array([1, 5, 7])}

    def count() -> int | None:
        return count_copies(lambda i: tmp_path / str(i), splits, np.array([0, 1, 0, 0, 0, 0, 0, 0]))

    assert count() == 1  # 7 is missing, and empty files are none
    assert "1 image is in two classes" in caplog.text
    monkeypatch.setattr(data_summary, "MAX_COMPARED", 7)
    assert count() is None
