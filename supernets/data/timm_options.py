"""What timm's readers and transforms have to be told of a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from supernets.runtime.option_types import POSITIVE, PROBABILITY, STRENGTH

INTERPOLATIONS = ("bilinear", "bicubic", "random")
ERASINGS = ("const", "rand", "pixel")


@dataclass(frozen=True)
class TimmOptions:
    """What timm's readers have to be told of a data set.

    Args:
        train_split: Name of the train split, or None for "train".
        val_split: Name of the val split, or None to hold it out of the train split; of folders that
            name no test split either, ``val`` is it if there is a ``test`` with labels.
        test_split: Name of the test split, or None for the official validation split. Folders
            without that give ``test``, else a fifth of the train split.
        num_classes: Number of classes of a data set that does not name them; checked against one
            that does.
        crop_pct: Part of the shorter side of an image that is kept in evaluation, in (0, 1].

    Raises:
        ValueError: If a number is out of range, or a split is named twice.
    """

    train_split: str | None = None
    val_split: str | None = None
    test_split: str | None = None
    num_classes: int | None = None
    crop_pct: float = 0.875

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.num_classes is not None and self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}.")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be above 0 and at most 1, got {self.crop_pct}.")
        named = [name for name in (self.train_split, self.val_split, self.test_split) if name]
        if len(set(named)) < len(named):
            raise ValueError(f"Each split must have another name, got {', '.join(named)}.")


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
        from supernets.data.timm_transforms import train_transform  # here, as timm takes seconds

        try:
            train_transform(32, self)
        except (AssertionError, ValueError, KeyError) as error:
            raise ValueError(
                f"timm does not know auto_augment {self.auto_augment!r} ({error}); "
                "pass one such as 'rand-m9-mstd0.5', 'original' or 'augmix-m3-w3'."
            ) from error


def as_before_val_beside_test(options: TimmOptions, data_dir: Path | None) -> TimmOptions:
    """Adapts options of a version that always took ``val`` for the test split to find its splits.

    Args:
        options: The options as that version recorded them.
        data_dir: Folder of the data.
    """
    if options.val_split or options.test_split or data_dir is None:
        return options
    for name in ("validation", "val", "valid", "eval"):
        if (data_dir / name).exists() or (data_dir / f"{name}.tar").exists():
            return replace(options, test_split=name)
    return options
