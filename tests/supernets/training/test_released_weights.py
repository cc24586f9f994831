"""What a definition says of released weights, and weights under any spelling of their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supernets.networks.factory import create_supernet
from supernets.spaces import NASBench201Space
from supernets.spaces.definition import SpaceDefinition
from supernets.spaces.factory import SPACES, spaces_with
from supernets.training.released_files import Released
from supernets.training.released_weights import NamedWeights, names_of_tensors, released_network


@pytest.mark.parametrize("space", spaces_with("released_weights"))
def test_built_in_spaces_refer_to_their_networks(space: str) -> None:
    network = released_network(SPACES.find(space))
    assert network.expected.startswith("expected a released OFA-")
    settings = create_supernet(space, num_classes=2).settings
    assert settings.keys() > set(network.decides)


def test_anything_else_is_refused() -> None:
    definition = SpaceDefinition("mine", NASBench201Space, released_weights="yes:no")
    with pytest.raises(ValueError, match="yes"):
        released_network(definition)
    definition = SpaceDefinition("mine", NASBench201Space, released_weights=True)
    with pytest.raises(ValueError, match="of space 'mine' must be a ReleasedNetwork, got bool"):
        released_network(definition)
    with pytest.raises(ValueError, match="Space 'mine' has no released_weights"):
        released_network(SpaceDefinition("mine", NASBench201Space))


def test_names_in_a_file_may_be_wrapped_and_doubled() -> None:
    supernet = create_supernet("nasbench_macro", num_classes=2, stem_channels=4)
    own = supernet.state_dict()
    modules = {name: f"layers.{name}" for name, _ in supernet.named_modules()}
    names = names_of_tensors(supernet, modules)
    assert all(theirs == f"layers.{ours}" for ours, theirs in names.items())
    tensors = {
        f"module.layers.layers.{name}": torch.full_like(tensor, 3)
        for name, tensor in own.items()
        if "num_batches" not in name  # which files may lack
    }
    released = Released(Path("file"), tensors, "", is_averaged=False)
    NamedWeights(released, names, expected="expected another").load_into(supernet)
    for name, tensor in supernet.state_dict().items():
        assert (tensor == (0 if "num_batches" in name else 3)).all(), name
    tensors.popitem()
    with pytest.raises(ValueError, match="file does not fit: layers.* missing; expected another"):
        NamedWeights(released, names, expected="expected another")
