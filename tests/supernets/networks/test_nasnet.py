"""The supernet of NASNet cells against published counts and a plain forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.factory import create_subnet
from supernets.networks.nasnet import NASNetSupernet
from supernets.networks.nasnet_subnet import (
    AuxiliaryHead,
    CellShape,
    FixedCell,
    NASNetSubnet,
    cell_shapes,
)
from supernets.spaces import Architecture, Edge, NASNetSpace
from tests.supernets.genotypes import cell

NASNET = NASNetSpace(distinct_inputs=False)


def genotype(normal: str, reduce: str) -> str:
    cells = [cell(text) for text in (normal, reduce)]
    return (
        f"Genotype(normal={cells[0]}, normal_concat=range(2, 6), "
        f"reduce={cells[1]}, reduce_concat=range(2, 6))"
    )


DARTS_V2 = genotype(
    "sep3 0 sep3 1  sep3 0 sep3 1  sep3 1 skip 0  skip 0 dil3 2",
    "max 0 max 1  skip 2 max 1  max 0 skip 2  skip 2 max 1",
)
WEAKNAS = genotype(
    "sep5 1 dil3 0  sep3 0 sep3 2  skip 0 dil5 1  sep3 1 sep5 3",
    "sep5 0 sep5 1  sep3 1 sep5 2  sep3 3 sep5 2  sep5 4 sep3 4",
)
TWICE = genotype(  # an operation twice on one edge of either cell
    "sep3 0 sep3 0  dil5 2 skip 1  max 3 max 3  sep5 1 avg 4",
    "skip 1 skip 1  sep5 2 sep5 2  dil3 0 dil3 0  avg 4 avg 4",
)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def disturb(network: nn.Module) -> None:
    """Moves BatchNorm far from how it starts."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0.0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(0.0, 0.5, generator=generator)


@pytest.fixture(scope="module")
def make_cells() -> Callable[..., NASNetSupernet]:
    """Builds a tiny supernet; with as few channels and cells as there can be unless said."""

    def make(**settings: Any) -> NASNetSupernet:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            supernet = NASNetSupernet(
                **{"num_classes": 3, "channels": 2, "layers": 3, "input_size": (3, 8, 8)} | settings
            )
        disturb(supernet)
        return supernet

    return make


def published(**settings: Any) -> NASNetSupernet:
    """Without weights."""
    with torch.device("meta"):
        return NASNetSupernet(**settings)


def costs(supernet: NASNetSupernet, *archs: Architecture) -> list[tuple[int, int]]:
    params, macs = supernet.count(np.array([arch.choices for arch in archs]))
    return list(zip(params.tolist(), macs.tolist(), strict=True))


IMAGENET = {"num_classes": 1000, "layers": 14, "input_size": (3, 224, 224)}


@pytest.mark.parametrize(
    ("text", "settings", "params", "macs"),
    [
        (DARTS_V2, {"channels": 48, **IMAGENET}, 4_718_752, 529_911_552),
        (WEAKNAS, {"channels": 46, **IMAGENET}, 5_436_061, 591_752_832),
        # DARTS' code says 3.349342 million
        (DARTS_V2, {"num_classes": 10, "channels": 36, "layers": 20}, 3_349_342, 528_359_040),
    ],
    ids=["darts-v2-imagenet", "weaknas-imagenet", "darts-v2-cifar"],
)
def test_costs_of_published_networks(
    text: str, settings: dict[str, Any], params: int, macs: int
) -> None:
    arch = NASNET.parse(text)
    assert costs(published(**settings), arch) == [(params, macs)]


def test_auxiliary_head_is_not_counted() -> None:
    settings: dict[str, Any] = {"num_classes": 3, "channels": 2, "layers": 3}
    arch = NASNET.parse(DARTS_V2)
    plain, with_head = (published(**settings, auxiliary=auxiliary) for auxiliary in (False, True))
    assert costs(plain, arch) == costs(with_head, arch)


@pytest.mark.parametrize("layers", range(3, 21))
def test_cells_after_a_third_and_two_thirds_are_reductions(layers: int) -> None:
    shapes = cell_shapes(16, layers, "cifar")
    reductions = [i for i, shape in enumerate(shapes) if shape.kind == "reduce"]
    assert reductions == [layers // 3, 2 * layers // 3]
    outputs = [48, 48]  # of the stem, which both inputs of the first cell read
    for i, shape in enumerate(shapes):
        num_reductions = sum(reduction <= i for reduction in reductions)
        assert shape.channels == 16 * 2**num_reductions
        assert shape.in_channels == tuple(outputs[-2:])
        assert shape.has_larger_input == (i - 1 in reductions)
        outputs.append(4 * shape.channels)
    first = cell_shapes(16, layers, "imagenet")[0]
    assert first == CellShape("normal", (16, 16), 16, has_larger_input=True)


def test_reductions_of_darts_networks() -> None:
    for layers, reductions in ((8, [2, 5]), (14, [4, 9]), (20, [6, 13])):
        kinds = [shape.kind for shape in cell_shapes(36, layers, "cifar")]
        assert [i for i, kind in enumerate(kinds) if kind == "reduce"] == reductions


class Reference:
    """DARTS' network in eval mode, written out, with the weights of a subnet."""

    def __init__(self, subnet: NASNetSubnet, layers: int) -> None:
        self.weights = subnet.state_dict()
        self.layers = layers

    def conv(self, x: Tensor, name: str, **settings: Any) -> Tensor:
        return F.conv2d(x, self.weights[f"skeleton.{name}.weight"], **settings)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.weights.get(f"skeleton.{name}.{part}")
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        assert mean is not None and var is not None
        return F.batch_norm(x, mean, var, weight, bias)

    def reduce(self, x: Tensor, name: str) -> Tensor:
        x = F.relu(x)
        padded = F.pad(x, (0, 1, 0, 1))
        halves = [
            self.conv(x, f"{name}.conv_1", stride=2),
            self.conv(padded[:, :, 1:, 1:], f"{name}.conv_2", stride=2),
        ]
        return self.norm(torch.cat(halves, 1), f"{name}.bn")

    def op(self, x: Tensor, op: str, name: str, stride: int) -> Tensor:
        if op == "max_pool_3x3":
            return F.max_pool2d(x, 3, stride, 1)
        if op == "avg_pool_3x3":
            return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
        if op == "skip_connect":
            return x if stride == 1 else self.reduce(x, name)
        kernel, dilation = int(op[-1]), 2 if op.startswith("dil") else 1
        for i in range(3 - dilation):  # separable ones twice
            x = self.conv(
                F.relu(x),
                f"{name}.{4 * i + 1}",
                stride=stride if i == 0 else 1,
                padding=dilation * (kernel // 2),
                dilation=dilation,
                groups=x.shape[1],
            )
            x = self.norm(self.conv(x, f"{name}.{4 * i + 2}"), f"{name}.{4 * i + 3}")
        return x

    def cell(self, s0: Tensor, s1: Tensor, i: int, edges: list[Edge], stride: int) -> Tensor:
        name = f"cells.{i}"
        if s0.shape[2] != s1.shape[2]:
            s0 = self.reduce(s0, f"{name}.preprocess0")
        else:
            s0 = self.norm(self.conv(F.relu(s0), f"{name}.preprocess0.1"), f"{name}.preprocess0.2")
        s1 = self.norm(self.conv(F.relu(s1), f"{name}.preprocess1.1"), f"{name}.preprocess1.2")
        states = {0: s0, 1: s1}
        for j, (op, source, target) in enumerate(edges):
            step = stride if source < 2 else 1
            result = self.op(states[source], op, f"{name}.ops.{j}", step)
            states[target] = states[target] + result if target in states else result
        return torch.cat([states[target] for target in (2, 3, 4, 5)], 1)

    def logits(self, x: Tensor, cells: dict[str, list[Edge]], stem: str) -> Tensor:
        if stem == "cifar":
            x = self.norm(self.conv(x, "stem.0.0", padding=1), "stem.0.1")
            s0 = s1 = x
        else:
            x = self.norm(self.conv(x, "stem.0.0", padding=1, stride=2), "stem.0.1")
            x = self.norm(self.conv(F.relu(x), "stem.0.3", padding=1, stride=2), "stem.0.4")
            s0 = x
            s1 = self.norm(self.conv(F.relu(x), "stem.1.1", padding=1, stride=2), "stem.1.2")
        for i in range(self.layers):
            is_reduction = i in (self.layers // 3, 2 * self.layers // 3)
            kind, stride = ("reduce", 2) if is_reduction else ("normal", 1)
            s0, s1 = s1, self.cell(s0, s1, i, cells[kind], stride)
        features = s1.mean((2, 3))
        weight, bias = (self.weights[f"skeleton.classifier.{part}"] for part in ("weight", "bias"))
        return features @ weight.T + bias


@pytest.mark.parametrize(
    ("stem", "size", "layers", "channels"),
    [("cifar", (17, 15), 6, 3), ("imagenet", (40, 64), 5, 4), ("cifar", (8, 8), 3, 2)],
)
def test_logits_by_a_plain_forward_pass(
    stem: str,
    size: tuple[int, int],
    layers: int,
    channels: int,
    make_cells: Callable[..., NASNetSupernet],
) -> None:
    supernet = make_cells(channels=channels, layers=layers, input_size=(3, *size), stem=stem).eval()
    x, rng = images(2, 3, *size), np.random.default_rng(0)
    for arch in [NASNET.parse(TWICE), NASNET.parse(WEAKNAS), NASNET.sample(rng)]:
        subnet = supernet.extract(arch)
        expected = Reference(subnet, layers).logits(x, NASNET.cells(arch), stem)
        torch.testing.assert_close(subnet(x), expected)
        fresh = supernet.build_subnet(arch).eval()
        disturb(fresh)
        expected = Reference(fresh, layers).logits(x, NASNET.cells(arch), stem)
        torch.testing.assert_close(fresh(x), expected)


@pytest.fixture
def supernet(make_cells: Callable[..., NASNetSupernet]) -> NASNetSupernet:
    return make_cells()


@pytest.mark.parametrize("is_training", [False, True])
def test_an_operation_twice_on_one_edge_computes_the_same_when_extracted(
    supernet: NASNetSupernet, is_training: bool
) -> None:
    arch, x = NASNET.parse(TWICE), images(4, 3, 8, 8)
    assert any(len(set(edges)) < len(edges) for edges in NASNET.cells(arch).values())
    subnet = supernet.train(is_training).extract(arch)
    assert subnet.training == is_training
    assert torch.equal(subnet(x), supernet(x, arch))
    standalone = supernet.to_standalone(subnet)
    assert torch.equal(standalone(x), subnet(x))
    pointers = [tensor.untyped_storage().data_ptr() for tensor in subnet.state_dict().values()]
    pointers += [tensor.untyped_storage().data_ptr() for tensor in supernet.state_dict().values()]
    assert len(pointers) == len(set(pointers))


def test_an_operation_twice_on_one_edge_gets_the_gradients_of_both(
    supernet: NASNetSupernet,
) -> None:
    arch, x = NASNET.parse(TWICE), images(4, 3, 8, 8)
    subnet = supernet.train().extract(arch)
    supernet(x, arch).square().sum().backward()
    subnet(x).square().sum().backward()
    edges = NASNET.cells(arch)["normal"]
    first, second = (i for i, edge in enumerate(edges) if edge.op == "sep_conv_3x3")
    assert edges[first] == edges[second]
    name = f"skeleton.cells.0.edges.{edges[first].target}<-0.sep_conv_3x3"
    shared = supernet.get_submodule(name)
    for path, parameter in shared.named_parameters():
        both = [
            subnet.get_parameter(f"skeleton.cells.0.ops.{i}.{path}").grad for i in (first, second)
        ]
        assert both[0] is not None and both[1] is not None
        torch.testing.assert_close(parameter.grad, both[0] + both[1])


@pytest.mark.parametrize(
    "choices",
    [
        # a node's pairs in the other order: states 1 and 1, then operations 4 and 2
        tuple([2, 4, 2] * 8),
        # what node 3 reads comes first in the canonical order
        (2, 6, 3, 0, 0, 1, 0, 5, 0, 3, 2, 1, 1, 4, 3, 2, 2, 1, 9, 0, 0, 14, 5, 4),
    ],
)
def test_the_path_is_that_of_the_choices_canonical_or_not(
    choices: tuple[int, ...], supernet: NASNetSupernet
) -> None:
    arch, x = Architecture("nasnet", choices), images(4, 3, 8, 8)
    with pytest.raises(ValueError, match="not canonical"):
        supernet.space.validate(arch)
    subnet = supernet.train().extract(arch)
    logits = supernet(x, arch)
    assert torch.equal(subnet(x), logits)
    assert supernet.build_subnet(arch)(x).shape == (4, 3)
    logits.square().sum().backward()
    edges = supernet.space.cells(arch)
    allowed = {"skeleton.stem", "skeleton.classifier"}
    for i, kind in enumerate(("normal", "reduce", "reduce")):
        allowed |= {f"skeleton.cells.{i}.preprocess0", f"skeleton.cells.{i}.preprocess1"}
        allowed |= {
            f"skeleton.cells.{i}.edges.{target}<-{source}.{op}"
            for op, source, target in edges[kind]
        }
    for name, parameter in supernet.named_parameters():
        is_on_path = any(name.startswith(f"{prefix}.") for prefix in allowed)
        assert (parameter.grad is not None) == is_on_path, name


def test_two_ways_to_write_a_cell_take_other_weights(supernet: NASNetSupernet) -> None:
    arch = Architecture("nasnet", (2, 6, 3, 0, 0, 1, 0, 5, 0, 3, 2, 1) * 2)
    x, canonical = images(4, 3, 8, 8), supernet.space.architecture(arch.choices)
    supernet.eval()
    assert not torch.allclose(supernet(x, arch), supernet(x, canonical))
    assert costs(supernet, arch) == costs(supernet, canonical)


@pytest.mark.parametrize("is_training", [False, True])
def test_standalone_network_computes_the_same(
    is_training: bool, make_cells: Callable[..., NASNetSupernet]
) -> None:
    supernet = make_cells(channels=3, layers=4).train(is_training)
    x, rng = images(4, 3, 8, 8), np.random.default_rng(2)
    for arch in (NASNET.sample(rng), NASNET.sample(rng)):
        subnet = supernet.extract(arch)
        standalone = supernet.to_standalone(subnet)
        assert torch.equal(standalone(x), subnet(x))
        norms = [m for m in standalone.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(norm.affine and norm.track_running_stats for norm in norms)
        owned = {tensor.untyped_storage().data_ptr() for tensor in subnet.state_dict().values()}
        assert owned.isdisjoint(
            tensor.untyped_storage().data_ptr() for tensor in standalone.state_dict().values()
        )


def test_batch_norm_in_cells_is_not_affine(supernet: NASNetSupernet) -> None:
    for name, module in supernet.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.affine == name.startswith("skeleton.stem"), name
            assert module.track_running_stats


@pytest.fixture
def with_head(make_cells: Callable[..., NASNetSupernet]) -> NASNetSupernet:
    return make_cells(auxiliary=True, input_size=(3, 29, 30), layers=5)


def test_auxiliary_head_gives_logits_of_its_own(with_head: NASNetSupernet) -> None:
    x, arch = images(2, 3, 29, 30), NASNET.parse(WEAKNAS)
    with_head.eval()
    assert with_head.has_auxiliary_head
    logits, auxiliary_logits = with_head.forward_with_auxiliary(x, arch)
    assert logits.shape == auxiliary_logits.shape == (2, 3)
    assert torch.equal(logits, with_head(x, arch))
    assert not torch.allclose(logits, auxiliary_logits)


def test_auxiliary_head_reads_the_second_reduction(with_head: NASNetSupernet) -> None:
    x, arch = images(4, 3, 29, 30), NASNET.parse(WEAKNAS)
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: outputs.update({name: output})

    head = with_head.skeleton.auxiliary
    assert head is not None
    hooks = [
        cell.register_forward_hook(keep(f"cell {i}"))
        for i, cell in enumerate(with_head.skeleton.cells)
    ]
    hooks.append(head.register_forward_pre_hook(lambda _, args: outputs.update(read=args[0])))
    _, auxiliary_logits = with_head.train().forward_with_auxiliary(x, arch)
    for hook in hooks:
        hook.remove()
    assert outputs["read"] is outputs["cell 3"]  # of five cells: 2 * 5 // 3
    auxiliary_logits.square().sum().backward()
    reached = {name for name, p in with_head.named_parameters() if p.grad is not None}
    for name in reached:
        assert not name.startswith(("skeleton.cells.4.", "skeleton.classifier")), name
    assert {name for name, _ in head.named_parameters("skeleton.auxiliary")} <= reached
    assert any(name.startswith("skeleton.cells.3.") for name in reached)


def test_auxiliary_head_is_only_run_when_asked_for(with_head: NASNetSupernet) -> None:
    x, arch = images(4, 3, 29, 30), NASNET.parse(WEAKNAS)
    head = with_head.skeleton.auxiliary
    assert head is not None
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    with_head.train()(x, arch).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())
    assert all(parameter.grad is None for parameter in head.parameters())


def test_extracted_and_built_subnets_have_no_auxiliary_head(with_head: NASNetSupernet) -> None:
    arch = NASNET.parse(WEAKNAS)
    extracted = with_head.extract(arch)
    for subnet in (
        extracted,
        with_head.to_standalone(extracted),
        with_head.build_subnet(arch),
        create_subnet(arch, **with_head.settings),
    ):
        assert isinstance(subnet, NASNetSubnet)
        assert not any("auxiliary" in name for name in subnet.state_dict())
        with pytest.raises(ValueError, match="built without auxiliary head"):
            subnet.forward_with_auxiliary(images(2, 3, 29, 30))


def test_supernets_without_auxiliary_head_say_so(supernet: NASNetSupernet) -> None:
    assert not supernet.has_auxiliary_head
    with pytest.raises(ValueError, match="'nasnet' has no auxiliary head here"):
        supernet.forward_with_auxiliary(images(2, 3, 8, 8), NASNET.parse(WEAKNAS))


def test_subnet_with_auxiliary_head_computes_the_same_without(with_head: NASNetSupernet) -> None:
    arch, x = NASNET.parse(WEAKNAS), images(2, 3, 29, 30)
    plain = with_head.eval().to_standalone(with_head.extract(arch))
    settings = {k: v for k, v in with_head.settings.items() if k != "auxiliary"}
    subnet = NASNetSubnet(arch, **settings, auxiliary=True).eval()
    missing, unexpected = subnet.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all("auxiliary" in name for name in missing)
    logits, auxiliary_logits = subnet.forward_with_auxiliary(x)
    assert torch.equal(logits, plain(x)) and torch.equal(logits, subnet(x))
    assert auxiliary_logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("stem", "side", "num_norms"), [("cifar", 8, 2), ("imagenet", 7, 1), ("imagenet", 9, 1)]
)
def test_auxiliary_heads_by_hand(stem: Any, side: int, num_norms: int) -> None:
    """DARTS' heads end in one pixel of 8x8 and 7x7 maps; of larger ones features are averaged."""
    head = AuxiliaryHead(5, 4, stem).eval()
    disturb(head)
    x = images(2, 5, side, side)
    convs = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in head.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [conv.weight.shape for conv in convs] == [(128, 5, 1, 1), (768, 128, 2, 2)]
    assert all(conv.bias is None for conv in convs) and len(norms) == num_norms
    pooled = F.avg_pool2d(x.clamp(min=0), 5, 3 if stem == "cifar" else 2)
    features = norms[0](convs[0](pooled)).clamp(min=0)
    features = convs[1](features)
    if stem == "cifar":
        features = norms[1](features)
    features = features.clamp(min=0).mean((2, 3))
    torch.testing.assert_close(head(x), head.classifier(features))
    assert pooled.shape[2:] == ((2, 2) if side < 9 else (3, 3))


CELL = CellShape("normal", (6, 6), 6, has_larger_input=False)
SKIPS = [Edge("skip_connect", i % 2, 2 + i // 2) for i in range(8)]


def test_identities_are_never_dropped() -> None:
    cell = FixedCell(CELL, SKIPS, affine=True).train()
    s0, s1 = images(8, 6, 5, 5), images(8, 6, 5, 5, seed=1)
    assert torch.equal(cell(s0, s1, 0.9), cell(s0, s1, 0.0))


@pytest.mark.parametrize("op", ["max_pool_3x3", "sep_conv_3x3", "dil_conv_5x5"])
def test_other_operations_are_dropped_image_by_image(op: str) -> None:
    edges = [Edge("skip_connect", 0, 2), Edge(op, 1, 2), *SKIPS[2:]]
    cell = FixedCell(CELL, edges, affine=True).train()
    s0, s1 = images(64, 6, 5, 5), images(64, 6, 5, 5, seed=1)
    skipped, whole = cell.preprocess0(s0), cell(s0, s1, 0.0)[:, :6]
    result = whole - skipped
    assert torch.equal(cell(s0, s1, 1.0)[:, :6], skipped)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = cell(s0, s1, 0.25)[:, :6] - skipped
    is_kept = kept.flatten(1).abs().amax(1) > 1e-4
    torch.testing.assert_close(kept[is_kept], result[is_kept] / 0.75, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kept[~is_kept], 0 * result[~is_kept], rtol=0, atol=1e-5)
    assert 36 <= is_kept.sum() <= 60  # of 64; 48 expected


def test_skips_of_stride_2_are_dropped() -> None:
    shape = CELL._replace(kind="reduce")
    cell = FixedCell(shape, SKIPS, affine=True).train()
    s0, s1 = images(4, 6, 6, 6), images(4, 6, 6, 6, seed=1)
    assert not cell(s0, s1, 1.0).any()
    assert cell(s0, s1, 0.0).any()


def test_nothing_is_dropped_in_eval_mode(supernet: NASNetSupernet) -> None:
    x, arch = images(4, 3, 8, 8), NASNET.parse(WEAKNAS)
    supernet.eval()
    assert torch.equal(supernet(x, arch, dropout=0.5, drop_path=0.5), supernet(x, arch))
    subnet = NASNetSubnet(arch, **network_settings(supernet), dropout=0.5, drop_path=0.5).eval()
    first, second = subnet(x), subnet(x)
    assert torch.equal(first, second)
    subnet.dropout, subnet.drop_path.drop_prob = 0.0, 0.0
    assert torch.equal(subnet(x), first)


def network_settings(supernet: NASNetSupernet) -> dict[str, Any]:
    return {name: value for name, value in supernet.settings.items() if name != "auxiliary"}


def test_dropout_is_that_of_the_features(supernet: NASNetSupernet) -> None:
    x, arch = images(4, 3, 8, 8), NASNET.parse(WEAKNAS)
    logits = supernet.train()(x, arch, dropout=1.0)  # of no feature only the bias is left
    assert torch.equal(logits, supernet.skeleton.classifier.bias.expand(4, 3))
    assert not torch.allclose(supernet(x, arch), logits)


@pytest.mark.parametrize("rates", [{"dropout": 0.4}, {"drop_path": 0.6}])
def test_supernet_and_subnet_drop_alike(rates: dict[str, float], supernet: NASNetSupernet) -> None:
    x, arch = images(6, 3, 8, 8), NASNET.parse(WEAKNAS)
    subnet = NASNetSubnet(arch, **network_settings(supernet), affine=False, **rates).train()
    subnet.load_state_dict(supernet.train().extract(arch).state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = supernet(x, arch, **rates)
        torch.manual_seed(1)
        assert torch.equal(subnet(x), expected)
    assert not torch.allclose(supernet(x, arch), expected, rtol=0.01)


@pytest.mark.parametrize("channels", [3, 5])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_odd_widths(channels: int, stem: str, make_cells: Callable[..., NASNetSupernet]) -> None:
    supernet = make_cells(channels=channels, stem=stem, input_size=(1, 32, 33)).train()
    arch, x = NASNET.parse(WEAKNAS), images(2, 1, 32, 33)
    assert torch.equal(supernet.extract(arch)(x), supernet(x, arch))
    assert supernet.skeleton.classifier.in_features == 4 * 4 * channels


def test_smallest_images(make_cells: Callable[..., NASNetSupernet]) -> None:
    arch = NASNET.parse(TWICE)
    for stem, side in (("cifar", 4), ("imagenet", 32)):
        supernet = make_cells(stem=stem, input_size=(3, side, side)).eval()
        x = images(2, 3, side, side)
        assert torch.equal(supernet.extract(arch)(x), supernet(x, arch))
        assert supernet(x, arch).isfinite().all()


def test_stem_follows_from_the_image_size() -> None:
    settings: dict[str, Any] = {"num_classes": 2, "channels": 2, "layers": 3}
    for size, stem in (((3, 200, 95), "cifar"), ((3, 96, 97), "imagenet")):
        assert published(**settings, input_size=size).settings["stem"] == stem
        other = "imagenet" if stem == "cifar" else "cifar"
        assert published(**settings, input_size=size, stem=other).settings["stem"] == other


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"channels": 1}, "channels must be at least 2, got 1"),
        ({"layers": 2}, "layers must be at least 3, got 2"),
        ({"input_size": (0, 32, 32)}, "the channels of input_size must be at least 1, got 0"),
        ({"stem": "vit"}, "Unknown stem 'vit'; choose from cifar, imagenet"),
        ({"stem": ""}, "Unknown stem ''"),
        ({"input_size": (3, 3, 32)}, r"of 3 pixels .* stride of 4; .* \(now cifar\)"),
        ({"stem": "imagenet", "input_size": (3, 64, 31)}, "of 31 pixels .* stride of 32"),
        ({"auxiliary": True, "input_size": (3, 28, 32)}, "at least 29 pixels .* cifar, got 28"),
        (
            {"auxiliary": True, "input_size": (3, 224, 192)},
            "at least 193 pixels with stem imagenet, got 192; leave it out",
        ),
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        NASNetSupernet(**{"num_classes": 10, **wrong})


@pytest.mark.parametrize(("stem", "side"), [("cifar", 29), ("imagenet", 193)])
def test_smallest_images_of_the_auxiliary_head(stem: Any, side: int) -> None:
    with torch.device("meta"):
        supernet = NASNetSupernet(
            num_classes=4,
            channels=2,
            layers=3,
            input_size=(3, side, side),
            stem=stem,
            auxiliary=True,
        )
        x = torch.zeros(2, 3, side, side)
        logits, auxiliary_logits = supernet.forward_with_auxiliary(x, NASNET.parse(WEAKNAS))
    assert logits.shape == auxiliary_logits.shape == (2, 4)


def test_architectures_are_of_the_supernets_space(
    make_cells: Callable[..., NASNetSupernet],
) -> None:
    darts = make_cells(distinct_inputs=True).eval()
    x, arch = images(2, 3, 8, 8), darts.space.parse(DARTS_V2)
    assert torch.equal(darts.extract(arch)(x), darts(x, arch))
    foreign = NASNET.parse(DARTS_V2)
    for use in (lambda: darts(x, foreign), lambda: darts.extract(foreign)):
        with pytest.raises(ValueError, match="from space 'nasnet', but this space is 'darts'"):
            use()
    for choices, message in (((0,), "24 decisions, got 1"), ((9,) * 24, "an index from 0 to 0")):
        with pytest.raises(ValueError, match=message):
            darts(x, Architecture("darts", choices))
        with pytest.raises(ValueError, match=message):
            NASNetSubnet(Architecture("darts", choices), num_classes=3)
