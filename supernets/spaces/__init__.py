"""Search spaces: numpy and the standard library only."""

from supernets.spaces.base import (
    ENCODINGS,
    MAX_ENUMERABLE_SIZE,
    Architecture,
    Decision,
    Encoding,
    SearchSpace,
)
from supernets.spaces.mobilenetv3 import MobileNetV3Space
from supernets.spaces.nasbench201 import NASBench201Space

__all__ = [
    "ENCODINGS",
    "MAX_ENUMERABLE_SIZE",
    "Architecture",
    "Decision",
    "Encoding",
    "MobileNetV3Space",
    "NASBench201Space",
    "SearchSpace",
]
