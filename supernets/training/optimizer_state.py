"""Gives an optimizer the state that a checkpoint has of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernets.runtime.foreign_fields import check_dict, check_field, check_finite, fields_of

#: What a schedule changes from step to step.
_SCHEDULED = ("lr",)
#: How averages are called, which are no plain numbers in any optimizer.
_TENSORS = ("momentum", "exp_", "max_exp", "square_")
_MAX_NUMBER = 2**53


def restore_optimizer(
    path: Path,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    *,
    is_scheduled: bool = True,
) -> None:
    """Loads the state of an optimizer of the same recipe over the same parameters.

    Args:
        path: The checkpoint, for messages.
        optimizer: The optimizer, fresh and with the settings of the recipe.
        state: State that its ``state_dict`` returned when the checkpoint was written.
        is_scheduled: Whether a schedule sets the learning rate anew at every step.

    Raises:
        ForeignFileError: If it is of another optimizer, or none.
    """
    field = "the optimizer's state"
    fresh = optimizer.state_dict()["param_groups"]
    groups = state.get("param_groups")
    is_list = isinstance(groups, list) and all(isinstance(group, dict) for group in groups)
    check_field(is_list and len(groups or ()) == len(fresh), path, field, "its groups", groups)
    assert isinstance(groups, list)
    for own, stored in zip(fresh, groups, strict=True):
        for name, value in own.items():
            check_field(name in stored, path, field, f"with {name!r}", sorted(map(str, stored)))
            if is_scheduled and name in _SCHEDULED:
                is_right = type(stored[name]) is type(value) and math.isfinite(stored[name])
            else:
                is_tensor = isinstance(stored[name], Tensor)  # compares element by element
                is_right = not is_tensor and _plain(stored[name]) == _plain(value)
            check_field(is_right, path, f"{field}, {name}", repr(value), stored[name])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    by_index = {
        index: parameter
        for index, parameter in zip(
            (i for group in fresh for i in group["params"]), parameters, strict=True
        )
    }
    stored_state = state.get("state")
    check_field(isinstance(stored_state, dict), path, field, "by parameter", stored_state)
    assert isinstance(stored_state, dict)
    names_by_dim: dict[int, set[str]] = {}
    for index, values in stored_state.items():
        check_field(index in by_index, path, field, "of its parameters", index)
        check_dict(path, {field: values}, field)
        for name, value in values.items():
            if isinstance(value, Tensor):
                _check_shape(path, f"{field}, {name}", value, by_index[index])
                check_finite(path, f"{field}, {name}", value)
            else:
                is_number = type(value) in (int, float) and abs(value) <= _MAX_NUMBER
                is_none = value is None and name == "momentum_buffer"  # of SGD without momentum
                is_right = is_none or (is_number and not name.startswith(_TENSORS))
                check_field(is_right, path, f"{field}, {name}", "as its optimizer has it", value)
        names = {*values}
        alike = names_by_dim.setdefault(by_index[index].dim(), names)
        check_field(names == alike, path, field, f"with {sorted(alike)}", sorted(names))
    with fields_of(path):
        optimizer.load_state_dict(dict(state))


def _check_shape(path: Path, field: str, found: Tensor, parameter: Tensor) -> None:
    """Averages have the shape of their parameter, or of its rows and columns."""
    is_alike = (
        found.numel() <= 1
        or (found.dim() < parameter.dim() and set(found.shape) <= set(parameter.shape))
        or (
            found.dim() == parameter.dim()
            and all(a in (1, b) for a, b in zip(found.shape, parameter.shape, strict=True))
        )
    )
    expected = f"of the shape {tuple(parameter.shape)} of its parameter"
    check_field(is_alike, path, field, expected, tuple(found.shape))


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
