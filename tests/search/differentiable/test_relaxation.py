"""Weights of operations: their contract, and gradients of Dirichlet samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from search.differentiable.relaxation import (
    DirichletRelaxation,
    Relaxation,
    concentrations,
    create_relaxation,
)
from search.differentiable.search_config import RELAXATIONS, RelaxationName

SHAPE = (2, 3, 5)


@pytest.fixture(params=RELAXATIONS)
def name(request: pytest.FixtureRequest) -> RelaxationName:
    found: RelaxationName = request.param
    return found


@pytest.fixture
def alphas() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def op_mask() -> Tensor:
    op_mask = torch.ones(SHAPE, dtype=torch.bool)
    op_mask[0, 1, 2] = op_mask[1, :, 0] = False
    return op_mask


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_weights_of_an_edge_sum_to_one_and_pruned_ones_are_zero(
    name: RelaxationName, alphas: Tensor, op_mask: Tensor, progress: float
) -> None:
    relaxation = create_relaxation(name)
    for weights in (
        relaxation.op_weights(alphas, op_mask, progress),
        relaxation.mean_weights(alphas, op_mask),
    ):
        assert weights.shape == SHAPE
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(SHAPE[:2]).double())
        assert not weights[~op_mask].any() and (weights >= 0).all()
    assert (relaxation.mean_weights(alphas, op_mask)[op_mask] > 0).all()


def test_mean_weights_rank_as_alphas_do(name: RelaxationName, alphas: Tensor) -> None:
    means = create_relaxation(name).mean_weights(alphas, torch.ones(SHAPE, dtype=torch.bool))
    assert torch.equal(means.argsort(dim=-1), alphas.argsort(dim=-1))


def test_weights_are_random_as_announced(
    name: RelaxationName, alphas: Tensor, op_mask: Tensor
) -> None:
    relaxation = create_relaxation(name)
    weights = [relaxation.op_weights(alphas, op_mask, 0.0) for _ in range(2)]
    assert torch.equal(*weights) != relaxation.is_random
    torch.manual_seed(3)
    first = relaxation.op_weights(alphas, op_mask, 0.0)
    torch.manual_seed(3)
    assert torch.equal(first, relaxation.op_weights(alphas, op_mask, 0.0))


def mean_over_draws(
    relaxation: Relaxation, alphas: Tensor, value: Callable[[Tensor], Tensor], num: int
) -> Tensor:
    """Mean gradient of a value of sampled weights of one edge, (num_ops,)."""
    torch.manual_seed(0)
    many = alphas.expand(1, num, -1).clone().requires_grad_()
    weights = relaxation.op_weights(many, torch.ones(many.shape, dtype=torch.bool), 0.0)
    (gradient,) = torch.autograd.grad(value(weights).sum(), [many])
    return gradient[0].mean(dim=0)


def test_gradient_of_dirichlet_samples_is_that_of_their_moments() -> None:
    alphas = torch.tensor([0.3, -0.5, 0.0, 1.2], dtype=torch.float64)

    def first_moment(alphas: Tensor) -> Tensor:
        beta = concentrations(alphas)
        return beta[0] / beta.sum()

    def second_moment(alphas: Tensor) -> Tensor:
        beta = concentrations(alphas)
        total = beta.sum()
        return beta[1] * (beta[1] + 1) / (total * (total + 1))

    for moment, value in (
        (first_moment, lambda weights: weights[..., 0]),
        (second_moment, lambda weights: weights[..., 1].square()),
    ):
        found = mean_over_draws(DirichletRelaxation(), alphas, value, num=400_000)
        expected = torch.empty_like(alphas)
        for i in range(len(alphas)):  # finite differences of the exact expectation
            shift = torch.zeros_like(alphas)
            shift[i] = 1e-6
            expected[i] = (moment(alphas + shift) - moment(alphas - shift)) / 2e-6
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-3)


def test_samples_of_dirichlet_have_the_mean_weights() -> None:
    alphas = torch.tensor([0.3, -0.5, 0.0, 1.2], dtype=torch.float64)
    relaxation = DirichletRelaxation()
    torch.manual_seed(0)
    many = alphas.expand(1, 200_000, -1)
    op_mask = torch.ones(many.shape, dtype=torch.bool)
    found = relaxation.op_weights(many, op_mask, 0.0)[0].mean(dim=0)
    expected = relaxation.mean_weights(alphas, op_mask[0, 0])
    torch.testing.assert_close(found, expected, rtol=0.0, atol=2e-3)


def test_concentrations_are_positive_and_one_at_zero() -> None:
    alphas = torch.linspace(-5, 5, 101, dtype=torch.float64)
    beta = concentrations(alphas)
    assert (beta > 0).all() and (beta.diff() > 0).all()
    assert concentrations(torch.zeros(1)).item() == 1.0


def test_divergence_is_a_penalty_on_request_only(alphas: Tensor) -> None:
    for name in RELAXATIONS:
        relaxation = create_relaxation(name)
        penalty = relaxation.penalty(alphas)
        assert penalty.shape == ()
        assert (penalty.item() > 0) == (name == "dirichlet-kl")
        assert relaxation.penalty(torch.zeros(SHAPE)).item() == pytest.approx(0.0, abs=1e-9)
    # of Dir(2, 1) from Dir(1, 1): ln Gamma(3) + (2 - 1) (psi(2) - psi(3)) = ln 2 - 1 / 2
    edge = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    expected = 1e-3 * (np.log(2) - 0.5)
    assert DirichletRelaxation(with_kl=True).penalty(edge).item() == pytest.approx(expected)


def test_gumbel_draws_one_operation_with_the_probabilities_of_a_softmax() -> None:
    alphas = torch.tensor([0.5, -0.5, 0.0], dtype=torch.float64)
    relaxation = create_relaxation("gumbel")
    torch.manual_seed(0)
    many = alphas.expand(1, 100_000, -1).clone().requires_grad_()
    op_mask = torch.ones(many.shape, dtype=torch.bool)
    for progress in (0.0, 1.0):
        weights = relaxation.op_weights(many, op_mask, progress)
        assert ((weights.detach() - weights.detach().round()).abs() < 1e-9).all()
        frequencies = weights.detach()[0].mean(dim=0)
        torch.testing.assert_close(frequencies, alphas.softmax(0), rtol=0.0, atol=6e-3)
    (cold,) = torch.autograd.grad(weights[..., 0].sum(), [many])
    (hot,) = torch.autograd.grad(relaxation.op_weights(many, op_mask, 0.0)[..., 0].sum(), [many])
    assert cold.abs().max() > 5 * hot.abs().max() > 0
