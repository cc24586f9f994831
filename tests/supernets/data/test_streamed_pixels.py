"""Worker processes: kept for all epochs, of no effect on the pixels, deaf to Ctrl-C."""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from supernets.data.image_loader import ImageLoader, UnreadableImage
from supernets.data.streamed_pixels import StreamedPixels

CPU = torch.device("cpu")


class NumberedReader:
    """Image i of epoch e is the number i + 1000 e; those of ``bad`` cannot be read."""

    shape = (1, 1, 1)

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self._bad = bad

    def __len__(self) -> int:
        return 100

    def name(self, index: int) -> str:
        return str(index)

    def read(self, index: int, epoch: int = 0) -> NDArray[np.float32]:
        if index in self._bad:
            raise ValueError(f"bad {index}")
        return np.full(self.shape, index + 1000 * epoch, np.float32)


class ProcessReader(NumberedReader):
    """Every image is the number of the process that reads it."""

    def read(self, index: int, epoch: int = 0) -> NDArray[np.float32]:
        return np.full(self.shape, os.getpid(), np.float64)


def index_batches(*sizes: int) -> list[NDArray[np.int64]]:
    order = np.random.default_rng(0).permutation(100)
    return np.split(order, np.cumsum(sizes))[: len(sizes)]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_larger_and_smaller_than_a_task(num_workers: int) -> None:
    pixels = StreamedPixels(NumberedReader(), CPU, num_workers, skip_bad_images=False)
    batches = index_batches(70, 1, 29)
    for epoch in (0, 2):
        results = list(pixels.batches(batches, epoch))
        for indices, (values, kept) in zip(batches, results, strict=True):
            assert values.flatten().tolist() == [index + 1000 * epoch for index in indices]
            assert kept.tolist() == list(range(len(indices)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_images_are_left_out_of_their_positions(
    num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    (batch,) = index_batches(90)
    bad = (*batch[:32].tolist(), int(batch[40]), int(batch[89]))  # a whole task and two others
    pixels = StreamedPixels(NumberedReader(bad), CPU, num_workers, skip_bad_images=True)
    positions = [i for i in range(32, 89) if i != 40]
    for _ in range(2):
        ((values, kept),) = pixels.batches([batch], 0)
        assert kept.tolist() == positions
        assert values.flatten().tolist() == batch[positions].tolist()
    assert len(caplog.records) == len(bad) + 1  # and one that counts them
    assert caplog.records[-1].message == f"Left out {len(bad)} unreadable images so far."
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    (_, (none, of_none), _) = pixels.batches([batch[32:40], batch[:32], batch[41:50]], 0)
    assert (len(none), len(of_none)) == (0, 0)
    strict = StreamedPixels(NumberedReader(bad), CPU, num_workers, skip_bad_images=False)
    with pytest.raises(UnreadableImage, match=f"^bad {batch[40]} Repair .* --skip-bad"):
        list(strict.batches([batch[32:]], 0))


def processes(batches: Iterator[tuple[Tensor, Tensor]]) -> set[float]:
    return set(torch.cat([values for values, _ in batches]).flatten().tolist())


def test_workers_are_kept() -> None:
    pixels = StreamedPixels(ProcessReader(), CPU, 2, skip_bad_images=False)
    first = processes(pixels.batches(index_batches(50, 50), 0))
    assert len(first) == 2
    assert os.getpid() not in first
    next(pixels.batches(index_batches(50, 50), 1))  # given up midway
    assert processes(pixels.batches(index_batches(50, 50), 2)) == first


def test_a_second_iterator_leaves_the_first_alone() -> None:
    pixels = StreamedPixels(NumberedReader(), CPU, 1, skip_bad_images=False)
    whole = [values.flatten().tolist() for values, _ in pixels.batches(index_batches(5, 5, 5), 1)]
    first = pixels.batches(index_batches(5, 5, 5), 1)
    assert next(first)[0].flatten().tolist() == whole[0]
    second = [values.flatten().tolist() for values, _ in pixels.batches(index_batches(7), 3)]
    assert second == [(index_batches(7)[0] + 3000).tolist()]
    assert [values.flatten().tolist() for values, _ in first] == whole[1:]


def test_ctrl_c_does_not_end_the_workers() -> None:
    pixels = StreamedPixels(ProcessReader(), CPU, 1, skip_bad_images=False)
    (process,) = processes(pixels.batches(index_batches(5), 0))
    os.kill(int(process), signal.SIGINT)
    assert processes(pixels.batches(index_batches(5), 0)) == {process}


def test_loader_gives_normalised_pixels_as_they_are(assert_same: Callable[..., None]) -> None:
    def loader(num_workers: int) -> ImageLoader:
        pixels = StreamedPixels(NumberedReader(), CPU, num_workers, skip_bad_images=False)
        return ImageLoader(
            pixels,
            torch.arange(100),
            np.arange(100),
            40,
            (0.5,),
            (0.5,),
            shuffle=True,
        )

    batches = list(loader(0).epoch(3))
    for x, y in batches:
        assert torch.equal(x.flatten(), y.float() + 3000)
        assert x.is_contiguous(memory_format=torch.channels_last)
    assert_same(loader(2).epoch(3, 1), itertools.islice(batches, 1, None))


@pytest.mark.gpu
def test_an_accelerator_gets_the_same_pixels() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an accelerator")
    pixels = StreamedPixels(NumberedReader(), torch.device("cuda"), 2, skip_bad_images=False)
    for _ in range(2):
        for indices, (values, _) in zip(
            index_batches(70, 30), pixels.batches(index_batches(70, 30), 1), strict=True
        ):
            assert values.device.type == "cuda"
            assert values.flatten().tolist() == [index + 1000 for index in indices]
