"""From one stage to the next: what is kept, and what wider operations begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from search.differentiable.stages import inherit_weights, prune
from supernets.networks.factory import create_relaxed_network
from supernets.networks.relaxed import RelaxedNetwork
from supernets.training.optimizers import create_optimizer
from supernets.training.supernet_config import TrainConfig


def test_pruning_keeps_the_largest_alphas_of_every_edge() -> None:
    alphas = np.array([[[0.3, -0.1, 0.2, 0.0], [5.0, 4.0, 3.0, 2.0]]])
    op_mask = np.array([[[True, True, True, True], [False, True, True, True]]])
    kept = prune(alphas, op_mask, 2)
    assert kept.tolist() == [[[True, False, True, False], [False, True, True, False]]]
    assert prune(alphas, op_mask, None) is op_mask
    # no more are alive than there were
    assert prune(alphas, kept, 3).tolist() == kept.tolist()


def trained(network: RelaxedNetwork, opt: str) -> torch.optim.Optimizer:
    """Two steps, so that there is state."""
    optimizer = create_optimizer(network, TrainConfig(epochs=1, opt=opt))
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        x = torch.randn(4, *network.input_size, generator=generator)
        weights = torch.ones(network.alphas_shape) / network.alphas_shape[2]
        F.cross_entropy(network(x, weights), torch.arange(4) % 3).backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


@pytest.mark.parametrize("opt", ["momentum", "adamw"])
@pytest.mark.parametrize(
    ("space", "settings"),
    [
        ("nasbench201", {"channels": 8, "cells_per_stage": 1, "bn_mode": "drnas"}),
        ("darts", {"channels": 8, "layers": 3}),
    ],
)
def test_wider_operations_begin_with_copies_of_channels(
    space: str, settings: dict[str, Any], opt: str
) -> None:
    make: Callable[..., RelaxedNetwork] = lambda **more: create_relaxed_network(  # noqa: E731
        space, num_classes=3, input_size=(3, 8, 8), **settings, **more
    )
    old = make(partial_channels=4)
    op_mask = np.ones(old.alphas_shape, np.bool_)
    op_mask[0, 1, 3] = False
    new = make(partial_channels=2, op_mask=op_mask)
    old_optimizer = trained(old, opt)
    new_optimizer = create_optimizer(new, TrainConfig(epochs=1, opt=opt))
    inherit_weights(old, new, old_optimizer, new_optimizer, seed=1)

    before, after = old.state_dict(), new.state_dict()
    assert after.keys() < before.keys()
    num_wider = 0
    for name, tensor in after.items():
        source = before[name]
        kept = tensor[tuple(slice(size) for size in source.shape)]
        assert torch.equal(kept, source), name  # what there was comes first
        for dim in range(tensor.ndim):
            if tensor.shape[dim] == source.shape[dim]:
                continue
            num_wider += 1
            # every slice along the dimension is one of the others
            inner = tensor[
                tuple(
                    slice(None) if d == dim else slice(size) for d, size in enumerate(source.shape)
                )
            ]
            slices = inner.movedim(dim, 0)
            originals = source.movedim(dim, 0)
            assert all(any(torch.equal(s, o) for o in originals) for s in slices), name
    assert num_wider > 10
    old_parameters = dict(old.named_parameters())
    for name, parameter in new.named_parameters():
        state, old_state = new_optimizer.state[parameter], old_optimizer.state[old_parameters[name]]
        assert state.keys() == old_state.keys() and state
        for key, value in old_state.items():
            if torch.is_tensor(value) and value.shape == old_parameters[name].shape:
                assert state[key].shape == parameter.shape
                kept = state[key][tuple(slice(size) for size in value.shape)]
                assert torch.equal(kept, value)
            else:
                assert state[key] == value
    # and it goes on from there
    weights = torch.ones(new.alphas_shape) / new.alphas_shape[2]
    new(torch.randn(4, 3, 8, 8), weights).sum().backward()
    new_optimizer.step()


def test_an_operation_copies_the_same_channels_everywhere() -> None:
    settings: dict[str, Any] = {"num_classes": 3, "input_size": (3, 8, 8), "channels": 8}
    old = create_relaxed_network("nasbench201", cells_per_stage=1, partial_channels=4, **settings)
    new = create_relaxed_network("nasbench201", cells_per_stage=1, partial_channels=1, **settings)
    inherit_weights(
        old, new, trained(old, "momentum"), create_optimizer(new, TrainConfig()), seed=1
    )
    name = "skeleton.blocks.0.edges.0.3.conv.weight"
    source, weight = old.state_dict()[name], new.state_dict()[name]  # (2, 2, 3, 3), (8, 8, 3, 3)
    copied = [int(next(i for i in range(2) if torch.equal(row[:2], source[i]))) for row in weight]
    assert copied[:2] == [0, 1] and len(set(copied[2:])) == 2
    assert torch.equal(weight, source[copied][:, copied])
    other = new.state_dict()["skeleton.blocks.0.edges.1.3.conv.weight"]
    other_source = old.state_dict()["skeleton.blocks.0.edges.1.3.conv.weight"]
    others = [next(i for i in range(2) if torch.equal(r[:2], other_source[i])) for r in other]
    assert others != copied  # each operation draws its own
