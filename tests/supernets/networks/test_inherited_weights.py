"""Which weights a fine-tuned network of other classes inherits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from supernets.networks.base import Supernet
from supernets.networks.factory import create_subnet, settings_of_subnet
from supernets.networks.inherited_weights import are_other_classes, head_names, load_inherited
from supernets.spaces import ViTSpace
from supernets.spaces.factory import SPACES, spaces_with


@pytest.mark.parametrize("space", spaces_with("has_networks"))
@pytest.mark.parametrize("num_classes", [3, 5])
def test_all_weights_but_the_head_are_inherited_exactly(
    space: str, num_classes: int, make_supernet: Callable[..., Supernet]
) -> None:
    supernet = make_supernet(space)
    arch = supernet.space.sample(np.random.default_rng(0))
    settings = settings_of_subnet(space, supernet.settings)
    source = supernet.to_standalone(supernet.extract(arch))
    other = {**settings, "num_classes": num_classes}
    extra: dict[str, Any] = {}
    if SPACES.find(space).has_auxiliary_head:
        other["input_size"], extra = (3, 32, 32), {"with_auxiliary": True}
    network = create_subnet(arch, **extra, **other)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    head = head_names(arch, settings)
    assert {name.rpartition(".")[2] for name in head} == {"weight", "bias"} and len(head) == 2
    load_inherited(network, source, head)
    inherited = source.state_dict()
    for name, tensor in network.state_dict().items():
        is_fresh = name in head or name not in inherited  # an auxiliary head is in no export
        assert torch.equal(tensor, before[name] if is_fresh else inherited[name]), name


def test_classes_are_compared_by_name_and_by_number() -> None:
    stored = {"class_names": ["a", "b"]}
    assert not are_other_classes(stored, {"num_classes": 2}, ("a", "b"))
    assert are_other_classes(stored, {"num_classes": 2}, ("b", "c"))
    assert are_other_classes(stored, {"num_classes": 2}, ("a", "b", "c"))
    assert not are_other_classes({}, {"num_classes": 2}, ("x", "y"))  # names are not known


def test_positions_of_another_size_of_images_are_refused() -> None:
    settings = {"num_classes": 3, "preset": "digits"}
    arch = ViTSpace("digits").parse("e=32;d=2;h=2,2;r=1,1")
    source, network = (
        create_subnet(arch, input_size=(1, side, side), **settings) for side in (8, 16)
    )
    with pytest.raises(ValueError, match=r"pos_embed to inherit has shape \(1, 5, 32\).* 17, 32"):
        load_inherited(network, source)
