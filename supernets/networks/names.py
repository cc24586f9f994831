"""Names that networks' settings have to be of; a parser of options needs no more of networks."""

from __future__ import annotations

from typing import Literal

#: BatchNorm policies of NAS-Bench-201's networks: see ``NASBench201Supernet``.
BNMode = Literal["ref", "batch", "drnas", "affine"]
BN_MODES: tuple[BNMode, ...] = ("ref", "batch", "drnas", "affine")
#: First layers of NASNet's and DARTS' networks.
Stem = Literal["cifar", "imagenet"]
STEMS: tuple[Stem, ...] = ("cifar", "imagenet")
#: Side in pixels from which on the stem for ImageNet is the default.
IMAGENET_SIDE = 96
#: Weights that a file of OFA's may have both of: averaged ones and raw ones.
OFA_WEIGHTS = ("ema", "raw")
