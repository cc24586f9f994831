"""Checks the rows of a store of trials, which others may have written."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supernets.runtime.option_types import shown
from supernets.spaces import Architecture, SearchSpace

_MAX_CHOICES = 10_000
_ROWS_AT_ONCE = 10_000


class Row(NamedTuple):
    """What a row says of an architecture that was asked for, in Python's own types."""

    choices: tuple[int, ...]
    is_told: bool
    score: float | None
    metrics: dict[str, float]
    seconds: float
    error: str | None
    curves: dict[str, tuple[float, ...]]


def read_row(path: Path, number: int, row: Sequence[Any]) -> Row:
    """Reads a row.

    Args:
        path: The store, for messages.
        number: Number of the trial, which is how many rows came before.
        row: Number, choices, whether it was told, score, metrics, seconds, error and curves, as
            SQLite has them.

    Raises:
        ValueError: If a value is none that a store has there; names the file and the trial.
    """
    stored_number, choices, is_told, score, metrics, seconds, error, curves = row
    if stored_number != number:
        raise ValueError(
            f"{path}: the trials must be numbered from 0 without gaps, got {shown(stored_number)} "
            f"after {number} trials; use the file as it was written."
        )

    def wrong(name: str, expected: str, value: object) -> ValueError:
        return ValueError(
            f"{path}: the {name} of trial {number} must be {expected}, got {shown(value)}; use the "
            "file as it was written."
        )

    indices = _json(choices)
    if (
        not isinstance(indices, list)
        or len(indices) > _MAX_CHOICES
        or not all(type(index) is int for index in indices)
    ):
        raise wrong("choices", "a list of whole numbers", choices)
    if type(is_told) is not int or is_told not in (0, 1):
        raise wrong("mark is_told", "0 or 1", is_told)
    if not is_told:
        return Row(tuple(indices), False, None, {}, 0.0, None, {})
    if score is not None and not (_is_number(score) and math.isfinite(score)):
        raise wrong("score", "a finite number or nothing", score)
    if not _is_number(seconds) or not seconds >= 0:
        raise wrong("seconds", "a number that is not negative", seconds)
    if error is not None and not isinstance(error, str):
        raise wrong("error", "a text or nothing", error)
    if (score is None) == (error is None):
        raise wrong("error", "there if there is no score, and only then", error)
    values = _json(metrics)
    if not isinstance(values, dict) or not all(map(_is_number, values.values())):
        raise wrong("metrics", "numbers by name", metrics)
    lines = _json(curves)
    if not isinstance(lines, dict) or not all(
        isinstance(line, list) and all(map(_is_number, line)) for line in lines.values()
    ):
        raise wrong("curves", "lists of numbers by name", curves)
    points = {name: tuple(map(float, line)) for name, line in lines.items()}
    return Row(tuple(indices), True, score, values, seconds, error, points)


def with_architectures(
    path: Path, rows: sqlite3.Cursor, space: SearchSpace
) -> Iterator[tuple[Row, Architecture]]:
    """Yields rows with their architectures, of which many at once are checked faster.

    Args:
        path: The store, for messages.
        rows: Rows of all trials by number, each as ``read_row`` takes it.
        space: Space of the architectures.

    Raises:
        ValueError: As ``read_row``, or if an architecture is not of the space.
    """
    first = 0
    while part := [
        read_row(path, number, values)
        for number, values in enumerate(rows.fetchmany(_ROWS_AT_ONCE), start=first)
    ]:
        are_canonical = space.are_canonical([row.choices for row in part])
        for number, row in enumerate(part, start=first):
            if are_canonical:
                yield row, Architecture(space.name, row.choices)
                continue
            try:
                yield row, space.architecture(row.choices)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{path}: the choices of trial {number}: {error}") from error
        first += len(part)


def check_json(path: Path, header: dict[str, str]) -> dict[str, Any]:
    """Reads the values of a header.

    Raises:
        ValueError: If one is no JSON; names the file.
    """
    found = {}
    for key, text in header.items():
        value = _json(text)
        if value is _NOTHING or not isinstance(key, str):
            raise ValueError(
                f"{path}: {shown(key)} in the header must be JSON, got {shown(text)}; use the file "
                "as it was written."
            )
        found[key] = value
    return found


_NOTHING = object()


def _json(text: object) -> Any:
    """What a text holds; ``_NOTHING`` if it is none, or no JSON."""
    if not isinstance(text, str):
        return _NOTHING
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (isinstance(value, float) or abs(value) < 1e300)  # type: ignore[arg-type]
