"""Weight-sharing supernets: spaces, networks, training, extraction, export."""

from supernets.base import Supernet
from supernets.checkpoint import load_supernet, save_supernet
from supernets.cost import Constraint, Cost, CostModel
from supernets.factory import SPACES, create_space, create_supernet
from supernets.latency import LatencyTable, build_latency_table
from supernets.ofa_checkpoints import load_ofa_checkpoint
from supernets.spaces import Architecture, Decision, SearchSpace
from supernets.subnet_export import export_subnet
from supernets.subnet_folder import load_subnet
from supernets.timing import measure_latency
from supernets.version import __version__

__all__ = [
    "SPACES",
    "Architecture",
    "Constraint",
    "Cost",
    "CostModel",
    "Decision",
    "LatencyTable",
    "SearchSpace",
    "Supernet",
    "__version__",
    "build_latency_table",
    "create_space",
    "create_supernet",
    "export_subnet",
    "load_ofa_checkpoint",
    "load_subnet",
    "load_supernet",
    "measure_latency",
    "save_supernet",
]
