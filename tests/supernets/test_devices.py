"""Nothing of a step is made on another device than the network's: seen on PyTorch's meta device.

There, tensors have shapes and no values, so that a step on an accelerator can be followed without
one: what a network makes without saying where lands on the CPU, and what reads a value fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from supernets.networks.base import Supernet
from supernets.networks.factory import create_relaxed_network
from supernets.spaces.factory import spaces_with

META = torch.device("meta")


class _Elsewhere(TorchDispatchMode):
    """Records what operations make on other devices than ``META``, but for single numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.num_ops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.num_ops += 1
        for each in tree_leaves(out):
            if isinstance(each, Tensor) and each.device != META and each.dim() > 0:
                self.found.add(f"{func} {tuple(each.shape)} on {each.device}")
        return out


@contextmanager
def all_on_meta() -> Iterator[None]:
    """Fails if something is made elsewhere in the block."""
    with _Elsewhere() as elsewhere:
        yield
    assert elsewhere.num_ops > 0
    assert not elsewhere.found


def take_step(network: nn.Module, x: Tensor, *args: Any) -> None:
    """Forward, backward and SGD step with momentum."""
    opt = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    y = torch.zeros(len(x), dtype=torch.long, device=META)
    with all_on_meta():
        out = network(x, *args)
        F.cross_entropy(
            out[0] if isinstance(out, tuple) else out, y, label_smoothing=0.1
        ).backward()
        opt.step()


def test_what_is_made_elsewhere_is_seen() -> None:
    with pytest.raises(AssertionError, match="on cpu"), all_on_meta():
        torch.ones(3)
    with pytest.raises((RuntimeError, NotImplementedError)), all_on_meta():
        torch.ones(3, device=META).sum().item()


@pytest.mark.parametrize("space", spaces_with("has_networks"))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_steps_of_paths_and_of_their_subnets_stay_on_the_device(
    space: str, layout: torch.memory_format, make_supernet: Callable[..., Supernet]
) -> None:
    supernet = make_supernet(space).train()
    archs = [supernet.space.sample(np.random.default_rng(seed)) for seed in range(3)]
    subnets = [supernet.build_subnet(arch).train().to(META) for arch in archs]
    supernet.to(META)
    x = torch.empty(4, *supernet.input_size, device=META).contiguous(memory_format=layout)
    for arch, subnet in zip(archs, subnets, strict=True):
        take_step(supernet, x, arch)
        take_step(subnet, x)
        for network, args in ((supernet, (arch,)), (subnet, ())):
            with torch.no_grad(), all_on_meta():
                network.eval()(x, *args)
            network.train()


@pytest.mark.parametrize("space", spaces_with("relaxed"))
def test_steps_of_all_operations_at_once_stay_on_the_device(space: str) -> None:
    small = {"cells_per_stage": 1} if space == "nasbench201" else {"layers": 3}
    network = create_relaxed_network(
        space, num_classes=3, input_size=(3, 8, 8), channels=8, **small
    ).to(META)
    x = torch.empty(4, 3, 8, 8, device=META)
    alphas = torch.zeros(network.alphas_shape, device=META, requires_grad=True)
    take_step(network, x, alphas.softmax(-1))
    assert alphas.grad is not None and alphas.grad.device == META
