"""What is known of a table's truths, and where a test set's size does not apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.ranking.truth import Truth, checked_truth, known_test_size
from supernets.spaces import Architecture

ARCHS = [Architecture("toy", (i,)) for i in range(3)]


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("nasbench201.csv.gz", "cifar10_test_acc_200ep", 10_000),
        ("a.csv", "CIFAR-10 test", 10_000),
        ("a.csv", "cifar100_test_acc_200ep", None),
        ("a.csv", "cifar10_valid_acc_12ep", None),
        ("nasbench_only108.tfrecord", "validation", 10_000),
        ("a.csv", "accuracy", None),
    ],
)
def test_test_sets_that_are_known_by_name(table: str, column: str, expected: int | None) -> None:
    assert known_test_size(Path(table), column) == expected


@pytest.mark.parametrize("values", [(0.5, 0.9, 0.1), (50.0, 120.0, 60.0), (-3.0, 5.0, 6.0)])
def test_a_test_set_is_of_percentages_only(values: tuple[float, ...]) -> None:
    truth = Truth("table", "%", dict(zip(ARCHS, values, strict=True)), None, 10_000)
    with pytest.raises(ValueError, match="--truth-test-size is of accuracies in percent"):
        checked_truth(truth, ARCHS, is_asked_for=True)
    found = checked_truth(truth, ARCHS, is_asked_for=False)
    assert found.test_images is None and found.unit == ""


def test_a_column_of_a_seed_must_have_all() -> None:
    full = dict.fromkeys(ARCHS, 90.0)
    part = dict.fromkeys(ARCHS[:2], 90.0)
    truth = Truth("table", "%", full, None, 10_000, (full, part))
    with pytest.raises(ValueError, match="Column 2 of --truth-seed-columns lacks 1 of 3"):
        checked_truth(truth, ARCHS, is_asked_for=False)
    assert checked_truth(truth, ARCHS[:2], is_asked_for=False) is truth
