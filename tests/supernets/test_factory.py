"""Spaces, supernets and subnets by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from supernets.base import Supernet
from supernets.factory import SPACES, create_space, create_subnet, create_supernet
from supernets.spaces import Architecture


@pytest.mark.parametrize("name", SPACES)
def test_every_name_gives_its_space_and_supernet(name: str, tiny_settings: dict[str, Any]) -> None:
    assert create_space(name).name == name
    supernet = create_supernet(name, **tiny_settings)
    assert isinstance(supernet, Supernet)
    assert supernet.space.name == name
    assert {key: supernet.settings[key] for key in tiny_settings} == tiny_settings


@pytest.mark.parametrize("name", SPACES)
def test_subnet_equals_what_the_supernet_builds(
    name: str, tiny_settings: dict[str, Any], images: Tensor
) -> None:
    supernet = create_supernet(name, **tiny_settings)
    arch = supernet.space.sample(np.random.default_rng(0))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        subnet = create_subnet(arch, **supernet.settings).eval()  # its bn_mode is the supernet's
        torch.manual_seed(5)
        built = supernet.build_subnet(arch).eval()
    assert subnet.state_dict().keys() == built.state_dict().keys()
    assert torch.equal(subnet(images), built(images))


def test_unknown_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown space 'darts7'; choose from nasbench201"):
        create_space("darts7")
    with pytest.raises(ValueError, match="Unknown space 'darts7'; choose from nasbench201"):
        create_supernet("darts7", num_classes=3)
    with pytest.raises(ValueError, match="Unknown space 'darts7'; choose from nasbench201"):
        create_subnet(Architecture("darts7", (0,)), num_classes=3)


def test_settings_are_checked_by_the_supernet() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        create_supernet("nasbench201", num_classes=0)
    with pytest.raises(TypeError, match="depth"):
        create_supernet("nasbench201", num_classes=3, depth=4)


def test_subnets_of_invalid_architectures_are_refused(tiny_settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="6 decisions, got 1"):
        create_subnet(Architecture("nasbench201", (0,)), **tiny_settings)
