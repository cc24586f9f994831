"""Where a brief training stops, and what it calls on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from estimators.scores.extra_steps import ExtraSteps, failure

Batches = list[tuple[Tensor, Tensor]]


def subnet_of(supernet: Any) -> Any:
    return supernet.extract(supernet.space.architecture([0]))


def test_after_each_update_it_calls_with_their_number(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    training = ExtraSteps(make_pixels([1.0], [1.0], [1.0]), num_batches=3, lr=1.0, momentum=0)
    subnet = subnet_of(make_one_weight_supernet(0.0))
    seen: list[tuple[int, float]] = []

    def look(number: int) -> None:
        seen.append((number, subnet.weight.item()))
        subnet.eval()  # it has to come back to train mode by itself

    losses = training.run(subnet, after_step=look)
    assert [number for number, _ in seen] == [1, 2, 3]
    assert seen[0][1] == pytest.approx(0.5)  # the slope at 0 is -1/2
    assert losses[1] == pytest.approx(math.log(1 + math.exp(-0.5)))
    assert subnet.calls == [True, True, True]


@pytest.mark.parametrize(
    ("stop_above", "num_steps"), [(0.6, 1), (0.7, 2), (1.38, 2), (1.39, 3), (9.9, 4)]
)
def test_it_ends_with_the_step_whose_sum_is_above(
    stop_above: float,
    num_steps: int,
    make_one_weight_supernet: Callable[..., Any],
    make_pixels: Callable[..., Batches],
) -> None:
    # pixels of 0 teach nothing: every loss is log 2
    training = ExtraSteps(make_pixels(*[[0.0]] * 4), num_batches=4)
    losses = training.run(subnet_of(make_one_weight_supernet(1.0)), stop_above=stop_above)
    np.testing.assert_allclose(losses, np.full(num_steps, math.log(2)), rtol=1e-6)


def test_a_sum_equal_to_the_limit_goes_on(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    training = ExtraSteps(make_pixels([0.0], [0.0]), num_batches=2)
    limit = torch.tensor(2.0).log().item()
    assert len(training.run(subnet_of(make_one_weight_supernet(1.0)), stop_above=limit)) == 2


def test_losses_that_are_not_finite_are_named() -> None:
    assert failure(np.array([1.0, 2.0])) is None
    assert failure(np.array([1.0, math.inf, math.nan])) == (
        "The training loss became inf at step 1."
    )
