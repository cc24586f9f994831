"""Minibatches: order, augmentation, entering an epoch midway, and sharing among processes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from supernets.data.image_loader import Augmentation, crop_and_flip, cut_out
from supernets.data.loaders import ImageLoader
from supernets.data.memory_pixels import MemoryPixels


def numbered_loader(
    num_images: int, batch_size: int, rank: int = 0, world_size: int = 1, cutout: int = 0
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
        augmentation=Augmentation(pad=2, flip=True, cutout=cutout),
        shuffle=True,
        seed=3,
        rank=rank,
        world_size=world_size,
    )


def test_minibatch_contract() -> None:
    loader = numbered_loader(50, 16)
    batches = list(loader)
    assert (loader.num_images, loader.batch_size, len(loader)) == (50, 16, 4)
    assert [len(y) for _, y in batches] == [16, 16, 16, 2]
    for x, y in batches:
        assert (x.shape[1:], x.dtype, y.dtype) == ((3, 8, 8), torch.float32, torch.int64)
        assert x.is_contiguous(memory_format=torch.channels_last)
    assert sorted(torch.cat([y for _, y in batches]).tolist()) == list(range(50))


def test_epochs_are_deterministic_and_differ(assert_same: Callable[..., None]) -> None:
    loader, other = numbered_loader(50, 16), numbered_loader(50, 16)
    assert_same(loader.epoch(2), list(other.epoch(2)))
    assert_same(loader, list(loader.epoch(0)))
    assert not torch.equal(next(loader.epoch(0))[1], next(loader.epoch(1))[1])


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_start_skips_batches_without_changing_the_others(
    start: int, assert_same: Callable[..., None]
) -> None:
    loader = numbered_loader(50, 16)
    assert_same(loader.epoch(5, start), list(loader.epoch(5))[start:])


def test_the_same_loader_over_other_images() -> None:
    loader = numbered_loader(50, 16)
    others = np.arange(5, 45, 2)
    other = loader.over(others)
    assert (other.num_images, len(other)) == (20, 2)
    epochs = [torch.cat([y for _, y in other.epoch(epoch)]).tolist() for epoch in (0, 1)]
    assert all(sorted(epoch) == others.tolist() for epoch in epochs) and epochs[0] != epochs[1]
    assert loader.num_images == 50 and len(torch.cat([y for _, y in loader])) == 50
    x, y = next(iter(other))
    plain = numbered_loader(50, 16)
    plain._augmentation = None
    as_stored = {
        int(label): image for images, ys in plain for image, label in zip(images, ys, strict=True)
    }
    assert not torch.equal(x, torch.stack([as_stored[int(label)] for label in y]))  # augmented
    with pytest.raises(ValueError, match="1 images cannot feed 2 processes"):
        numbered_loader(50, 16, world_size=2).over(others[:1])


def test_take_crosses_epochs(assert_same: Callable[..., None]) -> None:
    loader = numbered_loader(50, 16)
    expected = list(itertools.chain(loader.epoch(0), loader.epoch(1), loader.epoch(2)))
    assert_same(loader.take(9), expected[:9])
    assert_same(loader.take(1), expected[:1])


@pytest.mark.parametrize("num_images", [64, 65, 66, 67, 71, 30])
@pytest.mark.parametrize(("world_size", "cutout"), [(2, 0), (3, 0), (3, 5)])
def test_ranks_together_see_the_batches_of_one_process(
    num_images: int, world_size: int, cutout: int, assert_same: Callable[..., None]
) -> None:
    whole = list(numbered_loader(num_images, 8 * world_size, cutout=cutout).epoch(1))
    ranks = [numbered_loader(num_images, 8, rank, world_size, cutout) for rank in range(world_size)]
    parts = [list(loader.epoch(1)) for loader in ranks]
    assert {len(part) for part in parts} == {len(loader) for loader in ranks}
    if num_images % (8 * world_size) in range(1, 2 * world_size):  # too few images to go round
        num_whole = num_images // (8 * world_size)
        assert len(parts[0]) == num_whole
        whole, parts = whole[: num_whole - 1], [part[:-1] for part in parts]
    assert len(parts[0]) == len(whole)
    joined = [
        (torch.cat([x for x, _ in batch]), torch.cat([y for _, y in batch]))
        for batch in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)
    for batch in zip(*parts, strict=True):
        sizes = [len(y) for _, y in batch]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("num_images", "world_size", "sizes"),
    [
        (65, 1, [8] * 7 + [9]),
        (66, 1, [8] * 8 + [2]),
        (1, 1, [1]),  # there is none before
        (65, 2, [8] * 4),  # not one for each
        (66, 2, [8] * 3 + [9]),
        (67, 2, [8] * 3 + [10]),
        (68, 2, [8] * 4 + [2]),
        (2, 2, [1]),
    ],
)
def test_a_last_minibatch_of_one_image_joins_the_one_before(
    num_images: int, world_size: int, sizes: list[int], assert_same: Callable[..., None]
) -> None:
    loaders = [numbered_loader(num_images, 8, rank, world_size) for rank in range(world_size)]
    epochs = [list(loader.epoch(3)) for loader in loaders]
    assert [len(y) for _, y in epochs[0]] == sizes
    assert {len(loader) for loader in loaders} == {len(sizes)}
    seen = sorted(int(label) for epoch in epochs for _, y in epoch for label in y)
    assert len(set(seen)) == len(seen) == num_images - (num_images == 65 and world_size == 2)
    start = len(sizes) - 1
    for loader, epoch in zip(loaders, epochs, strict=True):
        assert_same(loader.epoch(3, start), epoch[start:])


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
    images = loader.source._images  # type: ignore[attr-defined]
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
    top, left, flipped = loader._draw(0, 0, 8, 8)
    for offsets in (top, left):
        counts = torch.bincount(offsets, minlength=5)
        assert len(counts) == 5
        assert (counts / 4096 - 0.2).abs().max() < 0.03
    assert abs(float(flipped.float().mean()) - 0.5) < 0.03


@pytest.mark.parametrize("side", [1, 3, 4, 7])
def test_cut_out_equals_one_image_at_a_time(side: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.random((60, 3, 9, 7), np.float32) + 1
    row, column = rng.integers(0, 9, 60), rng.integers(0, 7, 60)
    x = torch.from_numpy(images.copy()).to(memory_format=torch.channels_last)
    cut_out(x, torch.from_numpy(row), torch.from_numpy(column), side=side)
    for found, image, i, j in zip(x, images, row, column, strict=True):
        top, left = i - side // 2, j - side // 2
        image[:, max(0, top) : top + side, max(0, left) : left + side] = 0
        assert np.array_equal(found.numpy(), image)


@pytest.mark.parametrize("side", [3, 4])
def test_cutout_changes_nothing_but_its_square(side: int) -> None:
    plain, cut = numbered_loader(40, 16), numbered_loader(40, 16, cutout=side)
    areas = set()
    for (x, y), (cut_x, cut_y) in zip(plain.epoch(2), cut.epoch(2), strict=True):
        assert torch.equal(cut_y, y)
        assert cut_x.is_contiguous(memory_format=torch.channels_last)
        hidden = (cut_x == 0).all(dim=1)  # (N, H, W)
        assert torch.equal(cut_x, torch.where(hidden[:, None], 0.0, x))
        for mask in hidden:
            rows, columns = mask.any(dim=1), mask.any(dim=0)
            assert torch.equal(mask, rows[:, None] & columns)  # a rectangle
            areas.add((int(rows.sum()), int(columns.sum())))
    assert max(areas) == (side, side)
    assert min(min(area) for area in areas) == side - side // 2  # around a pixel of the corner


def test_centres_of_cutout_are_uniform_and_crops_are_as_without() -> None:
    loader = numbered_loader(4096, 4096, cutout=3)
    *crops, row, column = loader._draw(0, 0, 5, 4)
    for centres, length in ((row, 5), (column, 4)):
        counts = torch.bincount(centres, minlength=length)
        assert len(counts) == length
        assert (counts / 4096 - 1 / length).abs().max() < 0.03
    assert abs(float(torch.corrcoef(torch.stack([row, column]).float())[0, 1])) < 0.05
    plain = numbered_loader(4096, 4096)._draw(0, 0, 5, 4)
    assert all(torch.equal(*pair) for pair in zip(crops, plain, strict=True))
    again, later = loader._draw(0, 0, 5, 4), loader._draw(1, 0, 5, 4)
    assert torch.equal(row, again[3]) and not torch.equal(row, later[3])


@pytest.fixture
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("cutout", [0, 16])
def test_augmenting_is_fast(cutout: int) -> None:
    images = torch.zeros((2000, 32, 32, 3), dtype=torch.uint8)
    loader = ImageLoader(
        MemoryPixels(images),
        torch.zeros(2000, dtype=torch.int64),
        np.arange(2000),
        64,
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        augmentation=Augmentation(4, True, cutout),
        shuffle=True,
    )
    seconds = []
    batches = loader.take(60)
    for _ in range(60):
        start = time.thread_time()
        next(batches)
        seconds.append(time.thread_time() - start)
    assert np.median(seconds) < 0.005  # of processor time; typically 0.0004, with cutout 0.0008


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
