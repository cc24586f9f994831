"""Settings that something was recorded with, beside those of a later run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

#: Says how a setting differs, given the names of what it is in, and its values then and now, None
#: where it was not set.
Teller = Callable[[Sequence[str], Any, Any], str]
_MISSING = "not set"
#: Characters of a value, and how many settings, that a message names.
_MAX_TEXT, _MAX_DIFFERENCES = 80, 10


def diff_settings(
    stored: Mapping[str, Any],
    given: Mapping[str, Any],
    tellers: Mapping[str, Teller] | None = None,
) -> str:
    """Lists what differs, as ``name was this and is now that; …``; empty if nothing does.

    Of settings within a setting, and of lists of settings that have names, those that differ are
    named, of long lists how many values there are and the first that differs, and of long texts the
    part that does.

    Args:
        stored: Settings by name as they were recorded.
        given: Settings by name as they are now.
        tellers: What says it of settings of which those words do not say enough, by the name of the
            setting, wherever it stands.
    """
    found = list(_of_mappings((), stored, given, tellers or {}))
    if len(found) > _MAX_DIFFERENCES:
        found[_MAX_DIFFERENCES:] = [f"and {len(found) - _MAX_DIFFERENCES} more"]
    return "; ".join(found)


def _of_mappings(
    within: tuple[str, ...],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    tellers: Mapping[str, Teller],
) -> Iterator[str]:
    for key in dict.fromkeys([*new, *old]):
        values = old.get(key, _MISSING), new.get(key, _MISSING)
        if values[0] != values[1] and key in tellers:
            yield tellers[key](within, old.get(key), new.get(key))
        else:
            yield from _differences((*within, key), *values, tellers)


def _differences(
    names: tuple[str, ...], old: Any, new: Any, tellers: Mapping[str, Teller]
) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if old.get("name") != new.get("name"):  # what else differs follows from that
            old, new = ({"name": each.get("name", _MISSING)} for each in (old, new))
        yield from _of_mappings(names, old, new, tellers)
        return
    if (old_names := _names(old)) and (new_names := _names(new)):
        if old_names == new_names:
            for name, then, now in zip(old_names, old, new, strict=True):
                yield from _differences((*names, name), then, now, tellers)
            return
        old, new = old_names, new_names
    name = " ".join(names)
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


def _names(settings: Any) -> list[str]:
    """The names of settings that are in a list; none of anything else."""
    if not isinstance(settings, list):
        return []
    if not all(isinstance(each, Mapping) and "name" in each for each in settings):
        return []
    return [str(each["name"]) for each in settings]
