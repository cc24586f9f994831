"""The window of TSE-E: its default, its units, and what is refused."""

from __future__ import annotations

import argparse

import pytest

from estimators.scores.windows import (
    default_window,
    window_argument,
    window_in_batches,
    window_in_epochs,
)


@pytest.mark.parametrize(
    ("num_batches", "epoch_batches", "expected"),
    [
        (100, 391, 30),  # an epoch does not fit: the same share of what there is
        (391, 391, 117),  # 0.3 of an epoch, the paper's shortest that ranks as well
        (2000, 391, 391),  # the whole epoch of the paper
        (100, None, 30),
        (5, 391, 2),
        (3, 391, 2),
        (2, 1, 2),
        (1, 391, 1),
    ],
)
def test_default_window_is_a_share_of_the_minibatches_and_at_most_an_epoch(
    num_batches: int, epoch_batches: int | None, expected: int
) -> None:
    assert default_window(num_batches, epoch_batches) == expected
    assert window_in_batches(None, num_batches, epoch_batches) == expected


def test_default_window_is_never_a_single_minibatch_of_several() -> None:
    assert all(1 < default_window(b, e) <= b for b in range(2, 50) for e in (None, 1, 7, 391))


@pytest.mark.parametrize(
    ("text", "value", "batches"),
    [
        ("10", 10, 10),
        ("10batches", "10batches", 10),
        ("10 minibatches", "10batches", 10),
        ("0.1epochs", "0.1epochs", 39),
        ("0.002epochs", "0.002epochs", 1),
        (".25 epoch", "0.25epochs", 98),
    ],
)
def test_window_is_given_in_minibatches_or_epochs(
    text: str, value: int | str, batches: int
) -> None:
    assert window_argument(text) == value
    assert window_in_batches(value, 100, 391) == batches


@pytest.mark.parametrize(
    "text", ["0", "-1", "nan", "inf", "1.5", "0epochs", "1e3", "ten", "", "5steps", "9" * 20]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number of minibatches such as"):
        window_argument(text)


def test_window_beyond_the_minibatches_is_refused() -> None:
    with pytest.raises(ValueError, match="at most the 100 minibatches that are measured, got 101;"):
        window_in_batches(101, 100)
    message = r"got 0.3epochs, which is 117 minibatches \(an epoch has 391\); give a shorter"
    with pytest.raises(ValueError, match=message):
        window_in_batches("0.3epochs", 100, 391)
    with pytest.raises(ValueError, match="whose length is not known here; give it in minibatches"):
        window_in_batches("0.3epochs", 100)


def test_window_of_less_than_a_minibatch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0.0001epochs are 0.039 of one \(an epoch has 391"):
        window_in_batches("0.0001epochs", 100, 391)


def test_trainings_from_scratch_count_whole_epochs() -> None:
    assert window_in_epochs(None, 5) == 1
    assert window_in_epochs(3, 5) == window_in_epochs("3epochs", 5) == 3
    for window in ("10batches", "0.3epochs"):
        with pytest.raises(ValueError, match=f"must be a whole number of epochs, got {window}"):
            window_in_epochs(window, 20)
    with pytest.raises(ValueError, match="at most the --scratch-epochs 5, got 6epochs"):
        window_in_epochs("6epochs", 5)
