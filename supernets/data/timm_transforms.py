"""Transforms of ImageNet training and evaluation: timm's, with randomness that can be repeated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
from torch import Tensor

from supernets.data.timm_options import TimmAugmentation

MEAN: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN  # of RGB scaled to 0..1
STD: tuple[float, float, float] = IMAGENET_DEFAULT_STD

Transform = Callable[[Image.Image], Tensor]


def train_transform(image_size: int, augmentation: TimmAugmentation) -> Transform:
    """Builds what turns an RGB image of any size into an augmented, normalised (3, H, W) tensor.

    Draws from the global generators; see ``seeded``.

    Args:
        image_size: Height and width of the result.
        augmentation: The settings.
    """
    transform = create_transform(is_training=True, **train_settings(image_size, augmentation))
    # Of an image of a few pixels a crop can come out empty; enlarged to this, none does.
    least_part = augmentation.scale[0] * min(augmentation.ratio[0], 1 / augmentation.ratio[1])
    return _AtLeast(math.ceil(1 / math.sqrt(least_part)), transform)


def eval_transform(image_size: int, crop_pct: float, interpolation: str) -> Transform:
    """Builds what turns the centre of an RGB image into a normalised (3, H, W) tensor.

    The shorter side is resized to ``image_size / crop_pct``, rounded down as in timm.

    Args:
        image_size: Height and width of the result.
        crop_pct: Part of the shorter side that is kept, in (0, 1].
        interpolation: One of ``timm_options.INTERPOLATIONS``; "random" is bilinear.
    """
    settings = eval_settings(image_size, crop_pct, interpolation)
    return cast(Transform, create_transform(is_training=False, **settings))


def train_settings(image_size: int, augmentation: TimmAugmentation) -> dict[str, object]:
    """Returns the settings of timm's train transforms."""
    jitter = augmentation.color_jitter
    if jitter is None:
        jitter = 0.4 if augmentation.auto_augment is None else 0.0
    return {
        "input_size": (3, image_size, image_size),
        "scale": augmentation.scale,
        "ratio": augmentation.ratio,
        "hflip": augmentation.hflip,
        "color_jitter": jitter,
        "auto_augment": augmentation.auto_augment,
        "re_prob": augmentation.re_prob,
        "re_mode": augmentation.re_mode,
        "interpolation": augmentation.interpolation,
    }


def eval_settings(image_size: int, crop_pct: float, interpolation: str) -> dict[str, object]:
    """Returns the settings of timm's eval transforms."""
    return {
        "input_size": (3, image_size, image_size),
        "crop_pct": crop_pct,
        "interpolation": "bilinear" if interpolation == "random" else interpolation,
    }


class _AtLeast:
    """Enlarges an image whose shorter side has fewer than ``size`` pixels before a transform."""

    def __init__(self, size: int, transform: Transform) -> None:
        self._size = size
        self._transform = transform

    def __call__(self, image: Image.Image) -> Tensor:
        factor = self._size / min(image.size)
        if factor > 1:
            width, height = (math.ceil(side * factor) for side in image.size)
            image = image.resize((width, height), Image.Resampling.NEAREST)
        return self._transform(image)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds the global generators of Python, NumPy and PyTorch's CPU, and restores their states.

    Args:
        *key: Non-negative numbers that the random numbers are to depend on, and on nothing else.
    """
    python, array, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = np.random.SeedSequence(key).generate_state(3).tolist()
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(seeds[2])  # the CPU's alone
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)
