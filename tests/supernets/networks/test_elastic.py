"""Elastic blocks against kernels by hand and timm's squeeze-and-excitation."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import make_divisible
from torch import Tensor, nn

from supernets.networks.elastic import (
    ElasticMBConv,
    ElasticSqueezeExcite,
    expanded_width,
    first_channels,
    squeezed_width,
)
from supernets.runtime.private_names import SqueezeExcite


def block(stride: int = 1, channels: int = 8, kernel_transform: bool = True) -> ElasticMBConv:
    """From 8 channels to ``channels``, with random kernel transforms."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = ElasticMBConv(
            8,
            channels,
            stride,
            act=F.relu,
            has_se=True,
            max_expand=6,
            kernel_transform=kernel_transform,
        )
        with torch.no_grad():
            for transform in made.kernel_transforms.values():
                transform.normal_()
    return made


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("in_channels", "expand", "mid", "squeezed"),
    [
        (40, 3, 120, 32),
        (40, 4, 160, 40),
        (40, 6, 240, 64),
        (24, 3, 72, 24),  # 18 would be less than 0.9 of itself as 16
        (136, 3, 408, 104),
        (136, 4, 544, 136),
        (192, 6, 1152, 288),
    ],
)
def test_widths_of_the_published_networks(
    in_channels: int, expand: int, mid: int, squeezed: int
) -> None:
    assert expanded_width(in_channels, expand) == mid
    assert squeezed_width(mid) == squeezed


def test_first_channels_are_a_part_of_the_same_weight() -> None:
    weight = torch.arange(24.0).view(4, 3, 1, 2)
    assert first_channels(weight, 4, 3) is weight
    part = first_channels(weight, 2, 1)
    assert part.tolist() == [[[[0, 1]]], [[[6, 7]]]]
    assert part.data_ptr() == weight.data_ptr()


def test_smaller_kernels_are_transformed_centres_of_the_next_larger_one() -> None:
    elastic = block()
    full = elastic.conv_dw.weight.detach().numpy()  # (48, 1, 7, 7)
    transforms = {k: m.detach().numpy() for k, m in elastic.kernel_transforms.items()}
    assert {k: m.shape for k, m in transforms.items()} == {"5": (25, 25), "3": (9, 9)}
    channels = 24
    expected = {7: full[:channels]}
    for size, larger in ((5, 7), (3, 5)):
        kernels = np.zeros((channels, 1, size, size), np.float32)
        for c in range(channels):
            centre = [
                expected[larger][c, 0, row, column]
                for row in range(1, larger - 1)
                for column in range(1, larger - 1)
            ]
            for i in range(size**2):
                value = sum(transforms[str(size)][i, j] * centre[j] for j in range(size**2))
                kernels[c, 0, i // size, i % size] = value
        expected[size] = kernels
    for size, kernels in expected.items():
        found = elastic.depthwise_weight(size, channels).detach().numpy()
        np.testing.assert_allclose(found, kernels, rtol=1e-4, atol=1e-5)


def test_without_transforms_smaller_kernels_are_the_centres() -> None:
    elastic = block(kernel_transform=False)
    assert not list(elastic.kernel_transforms)
    for size, edge in ((7, 0), (5, 1), (3, 2)):
        centre = elastic.conv_dw.weight[:16, :, edge : 7 - edge, edge : 7 - edge]
        assert torch.equal(elastic.depthwise_weight(size, 16), centre)


def test_transforms_start_as_the_identity() -> None:
    fresh = ElasticMBConv(8, 8, 1, act=F.relu, has_se=False, max_expand=6, kernel_transform=True)
    assert torch.equal(fresh.depthwise_weight(3, 16), fresh.conv_dw.weight[:16, :, 2:5, 2:5])


@pytest.mark.parametrize(("kernel", "used"), [(7, set()), (5, {"5"}), (3, {"5", "3"})])
def test_only_the_transforms_on_the_way_get_gradients(
    kernel: int, used: set[str], x: Tensor
) -> None:
    elastic = block()
    elastic(x, kernel, 4).square().sum().backward()
    found = {k for k, m in elastic.kernel_transforms.items() if m.grad is not None}
    assert found == used


def test_transforms_are_computed_in_float32_under_autocast() -> None:
    elastic = block()
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = elastic.depthwise_weight(3, 48)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, elastic.depthwise_weight(3, 48))


@pytest.mark.parametrize("channels", [48, 24])
def test_squeeze_and_excitation_is_timms(channels: int) -> None:
    elastic = ElasticSqueezeExcite(48)
    reference = SqueezeExcite(
        channels,
        gate_layer="hard_sigmoid",
        act_layer=nn.ReLU,
        rd_round_fn=partial(make_divisible, divisor=8),
    )
    squeezed = reference.conv_reduce.out_channels
    assert squeezed == squeezed_width(channels)
    sizes = {"conv_reduce": (squeezed, channels), "conv_expand": (channels, squeezed)}
    with torch.no_grad():
        for name, (out_channels, in_channels) in sizes.items():
            source = getattr(elastic, name)
            getattr(reference, name).weight.copy_(source.weight[:out_channels, :in_channels])
            getattr(reference, name).bias.copy_(source.bias[:out_channels])
    x = 3 * torch.randn(2, channels, 4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(elastic(x), reference(x))


def test_blocks_that_keep_the_shape_have_a_skip(x: Tensor) -> None:
    assert block().has_skip
    for changed in (block(stride=2), block(channels=16)):
        assert not changed.has_skip
    halved = block(stride=2)(x, 5, 3)
    assert halved.shape == (2, 8, 3, 4)
    kept = block()
    with torch.no_grad():
        kept.bn3.weight.zero_()
    assert torch.equal(kept(x, 3, 6), x)


def test_dropped_images_pass_the_skip_alone(x: Tensor) -> None:
    kept = block()
    images = x[:1].repeat(64, 1, 1, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = kept.train()(images, 3, 6, drop_path=0.5) - images
    is_dropped = [not image.any() for image in out.detach()]
    assert 16 < sum(is_dropped) < 48
    whole = kept(images, 3, 6) - images
    for image, reference, dropped in zip(out, whole, is_dropped, strict=True):
        if not dropped:
            torch.testing.assert_close(image, 2 * reference)  # scaled to keep the mean
    assert torch.equal(kept.eval()(images, 3, 6, drop_path=0.5), kept(images, 3, 6))
