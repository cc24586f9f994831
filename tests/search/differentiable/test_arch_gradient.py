"""Gradients of alphas against automatic differentiation of what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from search.differentiable import arch_gradient
from search.differentiable.arch_gradient import (
    Batch,
    MixtureLoss,
    VirtualStep,
    first_order,
    rollout,
    second_order,
)
from search.differentiable.relaxation import create_relaxation
from supernets.networks.relaxed import RelaxedNetwork
from supernets.training.optimizers import create_optimizer
from supernets.training.supernet_config import TrainConfig

LR, MOMENTUM, DECAY = 0.1, 0.9, 0.01
MakeNetwork = Callable[..., RelaxedNetwork]
MakeBatch = Callable[..., Batch]


@pytest.fixture
def network(make_network: MakeNetwork) -> RelaxedNetwork:
    return make_network(bn_mode="drnas").double()


@pytest.fixture
def loss(network: RelaxedNetwork) -> MixtureLoss:
    return MixtureLoss(network, create_relaxation("softmax"), device=torch.device("cpu"))


@pytest.fixture
def alphas(network: RelaxedNetwork) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(network.alphas_shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def optimizer(
    network: RelaxedNetwork, loss: MixtureLoss, alphas: Tensor, make_batch: MakeBatch
) -> torch.optim.Optimizer:
    """SGD with buffers, after two steps."""
    config = TrainConfig(
        epochs=1, opt="momentum", lr=LR, min_lr=0, momentum=MOMENTUM, weight_decay=DECAY
    )
    optimizer = create_optimizer(network, config)
    for seed in (10, 11):
        loss(alphas, make_batch(seed)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def unrolled(
    network: RelaxedNetwork,
    loss: MixtureLoss,
    alphas: Tensor,
    optimizer: torch.optim.Optimizer,
    train_batch: Batch,
    val_batch: Batch,
) -> Tensor:
    """The gradient of the validation loss after a step of SGD, by automatic differentiation."""
    alphas = alphas.clone().requires_grad_()
    weights = {n: p.detach().clone().requires_grad_() for n, p in network.named_parameters()}
    train_loss = loss(alphas, train_batch, weights=weights)
    gradients = torch.autograd.grad(train_loss, list(weights.values()), create_graph=True)
    moved = {}
    for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True):
        buffer = optimizer.state[parameter]["momentum_buffer"]
        velocity = MOMENTUM * buffer + gradient + DECAY * weights[name]
        moved[name] = weights[name] - LR * velocity
    (found,) = torch.autograd.grad(loss(alphas, val_batch, weights=moved), [alphas])
    return found


def test_first_order_is_the_gradient_of_the_validation_loss(
    network: RelaxedNetwork, loss: MixtureLoss, alphas: Tensor, make_batch: MakeBatch
) -> None:
    found = first_order(loss, alphas, make_batch(0))
    for place in ((0, 0, 1), (0, 3, 3), (0, 5, 4)):
        shift = torch.zeros_like(alphas)
        shift[place] = 1e-7
        with torch.no_grad():
            high, low = (loss(alphas + sign * shift, make_batch(0)) for sign in (1, -1))
        assert found[place].item() == pytest.approx(((high - low) / 2e-7).item(), rel=1e-4)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_second_order_equals_automatic_differentiation_of_the_unrolled_loss(
    network: RelaxedNetwork,
    loss: MixtureLoss,
    alphas: Tensor,
    optimizer: torch.optim.Optimizer,
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = make_batch(0), make_batch(1)
    expected = unrolled(network, loss, alphas, optimizer, *batches)
    weights = dict(network.named_parameters())

    def found(*, exact: bool) -> Tensor:
        step = VirtualStep(optimizer, weights)
        return second_order(loss, alphas, weights, step, *batches, exact=exact)

    torch.testing.assert_close(found(exact=True), expected)
    # the difference of two gradients is near, and the nearer the smaller its steps
    error_of_first_order = (first_order(loss, alphas, batches[1]) - expected).norm()
    assert (found(exact=False) - expected).norm() < 0.5 * error_of_first_order
    monkeypatch.setattr(arch_gradient, "_STEP", 1e-6)
    torch.testing.assert_close(found(exact=False), expected, rtol=1e-4, atol=1e-6)


def test_virtual_evaluations_leave_running_statistics_alone(
    network: RelaxedNetwork,
    loss: MixtureLoss,
    alphas: Tensor,
    optimizer: torch.optim.Optimizer,
    make_batch: MakeBatch,
) -> None:
    weights = dict(network.named_parameters())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    second_order(
        loss, alphas, weights, VirtualStep(optimizer, weights), make_batch(0), make_batch(1)
    )
    after = network.state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_virtual_step_is_the_optimizers_next(
    network: RelaxedNetwork,
    loss: MixtureLoss,
    alphas: Tensor,
    optimizer: torch.optim.Optimizer,
    make_batch: MakeBatch,
) -> None:
    weights = dict(network.named_parameters())
    step = VirtualStep(optimizer, weights)
    loss(alphas, make_batch(2)).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None for gradient in gradients)
    moved = step(weights, gradients)  # type: ignore[arg-type]
    optimizer.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(moved[name], parameter.detach())


@pytest.mark.parametrize("opt", ["sgd", "adamw"])  # timm's sgd has Nesterov's term
def test_virtual_steps_of_other_optimizers_are_refused(network: RelaxedNetwork, opt: str) -> None:
    optimizer = create_optimizer(network, TrainConfig(epochs=1, opt=opt))
    with pytest.raises(ValueError, match="choose --opt momentum"):
        VirtualStep(optimizer, dict(network.named_parameters()))


def test_rollout_is_the_sum_of_gradients_along_a_training_that_is_undone(
    network: RelaxedNetwork,
    loss: MixtureLoss,
    alphas: Tensor,
    optimizer: torch.optim.Optimizer,
    make_batch: MakeBatch,
) -> None:
    batches = [make_batch(seed) for seed in (5, 6, 7)]
    # the sum of losses along the way, as one graph; the weights are constants in it
    variables = alphas.clone().requires_grad_()
    weights = {n: p.detach().clone() for n, p in network.named_parameters()}
    buffers = {
        name: optimizer.state[p]["momentum_buffer"].clone()
        for name, p in network.named_parameters()
    }
    total = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        weights = {name: weight.requires_grad_() for name, weight in weights.items()}
        value = loss(variables, batch, weights=weights)
        total = total + value
        gradients = torch.autograd.grad(value, list(weights.values()), retain_graph=True)
        for name, gradient in zip(weights, gradients, strict=True):
            buffers[name] = MOMENTUM * buffers[name] + gradient + DECAY * weights[name].detach()
            weights[name] = weights[name].detach() - LR * buffers[name]
    (expected,) = torch.autograd.grad(total, [variables])

    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {p: optimizer.state[p]["momentum_buffer"].clone() for p in network.parameters()}
    seen: list[int] = []

    def take_step(value: Tensor, number: int) -> None:
        seen.append(number)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    options: Callable[[int], dict[str, Any]] = lambda number: {"key": (number,)}  # noqa: E731
    found, num_batches = rollout(loss, alphas, batches, take_step, network, optimizer, options)
    torch.testing.assert_close(found, expected)
    assert (seen, num_batches) == ([0, 1, 2], 3)
    assert all(torch.equal(network.state_dict()[name], t) for name, t in before.items())
    assert all(torch.equal(optimizer.state[p]["momentum_buffer"], t) for p, t in state.items())


def test_draws_follow_from_their_key(
    network: RelaxedNetwork, alphas: Tensor, make_batch: MakeBatch
) -> None:
    loss = MixtureLoss(network, create_relaxation("dirichlet"), device=torch.device("cpu"), seed=3)
    batch = make_batch(0)
    state = torch.get_rng_state()
    values = [loss(alphas, batch, key=key).item() for key in ((1, 0), (1, 0), (1, 1), (2, 0))]
    assert values[0] == values[1] and len(set(values)) == 3
    assert torch.equal(torch.get_rng_state(), state)
