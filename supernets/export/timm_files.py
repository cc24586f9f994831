"""Networks of inverted residuals in the form of timm's own folders, and proof that timm loads them.

``config.json`` names an entry of timm's registry and its arguments. No entry of timm 1.0.31 takes
the blocks of a network: those of ``MobileNetV3`` and ``EfficientNet`` pass ``block_args``
themselves, so that giving it raises a TypeError. Therefore ``load_with_timm.py`` lies beside it, a
file of a few lines that needs timm alone and registers such an entry. It is this package's own,
copied as it is.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from supernets.export.files import LOADER
from supernets.networks import mobilenetv3_subnet, proxylessnas_subnet
from supernets.spaces import Architecture

_logger = logging.getLogger(__name__)

_DEFINING = ("num_classes", "width", "input_size", "resolutions", "strides")
_PROGRAM = """
import runpy, sys
for name in ("supernets", "estimators", "search"):
    sys.modules[name] = None  # importing it is an ImportError
loader, images, logits, num_threads = sys.argv[1:]
import torch
from safetensors.torch import load_file, save_file
torch.set_num_threads(int(num_threads))
with torch.inference_mode():
    network = runpy.run_path(loader)["load"]()
    save_file({"logits": network(load_file(images)["images"])}, logits)
"""


def write_timm_files(
    folder: Path,
    arch: Architecture,
    input_size: Sequence[int],
    *,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes ``config.json`` and ``load_with_timm.py``; the weights are the folder's.

    Args:
        folder: An existing folder, with the weights in a file of safetensors.
        arch: An architecture of space ``"mobilenetv3"``.
        input_size: Channels, height and width of the images.
        settings: Settings of the supernet.
        data: ``mean``, ``std`` and ``class_names``. Where timm reads the images, also
            ``augmentation`` and ``timm_options``; others are resized bilinearly and kept whole.

    Returns:
        ``conv_stem_stride``, the stride of the stem. Where it is not 2, the network differs from
        what timm builds by the attribute ``conv_stem.stride``, which ``load_with_timm.py`` sets.
    """
    return _write(
        folder,
        "paceline_mobilenetv3",
        mobilenetv3_subnet.timm_definition(arch, **{name: settings[name] for name in _DEFINING}),
        input_size,
        data,
    )


def write_timm_proxylessnas_files(
    folder: Path,
    arch: Architecture,
    input_size: Sequence[int],
    *,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes what ``write_timm_files`` does, for an architecture of space ``"proxylessnas"``."""
    definition = proxylessnas_subnet.timm_definition(arch, **settings)
    return _write(folder, "paceline_proxylessnas", definition, input_size, data)


def _write(
    folder: Path,
    entry: str,
    definition: dict[str, Any],
    input_size: Sequence[int],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes the files of an entry of ``load_with_timm.py``."""
    num_classes = definition.pop("num_classes")
    del definition["in_chans"]  # follows from input_size
    config = {
        "architecture": entry,
        "num_classes": num_classes,
        "num_features": definition["num_features"],
        "model_args": definition,
        "pretrained_cfg": {
            **pretrained_cfg(num_classes, input_size, data),
            "first_conv": "conv_stem",
            "classifier": "classifier",
        },
    }
    write_config(folder, config, Path(__file__).with_name(LOADER))
    stem_stride: int = definition["stem_stride"]
    if stem_stride != 2:
        _logger.info(
            "The network is timm's with conv_stem.stride set to %d after building, which timm "
            "fixes to 2; %s sets it.",
            stem_stride,
            LOADER,
        )
    return {"conv_stem_stride": stem_stride}


def pretrained_cfg(
    num_classes: int, input_size: Sequence[int], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what timm's ``pretrained_cfg`` says of the images and classes.

    Args:
        num_classes: Number of logits.
        input_size: Channels, height and width of the images.
        data: As of ``write_timm_files``.
    """
    crop_pct, interpolation = 1.0, "bilinear"
    if "timm_options" in data:
        crop_pct = data["timm_options"]["crop_pct"]
        if data["augmentation"]["interpolation"] != "random":  # in evaluation that is bilinear
            interpolation = data["augmentation"]["interpolation"]
    return {
        "input_size": list(input_size),
        "interpolation": interpolation,
        "crop_pct": crop_pct,
        "mean": data["mean"],
        "std": data["std"],
        "num_classes": num_classes,
        "label_names": data["class_names"],
    }


def write_config(folder: Path, config: Mapping[str, Any], loader: Path) -> None:
    """Writes ``config.json``, and a file of this package as ``load_with_timm.py``."""
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(loader, folder / LOADER)


def logits_of_timm(folder: Path, x: Tensor) -> Tensor:
    """Loads ``folder`` in a process that cannot import this package.

    Args:
        folder: Folder with the files of ``write_timm_files`` and the weights.
        x: Images (N, C, H, W).

    Returns:
        Logits (N, num_classes).

    Raises:
        RuntimeError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        images, logits = Path(temporary, "images"), Path(temporary, "logits")
        save_file({"images": x.contiguous()}, images)
        arguments = [folder.resolve() / LOADER, images, logits, torch.get_num_threads()]
        done = subprocess.run(
            # isolated from the environment and the working folder, and leaving no bytecode
            [sys.executable, "-I", "-B", "-c", _PROGRAM, *map(str, arguments)],
            cwd=temporary,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"{LOADER} fails in a process of its own; nothing was exported.\n{done.stderr}"
            )
        return load_file(logits)["logits"]
