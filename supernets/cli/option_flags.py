"""Flags of commands from the dataclasses of options, and these dataclasses from what was given."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from supernets.runtime.options import REQUIRED, Option, Options, options_of
from supernets.runtime.wording import one_of

Made = TypeVar("Made", bound=Options)


def add_options(
    group: argparse._ActionsContainer,
    kind: type[Options],
    *,
    without: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Adds the flags of a dataclass to a parser; None stands for one that is not given.

    A flag that is there already is left alone: dataclasses of one family share fields.

    Args:
        group: The parser, or a group of it.
        kind: The dataclass.
        without: Names of fields to leave out.
        defaults: Defaults other than those of the dataclass, for the help; may be words.
    """
    known = group._option_string_actions
    shown = {f.name: f.default for f in fields(kind)}
    for name, declared in options_of(kind).items():
        flag = declared.flag_of(name)
        if name not in without and flag not in known:
            text = _default_text(declared, shown[name])
            if defaults is not None and name in defaults:
                text = _default_text(replace(declared, default_text=None), defaults[name])
            _add_flag(group, flag, declared, f"{declared.help} ({text})".strip())


def add_family_options(
    group: argparse._ActionsContainer, family: Mapping[str, type[Options]]
) -> None:
    """Adds the flags of all dataclasses of a family, of which a command uses the chosen one.

    The help of a flag says whose it is, and where their defaults differ which is whose.

    Args:
        group: The parser, or a group of it.
        family: The dataclass of each name that can be chosen.
    """
    known = set(group._option_string_actions)
    for kind in family.values():
        for name, declared in options_of(kind).items():
            flag = declared.flag_of(name)
            if flag in known:
                continue
            known.add(flag)
            users: dict[str, list[str]] = {}
            for key, text in _defaults_of(family, flag).items():
                users.setdefault(text, []).append(key)
            if len(users) == 1:
                ((text, keys),) = users.items()
                said = f"{', '.join(keys)}; {text}" if len(keys) < len(family) else text
            else:
                each = (
                    f"{t.removeprefix('default: ')} of {', '.join(k)}" for t, k in users.items()
                )
                said = f"default: {'; '.join(each)}"
            _add_flag(group, flag, declared, f"{declared.help} ({said})".strip())


def _defaults_of(family: Mapping[str, type[Options]], flag: str) -> dict[str, str]:
    """The default of a flag by the names of those that have it, in words."""
    return {
        key: _default_text(declared, field.default)
        for key, kind in family.items()
        for field in fields(kind)
        if (declared := options_of(kind).get(field.name)) and declared.flag_of(field.name) == flag
    }


def _add_flag(group: argparse._ActionsContainer, flag: str, declared: Option, words: str) -> None:
    settings: dict[str, Any] = {"dest": dest_of(flag), "default": None, "help": words}
    if declared.is_switch:
        settings["action"] = argparse.BooleanOptionalAction
    else:
        settings |= {"nargs": declared.nargs, "metavar": declared.metavar}
        if declared.choices is not None:
            settings["choices"] = declared.choices
        if declared.kind is not None:
            settings["type"] = declared.kind
    group.add_argument(flag, **settings)


def dest_of(flag: str) -> str:
    """The name under which ``argparse`` keeps the value of a flag."""
    return flag.removeprefix("--").replace("-", "_")


def given_options(kind: type[Options], args: argparse.Namespace) -> dict[str, Any]:
    """What was given of a dataclass's options, by the names of its fields.

    Args:
        kind: The dataclass.
        args: Parsed with the flags of ``add_options``; a command need not have all of them.
    """
    found = {
        name: getattr(args, dest_of(declared.flag_of(name)), None)
        for name, declared in options_of(kind).items()
    }
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in found.items()
        if value is not None
    }


def from_args(
    kind: type[Made],
    args: argparse.Namespace,
    defaults: Mapping[str, Any] | None = None,
    **others: Any,
) -> Made:
    """Makes a dataclass of what was given, with its own defaults for the rest.

    Args:
        kind: The dataclass.
        args: As of ``given_options``.
        defaults: Values of fields that are not given, instead of the dataclass's own.
        **others: Fields that do not come from the command line.

    Raises:
        ValueError: If a value is out of range, or some do not go together.
    """
    return kind(**{**(defaults or {}), **given_options(kind, args), **others})


def check_family(
    family: Mapping[str, type[Options]],
    chosen: str | Sequence[str],
    args: argparse.Namespace,
    *,
    by: str,
) -> None:
    """Makes sure that nothing was given which what was chosen does not have.

    Args:
        family: The dataclass of each name that can be chosen.
        chosen: One of these names, or all of them that were chosen.
        args: As of ``given_options``.
        by: The flag that chooses, for the message.

    Raises:
        ValueError: If something was; names the flag and for what it is.
    """
    chosen = [chosen] if isinstance(chosen, str) else chosen
    own = {
        declared.flag_of(name)
        for key in chosen
        for name, declared in options_of(family[key]).items()
    }
    for kind in family.values():
        for name in given_options(kind, args):
            flag = options_of(kind)[name].flag_of(name)
            if flag not in own:
                users = [
                    key
                    for key, other in family.items()
                    if flag in {d.flag_of(n) for n, d in options_of(other).items()}
                ]
                raise ValueError(f"{flag} is for {by} {one_of(users)}, not {', '.join(chosen)}.")


def _default_text(declared: Option, default: Any) -> str:
    if declared.default_text == REQUIRED:
        return REQUIRED
    if declared.default_text is not None:
        return f"default: {declared.default_text}"
    if default is None:
        return "default: none"
    if isinstance(default, bool):
        return f"default: {'yes' if default else 'no'}"
    values = default if isinstance(default, tuple) else (default,)
    shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return f"default: {' '.join(shown)}"


def resolved(args: argparse.Namespace, *made: Options) -> dict[str, Any]:
    """Returns all options of a command by name, for ``args.json``.

    Args:
        args: The parsed options.
        *made: What was made of them; its values are those of options that were not given.
    """
    values = {
        dest_of(declared.flag_of(name)): getattr(options, name)
        for options in made
        for name, declared in options_of(type(options)).items()
    }
    return {
        name: values.get(name) if value is None else value for name, value in vars(args).items()
    }
