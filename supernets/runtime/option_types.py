"""One checked type for every kind of value of an option: numbers, paths, names, architectures.

The commands give them to ``argparse`` and recipes check their fields by the same ones, so that no
number that is not finite, out of range, or too large for what computes with it comes through.
"""

from __future__ import annotations

import abc
import argparse
import math
import numbers
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

#: The most an integer of an option may be, so that no library overflows a C int.
MAX_INT = 2**31 - 1
#: The most a real number of an option may be; its square still fits a float32.
MAX_FLOAT = 1e18
_MAX_PATH = 4000  # bytes; Linux has 4,096
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_DURATION = re.compile(rf"(?:{_NUMBER}d)?(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s?)?")


class _Number(abc.ABC):
    """Numbers of a range, as type of an option and as check of a setting."""

    #: Words for such a number, and what of Python's it has to be.
    noun: ClassVar[str]
    python: ClassVar[type]

    def __call__(self, text: str) -> Any:
        """Reads the number from what a user wrote.

        Raises:
            argparse.ArgumentTypeError: If it is none, not finite, or out of range.
        """
        try:
            value = self._read(text)
        except ValueError as error:  # also of more digits than Python reads
            raise argparse.ArgumentTypeError(f"must be {self.noun}, got {shown(text)}") from error
        expected = self._broken(value)
        if expected is not None:
            raise argparse.ArgumentTypeError(f"{expected}, got {shown(text, quotes='')}")
        return value

    def check(self, name: str, value: object) -> None:
        """Makes sure that a setting is such a number.

        Args:
            name: Name of the setting, for the error message.
            value: Value of the setting.

        Raises:
            ValueError: If it is not.
        """
        if isinstance(value, bool) or not isinstance(value, self.python):
            raise ValueError(f"{name} must be {self.noun}, got {shown(value)}.")
        expected = self._broken(value)
        if expected is not None:
            raise ValueError(f"{name} {expected}, got {shown(value)}.")

    @abc.abstractmethod
    def _read(self, text: str) -> Any:
        """Python's number, or a ``ValueError``."""

    @abc.abstractmethod
    def _broken(self, value: Any) -> str | None:
        """What the number should be, if it is not that."""


@dataclass(frozen=True)
class Whole(_Number):
    """Whole numbers of a range, as type of an option and as check of a setting.

    Args:
        least: The smallest one.
        most: The largest one.
    """

    least: int
    most: int = MAX_INT

    noun = "a whole number"
    python = numbers.Integral

    def _read(self, text: str) -> int:
        return int(text)

    def _broken(self, value: Any) -> str | None:
        value = int(value)
        if value < self.least:
            return f"must be at least {self.least}" if self.least else "must not be negative"
        return f"must be at most {self.most}" if value > self.most else None


@dataclass(frozen=True)
class Real(_Number):
    """Finite real numbers of a range, as type of an option and as check of a setting.

    Args:
        words: Words for what the numbers must be, for messages.
        least: The lower end.
        most: The upper end.
        open_below: Whether ``least`` itself is out of range.
        open_above: Whether ``most`` itself is.
    """

    words: str
    least: float
    most: float
    open_below: bool = False
    open_above: bool = False

    noun = "a number"
    python = numbers.Real

    def _read(self, text: str) -> float:
        return float(text)

    def _broken(self, value: Any) -> str | None:
        try:
            value = float(value)
        except OverflowError:  # a whole number that no float holds
            return f"must be at most {self.most:g}"
        if math.isinf(value) and self.most >= MAX_FLOAT:
            return "must be a finite number"
        if math.isnan(value) or value < self.least or (self.open_below and value == self.least):
            return self.words
        if value > self.most or (self.open_above and value == self.most):
            return self.words if self.most < MAX_FLOAT else f"must be at most {self.most:g}"
        return None


@dataclass(frozen=True)
class Duration(Real):
    """Times in seconds, written in days, hours, minutes and seconds or as a number alone.

    Example:
        >>> DURATION("1h30m"), DURATION("0.5h"), DURATION("45")
        (5400.0, 1800.0, 45.0)
    """

    noun = "a time such as 4h, 90m or 1h30m, or a number of seconds"

    def _read(self, text: str) -> float:
        found = _DURATION.fullmatch(text.strip())
        if found is None or not any(found.groups()):
            raise ValueError(f"no time: {text}")
        parts = zip(found.groups(), (86400, 3600, 60, 1), strict=True)
        return sum(float(part) * unit for part, unit in parts if part)


#: Numbers of things.
WHOLE = Whole(-MAX_INT)
POSITIVE_INT = Whole(1)
NON_NEGATIVE_INT = Whole(0)
AT_LEAST_TWO = Whole(2)
#: How many are held in memory at once: images of a minibatch, resamples, candidates, rounds.
BATCH = Whole(1, 100_000)
POOL = Whole(1, 1_000_000)
#: Processes and threads.
THREADS = Whole(1, 1024)
WORKERS = Whole(0, 1024)
#: Sizes of networks and images. All are far above what papers have, and still can be computed with.
CHANNELS = Whole(1, 4096)
CELLS = Whole(1, 256)
PIXELS = Whole(1, 8192)
NUM_CLASSES = Whole(2, 1_000_000)
WIDTH = Real("must be above 0 and at most 16", 0.0, 16.0, open_below=True)
#: What NumPy and PyTorch both take as a seed.
SEED = Whole(0, 2**32 - 1)
PROBABILITY = Real("must be from 0 to 1", 0.0, 1.0)
FRACTION = Real("must be between 0 and 1", 0.0, 1.0, open_below=True, open_above=True)
#: Part of a whole, which may be all of it.
SHARE = Real("must be above 0 and at most 1", 0.0, 1.0, open_below=True)
#: Rates of dropping, and the decay of averages.
RATE = Real("must be from 0 to less than 1", 0.0, 1.0, open_above=True)
REAL = Real(f"must be from {-MAX_FLOAT:g} to {MAX_FLOAT:g}", -MAX_FLOAT, MAX_FLOAT)
POSITIVE = Real("must be positive", 0.0, MAX_FLOAT, open_below=True)
#: Shared by learning rates and all else that multiplies weights or gradients.
NON_NEGATIVE = Real("must not be negative", 0.0, MAX_FLOAT)
#: Parameter of mixup's and CutMix' beta distribution, which is a constant long before the end.
ALPHA = Real("must be from 0 to 1000", 0.0, 1000.0)
#: Of jitter's factors.
STRENGTH = Real("must be from 0 to 100", 0.0, 100.0)
#: Waits of eleven days at most; the system counts their milliseconds in a C int.
SECONDS = Real("must be above 0 and at most 1000000", 0.0, 1e6, open_below=True)
MINUTES = POSITIVE
DURATION = Duration("must be above 0 and at most 100000000 s", 0.0, 1e8, open_below=True)


def path(text: str) -> Path:
    """Reads a path of an option; ``~`` is the user's home, whoever left it to us.

    Raises:
        argparse.ArgumentTypeError: If it is empty or cannot be one.
    """
    _check_text(text, "a path")
    if len(os.fsencode(text)) > _MAX_PATH or len(os.fsencode(max(text.split("/"), key=len))) > 255:
        raise argparse.ArgumentTypeError(f"must be shorter, for a path, got {shown(text)}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(
            f"must be a path, and there is no home folder to put for ~ in {shown(text)}"
        ) from error


def name(text: str) -> str:
    """Reads a name of an option: some text of one line.

    Raises:
        argparse.ArgumentTypeError: If it is empty, or holds what no name does.
    """
    _check_text(text, "a name")
    return text


def architecture(text: str) -> str:
    """Reads an architecture's notation, or the path of a file that holds it.

    Raises:
        argparse.ArgumentTypeError: If it is empty or cannot be either.
    """
    _check_text(text.replace("\n", " "), "an architecture or a file of one")
    return str(path(text)) if text.startswith("~") else text


#: Whatever an option without ``choices`` has as its type.
TEXTS = (path, name, architecture)


def check_settings(kinds: Mapping[str, Whole | Real], settings: Mapping[str, object]) -> None:
    """Makes sure that settings are numbers of their kinds; None stands for one that is not given.

    Args:
        kinds: Kind of number that each setting has to be, by name.
        settings: Values of the settings, by name; others than those of ``kinds`` are not looked at.

    Raises:
        ValueError: If one is not.
    """
    for setting, kind in kinds.items():
        if settings[setting] is not None:
            kind.check(setting, settings[setting])


def _check_text(text: str, what: str) -> None:
    if not text.strip() or any(ord(character) < 32 for character in text):
        raise argparse.ArgumentTypeError(
            f"must be {what}, without control characters, got {shown(text)}"
        )


def shown(value: object, *, quotes: str = "'") -> str:
    """Returns a value as a message has it, however long it is."""
    if isinstance(value, str):
        shown = repr(value) if quotes else value
    elif isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"  # repr refuses the longest
    else:
        shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:60]}… ({len(shown)} characters)"
