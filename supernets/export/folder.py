"""The folder of an exported subnet: written and proven whole, read without the supernet.

- ``subnet.json``: space, architecture, cost, metrics, where it came from, versions, and the
  checksums of all other files;
- ``weights.safetensors``: the weights, for ``load_subnet`` and timm;
- ``subnet.pt2``, ``subnet.onnx``, ``load_with_timm.py`` with ``config.json``: for PyTorch, ONNX
  Runtime and timm without this package; see ``supernets.export.programs``;
- ``cells.png``: a picture of the cells, where the space has cells.

Where the resolution is a decision, the latter take images of the subnet's, ``input_size`` in
``subnet.json``; ``load_subnet`` gives a network that resizes other images to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

import supernets.runtime.option_types as kinds
from supernets.export.files import (
    FORMAT,
    PICTURE,
    RECORD,
    WEIGHTS,
    find_file,
    new_export,
    sha256,
)
from supernets.export.formats import choose_formats
from supernets.export.programs import check_logits, check_repeats, write_formats
from supernets.networks.base import GrowingNetwork
from supernets.networks.factory import create_subnet
from supernets.networks.mobilenetv3_subnet import ResizingNetwork, resize
from supernets.runtime.atomic_write import naming_file
from supernets.runtime.foreign_fields import (
    ForeignFileError,
    check_dict,
    check_finite,
    check_shapes,
    check_text,
    check_version,
    fields_of,
    naming_field,
    read_json,
)
from supernets.spaces import Architecture, CellSpace, SearchSpace
from supernets.spaces.code_of_files import space_of_file, warn_of_other_code
from supernets.spaces.factory import SPACES
from supernets.training.checkpoint_fields import check_data

VERSION = 1
_COST = kinds.Whole(0, 2**63)
_METRICS: Mapping[str, kinds.Whole | kinds.Real] = {
    "top1": kinds.Real("must be from 0 to 100", 0.0, 100.0),
    "loss": kinds.NON_NEGATIVE,
    "num": kinds.Whole(0, 2**53),
}
_NUM_IMAGES = 8  # to compare logits on


def load_subnet(folder: str | Path, *, trust_code: bool = False) -> nn.Module:
    """Loads an exported subnet; neither the supernet nor its checkpoint is needed.

    Args:
        folder: Folder of the export.
        trust_code: Whether the code of a space that is not built in may be imported, if the export
            names some; without a question where this process has loaded it already.

    Returns:
        The network on the CPU, in eval mode: (N, C, H, W) images to (N, num_classes) logits. Where
        the resolution is a decision, images of another size are resized to the subnet's.

    Raises:
        ValueError: If the folder is missing, incomplete, damaged, or something else.
    """
    folder = Path(folder)
    record = read_subnet_record(folder, trust_code=trust_code)
    path = find_file(folder, WEIGHTS)
    if path.is_file() and sha256(path) != record.get("weights_sha256"):
        raise ValueError(f"{path} is damaged: its checksum is not the one in subnet.json.")
    with fields_of(path):
        try:
            weights = load(path.read_bytes())  # load_file takes no path that is not UTF-8
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise ForeignFileError(f"The weights in {path} cannot be loaded: {reason}") from error
        for name, tensor in weights.items():
            check_finite(path, name, tensor)
    # what does not fit the file's weights is not allocated
    with torch.device("meta"):
        expected = _build(folder, record)
    if isinstance(expected, GrowingNetwork):
        expected.make_room(weights)
    check_shapes(path, weights, _stock_network(expected).state_dict())
    subnet = _build(folder, record)
    _stock_network(subnet).load_state_dict(weights)
    return subnet.eval()


def _build(folder: Path, record: Mapping[str, Any]) -> nn.Module:
    """The network of a record with fresh weights."""
    try:
        return create_subnet(recorded_architecture(record), **record["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ForeignFileError(f"{folder / RECORD} is damaged: {error}") from error


def read_subnet_record(folder: Path, *, trust_code: bool = False) -> dict[str, Any]:
    """Reads ``subnet.json`` of an export.

    Args:
        folder: Folder of the export.
        trust_code: As of ``load_subnet``.

    Raises:
        ValueError: If it is missing, was not written by an export, holds a field that no export
            writes, or its space is unknown or not trusted.
    """
    path = find_file(folder, RECORD)
    if not path.exists():
        raise ForeignFileError(
            f"{folder} holds no exported subnet (no {RECORD}); give the folder that "
            "supernet-export wrote."
        )
    record = read_json(path, "an exported subnet")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ForeignFileError(f"{path} was not written by supernet-export.")
    check_version(path, record, VERSION)
    for name in ("space", "architecture"):
        check_text(path, record, name)
    space_of_file(path, record, trust_code=trust_code)
    warn_of_other_code(path, record)
    check_dict(path, record, "settings")
    for name in ("cost", "metrics", "provenance", "recipe", "versions"):
        if name in record:
            check_dict(path, record, name)
    check_data(path, record, required=())
    _check_measured(path, record)
    return record


def _check_measured(path: Path, record: Mapping[str, Any]) -> None:
    """Makes sure of the costs and the metrics that a record names."""
    for name, value in record.get("cost", {}).items():
        with naming_field(path, "cost"):
            _COST.check(name, value)
    for name, value in record.get("metrics", {}).items():
        for part in {*_METRICS}.intersection(name.split("_")):
            with naming_field(path, "metrics"):
                _METRICS[part].check(name, value)


def recorded_architecture(record: Mapping[str, Any]) -> Architecture:
    """Returns the architecture of a record that ``read_subnet_record`` read.

    Raises:
        KeyError, TypeError: If the record is damaged.
        ValueError: If it is not one of the record's space.
    """
    return _recorded_space(record).parse(record["architecture"])


def _recorded_space(record: Mapping[str, Any]) -> SearchSpace:
    return SPACES.find(record["space"]).create_space(**dict(record["settings"]))


def write_subnet_folder(
    output: Path,
    subnet: nn.Module,
    record: Mapping[str, Any],
    input_size: Sequence[int],
    *,
    formats: Sequence[str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes a new folder, checks what was written, and moves it into place.

    No image of the user's has a part in it: programs are made from made-up ones, and logits are
    compared on these. Absolute paths in the record, which are those of this machine, become names.

    Args:
        output: The folder, as in ``check_export_target``.
        subnet: What ``create_subnet`` builds from the record, on the CPU, contiguous, in eval mode.
        record: What ``subnet.json`` will hold besides ``input_size``, the checksums of the files
            and what was found of each format: ``space``, ``architecture`` and ``settings`` of
            the subnet, ``mean``, ``std`` and ``class_names`` of its ``data``, and anything else.
        input_size: Channels, height and width of the images it was trained for.
        formats: What to write besides ``weights.safetensors``, some of ``FORMATS``; None for all
            that the space has and the installed packages write.
        overwrite: Whether an export in ``output`` is replaced.

    Returns:
        What ``subnet.json`` holds.

    Raises:
        ExportError: If ``output`` may not be written to.
        ValueError: If a format cannot be written.
        WrongLogitsError: If a reloaded network computes other logits, or the network itself does
            when it is called again.
    """
    formats = choose_formats(formats, record["space"])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_NUM_IMAGES, *input_size, generator=generator)  # (N, C, H, W)
    network = _stock_network(subnet)
    resized = resize(x, subnet.resolution) if isinstance(subnet, ResizingNetwork) else x
    space = _recorded_space(record)
    arch = space.parse(record["architecture"])
    check_repeats(network, resized)
    with new_export(output, overwrite=overwrite) as folder:
        weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        with naming_file(folder / WEIGHTS):
            (folder / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
        written = write_formats(
            folder,
            network,
            resized,
            formats,
            arch=arch,
            settings=record["settings"],
            data=record["data"],
        )
        if isinstance(space, CellSpace):
            from supernets.export.cell_drawing import draw_cells  # loads matplotlib

            draw_cells(space, arch, folder / PICTURE)
        checksums = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        complete = {
            "format": FORMAT,
            "version": VERSION,
            **without_machine_paths(record),
            "input_size": list(resized.shape[1:]),
            "weights_sha256": checksums[WEIGHTS],
            "formats": written,
            "files": checksums,
        }
        text = json.dumps(complete, indent=2) + "\n"
        with naming_file(folder / RECORD):
            (folder / RECORD).write_text(text, encoding="utf-8")
        with torch.inference_mode():
            check_logits(WEIGHTS, load_subnet(folder)(x), subnet(x))
    return complete


def without_machine_paths(value: Any) -> Any:
    """Shortens every absolute path among values to its last part, but keeps names of classes."""
    if isinstance(value, str | Path):
        return Path(value).name if os.path.isabs(value) else str(value)
    if isinstance(value, Mapping):
        return {
            key: part if key == "class_names" else without_machine_paths(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_machine_paths(part) for part in value]
    return value


def _stock_network(subnet: nn.Module) -> nn.Module:
    """The network without the resizing of its images."""
    return subnet.network if isinstance(subnet, ResizingNetwork) else subnet
