"""The checkpoints of searches by gradients: what they hold, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from supernets.runtime.foreign_fields import check_dict, check_field
from supernets.training.checkpoint import read_dict
from supernets.training.checkpoint_fields import steps_done

FORMAT = "paceline-differentiable-search"
VERSION = 1


def read_search_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of a differentiable search onto the CPU.

    Raises:
        ValueError: If the file is missing, truncated, or something else.
    """
    what = "a checkpoint of a differentiable search; expected one from supernet-search"
    checkpoint = read_dict(path, FORMAT, VERSION, what)
    steps_done(path, checkpoint)
    check_dict(path, checkpoint, "alphas")
    stage, op_mask, history = (checkpoint.get(name) for name in ("stage", "alive", "history"))
    check_field(type(stage) is int and stage >= 0, path, "stage", "a whole number", stage)
    is_mask = (
        isinstance(op_mask, torch.Tensor) and op_mask.dtype == torch.bool and op_mask.dim() == 3
    )
    check_field(is_mask, path, "alive", "which operations there are, as a tensor", op_mask)
    is_list = isinstance(history, list) and all(isinstance(row, dict) for row in history)
    check_field(is_list, path, "history", "a list of epochs", history)
    return checkpoint
