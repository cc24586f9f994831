"""What alphas stand for: the guard against skip connections, entropy, files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from search.differentiable.derivation import derive, entropy, write_alphas
from supernets.networks.factory import create_relaxed_network
from supernets.networks.relaxed import RelaxedNetwork
from supernets.spaces import CellSpace


def network(space: str = "nasbench201", **settings: object) -> RelaxedNetwork:
    small = {"channels": 4, "layers": 3} if space == "darts" else {"channels": 4}
    return create_relaxed_network(space, num_classes=3, input_size=(3, 8, 8), **small, **settings)


def skippy(of: RelaxedNetwork) -> np.ndarray:
    """Skip connections are heaviest everywhere, the later edges' more so, then 3x3 or sep_conv."""
    weights = np.full(of.alphas_shape, 0.05)
    weights[..., of.ops.index("skip_connect")] = 0.5 + 0.01 * np.arange(of.alphas_shape[1])
    weights[..., 3] = 0.2
    return weights


def test_without_a_limit_there_is_no_guard() -> None:
    found = derive(network(), skippy(network()))
    assert found.arch.choices == (1,) * 6 and found.replaced_skips == 0


@pytest.mark.parametrize("limit", [0, 2, 5, 6])
def test_the_lightest_skip_connections_make_way(limit: int) -> None:
    weights = skippy(network())
    before = weights.copy()
    found = derive(network(), weights, max_skips=limit)
    assert found.arch.choices == (3,) * (6 - limit) + (1,) * limit
    assert found.replaced_skips == 6 - limit
    assert np.array_equal(weights, before)


def test_each_cell_of_two_has_the_limit() -> None:
    mixture = network("darts")
    weights = skippy(mixture)
    weights[1, :, mixture.ops.index("skip_connect")] = 0.01  # none in the reduction cell
    found = derive(mixture, weights, max_skips=3)
    assert isinstance(mixture.space, CellSpace)
    cells = mixture.space.cells(found.arch)
    assert [sum(edge.op == "skip_connect" for edge in cell) for cell in cells.values()] == [3, 0]
    assert found.replaced_skips > 0


def test_a_skip_connection_stays_where_nothing_else_is_alive() -> None:
    op_mask = np.ones((1, 6, 5), np.bool_)
    op_mask[0, 2] = [False, True, False, False, False]
    mixture = network(op_mask=op_mask)
    found = derive(mixture, skippy(mixture), max_skips=0)
    assert found.arch.choices == (3, 3, 1, 3, 3, 3)


def test_none_is_excluded_on_request_where_there_is_another_operation() -> None:
    op_mask = np.ones((1, 6, 5), np.bool_)
    op_mask[0, 2] = [True, False, False, False, False]
    mixture = network(op_mask=op_mask)
    weights = np.full(mixture.alphas_shape, 0.1)
    weights[..., 0] = 0.5  # none
    weights[..., 4] = 0.2
    assert derive(mixture, weights).arch.choices == (0,) * 6
    found = derive(mixture, weights, exclude_none=True)
    assert found.arch.choices == (4, 4, 0, 4, 4, 4) and found.replaced_skips == 0


def test_none_does_not_take_the_place_of_a_skip_connection_where_it_is_excluded() -> None:
    weights = skippy(network())
    weights[..., 0] = 0.3  # none, heavier than 3x3
    assert derive(network(), weights, max_skips=0).arch.choices == (0,) * 6
    found = derive(network(), weights, max_skips=0, exclude_none=True)
    assert found.arch.choices == (3,) * 6


def test_entropy_by_hand() -> None:
    weights = np.array([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]])
    assert entropy(weights) == pytest.approx(np.log(2) / 2)
    assert entropy(np.full((2, 3, 5), 0.2)) == pytest.approx(np.log(5))


def test_alphas_are_written_row_by_row(tmp_path: Path) -> None:
    mixture = network("darts")
    alphas = np.random.default_rng(0).normal(size=(2, *mixture.alphas_shape))
    write_alphas(tmp_path / "alphas.csv", mixture, alphas, alphas + 1)
    with open(tmp_path / "alphas.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == alphas.size
    row = rows[alphas[0].size + 8 + 2]  # second epoch, normal cell, second edge, third operation
    assert (row["epoch"], row["cell"], row["edge"], row["op"]) == (
        "2",
        "normal",
        "2<-1",
        "skip_connect",
    )
    assert float(row["alpha"]) == pytest.approx(alphas[1, 0, 1, 2], rel=1e-6)
    assert float(row["weight"]) == pytest.approx(1 + alphas[1, 0, 1, 2], rel=1e-6)
