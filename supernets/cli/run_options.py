"""What commands ask about the machine, and about the files of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import supernets.runtime.option_types as kinds
from supernets.runtime.options import REQUIRED, Options, option
from supernets.runtime.ranks import ProcessInfo

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MachineOptions(Options):
    """What every command asks about the machine.

    Args:
        num_workers: Threads that read images into memory, or processes that read minibatches.
        device: Name of what to compute on.
        threads: CPU threads; None leaves PyTorch's own choice.
    """

    num_workers: int = option(2, "for decoding", kinds.WORKERS, metavar="N")
    device: str = option("auto", "cpu, cuda, cuda:N, mps, xpu …", kinds.name, metavar="NAME")
    threads: int | None = option(
        None, "CPU threads", kinds.THREADS, metavar="N", default_text="PyTorch's choice"
    )

    def set_up(self, ranks: ProcessInfo | None = None) -> torch.device:
        """Sets the number of threads, and returns the device.

        Args:
            ranks: Which of the processes of ``torchrun`` this one is, which each have their own
                accelerator; None for a single process.

        Raises:
            ValueError: If the device's name is unknown or this machine has no such device.
        """
        import torch

        from supernets.runtime.device import device_of_rank

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return device_of_rank(self.device, ranks or ProcessInfo())


@dataclass(frozen=True)
class AmpOptions(MachineOptions):
    """The same with the precision, for commands that have no recipe which says it.

    Args:
        amp: Whether to compute in bfloat16 autocast; None where it is faster.
    """

    amp: bool | None = option(
        None, "bfloat16 autocast", is_switch=True, default_text="where it is faster"
    )


@dataclass(frozen=True)
class RunOptions(Options):
    """What commands that train ask about the files of a run.

    Args:
        output: Folder for all files.
        resume: Whether to continue the run that is there.
        auto_resume: Whether to continue the run that is there, if there is one.
        checkpoint_minutes: Minutes between checkpoints within an epoch.

    Raises:
        ValueError: If a value is out of range, missing, or they do not go together.
    """

    output: Path = option(
        None, "folder for all files of the run", kinds.path, metavar="DIR", default_text=REQUIRED
    )
    resume: bool = option(False, "continue the run in --output")
    auto_resume: bool = option(
        False,
        "continue the run in --output if there is one, for what starts a command again by itself: "
        "torchrun --max-restarts, schedulers",
    )
    checkpoint_minutes: float = option(
        10.0, "between checkpoints within an epoch", kinds.MINUTES, metavar="MIN"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.auto_resume:
            raise ValueError("--resume wants a run to continue, --auto-resume does not; give one.")

    @property
    def resumes(self) -> bool | None:
        """Whether the run continues another; None if there is one."""
        return None if self.auto_resume else self.resume
