"""Image files, whole, odd and damaged, and a comparison of minibatches."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="session")
def write_images() -> Callable[..., None]:
    """Writes PNG files of noise, all different, to the folder of a class."""

    def write(class_dir: Path, count: int, size: tuple[int, int] = (16, 16), seed: int = 0) -> None:
        class_dir.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((seed, *class_dir.as_posix().encode()))
        for number in range(count):
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(class_dir / f"{number:03}.png")

    return write


@pytest.fixture(scope="session")
def write_odd_images() -> Callable[[Path], dict[str, NDArray[np.uint8]]]:
    """Writes readable files of unusual modes and sizes, and gives back their pixels as RGB."""

    def write(class_dir: Path) -> dict[str, NDArray[np.uint8]]:
        rng = np.random.default_rng(0)
        grey = rng.integers(0, 256, (12, 16), dtype=np.uint8)
        corners = np.kron(grey[:2, :2], np.ones((16, 16), np.uint8))  # survives JPEG
        colours = np.kron(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), np.ones((16, 16, 1)))
        colours = colours.astype(np.uint8)
        palette = Image.fromarray(colours).quantize(8)
        as_rgb = {
            "cmyk.jpg": colours,
            "grey.jpg": np.stack([corners] * 3, axis=2),
            "grey16.png": np.stack([grey] * 3, axis=2),
            "grey_alpha.png": np.stack([grey] * 3, axis=2),
            "one_pixel.png": np.array([[[1, 2, 3]]], np.uint8),
            "palette_alpha.png": np.asarray(palette.convert("RGB")),
            "rotated.jpg": colours,
        }
        class_dir.mkdir(parents=True, exist_ok=True)
        cmyk = Image.fromarray(colours).convert("CMYK")
        cmyk.save(class_dir / "cmyk.jpg", quality=100, subsampling=0)
        Image.fromarray(corners).save(class_dir / "grey.jpg", quality=100)
        Image.fromarray(grey.astype(np.uint16) * 257).save(class_dir / "grey16.png")
        with_alpha = np.stack([grey, rng.integers(0, 256, grey.shape, dtype=np.uint8)], axis=2)
        Image.fromarray(with_alpha).save(class_dir / "grey_alpha.png")
        Image.new("RGB", (1, 1), (1, 2, 3)).save(class_dir / "one_pixel.png")
        palette.save(class_dir / "palette_alpha.png", transparency=bytes([0, 128, 255]))
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        Image.fromarray(colours).save(
            class_dir / "rotated.jpg", quality=100, subsampling=0, exif=exif
        )
        return as_rgb

    return write


@pytest.fixture(scope="session")
def damage() -> Callable[[Path, str], None]:
    """Damages an image file, or puts another in its place, so that it cannot be read."""

    def write(path: Path, kind: str) -> None:
        pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        if kind == "empty":
            path.write_bytes(b"")
        elif kind == "text":
            path.write_bytes(b"no image")
        elif kind == "truncated":
            Image.fromarray(pixels).save(path, "JPEG")
            path.write_bytes(path.read_bytes()[:-500])
        elif kind == "flipped":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 255
            path.write_bytes(data)
        else:
            assert kind == "huge"
            Image.fromarray(pixels).save(path, "PNG")
            data = bytearray(path.read_bytes())
            data[16:24] = struct.pack(">II", 60000, 60000)  # width and height
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
            path.write_bytes(data)

    return write


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Compares minibatches, bit by bit."""

    def assert_same(
        batches: Iterable[tuple[Tensor, Tensor]], others: Iterable[tuple[Tensor, Tensor]]
    ) -> None:
        found, expected = list(batches), list(others)
        assert len(found) == len(expected)
        for (x, y), (other_x, other_y) in zip(found, expected, strict=True):
            assert torch.equal(x, other_x)
            assert torch.equal(y, other_y)

    return assert_same
