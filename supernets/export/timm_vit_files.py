"""A Vision Transformer in the form of timm's own folders, as ``timm_files`` writes MobileNetV3.

Where timm's arguments say what the network is, ``config.json`` names an entry of timm's registry
with these, and timm alone loads the folder. timm has one number of heads and one MLP ratio for all
layers, and heads that are together as wide as the embedding; other networks are timm's class and
blocks as well, but need the entry that ``load_with_timm.py`` registers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernets.export.timm_files import pretrained_cfg, write_config
from supernets.networks.vit_subnet import timm_arguments, timm_definition
from supernets.spaces import Architecture

#: Copied as ``load_with_timm.py``.
_LOADER = "load_vit_with_timm.py"
#: An entry of timm's registry all arguments of which can be given.
_ENTRY, _OWN_ENTRY = "vit_tiny_patch16_224", "paceline_vit"


def write_timm_vit_files(
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
        arch: An architecture of space ``"vit"``.
        input_size: Channels, height and width of the images.
        settings: Settings of the supernet.
        data: As of ``write_timm_files`` of ``timm_files``.

    Returns:
        ``timm_alone``, whether timm loads the folder without ``load_with_timm.py``.
    """
    definition = timm_definition(arch, **settings)
    arguments = timm_arguments(definition)
    model_args = dict(definition if arguments is None else arguments)
    num_classes = model_args.pop("num_classes")
    del model_args["in_chans"]  # follows from input_size
    config = {
        "architecture": _OWN_ENTRY if arguments is None else _ENTRY,
        "num_classes": num_classes,
        "num_features": definition["embed_dim"],
        "global_pool": "token",
        "model_args": model_args,
        "pretrained_cfg": {
            **pretrained_cfg(num_classes, input_size, data),
            "fixed_input_size": True,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    write_config(folder, config, Path(__file__).with_name(_LOADER))
    return {"timm_alone": arguments is not None}
