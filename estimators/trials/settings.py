"""Settings that something was recorded with, beside those of a later run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from supernets.runtime.digests import by_content


def diff_settings(stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Lists what differs, as ``name was this and is now that; …``; empty if nothing does.

    Args:
        stored: Settings by name as they were recorded.
        given: Settings by name as they are now.
    """
    return "; ".join(
        f"{name} was {stored.get(name, 'not set')} and is now {given.get(name, 'not set')}"
        for name in dict.fromkeys([*given, *stored])
        if stored.get(name) != given.get(name)
    )


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
