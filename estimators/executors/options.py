"""The options of a command line that say where candidates are measured."""

from __future__ import annotations

import argparse
import os

import torch

from estimators.executors.base import Executor, Measure
from estimators.executors.in_process import InProcess
from estimators.executors.local_processes import LocalProcesses
from estimators.executors.ray_cluster import HOW_TO_INSTALL, RayCluster, is_ray_installed


def add_executor_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags."""
    add = group.add_argument
    add(
        "--workers",
        type=int,
        metavar="N",
        help="measure in N processes of this machine, spread over its GPUs, with --threads each "
        "(default: in this process)",
    )
    add(
        "--ray",
        metavar="ADDRESS",
        help="measure on a Ray cluster, auto for that of this machine; --threads is cores of each "
        "candidate (default: no)",
    )
    add(
        "--trials-per-gpu",
        type=int,
        metavar="N",
        help="of --ray: candidates that share a GPU (default: 1)",
    )
    add(
        "--trial-timeout",
        type=float,
        metavar="S",
        help="of --workers and --ray: seconds after which a candidate is stopped and fails "
        "(default: none)",
    )


class ExecutorOptions:
    """Makes executors as the options say.

    Args:
        args: The options.
        device: Where candidates are measured.

    Raises:
        ValueError: If they do not go together, a value is out of range, or Ray is missing.
    """

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        if args.workers is not None and args.ray is not None:
            raise ValueError("--workers is for this machine and --ray for a cluster; give one.")
        if args.workers is not None and args.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {args.workers}.")
        if args.trial_timeout is not None and args.workers is None and args.ray is None:
            raise ValueError(
                "--trial-timeout stops a process that measures, and so needs --workers (1 is "
                "enough) or --ray."
            )
        if args.trial_timeout is not None and not args.trial_timeout > 0:
            raise ValueError(f"--trial-timeout must be positive, got {args.trial_timeout}.")
        if args.trials_per_gpu is not None and (args.ray is None or device.type != "cuda"):
            raise ValueError("--trials-per-gpu is for --ray with --device cuda; leave it out.")
        if args.trials_per_gpu is not None and args.trials_per_gpu < 1:
            raise ValueError(f"--trials-per-gpu must be at least 1, got {args.trials_per_gpu}.")
        if args.ray is not None and not is_ray_installed():
            raise ValueError(HOW_TO_INSTALL)
        self._args, self._device = args, device
        self._executors: list[Executor] = []

    @property
    def is_elsewhere(self) -> bool:
        """Whether candidates are measured in other processes."""
        return self._args.workers is not None or self._args.ray is not None

    @property
    def num_lost(self) -> int:
        """How often a worker was lost with its candidate."""
        return sum(executor.num_lost for executor in self._executors)

    def create(self, measure: Measure) -> Executor:
        """Makes an executor.

        Args:
            measure: What it is to do.
        """
        self._executors.append(self._create(measure))
        return self._executors[-1]

    def _create(self, measure: Measure) -> Executor:
        args = self._args
        threads = 1 if args.threads is None else args.threads
        if args.workers is not None:
            return LocalProcesses(
                measure,
                num_workers=args.workers,
                threads=threads,
                gpus=_visible_gpus(self._device),
                trial_timeout=args.trial_timeout,
            )
        if args.ray is not None:
            return RayCluster(
                measure,
                address=args.ray,
                threads=threads,
                gpus=1 / (args.trials_per_gpu or 1) if self._device.type == "cuda" else 0.0,
                trial_timeout=args.trial_timeout,
            )
        return InProcess(measure)


def _visible_gpus(device: torch.device) -> tuple[str, ...]:
    """Those to spread workers over: all, or none where one was named or none is used."""
    if device.type != "cuda" or device.index is not None:
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(
        named.split(",") if named is not None else map(str, range(torch.cuda.device_count()))
    )
