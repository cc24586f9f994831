"""Which split the name of a column speaks of."""

from __future__ import annotations

import pytest

from estimators.benchmarks.splits import split_of_name


@pytest.mark.parametrize(
    ("column", "split"),
    [
        ("cifar10_test_acc_200ep", "test"),
        ("cifar100:test", "test"),
        ("Test Top1", "test"),
        ("test", "test"),
        ("cifar10_valid_acc_12ep", "valid"),
        ("validation", "valid"),
        ("val_top1", "valid"),
        ("cifar10-valid:test", "test"),
        ("latest", None),
        ("contest_score", None),
        ("accuracy", None),
    ],
)
def test_the_split_is_a_word_of_the_name(column: str, split: str | None) -> None:
    assert split_of_name(column) == split
