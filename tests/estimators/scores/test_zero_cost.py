"""Zero-cost proxies against values by hand and explicit derivatives, on networks of every space."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from timm.layers import Attention
from torch import Tensor, nn

from estimators.scores import zero_cost
from estimators.scores.proxy_images import check_minibatch, distinct_images
from estimators.scores.zero_cost import (
    PROXIES,
    fisher,
    grad_norm,
    grasp,
    jacob_cov,
    measure_proxies,
    naswot,
    snip,
    synflow,
)
from supernets.networks.base import Supernet
from supernets.networks.factory import create_subnet
from supernets.spaces import ViTSpace
from supernets.spaces.factory import create_space

SPACES = ("nasbench201", "mobilenetv3", "nasnet", "darts")
#: Logits of two classes are equal for the image (3, 4), so the loss has the slopes (-1/2, 1/2).
IMAGE, LABEL = torch.tensor([[3.0, 4.0]]), torch.tensor([0])


def linear(weight: Sequence[Sequence[float]], bias: Sequence[float] | None = None) -> nn.Linear:
    """A layer with given weights."""
    tensor = torch.tensor(weight)
    layer = nn.Linear(tensor.shape[1], tensor.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(tensor)
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


class Activation(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.function(x)


class SmallNetwork(nn.Module):
    """Convolution, BatchNorm, activation in place, 1x1 convolution, activation, linear layer."""

    def __init__(self, *, batchnorm: bool = True, inplace: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.bn = nn.BatchNorm2d(3) if batchnorm else nn.Identity()
        self.mixing = nn.Conv2d(3, 4, 1)
        self.inplace = inplace
        self.classifier = nn.Linear(4, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, H, W) images to (N, 3) logits."""
        x = F.hardswish(self.bn(self.conv(x)), inplace=self.inplace)
        x = F.hardswish(self.mixing(x), inplace=self.inplace)
        return self.classifier(x.mean(dim=(2, 3)))


def small_network(**settings: bool) -> SmallNetwork:
    """The network in float64, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallNetwork(**settings).double()


def small_batch() -> tuple[Tensor, Tensor]:
    """Six images of two channels and 4x4 pixels in float64, with labels of three classes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 2, 4, 4, generator=generator).double(), torch.arange(6) % 3


@pytest.fixture
def make_subnet(make_supernet: Callable[..., Supernet]) -> Callable[[str], nn.Module]:
    """Extracts a tiny subnet of a space; the elastic one is the smallest and resizes its images."""

    def make(space: str) -> nn.Module:
        if space == "mobilenetv3":
            supernet = make_supernet(space, resolutions=(24, 32))
            return supernet.extract(supernet.space.extremes()[0])
        supernet = make_supernet(space)
        return supernet.extract(supernet.space.sample(np.random.default_rng(4)))

    return make


def batch_for(space: str) -> tuple[Tensor, Tensor]:
    """Twelve images of the size that a tiny subnet of a space takes, with labels."""
    side = 32 if space == "mobilenetv3" else 8
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 3, side, side, generator=generator), torch.arange(12) % 3


def test_grad_norm_of_one_layer_and_of_two() -> None:
    # the gradient is (-1/2, 1/2) times the image, whose norm is 5
    assert grad_norm(linear([[0.0, 0.0], [0.0, 0.0]]), IMAGE, LABEL) == pytest.approx(
        5 / math.sqrt(2)
    )
    # the first layer gets the slopes (-2, 3/2), of norm 5/2
    network = nn.Sequential(
        linear([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), linear([[4.0, -3.0], [0.0, 0.0]], [7.0, 7.0])
    )
    assert grad_norm(network, IMAGE, LABEL) == pytest.approx(5 / math.sqrt(2) + 12.5)


def test_snip_by_hand() -> None:
    # |W * dL/dW|: 1 * 1.5 and 2 * 2, twice; biases do not count
    network = linear([[1.0, -2.0], [1.0, -2.0]], [9.0, 9.0])
    assert snip(network, IMAGE, LABEL) == pytest.approx(11.0)


def test_fisher_by_hand() -> None:
    # both outputs are 2: a * dL/da is -1 and 1, half their squares 1/2, and two weights each
    network = linear([[2.0, -1.0], [2.0, -1.0]])
    assert fisher(network, IMAGE, LABEL) == pytest.approx(2.0)
    # the mean loss halves the slopes, and the squares are averaged over images
    both = IMAGE.repeat(2, 1), LABEL.repeat(2)
    assert fisher(network, *both) == pytest.approx(0.5)


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_fisher_against_derivatives_by_every_output(batchnorm: bool, inplace: bool) -> None:
    network = small_network(batchnorm=batchnorm, inplace=inplace)
    x, y = small_batch()
    first = network.conv(x)
    second = network.mixing(F.hardswish(network.bn(first)))
    third = network.classifier(F.hardswish(second).mean(dim=(2, 3)))
    slopes = torch.autograd.grad(F.cross_entropy(third, y), (first, second, third))
    expected = 0.0
    for output, slope, num_weights in zip((first, second, third), slopes, (18, 3, 4), strict=True):
        for channel in range(output.shape[1]):
            sums = [
                (output[n, channel] * slope[n, channel]).sum().item() ** 2 for n in range(len(x))
            ]
            expected += num_weights * sum(sums) / len(sums) / 2
    assert fisher(network, x, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("batchnorm", [False, True])
def test_grasp_against_the_explicit_hessian(batchnorm: bool) -> None:
    network = small_network(batchnorm=batchnorm)
    x, y = small_batch()
    layers = {name: module.weight for name, module in network.named_children() if name != "bn"}
    flat = torch.cat([weight.detach().flatten() for weight in layers.values()])

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([weight.numel() for weight in layers.values()])
        named = zip(layers.items(), parts, strict=True)
        replaced = {f"{name}.weight": part.view_as(weight) for (name, weight), part in named}
        return F.cross_entropy(torch.func.functional_call(network, replaced, (x,)), y)

    hessian = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    expected = -(flat @ hessian @ gradient).item()
    assert abs(expected) > 1e-4
    assert grasp(network, x, y) == pytest.approx(expected, rel=1e-8)


def test_grasp_of_hard_sigmoid_gates_against_finite_differences() -> None:
    x, y = small_batch()
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randn(shape, generator=generator) for shape in ((3, 8), (3, 3)))
    x = x.flatten(1)[:, :8]
    network = nn.Sequential(linear(first.tolist()), nn.Hardsigmoid(), linear(second.tolist()))
    weights = [first.double(), second.double()]

    def gradients(weights: list[Tensor]) -> tuple[Tensor, ...]:
        weights = [weight.clone().requires_grad_() for weight in weights]
        logits = F.hardsigmoid(x @ weights[0].T) @ weights[1].T
        return torch.autograd.grad(F.cross_entropy(logits, y), weights)

    step = 1e-5
    along = gradients(weights)
    ahead, behind = (
        gradients([w + sign * step * g for w, g in zip(weights, along, strict=True)])
        for sign in (1, -1)
    )
    expected = -sum(
        (w * (a - b)).sum().item() / (2 * step)
        for w, a, b in zip(weights, ahead, behind, strict=True)
    )
    assert abs(expected) > 1e-4
    assert grasp(network.double(), x, y) == pytest.approx(expected, rel=1e-6)


def test_synflow_of_a_chain_sums_the_paths() -> None:
    first, second = [[1.0, -2.0], [0.5, 0.0], [-3.0, 1.0]], [[1.0, -1.0, 2.0], [0.0, 4.0, -0.5]]
    # paths to both outputs: hidden units 3, 0.5 and 4; outputs 3 + 0.5 + 8 and 2 + 2
    network = nn.Sequential(linear(first), nn.ReLU(), linear(second))
    assert synflow(network, IMAGE, LABEL) == pytest.approx(math.log(2 * 15.5))
    # a bias of 1 adds paths of 1 + 0 and 1 + 4 and 2 + 0.5, which the first layer's weights miss
    network = nn.Sequential(linear(first, [-1.0, 1.0, -1.0]), nn.ReLU(), linear(second))
    paths_of_bias = 1 + (1 + 4) + (2 + 0.5)
    expected = math.log(15.5 + (15.5 + paths_of_bias))
    assert synflow(network, IMAGE, LABEL) == pytest.approx(expected)


def test_synflow_reads_no_images_and_no_labels(
    make_subnet: Callable[[str], nn.Module],
) -> None:
    network, (x, y) = make_subnet("nasbench201"), batch_for("nasbench201")
    assert synflow(network, x * math.nan, y) == synflow(network, x, y)
    assert synflow(network, x[:3], y) == synflow(network, x, y)


@pytest.mark.parametrize("proxy", [synflow, naswot])
def test_float64_is_computed_where_the_device_has_none(
    proxy: Any, make_subnet: Callable[[str], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, (x, y) = make_subnet("nasbench201"), batch_for("nasbench201")
    expected, asked = proxy(network, x, y), []

    def on_the_cpu(device: torch.device) -> torch.device:
        asked.append(device)
        return torch.device("cpu")

    monkeypatch.setattr(zero_cost, "device_with_float64", on_the_cpu)
    assert proxy(network, x, y) == expected
    assert asked == [x.device]


def test_synflow_spans_what_float64_holds_and_not_what_it_does_not() -> None:
    layers = [linear([[1e30]]) for _ in range(12)]
    network = nn.Sequential(*layers[:10])
    assert synflow(network, torch.zeros(1, 1), LABEL) == pytest.approx(math.log(10) * 301)
    network = nn.Sequential(*layers)
    assert math.isnan(synflow(network, torch.zeros(1, 1), LABEL))
    assert math.isnan(synflow(linear([[0.0]]), torch.zeros(1, 1), LABEL))


@pytest.mark.parametrize("keep_reduction_bn", [True, False])
def test_synflow_removes_batchnorm_but_from_reductions(
    make_supernet: Callable[..., Supernet], images: Tensor, keep_reduction_bn: bool
) -> None:
    supernet = make_supernet()
    network = supernet.extract(supernet.space.architecture([3, 1, 2, 4, 3, 2]))
    score = synflow(network, images, LABEL, keep_reduction_bn=keep_reduction_bn)
    stripped: Any = supernet.extract(supernet.space.architecture([3, 1, 2, 4, 3, 2])).double()
    skeleton = stripped.skeleton
    skeleton.stem.bn = skeleton.last_bn = nn.Identity()
    for index in (0, 2, 4):
        for edge in skeleton.blocks[index].edges:
            for op in edge.values():
                op.bn = nn.Identity()
    if not keep_reduction_bn:
        for index in (1, 3):
            skeleton.blocks[index].conv_a.bn = skeleton.blocks[index].conv_b.bn = nn.Identity()
    for parameter in stripped.parameters():
        parameter.data = parameter.data.abs()
    stripped(torch.ones(1, 3, 8, 8, dtype=torch.float64)).sum().backward()
    weights = [p for p in stripped.parameters() if p.ndim > 1 and p.grad is not None]
    assert len(weights) == 3 * 4 + 2 * 3 + 2  # cells, reductions, stem and classifier
    expected = math.log(sum((p * p.grad).abs().sum().item() for p in weights))
    assert score == pytest.approx(expected, rel=1e-9)
    other = synflow(network, images, LABEL, keep_reduction_bn=not keep_reduction_bn)
    assert other != pytest.approx(score, rel=1e-3)


def test_synflow_of_other_spaces_has_no_batchnorm_and_keeps_activations(
    make_subnet: Callable[[str], nn.Module],
) -> None:
    x, y = batch_for("mobilenetv3")
    network = make_subnet("mobilenetv3")
    score = synflow(network, x, y)
    inputs = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 5.0)
            nn.init.constant_(module.bias, 5.0)
            module.eps = 3.0
        if isinstance(module, nn.Hardswish):
            module.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    assert synflow(network, x, y) == score
    assert len(inputs) > 10 and all(tensor.dtype == torch.float64 for tensor in inputs)
    assert min(tensor.min() for tensor in inputs) >= 0


@pytest.mark.parametrize("batchnorm", [False, True])
def test_jacob_cov_against_numpy_by_a_loop_over_images(batchnorm: bool) -> None:
    network = small_network(batchnorm=batchnorm)
    x, y = small_batch()
    rows = []
    for i in range(len(x)):
        # without BatchNorm the logits of an image do not depend on the others
        seen = x if batchnorm else x[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda seen: network(seen).sum(), seen)
        rows.append(jacobian[i if batchnorm else 0].numpy().ravel())
    eigenvalues = np.linalg.eigvals(np.corrcoef(rows)).real + 1e-5
    expected = -np.sum(np.log(eigenvalues) + 1 / eigenvalues)
    assert jacob_cov(network, x, y) == pytest.approx(expected, rel=1e-6)
    assert jacob_cov(network, x, (y + 1) % 3) == jacob_cov(network, x, y)


def test_jacob_cov_of_correlations_by_hand() -> None:
    # slopes (1, 0, -1) and (1, -2, 1) are uncorrelated: both eigenvalues are 1
    weights = torch.tensor([[1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    network = Activation(lambda x: (weights * x).sum(dim=1, keepdim=True))
    k = 1e-5
    expected = -2 * (math.log(1 + k) + 1 / (1 + k))
    images = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert jacob_cov(network, images, LABEL) == pytest.approx(expected)
    # opposite slopes: eigenvalues 2 and 0
    weights = torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]])
    expected = -(math.log(2 + k) + 1 / (2 + k) + math.log(k) + 1 / k)
    assert jacob_cov(network, images, LABEL) == pytest.approx(expected, rel=1e-6)
    # slopes that are equal everywhere have no correlation
    weights = torch.ones(2, 3)
    assert math.isnan(jacob_cov(network, images, LABEL))


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.Hardswish(),
        nn.Hardswish(inplace=True),
        Activation(F.relu),
        Activation(lambda x: F.relu(x, inplace=True)),
        Activation(torch.relu),
        Activation(torch.relu_),
        Activation(lambda x: x.relu()),
        Activation(lambda x: x.relu_()),
    ],
)
def test_naswot_of_known_codes(activation: nn.Module) -> None:
    x = torch.tensor([[1.0, -1.0], [2.0, 2.0], [-3.0, -0.5]])  # codes 10, 11, 00
    agreement = np.array([[2, 1, 1], [1, 2, 0], [1, 0, 2]])
    assert np.linalg.det(agreement) == pytest.approx(4)
    once = nn.Sequential(activation)
    assert naswot(once, x.clone(), LABEL) == pytest.approx(math.log(4))
    # the codes of all activations count together
    network = nn.Sequential(nn.Identity(), activation, linear([[1.0, 1.0]], [-2.0]), activation)
    agreement += np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])  # codes 0, 1, 0
    expected = math.log(np.linalg.det(agreement))
    assert naswot(network, x.clone(), LABEL) == pytest.approx(expected)


@pytest.mark.parametrize("proxy", [naswot, jacob_cov])
@pytest.mark.parametrize("blank", [0.0, -2.0])
def test_equal_images_count_once(proxy: Any, blank: float) -> None:
    network, (x, y) = small_network(), small_batch()
    x = torch.cat([x, x.flip(3)])
    x[2] = x[5] = x[7] = blank
    x[9] = x[0]
    distinct = x[[0, 1, 2, 3, 4, 6, 8, 10, 11]]
    found = proxy(network, x, y)
    assert math.isfinite(found) and found == proxy(network, distinct, y)
    x[5] *= -1  # minus zeros are zeros
    assert blank != 0 or proxy(network, x, y) == found


def test_the_order_of_cells_by_naswot_is_that_without_duplicates(
    make_supernet: Callable[..., Supernet],
) -> None:
    supernet = make_supernet()
    rng = np.random.default_rng(3)
    space: Any = supernet.space
    archs = [a for a in space.architectures(space.sample_choices(30, rng)) if space.is_connected(a)]
    x, y = batch_for("nasbench201")
    blank = x.clone()
    blank[3] = blank[5] = -2.0
    clean, found = (
        [naswot(supernet.extract(arch), images, y) for arch in archs[:10]] for images in (x, blank)
    )
    both = [(a, b) for a, b in zip(clean, found, strict=True) if math.isfinite(a)]
    assert len(both) >= 8 and all(math.isfinite(b) for _, b in both)
    assert spearmanr(*zip(*both, strict=True)).statistic > 0.9


def test_images_two_grey_levels_apart_count_as_one() -> None:
    rng = np.random.default_rng(0)
    pictures = torch.tensor(rng.integers(0, 250, (6, 3, 8, 8)))
    pictures[4] = pictures[1] + torch.tensor(rng.integers(0, 3, (3, 8, 8)))
    pictures[5] = pictures[2]
    pictures[5, 0, 0, 0] += 1
    x = (pictures / 255 - 0.5) / 0.25
    assert distinct_images(x).equal(x[:4])
    x[5, 1, 3, 3] += 1  # one pixel of one channel, but far
    assert distinct_images(x).equal(x[[0, 1, 2, 3, 5]])


def test_minibatches_that_say_nothing_are_refused_before_any_work() -> None:
    x, _ = small_batch()
    blank = torch.arange(6.0)[:, None, None, None].expand(x.shape)
    everything = ["grad_norm", "snip", "grasp", "fisher"]
    for name in everything:
        with pytest.raises(ValueError, match=f"{name} cannot tell .* a single colour each, as all"):
            check_minibatch([name], blank)
        with pytest.raises(ValueError, match=f"{name} cannot tell .* 6 images are all the same"):
            check_minibatch([name], x[:1].repeat(6, 1, 1, 1))
    with pytest.raises(ValueError, match="got none"):
        check_minibatch(everything, x[:0])
    check_minibatch(everything, x[:1])
    check_minibatch(["synflow"], blank)
    check_minibatch(everything, torch.cat([x[:1], blank]))


def test_distinct_images_are_taken_as_they_are() -> None:
    x, _ = small_batch()
    assert distinct_images(x) is x
    assert distinct_images(x.to(memory_format=torch.channels_last)).equal(x)


@pytest.mark.parametrize("proxy", [naswot, jacob_cov])
@pytest.mark.parametrize(
    ("num_images", "message"),
    [
        (1, "got 1 of which 1 differs; give"),
        (4, "got 4 of which 1 differs"),
        (0, "got 0 of which 0"),
    ],
)
def test_scores_that_compare_images_need_two_that_differ(
    proxy: Any, num_images: int, message: str
) -> None:
    with pytest.raises(ValueError, match=f"need two that differ, {message}"):
        proxy(small_network(), torch.ones(num_images, 2, 4, 4).double(), LABEL)


@pytest.mark.parametrize("proxy", [grad_norm, snip, grasp, fisher])
def test_gradients_of_the_loss_survive_degenerate_minibatches(proxy: Any) -> None:
    network, (x, y) = small_network(), small_batch()
    for images, labels in (
        (x[:1], y[:1]),  # a single image
        (x[:1].repeat(6, 1, 1, 1), y),  # equal images
        (x, torch.zeros_like(y)),  # a single class
        (torch.full_like(x, -2.0), y),  # blank images
    ):
        assert math.isfinite(proxy(network, images, labels))
    with pytest.raises(ValueError, match="need one image or more, got none"):
        proxy(network, x[:0], y[:0])
    pixels = x[:, :, :1, :1]
    assert math.isfinite(proxy(network, pixels, y))
    with pytest.raises(ValueError, match="a single image has no statistics of; give a minibatch"):
        proxy(network, pixels[:1], y[:1])


def test_synflow_needs_no_more_than_a_shape() -> None:
    x, y = small_batch()
    assert synflow(small_network(), x[:1], y) == synflow(small_network(), x, y)


def test_naswot_of_images_of_nearly_equal_codes_is_not_rounding() -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(40, 300)))
    x[7] = 2 * x[3]  # another image with the same signs
    assert math.isnan(naswot(nn.ReLU(), x, LABEL))
    x[7, 0] *= -1
    assert math.isfinite(naswot(nn.ReLU(), x, LABEL))


def test_naswot_of_equal_codes_and_of_none_is_nan() -> None:
    x = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
    assert math.isnan(naswot(nn.ReLU(), x, LABEL))
    assert math.isnan(naswot(nn.Identity(), x, LABEL))


@pytest.mark.parametrize("space", SPACES)
def test_scores_of_every_space_are_finite_reproducible_and_leave_no_trace(
    make_subnet: Callable[[str], nn.Module],
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
    assert_same_weights: Callable[..., None],
    space: str,
) -> None:
    network, (x, y) = make_subnet(space), batch_for(space)
    modules, parameters = list(network.modules()), list(network.parameters())
    for i, module in enumerate(modules):
        module.training = i % 2 == 0
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    weights, x_before, random_state = weights_of(network), x.clone(), torch.get_rng_state()
    scores, seconds = measure_proxies(network, x, y, list(PROXIES))
    assert all(math.isfinite(score) for score in scores.values()), scores
    assert len(set(scores.values())) == len(PROXIES)
    assert all(second > 0 for second in seconds.values())
    assert_same_weights(network, weights)
    assert [module.training for module in modules] == [i % 2 == 0 for i in range(len(modules))]
    assert [p.requires_grad for p in parameters] == [False] + [True] * (len(parameters) - 1)
    assert [p.grad is None for p in parameters] == [i != 1 for i in range(len(parameters))]
    assert torch.equal(parameters[1].grad, torch.ones_like(parameters[1]))
    assert list(network.modules()) == modules
    for module in modules:
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert torch.equal(x, x_before) and not x.requires_grad and x.grad is None
    assert torch.equal(torch.get_rng_state(), random_state)
    network.requires_grad_(True).train()
    assert {name: proxy(network, x, y) for name, proxy in PROXIES.items()} == scores


def test_dropout_and_drop_path_are_off() -> None:
    space = create_space("darts")
    arch = space.sample(np.random.default_rng(0))
    x, y = batch_for("darts")
    scores = []
    for rates in ({}, {"dropout": 0.5, "drop_path": 0.5}):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = create_subnet(
                arch, num_classes=3, channels=4, layers=3, input_size=(3, 8, 8), **rates
            )
        scores.append(measure_proxies(network, x, y, list(PROXIES))[0])
    assert scores[0] == scores[1]


def test_a_cell_without_output_has_no_gradients_and_no_rank(
    make_supernet: Callable[..., Supernet],
) -> None:
    supernet, (x, y) = make_supernet(), batch_for("nasbench201")
    network = supernet.build_subnet(supernet.space.architecture([0] * 6))
    for proxy in (grad_norm, snip, grasp):
        assert proxy(network, x, y) == 0
    for proxy in (synflow, jacob_cov, naswot):
        assert math.isnan(proxy(network, x, y))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_becomes_nan(bad: float) -> None:
    network = nn.Sequential(linear([[1.0, 2.0], [bad, 1.0]]), nn.ReLU(), linear([[1.0, 0.0]] * 2))
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    scores, _ = measure_proxies(network, x, torch.tensor([0, 1]), list(PROXIES))
    assert [name for name, score in scores.items() if not math.isnan(score)] == []


def test_nothing_is_left_in_memory() -> None:
    network, (x, y) = small_network(), small_batch()
    gc.collect()
    gc.disable()
    try:
        known = {id(each) for each in gc.get_objects() if issubclass(type(each), Tensor)}
        measure_proxies(network, x, y, list(PROXIES))
        left = [each for each in gc.get_objects() if issubclass(type(each), Tensor)]
        assert {id(each) for each in left} <= known
    finally:
        gc.enable()


def test_only_what_is_asked_for_is_measured() -> None:
    network = linear([[1.0, -2.0], [1.0, -2.0]])
    scores, seconds = measure_proxies(network, IMAGE, LABEL, ["snip", "grad_norm"])
    assert scores == {"snip": pytest.approx(11.0), "grad_norm": pytest.approx(5 / math.sqrt(2))}
    assert list(seconds) == ["snip", "grad_norm"]
    with pytest.raises(ValueError, match="Unknown proxy 'plain'; choose from grad_norm, snip"):
        measure_proxies(network, IMAGE, LABEL, ["snip", "plain"])


def transformer(num_layers: int = 2) -> nn.Module:
    """The largest network of a small elastic Vision Transformer, as it starts."""
    settings = {"preset": "digits", "num_classes": 3, "input_size": (1, 8, 8)}
    layers = ",".join("2" * num_layers)
    arch = ViTSpace("digits").parse(f"e=32;d={num_layers};h={layers};r={layers}")
    torch.manual_seed(0)
    return create_subnet(arch, **settings)


def digits_like(num_images: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.randn(num_images, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.arange(num_images) % 3


def test_transformers_are_scored_as_without_fused_attention() -> None:
    network, (x, y) = transformer(), digits_like()
    unfused = copy.deepcopy(network)
    for module in unfused.modules():
        if isinstance(module, Attention):
            module.fused_attn = False
    for name in ("grad_norm", "snip", "grasp", "fisher", "jacob_cov", "naswot"):
        score = PROXIES[name](network, x, y)
        assert math.isfinite(score) and score != 0
        assert score == pytest.approx(PROXIES[name](unfused, x, y), rel=1e-3), name


def test_fisher_sums_over_tokens_and_counts_channels() -> None:
    """One linear layer of two tokens: by hand."""
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 1.0]]])  # (1, tokens, inputs)
    layer = linear([[1.0, 0.0], [0.0, 2.0]])
    network = nn.Sequential(layer, Activation(lambda x: x.sum(dim=1)))  # logits (4, 6)
    prob = torch.tensor([4.0, 6.0]).softmax(0)
    slopes = prob - torch.tensor([1.0, 0.0])  # of every token alike
    outputs = torch.tensor([[1.0, 4.0], [3.0, 2.0]])
    expected = 2 * ((outputs * slopes).sum(0) ** 2 / 2).sum()
    assert fisher(network, tokens, LABEL) == pytest.approx(expected.item())


def test_what_says_nothing_of_a_network_is_refused() -> None:
    x, y = digits_like()
    with pytest.raises(ValueError, match="LayerNorm, which this network has.*leave synflow out"):
        synflow(transformer(), x, y)
