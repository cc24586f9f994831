"""Settings that something was recorded with, beside those of a later run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

_MISSING = "not set"
#: Characters of a value, and how many settings, that a message names.
_MAX_TEXT, _MAX_DIFFERENCES = 80, 10


def diff_settings(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Lists what differs, as ``name was this and is now that; …``; empty if nothing does.

    Of settings within a setting those that differ are named, of long lists how many values there
    are and the first that differs, and of long texts the part that does.

    Args:
        stored: Settings by name as they were recorded.
        given: Settings by name as they are now.
    """
    found = [
        each
        for name in dict.fromkeys([*given, *stored])
        for each in _differences(name, stored.get(name, _MISSING), given.get(name, _MISSING))
    ]
    if len(found) > _MAX_DIFFERENCES:
        found[_MAX_DIFFERENCES:] = [f"and {len(found) - _MAX_DIFFERENCES} more"]
    return "; ".join(found)


def _differences(name: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*new, *old])
        if old.get("name") != new.get("name"):  # what else differs follows from that
            keys = {"name": None}
        for key in keys:
            yield from _differences(f"{name} {key}", old.get(key, _MISSING), new.get(key, _MISSING))
        return
    texts = [str(each) for each in (old, new)]
    if max(map(len, texts)) > _MAX_TEXT and isinstance(old, list) and isinstance(new, list):
        shown = f"{name} was {len(old)} values and is now {len(new)} values"
        pairs = zip_longest(old, new, fillvalue=_MISSING)
        number, *pair = next((i, a, b) for i, (a, b) in enumerate(pairs, 1) if a != b)
        first = _cut(*(str(each) for each in pair))
        yield f"{shown} (value {number} was {first[0]} and is now {first[1]})"
    else:
        old_text, new_text = _cut(*texts)
        yield f"{name} was {old_text} and is now {new_text}"


def _cut(*texts: str) -> list[str]:
    """Shortens long texts to a part that differs."""
    if max(map(len, texts)) <= _MAX_TEXT:
        return list(texts)
    start = max(0, len(os.path.commonprefix(texts)) - _MAX_TEXT // 4)
    return [
        ("…" if start else "")
        + text[start : start + _MAX_TEXT]
        + ("…" if len(text) > start + _MAX_TEXT else "")
        for text in texts
    ]
