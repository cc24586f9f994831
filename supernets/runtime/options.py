"""Dataclasses whose fields are options: one place for a default, its check and its help.

A recipe, the settings of a space, of an estimator or of an algorithm is a frozen dataclass that
inherits ``Options``. Its fields are made by ``option``, so that a default, its range and its help
stand once. Commands make their flags of it, see ``supernets.cli.option_flags``.

Example:
    >>> from dataclasses import dataclass
    >>> from supernets.runtime.option_types import POSITIVE
    >>> @dataclass(frozen=True)
    ... class Recipe(Options):
    ...     lr: float = option(0.1, "peak rate", POSITIVE, metavar="LR")
    >>> Recipe(lr=-1)
    Traceback (most recent call last):
        ...
    ValueError: lr must be positive, got -1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from supernets.runtime.option_types import REAL, WHOLE, architecture, path, shown
from supernets.runtime.option_types import name as name_of
from supernets.runtime.wording import flag

#: As default in words: a command cannot do without the option.
REQUIRED = "required"


class Kind(Protocol):
    """One of ``option_types``: reads a value from what a user wrote."""

    def __call__(self, text: str, /) -> Any:
        """Returns the value, or raises ``argparse.ArgumentTypeError``."""


@dataclass(frozen=True)
class Option:
    """What a field is on a command line.

    Args:
        help: What it means, without the default.
        kind: Reads and checks a value; None for those with ``choices`` and for switches.
        metavar: Stands for the value in the help.
        choices: The values there are; None for those of ``kind``.
        nargs: As ``argparse`` has it; the value is then a tuple.
        flag: Its flag; None for the name of the field with dashes.
        default_text: The default in words, where the value itself would not be understood.
        is_switch: Whether it is true or false.
    """

    help: str
    kind: Kind | None
    metavar: str | tuple[str, ...] | None
    choices: tuple[Any, ...] | None
    nargs: int | str | None
    flag: str | None
    default_text: str | None
    is_switch: bool

    def flag_of(self, name: str) -> str:
        """The flag of a field called ``name``."""
        return self.flag or flag(name)

    def check(self, name: str, value: object) -> None:
        """Makes sure that a field has a value that the option may have.

        Raises:
            ValueError: If it has not; names the field, what was expected and what came.
        """
        if self.nargs is not None:
            if not isinstance(value, list | tuple):
                raise ValueError(f"{name} must be a list of values, got {shown(value)}.")
            for each in value:
                self._check_one(name, each)
        else:
            self._check_one(name, value)

    def _check_one(self, name: str, value: object) -> None:
        if self.is_switch and not isinstance(value, bool):
            raise ValueError(f"{name} must be True or False, got {shown(value)}.")
        if self.choices is not None and value not in self.choices:
            expected = ", ".join(map(str, self.choices))
            raise ValueError(f"{name} must be one of {expected}, got {shown(value)}.")
        checked = getattr(self.kind, "check", None)
        if checked is not None:
            checked(name, value)
        elif self.kind in (path, architecture) and not isinstance(value, str | os.PathLike):
            raise ValueError(f"{name} must be a path or text, got {shown(value)}.")
        elif self.kind is name_of and not isinstance(value, str):
            raise ValueError(f"{name} must be text, got {shown(value)}.")


#: Kinds of options that say nothing else, by the type of their default.
_KINDS: dict[type, Kind] = {int: WHOLE, float: REAL, str: name_of}


def option(
    default: Any,
    help: str = "",
    kind: Kind | None = None,
    *,
    metavar: str | tuple[str, ...] | None = None,
    choices: Iterable[Any] | None = None,
    nargs: int | str | None = None,
    flag: str | None = None,
    default_text: str | None = None,
    is_switch: bool = False,
) -> Any:
    """Makes a field of a dataclass that is an option of a command as well: see ``Option``.

    Without a kind and choices an option is of the kind of its default: any whole number, any finite
    number, or text.
    """
    if kind is None and choices is None:
        kind = _KINDS.get(type(default))
    declared = Option(
        help=help,
        kind=kind,
        metavar=metavar,
        choices=None if choices is None else tuple(choices),
        nargs=nargs,
        flag=flag,
        default_text=default_text,
        is_switch=is_switch or isinstance(default, bool),
    )
    return field(default=default, metadata={"option": declared})


@dataclass(frozen=True)
class Options:
    """Base of the dataclasses of options; checks their values one by one.

    None means not given, for fields that are None by default. Paths may be given as text.

    Raises:
        ValueError: If a value is not of its kind, none of its choices, or required and missing.
    """

    def __post_init__(self) -> None:
        defaults = {f.name: f.default for f in fields(self)}
        for name, declared in options_of(type(self)).items():
            value = getattr(self, name)
            if value is None and declared.default_text == REQUIRED:
                raise ValueError(f"{declared.flag_of(name)} is required: {declared.help}.")
            if value is None and defaults[name] is None:
                continue
            declared.check(name, value)
            if declared.kind is path:
                many = declared.nargs is not None
                read = tuple(_path(name, each) for each in value) if many else _path(name, value)
                object.__setattr__(self, name, read)
            elif declared.kind is architecture and declared.nargs is None:
                object.__setattr__(self, name, str(value))


def _path(name: str, text: str | os.PathLike[str]) -> Path:
    """Reads a path as commands do, with the error of a setting."""
    if isinstance(text, os.PathLike):
        return Path(text)
    try:
        return path(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{name} {error}.") from error


def options_of(kind: type[Any]) -> dict[str, Option]:
    """The options of a dataclass by the names of its fields, in their order."""
    return {f.name: f.metadata["option"] for f in fields(kind) if "option" in f.metadata}
