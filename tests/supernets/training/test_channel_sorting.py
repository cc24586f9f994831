"""Sorting moves whole channels by importance; what is trained computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from supernets.networks.elastic import ElasticMBConv, expanded_width, squeezed_width
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.spaces import Architecture
from supernets.training.channel_sorting import sort_channels

STAGES = [(6,), (6, 4), (6, 4, 3)]


@pytest.fixture
def supernet() -> MobileNetV3Supernet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = MobileNetV3Supernet(num_classes=5, width=0.5, input_size=(3, 32, 32)).double()
        with torch.no_grad():
            for name, tensor in supernet.state_dict().items():
                if "num_batches" in name:
                    tensor.fill_(7)
                elif name.endswith("running_var"):
                    tensor.uniform_(0.5, 1.5)
                elif tensor.dim() == 1:
                    tensor.normal_(0.5, 0.5)
                elif "kernel_transforms" in name:
                    tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return supernet


def blocks_of(supernet: nn.Module) -> list[ElasticMBConv]:
    return [module for module in supernet.modules() if isinstance(module, ElasticMBConv)]


def arch_of(supernet: MobileNetV3Supernet, expands: Sequence[int]) -> Architecture:
    """All blocks, kernels in turn, the given ratios in turn."""
    kernels = [(7, 5, 3)[i % 3] for i in range(20)]
    ratios = [expands[i % len(expands)] for i in range(20)]
    return supernet.space.parse(
        f"d=4,4,4,4,4;k={','.join(map(str, kernels))};e={','.join(map(str, ratios))}"
    )


def importance(weight: Tensor) -> list[float]:
    return [float(sum(abs(w) for w in column.flatten().tolist())) for column in weight.unbind(1)]


def positions(old: Tensor, new: Tensor) -> list[int]:
    """Where each entry of ``new`` was in ``old``; all are different."""
    return [int((old == entry).nonzero()) for entry in new]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("trained", STAGES, ids=str)
def test_trained_subnets_compute_the_same(
    trained: tuple[int, ...], training: bool, supernet: MobileNetV3Supernet
) -> None:
    supernet.train(training)
    x = torch.randn(6, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    archs = [arch_of(supernet, [expand]) for expand in trained] + [arch_of(supernet, trained)]
    with torch.no_grad():
        before = [supernet(x, arch) for arch in archs]
        sort_channels(supernet, trained)
        for arch, logits in zip(archs, before, strict=True):
            torch.testing.assert_close(supernet(x, arch), logits, rtol=1e-9, atol=1e-9)


def test_untrained_subnets_get_other_channels(supernet: MobileNetV3Supernet) -> None:
    supernet.eval()
    x = torch.randn(6, 3, 32, 32, dtype=torch.float64)
    arch = arch_of(supernet, [4])
    with torch.no_grad():
        before = supernet(x, arch)
        sort_channels(supernet, (6,))
        assert not torch.allclose(supernet(x, arch), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("trained", STAGES, ids=str)
def test_importance_falls_within_each_group(
    trained: tuple[int, ...], supernet: MobileNetV3Supernet
) -> None:
    sort_channels(supernet, trained)
    for block in blocks_of(supernet):
        widths = [expanded_width(block.conv_pw.in_channels, expand) for expand in trained]
        sorted_parts = [(block.conv_pwl.weight, widths)]
        if block.se is not None:
            sorted_parts.append((block.se.conv_expand.weight, [squeezed_width(w) for w in widths]))
        for weight, limits in sorted_parts:
            falling = importance(weight)
            for begin, end in pairwise([0, *reversed(limits)]):
                assert falling[begin:end] == pytest.approx(sorted(falling[begin:end])[::-1])


@pytest.mark.parametrize("trained", STAGES, ids=str)
def test_channels_move_as_wholes_within_their_group(
    trained: tuple[int, ...], supernet: MobileNetV3Supernet
) -> None:
    before = [
        {name: tensor.clone() for name, tensor in block.state_dict().items()}
        for block in blocks_of(supernet)
    ]
    sort_channels(supernet, trained)
    for block, old in zip(blocks_of(supernet), before, strict=True):
        new = block.state_dict()
        order = [
            int((old["bn2.running_mean"] == mean).nonzero()) for mean in block.bn2.running_mean
        ]
        assert sorted(order) == list(range(len(order)))
        assert order != sorted(order)
        for expand in trained:
            width = expanded_width(block.conv_pw.in_channels, expand)
            assert sorted(order[:width]) == list(range(width))
        inner = []
        if block.se is not None:
            inner = positions(old["se.conv_reduce.bias"], block.se.conv_reduce.bias)
            assert sorted(inner) == list(range(len(inner)))
        for name, tensor in old.items():
            if name.startswith(("bn3", "kernel_transforms")) or tensor.dim() == 0:
                moved = tensor
            elif name == "conv_pwl.weight":
                moved = tensor[:, order]
            elif name == "se.conv_reduce.weight":
                moved = tensor[inner][:, order]
            elif name == "se.conv_reduce.bias":
                moved = tensor[inner]
            elif name == "se.conv_expand.weight":
                moved = tensor[order][:, inner]
            else:
                moved = tensor[order]
            assert torch.equal(new[name], moved), name


def test_sorting_again_changes_nothing(supernet: MobileNetV3Supernet) -> None:
    sort_channels(supernet, (6, 4))
    once = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    sort_channels(supernet, (4, 6))
    assert all(torch.equal(tensor, once[name]) for name, tensor in supernet.state_dict().items())


def test_equal_channels_keep_their_order(supernet: MobileNetV3Supernet) -> None:
    block = blocks_of(supernet)[0]
    with torch.no_grad():
        block.conv_pwl.weight.fill_(-1.0)
        block.bn2.running_mean.copy_(torch.arange(block.bn2.num_features))
    sort_channels(supernet, (6,))
    assert block.bn2.running_mean.tolist() == list(range(block.bn2.num_features))


def test_parameters_stay_the_optimizers_own(supernet: MobileNetV3Supernet) -> None:
    supernet.to(memory_format=torch.channels_last)
    before = {name: (id(p), p.data_ptr(), p.stride()) for name, p in supernet.named_parameters()}
    sort_channels(supernet, (6,))
    after = {name: (id(p), p.data_ptr(), p.stride()) for name, p in supernet.named_parameters()}
    assert after == before
    assert all(p.requires_grad and p.grad is None for p in supernet.parameters())


@pytest.mark.parametrize("trained", [(), (4,), (4, 3), (6, 5)], ids=str)
def test_ratios_that_the_space_does_not_have_are_refused(
    trained: tuple[int, ...], supernet: MobileNetV3Supernet
) -> None:
    with pytest.raises(ValueError, match="trained_expands must be 6 and any others of"):
        sort_channels(supernet, trained)
