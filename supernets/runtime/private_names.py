"""Names that timm does not offer publicly, in one place for the day a version of it moves them.

What an export copies as ``load_with_timm.py`` has imports of its own, as it works without this
package.
"""

from __future__ import annotations

from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import (
    decode_arch_def,
    efficientnet_init_weights,
    round_channels,
)
from timm.models.resnet import Bottleneck as ResNetBottleneck
from timm.models.vision_transformer import Block as VisionTransformerBlock
from timm.scheduler.scheduler import Scheduler

__all__ = [
    "ResNetBottleneck",
    "Scheduler",
    "SqueezeExcite",
    "VisionTransformerBlock",
    "decode_arch_def",
    "efficientnet_init_weights",
    "round_channels",
]
