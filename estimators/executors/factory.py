"""Executors from their settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from estimators.executors.base import Executor, Measure
from estimators.executors.in_process import InProcess
from estimators.executors.settings import ExecutorSettings

if TYPE_CHECKING:
    import torch


class ExecutorFactory:
    """Makes executors, and knows what became of their workers.

    Args:
        settings: Where candidates are measured.
        device: Device that candidates are measured on.
        threads: Number of threads of each worker; None for 1.

    Raises:
        ValueError: If the settings do not go with the device, Ray is missing, or there is no such
            cluster.
    """

    def __init__(
        self, settings: ExecutorSettings, device: torch.device | str, threads: int | None = None
    ) -> None:
        self._kind, _, self._index = str(device).partition(":")
        has_gpus = self._kind == "cuda"
        if settings.trials_per_gpu is not None and (settings.ray is None or not has_gpus):
            raise ValueError("--trials-per-gpu is for --ray on GPUs; leave it out.")
        if settings.ray is not None:
            if self._index:
                raise ValueError(f"Ray assigns GPUs itself; give --device cuda, not {device}.")
            from estimators.executors.ray_cluster import connected

            with connected(settings.ray):
                pass  # nobody is to find out later that there is none
        self._settings = settings
        self._threads = 1 if threads is None else threads
        self._executors: list[Executor] = []

    @property
    def lost_workers(self) -> dict[str, int]:
        """How often a worker was lost with its candidate, to be printed; empty in this process."""
        if not self._settings.is_elsewhere:
            return {}
        return {"lost_workers": sum(executor.num_lost for executor in self._executors)}

    def create(self, measure: Measure) -> Executor:
        """Makes an executor.

        Args:
            measure: Measurement that the executor does.
        """
        settings = self._settings
        executor: Executor
        if settings.workers is not None:
            from estimators.executors.local_processes import LocalProcesses  # loads PyTorch

            executor = LocalProcesses(
                measure,
                num_workers=settings.workers,
                threads=self._threads,
                gpus=self._visible_gpus(),
                trial_timeout=settings.trial_timeout,
            )
        elif settings.ray is not None:
            from estimators.executors.ray_cluster import RayCluster

            executor = RayCluster(
                measure,
                address=settings.ray,
                threads=self._threads,
                gpus=1 / (settings.trials_per_gpu or 1) if self._kind == "cuda" else 0.0,
                trial_timeout=settings.trial_timeout,
            )
        else:
            executor = InProcess(measure)
        self._executors.append(executor)
        return executor

    def _visible_gpus(self) -> tuple[str, ...]:
        """Lists GPUs to spread workers over: all, or none if one was named or none is used."""
        if self._kind != "cuda" or self._index:
            return ()
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        if named is not None:
            return tuple(named.split(","))
        import torch  # here, as what computes on no GPU need not load it

        return tuple(map(str, range(torch.cuda.device_count())))
