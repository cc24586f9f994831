"""Where candidates are measured, as options of a command."""

from __future__ import annotations

from dataclasses import dataclass

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option


@dataclass(frozen=True)
class ExecutorSettings(Options):
    """Where candidates are measured; by default in this process, one after another.

    Args:
        workers: Number of processes of this machine, spread over its GPUs; None for none.
        ray: Address of a Ray cluster, "auto" for that of this machine; None for none.
        trials_per_gpu: Number of candidates of a cluster that share a GPU; None for one.
        trial_timeout: Seconds after which a candidate is stopped and fails; None for no limit.

    Raises:
        ValueError: If they do not go together.
    """

    workers: int | None = option(
        None,
        "measure in N processes of this machine, spread over its GPUs, with --threads each, 1 if "
        "not given",
        kinds.THREADS,
        metavar="N",
        default_text="in this process",
    )
    ray: str | None = option(
        None,
        "measure on a Ray cluster, auto for that of this machine; each candidate takes --threads "
        "cores, 1 if not given, and with --device cuda a GPU",
        kinds.name,
        metavar="ADDRESS",
        default_text="no",
    )
    trials_per_gpu: int | None = option(
        None,
        "of --ray: candidates that share a GPU",
        kinds.POSITIVE_INT,
        metavar="N",
        default_text="1",
    )
    trial_timeout: float | None = option(
        None,
        "of --workers and --ray: seconds after which a candidate is stopped and fails",
        kinds.SECONDS,
        metavar="S",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers is not None and self.ray is not None:
            raise ValueError("--workers is for this machine and --ray for a cluster; give one.")
        if self.trial_timeout is not None and not self.is_elsewhere:
            raise ValueError(
                "--trial-timeout stops a process that measures, and so needs --workers (1 is "
                "enough) or --ray."
            )

    @property
    def is_elsewhere(self) -> bool:
        """Whether candidates are measured in other processes."""
        return self.workers is not None or self.ray is not None
