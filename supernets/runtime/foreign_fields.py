"""Checks the fields of files that others may have written, before anything is made of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.option_types import shown
from supernets.runtime.outputs import WorkError
from supernets.runtime.text_files import read_text

if TYPE_CHECKING:
    from torch import Tensor


class ForeignFileError(WorkError, ValueError):
    """A file holds something other than it should; the message names the file and the field."""


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        what: Words for what was expected, for messages.

    Raises:
        ForeignFileError: If it cannot be read or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ForeignFileError(f"{path} is not {what}: it is nested too deep.") from error
    except (OSError, ValueError) as error:
        raise ForeignFileError(f"{path} is not {what}: {error}.") from error


@contextmanager
def fields_of(path: Path) -> Iterator[None]:
    """Names the file in errors that come of a field that is missing or of another kind.

    Raises:
        ForeignFileError: If a field is so, in place of what Python and PyTorch raise then.
    """
    try:
        yield
    except KeyError as error:
        raise ForeignFileError(
            f"{path} lacks the field {error}; use the file as it was."
        ) from error
    except (AttributeError, IndexError, OverflowError, RuntimeError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ForeignFileError(
            f"{path} holds a field of another kind than expected ({lines[0]}); use the file as it "
            "was written."
        ) from error


@contextmanager
def naming_field(path: Path, field: str) -> Iterator[None]:
    """Names the file and a field of it in errors of what is made of its value.

    Raises:
        ForeignFileError: If there is such an error, in its place.
    """
    try:
        yield
    except ForeignFileError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise ForeignFileError(f"{path}: {field}: {error}") from error


def check_field(is_right: bool, path: Path, field: str, expected: str, value: object) -> None:
    """Makes sure of one thing about a field.

    Args:
        is_right: Whether it is as expected.
        path: The file, named in the error message.
        field: Name of the field in the file.
        expected: Words for what the field must be.
        value: Value of the field.

    Raises:
        ForeignFileError: If it is not right.
    """
    if not is_right:
        raise ForeignFileError(f"{path}: {field} must be {expected}, got {shown(value)}.")


def check_dict(path: Path, holder: object, field: str, required: Collection[str] = ()) -> Any:
    """Returns a field that must be a dict by names.

    Args:
        path: The file, for messages.
        holder: The mapping that has the field.
        field: Name of the field in the file.
        required: Names that it must have.

    Raises:
        ForeignFileError: If it is missing or something else.
    """
    found = holder.get(field) if isinstance(holder, Mapping) else None
    is_named = isinstance(found, dict) and all(isinstance(name, str) for name in found)
    check_field(is_named, path, field, "values by name", found)
    assert isinstance(found, dict)
    for name in required:
        check_field(name in found, path, field, f"values by name with {name!r}", sorted(found))
    return found


def check_version(path: Path, content: Mapping[str, Any], newest: int) -> None:
    """Makes sure that a file is of a version that can be read; one without is of the first.

    Args:
        path: The file, for messages.
        content: Content of the file.
        newest: The newest version that can be read.

    Raises:
        ForeignFileError: If it is not.
    """
    version = content.get("version", 1)
    check_field(type(version) is int and version > 0, path, "version", "a whole number", version)
    if version > newest:
        raise ForeignFileError(
            f"{path} has version {shown(version)}, this version reads up to {newest}; update "
            "paceline."
        )


def check_text(path: Path, holder: object, field: str) -> str:
    """Returns a field that must be a text.

    Raises:
        ForeignFileError: If it is missing or something else.
    """
    found = holder.get(field) if isinstance(holder, Mapping) else None
    check_field(isinstance(found, str), path, field, "a text", found)
    assert isinstance(found, str)
    return found


def check_numbers(
    path: Path, field: str, found: object, *, may_lack: bool = False
) -> NDArray[np.float64]:
    """Returns lists of finite numbers, which may be nested, as an array.

    Args:
        path: The file, for messages.
        field: Name of the field in the file, for messages.
        found: The field's value.
        may_lack: Whether a number may be None, which becomes nan.

    Raises:
        ForeignFileError: If it is something else, or the lists are not of one length.
    """
    numbers: NDArray[np.float64] | None = None
    with suppress(OverflowError, TypeError, ValueError):
        values = np.array(found, dtype=object)  # refuses lists of different lengths
        lacks = np.array([value is None for value in values.flat], np.bool_)
        if values.ndim and all(type(v) in (int, float) or v is None for v in values.flat):
            numbers = values.astype(np.float64)
            known = numbers.ravel()[~lacks] if may_lack else numbers
            numbers = numbers if np.isfinite(known).all() else None
    check_field(numbers is not None, path, field, "lists of finite numbers", found)
    assert numbers is not None
    return numbers


def check_shapes(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Makes sure that weights are those of a network, by name and shape.

    Args:
        path: The file, for messages.
        found: Weights that the file holds, by name.
        expected: Weights of the network by name, which may be on the meta device.

    Raises:
        ForeignFileError: If they are not; names the first of them.
    """
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is not of this network" for name in found if name not in expected]
    wrong += [
        f"{name} is {tuple(found[name].shape)} in place of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if wrong:
        raise ForeignFileError(
            f"The weights in {path} do not fit its settings: {', '.join(wrong[:3])}"
            f"{', …' if len(wrong) > 3 else ''}; use the file as it was written."
        )


def check_weights(path: Path, holder: Mapping[str, Any], field: str = "state_dict") -> None:
    """Makes sure that a field holds tensors by name, without a NaN or infinity.

    Raises:
        ForeignFileError: If it does not.
    """
    import torch  # here, as most files hold no tensors, and PyTorch takes seconds

    for name, tensor in check_dict(path, holder, field).items():
        is_plain = (
            isinstance(tensor, torch.Tensor)
            and tensor.layout == torch.strided
            and not (tensor.is_meta or tensor.is_complex() or tensor.is_quantized)
        )
        check_field(is_plain, path, f"{field}[{name!r}]", "a tensor of numbers", tensor)
        check_finite(path, f"{field}[{name!r}]", tensor)


def check_finite(path: Path, field: str, tensor: Tensor) -> None:
    """Makes sure that a tensor has neither NaN nor infinity.

    Raises:
        ForeignFileError: If it has.
    """
    if tensor.is_floating_point() and not tensor.isfinite().all():
        number = int((~tensor.isfinite()).sum())
        raise ForeignFileError(
            f"{path}: {field} has {number} of {tensor.numel()} values that are NaN or infinite; "
            "its training has diverged or the file is damaged, use another."
        )
