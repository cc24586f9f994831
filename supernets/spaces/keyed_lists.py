"""A notation of several lists of choices, each under a key: ``d=2,3;k=3,5,-``, or a JSON object."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from supernets.spaces.architecture import Decision

#: Builds the error for a reason.
Refusal = Callable[[str], ValueError]


def read_keyed_lists(text: str, refusal: Refusal) -> dict[str, list[str]]:
    """Reads ``key=value,…;key=value,…``.

    Args:
        text: The notation.
        refusal: Builds the error for a reason.

    Raises:
        ValueError: What ``refusal`` built, if ``text`` is not of this form.
    """
    values: dict[str, list[str]] = {}
    for group in text.split(";"):
        key, equals, items = group.partition("=")
        key = key.strip()
        if not equals or key in values:
            raise refusal(f"{group!r} is not of the form 'key=value,…', once per key")
        values[key] = [item.strip() for item in items.split(",")]
    return values


def read_object(text: str, refusal: Refusal) -> dict[str, Any]:
    """Reads a JSON object, or a Python dict of literals whose keys are texts.

    Args:
        text: The object.
        refusal: Builds the error for a reason.

    Raises:
        ValueError: What ``refusal`` built, if ``text`` is neither.
    """
    try:
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found = {}
        if not (isinstance(found, dict) and found and all(isinstance(key, str) for key in found)):
            raise refusal(f"it is not valid JSON ({error})") from error
    return found


def read_choices(
    values: Mapping[str, Sequence[str]],
    parts: Mapping[str, slice],
    decisions: Sequence[Decision],
    refusal: Refusal,
) -> list[int]:
    """Reads the choice of every decision; -1 where ``-`` stands for an inactive one.

    Args:
        values: The texts under each key.
        parts: Which decisions each key has, in the order of the decisions.
        decisions: All decisions.
        refusal: Builds the error for a reason.

    Raises:
        ValueError: What ``refusal`` built, if keys, numbers of values or values are others.
    """
    if set(values) != set(parts):
        raise refusal(f"it has {_listed(values)}, expected {_listed(parts)}")
    choices: list[int] = []
    for key, part in parts.items():
        of_key = decisions[part]
        if len(values[key]) != len(of_key):
            raise refusal(f"{key} has {len(values[key])} values, not {len(of_key)}")
        for decision, value in zip(of_key, values[key], strict=True):
            if value == "-":
                choices.append(-1)
            elif value in decision.options:
                choices.append(decision.options.index(value))
            else:
                offered = ", ".join(decision.options)
                raise refusal(f"{decision.name} takes {offered}, got {value!r}")
    return choices


def write_keyed_lists(texts: Sequence[str], parts: Mapping[str, slice]) -> str:
    """Writes what ``read_keyed_lists`` reads.

    Args:
        texts: The option of every decision, or ``-``.
        parts: Which decisions each key has.
    """
    return ";".join(f"{key}={','.join(texts[part])}" for key, part in parts.items())


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(keys) or "nothing"
