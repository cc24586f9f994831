"""Whether what a caller passed is of the kind that is worked with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from supernets.runtime.option_types import shown
from supernets.runtime.wording import one_of

#: What is shown by its value in a message; of all else the kind is told.
_PLAIN = (str, bytes, int, float, complex, list, tuple, dict, set, type(None))


def check_instance(
    name: str, value: object, kind: type | tuple[type, ...], advice: str = ""
) -> None:
    """Makes sure that an argument is of a kind.

    Args:
        name: Name of the argument, for the error message.
        value: What was passed.
        kind: The class, or several of which one will do; None's class for None.
        advice: What to do otherwise, without a full stop.

    Raises:
        ValueError: If it is not; says what was expected, what came, and what to do.

    Example:
        >>> check_instance("space", "nasbench201", dict, "pass create_space('nasbench201')")
        Traceback (most recent call last):
            ...
        ValueError: space must be a dict, got 'nasbench201'; pass create_space('nasbench201').
    """
    if not isinstance(value, kind):
        _refuse(name, _words(kind), told(value), advice)


def check_subclass(name: str, value: object, kind: type, advice: str = "") -> None:
    """Makes sure that an argument is a class of a kind.

    Args:
        name: Name of the argument, for the error message.
        value: What was passed.
        kind: The class that it must be, or be derived from.
        advice: What to do otherwise, without a full stop.

    Raises:
        ValueError: If it is not; says what was expected, what came, and what to do.
    """
    if not (isinstance(value, type) and issubclass(value, kind)):
        _refuse(name, f"a subclass of {kind.__name__}", told(value), advice)


def check_list(name: str, values: object, kind: type, advice: str = "") -> None:
    """Makes sure that an argument is a list, or another sequence, of things of a kind.

    Args:
        name: Name of the argument, for the error message.
        values: What was passed; text is no list of texts.
        kind: The class of each.
        advice: What to do otherwise, without a full stop.

    Raises:
        ValueError: If it is not; says what was expected, what came, and what to do.
    """
    expected = f"a list of {'texts' if kind is str else f'{kind.__name__} objects'}"
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        _refuse(name, expected, told(values), advice)
    else:
        for value in values:
            if not isinstance(value, kind):
                _refuse(name, expected, f"{told(value)} in it", advice)


def checked_path(name: str, value: object) -> Path:
    """Returns a path argument as a ``Path``.

    Args:
        name: Name of the argument, for the error message.
        value: What was passed.

    Raises:
        ValueError: If it is neither text nor a path.

    Example:
        >>> checked_path("output", 5)
        Traceback (most recent call last):
            ...
        ValueError: output must be a path or text, got 5.
    """
    if isinstance(value, str | os.PathLike) and isinstance(path := os.fspath(value), str):
        return Path(path)
    raise ValueError(f"{name} must be a path or text, got {told(value)}.")


def check_switch(name: str, value: object, *, may_be_none: bool = False) -> None:
    """Makes sure that an argument is true or false.

    Args:
        name: Name of the argument, for the error message.
        value: What was passed.
        may_be_none: Whether None, for whatever suits, is one too.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, bool) and not (value is None and may_be_none):
        expected = "True, False or None" if may_be_none else "True or False"
        raise ValueError(f"{name} must be {expected}, got {told(value)}.")


def _refuse(name: str, expected: str, came: str, advice: str) -> None:
    raise ValueError(f"{name} must be {expected}, got {came}{advice and '; ' + advice}.")


def _words(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return one_of([_word(each) for each in kinds])


def _word(kind: type) -> str:
    if kind is str:
        return "text"
    return "None" if kind is type(None) else _with_article(kind.__name__)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def told(value: object) -> str:
    """Says in words of a message what was passed: its value if that is plain, else its kind."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return shown(value) if isinstance(value, _PLAIN) else _with_article(type(value).__name__)
