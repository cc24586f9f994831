"""What surrounds the loop of a training: its folder, its processes, and how it is continued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from supernets.data.names import NOT_DECISIVE
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.distributed import (
    all_ranks_have,
    start_process_group,
    stop_process_group,
)
from supernets.runtime.instances import check_switch
from supernets.runtime.outputs import Outputs
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.run_record import write_args
from supernets.runtime.settings_difference import diff_settings
from supernets.training.loop import TrainingError


def check_arguments(
    *, num_workers: int, checkpoint_minutes: float, resume: bool | None = None
) -> None:
    """Makes sure of what a training is asked for beside its job, before anything is done.

    Args:
        num_workers: Threads or processes that read images.
        checkpoint_minutes: Minutes between checkpoints.
        resume: Whether to continue the run that is there; None if there is one.

    Raises:
        ValueError: If one is out of range, or of another kind.
    """
    kinds.WORKERS.check("num_workers", num_workers)
    kinds.MINUTES.check("checkpoint_minutes", checkpoint_minutes)
    check_switch("resume", resume, may_be_none=True)


def is_resumed(output: Path, checkpoints: Sequence[Path], resume: bool | None) -> bool:
    """Returns whether a run continues another.

    Args:
        output: Folder of the run.
        checkpoints: Files of which a run that has begun has at least one.
        resume: Whether it is to; None if there is one.

    Raises:
        ValueError: If there is one that is not to be continued.
    """
    has_begun = any(file.exists() for file in checkpoints)
    if has_begun and resume is False:
        raise already_trained(output)
    return has_begun or bool(resume)


def already_trained(output: Path) -> ValueError:
    """Builds the error for an output folder with a training that is not to be resumed."""
    return ValueError(
        f"{output} already holds a training; add --resume to continue it, "
        "or choose another --output."
    )


def check_same_settings(folder: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Makes sure that a training is resumed with what it was started with.

    Args:
        folder: Folder of the training, named in the error message.
        stored: All that decides the result, by name, as the checkpoint has it.
        given: The same of this run.

    Raises:
        ValueError: If they differ; names all that does.
    """
    names = [name for name in dict.fromkeys([*given, *stored]) if name not in NOT_DECISIVE]
    # what one of them does not name is as where it is None
    old, new = ({name: each.get(name) for name in names} for each in (stored, given))
    differences = diff_settings(old, new)
    if differences:
        raise ValueError(
            f"{folder} was started with other settings: {differences}; "
            "resume with the settings it was started with, or use a new --output."
        )


@contextmanager
def running(
    outputs: Outputs,
    output: Path,
    splits: Mapping[str, NDArray[np.int64]],
    *,
    ranks: ProcessInfo,
    device: torch.device,
    args: Mapping[str, Any],
    resumed_at: Sequence[int] = (),
) -> Iterator[None]:
    """Surrounds the loop of a prepared training: writes what describes it, joins the processes.

    Args:
        outputs: What the run writes, which begins here.
        output: Folder of the run.
        splits: Indices of the images of each split, for ``splits.npz``.
        ranks: Which of the processes of ``torchrun`` this one is.
        device: Device that the training runs on.
        resumed_at: Optimizer steps done in the checkpoints that this process found, which must be
            the same for all processes; empty for a new run.
        args: What ``args.json`` is to say of the call.

    Raises:
        TrainingError: If the processes found different checkpoints.
    """
    outputs.begin()
    if ranks.is_main:
        write_args(output, args)
        with atomic_write(output / "splits.npz", "wb") as file:
            np.savez_compressed(file, **splits)  # type: ignore[arg-type]
    start_process_group(ranks, device)
    try:
        if not all_ranks_have(tuple(resumed_at)):
            raise TrainingError(
                f"The processes found different checkpoints in --output {output}; it must be one "
                "folder that all machines share."
            )
        yield
    finally:
        stop_process_group()
