"""What the two commands that train share: options, the device, and the run around the loop."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from supernets.cli.command_line import (
    INTERRUPTED,
    add_amp_option,
    add_machine_options,
    fail,
    print_result,
)
from supernets.cli.data_options import data_config
from supernets.data.loaders import Loaders, create_loaders
from supernets.data.names import NOT_DECISIVE
from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.distributed import all_ranks_have, start_process_group, stop_process_group
from supernets.runtime.foreign_fields import ForeignFileError
from supernets.runtime.outputs import saying_what_is_safe
from supernets.runtime.ranks import ProcessInfo, ranks_from_environment
from supernets.runtime.run_record import write_args
from supernets.training.loop import TrainingError, TrainResult

#: What continues a run that was asked to stop.
WITH_RESUME = "the same command with --resume"


def finish_training(result: TrainResult, how_to_continue: str = WITH_RESUME, **found: Any) -> int:
    """Prints how a training ended, on the main process, and returns the exit status.

    Args:
        result: How it ended.
        how_to_continue: Printed of one that was asked to stop.
        **found: What else to print of a finished one.
    """
    if ranks_from_environment().is_main:
        block: dict[str, Any] = {
            "status": "finished" if result.is_finished else "interrupted",
            "checkpoint": result.checkpoint,
            "epochs": result.epochs,
            "steps": result.steps,
            **({"last_epoch": result.history[-1]} if result.history else {}),
        }
        how = {} if result.is_finished else {"continue": how_to_continue}
        print_result({**block, **found, **how})
    return 0 if result.is_finished else INTERRUPTED


@contextmanager
def saying_how_to_go_on(output: Path, how_to_continue: str = WITH_RESUME) -> Iterator[None]:
    """Adds to the error of a file what continues the run once that is mended."""

    def describe() -> str:
        has_begun = any(output.glob("last.pt")) or any(output.glob("*/last.pt"))
        command = how_to_continue if has_begun else "the same command again"
        return f"Free space, or mend what is wrong there, and go on with {command}."

    with saying_what_is_safe(describe):
        yield


def add_run_options(
    parser: argparse.ArgumentParser, *, with_resume: bool = True
) -> argparse._ArgumentGroup:
    """Adds the options of a run's files, of resuming and of the device, and returns their group.

    Args:
        parser: Parser that the group of options is added to.
        with_resume: Whether a run is only continued on request; otherwise by the same command.
    """
    group = parser.add_argument_group("run")
    add = group.add_argument
    add(
        "--output",
        type=kinds.path,
        metavar="DIR",
        help="folder for all files of the run (required)",
    )
    if with_resume:
        add("--resume", action="store_true", help="continue the run in --output (default: no)")
        add(
            "--auto-resume",
            action="store_true",
            help="continue the run in --output if there is one, for what starts a command again by "
            "itself: torchrun --max-restarts, schedulers (default: no)",
        )
    add(
        "--checkpoint-minutes",
        type=kinds.MINUTES,
        default=10.0,
        metavar="MIN",
        help="between checkpoints within an epoch (default: 10)",
    )
    add_machine_options(group)
    add_amp_option(group)
    add(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="memory format (default: yes)",
    )
    return group


def check_run_options(args: argparse.Namespace) -> None:
    """Makes sure that the options of ``add_run_options`` are there and in range.

    Raises:
        ValueError: If they are not.
    """
    if args.output is None:
        raise ValueError("--output is required: the folder for the run's files.")
    if getattr(args, "resume", False) and args.auto_resume:
        raise ValueError("--resume wants a run to continue, --auto-resume does not; give one.")
    if not args.checkpoint_minutes > 0:
        raise ValueError(f"--checkpoint-minutes must be positive, got {args.checkpoint_minutes}.")


def open_data(
    args: argparse.Namespace, *, seed: int, device: torch.device, ranks: ProcessInfo
) -> Loaders:
    """Opens the data of the options of data, batch size and workers.

    Args:
        args: Parsed options of a command that trains; ``dataset`` is given.
        seed: Seed of the splits, the order and the augmentation.
        device: Device that the minibatches are made on.
        ranks: Which of the processes of ``torchrun`` this one is.

    Raises:
        ValueError: As ``data_config`` and ``create_loaders``.
    """
    return create_loaders(
        data_config(args),
        batch_size=args.batch_size,
        seed=seed,
        device=device,
        num_workers=args.num_workers,
        rank=ranks.rank,
        world_size=ranks.world_size,
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
    differing = [
        f"{name} {stored.get(name)!r} (now {given.get(name)!r})"
        for name in dict.fromkeys([*stored, *given])
        if name not in NOT_DECISIVE and stored.get(name) != given.get(name)
    ]
    if differing:
        raise ValueError(
            f"{folder} was trained with {', '.join(differing)}; "
            "resume with the settings it was started with, or use a new --output."
        )


def run_training(
    program: str,
    output: Path,
    args: Mapping[str, Any],
    splits: Mapping[str, NDArray[np.int64]],
    train: Callable[[], TrainResult],
    *,
    ranks: ProcessInfo,
    device: torch.device,
    resumed_at: Sequence[int] = (),
    on_finished: Callable[[], Mapping[str, Any]] | None = None,
    how_to_continue: str = "the same command with --resume",
) -> int:
    """Writes what describes the run, trains, and prints how it ended.

    Args:
        program: Name for error messages.
        output: Folder of the run.
        args: The resolved options, for ``args.json``.
        splits: Indices of the images of each split, for ``splits.npz``.
        train: The training, within the process group.
        ranks: Which of the processes of ``torchrun`` this one is.
        device: Device that the training runs on.
        resumed_at: Optimizer steps done in the checkpoints that this process found, which must be
            the same for all processes; empty for a new run.
        on_finished: What the main process does with a finished training; returns what to print of
            it.
        how_to_continue: Printed of one that was asked to stop.

    Returns:
        The exit status.
    """
    if ranks.is_main:
        with saying_how_to_go_on(output, how_to_continue):
            write_args(output, args)
            with atomic_write(output / "splits.npz", "wb") as file:
                np.savez_compressed(file, **splits)  # type: ignore[arg-type]
    start_process_group(ranks, device)
    try:
        if not all_ranks_have(tuple(resumed_at)):
            return fail(
                program,
                ValueError(
                    f"The processes found different checkpoints in --output {output}; it must be "
                    "one folder that all machines share."
                ),
            )
        with saying_how_to_go_on(output, how_to_continue):
            result = train()
    except (ForeignFileError, TrainingError) as error:
        return fail(program, error)
    finally:
        stop_process_group()
    if ranks.is_main:
        block: dict[str, Any] = {
            "status": "finished" if result.is_finished else "interrupted",
            "checkpoint": result.checkpoint,
            "epochs": result.epochs,
            "steps": result.steps,
            **({"last_epoch": result.history[-1]} if result.history else {}),
        }
        if not result.is_finished:
            block["continue"] = how_to_continue
        elif on_finished is not None:
            with (
                saying_how_to_go_on(output, how_to_continue),
                saying_what_is_safe(lambda: f"The training is finished: {result.checkpoint}."),
            ):
                block.update(on_finished())
        print_result(block)
    return 0 if result.is_finished else INTERRUPTED
