"""How alphas become weights of operations.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; DrNAS:
Dirichlet Neural Architecture Search, https://arxiv.org/abs/2006.10355; GDAS: Searching for a Robust
Neural Architecture in Four GPU Hours, https://arxiv.org/abs/1910.04465

Differs from them:

1. GDAS computes the drawn operation alone, and gives alphas the gradient of a sum of scalars; here
   all are computed, so that the gradient is that of the straight-through estimator.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from search.differentiable.search_config import RelaxationName

#: Weight of the divergence from the uniform Dirichlet distribution (DrNAS).
KL_WEIGHT = 1e-3
#: Temperatures that GDAS begins and ends with.
TEMPERATURES = (10.0, 0.1)


class Relaxation(Protocol):
    """Makes weights of operations of alphas, both (num_cells, num_edges, num_ops).

    Weights of pruned operations are 0, and those of an edge sum to 1.
    """

    #: Whether ``op_weights`` draws, from PyTorch's global generator.
    is_random: bool

    def op_weights(self, alphas: Tensor, op_mask: Tensor, progress: float) -> Tensor:
        """Computes the weights of one forward pass, differentiable in ``alphas``.

        Args:
            alphas: Architecture parameters.
            op_mask: Which operations are not pruned, bool.
            progress: Share of the search that is done, from 0 to 1.
        """

    def mean_weights(self, alphas: Tensor, op_mask: Tensor) -> Tensor:
        """Computes the expected weights, by which architectures are derived."""

    def penalty(self, alphas: Tensor) -> Tensor:
        """Computes what is added to the loss of the alphas, in nats, of shape ()."""


class SoftmaxRelaxation:
    """Softmax over the operations of an edge (DARTS)."""

    is_random = False

    def op_weights(self, alphas: Tensor, op_mask: Tensor, progress: float) -> Tensor:
        """Computes the softmax over the operations of every edge."""
        return self.mean_weights(alphas, op_mask)

    def mean_weights(self, alphas: Tensor, op_mask: Tensor) -> Tensor:
        """Computes the softmax over the operations of every edge."""
        return alphas.masked_fill(~op_mask, -torch.inf).softmax(dim=-1)

    def penalty(self, alphas: Tensor) -> Tensor:
        """Returns 0, as there is no penalty."""
        return alphas.new_zeros(())


class DirichletRelaxation:
    """A sample of the Dirichlet distribution of concentrations elu(alpha) + 1 (DrNAS).

    Samples are drawn over all operations; the weights of pruned ones are set to 0 and the rest
    divided by their sum.

    Args:
        with_kl: Whether the divergence from the uniform distribution is a penalty; weight decay of
            alphas takes its place otherwise.
    """

    is_random = True

    def __init__(self, *, with_kl: bool = False) -> None:
        self.with_kl = with_kl

    def op_weights(self, alphas: Tensor, op_mask: Tensor, progress: float) -> Tensor:
        """Draws a sample, differentiated by reparameterisation."""
        return _only(Dirichlet(concentrations(alphas)).rsample(), op_mask)

    def mean_weights(self, alphas: Tensor, op_mask: Tensor) -> Tensor:
        """Returns the concentrations of the operations there are, divided by their sum."""
        return _only(concentrations(alphas), op_mask)

    def penalty(self, alphas: Tensor) -> Tensor:
        """Returns the weighted divergence, summed over edges, or 0 without it."""
        if not self.with_kl:
            return alphas.new_zeros(())
        beta = concentrations(alphas)
        return KL_WEIGHT * kl_divergence(Dirichlet(beta), Dirichlet(torch.ones_like(beta))).sum()


class GumbelRelaxation:
    """One operation per edge, drawn by Gumbel's trick; its gradient is that of a softmax (GDAS).

    The temperature falls linearly.
    """

    is_random = True

    def op_weights(self, alphas: Tensor, op_mask: Tensor, progress: float) -> Tensor:
        """Draws one-hot weights with the softmax's gradient at the temperature of ``progress``."""
        start, end = TEMPERATURES
        logits = alphas.log_softmax(dim=-1).masked_fill(~op_mask, -torch.inf)
        return F.gumbel_softmax(logits, tau=start + (end - start) * progress, hard=True)

    def mean_weights(self, alphas: Tensor, op_mask: Tensor) -> Tensor:
        """Returns the probabilities of being drawn."""
        return alphas.masked_fill(~op_mask, -torch.inf).softmax(dim=-1)

    def penalty(self, alphas: Tensor) -> Tensor:
        """Returns 0, as there is no penalty."""
        return alphas.new_zeros(())


def create_relaxation(name: RelaxationName) -> Relaxation:
    """Builds a relaxation by name."""
    if name == "softmax":
        return SoftmaxRelaxation()
    if name == "gumbel":
        return GumbelRelaxation()
    return DirichletRelaxation(with_kl=name == "dirichlet-kl")


def concentrations(alphas: Tensor) -> Tensor:
    """Returns concentrations of a Dirichlet distribution, near 1 for alphas near 0."""
    return F.elu(alphas) + 1


def _only(weights: Tensor, op_mask: Tensor) -> Tensor:
    kept = weights * op_mask
    return kept / kept.sum(dim=-1, keepdim=True)
