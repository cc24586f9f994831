"""Which of the processes of ``torchrun`` this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessInfo:
    """Which process this is.

    Args:
        rank: Index among all processes.
        local_rank: Index among the processes of this machine, and of its accelerator.
        world_size: Number of processes.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


def ranks_from_environment() -> ProcessInfo:
    """Reads what ``torchrun`` set; a single process without it."""
    return ProcessInfo(
        rank=int(os.environ.get("RANK", "0")),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
    )
