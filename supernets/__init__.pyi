"""Weight-sharing supernets: spaces, networks, training, extraction, export."""

from .cost.analytic import Constraint as Constraint
from .cost.analytic import Cost as Cost
from .cost.analytic import CostModel as CostModel
from .cost.latency import LatencyTable as LatencyTable
from .cost.latency import measure_latency_table as measure_latency_table
from .cost.latency_options import LatencyOptions as LatencyOptions
from .cost.timing import measure_latency as measure_latency
from .export.folder import load_subnet as load_subnet
from .export.options import ExportOptions as ExportOptions
from .export.subnet import export_checkpoint as export_checkpoint
from .export.subnet import export_subnet as export_subnet
from .networks.base import Supernet as Supernet
from .networks.factory import create_supernet as create_supernet
from .spaces import Architecture as Architecture
from .spaces import Decision as Decision
from .spaces import SearchSpace as SearchSpace
from .spaces.factory import SPACES as SPACES
from .spaces.factory import create_space as create_space
from .training.checkpoint import load_supernet as load_supernet
from .training.checkpoint import save_supernet as save_supernet
from .training.ofa_checkpoints import load_ofa_checkpoint as load_ofa_checkpoint
from .version import __version__ as __version__
