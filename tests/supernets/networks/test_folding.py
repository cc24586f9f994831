"""BatchNorm folded into convolutions, where that is the same network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.batchnorm import BatchNorm2d, has_batchnorm, recalibrate_bn
from supernets.networks.folding import can_fold_batchnorm, fold_batchnorm

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNorm2d, BatchNormAct2d])
def test_a_folded_convolution_has_the_scaled_weight_and_the_shifted_bias(
    kind: type[nn.BatchNorm2d],
) -> None:
    conv, norm = nn.Conv2d(3, 1, 1), kind(1, eps=0.0)
    for tensor, value in (
        (conv.weight, 3.0),
        (conv.bias, 1.0),
        (norm.weight, 2.0),
        (norm.bias, -5.0),
        (norm.running_mean, 7.0),
        (norm.running_var, 4.0),
    ):
        assert tensor is not None
        nn.init.constant_(tensor, value)
    network = nn.Sequential(conv, norm).eval()
    folded = fold_batchnorm(network, IMAGES)
    assert not has_batchnorm(folded) and has_batchnorm(network)
    assert isinstance(folded, nn.Sequential)
    assert folded[0].weight.flatten().tolist() == [3.0, 3.0, 3.0]  # 3 * 2 / sqrt(4)
    assert folded[0].bias.item() == -11.0  # (1 - 7) * 2 / sqrt(4) - 5
    assert torch.allclose(folded(IMAGES), network(IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("space", "all_of_it"),
    [
        ("mobilenetv3", True),
        ("resnet50d", True),
        ("proxylessnas", True),
        ("nasbench_macro", True),
        ("nasbench201", False),  # the last BatchNorm reads a sum
        ("nasnet", False),  # some read two convolutions' maps
    ],
)
def test_subnets_of_all_spaces_keep_their_logits(
    make_supernet: Callable[..., Supernet], space: str, all_of_it: bool
) -> None:
    supernet = make_supernet(space)
    x = torch.randn(6, *supernet.input_size, generator=torch.Generator().manual_seed(0)).double()
    arch = supernet.space.sample(np.random.default_rng(4))
    subnet = supernet.to_standalone(supernet.extract(arch)).double()
    recalibrate_bn(subnet, [(x, x)], 1)
    assert can_fold_batchnorm(subnet)
    folded = fold_batchnorm(subnet, x[:2])
    expected, found = subnet(x), folded(x)
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()
    norms = [
        sum(isinstance(child, nn.BatchNorm2d) for child in network.modules())
        for network in (folded, subnet)
    ]
    assert norms[0] < norms[1] and (norms[0] == 0) == all_of_it


class _Shared(nn.Module):
    """A convolution whose output two BatchNorms read, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.left, self.right = nn.Conv2d(3, 3, 1), BatchNorm2d(3), BatchNorm2d(3)
        self.twice, self.once = nn.Conv2d(3, 3, 1), BatchNorm2d(3)
        self.relu_conv, self.relu, self.after = nn.Conv2d(3, 3, 1), nn.ReLU(True), BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = self.once(self.twice(self.twice(self.left(y) + 2 * self.right(y))))
        out: Tensor = self.after(self.relu(self.relu_conv(y)))
        return out


def test_what_is_used_twice_or_changed_in_between_is_not_folded() -> None:
    network = _Shared().eval()
    folded = fold_batchnorm(network, IMAGES)
    assert [*map(type, folded.modules())] == [*map(type, network.modules())]
    assert torch.equal(folded(IMAGES), network(IMAGES))


def test_a_folded_batchnorm_still_computes_the_activation_it_is_given() -> None:
    folded = fold_batchnorm(nn.Sequential(nn.Conv2d(3, 3, 1), BatchNorm2d(3)).eval(), IMAGES)
    assert isinstance(folded, nn.Sequential)
    assert folded[1](IMAGES, activation=F.relu).min() == 0


def test_without_running_statistics_nothing_can_be_folded() -> None:
    assert not can_fold_batchnorm(nn.Conv2d(3, 3, 1))
    assert not can_fold_batchnorm(
        nn.Sequential(BatchNorm2d(3), BatchNorm2d(3, track_running_stats=False))
    )
