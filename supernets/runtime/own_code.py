"""Code of one's own at work: a fault is one line, which says what was run and in which line it is.

A data set, an estimator, an algorithm, a predictor or paths of one's own may raise anything and
return anything. Whatever calls them does so within ``running_own``, and refuses what they return by
``refuse_own``; the library's own objects, which tests hold to their contracts, need neither.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from supernets.runtime.instances import told
from supernets.runtime.outputs import WorkError

_PACKAGES = ("supernets", "estimators", "search")
#: Where code lies that is not a user's: the standard library, installed packages, and ours.
_NOT_OWN = (
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    *(f"{Path(__file__).parents[2] / name}{os.sep}" for name in _PACKAGES),
)
#: A line of a traceback that a worker process of a ``DataLoader`` puts into its message.
_FRAME = re.compile(r'File "(.+)", line (\d+)')


class OwnCodeError(WorkError, ValueError):
    """Code of one's own failed or gave something else; the message says what is to be mended.

    Args:
        message: The message, a line.
        is_raised: Whether that code raised something, whose traceback is that of the cause.
    """

    def __init__(self, message: str, is_raised: bool = False) -> None:
        super().__init__(message)
        self.is_raised = is_raised


def is_own(thing: object) -> bool:
    """Returns whether an object, a class or a function is not of this library.

    What the library makes of a function of one's own has it as its attribute ``own_code``.

    Example:
        >>> is_own(OwnCodeError), is_own(print)
        (False, True)
    """
    return _module_of(thing).partition(".")[0] not in _PACKAGES


@contextmanager
def running_own(
    what: str,
    thing: object = None,
    *,
    doing: str = "failed",
    advice: str = "",
    passed: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Surrounds a call of code of one's own.

    Args:
        what: What is called, for messages, for example ``"train[3] of my_data.py:make"``.
        thing: The object, or what builds it, whose file is named where no line of it was run.
        doing: What became of it, for example ``"failed on"`` with an architecture.
        advice: What to do, without a full stop.
        passed: Errors that mean something to the caller; a ``WorkError`` is passed as well.

    Raises:
        OwnCodeError: If it raises another exception, or ends the program; the message names the
            exception with file and line.

    Example:
        >>> with running_own("Estimator 'entropy'", doing="failed on 3-1"):
        ...     raise KeyError("x")
        Traceback (most recent call last):
            ...
        supernets.runtime.own_code.OwnCodeError: Estimator 'entropy' failed on 3-1: KeyError: 'x'.
    """
    known: tuple[type[Exception], ...] = (WorkError, *passed)
    try:
        yield
    except known:
        raise
    except (Exception, SystemExit) as error:
        where = "" if _own_frames(error) else _file_of(thing)
        message = f"{what}{where} {doing}: {told_error(error)}{advice and '; ' + advice}."
        raise OwnCodeError(message, is_raised=True) from error


def refuse_own(what: str, thing: object, expected: str, came: str, advice: str = "") -> NoReturn:
    """Refuses what code of one's own returned.

    Args:
        what: What it is, for example ``"Estimator 'entropy'"``.
        thing: The object, or what builds it, whose file the message names.
        expected: What it must do, for example ``"must return an Estimate"``.
        came: What it did, of a value as ``kind_of`` says it.
        advice: What to do, without a full stop.

    Raises:
        OwnCodeError: In any case.
    """
    raise OwnCodeError(f"{what}{_file_of(thing)} {expected}, got {came}{advice and '; ' + advice}.")


def kind_of(value: object) -> str:
    """Says in words of a message what a value is: of an array its type and shape."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is None or shape is None or isinstance(value, type):
        return told(value)
    return f"{told(value)} of {str(dtype).removeprefix('torch.')} with shape {tuple(shape)}"


def told_error(error: BaseException) -> str:
    """Says in a line what an exception is, and which line of the user's it comes from.

    Example:
        >>> told_error(KeyError("width"))
        "KeyError: 'width'"
    """
    own = _own_frames(error)
    where = " ({}, line {})".format(*own[-1]) if own else ""
    lines = _lines_of(error)
    if _is_of_another_process(lines):
        reason = next(line for line in reversed(lines) if line)
    else:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    return f"{reason.rstrip('.')}{where}"


def is_own_file(file: str | Path) -> bool:
    """Returns whether a file is a user's, and neither installed nor of this library."""
    return not str(file).startswith(("<", *_NOT_OWN))


def _own_frames(error: BaseException) -> list[tuple[str, int]]:
    """Files, by their names, and lines of the user's in which an exception was raised."""
    found = traceback.extract_tb(error.__traceback__)
    frames = [(frame.filename, frame.lineno or 0) for frame in found]
    lines = _lines_of(error)
    if _is_of_another_process(lines):
        matches = filter(None, map(_FRAME.match, lines))
        frames += [(match[1], int(match[2])) for match in matches]
    return [(Path(file).name, line) for file, line in frames if is_own_file(file)]


def _lines_of(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines()]


def _is_of_another_process(lines: list[str]) -> bool:
    return "Original Traceback (most recent call last):" in lines


def _file_of(thing: object) -> str:
    """The file of an object of one's own in brackets; "" where there is none."""
    module = _module_of(thing)
    file = getattr(sys.modules.get(module), "__file__", None)
    # a class that is made by a call of type() says that it is of the module abc
    return f" ({Path(file).name})" if file and module not in sys.stdlib_module_names else ""


def _module_of(thing: object) -> str:
    """The module that an object, its class or a function is of."""
    thing = getattr(thing, "own_code", thing)
    while isinstance(thing, partial):
        thing = thing.func
    return str(getattr(thing, "__module__", None) or "")
