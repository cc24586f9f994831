"""The window of TSE-E: how many of the last steps it sums, in minibatches or in epochs.

Paper: Speedy Performance Estimation for Neural Architecture Search,
https://arxiv.org/abs/2006.04492

Differs from the paper:

1. There a loss is the mean of an epoch and the window E counts epochs: 1 by default, and any from
   0.3 of an epoch on ranks alike. The B extra minibatches of a one-shot score are often less than
   an epoch (100 of 391), and are measured one by one. Here the window is by default 0.3 of the B
   minibatches but never more than an epoch: 0.3 of an epoch where B is one, the whole epoch of the
   paper where B is more than 3, and the same share of what there is where B is less. It is never a
   single minibatch of several, which would be TLmini.
"""

from __future__ import annotations

import argparse
import re

#: Share of the minibatches that are summed by default: the paper's shortest window, of an epoch.
SHARE = 0.3

_PATTERN = re.compile(
    r"(\d+(?:\.\d+)?|\.\d+)\s*(|batch|batches|minibatch|minibatches|epoch|epochs)"
)
_EXPECTED = "a number of minibatches such as 30, or of epochs such as 0.3epochs"


def window_argument(text: str) -> int | str:
    """Parses ``--tse-window``: a whole number, or a number and its unit as one word.

    Raises:
        argparse.ArgumentTypeError: If it is neither.
    """
    try:
        length, unit = _parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return f"{length:g}{unit}" if unit else int(length)


def default_window(num_batches: int, epoch_batches: int | None = None) -> int:
    """Returns the window of TSE-E, in minibatches, unless one is asked for.

    Args:
        num_batches: B, the minibatches that are recorded.
        epoch_batches: Minibatches of an epoch; None where it is not known.
    """
    window = round(SHARE * num_batches)
    if epoch_batches is not None:
        window = min(window, epoch_batches)
    return min(max(2, window), num_batches)


def window_in_batches(
    window: int | str | None, num_batches: int, epoch_batches: int | None = None
) -> int:
    """Returns the window of TSE-E in minibatches.

    Args:
        window: Window in the form that ``window_argument`` returns, where a plain number counts
            minibatches; None for ``default_window``.
        num_batches: B, the number of minibatches that are recorded.
        epoch_batches: Minibatches of an epoch; None where it is not known.

    Raises:
        ValueError: If it is no such window, none of epochs can be told, or it is longer than B.
    """
    if window is None:
        return default_window(num_batches, epoch_batches)
    length, unit = _parse(str(window))
    found, explained = int(length), str(window)
    if unit == "epochs":
        if epoch_batches is None:
            raise ValueError(
                f"The window {window} is in epochs, whose length is not known here; give it in "
                "minibatches."
            )
        found = round(length * epoch_batches)
        if found < 1:
            raise ValueError(
                f"The window of tse_e must be a minibatch at least, and {window} are "
                f"{length * epoch_batches:.2g} of one (an epoch has {epoch_batches}); give a "
                "longer --tse-window."
            )
        explained = f"{window}, which is {found} minibatches (an epoch has {epoch_batches})"
    if found > num_batches:
        raise ValueError(
            f"The window of tse_e must be at most the {num_batches} minibatches that are measured, "
            f"got {explained}; give a shorter --tse-window or more --tse-batches."
        )
    return found


def window_in_epochs(window: int | str | None, num_epochs: int) -> int:
    """Returns the window of TSE-E in epochs, for losses that are means of whole epochs.

    Args:
        window: Window in the form that ``window_argument`` returns, where a plain number counts
            epochs; None for 1, the paper's.
        num_epochs: Number of epochs that are recorded.

    Raises:
        ValueError: If it is no such window, no whole number of epochs, or longer than all.
    """
    if window is None:
        return 1
    length, unit = _parse(str(window))
    if unit == "batches" or length % 1:
        raise ValueError(
            "--tse-window of trainings from scratch must be a whole number of epochs, got "
            f"{window}."
        )
    if length > num_epochs:
        raise ValueError(
            f"--tse-window must be at most the --scratch-epochs {num_epochs}, got {window}."
        )
    return int(length)


def _parse(text: str) -> tuple[float, str]:
    """Length and unit: "batches", "epochs", or nothing for a plain whole number."""
    found = _PATTERN.fullmatch(text.strip())
    if found is None or len(found[1]) > 15:
        raise ValueError(f"The window must be {_EXPECTED}, got {text!r}.")
    length, unit = float(found[1]), found[2]
    if unit:
        unit = "epochs" if unit.startswith("epoch") else "batches"
    if length <= 0 or (unit != "epochs" and length % 1):
        raise ValueError(f"The window must be {_EXPECTED}, more than 0, got {text!r}.")
    return length, unit
