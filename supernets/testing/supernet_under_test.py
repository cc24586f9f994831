"""The supernet that a contract is about, its images, and comparisons of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.spaces import Architecture
from supernets.testing.space_under_test import space_definition

#: Makes minibatches of images and labels: ``make_batches(num_batches, batch_size)``.
MakeBatches = Callable[..., list[tuple[Tensor, Tensor]]]


class SupernetUnderTest:
    """What tests of a supernet have in common; attributes and methods are for subclasses to set."""

    #: Name of the space, as commands take it: ``"my_space.py:SPACE"`` or ``"my_package:SPACE"``.
    space: ClassVar[str | None] = None
    #: Settings of the supernet; ``num_classes`` is 10 unless they say otherwise.
    settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def supernet(self) -> Supernet:
        """The supernet as it was built; what is changed beside weights and mode needs a copy."""
        return restored(*_built(type(self)))

    @pytest.fixture
    def make_batches(self, supernet: Supernet) -> MakeBatches:
        """Minibatches of noise of the supernet's image size, and classes of their own pattern."""

        def make(
            num_batches: int = 3, batch_size: int = 12, *, seed: int = 0
        ) -> list[tuple[Tensor, Tensor]]:
            generator = torch.Generator().manual_seed(seed)
            shape = supernet.input_size
            patterns = torch.randn(supernet.num_classes, *shape, generator=generator)
            batches = []
            for _ in range(num_batches):
                y = torch.randint(supernet.num_classes, (batch_size,), generator=generator)
                noise = torch.randn(batch_size, *shape, generator=generator)
                batches.append((patterns[y] + 0.5 * noise, y))
            return batches

        return make

    @pytest.fixture
    def images(self, make_batches: MakeBatches) -> Tensor:
        """One minibatch of images."""
        return make_batches(1)[0][0]

    def sample(self, supernet: Supernet, num_archs: int) -> list[Architecture]:
        """Draws architectures, up to ``num_archs``; fewer make the tests quicker."""
        rng = np.random.default_rng(7)
        drawn = [supernet.space.sample(rng) for _ in range(100)]
        return list(dict.fromkeys(drawn))[: min(max(num_archs, 2), 10)]

    def trained_names(self, arch: Architecture, subnet: nn.Module) -> set[str] | None:
        """Returns what the supernet calls the tensors of a subnet; None where nobody knows."""
        return None

    def described(self, supernet: Supernet, arch: Architecture) -> str:
        """Returns which architecture failed, for messages."""
        return f"of {supernet.space.format(arch)}"

    def uncounted_macs(self, supernet: Supernet, arch: Architecture) -> int:
        """Returns multiply-accumulates that are counted beside those of weights."""
        return 0


#: Supernets of classes of tests, and copies of their weights.
_BUILT: dict[type, tuple[Supernet, dict[str, Tensor]]] = {}


def _built(owner: type[SupernetUnderTest]) -> tuple[Supernet, dict[str, Tensor]]:
    """Builds the supernet that a class of tests is about once, and copies its weights."""
    if owner not in _BUILT:
        definition = space_definition(owner, owner.space)
        if not definition.has_networks:
            raise ValueError(f"Space {definition.name!r} has no networks; it is a space alone.")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            supernet = create_supernet(str(owner.space), **{"num_classes": 10, **owner.settings})
            make_norms_uneven(supernet)
        _BUILT[owner] = supernet, copy.deepcopy(supernet.state_dict())
    return _BUILT[owner]


def make_norms_uneven(supernet: nn.Module) -> None:
    """Draws the weights and statistics of BatchNorm, which all start alike."""
    with torch.no_grad():
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                for scale in (module.weight, module.running_var):
                    if scale is not None:
                        scale.uniform_(0.5, 1.5)
                for shift in (module.bias, module.running_mean):
                    if shift is not None:
                        shift.normal_(0.0, 0.5)


def restored(supernet: Supernet, weights: Mapping[str, Tensor]) -> Supernet:
    """Puts weights back into a supernet, in train mode and without gradients."""
    supernet.load_state_dict(weights)
    supernet.zero_grad(set_to_none=True)
    return supernet.train()


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies every parameter and buffer of a module."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Compares a module, bit by bit, with what ``weights_of`` copied."""
    found = module.state_dict()
    assert found.keys() == weights.keys()
    changed = [name for name in weights if not torch.equal(found[name], weights[name])]
    assert not changed


def assert_same_state(first: nn.Module, second: nn.Module) -> None:
    """Compares the weights and buffers of two modules, bit by bit."""
    assert_same_weights(first, second.state_dict())


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Returns the gradients of a module by the names of its parameters."""
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
