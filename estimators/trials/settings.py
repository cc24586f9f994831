"""Headers of files of trials, whose values are JSON, beside those of a later run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from supernets.kernels.choice import told_kernels
from supernets.runtime.digests import by_content
from supernets.runtime.settings_difference import diff_settings


def diff_json_settings(stored: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Does what ``diff_settings`` does, for headers whose values are JSON."""
    old, new = ({key: json.loads(text) for key, text in e.items()} for e in (stored, given))
    return diff_settings(old, new, {"kernels": told_kernels})


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
