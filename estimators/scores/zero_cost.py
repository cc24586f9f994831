"""Zero-cost proxies: what one minibatch shows about a network without a step of training.

Papers: Zero-Cost Proxies for Lightweight NAS, https://arxiv.org/abs/2101.08134, and, for naswot,
Neural Architecture Search without Training, https://arxiv.org/abs/2006.04647

Layers are convolutions and linear layers, and their weights alone count, not their biases. The loss
is the cross-entropy, in nats, mean per image. A score is NaN where it is not finite; otherwise
higher is better. The same network, images and labels get the same score on a CPU.

A minibatch is needed by all but ``synflow``, and ``check_minibatch`` of
``estimators.scores.proxy_images`` refuses what says nothing.
Gradients of the loss can be taken of any: some equal images, a single class, a single image where
no BatchNorm sees maps of 1x1; but of nothing else than single colours, or one image again and
again, they are zeros or rounding. ``jacob_cov`` and ``naswot`` compare the images with each other,
so that they need two that differ; of equal ones, such as blank pages or frames, the first alone is
looked at, by every network.

Differs from the authors' code:

1. Dropout and drop path are off, so that nothing is random; theirs are networks without. BatchNorm
   uses the statistics of the minibatch, as in their train mode.
2. ``synflow`` is the natural logarithm of theirs, which a deep network makes astronomical; the
   ranking is the same. The logarithm is 100 to 200 for the largest networks of our spaces; float64
   ends at 709. A network whose output depends on no weight gets NaN, theirs 0.
3. Their NAS-Bench-201 networks have biases in the cells' convolutions, which ``synflow`` counts as
   further inputs; ours have none. Other scores cannot see them: BatchNorm takes them out.
4. Images equal to its ``SAME_IMAGE`` make the matrices of ``jacob_cov`` and ``naswot`` singular,
   whose determinants are then rounding errors; here they count once. Images that differ and switch
   all activations alike are the network's own doing: ``naswot`` is then NaN, the logarithm of 0.
5. ``naswot`` also reads hard swish and GELU, by the sign of their input; theirs reads ReLU only. A
   ReLU that several operations share counts once; theirs has one for each of them.
6. Transformers, which theirs do not score: channels of ``fisher`` are the last dimension of a
   linear layer's output, summed over tokens, and ``synflow`` refuses networks with LayerNorm.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from estimators.scores.proxy_images import distinct_images
from estimators.scores.proxy_networks import check_proxies, prepared, remove_bn
from supernets.networks.nasbench201 import ReductionBlock
from supernets.runtime.device import device_with_float64

#: Scores a network by images (N, C, H, W) and labels (N,); the network is only read.
Proxy = Callable[[nn.Module, Tensor, Tensor], float]

#: Keeps the terms of ``jacob_cov`` finite where an eigenvalue is zero.
EIGENVALUE_OFFSET = 1e-5
#: Whose inputs make up the codes of ``naswot``.
ACTIVATIONS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.hardswish, F.gelu)


def grad_norm(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Sums the norms of the loss's gradient over layers: ``sum_l ||dL/dW_l||``.

    Raises:
        ValueError: If there is no image, or one alone that BatchNorm cannot take statistics of.
    """
    return _grad_norm(_LossGradients(network, x, y))


def snip(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Measures how much of the loss hangs on the weights, to first order: ``sum |W * dL/dW|``.

    The minibatch is as for ``grad_norm``.
    """
    return _snip(_LossGradients(network, x, y))


def grasp(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Measures how removing weights changes the flow of gradients: ``-sum W * (H g)``.

    H is the Hessian of the loss in the weights and ``g = dL/dW``. The minibatch is as
    for ``grad_norm``.
    """
    return _grasp(_LossGradients(network, x, y, twice=True))


def fisher(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Sums the Fisher information of all output channels, each times its number of weights.

    For channel c of output a it is ``mean_n (sum_hw a * dL/da)^2 / 2``. The minibatch is as for
    ``grad_norm``.
    """
    return _fisher(_LossGradients(network, x, y, of_outputs=True))


def synflow(network: nn.Module, x: Tensor, y: Tensor, *, keep_reduction_bn: bool = True) -> float:
    """Measures the log of the flow through all weights made positive: ``log sum |W * dR/dW|``.

    R is the sum of the logits of one image of ones, in float64, of the network without BatchNorm
    and with the absolute values of all parameters. Nothing but the shape of ``x`` is used. Devices
    without float64 leave it to the CPU, as float32 ends at a logarithm of 88.

    Args:
        network: The network; it is only read.
        x: Images (N, C, H, W).
        y: Labels (N,).
        keep_reduction_bn: Whether the reduction blocks of NAS-Bench-201 keep their BatchNorm, as in
            the networks of the published correlations; otherwise nothing does. Their outputs then
            need more than one pixel.

    Raises:
        ValueError: If the network has LayerNorm.
    """
    check_proxies(network, ("synflow",))
    device = device_with_float64(x.device)
    network = prepared(network).to(device).double()
    remove_bn(network, (ReductionBlock,) if keep_reduction_bn else ())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    weights = _weights(network)
    ones = torch.ones(1, *x.shape[1:], dtype=torch.float64, device=device)
    gradients = _gradients(network(ones).sum(), weights)
    total = _total((w * g).abs().sum() for w, g in zip(weights, gradients, strict=True))
    return math.log(total) if total > 0 else math.nan


def jacob_cov(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Measures how the images' gradients differ: ``-sum_i (log(v_i + k) + 1 / (v_i + k))``.

    v are the eigenvalues of the correlation matrix of the images' gradients of the sum of all
    logits, and k is ``EIGENVALUE_OFFSET``. The labels are not used. Equal images count once.

    Raises:
        ValueError: If no two images differ.
    """
    network = prepared(network)
    x = distinct_images(x).detach().clone().requires_grad_()
    (gradient,) = _gradients(network(x).sum(), [x])
    rows = gradient.flatten(1).cpu().double()  # (N, C * H * W)
    rows = rows - rows.mean(dim=1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True)
    correlations = rows @ rows.T  # (N, N)
    if not correlations.isfinite().all():
        return math.nan
    shifted = torch.linalg.eigvalsh(correlations) + EIGENVALUE_OFFSET
    return _total([-(shifted.log() + 1 / shifted).sum()])


@torch.no_grad()
def naswot(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Measures how differently the images switch the activations on: ``log |det K|``.

    ``K_ij`` counts the inputs of ReLU, hard swish and GELU that are positive for both images i and
    j or for neither. The labels are not used. Equal images count once; NaN if others have equal
    codes.

    Raises:
        ValueError: If no two images differ.
    """
    network = prepared(network)
    x = distinct_images(x)
    with _Agreement(x) as agreement:
        logits = network(x)
    if not logits.isfinite().all():
        return math.nan
    counts = agreement.counts.cpu()
    if (counts == counts.diagonal()).sum() > len(counts):  # two codes are equal at every unit
        return math.nan
    return _total([torch.linalg.slogdet(counts).logabsdet])


PROXIES: Mapping[str, Proxy] = {
    "grad_norm": grad_norm,
    "snip": snip,
    "grasp": grasp,
    "fisher": fisher,
    "synflow": synflow,
    "jacob_cov": jacob_cov,
    "naswot": naswot,
}


def measure_proxies(
    network: nn.Module, x: Tensor, y: Tensor, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Scores a network by several proxies, those by gradients of the loss from one pass.

    Args:
        network: Gives (N, num_classes) logits; only read.
        x: Images (N, C, H, W) on the device of the network.
        y: Labels (N,).
        names: Keys of ``PROXIES``.

    Returns:
        Scores, and seconds of wall-clock time, by name; a pass that several need counts for each.

    Raises:
        ValueError: If a name is unknown.
    """
    for name in names:
        if name not in PROXIES:
            raise ValueError(f"Unknown proxy {name!r}; choose from {', '.join(PROXIES)}.")
    scores, seconds = {}, {}
    started = time.perf_counter()
    gradients = None
    if any(name in _BY_LOSS_GRADIENTS for name in names):
        gradients = _LossGradients(
            network, x, y, of_outputs="fisher" in names, twice="grasp" in names
        )
    shared_seconds = time.perf_counter() - started
    for name in names:
        started = time.perf_counter()
        if gradients is not None and name in _BY_LOSS_GRADIENTS:
            scores[name] = _BY_LOSS_GRADIENTS[name](gradients)
            started -= shared_seconds
        else:
            scores[name] = PROXIES[name](network, x, y)
        seconds[name] = time.perf_counter() - started
    return scores, seconds


class _LossGradients:
    """Gradients of the loss in the weights of all layers.

    Args:
        network: The network; it is only read.
        x: Images (N, C, H, W).
        y: Labels (N,).
        of_outputs: Whether the gradients in the layers' outputs are taken too.
        twice: Whether the gradients can be differentiated.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        of_outputs: bool = False,
        twice: bool = False,
    ) -> None:
        network = prepared(network)
        self.weights = _weights(network)
        self.outputs: list[Tensor] = []
        #: Of the layers that gave the outputs, in the same order.
        self.weights_per_channel: list[int] = []
        # not by way of self: a cycle would keep the tensors until the garbage is collected
        outputs, weights_per_channel = self.outputs, self.weights_per_channel

        def keep(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            outputs.append(output)
            weights_per_channel.append(layer.weight[0].numel())
            return output.clone()  # what comes next may work in place

        if of_outputs:
            for layer in _layers(network):
                layer.register_forward_hook(keep)
        if not len(x):
            raise ValueError("Gradients of the loss need one image or more, got none.")
        attention = sdpa_kernel(SDPBackend.MATH) if twice else nullcontext()  # fused has no second
        with attention, _HardSigmoidByReLU6(), _explaining_single_images(x):
            loss = F.cross_entropy(network(x), y)
            found = _gradients(loss, [*self.weights, *self.outputs], create_graph=twice)
        self.of_weights = found[: len(self.weights)]
        self.of_outputs = found[len(self.weights) :]


def _grad_norm(gradients: _LossGradients) -> float:
    return _total(gradient.detach().norm() for gradient in gradients.of_weights)


def _snip(gradients: _LossGradients) -> float:
    pairs = zip(gradients.weights, gradients.of_weights, strict=True)
    return _total((weight * gradient).detach().abs().sum() for weight, gradient in pairs)


def _grasp(gradients: _LossGradients) -> float:
    product = torch.stack([(g.detach() * g).sum() for g in gradients.of_weights]).sum()
    products = _gradients(product, gradients.weights)  # H g
    return _total(-(w * hg).sum() for w, hg in zip(gradients.weights, products, strict=True))


def _fisher(gradients: _LossGradients) -> float:
    terms = []
    for num_weights, output, gradient in zip(
        gradients.weights_per_channel, gradients.outputs, gradients.of_outputs, strict=True
    ):
        product = (output * gradient).detach()
        if product.dim() == 3:  # tokens come before channels
            product = product.transpose(1, 2)
        per_image = product.reshape(*output.shape[:2], -1).sum(dim=2)  # (N, channels)
        terms.append(num_weights * per_image.square().mean(dim=0).sum() / 2)
    return _total(terms)


_BY_LOSS_GRADIENTS: Mapping[str, Callable[[_LossGradients], float]] = {
    "grad_norm": _grad_norm,
    "snip": _snip,
    "fisher": _fisher,
    "grasp": _grasp,
}


@contextmanager
def _explaining_single_images(x: Tensor) -> Iterator[None]:
    """Says in plain words where BatchNorm refuses a single image."""
    try:
        yield
    except ValueError as error:
        if len(x) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "BatchNorm sees maps of 1x1 in this network, which a single image has no statistics "
            "of; give a minibatch of two images or more."
        ) from error


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _weights(network: nn.Module) -> list[Tensor]:
    return [layer.weight for layer in _layers(network)]


def _gradients(
    value: Tensor, tensors: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Zeros for what ``value`` does not depend on."""
    return torch.autograd.grad(value, tensors, create_graph=create_graph, materialize_grads=True)


def _total(values: Iterable[Tensor]) -> float:
    """The sum, or NaN if it is not finite."""
    total = sum(value.item() for value in values)
    return total if math.isfinite(total) else math.nan


class _HardSigmoidByReLU6(TorchFunctionMode):
    """While entered, hard sigmoid is computed such that it can be differentiated twice."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        return func(*args, **(kwargs or {}))


class _Agreement(TorchFunctionMode):
    """While entered, counts at how many inputs of activations each two images have one sign.

    Args:
        x: Images (N, C, H, W).
    """

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        device = device_with_float64(x.device)
        self.counts = torch.zeros(len(x), len(x), dtype=torch.float64, device=device)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in ACTIVATIONS:
            codes = (args[0] > 0).flatten(1).float()  # (N, units); sums of up to 2^24 are exact
            both = (codes @ codes.T).to(self.counts.device).double()
            ones = both.diagonal()
            self.counts += codes.shape[1] - ones[:, None] - ones + 2 * both
        return func(*args, **(kwargs or {}))
