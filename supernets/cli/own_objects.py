"""Flags that objects of one's own bring to a command, such as those of a space's settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from supernets.cli.command_line import parse_args
from supernets.cli.command_parser import CommandParser, add_config_option
from supernets.cli.config_file import read_config
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.options import Options, options_of

#: What a name stands for, and the options of one of these objects.
Family = tuple[NamedObjects[Any], Callable[[Any], type[Options]]]


def parse_with_own(
    build_parser: Callable[..., argparse.ArgumentParser],
    families: Mapping[str, Family],
    argv: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Parses ``argv`` as ``parse_args`` does, with the flags of the objects of one's own it names.

    Args:
        build_parser: Builds the parser; takes, by the names of ``families``, the name of an object
            that is not built in.
        families: The objects that options of these names choose from, such as ``"space"``.
        argv: Arguments without the program's name; None for those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = {name: _early(name, arguments) for name in families}
    own = {
        name: value
        for name, value in chosen.items()
        if value is not None and _is_own(families[name][0], value)
    }
    if not own:
        return parse_args(build_parser(), argv)
    plain = build_parser()
    for name, value in own.items():
        objects, options = families[name]
        try:
            shared = {flag for each in objects.values() for flag in _flags(options(each))}
            taken = _flags(options(objects.find(value))) & set(plain._option_string_actions)
            if taken - shared:
                raise ValueError(
                    f"{value} has the option {', '.join(sorted(taken - shared))}, which the "
                    "command has already; give it another flag"
                )
        except ValueError as error:
            plain.error(f"argument --{name}: {str(error).rstrip('.')}")
    return parse_args(build_parser(**own), argv)


def _is_own(objects: NamedObjects[Any], name: str) -> bool:
    return name not in objects and (objects.is_reference(name) or objects.is_known(name))


def _flags(kind: type[Options]) -> set[str]:
    return {declared.flag_of(name) for name, declared in options_of(kind).items()}


def _early(name: str, arguments: Sequence[str]) -> str | None:
    """The value of an option that decides which others there are, before these are parsed."""
    first = CommandParser("", add_help=False)
    add_config_option(first)
    first.add_argument(f"--{name}", dest="value", nargs="?")
    known, _ = first.parse_known_args(arguments)
    value = known.value
    if value is None and known.config is not None:
        with suppress(ValueError):  # said once all are parsed
            value = read_config(known.config).get(name)
    return value if isinstance(value, str) else None
