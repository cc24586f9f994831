"""The elastic MobileNetV3 supernet against published numbers and timm's networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.mobilenetv3_subnet import ResizingNetwork, mobilenetv3_subnet
from supernets.spaces import Architecture, MobileNetV3Space

SPACE = MobileNetV3Space()
WEAKNAS = {
    800: "d=2,4,4,4,4;k=3,5,5,5,7,5,7,3,3,7,5,7,3,3,5,5,7,5,3,5"
    ";e=4,6,4,4,4,3,4,6,4,6,6,3,6,6,6,3,6,6,4,3",
    1000: "d=4,3,3,3,4;k=5,3,3,3,5,5,5,3,7,5,7,5,3,5,5,3,7,5,3,5"
    ";e=3,3,4,3,4,6,4,4,4,6,6,6,6,6,6,4,6,6,6,3",
}
# Of the blocks of OFA-MobileNetV3 the widths at expansions 3, 4 and 6, within the block and within
# its squeeze-and-excitation.
MID_WIDTHS = {
    1.0: {
        (1, 1): ((48, 64, 96), None),
        (1, 2): ((72, 96, 144), None),
        (2, 1): ((72, 96, 144), (24, 24, 40)),
        (2, 2): ((120, 160, 240), (32, 40, 64)),
        (3, 1): ((120, 160, 240), None),
        (3, 2): ((240, 320, 480), None),
        (4, 1): ((240, 320, 480), (64, 80, 120)),
        (4, 2): ((336, 448, 672), (88, 112, 168)),
        (5, 1): ((336, 448, 672), (88, 112, 168)),
        (5, 2): ((480, 640, 960), (120, 160, 240)),
    },
    1.2: {
        (1, 1): ((72, 96, 144), None),
        (1, 2): ((96, 128, 192), None),
        (2, 1): ((96, 128, 192), (24, 32, 48)),
        (2, 2): ((144, 192, 288), (40, 48, 72)),
        (3, 1): ((144, 192, 288), None),
        (3, 2): ((288, 384, 576), None),
        (4, 1): ((288, 384, 576), (72, 96, 144)),
        (4, 2): ((408, 544, 816), (104, 136, 208)),
        (5, 1): ((408, 544, 816), (104, 136, 208)),
        (5, 2): ((576, 768, 1152), (144, 192, 288)),
    },
}
STAGE_WIDTHS = {1.0: (24, 40, 80, 112, 160), 1.2: (32, 48, 96, 136, 192)}


def published(width: float = 1.0, side: int = 224) -> MobileNetV3Supernet:
    with torch.device("meta"):
        return MobileNetV3Supernet(num_classes=1000, width=width, input_size=(3, side, side))


def uniform(kernel: int, expand: int, depth: int) -> Architecture:
    choices = [
        *[(2, 3, 4).index(depth)] * 5,
        *[(3, 5, 7).index(kernel)] * 20,
        *[(3, 4, 6).index(expand)] * 20,
    ]
    return SPACE.architecture(choices)


SMALLEST, LARGEST = uniform(3, 3, 2), uniform(7, 6, 4)


def costs(supernet: Supernet, *archs: Architecture) -> list[tuple[int, int]]:
    params, macs = supernet.count(np.array([arch.choices for arch in archs]))
    return list(zip(params.tolist(), macs.tolist(), strict=True))


@pytest.mark.parametrize(("width", "num_params"), [(1.0, 7_678_880), (1.2, 10_715_752)])
def test_number_of_parameters_is_the_published_one(width: float, num_params: int) -> None:
    assert sum(parameter.numel() for parameter in published(width).parameters()) == num_params


@pytest.mark.parametrize("width", [1.0, 1.2])
@pytest.mark.parametrize(("i", "expand"), [(0, 3), (1, 4), (2, 6)])
def test_widths_are_the_published_ones(width: float, i: int, expand: int) -> None:
    with torch.device("meta"):
        network = published(width).build_subnet(uniform(3, expand, 4))
    for stage, blocks in enumerate(network.blocks[1:6], start=1):
        assert len(blocks) == 4
        for j, block in enumerate(blocks, start=1):
            mid, squeezed = MID_WIDTHS[width][stage, min(j, 2)]
            assert block.conv_pw.out_channels == block.conv_pwl.in_channels == mid[i]
            assert block.conv_pwl.out_channels == STAGE_WIDTHS[width][stage - 1]
            if squeezed is None:
                assert isinstance(block.se, nn.Identity)
            else:
                assert block.se.conv_reduce.out_channels == squeezed[i]


@pytest.mark.parametrize(
    ("width", "side", "least", "most"),
    [
        (1.0, 128, 41.5, 188.3),
        (1.0, 160, 63.2, 291.3),
        (1.0, 192, 89.8, 417.3),
        (1.0, 224, 121.3, 566.2),
        (1.0, 236, 140.0, 652.4),
        (1.2, 128, 65.5, 280.0),
        (1.2, 160, 100.3, 433.6),
        (1.2, 192, 142.8, 621.3),
        (1.2, 224, 193.1, 843.1),
        (1.2, 236, 222.1, 969.5),
    ],
)
def test_macs_of_the_extremes_are_the_published_ones(
    width: float, side: int, least: float, most: float
) -> None:
    (_, small), (_, large) = costs(published(width, side), SMALLEST, LARGEST)
    # one decimal, and 188.25 rounded up
    assert (small / 1e6, large / 1e6) == pytest.approx((least, most), abs=0.055, rel=0)


@pytest.mark.parametrize(("width", "least", "most"), [(1.0, 3.411, 7.665), (1.2, 4.602, 10.702)])
def test_params_of_the_extremes_are_the_published_ones(
    width: float, least: float, most: float
) -> None:
    (small, _), (large, _) = costs(published(width), SMALLEST, LARGEST)
    assert (round(small / 1e6, 3), round(large / 1e6, 3)) == (least, most)


@pytest.mark.parametrize(
    ("num_queries", "mega_macs", "mega_params"), [(800, 593.16, 8.577), (1000, 560.83, 8.814)]
)
def test_costs_of_the_networks_weaknas_published(
    num_queries: int, mega_macs: float, mega_params: float
) -> None:
    ((params, macs),) = costs(published(1.2, 236), SPACE.parse(WEAKNAS[num_queries]))
    assert round(macs / 1e6, 2) == mega_macs
    assert round(params / 1e6, 3) == mega_params


def test_count_at_224_of_the_network_weaknas_published() -> None:
    ((_, macs),) = costs(published(1.2), SPACE.parse(WEAKNAS[800]))
    assert round(macs / 1e6, 2) == 511.98


def test_every_resolution_costs_what_it_costs_alone() -> None:
    sides = (128, 160, 236)
    with torch.device("meta"):
        supernet = MobileNetV3Supernet(
            num_classes=1000, width=1.2, input_size=(3, 236, 236), resolutions=sides
        )
    for side in sides:
        arch = supernet.space.parse(f"{WEAKNAS[800]};r={side}")
        alone = costs(published(1.2, side), SPACE.parse(WEAKNAS[800]))
        assert costs(supernet, arch) == alone


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_gradients_of_a_kernel_flow_through_its_transforms(
    kernel: int, make_supernet: Callable[..., Supernet]
) -> None:
    supernet = make_supernet("mobilenetv3").train()
    arch = uniform(kernel, 4, 2)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    supernet(x, arch).square().sum().backward()
    subnet = supernet.extract(arch)
    subnet(x).square().sum().backward()
    for stage in range(1, 6):
        elastic, plain = supernet.blocks[stage][0], subnet.blocks[stage][0]
        gradient = plain.conv_dw.weight.grad
        sources = [elastic.conv_dw.weight, *elastic.kernel_transforms.values()]
        expected = torch.autograd.grad(
            elastic.depthwise_weight(kernel, len(gradient)), sources, gradient, allow_unused=True
        )
        for source, like in zip(sources, expected, strict=True):
            assert (source.grad is None) == (like is None)
            if like is not None:
                torch.testing.assert_close(source.grad, like)


@pytest.mark.slow
def test_dropout_and_drop_path_are_timms(make_supernet: Callable[..., Supernet]) -> None:
    """The same random numbers drop the same images and features, at the same rates."""
    supernet = make_supernet("mobilenetv3").train()
    x = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(0)
    settings = {k: v for k, v in supernet.settings.items() if k != "kernel_transform"}
    for _ in range(3):
        arch = supernet.space.sample(rng)
        network = mobilenetv3_subnet(arch, **settings, dropout=0.4, drop_path=0.6).train()
        network.load_state_dict(supernet.extract(arch).state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(1)
            expected = network(x)
            torch.manual_seed(1)
            found = supernet(x, arch, dropout=0.4, drop_path=0.6)
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, supernet(x, arch), rtol=0.01)
        supernet.eval()
        assert torch.equal(supernet(x, arch, dropout=0.4, drop_path=0.6), supernet(x, arch))
        supernet.train()


def test_images_are_resized_to_the_resolution(make_supernet: Callable[..., Supernet]) -> None:
    supernet = make_supernet("mobilenetv3", resolutions=(24, 32)).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(x, (24, 24), mode="bicubic", antialias=True)
    small, full = (supernet.space.parse(f"{WEAKNAS[800]};r={side}") for side in (24, 32))
    plain = make_supernet("mobilenetv3")
    plain.load_state_dict(supernet.state_dict())
    arch = SPACE.parse(WEAKNAS[800])
    assert torch.equal(supernet(x, small), plain.eval()(resized, arch))
    assert torch.equal(supernet(resized, small), supernet(x, small))
    assert torch.equal(supernet(x, full), plain(x, arch))
    subnet = supernet.extract(small)
    assert isinstance(subnet, ResizingNetwork) and subnet.resolution == 24
    assert torch.equal(subnet(x), supernet(x, small))


def test_weights_start_by_fan_out_as_timms() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        supernet = MobileNetV3Supernet(num_classes=10)
    block = supernet.blocks[5][1]
    assert block.conv_pw.weight.std().item() == pytest.approx(math.sqrt(2 / 960), rel=0.02)
    assert block.conv_dw.weight.std().item() == pytest.approx(math.sqrt(2 / 49), rel=0.02)
    assert block.conv_pwl.weight.std().item() == pytest.approx(math.sqrt(2 / 160), rel=0.02)
    assert (block.bn1.weight == 1).all() and (block.bn1.bias == 0).all()
    assert torch.equal(block.kernel_transforms["5"], torch.eye(25))


def test_narrow_and_shallow_paths_leave_the_statistics_of_the_rest_alone(
    make_supernet: Callable[..., Supernet],
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
) -> None:
    supernet = make_supernet("mobilenetv3").train()
    before = weights_of(supernet)
    supernet(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), SMALLEST)
    after = supernet.state_dict()
    in_path = {
        name: tensor.shape for name, tensor in supernet.extract(SMALLEST).state_dict().items()
    }
    for name, tensor in after.items():
        if "running" not in name:
            continue
        num_active = in_path[name][0] if name in in_path else 0
        assert torch.equal(tensor[num_active:], before[name][num_active:]), name
        assert not (tensor[:num_active] == before[name][:num_active]).any(), name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"width": 0.0}, "width must be positive, got 0.0"),
        ({"width": math.nan}, "width must be positive, got nan"),
        ({"input_size": (0, 32, 32)}, "input_size must start with the channels"),
        ({"strides": (2, 2, 2, 2, 1)}, "strides must be 6 numbers"),
        ({"strides": (2, 2, 2, 2, 1, 3)}, "strides must be 6 numbers, each 1 or 2"),
        ({"resolutions": (128, 160)}, "largest of resolutions .* must be the size of the images"),
        ({"resolutions": (16, 224)}, "Images of 16 pixels are smaller than .* stride of 32"),
        ({"input_size": (3, 31, 64)}, "Images of 31 pixels are smaller than .* stride of 32"),
        ({"resolutions": (224, 0)}, "resolutions must be different positive numbers"),
        ({"resolutions": (224, 224)}, "resolutions must be different positive numbers"),
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        MobileNetV3Supernet(**{"num_classes": 10, **wrong})


def test_stages_that_halve_the_image_more_than_timm_does_are_refused() -> None:
    with pytest.raises(ValueError, match=r"four at most have 2, got \[1, 2, 2, 2, 2, 2\]"):
        MobileNetV3Supernet(num_classes=10, strides=(1, 2, 2, 2, 2, 2))
