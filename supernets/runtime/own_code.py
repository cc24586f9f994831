"""Code of one's own that fails is one line: what was run, what it raised, and in which line."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supernets.runtime.outputs import WorkError

#: Where code lies that is not a user's: the standard library, installed packages, and ours.
_NOT_OWN = (
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    str(Path(__file__).parents[1]),
)
#: A line of a traceback that a worker process of a ``DataLoader`` puts into its message.
_FRAME = re.compile(r'File "(.+)", line (\d+)')


class OwnCodeError(WorkError, ValueError):
    """Code of one's own failed or gave something else; the message says what is to be mended."""


@contextmanager
def running_own(what: str) -> Iterator[None]:
    """Surrounds a call of code of one's own.

    Args:
        what: What is called, for messages, for example ``"train[3] of my_data.py:make"``.

    Raises:
        OwnCodeError: If it raises an exception, which the message names with file and line.
    """
    try:
        yield
    except WorkError:
        raise
    except Exception as error:
        raise OwnCodeError(f"{what} failed: {told_error(error)}.") from error


def told_error(error: Exception) -> str:
    """Says in a line what an exception is, and which line of the user's it comes from.

    Example:
        >>> told_error(KeyError("width"))
        "KeyError: 'width'"
    """
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    lines = [line.strip() for line in str(error).splitlines()]
    if "Original Traceback (most recent call last):" in lines:  # of another process
        frames += [(file, int(line)) for file, line in map(re.Match.groups, _frames_in(lines))]
        reason = next(line for line in reversed(lines) if line)
    else:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    own = [f"{Path(file).name}, line {line}" for file, line in frames if _is_own(file)]
    where = f" ({own[-1]})" if own else ""
    return f"{reason.rstrip('.')}{where}"


def _frames_in(lines: list[str]) -> Iterator[re.Match[str]]:
    return (found for line in lines if (found := _FRAME.match(line)))


def _is_own(file: str) -> bool:
    return not file.startswith(("<", *_NOT_OWN))
