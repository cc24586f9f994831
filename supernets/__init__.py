"""Weight-sharing supernets: spaces, networks, training, extraction, export."""

from supernets.cost.analytic import Constraint, Cost, CostModel
from supernets.cost.latency import LatencyTable, build_latency_table
from supernets.cost.timing import measure_latency
from supernets.export.folder import load_subnet
from supernets.export.subnet import export_subnet
from supernets.networks.base import Supernet
from supernets.networks.factory import SPACES, create_space, create_supernet
from supernets.spaces import Architecture, Decision, SearchSpace
from supernets.training.checkpoint import load_supernet, save_supernet
from supernets.training.ofa_checkpoints import load_ofa_checkpoint
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
