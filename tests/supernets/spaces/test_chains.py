"""Chains of decisions: who feeds whom, and what is passed over."""

from __future__ import annotations

import numpy as np

from supernets.spaces import MobileNetV3Space, NASBenchMacroSpace
from supernets.spaces.chains import chain_graphs


def test_inactive_decisions_are_passed_over() -> None:
    active = np.array([[True, False, True], [False, False, False]])
    adjacency, ids = chain_graphs(np.array([[1, 0, 2], [0, 0, 0]]), active, (2, 2, 3))
    assert ids.tolist() == [[0, 2, -1, 7, 8], [0, -1, -1, -1, 8]]
    assert np.argwhere(adjacency[0]).tolist() == [[0, 1], [1, 3], [3, 4]]
    assert np.argwhere(adjacency[1]).tolist() == [[0, 4]]


def test_a_space_is_a_chain_unless_it_says_otherwise() -> None:
    space = NASBenchMacroSpace()
    arch = space.parse("22212220")
    (adjacency,), (ids,) = space.to_graphs(space.choices_of([arch]))
    assert ids.tolist() == [0, 3, 6, 9, 11, 15, 18, 21, 22, 25]
    assert np.array_equal(adjacency, np.eye(10, k=1))
    elastic = MobileNetV3Space()
    smallest, largest = elastic.extremes()
    _, (few, many) = elastic.to_graphs(elastic.choices_of([smallest, largest]))
    assert ((few >= 0).sum(), (many >= 0).sum()) == (2 + 5 + 2 * 10, 2 + 5 + 2 * 20)
    assert few[-1] == many[-1] == 1 + 5 * 3 + 2 * 20 * 3
