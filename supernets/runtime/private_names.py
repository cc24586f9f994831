"""Names that timm does not offer publicly, in one place for the day a version of it moves them.

``load_with_timm.py`` of an export has its own imports, as it works without this package.
"""

from __future__ import annotations

from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import (
    decode_arch_def,
    efficientnet_init_weights,
    round_channels,
)
from timm.scheduler.scheduler import Scheduler

__all__ = [
    "Scheduler",
    "SqueezeExcite",
    "decode_arch_def",
    "efficientnet_init_weights",
    "round_channels",
]
