"""Transforms of ImageNet training and evaluation: timm's, with randomness that can be repeated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
from torch import Tensor

from supernets.runtime.option_types import POSITIVE, PROBABILITY, STRENGTH

MEAN: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN  # of RGB scaled to 0..1
STD: tuple[float, float, float] = IMAGENET_DEFAULT_STD

INTERPOLATIONS = ("bilinear", "bicubic", "random")
ERASINGS = ("const", "rand", "pixel")

Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class TimmAugmentation:
    """How train images are augmented, in timm's terms and with its usual values.

    Args:
        scale: Least and largest part of the image's area that a crop takes, in (0, 1].
        ratio: Least and largest width of a crop over its height.
        hflip: Probability of a horizontal flip.
        color_jitter: Strength for brightness, contrast and saturation in common, or three or four
            numbers for these and, if there is a fourth of up to 0.5, hue. None for 0.4, or for no
            jitter beside ``auto_augment``, with which timm does not combine it.
        auto_augment: timm's description of AutoAugment, RandAugment or AugMix, such as
            "rand-m9-mstd0.5" or "original"; None for none.
        re_prob: Probability of erasing a random rectangle of the normalised image.
        re_mode: Filling of the rectangle: "const" for zeros, "rand" for one random colour, "pixel"
            for noise.
        interpolation: One of ``INTERPOLATIONS``, also for resizing in evaluation, where "random" is
            bilinear.

    Raises:
        ValueError: If a value is out of range or none that timm knows.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    color_jitter: float | tuple[float, ...] | None = None
    auto_augment: str | None = None
    re_prob: float = 0.0
    re_mode: str = "const"
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        """Checks the values; lists, as in JSON, become tuples."""
        for name in ("scale", "ratio", "color_jitter"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, limit in (("scale", 1.0), ("ratio", math.inf)):
            pair = getattr(self, name)
            for number in pair:
                POSITIVE.check(name, number)
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= limit:
                raise ValueError(
                    f"{name} must be two numbers, 0 < least <= largest <= {limit}, got {pair}."
                )
        for name in ("hflip", "re_prob"):
            PROBABILITY.check(name, getattr(self, name))
        for name, known in (("re_mode", ERASINGS), ("interpolation", INTERPOLATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"Unknown {name} {getattr(self, name)!r}; choose from {', '.join(known)}."
                )
        self._check_colours()

    def _check_colours(self) -> None:
        jitter = self.color_jitter
        if isinstance(jitter, tuple) and len(jitter) not in (3, 4):
            raise ValueError(f"color_jitter must be 1, 3 or 4 numbers, got {len(jitter)}.")
        strengths = jitter if isinstance(jitter, tuple) else (jitter or 0.0,)
        for strength in strengths:
            STRENGTH.check("color_jitter", strength)
        if not all(strength >= 0 for strength in strengths) or max(strengths[3:], default=0) > 0.5:
            raise ValueError(
                f"color_jitter must be at least 0, of hue at most 0.5, got {self.color_jitter}."
            )
        if self.auto_augment is None:
            return
        if any(strengths):
            raise ValueError(
                f"timm applies no color_jitter beside auto_augment; leave out {self.color_jitter} "
                f"or {self.auto_augment!r}."
            )
        try:
            train_transform(32, self)
        except (AssertionError, ValueError, KeyError) as error:
            raise ValueError(
                f"timm does not know auto_augment {self.auto_augment!r} ({error}); "
                "pass one such as 'rand-m9-mstd0.5', 'original' or 'augmix-m3-w3'."
            ) from error


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
        interpolation: One of ``INTERPOLATIONS``; "random" is bilinear.
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
