"""Networks of architectures are one graph to a compiler: nothing of the space is in ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from supernets.kernels.library import chosen_kernels, using
from supernets.networks.base import Supernet
from supernets.networks.nasbench201 import NASBench201Subnet
from supernets.spaces import NASBench201Space
from supernets.spaces.factory import spaces_with


@pytest.fixture(autouse=True)
def _forget_graphs() -> Iterator[None]:
    yield
    torch.compiler.reset()  # else what one test compiled counts in the next


@pytest.mark.slow
@pytest.mark.parametrize("space", spaces_with("has_networks"))
def test_a_subnet_is_one_graph_with_kernels_on(
    space: str, make_supernet: Callable[..., Supernet]
) -> None:
    supernet = make_supernet(space).eval()
    network = supernet.extract(supernet.space.sample(np.random.default_rng(1))).train()
    x = torch.rand(3, *supernet.input_size).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
    with using(chosen_kernels("auto", torch.device("cpu"))), torch.no_grad():
        found = compiled(x)
        expected = network(x)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_networks_of_earlier_versions_are_one_graph_too() -> None:
    arch = NASBench201Space().parse(
        "|none~0|+|none~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"
    )
    network = NASBench201Subnet(arch, num_classes=3, channels=4, cells_per_stage=1)
    live = network.state_dict()
    bias = live["skeleton.classifier.bias"]
    network.make_room({**live, "skeleton.blocks.0.edges.2.3.conv.weight": bias})
    assert network.state_dict().keys() > live.keys()
    network.eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.1, 1)
        for buffer in network.buffers():
            buffer.fill_(1)
        x = torch.rand(2, 3, 8, 8)
        assert torch.equal(compiled(x), network(x))
