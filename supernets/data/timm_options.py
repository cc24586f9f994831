"""What timm is told of a data set: where its splits are, and how images are augmented."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option, options_of

INTERPOLATIONS = ("bilinear", "bicubic", "random")
ERASINGS = ("const", "rand", "pixel")


@dataclass(frozen=True)
class TimmOptions(Options):
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

    train_split: str | None = option(None, "", kinds.name, metavar="NAME", default_text="train")
    val_split: str | None = option(None, "", kinds.name, metavar="NAME", default_text="held out")
    test_split: str | None = option(
        None, "", kinds.name, metavar="NAME", default_text="official val"
    )
    num_classes: int | None = option(
        None, "of data without class names", kinds.NUM_CLASSES, metavar="N"
    )
    crop_pct: float = option(0.875, "kept of an image's side", kinds.SHARE, metavar="P")

    def __post_init__(self) -> None:
        super().__post_init__()
        named = [name for name in (self.train_split, self.val_split, self.test_split) if name]
        if len(set(named)) < len(named):
            raise ValueError(f"Each split must have another name, got {', '.join(named)}.")


@dataclass(frozen=True)
class TimmAugmentation(Options):
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

    scale: tuple[float, float] = option(
        (0.08, 1.0), "area of crops", kinds.SHARE, nargs=2, metavar="S"
    )
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = option(0.5, "of a flip", kinds.PROBABILITY, metavar="P")
    color_jitter: float | tuple[float, ...] | None = option(
        None,
        "strength, in common or of brightness, contrast, saturation, hue",
        kinds.STRENGTH,
        nargs="+",
        metavar="J",
        default_text="0.4",
    )
    auto_augment: str | None = option(None, "such as rand-m9-mstd0.5", kinds.name, metavar="POLICY")
    re_prob: float = option(0.0, "of random erasing", kinds.PROBABILITY, metavar="P")
    re_mode: str = option("const", "of random erasing", choices=ERASINGS)
    interpolation: str = option("bilinear", "of resizing", choices=INTERPOLATIONS)

    def __post_init__(self) -> None:
        """Checks the values; lists, as in JSON, become tuples, and one strength itself."""
        for name in ("scale", "ratio", "color_jitter"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.color_jitter, tuple) and len(self.color_jitter) == 1:
            object.__setattr__(self, "color_jitter", self.color_jitter[0])
        defaults = {f.name: f.default for f in fields(self)}
        for name, declared in options_of(type(self)).items():
            value = getattr(self, name)
            if value is None and defaults[name] is None:
                continue
            is_one = name == "color_jitter" and not isinstance(value, tuple | None)
            declared.check(name, (value,) if is_one else value)
        for name, limit in (("scale", 1.0), ("ratio", math.inf)):
            pair = getattr(self, name)
            for number in pair:
                kinds.POSITIVE.check(name, number)
            if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= limit:
                raise ValueError(
                    f"{name} must be two numbers, 0 < least <= largest <= {limit}, got {pair}."
                )
        self._check_colours()

    def _check_colours(self) -> None:
        jitter = self.color_jitter
        if isinstance(jitter, tuple) and len(jitter) not in (3, 4):
            raise ValueError(f"color_jitter must be 1, 3 or 4 numbers, got {len(jitter)}.")
        strengths = jitter if isinstance(jitter, tuple) else (jitter or 0.0,)
        if max(strengths[3:], default=0) > 0.5:
            raise ValueError(f"color_jitter must be of hue at most 0.5, got {jitter}.")
        if self.auto_augment is None:
            return
        if any(strengths):
            raise ValueError(
                f"timm applies no color_jitter beside auto_augment; leave out {jitter} or "
                f"{self.auto_augment!r}."
            )
        from supernets.data.timm_transforms import train_transform  # which imports timm

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
