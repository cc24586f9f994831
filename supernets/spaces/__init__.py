"""Search spaces: numpy and the standard library only."""

from supernets.spaces.base import MAX_ENUMERABLE_SIZE, Architecture, Decision, SearchSpace
from supernets.spaces.nasbench201 import NASBench201Space

__all__ = [
    "MAX_ENUMERABLE_SIZE",
    "Architecture",
    "Decision",
    "NASBench201Space",
    "SearchSpace",
]
