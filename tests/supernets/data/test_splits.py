"""Held-out splits: by class, by number, at random where a class has one image; their digest."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.data.splits import draw_splits, split_digest


def draw(
    labels: list[int], *, num_val: int | None = None, seed: int = 0, **splits: list[int]
) -> dict[str, NDArray[np.int64]]:
    array = np.array(labels)
    given = {split: np.array(indices) for split, indices in splits.items()}
    names = [f"class{label}" for label in range(max(labels) + 1)]
    given = given or {"train": np.arange(len(array))}
    return draw_splits(given, array, names, val_fraction=0.25, num_val=num_val, seed=seed)


def test_missing_splits_are_drawn_by_class() -> None:
    labels = np.array([0] * 50 + [1] * 100)
    splits = draw(labels.tolist())
    counts = {split: np.bincount(labels[indices]).tolist() for split, indices in splits.items()}
    assert counts == {"train": [30, 60], "val": [10, 20], "test": [10, 20]}
    assert list(splits) == ["train", "val", "test"]
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(150))
    for indices in splits.values():
        assert (np.diff(indices) > 0).all()
    other = draw(labels.tolist(), seed=1)
    assert not np.array_equal(other["val"], splits["val"])


def test_a_number_of_val_images() -> None:
    splits = draw([0, 1] * 50, num_val=10)
    assert {split: len(indices) for split, indices in splits.items()} == {
        "train": 70,
        "val": 10,
        "test": 20,
    }
    assert sorted(splits["val"] % 2) == [0] * 5 + [1] * 5


def test_own_splits_stay() -> None:
    splits = draw([0, 1] * 6, train=list(range(8)), val=[8, 9], test=[10, 11])
    assert [splits[split].tolist() for split in splits] == [list(range(8)), [8, 9], [10, 11]]
    with pytest.raises(ValueError, match="bring their own val split; leave out num_val"):
        draw([0, 1] * 6, num_val=2, train=list(range(8)), val=[8, 9], test=[10, 11])


def test_a_class_with_one_image_makes_the_draw_random(caplog: pytest.LogCaptureFixture) -> None:
    labels = [0] * 8 + [1]
    splits = draw(labels, train=list(range(9)), test=[0])
    assert (len(splits["train"]), len(splits["val"])) == (6, 3)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Class 'class1' has 1 image to draw a val split from" in record.message
    drawn = {tuple(draw(labels, train=list(range(9)), test=[0], seed=s)["val"]) for s in range(9)}
    assert len(drawn) > 5
    assert any(8 in val for val in drawn)


@pytest.mark.parametrize(
    ("labels", "num_val", "message"),
    [
        ([0, 1] * 10, 1, "val split of 1 of 16 images leaves fewer than 2 on one side"),
        ([0, 1] * 10, 15, "val split of 15 of 16 images leaves fewer than 2 on one side"),
        ([0] * 9 + [1], 8, "val split of 8 of 8 images leaves fewer than 1 on one side"),
    ],
)
def test_impossible_draws_are_refused(labels: list[int], num_val: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(labels, num_val=num_val)


def test_digest_is_over_lines_of_names_and_labels() -> None:
    splits = {"train": np.array([2, 0]), "val": np.array([1])}
    found = split_digest(splits, np.array([5, 6, 7]), "abc".__getitem__)
    assert found == hashlib.sha256(b"train\nc\t7\na\t5\nval\nb\t6\n").hexdigest()
