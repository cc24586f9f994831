"""Folders as people have them: the same splits, classes and images whichever reader takes them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from supernets.data.config import DataConfig
from supernets.data.image_scan import image_extensions, split_of
from supernets.data.image_tree import look_at
from supernets.data.loaders import Loaders, create_loaders

READERS = ("folder", "timm")
WriteImages = Callable[..., None]


def fill(data_dir: Path, write_images: WriteImages, **counts: int) -> None:
    """Folders ``a__b`` for ``a/b``, with so many images."""
    for name, count in counts.items():
        write_images(data_dir / name.replace("__", "/"), count)


def open_both(data_dir: Path) -> tuple[Loaders, Loaders]:
    folder, timm = (
        create_loaders(
            DataConfig(reader, data_dir=data_dir, image_size=8), batch_size=4, num_workers=0
        )
        for reader in READERS
    )
    return folder, timm


def counts(loaders: Loaders) -> list[int]:
    return [loaders.settings[f"num_{split}"] for split in ("train", "val", "test")]


@pytest.fixture
def classes(tmp_path: Path, write_images: WriteImages) -> Path:
    """Ten images of a and of b."""
    fill(tmp_path, write_images, a=10, b=10)
    return tmp_path


def test_images_belong_to_the_uppermost_folder_however_deep(
    tmp_path: Path, write_images: WriteImages
) -> None:
    fill(tmp_path, write_images, cat__cam1=5, cat__cam2=5, dog__cam1=5, dog__cam2__day=5)
    for loaders in open_both(tmp_path):
        assert loaders.class_names == ("cat", "dog")
        assert sum(counts(loaders)) == 20


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("TRAINING", "valid", "testing"),
        ("train_set", "Validation Set", "test-set"),
        ("train", "eval", "test"),
        ("train", "val", "test"),
    ],
)
def test_splits_have_any_case_and_usual_spelling(
    tmp_path: Path, write_images: WriteImages, train: str, val: str, test: str
) -> None:
    for split, count in ((train, 8), (val, 3), (test, 2)):
        for name in "ab":
            write_images(tmp_path / split / name, count)
    for loaders in open_both(tmp_path):
        assert (loaders.class_names, counts(loaders)) == (("a", "b"), [16, 6, 4])
    shutil.rmtree(tmp_path / test)  # then val is the test split, as in ImageNet
    for loaders in open_both(tmp_path):
        assert counts(loaders) == [12, 4, 6]


def test_names_that_are_no_splits_are_classes() -> None:
    for name in ("trains", "trainer", "tests", "value", "cat", "set", "images", "2017"):
        assert split_of(name) is None, name


def test_two_folders_of_one_split_are_refused(tmp_path: Path, write_images: WriteImages) -> None:
    fill(tmp_path, write_images, train__a=4, train__b=4, val__a=2, valid__a=2)
    with pytest.raises(ValueError, match=r"has two folders of the val split, val and valid"):
        look_at(tmp_path)


def test_hidden_and_system_files_are_counted_and_never_read(classes: Path) -> None:
    hidden = classes / "a" / ".ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(classes / "a/000.png", hidden / "000-checkpoint.png")
    shutil.copytree(classes / "a", classes / ".cache")
    shutil.copy(classes / "a/000.png", classes / "b/._001.png")
    shutil.copytree(classes / "b", classes / "__MACOSX" / "b")
    (classes / "b/Thumbs.db").write_bytes(b"x")
    (classes / "labels").write_text("x")
    for loaders in open_both(classes):
        assert (loaders.class_names, sum(counts(loaders))) == (("a", "b"), 20)
        assert loaders.settings["found"]["passed_over"] == {
            ".db": 1,
            "hidden": 13,
            "in __MACOSX": 11,
            "without extension": 1,
        }
        assert loaders.settings["found"]["images_in_two_splits"] == 0


def test_both_readers_take_all_that_pillow_opens(classes: Path) -> None:
    (classes / "c").mkdir()
    image = Image.new("RGB", (16, 16), (1, 2, 3))
    suffixes = ("bmp", "TIF", "tiff", "webp", "gif", "ppm", "JPEG", "jp2", "tga", "ico")
    for number, suffix in enumerate(suffixes):
        image.putpixel((0, 0), (number, 0, 0))
        image.save(classes / "c" / f"{number}.{suffix}")
    for suffix in ("heic", "pdf", "h5", "eps", "txt"):
        (classes / "c" / f"x.{suffix}").write_bytes(b"x")
    for loaders in open_both(classes):
        assert (loaders.class_names, sum(counts(loaders))) == (("a", "b", "c"), 30)
        assert sum(loaders.settings["found"]["passed_over"].values()) == 5
        for loader in (loaders.train_eval, loaders.val, loaders.test):
            list(loader)
    assert {".png", ".jpg", ".mpo", ".avif"} <= image_extensions()


def test_links_are_followed_once_and_never_in_circles(classes: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "linked"
    data_dir.mkdir()
    (data_dir / "a").symlink_to(classes / "a")
    (data_dir / "b").mkdir()
    for image in (classes / "b").iterdir():
        (data_dir / "b" / image.name).symlink_to(image)
    (data_dir / "b/again.png").symlink_to("000.png")
    (data_dir / "b/loop").symlink_to(data_dir)
    (data_dir / "b/self").symlink_to(".")
    (data_dir / "b/gone.png").symlink_to("nowhere.png")
    (data_dir / "twin").symlink_to("a")
    for loaders in open_both(data_dir):
        assert (loaders.class_names, sum(counts(loaders))) == (("a", "b"), 20)
        assert loaders.settings["found"]["passed_over"] == {
            "broken links": 1,
            "links in a circle": 2,
            "reached twice by links": 11,
        }


def test_splits_under_other_names_are_refused_as_classes(
    tmp_path: Path, write_images: WriteImages
) -> None:
    for train, test in (
        ("seg_train", "seg_test"),
        ("train2017", "val2017"),
        ("x_train", "x_valid"),
        ("TrainVal", "my Test"),
    ):
        data_dir = tmp_path / train
        for name in "ab":
            write_images(data_dir / train / name, 2)
            write_images(data_dir / test / name, 2)
        for reader in READERS:
            with pytest.raises(ValueError, match=f"{train}.* look like splits under other names"):
                create_loaders(DataConfig(reader, data_dir=data_dir))
    fill(tmp_path / "classes", write_images, bullet_train=10, bus_testing=0, restraint=10)
    assert [loaders.num_classes for loaders in open_both(tmp_path / "classes")] == [2, 2]


@pytest.mark.parametrize("inside", ["", "__cam1"])
@pytest.mark.parametrize("name", ["train", "Train", "training"])
def test_class_that_shares_its_name_with_a_split_is_refused_with_a_way_out(
    tmp_path: Path, write_images: WriteImages, name: str, inside: str
) -> None:
    fill(tmp_path, write_images, **{f"{c}{inside}": 10 for c in ("bus", "car", name)})
    for reader in READERS:
        with pytest.raises(ValueError, match=f"A class and a split share the name '{name}': move"):
            create_loaders(DataConfig(reader, data_dir=tmp_path))
    (tmp_path / "all").mkdir()
    for class_name in ("bus", "car", name):
        (tmp_path / class_name).rename(tmp_path / "all" / class_name)
    (tmp_path / "all").rename(tmp_path / "train")
    for loaders in open_both(tmp_path):
        assert (sorted(loaders.class_names), sum(counts(loaders))) == (
            sorted(("bus", "car", name)),
            30,
        )


def test_folder_of_classes_beside_train_is_told_to_take_the_name_of_a_split(
    tmp_path: Path, write_images: WriteImages
) -> None:
    fill(tmp_path, write_images, train__a=9, train__b=9, holdout__a=3, holdout__b=3)
    for reader in READERS:
        with pytest.raises(ValueError, match="If holdout is a split too, call it val or test"):
            create_loaders(DataConfig(reader, data_dir=tmp_path))


def test_class_called_valid_without_a_train_split_stays_a_class(
    tmp_path: Path, write_images: WriteImages, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, write_images, valid=10, broken=10)
    for loaders in open_both(tmp_path):
        assert loaders.class_names == ("broken", "valid")
    assert "valid is taken for a class" in caplog.text


def test_stray_folders_and_images_beside_splits_are_named_and_counted(
    tmp_path: Path, write_images: WriteImages, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, write_images, train__a=9, train__b=9, test__a=2, extra=3, train=1)
    (tmp_path / "labels.csv").write_text("x")
    for loaders in open_both(tmp_path):
        assert sum(counts(loaders)) == 20
        assert loaders.settings["found"]["passed_over"] == {
            ".csv": 1,
            "in extra": 3,
            "outside of class folders": 1,
        }
    assert "extra beside the folders of the splits is not used" in caplog.text
    assert "The test split has no image of b." in caplog.text


def test_test_folder_without_labels_is_passed_over_where_there_is_a_val(
    tmp_path: Path, write_images: WriteImages, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, write_images, train__a=9, train__b=9, val__a=2, val__b=2)
    for flat, count in (("test", 7), ("test/unknown", 14)):
        write_images(tmp_path / flat, 7)
        for loaders in open_both(tmp_path):
            assert counts(loaders)[2] == 4
            assert loaders.settings["found"]["passed_over"] == {"in test": count}
        assert "test has none of the classes of train and is passed over" in caplog.text


def test_empty_class_folder_is_named_and_one_of_unreadable_pictures_refused(
    classes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (classes / "c").mkdir()
    (classes / "d").mkdir()
    (classes / "d/x.txt").write_text("x")
    for loaders in open_both(classes):
        assert loaders.class_names == ("a", "b")
    assert f"{classes / 'c'} holds no image (nothing)." in caplog.text
    assert f"{classes / 'd'} holds no image (1 .txt)." in caplog.text
    for number in range(10):
        (classes / f"c/{number}.HEIC").write_bytes(b"x")
    for reader in READERS:
        with pytest.raises(ValueError, match=r"c holds no image that can be read \(10 \.heic\)"):
            create_loaders(DataConfig(reader, data_dir=classes))


def test_splits_within_classes_and_classes_a_level_deeper_are_refused(
    tmp_path: Path, write_images: WriteImages
) -> None:
    fill(tmp_path / "x", write_images, a__train=3, a__test=3, b__train=3, b__test=3)
    with pytest.raises(
        ValueError, match="expected a folder of classes in each split, train/<class>"
    ):
        look_at(tmp_path / "x")
    fill(tmp_path / "y", write_images, images__a=3, images__b=3)
    with pytest.raises(ValueError, match=r"single class 'images'.* pass --data-dir .*images if"):
        look_at(tmp_path / "y")
    fill(tmp_path / "z", write_images, unpacked__train__a=3, unpacked__test__a=3)
    with pytest.raises(
        ValueError, match=r"single folder, with the splits test, train; pass .*ed\."
    ):
        look_at(tmp_path / "z")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file, not a folder"):
        look_at(tmp_path / "file")


def test_every_opening_says_one_line_and_keeps_it(
    classes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (classes / "a/x.heic").write_bytes(b"x")
    (classes / "b/.x.png").write_bytes(b"x")
    line = (
        "2 classes (a, b): 12 train, 4 val, 4 test images; 2 files passed over: 1 .heic, 1 hidden"
    )
    with caplog.at_level(logging.INFO):
        for loaders in open_both(classes):
            assert loaders.settings["found"]["summary"] == line
        create_loaders("digits")
    lines = [r.message for r in caplog.records if "classes (" in r.message]
    digits = "10 classes (0, 1, 2, 3, 4, …): 1149 train, 288 val, 360 test images"
    assert lines == [line, line, digits]


def test_unreadable_images_are_counted_in_the_line(classes: Path) -> None:
    (classes / "a/000.png").write_bytes(b"")
    loaders = create_loaders(
        DataConfig("folder", data_dir=classes, skip_bad_images=True), num_workers=0
    )
    assert loaders.settings["found"]["summary"].endswith("; 1 file passed over: 1 unreadable")
    assert sum(counts(loaders)) == 19


@pytest.mark.skipif(os.name == "nt", reason="names are not bytes there")
def test_names_that_are_not_utf8_are_read_and_written_in_printable_characters(
    classes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = os.fsencode(classes) + b"/caf\xe9"
    os.mkdir(folder)
    for number in range(10):
        image = classes / "a" / f"{number:03}.png"
        with open(folder + b"/\xff%d.png" % number, "wb") as file:
            file.write(image.read_bytes() + b"x")
    with open(folder + b"/x.\xe9", "wb") as file:
        file.write(b"x")
    with caplog.at_level(logging.INFO):
        for loaders in open_both(classes):
            assert loaders.class_names == ("a", "b", r"caf\xe9")
            assert sum(counts(loaders)) == 30
            assert loaders.settings["found"]["passed_over"] == {r".\xe9": 1}
            for loader in (loaders.train, loaders.val, loaders.test):
                list(loader)
    for record in caplog.records:
        record.message.encode()
    with open(folder + b"/\xff3.png", "wb"):
        pass
    for reader in READERS:
        with pytest.raises(ValueError, match=r"Cannot read image .*caf\\xe9/\\xff3\.png") as caught:
            loaders = create_loaders(
                DataConfig(reader, data_dir=classes, image_size=8), num_workers=0
            )
            for loader in (loaders.train, loaders.val, loaders.test):
                list(loader)
        str(caught.value).encode()
