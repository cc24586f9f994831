"""Reads the released weights of OFA-MobileNetV3, and gives ours the names they have there.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

import logging
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.mobilenetv3_subnet import Widths, scaled_widths
from supernets.networks.names import OFA_WEIGHTS
from supernets.runtime.foreign_fields import ForeignFileError, check_finite
from supernets.spaces.mobilenetv3 import MAX_DEPTH, NUM_STAGES

_logger = logging.getLogger(__name__)

#: Names of the parts of an elastic block, and what the released files call them.
_BLOCK_NAMES = {
    "conv_pw": "inverted_bottleneck.conv.conv",
    "bn1": "inverted_bottleneck.bn.bn",
    "conv_dw": "depth_conv.conv.conv",
    "kernel_transforms.5": "depth_conv.conv.7to5_matrix",
    "kernel_transforms.3": "depth_conv.conv.5to3_matrix",
    "bn2": "depth_conv.bn.bn",
    "se.conv_reduce": "depth_conv.se.fc.reduce",
    "se.conv_expand": "depth_conv.se.fc.expand",
    "conv_pwl": "point_linear.conv.conv",
    "bn3": "point_linear.bn.bn",
}
#: The same for everything else.
_OTHER_NAMES = {
    "conv_stem": "first_conv.conv",
    "bn1": "first_conv.bn",
    "blocks.0.0.conv_dw": "blocks.0.conv.depth_conv.conv",
    "blocks.0.0.bn1": "blocks.0.conv.depth_conv.bn",
    "blocks.0.0.conv_pw": "blocks.0.conv.point_linear.conv",
    "blocks.0.0.bn2": "blocks.0.conv.point_linear.bn",
    f"blocks.{NUM_STAGES + 1}.0.conv": "final_expand_layer.conv",
    f"blocks.{NUM_STAGES + 1}.0.bn1": "final_expand_layer.bn",
    "conv_head": "feature_mix_layer.conv",
    "classifier": "classifier.linear",
}
#: Where files of trainings keep averaged weights, and raw ones; the first there is is taken.
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_RAW = ("state_dict", "model_state_dict", "model", "net", "network", "module")
#: Wrappers within wrappers.
_MAX_WRAPPERS = 3
#: What PyTorch's ``AveragedModel`` has beside weights.
_OF_AVERAGING = ("n_averaged",)
#: What wrappers of modules put into names, anywhere in them.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
#: How files of ``torch.save`` start that are older than PyTorch 1.6; later ones are ZIP archives.
_OLD_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_EXPECTED = (
    "expected a released OFA-MobileNetV3: the elastic network, or the static full one "
    "(depth 4, expansion 6, kernel 7)"
)


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


def load_ofa_checkpoint(
    path: str | Path,
    *,
    weights: str = "ema",
    width: float | None = None,
    num_classes: int | None = None,
    input_size: tuple[int, int, int] = (3, 224, 224),
    resolutions: Sequence[int] = (),
) -> MobileNetV3Supernet:
    """Builds a supernet from a file such as ``ofa_mbv3_d234_e346_k357_w1.0``.

    The file holds a state dict of the elastic network or of the static full one, in any of the
    namings that were in use: alone or as ``state_dict``, ``model`` and the like, of PyTorch or
    safetensors. Where averaged weights (``state_dict_ema``, ``model_ema``, ``ema``) stand beside
    raw ones they are taken unless the others are asked for, and the log says so. A static network
    has no matrices for the smaller kernels; they are left at the identity. Files without
    BatchNorm's ``num_batches_tracked`` do, as nothing depends on it.

    Args:
        path: The file.
        weights: Which to take where a file has both, one of ``OFA_WEIGHTS``.
        width: Multiplier on all widths to insist on; None for the file's.
        num_classes: Number of logits; None for the file's. If they differ, the classifier starts
            afresh.
        input_size: Images as (channels, height, width).
        resolutions: Sides to search and train at, the largest being that of ``input_size``.

    Returns:
        The supernet, on the CPU and in eval mode.

    Raises:
        ValueError: If the file is missing, truncated, foreign, or does not fit, has a value that is
            NaN or infinite, or lacks the raw weights that were asked for.
    """
    return released_supernet(
        read_released(Path(path), weights),
        width=width,
        num_classes=num_classes,
        input_size=input_size,
        resolutions=resolutions,
    )


def released_supernet(
    released: Released,
    *,
    width: float | None = None,
    num_classes: int | None = None,
    input_size: tuple[int, int, int] = (3, 224, 224),
    resolutions: Sequence[int] = (),
) -> MobileNetV3Supernet:
    """Builds a supernet from weights that were read; the rest as ``load_ofa_checkpoint``.

    Raises:
        ValueError: If the weights do not fit.
    """
    path, tensors = released.path, released.tensors
    spellings = _unique_short_names(tensors, path)
    with torch.device("meta"):
        all_names = _ofa_names(MobileNetV3Supernet(num_classes=2))
    short_names = {ours: _short(theirs) for ours, theirs in all_names.items()}
    transforms = {ours: short_names[ours] for ours in short_names if ".kernel_transforms." in ours}
    is_static = spellings.keys().isdisjoint(transforms.values())
    if is_static:
        short_names = {ours: short_names[ours] for ours in short_names if ours not in transforms}
    untracked = [ours for ours in short_names if ours.endswith(".num_batches_tracked")]
    is_network = short_names["conv_stem.weight"] in spellings
    if is_network and spellings.keys().isdisjoint(short_names[ours] for ours in untracked):
        short_names = {ours: short_names[ours] for ours in short_names if ours not in untracked}
    _check_names(spellings, short_names.values(), path)
    if is_static:
        _logger.info("%s holds no kernel transforms: they are the identity.", path)
    sizes = {short: _size(tensors[name]) for short, name in spellings.items()}
    file_classes = sizes["classifier.linear.weight"]
    if num_classes is None:
        num_classes = file_classes
    if num_classes != file_classes:
        _logger.info(
            "%s has %d classes, not %d: the classifier starts afresh.",
            path,
            file_classes,
            num_classes,
        )
        del short_names["classifier.weight"], short_names["classifier.bias"]
    supernet = MobileNetV3Supernet(
        num_classes=num_classes,
        width=_width(sizes, width, path),
        input_size=input_size,
        resolutions=resolutions,
    )
    weights = supernet.state_dict()
    for ours, short in short_names.items():
        found = tensors[spellings[short]]
        if found.shape != weights[ours].shape:
            raise ValueError(
                f"{path} does not fit: {spellings[short]} has shape {tuple(found.shape)}, "
                f"{tuple(weights[ours].shape)} was expected for width "
                f"{supernet.settings['width']} and {input_size[0]} channels of images; {_EXPECTED}."
            )
        weights[ours] = found
    supernet.load_state_dict(weights)
    return supernet.eval()


def to_ofa_state_dict(supernet: MobileNetV3Supernet) -> dict[str, Tensor]:
    """Returns the tensors, not copied, under the names of the released elastic networks."""
    own = supernet.state_dict()
    return {theirs: own[ours] for ours, theirs in _ofa_names(supernet).items()}


def _ofa_names(supernet: MobileNetV3Supernet) -> dict[str, str]:
    """What the released elastic networks call each tensor of ``supernet``."""
    modules = dict(_OTHER_NAMES)
    for stage in range(NUM_STAGES):
        for block in range(MAX_DEPTH):
            for ours, theirs in _BLOCK_NAMES.items():
                number = 1 + stage * MAX_DEPTH + block
                modules[f"blocks.{1 + stage}.{block}.{ours}"] = f"blocks.{number}.conv.{theirs}"
    names = {}
    for name in supernet.state_dict():
        module, _, tensor = name.rpartition(".")
        names[name] = modules[name] if name in modules else f"{modules[module]}.{tensor}"
    return names


def _short(name: str) -> str:
    """What all spellings of a tensor's name have in common.

    Static networks have ``depth_conv.conv.weight`` where elastic ones have
    ``depth_conv.conv.conv.weight``; older files say ``mobile_inverted_conv`` for a block's ``conv``
    and wrap the classifier twice; training on several devices, compiling and averaging put names
    such as ``module`` and ``_orig_mod`` in front or in between.
    """
    parts = name.replace("mobile_inverted_conv", "conv").split(".")
    parts = [part for part in parts if part not in _WRAPPERS]
    return ".".join(part for part, _ in groupby(parts))


def read_released(path: Path, weights: str = "ema") -> Released:
    """Reads the weights of a file.

    Args:
        path: The file.
        weights: Which to take where a file has both, one of ``OFA_WEIGHTS``.

    Raises:
        ValueError: As ``load_ofa_checkpoint``.
    """
    if weights not in OFA_WEIGHTS:
        raise ValueError(f"Unknown weights {weights!r}; choose from {', '.join(OFA_WEIGHTS)}.")
    if not path.is_file():
        raise ValueError(f"There is no file at {path}; {_EXPECTED}.")
    try:
        if path.suffix == ".safetensors":
            return _weights_among(load_file(path), path, weights)
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
        raise _foreign(path) from error
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
        raise _foreign(path) from error
    return _weights_among(contents, path, weights)


def _weights_among(contents: object, path: Path, asked: str) -> Released:
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
        raise _foreign(path)
    if not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided
        for name, tensor in contents.items()
    ):
        raise _foreign(path)
    weights = {
        name: tensor
        for name, tensor in contents.items()
        if name.split(".")[-1] not in _OF_AVERAGING
    }
    for name, tensor in weights.items():
        check_finite(path, name, tensor)
    is_averaged = not set(_AVERAGED).isdisjoint(fields) or len(weights) < len(contents)
    return Released(path, weights, ".".join(fields), is_averaged)


def _foreign(path: Path) -> ValueError:
    return ValueError(
        f"{path} is not a file of PyTorch weights, or is truncated or damaged; {_EXPECTED}."
    )


def _unique_short_names(names: Collection[str], path: Path) -> dict[str, str]:
    spellings: dict[str, str] = {}
    for name in names:
        other = spellings.setdefault(_short(name), name)
        if other != name:
            raise ValueError(f"{path} holds both {other} and {name}, which are the same tensor.")
    return spellings


def _check_names(spellings: Mapping[str, str], expected: Collection[str], path: Path) -> None:
    missing = [short for short in expected if short not in spellings]
    unexpected = [name for short, name in spellings.items() if short not in set(expected)]
    wrong = [f"{_some(missing)} missing"] if missing else []
    wrong += [f"{_some(unexpected)} unexpected"] if unexpected else []
    if wrong:
        raise ValueError(f"{path} does not fit: {'; '.join(wrong)}; {_EXPECTED}.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _width(sizes: Mapping[str, int], wanted: float | None, path: Path) -> float:
    """The multiplier of fewest decimals that gives the file's widths."""
    stages = [f"blocks.{1 + s * MAX_DEPTH}.conv.point_linear" for s in range(NUM_STAGES)]
    found = Widths(
        stem=sizes["first_conv.conv.weight"],
        stages=tuple(sizes[f"{name}.conv.weight"] for name in stages),
        pooled=sizes["final_expand_layer.conv.weight"],
        features=sizes["feature_mix_layer.conv.weight"],
    )
    ratio = found.features / scaled_widths(1.0).features
    candidates = [
        round(multiple / scale, decimals)
        for decimals, scale in ((1, 10), (2, 100), (3, 1000))
        for multiple in range(math.floor((ratio - 0.01) * scale), math.ceil((ratio + 0.01) * scale))
    ]
    fitting = [width for width in candidates if width > 0 and scaled_widths(width) == found]
    if not fitting:
        raise ValueError(
            f"{path} does not fit: no width multiplier gives {found.stem} channels of the stem, "
            f"{list(found.stages)} of the stages, {found.pooled} and {found.features} of the head; "
            f"{_EXPECTED}."
        )
    if wanted is not None and scaled_widths(wanted) != found:
        raise ValueError(
            f"{path} is of width {fitting[0]}, not {wanted}; leave the width out, or use the file "
            f"of width {wanted}."
        )
    return fitting[0] if wanted is None else wanted


def _size(tensor: Tensor) -> int:
    return tensor.shape[0] if tensor.dim() else 0
