"""What a reader of a ranking must know of its truth and its supernets, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.ranking.noise_ceiling import ceiling_of_seeds, ceiling_of_test_set
from estimators.trials.store import Trial


def noise_ceiling(
    truth: NDArray[np.float64],
    *,
    test_images: int | None,
    repeats: Sequence[NDArray[np.float64]],
    seed: int,
) -> dict[str, Any] | None:
    """Estimates how well a perfect score would rank, by the errors of the truth that are known.

    Errors of the test set and of the seeds are independent, so that their ceilings multiply.

    Args:
        truth: True values, shape (num_archs,), in percent where ``test_images`` is given.
        test_images: Number of images that the truth was measured on; None where that is not known.
        repeats: Truths of single seeds, each (num_archs,); may be empty.
        seed: Seed of what is drawn.

    Returns:
        None if no error is known.
    """
    by_images = by_seeds = None
    if test_images is not None:
        by_images = ceiling_of_test_set(truth, test_images, seed=seed)
    if len(repeats) > 1:
        by_seeds = ceiling_of_seeds(np.stack(repeats))
    known = [each for each in (by_images, by_seeds) if each is not None]
    if not known:
        return None
    return {
        "spearman": math.prod(known),
        "test_images": test_images,
        "by_test_set": by_images,
        "num_seeds": len(repeats),
        "by_seeds": by_seeds,
    }


def supernet_facts(
    trials: Sequence[Trial],
    history: Sequence[Mapping[str, Any]],
    *,
    chance: float,
    num_val_images: int,
) -> dict[str, Any]:
    """Says how good a supernet is by itself.

    Args:
        trials: Trials of the supernet's subnets, measured with the weights they inherit.
        history: Rows of the supernet's training, one for each epoch, which may have the accuracy of
            probes with BatchNorm statistics of their own.
        chance: Accuracy (percent) of knowing nothing, see ``chance_top1``.
        num_val_images: Number of images behind each validation accuracy.

    Returns:
        Percentages: "val_top1" and "best_val_top1", the mean and the best of the subnets, and
        "probe_val_top1", None where they were not measured; "chance"; and "is_above_chance" of the
        mean, by two standard errors, None where it was not measured.
    """
    top1 = [trial.metrics["val_top1"] for trial in trials if "val_top1" in trial.metrics]
    last = history[-1] if history else {}
    error = math.sqrt(chance * (100 - chance) / num_val_images)
    mean = float(np.mean(top1)) if top1 else None
    return {
        "val_top1": mean,
        "best_val_top1": max(top1, default=None),
        "num_val_images": num_val_images if top1 else None,
        "probe_val_top1": last.get("probe_val_top1"),
        "epochs": last.get("epoch"),
        "chance": chance,
        "is_above_chance": None if mean is None else mean > chance + 2 * error,
    }
