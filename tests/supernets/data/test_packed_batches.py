"""Packed minibatches: the same bits and strides from every kind of data, in a quarter of bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from supernets.data import loaders as opening
from supernets.data.image_loader import Augmentation, ImageLoader, Loader
from supernets.data.memory_pixels import MemoryPixels
from supernets.data.own_loaders import OwnLoader
from supernets.data.packed_batches import PackedBatches, kept, pack, sizes_of
from supernets.data.pixel_scaling import PixelScaling, Standardised
from supernets.data.rebatching import rebatched
from supernets.data.timm_options import TimmAugmentation
from tests.supernets.data.opening import open_data

CPU = torch.device("cpu")
SCALING = Standardised.of((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), CPU)
Opener = Callable[[Path, pytest.MonkeyPatch], Loader]


def in_memory(cutout: int = 0, channels: int = 3) -> Loader:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (50, 16, 16, channels), generator=generator).to(torch.uint8)
    return ImageLoader(
        MemoryPixels(pixels),
        torch.arange(50),
        np.arange(50),
        16,
        mean=(0.5, 0.4, 0.3)[:channels],
        std=(0.2, 0.3, 0.4)[:channels],
        augmentation=Augmentation(pad=2, flip=True, cutout=cutout),
        shuffle=True,
    )


def of_timm(data_dir: Path, **augmentation: Any) -> Loader:
    settings = TimmAugmentation(**augmentation)
    options = {"image_size": 16, "batch_size": 8, "num_workers": 0, "val_fraction": 0.25}
    return open_data("timm", data_dir, augmentation=settings, **options).train


def streamed_folder(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    monkeypatch.setattr(opening, "MEMORY_BUDGET", 0)
    return open_data("folder", data_dir, batch_size=8, num_workers=0, val_fraction=0.25).train


def own(*_: Any) -> Loader:
    x = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    loader: DataLoader[Any] = DataLoader(TensorDataset(x, torch.arange(20) % 2), batch_size=5)
    return OwnLoader(loader, 8, CPU, 0, "train", ("a", "b"))


#: A loader, and how many bytes its images take packed, at most, for each byte of theirs.
SOURCES: dict[str, tuple[Opener, float]] = {
    "images in memory": (lambda *_: in_memory(), 0.25),
    "one channel": (lambda *_: in_memory(channels=1), 0.25),
    "cutout": (lambda *_: in_memory(cutout=8), 0.25 + 8**2 / 16**2 / 3 + 0.02),
    "streamed folder": (streamed_folder, 0.25),
    "timm, evaluation": (
        lambda path, _: open_data("timm", path, image_size=16, val_fraction=0.25).val,
        0.25,
    ),
    "timm, jitter": (lambda path, _: of_timm(path), 0.25),
    "timm, const": (lambda path, _: of_timm(path, re_prob=0.25), 0.4),
    "timm, rand": (lambda path, _: of_timm(path, re_prob=0.25, re_mode="rand"), 0.45),
    "timm, pixel": (
        lambda path, _: of_timm(
            path, re_prob=0.25, re_mode="pixel", auto_augment="rand-m9-mstd0.5"
        ),
        0.45,
    ),
    "own DataLoader": (own, 1.0),
}


def assert_same_bits(found: Iterable[tuple[Tensor, Tensor]], expected: Any) -> None:
    found, expected = list(found), list(expected)
    assert len(found) == len(expected) > 0
    for (x, y), (given_x, given_y) in zip(found, expected, strict=True):
        assert torch.equal(x.view(torch.int32), given_x.view(torch.int32))  # bits
        assert (x.dtype, x.stride()) == (given_x.dtype, given_x.stride())
        assert torch.equal(y, given_y)


@pytest.fixture
def folder(tmp_path: Path, write_images: Callable[..., None]) -> Path:
    """Two classes with 24 images of 20x16."""
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 24, (20, 16))
    return tmp_path


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_comes_back_bit_by_bit_in_a_quarter_of_the_bytes(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, share = SOURCES[name]
    loader = opened(folder, monkeypatch)
    given = list(loader.take(5))
    packed = PackedBatches(loader.take(5), loader.scalings)
    assert_same_bits(packed, given)
    labels = sum(y.nbytes for _, y in given)
    found = (packed.num_bytes - labels) / sum(x.nbytes for x, _ in given)
    assert share - 0.2 <= found <= share
    assert packed.sizes == sizes_of(given) == [len(y) for _, y in given]


def test_minibatches_of_another_size_are_packed_too() -> None:
    loader = in_memory(channels=1)
    given = list(rebatched(loader, 20))
    packed = PackedBatches(given, loader.scalings)
    assert_same_bits(packed, given)
    assert packed.num_bytes < sum(x.nbytes for x, _ in given) / 3


def test_what_no_level_gives_is_kept_as_it_is() -> None:
    x = SCALING(torch.full((4, 8, 8, 3), 7, dtype=torch.uint8)).permute(0, 3, 1, 2).contiguous()
    for i, odd in enumerate((-0.0, torch.nan, torch.inf, 1e30)):
        x[i, i % 3, i, 3] = odd
    packed = pack(x, [SCALING])
    assert packed is not None
    y = torch.arange(4)
    assert_same_bits([(packed.unpack(), y)], [(x, y)])
    assert packed.num_bytes == 4 * 8 * 8 * 3 + 4 * (4 + 3 * 4)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.zeros(0, 3, 8, 8),
        torch.zeros(4, 3, 8, 8, dtype=torch.float64),
        torch.zeros(4, 3, 8, 16)[..., ::2],
        torch.zeros(4, 8),
    ],
    ids=["noise", "no image", "doubles", "strides of another tensor", "rows"],
)
def test_what_is_not_of_8_bits_stays(x: Tensor) -> None:
    assert pack(x, [SCALING]) is None
    for scalings in ([SCALING], []):
        ((found, _),) = PackedBatches([(x, x)], scalings)
        assert found is x


def test_minibatches_of_a_list_stay_as_they_are(tmp_path: Path) -> None:
    given = list(in_memory().take(3))
    held = kept(given, 2)
    assert len(held) == 2
    assert all(x is mine for (x, _), (mine, _) in zip(held, given, strict=False))


def test_parts_share_what_is_packed_and_so_do_files_of_them() -> None:
    loader = in_memory()
    packed = kept(loader, 3, "cpu")
    assert packed.num_bytes < 3 * 16 * (16 * 16 * 3 + 8) + 1
    first = packed[:2]
    assert_same_bits(first, list(packed)[:2])
    assert_same_bits([packed[-1]], list(packed)[2:])
    assert first.scalings == packed.scalings

    def size_of(value: object) -> int:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.tell()

    assert size_of((packed, first, first.to("cpu"))) < size_of(packed) + 2000
    assert size_of(packed) < size_of(list(packed)) / 3


def test_a_device_that_scales_otherwise_gets_floats() -> None:
    class Other(Standardised):
        def to(self, device: torch.device | str) -> Standardised:
            return Standardised(self.mean + 1e-6, self.std, self.divisor)

    pixels = torch.arange(192, dtype=torch.uint8).view(1, 8, 8, 3)
    x = SCALING(pixels).permute(0, 3, 1, 2)
    same, other = (
        PackedBatches([(x, x)], [scaling]).to("cpu:0")
        for scaling in (SCALING, Other(SCALING.mean, SCALING.std, SCALING.divisor))
    )
    assert_same_bits(same, [(x, x)])
    assert_same_bits(other, [(x, x)])
    assert other.num_bytes == 2 * x.nbytes > same.num_bytes


def test_the_scaling_that_fits_is_tried_first() -> None:
    tried = []

    class Watched(Standardised):
        def nearest_levels(self, x: Tensor) -> Tensor:
            tried.append(self)
            return super().nearest_levels(x)

    wrong: PixelScaling = Watched(SCALING.mean / 3, SCALING.std / 3, SCALING.divisor)
    right = Watched(SCALING.mean, SCALING.std, SCALING.divisor)
    pixels = torch.randint(256, (2, 8, 8, 3), generator=torch.Generator().manual_seed(0))
    x = SCALING(pixels.to(torch.uint8)).permute(0, 3, 1, 2)
    PackedBatches([(x, x)] * 3, [wrong, right])
    assert tried == [wrong, right, right, right]
