"""Val images that are decoded once: the same bits, in memory or a file, and nothing left behind."""

from __future__ import annotations

import gc
import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernets.data import decoded_loader, loaders
from supernets.data.decoded_loader import DecodedLoader, decoded_once
from supernets.data.image_loader import Loader, UnreadableImage
from supernets.data.packed_batches import scalings_of
from supernets.data.pixel_scaling import PixelScaling
from supernets.data.streamed_pixels import StreamedPixels
from supernets.runtime import temporary_file
from tests.supernets.data.opening import open_data

Bits = list[tuple[Tensor, Tensor]]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path, write_images: Callable[..., None]) -> Path:
    """Two classes with 30 images of 20x16."""
    for name in ("cat", "dog"):
        write_images(tmp_path / "images" / name, 30, (20, 16))
    return tmp_path / "images"


def open_val(folder: Path, dataset: str = "timm", **settings: Any) -> Loader:
    settings = {
        "image_size": 12,
        "batch_size": 8,
        "eval_batch_size": 7,
        "num_workers": 0,
        "val_fraction": 0.5,
        **settings,
    }
    return open_data(dataset, folder, **settings).val


def in_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits into memory."""
    monkeypatch.setattr(decoded_loader, "MEMORY_BUDGET", 0)


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes every image that is decoded."""
    decoded: list[int] = []
    batches = StreamedPixels.batches

    def noted(self: Any, index_batches: Any, epoch: int) -> Any:
        decoded.extend(int(index) for indices in index_batches for index in indices)
        return batches(self, index_batches, epoch)

    monkeypatch.setattr(StreamedPixels, "batches", noted)
    return decoded


def assert_same_bits(found: Any, expected: Any) -> None:
    found, expected = list(found), list(expected)
    assert len(found) == len(expected) > 0
    for (x, y), (given_x, given_y) in zip(found, expected, strict=True):
        assert torch.equal(x.view(torch.int32), given_x.view(torch.int32))
        assert x.stride() == given_x.stride()
        assert torch.equal(y, given_y)


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize("dataset", ["timm", "folder"])
def test_images_are_decoded_once_and_have_the_same_bits(
    where: str,
    dataset: str,
    folder: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(loaders, "MEMORY_BUDGET", 0)
    expected = list(open_val(folder, dataset))
    decoded = count_decoding(monkeypatch)
    if where == "file":
        in_file(monkeypatch)
    caplog.set_level(logging.INFO)
    val = decoded_once(open_val(folder, dataset), "val")
    assert isinstance(val, DecodedLoader)
    assert (len(val), val.num_images, val.batch_size) == (len(expected), 24, 7)
    assert not decoded
    for _ in range(3):
        assert_same_bits(val, expected)
    assert_same_bits(val.epoch(5, start=2), expected[2:])
    assert len(decoded) == len(set(decoded)) == 24
    (said,) = [record.message for record in caplog.records if "Decoded" in record.message]
    assert "Decoded 24 val images once; they are 10.4 kB in " in said
    files = list(temporary.glob("*/pixels.bin"))
    assert len(files) == (where == "file")
    if files:
        assert str(files[0]) in said and files[0].stat().st_size == 24 * 12 * 12 * 3
    assert scalings_of(val) == val.scalings
    del val
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_images_in_memory_and_loaders_of_ones_own_stay(folder: Path) -> None:
    val = open_val(folder, "folder")
    assert decoded_once(val, "val") is val


def test_a_quarter_of_free_memory_and_a_budget_decide(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 24 * 12 * 12 * 3
    for free, budget, in_memory in (
        (4 * size, size, True),
        (4 * size - 4, size, False),
        (None, size, True),
        (None, size - 1, False),
        (100 * size, size - 1, False),
    ):
        monkeypatch.setattr(decoded_loader, "free_memory", lambda free=free: free)
        monkeypatch.setattr(decoded_loader, "MEMORY_BUDGET", budget)
        val = DecodedLoader(open_val(folder), "val")
        list(val)
        assert (list(temporary.iterdir()) == []) == in_memory
        del val


@pytest.mark.parametrize("where", ["memory", "file"])
def test_workers_are_sent_what_is_decoded(
    where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(open_val(folder))
    if where == "file":
        in_file(monkeypatch)
    val = DecodedLoader(open_val(folder), "val")
    buffer = io.BytesIO()
    torch.save(val, buffer)  # nobody looked at them before
    decoded = count_decoding(monkeypatch)
    buffer.seek(0)
    sent = torch.load(buffer, weights_only=False)
    assert_same_bits(sent, expected)
    assert decoded == []
    pixels = 24 * 12 * 12 * 3
    without = io.BytesIO()
    torch.save(open_val(folder), without)
    if where == "memory":
        assert buffer.tell() > pixels
    else:
        assert buffer.tell() < without.tell() + pixels // 2


def test_a_worker_without_the_file_decodes_every_time(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    in_file(monkeypatch)
    val = DecodedLoader(open_val(folder), "val")
    sent = pickle.dumps(val)
    expected = list(val)
    (path,) = temporary.glob("*/pixels.bin")
    path.write_bytes(b"others")
    for _ in range(2):
        found = pickle.loads(sent)
        assert_same_bits(found, expected)
        assert_same_bits(found, expected)
        assert caplog.records[-1].message.startswith("This worker decodes the val images again")
        path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_that_was_looked_at_can_be_sent(folder: Path, num_workers: int) -> None:
    val = open_val(folder, num_workers=num_workers)
    expected = list(val)
    again = pickle.loads(pickle.dumps(val))
    assert_same_bits(again, expected)
    assert_same_bits(val, expected)


def test_skipped_images_are_missing_and_others_end_it(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file(monkeypatch)
    for number in range(3, 30, 4):
        (folder / "cat" / f"{number:03}.png").write_bytes(b"damaged")
    plain = open_val(folder, skip_bad_images=True)
    val = DecodedLoader(open_val(folder, skip_bad_images=True), "val")
    assert_same_bits(val, plain)
    assert_same_bits(val, plain)
    del val
    gc.collect()
    broken = DecodedLoader(open_val(folder), "val")
    for _ in range(2):
        with pytest.raises(UnreadableImage, match="skip-bad-images"):
            list(broken)
        assert list(temporary.iterdir()) == []


def test_ctrl_c_leaves_no_file_and_the_next_look_decodes(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file(monkeypatch)
    expected = list(open_val(folder))
    val = DecodedLoader(open_val(folder), "val")
    pack, calls = decoded_loader.pack, []

    def interrupted(x: Tensor, scalings: Any) -> Any:
        calls.append(x)
        if len(calls) == 3:
            assert len(list(temporary.glob("*/pixels.bin"))) == 1
            raise KeyboardInterrupt
        return pack(x, scalings)

    monkeypatch.setattr(decoded_loader, "pack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(val)
    assert list(temporary.iterdir()) == []
    assert_same_bits(val, expected)


PROGRAM = """
import os, signal, sys, tempfile
from pathlib import Path
from supernets import DataConfig, create_loaders
from supernets.data import decoded_loader

tempfile.tempdir = sys.argv[2]
decoded_loader.MEMORY_BUDGET = 0
data = DataConfig("timm", Path(sys.argv[1]), image_size=12, val_fraction=0.5)
val = decoded_loader.DecodedLoader(create_loaders(data, num_workers=0).val, "val")
list(val)
assert len(list(Path(tempfile.tempdir).glob("*/pixels.bin"))) == 1
os.kill(os.getpid(), signal.SIGINT)
signal.pause()
"""


@pytest.mark.slow
def test_ctrl_c_at_a_process_that_has_decoded_removes_the_file(
    folder: Path, temporary: Path
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(temporary)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr, done.stderr
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file(monkeypatch)
    child = os.fork()
    if child == 0:
        list(kept := DecodedLoader(open_val(folder), "val"))
        assert kept is not None
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (dead,) = temporary.iterdir()
    assert (dead / "pixels.bin").exists()
    os.utime(dead, (0, 0))  # old enough to be sure
    list(val := DecodedLoader(open_val(folder), "val"))
    (mine,) = temporary.iterdir()
    assert mine != dead and len(val) == 4


@pytest.mark.parametrize("full", ["at first", "on the way", "no folder"])
def test_a_full_disk_is_said_once_and_images_are_decoded_every_time(
    full: str,
    folder: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    disk_of: Callable[[int], AbstractContextManager[None]],
) -> None:
    in_file(monkeypatch)
    expected = list(open_val(folder))
    val = DecodedLoader(open_val(folder), "val")
    if full == "at first":
        usage = type("Usage", (), {"free": 5000})
        monkeypatch.setattr(temporary_file.shutil, "disk_usage", lambda _: usage)
    elif full == "no folder":
        temporary.rmdir()
    with disk_of(5000 if full == "on the way" else 10**9):
        for _ in range(2):
            assert_same_bits(val, expected)
    (said,) = [record.message for record in caplog.records if "again every time" in record.message]
    assert f"they cannot be kept in a file in {temporary}" in said
    assert "set TMPDIR to a folder with room" in said
    if full == "at first":
        assert f"{temporary}, which has 5 kB free (they take 10.4 kB); set" in said
    assert full == "no folder" or list(temporary.iterdir()) == []
    assert_same_bits(pickle.loads(pickle.dumps(val)), expected)


@pytest.mark.parametrize("where", ["the process that decodes", "a worker"])
def test_a_file_that_cannot_be_mapped_is_said_and_images_are_decoded_every_time(
    where: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unmapped(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("unable to mmap 10368 bytes: Cannot allocate memory (12)\nframe #0")

    in_file(monkeypatch)
    expected = list(open_val(folder))
    val = DecodedLoader(open_val(folder), "val")
    sent = pickle.dumps(val) if where == "a worker" else b""
    monkeypatch.setattr(torch, "from_file", unmapped)
    assert_same_bits(pickle.loads(sent) if sent else val, expected)
    (said,) = [record.message for record in caplog.records if "again every time" in record.message]
    assert "cannot be mapped: unable to mmap 10368 bytes: Cannot allocate memory (12)" in said


def test_pixels_that_do_not_give_the_same_bits_are_decoded_every_time(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    val = DecodedLoader(open_val(folder), "val")
    scalings: tuple[PixelScaling, ...] = ()
    val.loader.scalings = scalings
    expected = list(open_val(folder))
    assert_same_bits(val, expected)
    assert_same_bits(val, expected)
    assert len([r for r in caplog.records if "they are not of 8-bit pixels" in r.message]) == 1


def test_what_was_decoded_in_inference_mode_can_be_trained_on(folder: Path) -> None:
    val = DecodedLoader(open_val(folder), "val")
    with torch.inference_mode():
        list(val)
    for x, y in val:
        weight = torch.ones(3, 2, requires_grad=True)
        torch.nn.functional.cross_entropy(x.mean((2, 3)) @ weight, y).backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
