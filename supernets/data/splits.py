"""Train, val and test splits: drawn where a data set lacks them, and told apart by a digest."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from supernets.runtime.wording import plural

logger = logging.getLogger(__name__)

TEST_FRACTION = 0.2  # held out of sets that come without a test split


def draw_splits(
    splits: Mapping[str, NDArray[np.int64]],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    val_fraction: float,
    num_val: int | None,
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    """Completes the splits of a data set out of its train images.

    Draws are stratified by class or, with a warning, regardless of classes where one has a single
    image.

    Args:
        splits: Indices of "train" and, if the data set has them, "val" and "test".
        labels: Label of each image as a class number, (num_images,).
        class_names: Name of each class number in ``labels``.
        val_fraction: Part of the train images to hold out as val.
        num_val: Number of images to hold out instead, or None.
        seed: Seed of the draws.

    Returns:
        Train, val and test, ascending.

    Raises:
        ValueError: If there are too few images.
    """
    splits = dict(splits)
    for split, fraction in (("test", TEST_FRACTION), ("val", val_fraction)):
        if split in splits:
            if split == "val" and num_val is not None:
                raise ValueError("The data bring their own val split; leave out num_val.")
            if split == "val":
                logger.info("The data bring their own val split; val_fraction is not used.")
            continue
        pool = splits["train"]
        num_drawn = math.ceil(fraction * len(pool))
        if split == "val" and num_val is not None:
            num_drawn = num_val
        counts = np.bincount(labels[pool], minlength=len(class_names))
        is_stratified = counts.min() > 1
        least = len(class_names) if is_stratified else 1
        if min(num_drawn, len(pool) - num_drawn) < least:
            raise ValueError(
                f"A {split} split of {num_drawn} of {len(pool)} images leaves fewer than {least} "
                "on one side; add images or change val_fraction or num_val."
            )
        train, drawn = train_test_split(
            pool,
            test_size=num_drawn,
            stratify=labels[pool] if is_stratified else None,
            random_state=seed,
        )
        splits["train"], splits[split] = np.sort(train), np.sort(drawn)
        if not is_stratified:
            logger.warning(
                "Class %r has %s to draw a %s split from, too few to draw it by class: it "
                "is drawn at random, and %d of %d classes keep train images.",
                class_names[int(counts.argmin())],
                plural(int(counts.min()), "image"),
                split,
                len(np.unique(labels[splits["train"]])),
                len(class_names),
            )
    return {split: splits[split] for split in ("train", "val", "test")}


def split_digest(
    splits: Mapping[str, NDArray[np.int64]],
    labels: NDArray[np.int64],
    name: Callable[[int], str],
) -> str:
    """Computes SHA-256 over the names and labels of the images of each split.

    Args:
        splits: Indices of the images of each split.
        labels: Class number of each image, (num_images,).
        name: Identifies the image of an index.
    """
    digest = hashlib.sha256()
    for split, indices in splits.items():
        lines = [f"{name(int(index))}\t{labels[index]}" for index in indices]
        digest.update("\n".join([split, *lines, ""]).encode())
    return digest.hexdigest()
