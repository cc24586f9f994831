"""Settings that something was recorded with, beside those of a later run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from supernets.runtime.digests import by_content

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


def diff_json_settings(stored: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Does what ``diff_settings`` does, for headers whose values are JSON."""
    return diff_settings(
        *({name: json.loads(text) for name, text in each.items()} for each in (stored, given))
    )


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


def with_units(header: Mapping[str, str]) -> dict[str, str]:
    """Adds the unit of the estimator's window or gamma to a header whose values are JSON.

    Headers of before left the units out, and what was not asked for: a window of one minibatch.
    """
    found = dict(header)
    settings = json.loads(header.get("estimator", "null"))
    if not isinstance(settings, dict):
        return found
    from_scratch = settings.get("name") == "from_scratch"
    score = settings.get("score") if from_scratch else settings.get("name")
    if score == "tse_e" and "window_unit" not in settings:
        settings.setdefault("window", 1)
        settings["window_unit"] = "epochs" if from_scratch else "minibatches"
    elif score == "tse_ema" and "gamma_unit" not in settings:
        settings.setdefault("gamma", 0.999)
        settings["gamma_unit"] = "epoch" if from_scratch else "minibatch"
    else:
        return found
    return {**found, "estimator": json.dumps(settings, sort_keys=True)}


def by_content_of_texts(
    stored: Mapping[str, str], given: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Does what ``by_content`` does, for headers whose values are JSON."""
    old, new = (
        {key: json.loads(value) for key, value in header.items()} for header in (stored, given)
    )
    found, unchecked = by_content(old, new)
    return {key: json.dumps(value, sort_keys=True) for key, value in found.items()}, unchecked
