"""The contract of relaxed networks, against supernets and against naive sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.factory import create_relaxed_network, create_supernet
from supernets.networks.nasbench201 import BN_POLICIES
from supernets.networks.nasbench201_relaxed import RelaxedCell as NASBench201Cell
from supernets.networks.nasnet_relaxed import EDGES as NASNET_EDGES
from supernets.networks.nasnet_relaxed import RelaxedCell as NASNetCell
from supernets.networks.nasnet_subnet import CellShape
from supernets.networks.ops import create_op
from supernets.networks.relaxed import RelaxedNetwork
from supernets.spaces import Architecture, CellSpace
from supernets.spaces.factory import create_space
from supernets.spaces.nasbench201 import EDGES, OPS
from supernets.spaces.nasnet import OPS as NASNET_OPS

SETTINGS: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 4, "cells_per_stage": 1},
    "darts": {"channels": 4, "layers": 4},
    "nasnet": {"channels": 4, "layers": 4},
}
COMMON: dict[str, Any] = {"num_classes": 3, "input_size": (3, 9, 9)}  # odd sides
CONVOLUTIONS_AND_SKIPS = [op for op in NASNET_OPS if "pool" not in op]
MakeNetwork = Callable[..., RelaxedNetwork]


@pytest.fixture(params=sorted(SETTINGS))
def space_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_network(space_name: str) -> MakeNetwork:
    def make(**settings: Any) -> RelaxedNetwork:
        torch.manual_seed(0)
        return create_relaxed_network(space_name, **COMMON, **SETTINGS[space_name], **settings)

    return make


@pytest.fixture
def supernet(space_name: str) -> Supernet:
    return create_supernet(space_name, **COMMON, **SETTINGS[space_name])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, *COMMON["input_size"], generator=torch.Generator().manual_seed(0))


def random_weights(network: RelaxedNetwork, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(network.alphas_shape, generator=generator).softmax(dim=-1)


def one_hot(network: RelaxedNetwork, arch: Architecture) -> NDArray[np.float64]:
    """1 for the operations of an architecture, and for ``none`` on edges it does not have."""
    assert isinstance(network.space, CellSpace)
    weights = np.zeros(network.alphas_shape)
    weights[..., network.ops.index("none")] = 1.0
    for cell, edges in enumerate(network.space.cells(arch).values()):
        for edge in edges:
            place = (cell, network.edges.index(f"{edge.target}<-{edge.source}"))
            weights[place] = 0.0
            weights[(*place, network.ops.index(edge.op))] = 1.0
    return weights


def drawn(network: RelaxedNetwork, num: int) -> list[Architecture]:
    """Architectures that can be derived, without pools, which only mixtures normalise."""
    rng = np.random.default_rng(0)
    if network.space.name == "nasbench201":
        return [network.space.sample(rng) for _ in range(num)]
    # those of "nasnet" may read a state twice
    distinct = create_space("darts").restrict({"op": CONVOLUTIONS_AND_SKIPS})
    texts = [distinct.format(distinct.sample(rng)) for _ in range(num)]
    return [network.space.parse(text) for text in texts]


def test_shapes_and_names(make_network: MakeNetwork, images: Tensor) -> None:
    network = make_network()
    assert network.alphas_shape == (
        len(network.cells),
        len(network.edges),
        len(network.ops),
    )
    logits = network(images, random_weights(network))
    assert logits.shape == (4, 3)
    with pytest.raises(ValueError, match="op_weights must be"):
        network(images, torch.ones(2, 3))


def test_weights_are_those_of_the_supernet(make_network: MakeNetwork, supernet: Supernet) -> None:
    network = make_network()
    supernet.load_state_dict(network.state_dict())  # raises where a name or a shape differs
    assert network.supernet.settings == supernet.settings


@pytest.mark.parametrize("training", [True, False])
def test_one_operation_per_edge_is_a_path_of_the_supernet(
    make_network: MakeNetwork, supernet: Supernet, images: Tensor, training: bool
) -> None:
    network = make_network().double()
    x = images.double()
    with torch.no_grad():  # running statistics other than fresh ones
        network.train()(2 * x + 1, random_weights(network).double())
    supernet.double().load_state_dict(network.state_dict())
    network.train(training), supernet.train(training)
    for arch in drawn(network, 4):
        weights = torch.from_numpy(one_hot(network, arch))
        with torch.no_grad():
            torch.testing.assert_close(network(x, weights), supernet(x, arch))


def test_derived_architecture_is_the_one_with_all_the_weight(make_network: MakeNetwork) -> None:
    network = make_network()
    for arch in drawn(network, 6):
        assert network.discretize(one_hot(network, arch) + 0.01) == arch


def test_costs_are_those_of_architectures(make_network: MakeNetwork, supernet: Supernet) -> None:
    network = make_network()
    table = network.op_macs()
    archs = drawn(network, 8)
    _, macs = supernet.benchmark_count(network.space.choices_of(archs))
    summed = np.array([(one_hot(network, arch) * table).sum() for arch in archs])
    rest = macs - summed
    assert (rest == rest[0]).all() and rest[0] > 0
    assert not table[..., network.ops.index("none")].any()


@pytest.mark.parametrize("partial_channels", [1, 2])
def test_pruned_operations_have_no_weights_and_no_effect(
    make_network: MakeNetwork, images: Tensor, partial_channels: int
) -> None:
    full = make_network(partial_channels=partial_channels)
    op_mask = np.ones(full.alphas_shape, np.bool_)
    op_mask[..., 1] = False
    op_mask[0, 2, 3] = False
    pruned = make_network(op_mask=op_mask, partial_channels=partial_channels)
    own, less = full.state_dict(), pruned.state_dict()
    assert len(less) < len(own)
    pruned.load_state_dict({name: own[name] for name in less})
    weights = random_weights(full)
    masked = weights * torch.from_numpy(op_mask)
    torch.testing.assert_close(pruned(images, weights), full(images, masked))


def test_every_weight_has_a_gradient(make_network: MakeNetwork, images: Tensor) -> None:
    network = make_network()
    weights = random_weights(network).requires_grad_()
    network(images, weights).square().sum().backward()
    assert weights.grad is not None
    is_none = np.array([op == "none" for op in network.ops])
    assert not weights.grad[..., is_none].any()
    assert weights.grad[..., ~is_none].abs().min() > 0
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.slow
def test_gradients_of_weights_are_right(make_network: MakeNetwork, images: Tensor) -> None:
    network = make_network().double()
    x = images.double()
    weights = random_weights(network).double().requires_grad_()
    direction = torch.randn_like(weights)

    def value(step: float) -> Tensor:
        value: Tensor = network(x, weights + step * direction).square().sum()
        return value

    (gradient,) = torch.autograd.grad(value(0.0), [weights], create_graph=True)
    with torch.no_grad():
        difference = (value(1e-7) - value(-1e-7)) / 2e-7
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-6)
    # and of gradients, which a search of the second order needs
    (second,) = torch.autograd.grad((gradient * direction).sum(), [weights])
    sides = []
    for step in (1e-7, -1e-7):  # kinks are near
        (side,) = torch.autograd.grad(value(step), [weights])
        sides.append((side * direction).sum())
    torch.testing.assert_close(
        (second * direction).sum(), (sides[0] - sides[1]) / 2e-7, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partial_channels": 3}, "must be at least 1 and divide the 4 channels"),
        ({"partial_channels": 0}, "must be at least 1 and divide the 4 channels"),
        ({"op_mask": np.ones((1, 2, 3), np.bool_)}, "op_mask must be"),
    ],
)
def test_bad_settings_are_refused(
    make_network: MakeNetwork, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_network(**settings)


def test_edges_without_operations_are_refused(make_network: MakeNetwork) -> None:
    op_mask = np.ones(make_network().alphas_shape, np.bool_)
    op_mask[0, 1] = False
    with pytest.raises(ValueError, match="with an operation on every edge"):
        make_network(op_mask=op_mask)


def test_affine_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="can scale"):
        create_relaxed_network("nasbench201", bn_mode="affine", **COMMON)


def test_spaces_without_relaxed_network_are_refused() -> None:
    with pytest.raises(ValueError, match="'mobilenetv3' has no relaxed network"):
        create_relaxed_network("mobilenetv3", **COMMON)


def normalise(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize("partial_channels", [1, 2])
def test_nasbench201_cell_is_the_weighted_sum(partial_channels: int) -> None:
    torch.manual_seed(0)
    op_mask = np.ones((len(EDGES), len(OPS)), np.bool_)
    cell = NASBench201Cell(4, op_mask, BN_POLICIES["ref"].cell, partial_channels).double()
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    weights = torch.rand(len(EDGES), len(OPS), dtype=torch.float64)
    width = 4 // partial_channels
    nodes = [x]
    for target in (1, 2, 3):
        total = torch.zeros_like(x)
        for i, (source, end) in enumerate(EDGES):
            if end != target:
                continue
            seen, passed = nodes[source][:, :width], nodes[source][:, width:]
            convs = cell.edges[i]
            mixed = (
                weights[i, 1] * seen
                + weights[i, 2] * normalise(F.conv2d(F.relu(seen), convs["2"].conv.weight))
                + weights[i, 3]
                * normalise(F.conv2d(F.relu(seen), convs["3"].conv.weight, padding=1))
                + weights[i, 4] * F.avg_pool2d(seen, 3, 1, 1, count_include_pad=False)
            )
            both = torch.cat([mixed, passed], dim=1)
            # shuffled: channel j of group i becomes channel i of group j
            order = torch.arange(4).view(partial_channels, width).T.flatten()
            total = total + both[:, order]
        nodes.append(total)
    torch.testing.assert_close(cell(x, [list(row) for row in weights]), nodes[-1])


@pytest.mark.parametrize("kind", ["normal", "reduce"])
@pytest.mark.parametrize("partial_channels", [1, 2])
def test_nasnet_cell_is_the_weighted_sum(kind: str, partial_channels: int) -> None:
    torch.manual_seed(0)
    op_mask = np.ones((len(NASNET_EDGES), len(NASNET_OPS) + 1), np.bool_)
    shape = CellShape(kind, (4, 4), 4, False)
    cell = NASNetCell(shape, op_mask, partial_channels=partial_channels).double()
    inputs = [torch.randn(3, 4, 6, 6, dtype=torch.float64) for _ in range(2)]
    weights = torch.rand(op_mask.shape, dtype=torch.float64)
    width = 4 // partial_channels
    states = [cell.preprocess0(inputs[0]), cell.preprocess1(inputs[1])]
    for target in range(2, 6):
        total: Tensor | None = None
        for i, (source, end) in enumerate(NASNET_EDGES):
            if end != target:
                continue
            stride = 2 if kind == "reduce" and source < 2 else 1
            seen, passed = states[source][:, :width], states[source][:, width:]
            terms = []
            for j, op in enumerate(NASNET_OPS):
                module = create_op(op, width, stride, affine=False).double()
                own: nn.Module = cell.edges[f"{target}<-{source}"][op]
                module.load_state_dict(own.state_dict())
                out = module(seen)
                terms.append(weights[i, j] * (normalise(out) if "pool" in op else out))
            passed = F.max_pool2d(passed, 2) if stride == 2 and partial_channels > 1 else passed
            if stride == 2 and partial_channels == 1:
                passed = passed[:, :, ::2, ::2]  # no channels at all
            both = torch.cat([torch.stack(terms).sum(dim=0), passed], dim=1)
            order = torch.arange(4).view(partial_channels, width).T.flatten()
            total = both[:, order] if total is None else total + both[:, order]
        assert total is not None
        states.append(total)
    expected = torch.cat(states[2:], dim=1)
    found = cell(*inputs, [list(row) for row in weights])
    torch.testing.assert_close(found, expected)


def test_nasnet_keeps_two_edges_by_their_heaviest_operation_but_none() -> None:
    network = create_relaxed_network("darts", **COMMON, **SETTINGS["darts"])
    weights = np.full(network.alphas_shape, 0.1)
    weights[..., network.ops.index("none")] = 9.0
    for target, sources in {2: (0, 1), 3: (0, 2), 4: (1, 3), 5: (2, 4)}.items():
        for number, source in enumerate(sources):
            edge = network.edges.index(f"{target}<-{source}")
            weights[0, edge, network.ops.index("sep_conv_3x3")] = 0.5 + number
            weights[1, edge, network.ops.index("max_pool_3x3")] = 0.5
    text = network.space.format(network.discretize(weights))
    normal = [("sep_conv_3x3", s) for pair in ((0, 1), (0, 2), (1, 3), (2, 4)) for s in pair]
    reduce = [("max_pool_3x3", s) for _, s in normal]
    expected = f"Genotype(normal={normal}, normal_concat=range(2, 6), reduce={reduce}, "
    assert network.space.parse(expected + "reduce_concat=range(2, 6))") == network.space.parse(text)


def test_nasbench201_takes_none_like_any_operation() -> None:
    network = create_relaxed_network("nasbench201", **COMMON)
    weights = np.full(network.alphas_shape, 0.1)
    for edge, op in enumerate((0, 3, 1, 0, 2, 4)):
        weights[0, edge, op] = 0.2
    assert network.discretize(weights).choices == (0, 3, 1, 0, 2, 4)
