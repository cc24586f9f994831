"""Flags that objects of one's own bring to a command, such as those of a space's settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from supernets.cli.command_line import parse_args
from supernets.cli.command_parser import CommandParser, add_config_option
from supernets.cli.config_file import read_config
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.options import Option, Options, options_of


@dataclass(frozen=True)
class Family:
    """The objects that an option of a command chooses from.

    Args:
        objects: What a name stands for.
        options: Gives the options of one of these objects.
        built_in: Gives those of built-in ones that the command has, whose flags those of one's own
            may share; None for those of all that are built in.
    """

    objects: NamedObjects[Any]
    options: Callable[[Any], type[Options]]
    built_in: Callable[[], Iterable[type[Options]]] | None = None

    def shared_flags(self) -> set[str]:
        """Returns the flags that objects of one's own may share."""
        if self.built_in is not None:
            return _flags(self.built_in())
        return _flags(map(self.options, self.objects.values()))

    def options_of(self, name: str) -> type[Options]:
        """Returns the options of the object of a name."""
        return self.options(self.objects.find(name))


def parse_with_own(
    build_parser: Callable[..., argparse.ArgumentParser],
    families: Mapping[str, Family],
    argv: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Parses ``argv`` as ``parse_args`` does, with the flags of the objects of one's own it names.

    Args:
        build_parser: Builds the parser; takes, by the names of ``families``, the name of an object
            that is not built in, or the names of all of them where the option takes several.
        families: The objects that options of these names choose from, such as ``"space"``.
        argv: Arguments without the program's name; None for those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    own: dict[str, list[str]] = {}
    for name, family in families.items():
        chosen = [value for value in _early(name, arguments) if family.objects.is_own(value)]
        if chosen:
            own[name] = list(dict.fromkeys(chosen))
    if not own:
        return parse_args(build_parser(), argv)
    plain = build_parser()
    for name, values in own.items():
        try:
            _check_flags(families[name], values, set(plain._option_string_actions))
        except ValueError as error:
            plain.error(f"argument --{name}: {str(error).rstrip('.')}")
    actions = plain._option_string_actions
    given = {n: values if actions[f"--{n}"].nargs else values[0] for n, values in own.items()}
    return parse_args(build_parser(**given), argv)


def _check_flags(family: Family, names: Sequence[str], taken: set[str]) -> None:
    """Makes sure that flags of one's own mean one thing each.

    Args:
        family: What the names are of.
        names: The objects.
        taken: Flags that the command has without them.

    Raises:
        ValueError: If one means two things, or there is no such object.
    """
    shared, known = family.shared_flags(), dict[str, tuple[str, Option]]()
    for name in names:
        own = {d.flag_of(n): d for n, d in options_of(family.options_of(name)).items()}
        both = own.keys() & taken - shared
        if both:
            raise ValueError(
                f"{name} has the option {', '.join(sorted(both))}, which the command has already; "
                "give it another flag"
            )
        for flag in sorted(own.keys() - shared):
            other, declared = known.setdefault(flag, (name, own[flag]))
            if declared != own[flag]:
                raise ValueError(
                    f"{other} and {name} both have the option {flag}; give one of them another flag"
                )


def _flags(kinds: Iterable[type[Options]]) -> set[str]:
    return {d.flag_of(name) for kind in kinds for name, d in options_of(kind).items()}


def _early(name: str, arguments: Sequence[str]) -> Sequence[str]:
    """The values of an option that decides which others there are, before these are parsed."""
    first = CommandParser("", add_help=False)
    add_config_option(first)
    first.add_argument(f"--{name}", dest="value", nargs="*")
    known, _ = first.parse_known_args(arguments)
    value = known.value
    if value is None and known.config is not None:
        with suppress(ValueError):  # said once all are parsed
            value = read_config(known.config).get(name)
    return [value] if isinstance(value, str) else value or []
