"""Search spaces: numpy and the standard library only."""

from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import MAX_ENUMERABLE_SIZE, SearchSpace
from supernets.spaces.cells import CellSpace, Edge
from supernets.spaces.encodings import ENCODINGS, Encoding
from supernets.spaces.mnasnet import MnasNetSpace
from supernets.spaces.mobilenetv3 import MobileNetV3Space
from supernets.spaces.nasbench101 import NASBench101Space
from supernets.spaces.nasbench201 import NASBench201Space
from supernets.spaces.nasbench_macro import NASBenchMacroSpace
from supernets.spaces.nasnet import NASNetSpace
from supernets.spaces.proxylessnas import ProxylessNASSpace
from supernets.spaces.resnet50d import ResNet50DSpace
from supernets.spaces.vit import ViTSpace

__all__ = [
    "ENCODINGS",
    "MAX_ENUMERABLE_SIZE",
    "Architecture",
    "CellSpace",
    "Decision",
    "Edge",
    "Encoding",
    "MnasNetSpace",
    "MobileNetV3Space",
    "NASBench101Space",
    "NASBench201Space",
    "NASBenchMacroSpace",
    "NASNetSpace",
    "ProxylessNASSpace",
    "ResNet50DSpace",
    "SearchSpace",
    "ViTSpace",
]
