"""Reads released weights from a file, whichever way it was saved.

Files of ``torch.save``, old and new, and of safetensors; weights alone, or within the wrappers that
trainings put around them.
"""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from supernets.networks.names import OFA_WEIGHTS
from supernets.runtime.foreign_fields import ForeignFileError, check_finite

_logger = logging.getLogger(__name__)

#: Where files of trainings keep averaged weights, and raw ones; the first there is is taken.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_RAW = ("state_dict", "model_state_dict", "model", "net", "network", "module")
#: Wrappers within wrappers.
_MAX_WRAPPERS = 3
#: What PyTorch's ``AveragedModel`` has beside weights.
_OF_AVERAGING = ("n_averaged",)
#: How files of ``torch.save`` start that are older than PyTorch 1.6; later ones are ZIP archives.
_OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class Released:
    """Weights as a file has them.

    Args:
        path: The file.
        tensors: The weights, by the names they have in the file.
        field: Field of the file that holds them, such as ``state_dict_ema``; empty if it holds
            nothing else.
        is_averaged: Whether they are averaged ones.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    field: str
    is_averaged: bool

    @property
    def provenance(self) -> dict[str, Any]:
        """Which weights were taken, as plain values."""
        return {"file": self.path.name, "field": self.field, "is_averaged": self.is_averaged}


def read_released(path: Path, weights: str = "ema", *, expected: str) -> Released:
    """Reads the weights of a file.

    Args:
        path: The file.
        weights: Which to take where a file has both, one of ``OFA_WEIGHTS``.
        expected: What the file should be, for messages.

    Raises:
        ValueError: If the file is missing, truncated or foreign, has a value that is NaN or
            infinite, or lacks the raw weights that were asked for.
    """
    if weights not in OFA_WEIGHTS:
        raise ValueError(f"Unknown weights {weights!r}; choose from {', '.join(OFA_WEIGHTS)}.")
    if not path.is_file():
        raise ValueError(f"There is no file at {path}; {expected}.")
    try:
        if path.suffix == ".safetensors":
            return _weights_among(load_file(path), path, weights, expected)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                is_whole = archive.testzip() is None  # torch.load compares no checksums
        else:
            with path.open("rb") as file:
                is_whole = file.read(len(_OLD_MAGIC)) == _OLD_MAGIC
        contents = torch.load(path, map_location="cpu", weights_only=True) if is_whole else None
    except ForeignFileError:
        raise
    except SafetensorError as error:
        raise _foreign(path, expected) from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except (
        AssertionError,
        EOFError,
        LookupError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:  # whatever decoding damaged bytes meets
        raise _foreign(path, expected) from error
    return _weights_among(contents, path, weights, expected)


def _weights_among(contents: object, path: Path, asked: str, expected: str) -> Released:
    """The weights of a file that were asked for; the averaged ones also where it has no others."""
    fields: list[str] = []
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(contents, dict):
            break
        averaged = [name for name in _AVERAGED if isinstance(contents.get(name), dict)]
        raw = [name for name in _RAW if isinstance(contents.get(name), dict)]
        if not averaged and not raw:
            break
        if asked == "raw" and not raw:
            raise ValueError(
                f"{path} holds averaged weights ({averaged[0]}) and no raw ones; leave "
                "--ofa-weights raw out."
            )
        taken = raw[0] if asked == "raw" or not averaged else averaged[0]
        if averaged and raw:
            _logger.warning(
                "%s holds averaged weights (%s) beside raw ones (%s); the %s ones are taken, see "
                "--ofa-weights.",
                path,
                averaged[0],
                ", ".join(raw),
                "raw" if taken in raw else "averaged",
            )
        else:
            _logger.info("%s holds its weights as %s.", path, taken)
        fields.append(taken)
        contents = contents[taken]
    if not isinstance(contents, dict) or not contents:
        raise _foreign(path, expected)
    if not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided
        for name, tensor in contents.items()
    ):
        raise _foreign(path, expected)
    weights = {
        name: tensor
        for name, tensor in contents.items()
        if name.split(".")[-1] not in _OF_AVERAGING
    }
    for name, tensor in weights.items():
        check_finite(path, name, tensor)
    is_averaged = not set(_AVERAGED).isdisjoint(fields) or len(weights) < len(contents)
    return Released(path, weights, ".".join(fields), is_averaged)


def _foreign(path: Path, expected: str) -> ValueError:
    return ValueError(
        f"{path} is not a file of PyTorch weights, or is truncated or damaged; {expected}."
    )
