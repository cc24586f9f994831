"""Streams: timm's loaders behind the interface of ours, and what they cannot do."""

from __future__ import annotations

import gc
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import IterableImageDataset
from timm.data.readers.shared_count import SharedCount
from torch.utils.data import get_worker_info

from supernets.data import decoded_loader
from supernets.data import timm_readers as timm_data
from supernets.data.loaders import Loaders
from supernets.data.packed_batches import PackedBatches
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from tests.supernets.data.opening import open_data

SIZES = {"train-shards": 20, "val-shards": 7, "test-shards": 9, "unknown": 0}
NAMED = TimmOptions(train_split="train-shards", val_split="val-shards", test_split="test-shards")


class ShardReader:
    """Image i is grey i, of class i % 3; dealt to the workers as timm's readers do."""

    class_to_idx = {"cat": 0, "dog": 1, "eel": 2}

    def __init__(self, num_samples: int, is_training: bool, batch_size: int) -> None:
        self.num_samples = num_samples
        self._is_training = is_training
        self._batch_size = batch_size
        self._num_workers = 1
        self._epoch = SharedCount()

    def set_epoch(self, epoch: int) -> None:
        self._epoch.value = epoch

    def set_loader_cfg(self, num_workers: int) -> None:
        self._num_workers = max(1, num_workers)

    def _share(self) -> int:
        share = math.ceil(self.num_samples / self._num_workers)
        return math.ceil(share / self._batch_size) * self._batch_size

    def __len__(self) -> int:
        return self._share() * self._num_workers if self._is_training else self.num_samples

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        info = get_worker_info()
        order = np.arange(self.num_samples)
        if self._is_training:
            order = np.random.default_rng(self._epoch.value).permutation(order)
        mine = order[0 if info is None else info.id :: 1 if info is None else info.num_workers]
        if self._is_training:
            mine = np.resize(mine, self._share())  # repeats
        for index in mine.tolist():
            yield Image.new("RGB", (16, 16), (index,) * 3), index % 3


@pytest.fixture(autouse=True)
def shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the data of "wds/x"."""

    def create_dataset(
        name: str, root: str, split: str, is_training: bool, batch_size: int, **_: Any
    ) -> IterableImageDataset:
        if split not in SIZES:
            raise RuntimeError(f"split {split} not found")
        reader = ShardReader(SIZES[split], is_training, batch_size)
        return IterableImageDataset(root, reader=reader)

    monkeypatch.setattr(timm_data, "create_dataset", create_dataset)


def open_stream(options: TimmOptions | None = NAMED, **settings: Any) -> Loaders:
    settings = {
        "image_size": 8,
        "batch_size": 4,
        "eval_batch_size": 5,
        "num_workers": 0,
        "augmentation": TimmAugmentation(color_jitter=0.0),
        **settings,
    }
    return open_data("tfds/x", timm_options=options, **settings)


def greys(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    """The numbers of the images."""
    return [
        round(float(image[0, 0, 0]) * 0.229 * 255 + 0.485 * 255) for x, _ in batches for image in x
    ]


def test_splits_and_settings() -> None:
    loaders = open_stream()
    assert (loaders.class_names, loaders.num_classes) == (("cat", "dog", "eel"), 3)
    assert (loaders.input_size, loaders.splits) == ((3, 8, 8), {})
    settings = loaders.settings
    assert [settings[f"num_{s}"] for s in ("train", "val", "test")] == [20, 7, 9]
    assert settings["timm_options"]["test_split"] == "test-shards"
    assert len(settings["split_digest"]) == 64
    assert [len(getattr(loaders, s)) for s in ("train", "train_eval", "val", "test")] == [
        5,
        5,
        2,
        2,
    ]
    assert (loaders.val.num_images, loaders.val.batch_size, loaders.train.batch_size) == (7, 5, 4)


def test_evaluation_is_in_order_and_normalised() -> None:
    loaders = open_stream()
    for epoch in (0, 1):
        assert greys(loaders.test.epoch(epoch)) == list(range(9))
    x, y = next(iter(loaders.val))
    assert y.tolist() == [0, 1, 2, 0, 1]
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_epochs_have_an_order_of_their_own(num_workers: int) -> None:
    state = torch.get_rng_state()
    loaders = open_stream(num_workers=num_workers)
    for loader in (loaders.train, loaders.train_eval):
        first, second = greys(loader.epoch(0)), greys(loader.epoch(1))
        assert sorted(set(first)) == list(range(20)) == sorted(set(second))
        assert first != second
        assert greys(loader.epoch(0)) == first
        assert greys(loader.epoch(0, 3)) == first[12:]
        assert len(greys(loader.take(7))) == 28
    if num_workers:
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_streamed_images_are_turned_and_blended(
    monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[8:, :, 3] = 255  # black below nothing; upside down, nothing below black

    def images(self: ShardReader) -> Iterator[tuple[Image.Image, int]]:
        image = Image.fromarray(pixels)
        image.getexif()[0x0112] = 3
        yield from [(image, 0)] * 5

    monkeypatch.setattr(ShardReader, "__iter__", images)
    for loader in (open_stream(num_workers=num_workers).test,):
        x = next(iter(loader))[0][0, 0]
        assert x[0, 0] < 0 < x[-1, 0]


def test_classes_of_which_no_image_comes_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def readable(self: ShardReader) -> Iterator[tuple[Image.Image, int]]:
        for index in range(20):
            yield Image.new("RGB", (16, 16)), 2 * (index % 2)

    monkeypatch.setattr(ShardReader, "__iter__", readable)
    loaders = open_stream()
    list(loaders.train.epoch(0, 2))
    assert not caplog.records
    for epoch in (1, 2):
        list(loaders.train.epoch(epoch))
    (record,) = caplog.records
    assert record.message.startswith("No image of 1 class came in a whole epoch (dog)")


def test_training_augments(assert_same: Callable[..., None]) -> None:
    erasing = TimmAugmentation(re_prob=1.0, re_mode="pixel", auto_augment="rand-m9")
    loaders = open_stream(augmentation=erasing)
    assert not any((image[0] == image[0, 0, 0]).all() for x, _ in loaders.train for image in x)
    assert all((image[0] == image[0, 0, 0]).all() for x, _ in loaders.train_eval for image in x)


@pytest.mark.parametrize(
    ("options", "settings", "message"),
    [
        (None, {}, "tfds/x is a stream, of which no split can be drawn; pass train_split"),
        ({"val_split": None}, {}, "no split can be drawn"),
        ({"val_split": "other"}, {}, "cannot open split other of tfds/x .split other not found"),
        ({"val_split": "unknown"}, {}, "unknown of tfds/x does not say how many images it has"),
        ({"num_classes": 4}, {}, "tfds/x has 3 classes, but num_classes is 4"),
        ({}, {"num_val": 5}, "tfds/x is a stream; leave out num_val, use one process"),
        ({}, {"world_size": 2}, "tfds/x is a stream; leave out num_val, use one process"),
        ({}, {"skip_bad_images": True}, "timm decides what a stream skips"),
    ],
)
def test_what_streams_cannot_do_is_refused(
    options: dict[str, Any] | None, settings: dict[str, Any], message: str
) -> None:
    chosen = None if options is None else TimmOptions(**{**vars(NAMED), **options})
    with pytest.raises(ValueError, match=message):
        open_stream(chosen, **settings)


def test_epoch_and_start_are_checked() -> None:
    loaders = open_stream()
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        loaders.train.epoch(-1)
    with pytest.raises(ValueError, match="start must be from 0 to the 5 minibatches, got 6"):
        loaders.train.epoch(0, 6)


def test_its_minibatches_are_packed() -> None:
    loaders = open_stream(augmentation=TimmAugmentation(re_prob=0.5, re_mode="pixel"))
    given = list(loaders.train)
    packed = PackedBatches(given, loaders.train.scalings)
    for (x, _), (expected, _) in zip(packed, given, strict=True):
        assert torch.equal(x.view(torch.int32), expected.view(torch.int32))
        assert x.stride() == expected.stride()
    assert packed.num_bytes < sum(x.nbytes for x, _ in given) / 2


@pytest.mark.parametrize("budget", [0, 10**6])
def test_its_val_images_are_decoded_once_and_can_be_sent_then(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_loader, "MEMORY_BUDGET", budget)
    expected = list(open_stream().val)
    val = decoded_loader.decoded_once(open_stream().val, "val")
    with pytest.raises(RuntimeError):
        pickle.dumps(open_stream().val)
    for each in (val, val, pickle.loads(pickle.dumps(val))):
        assert len(each) == 2
        for (x, y), (given_x, given_y) in zip(each, expected, strict=True):
            assert torch.equal(x.view(torch.int32), given_x.view(torch.int32))
            assert torch.equal(y, given_y) and x.stride() == given_x.stride()
    if budget == 0:
        sent = pickle.dumps(val)
        del val, each
        gc.collect()
        with pytest.raises(OSError, match="pixels.bin"):
            pickle.loads(sent)
