"""The options of the commands that open a data set, and the arguments they stand for."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.data.names import DATASETS, PREFIXES, is_timm_dataset
from supernets.data.timm_options import TimmAugmentation, TimmOptions

_PLAIN = ("image_size", "val_fraction", "num_val", "cutout")


def add_data_options(parser: argparse.ArgumentParser, *, val_fraction: float = 0.2) -> None:
    """Adds the options of ``data_arguments``; None or False for those not given.

    Args:
        parser: Parser that the options are added to.
        val_fraction: The command's default of ``--val-fraction``, which its help states.
    """
    group = parser.add_argument_group("data")
    add = group.add_argument
    names = ", ".join(DATASETS)
    add(
        "--dataset",
        type=kinds.name,
        metavar="NAME",
        help=f"{names}, or a name in timm's words beginning with {', '.join(PREFIXES)} "
        "(default: digits, built in)",
    )
    add("--data-dir", type=kinds.path, metavar="DIR", help="where the data is (default: none)")
    add("--download", action="store_true", help="fetch missing data to --data-dir (default: no)")
    add(
        "--image-size",
        type=kinds.PIXELS,
        metavar="PX",
        help="side of the images (default: the data's)",
    )
    add(
        "--val-fraction",
        type=kinds.FRACTION,
        metavar="F",
        help=f"share of the training images held out as val (default: {val_fraction:g})",
    )
    add(
        "--num-val",
        type=kinds.POSITIVE_INT,
        metavar="N",
        help="the same as a number (default: none)",
    )
    add(
        "--skip-bad-images",
        action="store_true",
        help="leave unreadable images out instead of stopping (default: no)",
    )
    add(
        "--cutout",
        type=kinds.Whole(0, kinds.PIXELS.most),
        metavar="PX",
        help="side of a square cut out of each training image; not of timm data (default: 0, none)",
    )
    group = parser.add_argument_group("timm data", "for --dataset timm and names with a slash")
    add = group.add_argument
    for split, default in (("train", "train"), ("val", "held out"), ("test", "official val")):
        add(f"--{split}-split", type=kinds.name, metavar="NAME", help=f"(default: {default})")
    add(
        "--num-classes",
        type=kinds.NUM_CLASSES,
        metavar="N",
        help="of data without class names (default: none)",
    )
    add(
        "--crop-pct", type=kinds.SHARE, metavar="P", help="kept of an image's side (default: 0.875)"
    )
    add("--scale", type=kinds.SHARE, nargs=2, metavar="S", help="area of crops (default: 0.08 1)")
    add("--hflip", type=kinds.PROBABILITY, metavar="P", help="of a flip (default: 0.5)")
    add(
        "--color-jitter",
        type=kinds.STRENGTH,
        nargs="+",
        metavar="J",
        help="strength, in common or of brightness, contrast, saturation, hue (default: 0.4)",
    )
    add(
        "--auto-augment",
        type=kinds.name,
        metavar="POLICY",
        help="such as rand-m9-mstd0.5 (default: none)",
    )
    add("--re-prob", type=kinds.PROBABILITY, metavar="P", help="of random erasing (default: 0)")
    add(
        "--re-mode",
        type=kinds.name,
        metavar="MODE",
        help="of random erasing: const, rand, pixel (default: const)",
    )
    add(
        "--interpolation",
        type=kinds.name,
        metavar="MODE",
        help="bilinear, bicubic, random (default: bilinear)",
    )


def data_arguments(args: argparse.Namespace, dataset: str) -> dict[str, Any]:
    """Returns the given arguments of ``create_loaders``, but for those every command sets itself.

    Args:
        args: Parsed options, among them those of ``add_data_options``.
        dataset: Name of the data set that is opened.

    Raises:
        ValueError: If one is out of range, or does not apply to the data set.
    """
    given = {name: getattr(args, name) for name in _PLAIN if getattr(args, name) is not None}
    given.update(
        dataset=dataset,
        data_dir=args.data_dir,
        download=args.download,
        skip_bad_images=args.skip_bad_images,
    )
    kinds: dict[str, type[TimmAugmentation] | type[TimmOptions]] = {
        "augmentation": TimmAugmentation,
        "timm_options": TimmOptions,
    }
    for key, kind in kinds.items():
        values = {
            field.name: getattr(args, field.name)
            for field in fields(kind)
            if getattr(args, field.name, None) is not None
        }
        if values and not is_timm_dataset(dataset):
            flags = ", ".join("--" + name.replace("_", "-") for name in values)
            raise ValueError(f"{flags} is for data that timm reads; {dataset} is none of these.")
        if values:
            plain: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
            }
            if isinstance(plain.get("color_jitter"), tuple) and len(plain["color_jitter"]) == 1:
                plain["color_jitter"] = plain["color_jitter"][0]
            given[key] = kind(**plain)
    return given
