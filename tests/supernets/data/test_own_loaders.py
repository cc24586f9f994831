"""DataLoaders of one's own are taken as they come, and what they cannot do is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import search.cli.search
import supernets.cli.train
from supernets import DataConfig, create_loaders
from supernets.runtime.own_code import OwnCodeError

MODULE = """
import torch
from torch.utils.data import DataLoader, TensorDataset


def images(size, classes=("dark", "light"), side=8):
    generator = torch.Generator().manual_seed(size)
    y = torch.arange(size) % 2
    x = torch.randn(size, 3, side, side, generator=generator) + 2 * y.view(-1, 1, 1, 1)
    dataset = TensorDataset(x, y)
    dataset.classes = classes
    return dataset


def loaders():
    train = DataLoader(images(50), batch_size=7, shuffle=True)
    return {"train": train, "val": DataLoader(images(21), batch_size=5)}


def with_test():
    rest = DataLoader(images(50), batch_size=7, shuffle=True, drop_last=True)
    return {"train": rest, "val": DataLoader(images(21)), "test": DataLoader(images(9))}


def of_train_alone():
    return DataLoader(images(50))


def without_classes():
    return {"train": DataLoader(images(50, None)), "val": DataLoader(images(21))}


def mixed():
    return {"train": DataLoader(images(50)), "val": images(21)}


def integers():
    found = loaders()
    found["train"].dataset.tensors = [each.long() for each in found["train"].dataset.tensors]
    return found


def changed(split, what, of_first=True):
    # one split has other images or labels, from its first image on or at its end
    found = with_test()
    dataset = found[split].dataset
    x, y = (each.clone() for each in dataset.tensors)
    if what == "size":
        x = x[:, :, :6, :6]
    elif what == "channels":
        x = x[:, :1]
    elif what == "swapped":
        x = x.permute(0, 2, 3, 1)
    elif what == "none":
        x, y = x[:0], y[:0]
    else:
        y[slice(None) if of_first else slice(-2, None)] = what
    dataset.tensors = [x, y]
    return found


def val_of_another_size(): return changed("val", "size")
def test_of_one_channel(): return changed("test", "channels")
def swapped(): return changed("train", "swapped")
def labels_too_large(): return changed("train", 5)
def labels_below_0(): return changed("train", -1)
def labels_of_val(): return changed("val", 2)
def last_labels_of_val(): return changed("val", 2, False)
def no_val(): return changed("val", "none")
def too_few():
    return {**with_test(), "train": DataLoader(images(5), batch_size=7, drop_last=True)}


class Broken(torch.utils.data.Dataset):
    classes = ("dark", "light")

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == 13:
            raise OSError("no such picture")
        return torch.zeros(3, 8, 8), index % 2


def broken():
    return {"train": DataLoader(Broken(), batch_size=5), "val": DataLoader(images(21))}


def by_batches():
    data = images(50)
    order = torch.utils.data.RandomSampler(data)
    batches = torch.utils.data.BatchSampler(order, 8, drop_last=False)
    return {"train": DataLoader(data, batch_sampler=batches), "val": DataLoader(images(21))}


def unbatched():
    return {"train": DataLoader(images(50), batch_size=None), "val": DataLoader(images(21))}


def oblong():
    found = loaders()
    x, y = found["train"].dataset.tensors
    found["train"].dataset.tensors = [x[:, :, :5], y]
    return found
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "my_data.py"
    path.write_text(MODULE)
    return path


def test_minibatches_have_the_size_that_is_asked_for_and_the_loaders_images(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = create_loaders(DataConfig(f"{path}:loaders"), batch_size=12, eval_batch_size=20)
    assert "continued, but not to the same bits" in caplog.text
    assert "no test split; val is taken for it" in caplog.text
    assert found.class_names == ("dark", "light") and found.input_size == (3, 8, 8)
    sizes = [len(y) for _, y in found.train.epoch(0)]
    assert sizes == [12, 12, 12, 12, 2] and len(found.train) == 5 and found.train.num_images == 50
    assert [len(y) for _, y in found.val] == [21] and len(found.val) == 1  # no single image
    x = torch.cat([x for x, _ in found.train.epoch(0)])
    assert x.is_contiguous(memory_format=torch.channels_last)
    again = torch.cat([x for x, _ in found.train.epoch(0)])
    other = torch.cat([x for x, _ in found.train.epoch(1)])
    assert torch.equal(x, again) and not torch.equal(x, other)
    assert torch.equal(x.sum(0).sort()[0], other.sum(0).sort()[0]) or torch.allclose(
        x.sum(0), other.sum(0), atol=1e-4
    )
    assert [len(y) for _, y in found.train.epoch(0, 3)] == [12, 2]
    assert found.settings["num_train"] == 50 and found.settings["num_test"] == 21


def test_a_last_minibatch_that_the_loader_drops_is_not_counted(path: Path) -> None:
    found = create_loaders(DataConfig(f"{path}:with_test"), batch_size=7)
    assert [len(y) for _, y in found.train.epoch(0)] == [7] * 7 and len(found.train) == 7
    assert found.settings["num_train"] == 49 and found.settings["num_test"] == 9


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("of_train_alone", {}, "must make DataLoaders of train, val and, if there is one, test"),
        ("mixed", {}, "got DataLoaders of train alone"),
        ("without_classes", {}, "must say which classes there are, as attribute classes"),
        ("integers", {}, "must be a tensor .N, C, H, W. of real numbers, got int64 of shape"),
        ("oblong", {}, "must be squares, got 5x8; resize them there"),
        (
            "val_of_another_size",
            {},
            r"Images of val of .* must be \(3, 8, 8\) .* first of train, got \(3, 6, 6\)",
        ),
        ("test_of_one_channel", {}, r"Images of test of .* be \(3, 8, 8\) .* got \(1, 8, 8\)"),
        ("swapped", {}, r"axes of images of train .* swapped: .* got \(7, 8, 8, 3\); permute"),
        ("labels_too_large", {}, "Labels of train of .* from 0 to 1, as .* 2 classes, got 5"),
        ("labels_below_0", {}, "Labels of train of .* must be from 0 to 1, .* got -1"),
        ("labels_of_val", {}, "Labels of val of .* must be from 0 to 1, as .* 2 classes, got 2"),
        ("no_val", {}, "val of .* has no images"),
        ("too_few", {}, "train of .* has no images, or not enough for a minibatch of it"),
        ("unbatched", {}, "train of .* must say how many images a minibatch has"),
        ("loaders", {"image_size": 16}, "which decide that; leave --image-size out"),
        ("loaders", {"num_val": 5}, "which decide that; leave --num-val out"),
        ("loaders", {"cutout": 2}, "which decide that; leave --cutout out"),
    ],
)
def test_what_cannot_be_used_is_refused(
    path: Path, name: str, settings: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create_loaders(DataConfig(f"{path}:{name}", **settings))  # type: ignore[arg-type]


def test_what_comes_later_is_refused_when_it_comes(path: Path) -> None:
    found = create_loaders(DataConfig(f"{path}:last_labels_of_val"))
    with pytest.raises(OwnCodeError, match="Labels of val of .* must be from 0 to 1, .* got 2"):
        list(found.val)
    found = create_loaders(DataConfig(f"{path}:broken"))
    reason = r"train of .*:broken failed: OSError: no such picture \(my_data.py, line \d+\)\.$"
    with pytest.raises(OwnCodeError, match=reason):
        list(found.train.epoch(0))


def test_minibatches_of_a_sampler_of_ones_own_are_counted_and_ordered_by_the_seed(
    path: Path,
) -> None:
    found = create_loaders(DataConfig(f"{path}:by_batches"), batch_size=10)
    assert found.train.num_images == 50 and len(found.train) == 5
    first, again, other = (torch.cat([x for x, _ in found.train.epoch(i)]) for i in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_one_process_alone(path: Path) -> None:
    with pytest.raises(ValueError, match="DataLoaders, which are of one process"):
        create_loaders(DataConfig(f"{path}:loaders"), world_size=2)


def test_a_supernet_is_trained_continued_and_searched(path: Path, tmp_path: Path) -> None:
    flags = f"--dataset {path}:loaders --channels 4 --cells-per-stage 1 --batch-size 10 "
    flags += f"--num-probes 0 --epochs 2 --device cpu --output {tmp_path / 'supernet'}"
    assert supernets.cli.train.main(flags.split()) == 0
    assert supernets.cli.train.main([*flags.split(), "--resume"]) == 0
    checkpoint = tmp_path / "supernet" / "last.pt"
    flags = f"--supernet {checkpoint} --trust-code --num-trials 3 --algorithm random --device cpu"
    flags += f" --tse-batches 3 --tse-batch-size 9 --output {tmp_path / 'search'}"
    assert search.cli.search.main(flags.split()) == 0
    best = json.loads((tmp_path / "search" / "best.json").read_text())
    assert best["trials"] == 3
