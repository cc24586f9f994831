"""From one stage of a search to the next: fewer operations, more channels.

Paper: DrNAS: Dirichlet Neural Architecture Search, https://arxiv.org/abs/2006.10355

Differs from the authors' code:

1. State of the optimizer follows its parameter by name; theirs is looked up in a way that PyTorch
   no longer has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def prune(
    alphas: NDArray[np.float64], op_mask: NDArray[np.bool_], keep_ops: int | None
) -> NDArray[np.bool_]:
    """Keeps the operations with the largest alphas on every edge.

    Args:
        alphas: Architecture parameters, (num_cells, num_edges, num_ops).
        op_mask: Which operations there are so far.
        keep_ops: Number of operations to keep on every edge; None for all.

    Returns:
        Which operations there are from now on.
    """
    if keep_ops is None:
        return op_mask
    order = np.argsort(-np.where(op_mask, alphas, -np.inf), axis=2, kind="stable")
    kept = np.zeros_like(op_mask)
    np.put_along_axis(kept, order[..., :keep_ops], True, axis=2)
    return kept & op_mask


@torch.no_grad()
def inherit_weights(
    old: nn.Module,
    new: nn.Module,
    old_optimizer: torch.optim.Optimizer,
    new_optimizer: torch.optim.Optimizer,
    seed: int,
) -> None:
    """Gives a network the weights of a narrower one, and its optimizer the state.

    Channels that the narrower one does not have become copies of channels chosen at random, the
    same for all weights of an operation. Copies are not rescaled, so that the function changes.

    Args:
        old: The narrower network; it has all operations of the other.
        new: The wider network, whose weights are overwritten.
        old_optimizer: Optimizer of the old network.
        new_optimizer: Optimizer of the new network, fresh and of the same kind.
        seed: Seed of the choice of channels.
    """
    rng = np.random.default_rng((seed, 4))
    chosen: dict[tuple[str, int, int], Tensor] = {}

    def widened(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        operation = ".".join(name.split(".")[:-2])
        for dim, (size, wanted) in enumerate(zip(tensor.shape, shape, strict=True)):
            if size == wanted:
                continue
            key = (operation, size, wanted)
            if key not in chosen:
                copies = rng.integers(size, size=wanted - size)
                chosen[key] = torch.from_numpy(np.concatenate([np.arange(size), copies]))
            tensor = tensor.index_select(dim, chosen[key].to(tensor.device))
        return tensor

    source = old.state_dict()
    for name, tensor in new.state_dict().items():
        tensor.copy_(widened(name, source[name], tensor.shape))
    parameters = dict(old.named_parameters())
    for name, parameter in new.named_parameters():
        state: dict[str, Any] = old_optimizer.state.get(parameters[name], {})
        new_optimizer.state[parameter] = {
            key: widened(name, value, parameter.shape).clone()
            if isinstance(value, Tensor) and value.shape == parameters[name].shape
            else value
            for key, value in state.items()
        }
