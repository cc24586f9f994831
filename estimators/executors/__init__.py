"""Executors: where candidates are measured, in this process, in several, or on a cluster."""

from estimators.executors.base import Executor, ExecutorError, Measure
from estimators.executors.in_process import InProcess
from estimators.executors.local_processes import LocalProcesses

__all__ = ["Executor", "ExecutorError", "InProcess", "LocalProcesses", "Measure"]
