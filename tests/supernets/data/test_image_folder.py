"""Image folders: every layout, streaming, unreadable images, and every refusal."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torchvision.transforms import functional as reference

from supernets.data import loaders as data
from supernets.data.image_folder import FolderReader, find_images, fit_square, open_rgb, to_rgb
from supernets.data.image_loader import Augmentation
from supernets.data.loaders import Loaders
from tests.supernets.data.opening import open_data


@pytest.fixture
def folder(tmp_path: Path, write_images: Callable[..., None]) -> Path:
    """Three classes with 20 train and 5 test images of 16x16."""
    for name in ("cat", "dog", "eel"):
        write_images(tmp_path / "train" / name, 20)
        write_images(tmp_path / "test" / name, 5)
    return tmp_path


def open_folder(data_dir: Path, **settings: Any) -> Loaders:
    settings = {"batch_size": 8, "eval_batch_size": 16, "num_workers": 0, **settings}
    return open_data("folder", data_dir, **settings)


def stored_pixels(data_dir: Path, names: list[str]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(data_dir / name).convert("RGB")) for name in names])


def test_folder_with_train_and_test(folder: Path) -> None:
    loaders = open_folder(folder, val_fraction=0.25)
    assert (loaders.class_names, loaders.input_size) == (("cat", "dog", "eel"), (3, 16, 16))
    assert [loaders.settings[f"num_{s}"] for s in ("train", "val", "test")] == [45, 15, 15]
    assert sorted(loaders.splits) == ["train", "val"]
    x, y = next(iter(loaders.test))
    assert y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    names = [f"test/{c}/{n:03}.png" for c in ("cat", "dog", "eel") for n in range(5)]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (stored_pixels(folder, names).astype(np.float32) / 255 - mean) / std
    assert np.allclose(x.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert torch.cat([y for _, y in loaders.val]).bincount().tolist() == [5, 5, 5]
    assert loaders.train._augmentation == Augmentation(pad=2, flip=True)


def test_val_mixes_classes_that_lie_one_after_the_other(folder: Path) -> None:
    orders = [open_folder(folder, val_fraction=0.25, seed=seed).val for seed in (0, 0, 1)]
    first, again, other = (torch.cat([y for _, y in loader]).tolist() for loader in orders)
    assert first == again != other
    assert sorted(first) != first and len(set(first[:5])) > 1


def test_val_folder_beside_train_only_is_the_test_split(
    folder: Path, assert_same: Callable[..., None]
) -> None:
    expected = open_folder(folder)
    (folder / "test").rename(folder / "val")
    loaders = open_folder(folder)
    assert_same(loaders.test, list(expected.test))
    assert np.array_equal(loaders.splits["val"], expected.splits["val"])


def test_val_folder_beside_train_and_test_is_the_val_split(
    folder: Path, write_images: Callable[..., None]
) -> None:
    for name in ("cat", "dog", "eel"):
        write_images(folder / "val" / name, 4)
    loaders = open_folder(folder, val_fraction=0.5)
    assert [loaders.settings[f"num_{s}"] for s in ("train", "val", "test")] == [60, 12, 15]


def test_plain_class_folders_get_all_splits_drawn(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / name, 25)
    loaders = open_folder(tmp_path, val_fraction=0.25)
    assert {s: len(i) for s, i in loaders.splits.items()} == {"train": 30, "val": 10, "test": 10}
    assert np.array_equal(np.sort(np.concatenate(list(loaders.splits.values()))), np.arange(50))
    for loader in (loaders.train, loaders.val, loaders.test):
        counts = torch.cat([y for _, y in loader]).bincount()
        assert counts[0] == counts[1]


def test_train_folder_alone_gets_all_splits_drawn(
    tmp_path: Path, write_images: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "train" / name, 25)
    loaders = open_folder(tmp_path, val_fraction=0.25)
    assert {s: len(i) for s, i in loaders.splits.items()} == {"train": 30, "val": 10, "test": 10}
    assert [record.message for record in caplog.records] == [
        f"{tmp_path} has a train split but neither test nor val; a fifth of it is held out as test."
    ]


def test_class_of_a_single_image_is_drawn_at_random(
    tmp_path: Path, write_images: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        write_images(tmp_path / f"class{number:02}", 1)
    loaders = open_folder(tmp_path, val_fraction=0.25)
    assert {s: len(i) for s, i in loaders.splits.items()} == {"train": 12, "val": 4, "test": 4}
    assert loaders.num_classes == 20
    assert sum(len(y) for _, y in loaders.train) == 12
    assert "12 of 20 classes keep train images" in caplog.records[-1].message


def test_images_are_sorted_and_filtered_by_extension(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    write_images(tmp_path / "b", 1)
    write_images(tmp_path / "a" / "deeper", 1)
    image = Image.new("L", (16, 16), 7)
    for name in ("z.JPG", "y.jpeg", "x.Webp", "w.bmp"):
        image.save(tmp_path / "a" / name)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    found = find_images(tmp_path)
    assert found.class_names == ("a", "b")
    names = ["a/deeper/000.png", "a/w.bmp", "a/x.Webp", "a/y.jpeg", "a/z.JPG", "b/000.png"]
    assert found.names == names
    assert found.labels.tolist() == [0] * 5 + [1]


def test_digest_depends_on_names(folder: Path) -> None:
    before = open_folder(folder).settings["split_digest"]
    assert open_folder(folder).settings["split_digest"] == before
    (folder / "test/eel/004.png").rename(folder / "test/eel/005.png")
    assert open_folder(folder).settings["split_digest"] != before


def test_image_size_is_that_of_square_images_of_one_size_else_224(folder: Path) -> None:
    assert open_folder(folder).input_size == (3, 16, 16)
    assert open_folder(folder, image_size=8).input_size == (3, 8, 8)
    Image.new("RGB", (20, 20)).save(folder / "train/dog/000.png")
    assert open_folder(folder).input_size == (3, 224, 224)
    for name in ("cat", "dog", "eel"):
        Image.new("RGB", (20, 16)).save(folder / "train" / name / "000.png")
    assert open_folder(folder).settings["image_size"] == 224


@pytest.mark.parametrize("size", [(42, 30), (30, 54), (30, 30)])
def test_fit_square_resizes_the_shorter_side_and_crops_the_centre(size: tuple[int, int]) -> None:
    ramp = np.add.outer(np.arange(size[1]) * 3, np.arange(size[0]) * 2).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp, 255 - ramp], axis=2))
    fitted = fit_square(image, 15)
    assert fitted.shape == (15, 15, 3)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    resized = reference.center_crop(reference.resize(tensor, [15], antialias=True), [15, 15])
    inner = (slice(None), slice(1, -1), slice(1, -1))  # the border sees pixels that we crop first
    difference = torch.tensor(fitted).permute(2, 0, 1)[inner].int() - resized[inner].int()
    assert difference.abs().max() <= 1


def test_large_jpeg_decoded_small_resembles_the_full_decode(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    pixels = np.stack([np.tile(ramp, (256, 1)), np.tile(ramp[:, None], (1, 256))] * 2, axis=2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.fromarray(pixels[..., :3]).save(tmp_path / name / f"{number}.jpg", quality=95)
    x, _ = next(iter(open_folder(tmp_path, image_size=16).test))
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    decoded = (x[0].permute(1, 2, 0) * std + mean) * 255
    expected = fit_square(Image.fromarray(pixels[..., :3]), 16)
    assert (decoded - torch.tensor(expected)).abs().max() < 6


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streaming_equals_memory(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
    assert_same: Callable[..., None],
) -> None:
    in_memory = open_folder(folder, num_workers=num_workers)
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    streamed = open_folder(folder, num_workers=num_workers)
    assert streamed.settings == in_memory.settings
    assert_same(streamed.train.epoch(1), list(in_memory.train.epoch(1)))
    assert_same(streamed.train.epoch(1, 4), list(in_memory.train.epoch(1))[4:])
    assert_same(streamed.train_eval.take(3), list(in_memory.train_eval.take(3)))
    assert_same(streamed.test, list(in_memory.test))
    assert torch.equal(torch.get_rng_state(), state)
    rank = open_folder(folder, num_workers=num_workers, batch_size=4, rank=1, world_size=2)
    x, y = next(in_memory.train.epoch(2))
    assert_same(itertools.islice(rank.train.epoch(2), 1), [(x[4:], y[4:])])


def test_minibatches_leave_the_global_generators_alone(folder: Path) -> None:
    before = torch.get_rng_state(), str(np.random.get_state())
    list(open_folder(folder).train)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]


@pytest.fixture
def damaged(folder: Path) -> Path:
    """The folder with two train images that are no images and one that breaks off."""
    (folder / "train/cat/000.png").write_bytes(b"")
    (folder / "train/dog/007.png").write_bytes(b"no image")
    path = folder / "train/eel/011.png"
    path.write_bytes(path.read_bytes()[:300])
    return folder


BAD = {"cat/000.png", "dog/007.png", "eel/011.png"}


def test_unreadable_image_is_named(damaged: Path) -> None:
    with pytest.raises(ValueError, match=r"train/cat/000\.png.*--skip-bad-images"):
        open_folder(damaged)  # while looking for the image size
    with pytest.raises(ValueError, match=r"train/cat/000\.png.*--skip-bad-images"):
        open_folder(damaged, image_size=16)
    for name in ("cat/000.png", "dog/007.png"):
        (damaged / "train" / name).unlink()
    with pytest.raises(ValueError, match=r"train/eel/011\.png.*--skip-bad-images"):
        open_folder(damaged, num_workers=2)


def test_skipped_images_leave_the_splits(damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaders = open_folder(damaged, skip_bad_images=True)
    messages = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(messages) == 4
    for name in BAD:
        assert sum(name in message for message in messages) == 1
    assert messages[-1] == "Left out 3 unreadable images of 75."
    assert not [message for message in messages if "--skip-bad-images" in message]  # it was given
    kept = loaders.settings["num_train"] + loaders.settings["num_val"]
    assert kept == 57 == sum(len(indices) for indices in loaders.splits.values())
    assert sum(len(y) for _, y in loaders.train) == loaders.train.num_images
    assert loaders.input_size == (3, 16, 16)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_unreadable_images_while_streaming(
    damaged: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    num_workers: int,
) -> None:
    in_memory = open_folder(damaged, skip_bad_images=True, image_size=16)
    caplog.clear()
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    strict = open_folder(damaged, image_size=16, num_workers=num_workers)
    with pytest.raises(ValueError, match=r"^Cannot read image .*\.png .*--skip-bad-images\.$"):
        list(itertools.chain(strict.train, strict.val))

    lax = open_folder(damaged, image_size=16, num_workers=num_workers, skip_bad_images=True)
    batches = list(itertools.chain(lax.train, lax.val))
    assert sum(len(y) for _, y in batches) == 57
    list(itertools.chain(lax.train, lax.val))
    messages = [r.message for r in caplog.records if r.message.startswith("Left out: ")]
    assert len(messages) == 3  # one per file, not per epoch
    assert not [message for message in messages if "--skip-bad-images" in message]  # it was given
    assert "Left out 3 unreadable images so far." in [record.message for record in caplog.records]
    for name in BAD:
        assert sum(name in message for message in messages) == 1

    def tops(loaders: Loaders) -> set[bytes]:
        return {image.numpy().tobytes() for x, _ in loaders.train_eval for image in x}

    assert tops(lax) == tops(in_memory)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "flipped", "huge"])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_every_kind_of_damage_is_named_or_skipped(
    folder: Path,
    damage: Callable[[Path, str], None],
    kind: str,
    is_streamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_streamed:
        monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    damage(folder / "train/dog/007.png", kind)
    with pytest.raises(
        ValueError, match=r"^Cannot read image .*dog/007\.png .*--skip-bad-images\.$"
    ):
        strict = open_folder(folder, image_size=16)
        list(itertools.chain(strict.train, strict.val))
    lax = open_folder(folder, image_size=16, skip_bad_images=True)
    assert sum(len(y) for _, y in itertools.chain(lax.train, lax.val)) == 59


def test_odd_images_are_read_as_rgb(
    folder: Path, write_odd_images: Callable[[Path], dict[str, NDArray[np.uint8]]]
) -> None:
    """Of every mode and size, turned as EXIF data ask for, transparent ones on white."""
    expected = write_odd_images(folder / "train/ant")
    for name, pixels in expected.items():
        image = open_rgb(folder / "train/ant" / name)
        assert image.mode == "RGB"
        difference = np.asarray(image, np.int64) - pixels
        assert np.abs(difference).max() <= (6 if name.endswith("jpg") else 1), name
    found = find_images(folder)
    reader = FolderReader(found, 8)
    for index, name in enumerate(found.names[: len(expected)]):
        square = fit_square(Image.fromarray(np.ascontiguousarray(expected[Path(name).name])), 8)
        assert np.abs(reader.read(index).astype(int) - square).max() <= 6
    loaders = open_folder(folder)
    assert sum(len(y) for _, y in itertools.chain(loaders.train, loaders.val)) == 68


def test_skipping_survives_minibatches_without_a_readable_image(
    damaged: Path, monkeypatch: pytest.MonkeyPatch, assert_same: Callable[..., None]
) -> None:
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    loaders = open_folder(
        damaged, image_size=16, skip_bad_images=True, batch_size=1, eval_batch_size=1, num_val=30
    )
    epoch = list(loaders.train.epoch(1))
    assert len(epoch) == len(loaders.train) == 30  # training counts its steps
    assert sum(len(y) for _, y in itertools.chain(epoch, loaders.val)) == 60 - 3 + sum(
        name.removeprefix("train/") in BAD for name in names_of(loaders, damaged, "train")
    )
    for start in range(30):
        assert_same(itertools.islice(loaders.train.epoch(1, start), 1), [epoch[start]])


def names_of(loaders: Loaders, data_dir: Path, split: str) -> list[str]:
    names = find_images(data_dir).names
    return [names[index] for index in loaders.splits[split]]


def test_ranks_get_equally_many_minibatches_whatever_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    for name in ("cat", "dog", "eel"):
        for number in range(0, 20, 2):
            (folder / "train" / name / f"{number:03}.png").write_bytes(b"")
    for rank in range(2):
        loaders = open_folder(
            folder, image_size=16, skip_bad_images=True, batch_size=1, rank=rank, world_size=2
        )
        assert len(list(loaders.train)) == len(loaders.train) == 24


@pytest.mark.parametrize("is_streamed", [False, True])
def test_class_without_readable_images_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_streamed: bool
) -> None:
    if is_streamed:
        monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    for path in (folder / "train/dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="Class 'dog' has no readable train image"):
        open_folder(folder, image_size=16, skip_bad_images=True)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_split_without_readable_images_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_streamed: bool
) -> None:
    if is_streamed:
        monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="test split has no readable image"):
        open_folder(folder, skip_bad_images=True)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no class folders"),
        ({"test/a": 4, "test/b": 4}, "has test, but no folder train"),
        ({"val/a": 4, "val/b": 4}, "has val, but no folder train"),
        ({"a": 9}, "has the single class 'a'"),
        ({"train/a": 9, "test/a": 2}, "has the single class 'a'"),
        ({"a": 9, "b": 0}, r"b holds no image \(nothing\), and there is a single other class, 'a'"),
        ({"train/a": 4, "train/b": 4, "test": 2}, "test holds no class folders"),
        ({"train/a": 4, "train/b": 4, "test/c": 4}, "has the class 'c', which .*train lacks"),
        ({"a": 2, "b": 2}, "test split of 1 of 4 images"),
    ],
)
def test_unfit_folders_are_refused(
    tmp_path: Path, counts: dict[str, int], message: str, write_images: Callable[..., None]
) -> None:
    for class_dir, count in counts.items():
        write_images(tmp_path / class_dir, count)
    with pytest.raises(ValueError, match=message) as caught:
        open_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_every_orientation_is_shown_as_viewers_do(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    corners = np.array([[0, 80], [160, 250]], np.uint8)
    pixels = np.kron(corners, np.ones((24, 16), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(pixels).convert("RGB").save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.int64)
    shown = np.asarray(open_rgb(path), np.int64)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= 8
    first = {1: 0, 2: 80, 3: 250, 4: 160, 5: 0, 6: 160, 7: 250, 8: 80}[orientation]
    assert abs(shown[4, 4, 0] - first) <= 12


def test_damaged_exif_data_leave_an_image_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (16, 8)).save(path, exif=b"Exif\0\0no such thing")
    assert open_rgb(path).size == (16, 8)


def test_transparency_of_every_kind_is_blended_with_white(tmp_path: Path) -> None:
    clear = {"RGBA": (10, 20, 30, 0), "LA": (10, 0)}
    for mode, colour in clear.items():
        assert to_rgb(Image.new(mode, (2, 2), colour)).getpixel((0, 0)) == (255, 255, 255)
    half = to_rgb(Image.new("RGBA", (2, 2), (0, 0, 0, 128))).getpixel((0, 0))
    assert half == (127, 127, 127)
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    for image, transparent in ((red.quantize(2), 0), (red.convert("L"), 76), (red, (255, 0, 0))):
        path = tmp_path / f"{image.mode}.png"
        image.save(path, transparency=transparent)
        assert open_rgb(path).getpixel((0, 0)) == (255, 255, 255), image.mode
