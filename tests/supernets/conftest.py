"""Image files, whole, odd and damaged, and a comparison of minibatches."""

from __future__ import annotations

import io
import os
import re
import struct
import sysconfig
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from supernets.data.loaders import Loaders


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
    """Writes readable files of unusual modes and sizes, and returns what viewers show of them."""

    def write(class_dir: Path) -> dict[str, NDArray[np.uint8]]:
        rng = np.random.default_rng(0)
        grey = rng.integers(0, 256, (12, 16), dtype=np.uint8)
        corners = np.kron(grey[:2, :2], np.ones((16, 16), np.uint8))  # survives JPEG
        colours = np.kron(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), np.ones((16, 16, 1)))
        colours = colours.astype(np.uint8)
        palette = Image.fromarray(colours).quantize(8)
        alpha = rng.integers(0, 256, grey.shape, dtype=np.uint8)
        indices, entries = np.asarray(palette), np.asarray(palette.convert("RGB"))
        entry_alpha = np.array([0, 128, *[255] * 254], np.uint8)[indices]
        as_rgb = {
            "cmyk.jpg": colours,
            "grey.jpg": np.stack([corners] * 3, axis=2),
            "grey16.png": np.stack([grey] * 3, axis=2),
            "floats.tiff": np.stack([grey] * 3, axis=2),
            "grey_alpha.png": np.stack([on_white(grey, alpha)] * 3, axis=2),
            "one_pixel.png": np.array([[[1, 2, 3]]], np.uint8),
            "palette_alpha.png": on_white(entries, entry_alpha[:, :, None]),
            "rotated.jpg": np.rot90(colours, -1),
        }
        class_dir.mkdir(parents=True, exist_ok=True)
        cmyk = Image.fromarray(colours).convert("CMYK")
        cmyk.save(class_dir / "cmyk.jpg", quality=100, subsampling=0)
        Image.fromarray(corners).save(class_dir / "grey.jpg", quality=100)
        Image.fromarray(grey.astype(np.uint16) * 257).save(class_dir / "grey16.png")
        Image.fromarray(grey.astype(np.float32) / 255).save(class_dir / "floats.tiff")
        Image.fromarray(np.stack([grey, alpha], axis=2)).save(class_dir / "grey_alpha.png")
        Image.new("RGB", (1, 1), (1, 2, 3)).save(class_dir / "one_pixel.png")
        palette.save(class_dir / "palette_alpha.png", transparency=bytes([0, 128, 255]))
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees
        Image.fromarray(colours).save(
            class_dir / "rotated.jpg", quality=100, subsampling=0, exif=exif
        )
        return as_rgb

    return write


def on_white(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = alpha / 255
    blended: NDArray[np.uint8] = np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)
    return blended


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


@pytest.fixture(scope="session")
def leaks() -> Callable[[Path, Loaders], list[str]]:
    """Finds what the files of a folder, and files packed in them, tell of images and machine.

    Rows of images are looked for as numbers of one byte or four, normalised or not.
    """

    def find(folder: Path, loaders: Loaders) -> list[str]:
        shape = (1, -1, 1, 1)
        mean, std = (
            torch.tensor(loaders.settings[name]).reshape(shape) for name in ("mean", "std")
        )
        rows: dict[int, set[bytes]] = {}
        for loader in (loaders.train_eval, loaders.val, loaders.test):
            for x, _ in loader:
                plain = (x * std + mean).mul(255).round()
                for images in (x, plain / 255, plain, plain.to(torch.uint8)):
                    values = images.flatten(0, 2).numpy()  # (N * C * H, W)
                    num_distinct = 1 + (np.diff(np.sort(values, axis=1)) != 0).sum(axis=1)
                    for row in values[num_distinct > 5]:  # not of a blank margin
                        rows.setdefault(row.nbytes, set()).add(row.tobytes())
        found = []
        paths = [str(Path(__file__).parents[2]), torch.__file__, tempfile.gettempdir(), os.getcwd()]
        paths += [str(Path.home()), sysconfig.get_path("purelib")]
        for name, content in _packed("", folder):
            found += [f"{name}: {path}" for path in paths if path.encode() in content]
            found += [
                f"{name}: {m!r}"
                for m in re.findall(rb"/[\w.-]+/[\w./-]+\.(?:py|pt|png)\b", content)
            ]
            for size, needles in rows.items():
                found += [f"{name}: {where} of {size} bytes" for where in _rows(content, needles)]
        return found

    return find


def _rows(content: bytes, needles: set[bytes]) -> list[str]:
    """Where one of the needles, all of one length of at least 8, is within the content."""
    size = len(next(iter(needles)))
    middle = size // 2 - 4  # of the 8 bytes that are looked for at once
    keys = np.frombuffer(b"".join(row[middle : middle + 8] for row in needles), np.uint64)
    found = []
    for offset in range(min(8, len(content))):
        words = np.frombuffer(content, np.uint64, (len(content) - offset) // 8, offset)
        for start in 8 * np.flatnonzero(np.isin(words, keys)) + offset - middle:
            if start >= 0 and content[start : start + size] in needles:
                found.append(f"at byte {start} a row")
    return found


def _packed(name: str, path: Path | bytes) -> Iterator[tuple[str, bytes]]:
    """All files of a folder or of an archive, archives in archives too."""
    if isinstance(path, Path) and path.is_dir():
        for file in path.iterdir():
            yield from _packed(f"{name}/{file.name}", file.read_bytes())
        return
    content = path.read_bytes() if isinstance(path, Path) else path
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                inner = archive.read(member)
                if member.compress_type != zipfile.ZIP_STORED or zipfile.is_zipfile(
                    io.BytesIO(inner)
                ):  # others are in the archive as they are
                    yield from _packed(f"{name}/{member.filename}", inner)
