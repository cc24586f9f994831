"""Cheap scores of any architectures, measured once and kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.algorithms.zero_cost_features import ZERO_COST_FEATURES, ZeroCostFeatures
from supernets.spaces import Architecture, NASBench201Space, SearchSpace


@pytest.fixture
def space(make_space: Callable[..., SearchSpace]) -> SearchSpace:
    return make_space(3, 3)


def count(choices: Any) -> dict[str, Any]:
    return {"params": choices[:, 0] + 1, "macs": 10 * choices[:, 1]}


class Proxies:
    """Counts what it measures."""

    def __init__(self) -> None:
        self.measured: list[tuple[int, ...]] = []

    def __call__(self, arch: Architecture) -> Mapping[str, float]:
        self.measured.append(arch.choices)
        first, second = arch.choices
        return {"snip": math.nan if first == 2 else first + second, "naswot": -float(second)}


def test_costs_and_proxies_in_the_order_of_the_names(space: SearchSpace, tmp_path: Path) -> None:
    scores = ZeroCostFeatures(
        ["naswot", "macs", "snip", "params"], space, count=count, path=tmp_path / "scores.db"
    )
    scores.measure_with(proxies := Proxies())
    found = scores(np.array([(0, 1), (1, 2), (2, 2)]))
    assert proxies.measured == [(0, 1), (1, 2), (2, 2)]  # each once for both
    np.testing.assert_array_equal(found, [[-1, 10, 1, 1], [-2, 20, 3, 2], [-2, 20, math.nan, 3]])


def test_nothing_is_measured_twice_not_even_by_another_process(
    space: SearchSpace, tmp_path: Path
) -> None:
    choices = np.array([(0, 1), (1, 2), (0, 1), (2, 0)])
    path = tmp_path / "scores.db"
    proxies = Proxies()
    scores = ZeroCostFeatures(["snip"], space, count=count, path=path)
    scores.measure_with(proxies)
    first = scores(choices)
    np.testing.assert_array_equal(first, [[1.0], [3.0], [1.0], [math.nan]])
    assert proxies.measured == [(0, 1), (1, 2), (2, 0)]
    np.testing.assert_array_equal(scores(choices), first)
    assert len(proxies.measured) == 3
    again = ZeroCostFeatures(["snip"], space, count=count, path=path)
    others = Proxies()
    again.measure_with(others)
    found = again(np.concatenate([[[1, 1]], choices]))
    np.testing.assert_array_equal(found, [[2.0], *first])
    assert others.measured == [(1, 1)]


def test_what_is_known_is_found_without_a_loop(
    make_space: Callable[..., SearchSpace], tmp_path: Path, lines_of: Callable[..., int]
) -> None:
    space = make_space(8, 8)
    choices = space.all_choices()
    scores = ZeroCostFeatures(["snip"], space, count=count, path=tmp_path / "scores.db")
    scores.measure_with(Proxies())
    assert lines_of(scores, choices) > 3 * 64
    assert lines_of(scores, choices) < 64


def test_what_was_measured_before_ctrl_c_is_kept(space: SearchSpace, tmp_path: Path) -> None:
    choices = np.array([(0, 1), (1, 2), (2, 0)])
    path = tmp_path / "scores.db"

    def interrupted(arch: Architecture) -> Mapping[str, float]:
        if arch.choices == (2, 0):
            raise KeyboardInterrupt
        return {"snip": 1.0}

    scores = ZeroCostFeatures(["snip"], space, count=count, path=path)
    scores.measure_with(interrupted)
    with pytest.raises(KeyboardInterrupt):
        scores(choices)
    another = ZeroCostFeatures(["snip"], space, count=count, path=path)
    for again, measured in ((scores, [(2, 0)]), (another, [])):
        again.measure_with(proxies := Proxies())
        assert again(choices)[:2].tolist() == [[1.0], [1.0]]
        assert proxies.measured == measured


def test_cells_of_one_function_are_measured_once(tmp_path: Path) -> None:
    cells = NASBench201Space()
    texts = (  # an edge that is never read, one that sees only zeros, another node between
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
        "|none~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|",
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
    )
    choices = np.array([cells.parse(text).choices for text in texts])
    measured: list[Architecture] = []

    def measure(arch: Architecture) -> dict[str, float]:
        measured.append(arch)
        return {"snip": float(len(measured))}

    path = tmp_path / "scores.db"
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        scores = ZeroCostFeatures(["snip"], cells, count=count, path=path)
        scores.measure_with(measure)
        assert scores(choices[order])[:, 0].tolist() == [[1, 1, 1, 2][i] for i in order]
    assert len(measured) == 2


def test_costs_need_no_file(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "scores.db"
    scores = ZeroCostFeatures(["macs"], space, count=count, path=path)
    assert scores.proxies == ()
    assert scores(np.array([[0, 2]])).tolist() == [[20.0]]


@pytest.mark.parametrize("names", [["flops"], ["macs", "macs"]])
def test_names_that_are_unknown_or_twice_are_refused(
    names: list[str], space: SearchSpace, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"distinct and of {', '.join(ZERO_COST_FEATURES)}, got "):
        ZeroCostFeatures(names, space, count=count, path=tmp_path / "scores.db")


def test_scores_of_another_supernet_are_not_mixed_in(
    space: SearchSpace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def scores(**inputs: Any) -> ZeroCostFeatures:
        found = ZeroCostFeatures(["snip"], space, count=count, path=tmp_path / "scores.db")
        found.measure_with(Proxies())
        if inputs:
            found.check_inputs(inputs)
        return found

    scores()(np.array([(0, 1)]))  # a file of before says nothing of its inputs
    scores(supernet="a", images="x")
    assert "does not say what was in its supernet and images" in caplog.text
    caplog.clear()
    scores(images="x", supernet="a")(np.array([(1, 1)]))
    assert not caplog.text
    with pytest.raises(ValueError, match="other inputs: supernet was a and is now b"):
        scores(supernet="b", images="x")
