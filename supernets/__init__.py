"""Weight-sharing supernets: spaces, networks, training, extraction, export."""

from supernets.base import Supernet
from supernets.checkpoint import load_supernet, save_supernet
from supernets.cost import Constraint, Cost, CostModel
from supernets.export import export_subnet, load_subnet
from supernets.factory import SPACES, create_space, create_supernet
from supernets.spaces import Architecture, Decision, SearchSpace

__all__ = [
    "SPACES",
    "Architecture",
    "Constraint",
    "Cost",
    "CostModel",
    "Decision",
    "SearchSpace",
    "Supernet",
    "create_space",
    "create_supernet",
    "export_subnet",
    "load_subnet",
    "load_supernet",
    "save_supernet",
]
