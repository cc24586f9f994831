"""timm's sets with random access: splits, classes, odd files, and the very same minibatches."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from timm.data import ImageDataset, create_transform

from supernets.data import timm_readers as timm_data
from supernets.data.loaders import Loaders
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.data.timm_readers import open_images
from tests.supernets.data.opening import open_data

CLASSES = ("cat", "dog", "eel")
STRONG = TimmAugmentation(auto_augment="rand-m9-mstd0.5", re_prob=0.5, re_mode="pixel")

WriteImages = Callable[..., None]


@pytest.fixture(scope="session")
def kept_folder(tmp_path_factory: pytest.TempPathFactory, write_images: WriteImages) -> Path:
    """Three classes with 20 train and 4 val images of 20x16; not to be changed."""
    data_dir = tmp_path_factory.mktemp("images")
    write_folder(data_dir, write_images)
    return data_dir


@pytest.fixture
def folder(tmp_path: Path, write_images: WriteImages) -> Path:
    """As ``kept_folder``."""
    write_folder(tmp_path, write_images)
    return tmp_path


def write_folder(data_dir: Path, write_images: WriteImages) -> None:
    for name in CLASSES:
        write_images(data_dir / "train" / name, 20, (20, 16))
        write_images(data_dir / "val" / name, 4, (20, 16))


def open_timm(data_dir: Path | None, dataset: str = "timm", **settings: Any) -> Loaders:
    settings = {
        "image_size": 12,
        "batch_size": 8,
        "eval_batch_size": 16,
        "num_workers": 0,
        **settings,
    }
    return open_data(dataset, data_dir, **settings)


def sizes(loaders: Loaders) -> list[int]:
    return [loaders.settings[f"num_{split}"] for split in ("train", "val", "test")]


def test_official_val_is_the_test_split_and_val_is_held_out_by_class(kept_folder: Path) -> None:
    loaders = open_timm(kept_folder, val_fraction=0.25)
    assert (loaders.class_names, loaders.input_size) == (CLASSES, (3, 12, 12))
    assert sizes(loaders) == [45, 15, 12]
    assert sorted(loaders.splits) == ["train", "val"]
    assert torch.cat([y for _, y in loaders.val]).bincount().tolist() == [5, 5, 5]
    assert torch.cat([y for _, y in loaders.train]).bincount().tolist() == [15, 15, 15]
    images = open_images("timm", kept_folder, TimmOptions())
    for split in ("train", "val"):
        for index in loaders.splits[split]:
            assert images.name(index).startswith(f"train/{CLASSES[images.labels[index]]}/0")
    assert open_timm(kept_folder, num_val=6).settings["num_val"] == 6
    assert open_timm(kept_folder, image_size=None).input_size == (3, 224, 224)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # timm's data set closes no files
def test_evaluation_gives_what_timm_gives(kept_folder: Path) -> None:
    options = TimmOptions(crop_pct=0.75)
    augmentation = TimmAugmentation(interpolation="bicubic")
    loaders = open_timm(kept_folder, timm_options=options, augmentation=augmentation)
    transform = create_transform(12, is_training=False, crop_pct=0.75, interpolation="bicubic")
    dataset = ImageDataset(kept_folder / "val", transform=transform)
    x, y = (torch.cat(parts) for parts in zip(*loaders.test, strict=True))
    assert y.tolist() == [label for _, label in dataset]
    assert torch.equal(x, torch.stack([image for image, _ in dataset]))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    for x, _ in itertools.chain(loaders.train, loaders.train_eval, loaders.val):
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_train_is_augmented_and_train_eval_is_not(kept_folder: Path) -> None:
    loaders = open_timm(kept_folder, batch_size=100)
    assert loaders.settings["augmentation"] == json.loads(
        '{"scale": [0.08, 1.0], "ratio": [0.75, 1.3333333333333333], "hflip": 0.5, '
        '"color_jitter": null, "auto_augment": null, "re_prob": 0.0, "re_mode": "const", '
        '"interpolation": "bilinear"}'
    )
    epochs = [next(loaders.train_eval.epoch(epoch)) for epoch in (0, 1)]
    rows = [{image.numpy().tobytes() for image in x} for x, _ in epochs]
    assert rows[0] == rows[1]
    assert not torch.equal(epochs[0][1], epochs[1][1])
    assert not rows[0] & {image.numpy().tobytes() for x, _ in loaders.train for image in x}


def test_an_epoch_can_be_entered_anywhere_with_any_number_of_workers(
    kept_folder: Path, assert_same: Callable[..., None]
) -> None:
    loaders = open_timm(kept_folder, augmentation=STRONG)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    epoch = list(loaders.train.epoch(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(y) for _, y in epoch] == [8] * 6
    for start in (1, 6):
        assert_same(loaders.train.epoch(3, start), epoch[start:])
    other = open_timm(kept_folder, augmentation=STRONG, num_workers=2)
    next(other.train.epoch(0))
    assert_same(other.train.epoch(3, 2), epoch[2:])
    assert_same(other.train.epoch(3), epoch)
    assert_same(other.val, list(loaders.val))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(next(loaders.train.epoch(4))[0], epoch[0][0])
    assert not torch.equal(
        next(open_timm(kept_folder, augmentation=STRONG, seed=1).train.epoch(3))[0], epoch[0][0]
    )


def test_augmentation_differs_by_epoch_and_by_image(folder: Path) -> None:
    first, second = folder / "train/cat/000.png", folder / "train/cat/001.png"
    second.write_bytes(first.read_bytes())
    reader = open_timm(folder).train.source._reader  # type: ignore[attr-defined]
    draws = [reader.read(index, epoch) for index in (0, 1) for epoch in range(5)]
    assert len({image.tobytes() for image in draws}) == 10
    assert np.array_equal(reader.read(1, 4), draws[-1])


def test_only_train_is_shared_among_ranks(
    kept_folder: Path, assert_same: Callable[..., None]
) -> None:
    whole = open_timm(kept_folder, augmentation=STRONG, batch_size=10)
    ranks = [
        open_timm(kept_folder, augmentation=STRONG, batch_size=5, rank=rank, world_size=2)
        for rank in range(2)
    ]
    joined = [
        tuple(torch.cat(parts) for parts in zip(*batch, strict=True))
        for batch in zip(*(loaders.train.epoch(1) for loaders in ranks), strict=True)
    ]
    assert_same(joined, whole.train.epoch(1))
    assert_same(ranks[0].val, whole.val)


def test_digest_follows_names_and_seed_alone(folder: Path) -> None:
    digest = open_timm(folder).settings["split_digest"]
    same = open_timm(folder, image_size=8, augmentation=STRONG, batch_size=3)
    assert same.settings["split_digest"] == digest
    assert open_timm(folder, seed=1).settings["split_digest"] != digest
    moved = folder.rename(folder.parent / "moved")
    assert open_timm(moved).settings["split_digest"] == digest
    (moved / "val/eel/003.png").rename(moved / "val/eel/004.png")
    assert open_timm(moved).settings["split_digest"] != digest


def write_tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        tar.add(folder, arcname="")
    return path


def test_tar_files_in_place_of_folders(
    kept_folder: Path, tmp_path: Path, assert_same: Callable[..., None]
) -> None:
    for split in ("train", "val"):
        write_tar(kept_folder / split).rename(tmp_path / f"{split}.tar")
    tars = open_timm(tmp_path, num_workers=2)
    folders = open_timm(kept_folder)
    assert (tars.class_names, sizes(tars)) == (CLASSES, sizes(folders))
    assert_same(tars.test, folders.test)
    assert_same(tars.train, folders.train)
    alone = open_timm(tmp_path / "train.tar")
    assert sizes(alone) == [38, 10, 12]
    images = open_images("timm", tmp_path / "train.tar", TimmOptions())
    assert images.name(59) == "train.tar/eel/019.png"


def test_tar_files_have_the_classes_and_images_of_folders(
    tmp_path: Path, write_images: WriteImages
) -> None:
    data_dir = tmp_path / "animals"
    for name in ("cat/cam1", "cat/cam2", "dog/cam1", "dog", "dog/.hidden", "__MACOSX/dog"):
        write_images(data_dir / name, 5)
    for index, image in enumerate(sorted((data_dir / "dog").glob("*.png"))[:3]):
        Image.open(image).save(image.with_suffix((".bmp", ".TIFF", ".gif")[index]))
        image.unlink()
    path = tmp_path / "animals.tar"
    for prefix in ("", "./", "animals"):
        with tarfile.open(path, "w") as tar:
            tar.add(data_dir, arcname=prefix)
        loaders = open_timm(path, num_workers=1)  # whose end closes the file, which timm does not
        assert (loaders.class_names, sum(sizes(loaders))) == (("cat", "dog"), 20)
        assert loaders.settings["found"]["passed_over"] == {"hidden": 10}
        list(loaders.test)
    with tarfile.open(path, "w") as tar:
        for split in ("train", "val"):
            tar.add(data_dir / "cat", arcname=f"{split}/cat")
    with pytest.raises(ValueError, match="holds the splits train, val; unpack it, or make a tar"):
        open_timm(path)


def test_plain_class_folders_and_train_alone(
    kept_folder: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert sizes(open_timm(kept_folder / "train")) == [38, 10, 12]
    assert not caplog.records
    (folder / "val").rename(folder.parent / "elsewhere")
    assert sizes(open_timm(folder)) == [38, 10, 12]
    assert "neither test nor val; a fifth of it is held out" in caplog.records[0].message


def test_three_folders(folder: Path, write_images: WriteImages) -> None:
    for name in CLASSES:
        write_images(folder / "test" / name, 2)
    assert sizes(open_timm(folder)) == [60, 12, 6]
    assert sizes(open_timm(folder, timm_options=TimmOptions(test_split="val"))) == [48, 12, 12]
    named = TimmOptions(val_split="val")
    assert sizes(open_timm(folder, timm_options=named)) == [60, 12, 6]
    named = TimmOptions(test_split="test")
    assert sizes(open_timm(folder, timm_options=named)) == [48, 12, 6]
    named = TimmOptions(train_split="val", val_split="train", test_split="test")
    assert sizes(open_timm(folder, timm_options=named)) == [12, 60, 6]


def test_classes_with_one_image_each(tmp_path: Path, write_images: WriteImages) -> None:
    for number in range(20):
        write_images(tmp_path / f"class{number:02}", 1)
    loaders = open_timm(tmp_path, val_fraction=0.25)
    assert (loaders.num_classes, sizes(loaders)) == (20, [12, 4, 4])


def test_classes_are_in_natural_order_and_matched_by_name(
    tmp_path: Path, write_images: WriteImages
) -> None:
    for name in ("2", "10", "1"):
        write_images(tmp_path / "train" / name, 10)
    write_images(tmp_path / "val" / "10", 3)
    loaders = open_timm(tmp_path)
    assert loaders.class_names == ("1", "2", "10")
    assert next(iter(loaders.test))[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("kind", "num_workers"),
    [("empty", 0), ("text", 0), ("truncated", 0), ("flipped", 0), ("huge", 0), ("truncated", 1)],
)
def test_every_kind_of_damage_is_named_or_skipped(
    folder: Path, damage: Callable[[Path, str], None], kind: str, num_workers: int
) -> None:
    damage(folder / "train/dog/007.png", kind)
    strict = open_timm(folder, num_workers=num_workers)
    message = r"^Cannot read image .*train/dog/007\.png .*--skip-bad-images\.$"
    with pytest.raises(ValueError, match=message):
        list(itertools.chain(strict.train, strict.val))
    lax = open_timm(folder, num_workers=num_workers, skip_bad_images=True)
    assert sum(len(y) for _, y in itertools.chain(lax.train, lax.val)) == 59


def test_vanished_file_and_broken_tar_are_named(folder: Path) -> None:
    loaders = open_timm(folder)
    (folder / "val/cat/002.png").unlink()
    with pytest.raises(ValueError, match=r"Cannot read image .*val/cat/002\.png"):
        list(loaders.test)
    path = write_tar(folder / "train")
    loaders = open_timm(path, num_workers=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:20000])
    with pytest.raises(ValueError, match=r"Cannot read image .*train\.tar/\w+/0\d\d\.png"):
        list(loaders.train)
    with pytest.raises(ValueError, match=r"timm cannot open .*train\.tar \("):
        open_timm(path)
    with pytest.raises(ValueError, match=r"train\.zip is neither a folder nor a \.tar file"):
        open_timm(path.rename(path.with_suffix(".zip")))


def test_odd_images_are_read_as_rgb(
    folder: Path, write_odd_images: Callable[[Path], dict[str, NDArray[np.uint8]]]
) -> None:
    """Of every mode and size, turned as EXIF data ask for, transparent ones on white."""
    expected = write_odd_images(folder / "train/ant")
    images = open_images("timm", folder, TimmOptions())
    for index in np.flatnonzero(images.labels == images.class_names.index("ant")):
        name = Path(images.name(index)).name
        image = images.load(index)
        assert image.mode == "RGB"
        difference = np.asarray(image, np.int64) - expected[name]
        assert np.abs(difference).max() <= (6 if name.endswith("jpg") else 1), name
    loaders = open_timm(folder, augmentation=STRONG)
    batches = itertools.chain(loaders.train, loaders.train.epoch(1), loaders.val, loaders.val)
    assert sum(len(y) for _, y in batches) == 2 * 68


def test_torch_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: Path(path).is_file()
    )
    cifar = torchvision.datasets.CIFAR10
    base = tmp_path / cifar.base_folder
    base.mkdir()
    rng = np.random.default_rng(0)
    for file_name, _ in cifar.train_list + cifar.test_list:
        pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        entry = {"data": pixels, "labels": [i % 10 for i in range(20)]}
        (base / file_name).write_bytes(pickle.dumps(entry))
    names = [f"class{i}" for i in range(10)]
    (base / cifar.meta["filename"]).write_bytes(pickle.dumps({cifar.meta["key"]: names}))
    loaders = open_timm(tmp_path, "torch/cifar10", image_size=32)
    assert (loaders.class_names, sizes(loaders)) == (tuple(names), [80, 20, 20])
    transform = create_transform(32, is_training=False)
    official = cifar(tmp_path, train=False)
    x, y = (torch.cat(parts) for parts in zip(*loaders.test, strict=True))
    assert y.tolist() == official.targets
    assert torch.equal(x, torch.stack([transform(image) for image, _ in official]))


def test_torch_imagenet_names_its_classes(tmp_path: Path, write_images: WriteImages) -> None:
    wnids = {"n01": ("tench", "Tinca tinca"), "n02": ("crane",), "n03": ("crane", "bird")}
    torch.save((wnids, ["n01"]), tmp_path / "meta.bin")
    for wnid in wnids:
        write_images(tmp_path / "train" / wnid, 4)
        write_images(tmp_path / "val" / wnid, 2)
    loaders = open_timm(tmp_path, "torch/imagenet", val_fraction=0.5)
    assert loaders.class_names == ("tench, Tinca tinca", "crane", "crane, bird")
    assert sizes(loaders) == [6, 6, 6]
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    Image.fromarray(pixels).save(tmp_path / "val/n01/000.png", exif=exif)
    x = next(iter(open_timm(tmp_path, "torch/imagenet", val_fraction=0.5).test))[0][0, 0]
    assert x[0, 0] < 0 < x[-1, 0]
    (tmp_path / "val/n02/000.png").write_bytes(b"")
    with pytest.raises(ValueError, match="Cannot read image torch/imagenet/validation/2 "):
        list(loaders.test)


class HubReader:
    """What timm's reader of the Hugging Face hub offers."""

    label_key = "label"

    def __init__(self, labels: list[int], names: tuple[str, ...] = CLASSES) -> None:
        self.dataset = {"label": labels}
        self.class_to_idx = {name: number for number, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.dataset["label"])

    def __getitem__(self, index: int) -> tuple[io.BytesIO, int]:
        file = io.BytesIO()
        if index != 13:
            Image.new("RGB", (16, 16), (index, 0, 0)).save(file, "PNG")
        file.seek(0)
        return file, self.dataset["label"][index]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, HubReader]:
    """The splits of the data set "hfds/x", to be filled."""
    splits: dict[str, HubReader] = {}

    def create_dataset(name: str, root: str | None, split: str) -> ImageDataset:
        assert name == "hfds/x"
        if split not in splits:
            raise ValueError(f"Unknown split {split!r}")
        return ImageDataset(root, reader=splits[split])

    monkeypatch.setattr(timm_data, "create_dataset", create_dataset)
    return splits


def test_hub_splits(hub: dict[str, HubReader]) -> None:
    hub["train"] = HubReader([0, 1, 2] * 10)
    hub["validation"] = HubReader([2, 1])
    loaders = open_timm(None, "hfds/x", skip_bad_images=True)
    assert (loaders.class_names, sizes(loaders)) == (CLASSES, [24, 6, 2])
    x, y = next(iter(loaders.test))
    assert y.tolist() == [2, 1]
    red = (torch.tensor([0.0, 1.0]) / 255 - 0.485) / 0.229
    assert torch.allclose(x[:, 0, 0, 0], red, atol=1e-6)
    with pytest.raises(ValueError, match=r"Cannot read image hfds/x/train/13 \("):
        list(itertools.chain(*(getattr(open_timm(None, "hfds/x"), s) for s in ("train", "val"))))
    hub["other"] = HubReader([0, 1, 2, 2])
    options = TimmOptions(val_split="validation", test_split="other")
    assert sizes(open_timm(None, "hfds/x", timm_options=options)) == [30, 2, 4]
    with pytest.raises(ValueError, match="cannot open split test of hfds/x .Unknown split 'test'"):
        open_timm(None, "hfds/x", timm_options=TimmOptions(val_split="validation"))


def test_hub_labels_without_names_or_without_labels(hub: dict[str, HubReader]) -> None:
    hub["train"] = HubReader([0, 1, 2] * 10, names=())
    hub["validation"] = HubReader([0, 1, -1], names=())
    with pytest.raises(ValueError, match="hfds/x does not name its classes; pass num_classes"):
        open_timm(None, "hfds/x")
    options = TimmOptions(num_classes=3)
    with pytest.raises(ValueError, match="hfds/x/validation/2 has the label -1, expected one from"):
        open_timm(None, "hfds/x", timm_options=options)
    hub["validation"] = HubReader([0, 1], names=())
    assert open_timm(None, "hfds/x", timm_options=options).class_names == ("0", "1", "2")
    with pytest.raises(ValueError, match="hfds/x/train/2 has the label 2"):
        open_timm(None, "hfds/x", timm_options=TimmOptions(num_classes=2))


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ({}, {}, "holds no class folders with images; expected .*<class>"),
        ({"a": 9}, {}, "has the single class 'a'; add at least another"),
        ({"val/a": 2}, {}, "has val, but no folder train"),
        ({"train/a": 2, "train/b": 2, "val": 2}, {}, "val holds no class folders with images"),
        ({"train": 2}, {}, "train holds no class folders with images; expected .*train"),
        ({"train/a": 4, "train/b": 4, "val/c": 4}, {}, "val/c/000.png has the class 'c', which"),
        ({"a": 2, "b": 2}, {}, "test split of 1 of 4 images"),
        ({"a": 9, "b": 9}, {"num_classes": 3}, "has 2 classes, but num_classes is 3"),
        ({"a": 9, "b": 9}, {"val_split": "val"}, r"has neither a folder val nor val\.tar; add it"),
    ],
)
def test_unfit_folders_are_refused(
    tmp_path: Path,
    write_images: WriteImages,
    counts: dict[str, int],
    options: dict[str, Any],
    message: str,
) -> None:
    for class_dir, count in counts.items():
        write_images(tmp_path / class_dir, count)
    with pytest.raises(ValueError, match=message):
        open_timm(tmp_path, timm_options=TimmOptions(**options))


def test_arguments_are_checked(kept_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"")
    fixed = TimmOptions(val_split="validation")
    for dataset, data_dir, settings, message in (
        ("timm", None, {}, "timm needs the folder of its data; pass --data-dir"),
        ("timm", Path("no/such"), {}, "folder or tar file no/such does not exist; pass --data-dir"),
        ("timm", path, {"timm_options": fixed}, "x.tar is a single tar file; leave the names"),
        ("timm", kept_folder, {"download": True}, "timm cannot be downloaded"),
        ("hfds/x", None, {"download": True}, "hfds/x cannot be downloaded"),
        ("hfds/x", None, {}, "hfds/x needs a package that is missing"),
        ("torch/svhn", tmp_path, {}, "Unknown dataset 'torch/svhn'; choose from cifar10, .* torch"),
        ("torch/cifar10", tmp_path, {}, "timm cannot open torch/cifar10 in "),
        ("torch/cifar10", None, {}, "torch/cifar10 needs the folder"),
        ("torch/cifar10", tmp_path, {"timm_options": fixed}, "has fixed splits; leave their names"),
        ("x/y", tmp_path, {}, "Unknown dataset 'x/y'; .* begins with one of hfds/, torch/, wds/"),
        ("digits", None, {"augmentation": STRONG}, "digits is not read by timm; leave out"),
        ("folder", kept_folder, {"timm_options": TimmOptions()}, "folder is not read by timm"),
        ("timm", kept_folder, {"num_val": 0}, "num_val must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            open_data(dataset, data_dir, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_pct": 0.0}, "crop_pct must be above 0 and at most 1, got 0.0"),
        ({"crop_pct": 1.1}, "crop_pct must be above 0 and at most 1, got 1.1"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"val_split": "a", "test_split": "a"}, "Each split must have another name, got a, a"),
    ],
)
def test_options_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmOptions(**settings)
