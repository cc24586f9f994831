"""The NAS-Bench-201 supernet against a naive computation of the benchmark's network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.names import BN_MODES
from supernets.networks.nasbench201 import (
    BN_POLICIES,
    Cell,
    NASBench201Subnet,
    NASBench201Supernet,
    Skeleton,
)
from supernets.spaces import Architecture, NASBench201Space

SPACE = NASBench201Space()
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
EPS = 1e-5

EDGE_CASES = [
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|"
    "+|skip_connect~0|skip_connect~1|skip_connect~2|",
    "|avg_pool_3x3~0|+|avg_pool_3x3~0|avg_pool_3x3~1|"
    "+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|",
    "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_1x1~1|"
    "+|nor_conv_1x1~0|nor_conv_1x1~1|nor_conv_1x1~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    # nodes fed by nothing: what BatchNorm makes of a convolution of zeros is left out
    "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
    "|none~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    "|none~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
    "|none~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|avg_pool_3x3~2|",
    # nodes that nothing reads
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|nor_conv_1x1~0|none~1|none~2|",
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|",
]


def cells(num_random: int) -> list[Architecture]:
    rng = np.random.default_rng(11)
    return [SPACE.parse(text) for text in EDGE_CASES] + [
        SPACE.sample(rng) for _ in range(num_random)
    ]


class NaiveNetwork:
    """The benchmark's network, every edge computed on its own, from a supernet's weights.

    Edges from nodes that nothing reaches are zero, also where BatchNorm would add its bias.

    Args:
        weights: The supernet's state.
        cells_per_stage: Cells per stage.
        in_eval: Whether BatchNorm uses running statistics, where there are any.
    """

    def __init__(self, weights: Mapping[str, Tensor], cells_per_stage: int, in_eval: bool) -> None:
        self.weights, self.cells_per_stage, self.in_eval = weights, cells_per_stage, in_eval

    def batchnorm(self, x: Tensor, name: str) -> Tensor:
        mean = self.weights.get(f"{name}.running_mean") if self.in_eval else None
        var = self.weights.get(f"{name}.running_var") if self.in_eval else None
        if mean is None or var is None:
            mean = x.mean((0, 2, 3))
            var = (x - mean[:, None, None]).square().mean((0, 2, 3))
        x = (x - mean[:, None, None]) / (var + EPS).sqrt()[:, None, None]
        if f"{name}.weight" in self.weights:
            x = x * self.weights[f"{name}.weight"][:, None, None]
            x = x + self.weights[f"{name}.bias"][:, None, None]
        return x

    def conv_bn(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.weights[f"{name}.conv.weight"]
        out = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return self.batchnorm(out, f"{name}.bn")

    def edge(self, x: Tensor, op: str, name: str) -> Tensor:
        if op == "none":
            return x * 0
        if op == "skip_connect":
            return x
        if op == "avg_pool_3x3":
            sums = F.avg_pool2d(x, 3, 1, 1, divisor_override=1)
            return sums / F.avg_pool2d(torch.ones_like(x), 3, 1, 1, divisor_override=1)
        return self.conv_bn(
            x.clamp(min=0), f"{name}.{ {'nor_conv_1x1': 2, 'nor_conv_3x3': 3}[op] }"
        )

    def cell(self, x: Tensor, ops: Mapping[tuple[int, int], str], name: str) -> Tensor:
        nodes, reached = [x], {0}
        for target in (1, 2, 3):
            terms = [
                self.edge(
                    nodes[source],
                    ops[source, target] if source in reached else "none",
                    f"{name}.edges.{EDGES.index((source, target))}",
                )
                for source in range(target)
            ]
            nodes.append(torch.stack(terms).sum(0))
            if any(ops[source, target] != "none" for source in reached):
                reached.add(target)
        return nodes[3]

    def reduction(self, x: Tensor, name: str) -> Tensor:
        out = self.conv_bn(x.clamp(min=0), f"{name}.conv_a", stride=2)
        out = self.conv_bn(out.clamp(min=0), f"{name}.conv_b")
        height, width = x.shape[2:]
        rows = [
            torch.stack(
                [x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for j in range(0, width, 2)], dim=-1
            )
            for i in range(0, height, 2)
        ]
        return out + F.conv2d(torch.stack(rows, dim=-2), self.weights[f"{name}.shortcut.weight"])

    def __call__(self, x: Tensor, arch: Architecture) -> Tensor:
        names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
        ops = {edge: names[op] for edge, op in zip(EDGES, arch.choices, strict=True)}
        x = self.conv_bn(x, "skeleton.stem")
        block = 0
        for stage in range(3):
            if stage > 0:
                x = self.reduction(x, f"skeleton.blocks.{block}")
                block += 1
            for _ in range(self.cells_per_stage):
                x = self.cell(x, ops, f"skeleton.blocks.{block}")
                block += 1
        x = self.batchnorm(x, "skeleton.last_bn").clamp(min=0).mean((2, 3))
        head = (
            self.weights["skeleton.classifier.weight"],
            self.weights["skeleton.classifier.bias"],
        )
        return F.linear(x, *head)


@pytest.mark.parametrize("bn_mode", BN_MODES)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_logits_and_gradients_equal_the_naive_network(
    make_supernet: Callable[..., Supernet], images: Tensor, bn_mode: str, mode: str
) -> None:
    supernet = make_supernet(bn_mode=bn_mode).double().train(mode == "train")
    weights = {
        name: tensor.detach().clone().requires_grad_(name.endswith("weight"))
        for name, tensor in supernet.state_dict().items()
    }
    naive = NaiveNetwork(weights, cells_per_stage=1, in_eval=mode == "eval")
    parameters = dict(supernet.named_parameters())
    names = sorted(parameters.keys() & {n for n, t in weights.items() if t.requires_grad})
    x = images.double()
    for arch in cells(12):
        logits, expected = supernet(x, arch), naive(x, arch)
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
        found = torch.autograd.grad(
            logits.square().sum(), [parameters[name] for name in names], allow_unused=True
        )
        wanted = torch.autograd.grad(
            expected.square().sum(), [weights[name] for name in names], allow_unused=True
        )
        for name, gradient, other in zip(names, found, wanted, strict=True):
            gradient = torch.zeros(()) if gradient is None else gradient
            other = torch.zeros(()) if other is None else other
            torch.testing.assert_close(
                *torch.broadcast_tensors(gradient.double(), other.double()),
                rtol=1e-7,
                atol=1e-7,
                msg=lambda text, name=name: f"{name}: {text}",
            )


@pytest.mark.parametrize("size", [(3, 15, 15), (1, 7, 10), (3, 4, 5), (2, 28, 28)])
def test_odd_sides_and_several_cells_equal_the_naive_network(
    make_supernet: Callable[..., Supernet], size: tuple[int, int, int]
) -> None:
    supernet = make_supernet(input_size=size, cells_per_stage=2, channels=3).double().train()
    naive = NaiveNetwork(supernet.state_dict(), cells_per_stage=2, in_eval=False)
    x = torch.randn(4, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        for arch in cells(3):
            torch.testing.assert_close(supernet(x, arch), naive(x, arch), rtol=1e-8, atol=1e-8)


def test_disconnected_cells_give_every_image_the_same_logits(
    make_supernet: Callable[..., Supernet], images: Tensor
) -> None:
    supernet = make_supernet(bn_mode="affine").eval()
    archs = list(SPACE.enumerate())
    dead = [arch for arch in archs if not SPACE.is_connected(arch)][::20]
    live = [arch for arch in archs if SPACE.is_connected(arch)][::800]
    with torch.no_grad():
        # the reduction's shortcut carries nothing either: a dead cell passes nothing on
        assert all((supernet(images, arch) == supernet(images, arch)[0]).all() for arch in dead)
        assert not any((supernet(images, arch) == supernet(images, arch)[0]).all() for arch in live)


def test_one_step_uses_each_convolution_of_the_path_once_and_no_other(
    make_supernet: Callable[..., Supernet], images: Tensor
) -> None:
    supernet = make_supernet(cells_per_stage=2)
    calls: list[str] = []
    for name, module in supernet.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    arch = SPACE.parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    )
    supernet(images, arch)
    blocks = [0, 1, 3, 4, 6, 7]  # 2 and 5 are reductions
    expected = ["skeleton.stem.conv"]
    for reduction in (2, 5):
        for part in ("conv_a.conv", "conv_b.conv", "shortcut"):
            expected.append(f"skeleton.blocks.{reduction}.{part}")
    for block in blocks:
        for edge, op in ((0, 3), (1, 2), (5, 2)):
            expected.append(f"skeleton.blocks.{block}.edges.{edge}.{op}.conv")
    assert sorted(calls) == sorted(expected)


def test_edges_the_output_cannot_see_are_not_computed(
    make_supernet: Callable[..., Supernet], images: Tensor
) -> None:
    supernet = make_supernet()
    calls: list[str] = []
    for name, module in supernet.named_modules():
        if isinstance(module, nn.Conv2d) and ".edges." in name:
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    supernet(
        images,
        SPACE.parse(
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|nor_conv_1x1~0|none~1|none~2|"
        ),
    )
    assert calls == [f"skeleton.blocks.{block}.edges.3.2.conv" for block in (0, 2, 4)]


@pytest.mark.parametrize(
    ("bn_mode", "cell", "last", "outer"),
    [  # (affine, tracked) of cells, last BatchNorm, stem and reductions
        ("ref", (False, False), (False, False), (True, True)),
        ("batch", (False, False), (False, False), (True, False)),
        ("drnas", (False, True), (True, True), (True, True)),
        ("affine", (True, True), (True, True), (True, True)),
    ],
)
def test_batchnorm_policies(
    make_supernet: Callable[..., Supernet],
    bn_mode: str,
    cell: tuple[bool, bool],
    last: tuple[bool, bool],
    outer: tuple[bool, bool],
) -> None:
    supernet = make_supernet(bn_mode=bn_mode)
    arch = SPACE.architecture((3, 2, 3, 2, 3, 2))
    counts = {"cell": 0, "last": 0, "outer": 0}
    for network in (supernet, supernet.extract(arch)):
        for name, module in network.named_modules():
            if not isinstance(module, nn.BatchNorm2d):
                continue
            place = "cell" if ".edges." in name else "last" if "last_bn" in name else "outer"
            counts[place] += 1
            affine, tracked = {"cell": cell, "last": last, "outer": outer}[place]
            assert (module.weight is not None, module.bias is not None) == (affine, affine)
            assert module.track_running_stats == tracked
            assert (module.running_mean is not None) == (module.running_var is not None) == tracked
    # 3 cells of 6 edges with 2 convolutions, then with 1; stem and two reductions of two
    assert counts == {"cell": 36 + 18, "last": 2, "outer": 5 + 5}
    built = [m for m in supernet.build_subnet(arch).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(built) == 18 + 1 + 5
    assert all(module.affine and module.track_running_stats for module in built)


def test_eval_mode_depends_on_the_batch_only_where_statistics_are_not_tracked(
    make_supernet: Callable[..., Supernet], images: Tensor
) -> None:
    arch = SPACE.parse(EDGE_CASES[4])
    for bn_mode, depends in (("ref", True), ("batch", True), ("drnas", False), ("affine", False)):
        supernet = make_supernet(bn_mode=bn_mode).eval()
        alone, together = supernet(images[:5], arch), supernet(images, arch)[:5]
        assert torch.allclose(alone, together, atol=1e-5) != depends


def test_default_is_the_benchmarks_own_size() -> None:
    with torch.device("meta"):
        supernet = NASBench201Supernet(num_classes=10)
    assert supernet.settings == {
        "num_classes": 10,
        "channels": 16,
        "cells_per_stage": 5,
        "input_size": (3, 32, 32),
        "bn_mode": "ref",
    }
    convolutions = [m for m in supernet.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 15 * 12 + 1 + 2 * 3
    assert all(convolution.bias is None for convolution in convolutions)
    assert max(convolution.out_channels for convolution in convolutions) == 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"cells_per_stage": 0}, "cells_per_stage must be at least 1, got 0"),
        ({"input_size": (3, 3, 8)}, "height of input_size must be at least 4, got 3"),
        ({"input_size": (3, 8, 3)}, "width of input_size must be at least 4, got 3"),
        ({"input_size": (0, 8, 8)}, "channels of input_size must be at least 1, got 0"),
        ({"bn_mode": "none"}, "Unknown bn_mode 'none'; choose from ref, batch, drnas, affine"),
    ],
)
def test_settings_out_of_range_are_refused(
    tiny_settings: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NASBench201Supernet(**{**tiny_settings, **settings})


def test_input_size_read_from_a_file_as_a_list_is_stored_as_a_tuple(
    tiny_settings: dict[str, Any],
) -> None:
    supernet = NASBench201Supernet(**{**tiny_settings, "input_size": [3, 8, 8]})
    assert supernet.settings["input_size"] == supernet.input_size == (3, 8, 8)


@pytest.mark.parametrize("bn_mode", BN_MODES)
def test_convolutions_that_are_not_live_are_in_no_subnet(
    make_supernet: Callable[..., Supernet], images: Tensor, bn_mode: str
) -> None:
    supernet = make_supernet(bn_mode=bn_mode)
    for text, names in {
        # the first convolution sees zeros, so does the one after it; one more is never read
        "|none~0|+|none~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|nor_conv_3x3~2|": {"3.2"},
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|": set(),
    }.items():
        arch = SPACE.parse(text)
        extracted = supernet.extract(arch)
        standalone = supernet.to_standalone(extracted)
        for subnet in (extracted, standalone, supernet.build_subnet(arch)):
            held = {name.split(".edges.")[1] for name in subnet.state_dict() if ".edges." in name}
            assert {name[:3] for name in held} == names
        assert torch.equal(extracted.train()(images), standalone.train()(images))


def test_fresh_weights_are_those_of_the_whole_network() -> None:
    settings: dict[str, Any] = {"num_classes": 3, "channels": 4, "cells_per_stage": 1}
    arch = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    torch.manual_seed(0)
    state = NASBench201Subnet(arch, **settings).state_dict()
    torch.manual_seed(0)
    policy = BN_POLICIES["affine"]
    whole = Skeleton(
        lambda width: Cell(width, [[3], [3], [], [2], [], []], policy.cell),
        **settings,
        in_channels=3,
        bn_policy=policy,
    ).state_dict()
    assert {f"skeleton.{name}" for name in whole} > state.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, whole[name.removeprefix("skeleton.")]), name


def test_weights_of_whole_networks_of_earlier_versions_compute_what_they_did(
    images: Tensor,
) -> None:
    settings: dict[str, Any] = {"num_classes": 3, "channels": 4, "cells_per_stage": 1}
    arch = SPACE.parse("|none~0|+|none~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|skip_connect~2|")
    policy = BN_POLICIES["affine"]
    whole = Skeleton(
        lambda width: Cell(width, [[], [], [3], [2], [], []], policy.cell),
        **settings,
        in_channels=3,
        bn_policy=policy,
    )
    state = {f"skeleton.{name}": tensor for name, tensor in whole.state_dict().items()}
    for name in state:
        if ".edges.2.3.bn.bias" in name:  # what training made of it
            state[name] = torch.full_like(state[name], 0.5)
    subnet = NASBench201Subnet(arch, **settings, input_size=(3, 16, 16)).eval()
    optimizable = len(list(subnet.parameters()))
    subnet.load_state_dict(state)
    assert subnet.state_dict().keys() == state.keys()
    assert len(list(subnet.parameters())) == optimizable + 3 * 3
    without = NASBench201Subnet(arch, **settings, input_size=(3, 16, 16)).eval()
    live = {name: tensor for name, tensor in state.items() if ".edges.2." not in name}
    without.load_state_dict(live)
    assert not torch.allclose(subnet(images), without(images))
    for name in state:
        if ".edges.2.3.bn.bias" in name:
            state[name].zero_()
    subnet.load_state_dict(state)
    assert torch.equal(subnet(images), without(images))
    assert not any(module.training for module in subnet.modules())


def test_standalone_network_resets_what_the_policy_left_out(
    make_supernet: Callable[..., Supernet],
) -> None:
    supernet = make_supernet(bn_mode="ref")
    arch = SPACE.parse(EDGE_CASES[4])
    standalone = supernet.to_standalone(supernet.extract(arch)).state_dict()
    inherited = supernet.state_dict()
    cell = "skeleton.blocks.0.edges.0.3"
    assert torch.equal(standalone[f"{cell}.conv.weight"], inherited[f"{cell}.conv.weight"])
    for name in (f"{cell}.bn", "skeleton.last_bn"):
        assert (standalone[f"{name}.weight"] == 1).all() and (standalone[f"{name}.bias"] == 0).all()
        assert (standalone[f"{name}.running_mean"] == 0).all()
        assert (standalone[f"{name}.running_var"] == 1).all()
    for name in ("weight", "bias", "running_mean", "running_var"):
        name = f"skeleton.stem.bn.{name}"
        assert torch.equal(standalone[name], inherited[name])
