"""Data sets: splits, minibatches and augmentation, every layout of a folder, and every refusal."""

from __future__ import annotations

import itertools
import json
import logging
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.transforms import functional as reference

from supernets import data
from supernets.data import ImageLoader, Loaders, create_loaders
from supernets.image_folder import find_images, fit_square
from supernets.image_loader import Augmentation, MemoryPixels, crop_and_flip

Batches = list[tuple[Tensor, Tensor]]


def assert_same(batches: Iterable[tuple[Tensor, Tensor]], others: Batches) -> None:
    listed = list(batches)
    assert len(listed) == len(others)
    for (x, y), (other_x, other_y) in zip(listed, others, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def write_images(
    class_dir: Path, count: int, size: tuple[int, int] = (16, 16), seed: int = 0
) -> None:
    """PNG files of noise, all different."""
    class_dir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, *class_dir.as_posix().encode()))
    for number in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(class_dir / f"{number:03}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with 20 train and 5 test images of 16x16."""
    for name in ("cat", "dog", "eel"):
        write_images(tmp_path / "train" / name, 20)
        write_images(tmp_path / "test" / name, 5)
    return tmp_path


def open_folder(data_dir: Path, **settings: object) -> Loaders:
    settings = {"batch_size": 8, "eval_batch_size": 16, "num_workers": 0, **settings}
    return create_loaders("folder", data_dir=data_dir, **settings)  # type: ignore[arg-type]


def numbered_loader(
    num_images: int, batch_size: int, rank: int = 0, world_size: int = 1
) -> ImageLoader:
    """A shuffled, augmented loader of random 8x8 images whose labels are their indices."""
    images = torch.randint(
        0, 256, (num_images, 8, 8, 3), generator=torch.Generator().manual_seed(1)
    ).to(torch.uint8)
    return ImageLoader(
        MemoryPixels(images),
        torch.arange(num_images),
        np.arange(num_images),
        batch_size,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
        augmentation=Augmentation(pad=2, flip=True),
        shuffle=True,
        seed=3,
        rank=rank,
        world_size=world_size,
    )


# --- minibatches ---------------------------------------------------------------------------------


def test_minibatch_contract() -> None:
    loader = numbered_loader(50, 16)
    batches = list(loader)
    assert (loader.num_images, loader.batch_size, len(loader)) == (50, 16, 4)
    assert [len(y) for _, y in batches] == [16, 16, 16, 2]
    for x, y in batches:
        assert (x.shape[1:], x.dtype, y.dtype) == ((3, 8, 8), torch.float32, torch.int64)
        assert x.is_contiguous(memory_format=torch.channels_last)
    assert sorted(torch.cat([y for _, y in batches]).tolist()) == list(range(50))


def test_epochs_are_deterministic_and_differ() -> None:
    loader, other = numbered_loader(50, 16), numbered_loader(50, 16)
    assert_same(loader.epoch(2), list(other.epoch(2)))
    assert_same(loader, list(loader.epoch(0)))
    assert not torch.equal(next(loader.epoch(0))[1], next(loader.epoch(1))[1])


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_start_skips_batches_without_changing_the_others(start: int) -> None:
    loader = numbered_loader(50, 16)
    assert_same(loader.epoch(5, start), list(loader.epoch(5))[start:])


def test_take_crosses_epochs() -> None:
    loader = numbered_loader(50, 16)
    expected = list(itertools.chain(loader.epoch(0), loader.epoch(1), loader.epoch(2)))
    assert_same(loader.take(9), expected[:9])
    assert_same(loader.take(1), expected[:1])


def test_minibatches_leave_the_global_generators_alone(folder: Path) -> None:
    before = torch.get_rng_state(), str(np.random.get_state())
    list(open_folder(folder).train)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]


@pytest.mark.parametrize("num_images", [64, 65, 66, 67, 71, 30])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_together_see_the_batches_of_one_process(num_images: int, world_size: int) -> None:
    whole = list(numbered_loader(num_images, 8 * world_size).epoch(1))
    ranks = [numbered_loader(num_images, 8, rank, world_size) for rank in range(world_size)]
    parts = [list(loader.epoch(1)) for loader in ranks]
    if num_images % (8 * world_size) in range(1, world_size):  # too few images to go round
        whole = whole[:-1]
    assert {len(part) for part in parts} == {len(loader) for loader in ranks} == {len(whole)}
    joined = [
        (torch.cat([x for x, _ in batch]), torch.cat([y for _, y in batch]))
        for batch in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)
    for batch in zip(*parts, strict=True):
        sizes = [len(y) for _, y in batch]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("pad", [0, 1, 4])
def test_crop_and_flip_equals_one_image_at_a_time(pad: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 9, 7, 3), dtype=np.uint8)
    top, left = rng.integers(0, 2 * pad + 1, (2, 40))
    flipped = rng.random(40) < 0.5
    augmented = crop_and_flip(
        torch.from_numpy(images),
        torch.from_numpy(top),
        torch.from_numpy(left),
        torch.from_numpy(flipped),
        pad,
    )
    for number, image in enumerate(images):
        padded = np.zeros((9 + 2 * pad, 7 + 2 * pad, 3), np.uint8)
        padded[pad : pad + 9, pad : pad + 7] = image
        crop = padded[top[number] : top[number] + 9, left[number] : left[number] + 7]
        expected = crop[:, ::-1] if flipped[number] else crop
        assert np.array_equal(augmented[number].numpy(), expected)


def test_batch_is_torchvisions_crop_flip_and_normalise_of_its_images() -> None:
    """Each augmented image is one of the 2 * 5 * 5 that torchvision's transforms can give."""
    loader = numbered_loader(12, 12)
    images = loader._pixels._images  # type: ignore[attr-defined]
    x, y = next(iter(loader))
    chosen = set()
    for augmented, index in zip(x, y.tolist(), strict=True):
        padded = reference.pad(images[index].permute(2, 0, 1), [2, 2, 2, 2])
        matches = []
        for top, left, flip in itertools.product(range(5), range(5), (False, True)):
            crop = reference.crop(padded, top, left, 8, 8)
            crop = reference.hflip(crop) if flip else crop
            expected = reference.normalize(crop / 255, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
            if torch.allclose(augmented, expected, atol=1e-5):
                matches.append((top, left, flip))
        assert len(matches) == 1
        chosen.add(matches[0])
    assert len(chosen) > 6


def test_offsets_and_flips_are_uniform() -> None:
    loader = numbered_loader(4096, 4096)
    top, left, flipped = loader._draw(0, 0)
    for offsets in (top, left):
        counts = torch.bincount(offsets, minlength=5)
        assert len(counts) == 5
        assert (counts / 4096 - 0.2).abs().max() < 0.03
    assert abs(float(flipped.float().mean()) - 0.5) < 0.03


@pytest.fixture
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.usefixtures("one_thread")
def test_augmenting_is_fast() -> None:
    images = torch.zeros((2000, 32, 32, 3), dtype=torch.uint8)
    loader = ImageLoader(
        MemoryPixels(images),
        torch.zeros(2000, dtype=torch.int64),
        np.arange(2000),
        64,
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        augmentation=Augmentation(4, True),
        shuffle=True,
    )
    seconds = []
    batches = loader.take(60)
    for _ in range(60):
        start = time.thread_time()
        next(batches)
        seconds.append(time.thread_time() - start)
    assert np.median(seconds) < 0.005  # of processor time; typically 0.0004


# --- digits --------------------------------------------------------------------------------------


def test_digits_splits() -> None:
    loaders = create_loaders("digits", seed=4, val_fraction=0.25)
    assert (loaders.num_classes, loaders.input_size) == (10, (1, 8, 8))
    splits = loaders.splits
    assert {name: len(indices) for name, indices in splits.items()} == {
        "train": 1077,
        "val": 360,
        "test": 360,
    }
    everything = np.concatenate(list(splits.values()))
    assert np.array_equal(np.sort(everything), np.arange(1797))
    labels = load_digits().target
    for indices in splits.values():
        share = np.bincount(labels[indices]) / len(indices)
        assert np.abs(share - np.bincount(labels) / 1797).max() < 0.01


def test_digits_val_and_test_are_the_digits_in_order() -> None:
    loaders = create_loaders("digits", eval_batch_size=100)
    bunch = load_digits()
    for name, loader in (("val", loaders.val), ("test", loaders.test)):
        for epoch in (0, 1):
            batches = list(loader.epoch(epoch))
            x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
            assert torch.equal(y, torch.from_numpy(bunch.target[loaders.splits[name]]))
            expected = (bunch.images[loaders.splits[name]] / 16 - 0.305) / 0.376
            # 16 levels on the scale 0..255 are off by at most half a step.
            assert np.abs(x[:, 0].numpy() - expected).max() < 0.51 / 255 / 0.376


def test_digits_are_normalised_and_never_flipped() -> None:
    loaders = create_loaders("digits", batch_size=2000)
    x, _ = next(iter(loaders.train_eval))
    assert abs(float(x.mean())) < 0.02
    assert abs(float(x.std()) - 1) < 0.02
    assert not loaders.train._draw(0, 0)[2].any()


def test_train_eval_is_the_train_split_shuffled_without_augmentation() -> None:
    loaders = create_loaders("digits", batch_size=2000)
    x, y = next(iter(loaders.train_eval))
    train_x, train_y = next(iter(loaders.train))
    assert not torch.equal(x, train_x)
    assert torch.equal(y.bincount(), train_y.bincount())
    rows = {row.numpy().tobytes() for row in x}
    order = {row.numpy().tobytes() for row in next(loaders.train_eval.epoch(1))[0]}
    assert rows == order
    assert not torch.equal(next(loaders.train_eval.epoch(1))[1], y)


def test_splits_and_digest_follow_the_seed() -> None:
    same = [create_loaders("digits", seed=1), create_loaders("digits", seed=1)]
    other = create_loaders("digits", seed=2)
    assert same[0].settings == same[1].settings
    for name, indices in same[0].splits.items():
        assert np.array_equal(indices, same[1].splits[name])
        assert not np.array_equal(indices, other.splits[name])
    assert same[0].settings["split_digest"] != other.settings["split_digest"]
    assert len(same[0].settings["split_digest"]) == 64


def test_settings_are_plain_and_rebuild_the_splits() -> None:
    loaders = create_loaders("digits", seed=5, image_size=12, val_fraction=0.3)
    settings = json.loads(json.dumps(loaders.settings))
    again = create_loaders(
        settings["dataset"],
        image_size=settings["image_size"],
        val_fraction=settings["val_fraction"],
        seed=settings["seed"],
    )
    assert again.settings == settings
    assert settings["class_names"] == list(loaders.class_names) == [str(i) for i in range(10)]
    for name in ("train", "val", "test"):
        assert settings[f"num_{name}"] == len(loaders.splits[name])
        assert settings[f"num_{name}"] == getattr(loaders, name).num_images


def test_digits_can_be_resized() -> None:
    loaders = create_loaders("digits", image_size=16)
    x, _ = next(iter(loaders.val))
    assert x.shape[1:] == (1, 16, 16) == loaders.input_size
    index = loaders.splits["val"][0]
    pixels = np.rint(load_digits().images[index] * 255 / 16).astype(np.uint8)
    resized = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR)
    expected = (np.asarray(resized, np.float32) / 255 - 0.305) / 0.376
    assert np.allclose(x[0, 0].numpy(), expected, atol=1e-5)


def test_only_train_is_shared_among_ranks() -> None:
    ranks = [create_loaders("digits", batch_size=32, rank=rank, world_size=2) for rank in range(2)]
    whole = create_loaders("digits", batch_size=64)
    first, second = (next(iter(loaders.train)) for loaders in ranks)
    x, y = next(iter(whole.train))
    assert torch.equal(torch.cat([first[0], second[0]]), x)
    assert torch.equal(torch.cat([first[1], second[1]]), y)
    assert_same(ranks[0].val, list(whole.val))
    assert_same(ranks[0].train_eval, list(ranks[1].train_eval))


# --- cifar ---------------------------------------------------------------------------------------


@pytest.fixture
def write_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Writes tiny sets in CIFAR's file format; their checksums are taken for granted."""
    monkeypatch.setattr(
        torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file()
    )

    def write(dataset: str) -> Path:
        cifar = getattr(torchvision.datasets, dataset.upper())
        base = tmp_path / cifar.base_folder
        base.mkdir()
        num_classes = int(dataset.removeprefix("cifar"))
        key = "labels" if dataset == "cifar10" else "fine_labels"
        rng = np.random.default_rng(0)
        for file_name, _ in cifar.train_list + cifar.test_list:
            pixels = rng.integers(0, 256, (4 * num_classes, 3072), dtype=np.uint8)
            entry = {"data": pixels, key: [i % num_classes for i in range(4 * num_classes)]}
            (base / file_name).write_bytes(pickle.dumps(entry))
        names = [f"class{i}" for i in range(num_classes)]
        (base / cifar.meta["filename"]).write_bytes(pickle.dumps({cifar.meta["key"]: names}))
        return tmp_path

    yield write


@pytest.mark.parametrize(
    ("dataset", "num_train", "mean", "std"),
    [
        ("cifar10", 200, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
        ("cifar100", 400, (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    ],
)
def test_cifar(
    dataset: str,
    num_train: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    write_cifar: Callable[[str], Path],
) -> None:
    data_dir = write_cifar(dataset)
    loaders = create_loaders(dataset, data_dir=data_dir, val_fraction=0.5)
    num_classes = int(dataset.removeprefix("cifar"))
    assert (loaders.num_classes, loaders.input_size) == (num_classes, (3, 32, 32))
    assert loaders.class_names[3] == "class3"
    assert sorted(loaders.splits) == ["train", "val"]
    assert np.array_equal(
        np.sort(np.concatenate([loaders.splits["train"], loaders.splits["val"]])),
        np.arange(num_train),
    )
    official = getattr(torchvision.datasets, dataset.upper())(data_dir, train=False)
    x, y = next(iter(loaders.test))
    assert y.tolist() == official.targets
    expected = (official.data.astype(np.float32) - mean) / std  # (N, H, W, C)
    assert np.allclose(x.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    counts = torch.cat([y for _, y in loaders.val]).bincount()
    assert counts.min() == counts.max()
    assert loaders.train._augmentation == Augmentation(pad=4, flip=True)


def test_cifar_larger_than_the_budget_equals_cifar_in_memory(
    write_cifar: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = write_cifar("cifar10")
    in_memory = create_loaders("cifar10", data_dir=data_dir, image_size=48, num_workers=0)
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    streamed = create_loaders("cifar10", data_dir=data_dir, image_size=48, num_workers=0)
    assert streamed.input_size == (3, 48, 48)
    assert_same(streamed.train, list(in_memory.train))


def test_missing_cifar_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"cifar10 is missing .*{tmp_path}.*--download.*--data-dir"
    ):
        create_loaders("cifar10", data_dir=tmp_path)


def test_failed_download_names_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", refuse)
    with pytest.raises(ValueError, match=f"download cifar100 to {tmp_path} .no route to host"):
        create_loaders("cifar100", data_dir=tmp_path, download=True)


# --- folders -------------------------------------------------------------------------------------


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


def test_val_folder_beside_train_only_is_the_test_split(folder: Path) -> None:
    expected = open_folder(folder)
    (folder / "test").rename(folder / "val")
    loaders = open_folder(folder)
    assert_same(loaders.test, list(expected.test))
    assert np.array_equal(loaders.splits["val"], expected.splits["val"])


def test_val_folder_beside_train_and_test_is_the_val_split(folder: Path) -> None:
    for name in ("cat", "dog", "eel"):
        write_images(folder / "val" / name, 4)
    loaders = open_folder(folder, val_fraction=0.5)
    assert [loaders.settings[f"num_{s}"] for s in ("train", "val", "test")] == [60, 12, 15]


def test_plain_class_folders_get_all_splits_drawn(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / name, 25)
    loaders = open_folder(tmp_path, val_fraction=0.25)
    assert {s: len(i) for s, i in loaders.splits.items()} == {"train": 30, "val": 10, "test": 10}
    assert np.array_equal(np.sort(np.concatenate(list(loaders.splits.values()))), np.arange(50))
    for loader in (loaders.train, loaders.val, loaders.test):
        counts = torch.cat([y for _, y in loader]).bincount()
        assert counts[0] == counts[1]


def test_images_are_sorted_and_filtered_by_extension(tmp_path: Path) -> None:
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
    folder: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
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


# --- unreadable images ---------------------------------------------------------------------------


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
    messages = [record.message for record in caplog.records]
    assert len(messages) == 3  # one per file, not per epoch
    for name in BAD:
        assert sum(name in message for message in messages) == 1

    def tops(loaders: Loaders) -> set[bytes]:
        return {image.numpy().tobytes() for x, _ in loaders.train_eval for image in x}

    assert tops(lax) == tops(in_memory)


def test_minibatch_without_a_readable_image_is_refused(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    loaders = open_folder(
        damaged, image_size=16, skip_bad_images=True, batch_size=1, eval_batch_size=1
    )
    with pytest.raises(ValueError, match="Cannot read image"):
        list(itertools.chain(loaders.train, loaders.val))


def test_class_without_readable_images_is_refused(folder: Path) -> None:
    for path in (folder / "train/dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="Class 'dog' has no readable train image"):
        open_folder(folder, skip_bad_images=True)


def test_split_without_readable_images_is_refused(folder: Path) -> None:
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="test split has no readable image"):
        open_folder(folder, skip_bad_images=True)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        ("x", {}, "Unknown dataset 'x'; choose from digits, cifar10, cifar100, folder."),
        ("digits", {"data_dir": Path("d")}, "digits come with scikit-learn; .*--data-dir d"),
        ("digits", {"download": True}, "digits cannot be downloaded"),
        ("folder", {"data_dir": Path("d"), "download": True}, "folder cannot be downloaded"),
        ("digits", {"skip_bad_images": True}, "digits has no image files to skip"),
        ("cifar10", {}, "cifar10 needs the folder of its data; pass --data-dir"),
        ("folder", {}, "folder needs the folder of its data; pass --data-dir"),
        ("folder", {"data_dir": Path("no/such")}, "no/such does not exist"),
        ("digits", {"val_fraction": 0.0}, "val_fraction must be between 0 and 1, got 0.0"),
        ("digits", {"val_fraction": 1.0}, "val_fraction must be between 0 and 1, got 1.0"),
        ("digits", {"val_fraction": float("nan")}, "val_fraction must be between 0 and 1"),
        ("digits", {"val_fraction": 0.001}, "val split of 2 of 1437 images"),
        ("digits", {"val_fraction": 0.999}, "val split of 1436 of 1437 images"),
        ("digits", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ("digits", {"eval_batch_size": 0}, "eval_batch_size must be at least 1, got 0"),
        ("digits", {"image_size": 0}, "image_size must be at least 1, got 0"),
        ("digits", {"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ("digits", {"world_size": 0}, "world_size must be at least 1, got 0"),
        ("digits", {"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1 = 1"),
        ("digits", {"world_size": 1200}, "1149 images cannot feed 1200 processes"),
        ("digits", {"seed": -1}, "seed must be from 0"),
        ("digits", {"seed": 2**32}, "seed must be from 0"),
    ],
)
def test_arguments_are_checked(dataset: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        create_loaders(dataset, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no class folders"),
        ({"train/a": 4, "train/b": 4}, "has a folder train but neither test nor val"),
        ({"test/a": 4, "test/b": 4}, "has a folder test or val but no folder train"),
        ({"val/a": 4, "val/b": 4}, "has a folder test or val but no folder train"),
        ({"a": 9}, "has the single class 'a'"),
        ({"train/a": 9, "test/a": 2}, "has the single class 'a'"),
        ({"a": 9, "b": 0}, r"b holds no image \(\.jpg, .*\); add some or remove it"),
        ({"train/a": 4, "train/b": 4, "test": 0}, "test holds no class folders"),
        ({"train/a": 4, "train/b": 4, "test/c": 4}, "has the class 'c', which .*train lacks"),
        ({"train/a": 4, "train/b": 1, "test/a": 1}, "'b' has 1 train images, .* a val split"),
        ({"a": 9, "b": 1}, "'b' has 1 train images, .* a test split"),
        ({"a": 2, "b": 2}, "test split of 1 of 4 images"),
    ],
)
def test_unfit_folders_are_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    for class_dir, count in counts.items():
        write_images(tmp_path / class_dir, count)
    with pytest.raises(ValueError, match=message) as caught:
        open_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_loader_methods_check_their_arguments() -> None:
    loader = numbered_loader(50, 16)
    for call, message in (
        (lambda: loader.epoch(-1), "epoch must be at least 0, got -1"),
        (lambda: loader.epoch(0, -1), "start must be from 0 to the 4 minibatches, got -1"),
        (lambda: loader.epoch(0, 5), "start must be from 0 to the 4 minibatches, got 5"),
        (lambda: loader.take(0), "num_batches must be at least 1, got 0"),
        (lambda: numbered_loader(5, 0), "batch_size must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.gpu
def test_an_accelerator_gives_the_batches_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an accelerator")
    expected = create_loaders("digits")
    for (x, y), (cpu_x, cpu_y) in zip(
        create_loaders("digits", device="cuda").train, expected.train, strict=True
    ):
        assert (x.device.type, y.device.type) == ("cuda", "cuda")
        assert torch.allclose(x.cpu(), cpu_x, atol=1e-6)
        assert torch.equal(y.cpu(), cpu_y)
