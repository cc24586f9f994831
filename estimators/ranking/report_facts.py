"""What a ranking says of its supernets and of its truth, in words."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from estimators.html.elements import number, with_unit
from supernets.runtime.wording import plural

#: Below this, resamples are too much alike for their intervals to tell anything.
MIN_ARCHS = 10
#: What is shown as a correlation of 1.00; one less is shown as 0.00.
_AS_GOOD_AS_1 = 0.995


def supernets_sentence(result: Mapping[str, Any]) -> str:
    """Says how good the supernets are by themselves, against chance."""
    known = [each for each in result["supernets"] if "chance" in each]
    if not known:
        return ""
    of = "The supernet's own accuracy" if len(known) == 1 else "The supernets' own accuracies"
    chance = f"chance: {number(known[0]['chance'], 1).removesuffix('.0')} %"
    measured = [each for each in known if each["val_top1"] is not None]
    probes = [each["probe_val_top1"] for each in known if each["probe_val_top1"] is not None]
    parts = []
    if measured:
        means, tops = (
            _percents([each[key] for each in measured]) for key in ("val_top1", "best_val_top1")
        )
        parts.append(
            f"on {measured[0]['num_val_images']:,} validation images these {result['num_archs']} "
            f"subnets have {means} in the mean with the weights they inherit, and {tops} at best"
        )
    if probes:
        whose = "its" if len(known) == 1 else "their"
        parts.append(f"probes had {_percents(probes)} after the last epoch of {whose} training")
    if not parts:
        return f"{of} was not measured; add the score val_acc ({chance})."
    sentence = f"{of} ({chance}): {'; '.join(parts)}."
    at_chance = [each["name"] for each in measured if each["is_above_chance"] is False]
    if at_chance:
        whose = "That" if len(known) == 1 else f"That of {escape(' and '.join(at_chance))}"
        sentence += (
            f" <strong>{whose} is no better than chance</strong>: what inherited weights say of "
            "subnets cannot be trusted here."
        )
    return sentence


def truth_sentence(result: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    """Says what the truth is, and how well it can be ranked at all.

    Args:
        result: The ranking as ``ranking.json`` holds it.
        best: Spearman of the best score, with its interval; None where that says nothing.
    """
    truth, ceiling = result["truth"], result.get("noise_ceiling")
    images = truth.get("test_images")
    sentence = f"The truth: {escape(truth['source'])}"
    if images is not None:
        sentence += f", of {images:,} test images"
    if ceiling is None:
        return sentence + (
            ". Neither is known on how many images it was measured nor what other seeds give, and "
            "so not how well it can be ranked at all (--truth-test-size, --truth-seed-columns)."
        )
    errors = []
    if ceiling["by_test_set"] is not None:
        errors.append("the finite test set")
    if ceiling["by_seeds"] is not None:
        errors.append(f"the {ceiling['num_seeds']} seeds")
    of = f"error of {errors[0]}" if len(errors) == 1 else f"errors of {' and of '.join(errors)}"
    highest = ceiling["spearman"]
    if highest < 1 - _AS_GOOD_AS_1:
        return f"{sentence}. By the {of} <strong>its order is that of chance</strong>."
    if highest >= _AS_GOOD_AS_1:
        sentence += f". By the {of} a perfect score would reach a Spearman of about 1.00"
    else:
        sentence += (
            f". By the {of} even a perfect score would reach a Spearman of only about "
            f"{number(highest, 2)}"
        )
    if result["num_archs"] < MIN_ARCHS:
        sentence += ", as far as so few architectures can tell"
    elif best is not None and best["high"] is not None and best["high"] >= highest:
        sentence += ", which the interval of the best score here reaches"
    if ceiling["by_seeds"] is None:
        sentence += "; what training again with other seeds would change comes on top"
    return sentence + "."


def supernet_facts_text(supernet: Mapping[str, Any]) -> str:
    """Gives path, digest and accuracy of one supernet, for the table of settings."""
    text = f"{supernet['path']} (digest {supernet['digest']})"
    if supernet.get("epochs") is not None:
        text += f", {plural(round(supernet['epochs']), 'epoch')}"
    if supernet.get("val_top1") is not None:
        text += f", subnets {number(supernet['val_top1'], 2)} % in the mean"
    return text


def truth_facts_text(result: Mapping[str, Any]) -> str:
    """Gives source, spread and noise of the truth, for the table of settings."""
    truth, unit = result["truth"], result["truth"]["unit"]
    text = (
        f"{truth['source']}: mean {with_unit(truth['mean'], unit)}, standard deviation "
        f"{with_unit(truth['sd'], unit)}, best {with_unit(truth['best'], unit)}"
    )
    if truth.get("test_images") is not None:
        text += f", of {truth['test_images']:,} test images"
    ceiling = result.get("noise_ceiling")
    if ceiling is not None:
        text += f", noise ceiling {number(ceiling['spearman'])}"
    return text


def _percents(values: list[float]) -> str:
    """``45.30 %``, or several with "and"."""
    texts = [number(value, 2) for value in values]
    if len(texts) > 1:
        texts = [", ".join(texts[:-1]), texts[-1]]
    return f"{' and '.join(texts)} %"
