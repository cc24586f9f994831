"""Estimators of inherited weights from the options of a command line, and what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from estimators.base import Estimator
from estimators.cli.estimator_options import BATCH_SIZE, COMBINED, EstimatorOptions
from estimators.factory import TRAINS, VALIDATES, create_estimator, create_multi_score
from estimators.scores.combined_estimator import CombinedEstimator, Reference
from estimators.scores.extra_steps import LR, NUM_BATCHES
from estimators.scores.loss_curves import GAMMA
from estimators.scores.minibatches import rebatched
from estimators.scores.names import BENCHMARK_SCORES, PROXY_SCORES, VAL_SCORES, Score
from estimators.scores.windows import window_in_batches
from estimators.scores.zero_cost import COMPARES_IMAGES, distinct_images
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.networks.single_images import check_supernet_single_images
from supernets.training.checkpoint import weights_digest

#: Recalibration of supernets that need it: 2,000 images, as in OFA's code.
RECALIBRATE_BATCHES = 10
RECALIBRATE_BATCH_SIZE = 200


def supernet_estimator(
    name: str,
    options: EstimatorOptions,
    supernet: Supernet,
    loaders: Loaders,
    *,
    device: torch.device,
    amp: bool,
) -> tuple[Estimator, dict[str, Any]]:
    """Builds an estimator of subnets with inherited weights.

    Args:
        name: One of ``ESTIMATORS`` but "from_scratch" and "table".
        options: The options.
        supernet: Trained supernet; only read.
        loaders: Loaders of the supernet's data, with train minibatches of ``tse_batch_size``
            images, or ``BATCH_SIZE``.
        device: Device to run on.
        amp: Whether to run in bfloat16 autocast.

    Returns:
        The estimator, and its settings for the header of the trials.

    Raises:
        ValueError: If an option is out of range.
    """
    if name == COMBINED:
        return _combined_estimator(options, supernet, loaders, device=device, amp=amp)
    inputs, settings = measuring_inputs([name], options, supernet, loaders)
    chosen: dict[str, Any] = {}
    if options.race_for is not None:
        chosen["race_for"] = options.race_for
    units = {}
    if name == "tse_e":
        chosen["window"] = window_in_batches(
            options.tse_window, inputs["num_batches"], len(loaders.train)
        )
        units["window_unit"] = "minibatches"
    if name == "tse_ema":
        chosen["gamma"] = GAMMA if options.tse_gamma is None else options.tse_gamma
        units["gamma_unit"] = "minibatch"
    estimator = create_estimator(
        name, supernet=supernet, **inputs, **chosen, device=device, amp=amp
    )
    settings = {"name": name, **settings, **chosen, **units}
    return estimator, {**settings, "device": device.type, "amp": amp}


def chosen_scores(
    names: Sequence[str], measuring: EstimatorOptions, epoch_batches: Sequence[int]
) -> list[Score]:
    """Builds the scores that subnets are compared by, with the window of TSE-E in minibatches.

    Args:
        names: Names of the scores, each one of ``SCORES``.
        measuring: The options.
        epoch_batches: Minibatches of an epoch of each supernet.

    Raises:
        ValueError: If the window is too long, or is not the same for all supernets.
    """
    num_batches = measuring.tse_batches or NUM_BATCHES
    windows = {window_in_batches(measuring.tse_window, num_batches, each) for each in epoch_batches}
    if len(windows) > 1:
        raise ValueError(
            "The supernets' epochs differ in length, and with them the window of tse_e: "
            f"{', '.join(map(str, sorted(windows)))} minibatches; give --tse-window in minibatches."
        )
    gamma = GAMMA if measuring.tse_gamma is None else measuring.tse_gamma
    (window,) = windows
    return [Score(name, window=window if name == "tse_e" else None, gamma=gamma) for name in names]


def score_units(scores: Sequence[Score], epoch_batches: int) -> dict[str, Any]:
    """Returns plain settings of the scores of curves: what they are computed with, and its unit."""
    found: dict[str, Any] = {}
    for score in scores:
        if score.name == "tse_e":
            found |= {"tse_window": score.window, "tse_window_unit": "minibatches"}
        if score.name == "tse_ema":
            found |= {"tse_gamma": score.gamma, "tse_gamma_unit": "minibatch"}
    return {**found, "epoch_minibatches": epoch_batches} if found else {}


def _combined_estimator(
    options: EstimatorOptions,
    supernet: Supernet,
    loaders: Loaders,
    *,
    device: torch.device,
    amp: bool,
) -> tuple[Estimator, dict[str, Any]]:
    """Measures as the reference was measured."""
    assert options.reference is not None
    reference = Reference.read(options.reference)
    if reference.digest != weights_digest(supernet):
        raise ValueError(
            f"{options.reference} was measured with another supernet; rank architectures with "
            "this one."
        )
    reference = reference.as_measured_now(supernet.space.name, options.reference)
    names = [score.name for score in reference.scores]
    of_tables = [score for score in reference.scores if score.name in BENCHMARK_SCORES]
    stored = reference.settings
    recalibration = stored.get("recalibration")
    measuring = EstimatorOptions(
        tse_batches=stored.get("tse_batches"),
        tse_lr=stored.get("tse_lr"),
        val_batches=stored.get("val_batches"),
        recalibrate_batches=None if recalibration is None else recalibration["num_batches"],
    )
    batch_size = stored.get("tse_batch_size", loaders.train.batch_size)
    if batch_size != loaders.train.batch_size:
        raise ValueError(
            f"{options.reference} was measured with minibatches of {batch_size} images, this run "
            f"has {loaders.train.batch_size}; give --tse-batch-size {batch_size}."
        )
    inputs, settings = measuring_inputs(names, measuring, supernet, loaders)
    multi_score = create_multi_score(
        names,
        (of_tables or reference.scores)[0],  # of tables, a pass has them only if it is for one
        supernet=supernet,
        **{"train_batches": (), "val_batches": (), **inputs},
        device=device,
        amp=amp,
    )
    settings |= {
        "name": COMBINED,
        "reference": reference.truth.tolist(),
        "reference_digest": reference.content_digest,
        "scores": names,
    }
    return CombinedEstimator(multi_score, reference), {
        **settings,
        "device": device.type,
        "amp": amp,
    }


def measuring_inputs(
    names: Sequence[str], options: EstimatorOptions, supernet: Supernet, loaders: Loaders
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draws the minibatches that estimators measure with, and describes them.

    Args:
        names: Names of the estimators, each one of ``ESTIMATORS`` but "from_scratch" and "table".
        options: The options.
        supernet: Trained supernet; only read.
        loaders: Loaders of the supernet's data, with train minibatches of ``tse_batch_size``
            images, or ``BATCH_SIZE``.

    Returns:
        Arguments of ``create_estimator`` and ``create_multi_score``, those that one of the names
        needs; and plain settings that say what they are.

    Raises:
        ValueError: If there is a minibatch of one image, too few for the supernet's BatchNorm.
    """
    inputs: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    chosen = set(names)
    num_batches = options.tse_batches or NUM_BATCHES
    if chosen & {*TRAINS, *PROXY_SCORES}:
        inputs["train_batches"] = list(
            loaders.train.take(num_batches if chosen & set(TRAINS) else 1)
        )
        settings["tse_batch_size"] = options.tse_batch_size or BATCH_SIZE
    if chosen & set(TRAINS):
        inputs["num_batches"] = settings["tse_batches"] = num_batches
        inputs["lr"] = settings["tse_lr"] = LR if options.tse_lr is None else options.tse_lr
    if chosen & set(VALIDATES):
        num_val = options.val_batches
        inputs["val_batches"] = (
            loaders.val if num_val is None else list(islice(loaders.val, num_val))
        )
        settings["val_batches"] = num_val
    if chosen & set(VAL_SCORES):
        recalibrate_batches, settings["recalibration"] = _recalibration(options, supernet, loaders)
        if recalibrate_batches is not None:
            inputs["recalibrate_batches"] = recalibrate_batches
    if chosen & set(COMPARES_IMAGES):
        x, _ = inputs["train_batches"][0]
        num_images = len(distinct_images(x))
        if num_images < len(x):  # scores of files from before, if any, are then others
            settings["distinct_images"] = num_images
    trained_on = [*inputs.get("train_batches", ()), *inputs.get("recalibrate_batches", ())]
    if chosen & {*TRAINS, *VAL_SCORES, *PROXY_SCORES} - {"synflow"} and trained_on:
        smallest = min(len(y) for _, y in trained_on)
        check_supernet_single_images(supernet, smallest, option="--tse-batch-size")
    return inputs, settings


def _recalibration(
    options: EstimatorOptions, supernet: Supernet, loaders: Loaders
) -> tuple[list[tuple[Tensor, Tensor]] | None, dict[str, Any] | None]:
    """The minibatches for the statistics of BatchNorm and what they are; None for neither.

    A supernet that needs recalibration gets the augmented images it was trained on, as in OFA's
    code; otherwise images are taken as they are.
    """
    needed = supernet.needs_recalibration
    num_batches = options.recalibrate_batches
    if num_batches is None:
        num_batches = RECALIBRATE_BATCHES if needed else 0
    if num_batches == 0:
        return None, None
    batch_size = RECALIBRATE_BATCH_SIZE if needed else loaders.train.batch_size
    loader = loaders.train if needed else loaders.train_eval
    enough = loader.take(num_batches * batch_size)  # read only as far as needed
    batches = list(islice(rebatched(enough, batch_size), num_batches))
    return batches, {
        "split": "train",
        "transforms": f"those of the {'train' if needed else 'test'} split",
        "num_batches": num_batches,
        "num_images": sum(len(y) for _, y in batches),
        "seed": loaders.settings["seed"],
    }
