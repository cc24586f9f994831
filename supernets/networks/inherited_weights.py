"""What a fine-tuned network inherits: all weights, or of other classes all but the head's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from supernets.networks.factory import create_subnet
from supernets.spaces import Architecture

_logger = logging.getLogger(__name__)

#: Names of the weights that are for training alone begin with this.
AUXILIARY = "skeleton.auxiliary."


def are_other_classes(
    stored: Mapping[str, Any], settings: Mapping[str, Any], class_names: Sequence[str]
) -> bool:
    """Returns whether data have other classes than a network's, by number or by name.

    Args:
        stored: What the record of the network says of its data.
        settings: Settings of the network.
        class_names: Names of the classes of the data.
    """
    if len(class_names) != settings["num_classes"]:
        return True
    return list(class_names) != list(stored.get("class_names", class_names))


def check_seen_splits(
    name: str,
    stored: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    may_be_other_images: bool,
) -> None:
    """Makes sure that inherited weights have learned from no image of the val and test splits.

    Args:
        name: Name of the exported network, for messages.
        stored: What its record says of its data.
        data: Settings of the loaders of the same classes that it is to be trained on.
        may_be_other_images: Whether other splits may be of other images; it is then only said.

    Raises:
        ValueError: If the splits are others of the same images.
    """
    if data["split_digest"] == stored.get("split_digest"):
        return
    if data["dataset"] == stored.get("dataset") and not may_be_other_images:
        raise ValueError(
            f"The weights of {name} have learned from other splits of these images; leave out "
            "--dataset and the options of the splits, or --finetune."
        )
    _logger.warning(
        "The splits are not those %s was exported with: if it has learned from images that are in "
        "val or test now, what is measured on them is too good.",
        name,
    )


def head_names(arch: Architecture, settings: Mapping[str, Any]) -> set[str]:
    """Returns the names of a network's weights whose shapes follow the number of classes.

    Args:
        arch: The architecture.
        settings: Settings of the network, as for ``create_subnet``.
    """
    shapes = []
    for num_classes in (2, 3):
        with torch.device("meta"):  # only shapes are looked at
            network = create_subnet(arch, **{**settings, "num_classes": num_classes})
        shapes.append({name: tensor.shape for name, tensor in network.state_dict().items()})
    return {name for name, shape in shapes[0].items() if shape != shapes[1][name]}


def load_inherited(network: nn.Module, source: nn.Module, fresh: set[str] | None = None) -> None:
    """Loads all weights but some, and those of an auxiliary head, which only one network has.

    Args:
        network: The network to load the weights into, in place.
        source: Network that the weights come from.
        fresh: Names of the weights that stay as they are.

    Raises:
        ValueError: If a weight has another shape, as the positions of a Vision Transformer have
            where images are of another size.
    """
    fresh = fresh or set()
    weights = {name: w for name, w in source.state_dict().items() if name not in fresh}
    for name, own in network.state_dict().items():
        if name in weights and weights[name].shape != own.shape:
            raise ValueError(
                f"The weight {name} to inherit has shape {tuple(weights[name].shape)}, and that of "
                f"the network {tuple(own.shape)}; use images of the size and channels that the "
                "weights are of, or --from-scratch."
            )
    found = network.load_state_dict(weights, strict=False)
    misfits = {*found.missing_keys, *found.unexpected_keys} - fresh
    assert all(name.startswith(AUXILIARY) for name in misfits), misfits
