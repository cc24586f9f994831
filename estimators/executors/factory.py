"""Executors from their settings."""

from __future__ import annotations

import os

import torch

from estimators.executors.base import Executor, Measure
from estimators.executors.in_process import InProcess
from estimators.executors.local_processes import LocalProcesses
from estimators.executors.ray_cluster import RayCluster, connected
from estimators.executors.settings import ExecutorSettings


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
        self, settings: ExecutorSettings, device: torch.device, threads: int | None = None
    ) -> None:
        has_gpus = device.type == "cuda"
        if settings.trials_per_gpu is not None and (settings.ray is None or not has_gpus):
            raise ValueError("--trials-per-gpu is for --ray on GPUs; leave it out.")
        if settings.ray is not None:
            if device.index is not None:
                raise ValueError(f"Ray assigns GPUs itself; give --device cuda, not {device}.")
            with connected(settings.ray):
                pass  # nobody is to find out later that there is none
        self._settings, self._device = settings, device
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
            executor = LocalProcesses(
                measure,
                num_workers=settings.workers,
                threads=self._threads,
                gpus=_visible_gpus(self._device),
                trial_timeout=settings.trial_timeout,
            )
        elif settings.ray is not None:
            executor = RayCluster(
                measure,
                address=settings.ray,
                threads=self._threads,
                gpus=1 / (settings.trials_per_gpu or 1) if self._device.type == "cuda" else 0.0,
                trial_timeout=settings.trial_timeout,
            )
        else:
            executor = InProcess(measure)
        self._executors.append(executor)
        return executor


def _visible_gpus(device: torch.device) -> tuple[str, ...]:
    """Lists GPUs to spread workers over: all, or none if one was named or none is used."""
    if device.type != "cuda" or device.index is not None:
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(
        named.split(",") if named is not None else map(str, range(torch.cuda.device_count()))
    )
