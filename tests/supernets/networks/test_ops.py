"""The operations of cells against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernets.networks.ops import FactorizedReduce, PointwiseConv2d, ReLUConvBN, create_op
from supernets.spaces.nasnet import OPS

SIDES = ((7, 7), (8, 8), (15, 9), (1, 2))
KERNELS = {"sep_conv_3x3": 3, "sep_conv_5x5": 5, "dil_conv_3x3": 3, "dil_conv_5x5": 5}
NORMALISED = 1 / (1 + 1e-5) ** 0.5  # what fresh BatchNorm in eval mode multiplies by


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convolutions(op: nn.Module) -> list[nn.Conv2d]:
    return [module for module in op.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPS)
def test_sides_are_divided_by_the_stride_and_rounded_up(name: str, stride: int) -> None:
    op = create_op(name, 5, stride, affine=True).eval()
    for height, width in SIDES:
        shape = (2, 5, -(-height // stride), -(-width // stride))
        assert op(images(2, 5, height, width)).shape == shape


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPS)
def test_the_input_is_left_as_it_is(name: str, stride: int) -> None:
    """Other operations of the cell read it too."""
    op = create_op(name, 4, stride, affine=False).train()
    x = images(3, 4, 8, 8)
    before = x.clone()
    op(x)
    assert torch.equal(x, before)
    x.requires_grad_()  # what is needed to get gradients is left as well
    op(x).square().sum().backward()
    assert x.grad is not None and torch.equal(x.detach(), before)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_convolutions_are_depthwise_and_pointwise(name: str, stride: int) -> None:
    op, kernel = create_op(name, 6, stride, affine=True), KERNELS[name]
    dilation, repeats = (1, 2) if name.startswith("sep") else (2, 1)
    convs = convolutions(op)
    assert len(convs) == 2 * repeats
    assert all(conv.bias is None for conv in convs)
    for i, (depthwise, pointwise) in enumerate(zip(convs[::2], convs[1::2], strict=True)):
        assert depthwise.kernel_size == (kernel, kernel) and depthwise.groups == 6
        assert depthwise.stride == ((stride, stride) if i == 0 else (1, 1))
        assert depthwise.dilation == (dilation, dilation)
        assert pointwise.kernel_size == (1, 1) and pointwise.groups == 1
        assert pointwise.stride == (1, 1)
    assert {conv.padding for conv in convs[::2]} == {(dilation * (kernel // 2),) * 2}
    num_params = repeats * (6 * kernel**2 + 6 * 6 + 2 * 6)
    assert sum(parameter.numel() for parameter in op.parameters()) == num_params


@pytest.mark.parametrize(
    ("name", "padding", "dilation"),
    [
        ("sep_conv_3x3", 1, 1),
        ("sep_conv_5x5", 2, 1),
        ("dil_conv_3x3", 2, 2),
        ("dil_conv_5x5", 4, 2),
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_by_hand(name: str, padding: int, dilation: int, stride: int) -> None:
    op, x = create_op(name, 4, stride, affine=True).eval(), images(2, 4, 9, 8)
    expected = x
    convs = convolutions(op)
    for i, (depthwise, pointwise) in enumerate(zip(convs[::2], convs[1::2], strict=True)):
        step = stride if i == 0 else 1
        expected = expected.clamp(min=0)
        expected = F.conv2d(expected, depthwise.weight, None, step, padding, dilation, groups=4)
        expected = torch.einsum("oi,nihw->nohw", pointwise.weight[:, :, 0, 0], expected)
        expected = expected * NORMALISED
    torch.testing.assert_close(op(x), expected)


@pytest.mark.parametrize(("name", "reach"), [("dil_conv_3x3", 1), ("dil_conv_5x5", 2)])
def test_dilated_convolutions_read_every_second_pixel(name: str, reach: int) -> None:
    op = create_op(name, 2, 1, affine=False).eval()
    for conv in convolutions(op):
        nn.init.ones_(conv.weight)
    point = torch.zeros(1, 2, 15, 15)
    point[:, :, 7, 6] = 1
    rows, columns = torch.nonzero(op(point)[0, 0], as_tuple=True)
    steps = range(-2 * reach, 2 * reach + 1, 2)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (7 + i, 6 + j) for i in steps for j in steps
    }


@pytest.mark.parametrize("stride", [1, 2])
def test_average_pools_do_not_count_the_padding(stride: int) -> None:
    pool = create_op("avg_pool_3x3", 3, stride, affine=True)
    for height, width in SIDES:
        assert (pool(torch.full((1, 3, height, width), 2.5)) == 2.5).all()
    ramp = torch.arange(9.0).reshape(1, 1, 3, 3)
    expected = torch.tensor([[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]])
    assert torch.equal(pool(ramp)[0, 0], expected[::stride, ::stride])


@pytest.mark.parametrize("stride", [1, 2])
def test_max_pools_do_not_see_the_padding(stride: int) -> None:
    pool = create_op("max_pool_3x3", 3, stride, affine=True)
    assert (pool(torch.full((1, 3, 7, 8), -2.5)) == -2.5).all()
    ramp = torch.arange(9.0).reshape(1, 1, 3, 3)
    expected = torch.tensor([[4.0, 5, 5], [7, 8, 8], [7, 8, 8]])
    assert torch.equal(pool(ramp)[0, 0], expected[::stride, ::stride])


def test_pools_and_identities_have_no_parameters() -> None:
    for name, stride in (("max_pool_3x3", 2), ("avg_pool_3x3", 2), ("skip_connect", 1)):
        op = create_op(name, 4, stride, affine=True)
        assert not op.state_dict()
        assert not list(op.children())  # nor BatchNorm after pools
    x = images(1, 4, 5, 5)
    assert create_op("skip_connect", 4, 1, affine=True)(x) is x
    assert isinstance(create_op("skip_connect", 4, 2, affine=True), FactorizedReduce)


@pytest.mark.parametrize("channels", [6, 5])
def test_factorized_reduce_by_hand(channels: int) -> None:
    """Half of the channels from the pixels of even, the others from those of odd coordinates."""
    op, x = FactorizedReduce(3, channels, affine=True).eval(), images(2, 3, 8, 6)
    first, second = (conv.weight[:, :, 0, 0] for conv in convolutions(op))
    assert (len(first), len(second)) == (channels // 2, channels - channels // 2)
    positive = x.clamp(min=0)
    halves = [
        torch.einsum("oi,nihw->nohw", first, positive[:, :, 0::2, 0::2]),
        torch.einsum("oi,nihw->nohw", second, positive[:, :, 1::2, 1::2]),
    ]
    torch.testing.assert_close(op(x), torch.cat(halves, dim=1) * NORMALISED)


@pytest.mark.parametrize("size", [(7, 7), (7, 8), (8, 7), (1, 5), (1, 1)])
def test_factorized_reduce_of_odd_sides_sees_zeros_beyond_them(size: tuple[int, int]) -> None:
    op, x = FactorizedReduce(3, 4, affine=False).eval(), images(2, 3, *size)
    even = F.pad(x, (0, size[1] % 2, 0, size[0] % 2))
    torch.testing.assert_close(op(x), op(even))


def test_relu_conv_bn_by_hand() -> None:
    op, x = ReLUConvBN(3, 5, affine=True).eval(), images(2, 3, 4, 7)
    (conv,) = convolutions(op)
    assert conv.bias is None
    expected = torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], x.clamp(min=0))
    before = x.clone()
    torch.testing.assert_close(op(x), expected * NORMALISED)
    assert torch.equal(x, before)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_affine_or_not_and_keeps_statistics(affine: bool) -> None:
    for name, stride, num_norms in (
        ("sep_conv_3x3", 1, 2),
        ("dil_conv_5x5", 2, 1),
        ("skip_connect", 2, 1),
    ):
        op = create_op(name, 4, stride, affine=affine).train()
        norms = [module for module in op.modules() if isinstance(module, nn.BatchNorm2d)]
        assert len(norms) == num_norms
        op(images(2, 4, 8, 8) + 1)
        for norm in norms:
            assert (norm.weight is not None) == (norm.bias is not None) == affine
            assert norm.running_mean is not None and norm.running_mean.any()


@pytest.mark.parametrize("name", ["none", "sep_conv_7x7", ""])
def test_unknown_operations_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown operation '{name}'"):
        create_op(name, 4, 1, affine=True)


@pytest.mark.parametrize(("channels", "stride"), [(3, 2), (4, 1), (24, 2), (5, 3)])
def test_a_pointwise_convolution_is_a_convolution(channels: int, stride: int) -> None:
    conv = PointwiseConv2d(channels, 6, stride).double()
    x = images(2, channels, 9, 8).double().requires_grad_()
    y, expected = conv(x), F.conv2d(x, conv.weight, stride=stride)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    found, wanted = (torch.autograd.grad(z.square().sum(), (x, conv.weight)) for z in (y, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_gradients_of_few_channels_need_no_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where oneDNN is not safe: the strides that convolutions are asked to have."""
    real, strides = F.conv2d, []

    def conv2d(
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, *more: int
    ) -> Tensor:
        strides.append(stride)
        return real(x, weight, bias, stride, *more)

    monkeypatch.setattr(F, "conv2d", conv2d)
    reduce = FactorizedReduce(4, 6, affine=True)
    trained = reduce(images(2, 4, 8, 8))
    assert strides == [1, 1]
    with torch.no_grad():
        torch.testing.assert_close(reduce(images(2, 4, 8, 8)), trained)
    assert strides[2:] == [(2, 2)] * 2
