"""The folder of an exported subnet: written and proven whole, read without the supernet.

- ``subnet.json``: space, architecture, cost, metrics, where it came from, versions;
- ``weights.safetensors``: the weights, for ``load_subnet`` and timm;
- ``subnet.pt2``, ``subnet.onnx``, ``load_with_timm.py`` with ``config.json``: for PyTorch, ONNX
  Runtime and timm without this package; see ``export_formats``;
- ``cells.png``: a picture of the cells, where the space has cells.

Where the resolution is a decision, the latter take images of the subnet's, ``input_size`` in
``subnet.json``; ``load_subnet`` gives a network that resizes other images to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from supernets.export_formats import check_logits, choose_formats, write_formats
from supernets.factory import create_space, create_subnet
from supernets.mobilenetv3_subnet import ResizingNetwork, resize
from supernets.spaces import Architecture, CellSpace, SearchSpace

FORMAT = "paceline-subnet"
VERSION = 1


def load_subnet(folder: str | Path) -> nn.Module:
    """Loads an exported subnet; neither the supernet nor its checkpoint is needed.

    Returns:
        The network on the CPU, in eval mode: (N, C, H, W) images to (N, num_classes) logits. Where
        the resolution is a decision, images of another size are resized to the subnet's.

    Raises:
        ValueError: If the folder is missing, incomplete, damaged, or something else.
    """
    folder = Path(folder)
    record = read_subnet_record(folder)
    try:
        subnet = create_subnet(recorded_architecture(record), **record["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'subnet.json'} is damaged: {error}") from error
    path = folder / "weights.safetensors"
    if path.is_file() and _sha256(path) != record.get("weights_sha256"):
        raise ValueError(f"{path} is damaged: its checksum is not the one in subnet.json.")
    try:
        _stock_network(subnet).load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"The weights in {path} cannot be loaded: {reason}") from error
    return subnet.eval()


def read_subnet_record(folder: Path) -> dict[str, Any]:
    """Reads ``subnet.json`` of an export.

    Raises:
        ValueError: If it is missing or was not written by an export.
    """
    path = folder / "subnet.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is not an exported subnet: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} was not written by supernet-export.")
    if record.get("version", 0) > VERSION:
        raise ValueError(
            f"{path} has version {record['version']}, this version reads up to {VERSION}; "
            "update paceline."
        )
    return record


def recorded_architecture(record: Mapping[str, Any]) -> Architecture:
    """The architecture of what ``read_subnet_record`` gave.

    Raises:
        KeyError, TypeError: If the record is damaged.
        ValueError: If it is not one of the record's space.
    """
    return _recorded_space(record).parse(record["architecture"])


def _recorded_space(record: Mapping[str, Any]) -> SearchSpace:
    resolutions = dict(record["settings"]).get("resolutions", ())
    return create_space(record["space"], resolutions=resolutions)


def check_export_target(output: Path) -> None:
    """Makes sure that an export may be written to ``output``.

    Raises:
        ValueError: If something is there that is no export.
    """
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        try:
            read_subnet_record(output)
        except ValueError as error:
            raise ValueError(
                f"{output} exists and is no exported subnet; choose another folder."
            ) from error


def write_subnet_folder(
    output: Path,
    subnet: nn.Module,
    record: Mapping[str, Any],
    x: Tensor,
    *,
    formats: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Writes into a temporary folder, checks what was written, and moves it into place.

    Args:
        output: The folder; one that is there already is replaced.
        subnet: What ``create_subnet`` builds from the record, on the CPU, contiguous, in eval mode.
        record: What ``subnet.json`` will hold besides ``input_size``, the checksum of the weights
            and what was found of each format: ``space``, ``architecture`` and ``settings`` of
            the subnet, ``mean``, ``std`` and ``class_names`` of its ``data``, and anything else.
        x: Images (N, C, H, W) to compare logits on.
        formats: What to write besides ``weights.safetensors``, some of ``FORMATS``; None for all
            that the space has and the installed packages write.

    Returns:
        What ``subnet.json`` holds.

    Raises:
        ValueError: If a format cannot be written.
        RuntimeError: If a reloaded network computes other logits.
    """
    formats = choose_formats(formats, record["space"])
    x = x if len(x) > 1 else torch.cat([x, x])  # of one image a program would be for one only
    network = _stock_network(subnet)
    resized = resize(x, subnet.resolution) if isinstance(subnet, ResizingNetwork) else x
    space = _recorded_space(record)
    arch = space.parse(record["architecture"])
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    temporary.chmod(0o755)
    try:
        weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, temporary / "weights.safetensors", metadata={"format": "pt"})
        written = write_formats(
            temporary,
            network,
            resized,
            formats,
            arch=arch,
            settings=record["settings"],
            data=record["data"],
        )
        if isinstance(space, CellSpace):
            from supernets.cell_drawing import draw_cells  # loads matplotlib

            draw_cells(space, arch, temporary / "cells.png")
        complete = {
            "format": FORMAT,
            "version": VERSION,
            **record,
            "input_size": list(resized.shape[1:]),
            "weights_sha256": _sha256(temporary / "weights.safetensors"),
            "formats": written,
        }
        text = json.dumps(complete, indent=2) + "\n"
        (temporary / "subnet.json").write_text(text, encoding="utf-8")
        with torch.inference_mode():
            check_logits("weights.safetensors", load_subnet(temporary)(x), subnet(x))
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors makes its file unreadable for others
            _sync(path)
        if output.exists():
            shutil.rmtree(output)
        os.replace(temporary, output)
        _sync(output.parent)
        return complete
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _stock_network(subnet: nn.Module) -> nn.Module:
    """The network without the resizing of its images."""
    return subnet.network if isinstance(subnet, ResizingNetwork) else subnet


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
