"""Windows of MACs: where they lie, and which architectures cost about the same."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from supernets.runtime.option_types import POSITIVE, shown

#: Instead of targets: the quartiles of the architectures that are ranked.
AUTO = "auto"
QUARTILES = (0.25, 0.5, 0.75)
#: Share of its target by which a window reaches to either side.
DEFAULT_TOLERANCE = 0.05
#: With fewer a window says nothing: its resamples are too much alike.
MIN_WINDOW_ARCHS = 10


class MacsTarget:
    """Reads the target of a window, in MACs, or ``auto``; the kind of an option.

    Example:
        >>> MacsTarget()("40e6"), MacsTarget()("auto")
        (40000000.0, 'auto')
    """

    def __call__(self, text: str) -> float | str:
        """Reads a target on a command line.

        Raises:
            argparse.ArgumentTypeError: If it is neither a positive number nor ``auto``.
        """
        if text == AUTO:
            return AUTO
        try:
            return float(POSITIVE(text))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(
                f"must be a positive number of MACs, or {AUTO}, got {shown(text)}"
            ) from error

    def check(self, name: str, value: object) -> None:
        """Makes sure that a setting is such a target.

        Raises:
            ValueError: If it is not.
        """
        if value == AUTO:
            return
        try:
            POSITIVE.check(name, value)
        except ValueError as error:
            raise ValueError(
                f"{name} must be positive numbers of MACs, or {AUTO} alone, got {shown(value)}."
            ) from error


@dataclass(frozen=True)
class MacsWindow:
    """Architectures whose MACs are near a target.

    Args:
        target: Its middle, in MACs.
        tolerance: Share of the target by which it reaches to either side.

    Example:
        >>> window = MacsWindow(40e6, 0.05)
        >>> window.holds([37e6, 38e6, 41e6, 43e6]).tolist()
        [False, True, True, False]
        >>> str(window)
        '40 M MACs ± 5 % (38 M to 42 M)'
    """

    target: float
    tolerance: float = DEFAULT_TOLERANCE

    @property
    def low(self) -> float:
        """The fewest MACs in it."""
        return self.target * (1 - self.tolerance)

    @property
    def high(self) -> float:
        """The most MACs in it."""
        return self.target * (1 + self.tolerance)

    def holds(self, macs: ArrayLike) -> NDArray[np.bool_]:
        """Says of architectures of these MACs, (num_archs,), which are in it, ends included."""
        values = np.asarray(macs, np.float64)
        return (values >= self.low) & (values <= self.high)

    def __str__(self) -> str:
        ends = f"{macs_in_words(self.low)} to {macs_in_words(self.high)}"
        return f"{macs_in_words(self.target)} MACs ± {100 * self.tolerance:g} % ({ends})"


def macs_in_words(macs: float) -> str:
    """Says a number of MACs in few letters: ``73,306``, or ``7.783 M``."""
    return f"{macs / 1e6:,.4g} M" if macs >= 1e5 else f"{macs:,.0f}"


def explicit_windows(
    targets: Sequence[float | str], tolerance: float | None
) -> tuple[MacsWindow, ...]:
    """Returns the windows of targets that are numbers; None for the tolerance is the default."""
    tolerance = DEFAULT_TOLERANCE if tolerance is None else tolerance
    return tuple(MacsWindow(float(target), tolerance) for target in targets)


def choose_windows(
    targets: Sequence[float | str], tolerance: float | None, macs: ArrayLike
) -> tuple[MacsWindow, ...]:
    """Returns the windows that were asked for, after making sure that there is something in each.

    Args:
        targets: Their targets in MACs; or ``auto`` alone, for the quartiles of the architectures,
            each a number of MACs that one has, those that are equal once.
        tolerance: Share of its target by which each reaches to either side; None for 0.05.
        macs: MACs of the architectures that are ranked, (num_archs,).

    Raises:
        ValueError: If one holds fewer than 10 architectures; names all of these.
    """
    values = np.asarray(macs, np.float64)
    if AUTO in targets:
        quartiles = np.quantile(values, QUARTILES, method="inverted_cdf")
        targets = list(dict.fromkeys(quartiles.tolist()))
    windows = explicit_windows(targets, tolerance)
    held = [(int(window.holds(values).sum()), window) for window in windows]
    few = [f"{num} in {window}" for num, window in held if num < MIN_WINDOW_ARCHS]
    if few:
        raise ValueError(
            f"A window of --macs-windows needs {MIN_WINDOW_ARCHS} architectures, but of these "
            f"{len(values)}, of {macs_in_words(values.min())} to {macs_in_words(values.max())} "
            f"MACs, there are {' and '.join(few)}; rank more, draw them within the windows "
            "(--archs-per-window), or give other targets or a larger --macs-tolerance."
        )
    return windows
