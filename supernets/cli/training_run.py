"""How the commands that train end, and what they say of the error of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supernets.cli.command_line import INTERRUPTED, print_result
from supernets.runtime.outputs import saying_what_is_safe
from supernets.runtime.ranks import ranks_from_environment

if TYPE_CHECKING:
    from supernets.training.loop import TrainResult

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
