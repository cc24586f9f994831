"""Gradients of alphas: of a validation loss, of what it is after a step, of training losses.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; Speedy
Performance Estimation for Neural Architecture Search (TSE), https://arxiv.org/abs/2006.04492

Differs from them:

1. The second order is exact on request; DARTS takes a difference of two gradients.
2. TSE's learning rate follows the number of the minibatch; the authors' code hardly moves it within
   an epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from search.differentiable.relaxation import Relaxation
from supernets.networks.relaxed import RelaxedNetwork
from supernets.runtime.device import autocast
from supernets.training.loop import seeded_draws

#: Images (N, C, H, W) and labels (N,).
Batch = tuple[Tensor, Tensor]
#: Parameters by name.
Weights = Mapping[str, Tensor]

#: How far weights are moved for the difference, divided by the norm of the gradient (DARTS).
_STEP = 0.01


class MixtureLoss:
    """The cross-entropy of a relaxed network on minibatches, in nats.

    Args:
        network: The relaxed network, in train mode.
        relaxation: Relaxation that makes weights of operations of alphas.
        device: Device of the network and the alphas.
        amp: Whether to run in bfloat16 autocast.
        seed: Seed of the relaxation's draws.
    """

    def __init__(
        self,
        network: RelaxedNetwork,
        relaxation: Relaxation,
        *,
        device: torch.device,
        amp: bool = False,
        seed: int = 0,
    ) -> None:
        self.network, self.relaxation = network, relaxation
        self._device, self._amp, self._seed = device, amp, seed
        self._op_mask = torch.from_numpy(network.op_mask).to(device)

    def __call__(
        self,
        alphas: Tensor,
        batch: Batch,
        *,
        key: tuple[int, ...] = (0,),
        progress: float = 0.0,
        weights: Weights | None = None,
    ) -> Tensor:
        """Computes the mean loss of a minibatch, of shape ().

        Args:
            alphas: Architecture parameters.
            batch: Images and labels.
            key: Numbers that, with the seed, decide what is drawn.
            progress: Share of the search that is done, from 0 to 1.
            weights: Weights by name in place of the network's own, whose buffers are then left as
                they are; None for its own.
        """
        x, y = batch
        draws = seeded_draws(self._device, self._seed, *key)
        with draws if self.relaxation.is_random else nullcontext():
            op_weights = self.relaxation.op_weights(alphas, self._op_mask, progress)
        with autocast(self._device, self._amp):
            if weights is None:
                logits = self.network(x, op_weights)
            else:
                buffers = {name: b.clone() for name, b in self.network.named_buffers()}
                logits = functional_call(self.network, {**weights, **buffers}, (x, op_weights))
        return F.cross_entropy(logits.float() if self._amp else logits, y)


#: The loss of alphas and a minibatch, with the options of ``MixtureLoss``.
LossFunction = Callable[..., Tensor]


def first_order(loss: LossFunction, alphas: Tensor, val_batch: Batch, **options: Any) -> Tensor:
    """Computes the gradient of the validation loss with the weights as they are (DARTS).

    Args:
        loss: Function that computes the loss, such as a ``MixtureLoss``.
        alphas: Architecture parameters.
        val_batch: Images and labels.
        **options: Further arguments of ``loss``.

    Returns:
        The gradient, of the shape of ``alphas``.
    """
    alphas = alphas.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(alphas, val_batch, **options), [alphas])
    return gradient


class VirtualStep:
    """The next step of SGD: ``w - lr (momentum buffer + gradient + decay w)``, without taking it.

    Args:
        optimizer: SGD over all of the weights; without Nesterov's term, as in DARTS.
        weights: The parameters, by name.

    Raises:
        ValueError: If the optimizer is another one.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, weights: Weights) -> None:
        groups = optimizer.param_groups
        if not isinstance(optimizer, torch.optim.SGD) or any(g["nesterov"] for g in groups):
            raise ValueError(
                "A gradient of the second order looks through a step of SGD without Nesterov's "
                f"term, got {type(optimizer).__name__}; choose --opt momentum, or another gradient."
            )
        group_of = {parameter: group for group in groups for parameter in group["params"]}
        self._lr: dict[str, float] = {}
        self._offsets: dict[str, Tensor] = {}
        for name, weight in weights.items():
            group = group_of[weight]
            buffer = optimizer.state.get(weight, {}).get("momentum_buffer")
            offset = group["weight_decay"] * weight.detach()
            if buffer is not None:
                offset = offset + group["momentum"] * buffer
            self._lr[name], self._offsets[name] = group["lr"], offset

    @property
    def lr(self) -> Mapping[str, float]:
        """Learning rates, by name of the parameter."""
        return self._lr

    def __call__(self, weights: Weights, gradients: Iterable[Tensor]) -> dict[str, Tensor]:
        """The weights after the step, with the graph of the gradients."""
        return {
            name: weight - self._lr[name] * (self._offsets[name] + gradient)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }


def second_order(
    loss: LossFunction,
    alphas: Tensor,
    weights: Weights,
    step: VirtualStep,
    train_batch: Batch,
    val_batch: Batch,
    *,
    exact: bool = False,
    **options: Any,
) -> Tensor:
    """Computes the gradient of the validation loss after a step of the weights (DARTS).

    Args:
        loss: Function that computes the loss, such as a ``MixtureLoss``.
        alphas: Architecture parameters.
        weights: The parameters, by name.
        step: Step of the weights that is taken on ``train_batch``.
        train_batch: Images and labels.
        val_batch: Images and labels.
        exact: Whether to differentiate through the step; otherwise the difference of two gradients
            is taken.
        **options: Further arguments of ``loss``.

    Returns:
        The gradient, of the shape of ``alphas``.
    """
    alphas = alphas.detach().requires_grad_()
    weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    train_loss = loss(alphas, train_batch, weights=weights, **options)
    gradients = torch.autograd.grad(train_loss, list(weights.values()), create_graph=exact)
    moved = step(weights, gradients)
    if exact:
        val_loss = loss(alphas, val_batch, weights=moved, **options)
        (gradient,) = torch.autograd.grad(val_loss, [alphas])
        return gradient
    moved = {name: weight.detach().requires_grad_() for name, weight in moved.items()}
    val_loss = loss(alphas, val_batch, weights=moved, **options)
    direct, *directions = torch.autograd.grad(val_loss, [alphas, *moved.values()])
    # of parameters with learning rates of their own, each direction times its rate
    scaled = [step.lr[name] * v for name, v in zip(moved, directions, strict=True)]
    norm = torch.stack([v.norm() for v in scaled]).norm()
    radius = _STEP / norm.clamp(min=torch.finfo(norm.dtype).tiny)
    sides = []
    for sign in (1, -1):
        shifted = {
            name: (weight + sign * radius * v).detach()
            for (name, weight), v in zip(weights.items(), scaled, strict=True)
        }
        value = loss(alphas, train_batch, weights=shifted, **options)
        sides.append(torch.autograd.grad(value, [alphas])[0])
    difference: Tensor = (sides[0] - sides[1]) / (2 * radius)
    return direct - difference


def rollout(
    loss: LossFunction,
    alphas: Tensor,
    batches: Iterable[Batch],
    take_step: Callable[[Tensor, int], None],
    network: RelaxedNetwork,
    optimizer: torch.optim.Optimizer,
    options: Callable[[int], Mapping[str, Any]],
) -> tuple[Tensor, int]:
    """Sums the gradients of training losses while a copy of the weights trains (TSE).

    The network and the optimizer are afterwards as they were.

    Args:
        loss: Function that computes the loss, such as a ``MixtureLoss`` of the network.
        alphas: Architecture parameters; not changed while the copy trains.
        batches: Images and labels, a step on each.
        take_step: Does the backward pass of a loss and one step of the weights, given the number
            of the minibatch among ``batches``.
        network: The network, which is trained and set back.
        optimizer: Optimizer of the network's weights.
        options: Returns the further arguments of ``loss`` for a minibatch, given its number among
            ``batches``.

    Returns:
        The sum, of the shape of ``alphas``, and the number of minibatches.
    """
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    alphas = alphas.detach().requires_grad_()
    number = 0
    for number, batch in enumerate(batches, start=1):
        take_step(loss(alphas, batch, **options(number - 1)), number - 1)
    network.load_state_dict(weights)
    optimizer.load_state_dict(state)
    assert alphas.grad is not None
    return alphas.grad, number
