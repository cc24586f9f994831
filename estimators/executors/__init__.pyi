"""Executors: where candidates are measured, in this process, in several, or on a cluster."""

from .base import Executor as Executor
from .base import ExecutorError as ExecutorError
from .base import Measure as Measure
from .factory import ExecutorFactory as ExecutorFactory
from .in_process import InProcess as InProcess
from .local_processes import LocalProcesses as LocalProcesses
from .settings import ExecutorSettings as ExecutorSettings
