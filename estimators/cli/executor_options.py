"""The options of a command line that say where candidates are measured."""

from __future__ import annotations

import argparse
import os

import torch

import supernets.runtime.option_types as kinds
from estimators.cli.estimator_options import flag
from estimators.executors.base import Executor, Measure
from estimators.executors.in_process import InProcess
from estimators.executors.local_processes import LocalProcesses
from estimators.executors.ray_cluster import RayCluster, connected


def add_executor_options(group: argparse._ArgumentGroup) -> None:
    """Adds the flags."""
    add = group.add_argument
    add(
        "--workers",
        type=kinds.THREADS,
        metavar="N",
        help="measure in N processes of this machine, spread over its GPUs, with --threads each, 1 "
        "if not given (default: in this process)",
    )
    add(
        "--ray",
        type=kinds.name,
        metavar="ADDRESS",
        help="measure on a Ray cluster, auto for that of this machine; each candidate takes "
        "--threads cores, 1 if not given, and with --device cuda a GPU (default: no)",
    )
    add(
        "--trials-per-gpu",
        type=kinds.POSITIVE_INT,
        metavar="N",
        help="of --ray: candidates that share a GPU (default: 1)",
    )
    add(
        "--trial-timeout",
        type=kinds.SECONDS,
        metavar="S",
        help="of --workers and --ray: seconds after which a candidate is stopped and fails "
        "(default: none)",
    )


class ExecutorOptions:
    """Makes executors as the options say.

    Args:
        args: The parsed options.
        device: Device that candidates are measured on.

    Raises:
        ValueError: If they do not go together, a value is out of range, Ray is missing, or there is
            no such cluster.
    """

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        _check(args, device)
        if args.ray is not None:
            with connected(args.ray):
                pass  # nobody is to find out later that there is none
        self._args, self._device = args, device
        self._executors: list[Executor] = []

    @property
    def lost_workers(self) -> dict[str, int]:
        """How often a worker was lost with its candidate, to be printed; empty in this process."""
        if not is_elsewhere(self._args):
            return {}
        return {"lost_workers": sum(executor.num_lost for executor in self._executors)}

    def create(self, measure: Measure) -> Executor:
        """Makes an executor.

        Args:
            measure: Measurement that the executor does.
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


def is_elsewhere(args: argparse.Namespace) -> bool:
    """Returns whether candidates are to be measured in other processes."""
    return args.workers is not None or args.ray is not None


def _check(args: argparse.Namespace, device: torch.device) -> None:
    """Makes sure that the options go together and are in range."""
    if args.workers is not None and args.ray is not None:
        raise ValueError("--workers is for this machine and --ray for a cluster; give one.")
    if args.trial_timeout is not None and not is_elsewhere(args):
        raise ValueError(
            "--trial-timeout stops a process that measures, and so needs --workers (1 is enough) "
            "or --ray."
        )
    if args.trials_per_gpu is not None and (args.ray is None or device.type != "cuda"):
        raise ValueError("--trials-per-gpu is for --ray on GPUs; leave it out.")
    if args.ray is not None and device.index is not None:
        raise ValueError(f"Ray assigns GPUs itself; give --device cuda, not {device}.")
    for name in ("workers", "trials_per_gpu"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"{flag(name)} must be at least 1, got {value}.")
    if args.trial_timeout is not None and not args.trial_timeout > 0:
        raise ValueError(f"--trial-timeout must be positive, got {args.trial_timeout}.")


def _visible_gpus(device: torch.device) -> tuple[str, ...]:
    """Lists GPUs to spread workers over: all, or none if one was named or none is used."""
    if device.type != "cuda" or device.index is not None:
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(
        named.split(",") if named is not None else map(str, range(torch.cuda.device_count()))
    )
