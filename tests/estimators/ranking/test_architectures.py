"""Which architectures a ranking is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators.ranking.architectures import sample_evaluation_set, sample_within_windows
from estimators.ranking.macs_windows import MacsWindow
from supernets import CostModel, create_space
from supernets.spaces import Architecture, SearchSpace

MakeSpace = Callable[..., SearchSpace]


def choose(space: SearchSpace, num_archs: int | None, seed: int = 0) -> list[Architecture]:
    return sample_evaluation_set(space, None, path=None, num_archs=num_archs, seed=seed)


def test_random_ones_are_distinct_and_follow_from_the_seed(make_space: MakeSpace) -> None:
    space = make_space(4, 4)
    archs = choose(space, 10)
    assert len(set(archs)) == 10
    assert choose(space, 10) == archs
    assert choose(space, 10, seed=1) != archs
    assert choose(space, 4) == archs[:4]


def test_all_of_a_small_space_can_be_drawn(make_space: MakeSpace) -> None:
    space = make_space(3, 4)
    assert set(choose(space, 12)) == set(choose(space, None)) == set(space.enumerate())
    with pytest.raises(ValueError, match="--num-archs is 13, but the space has only 12"):
        choose(space, 13)


def test_two_hundred_of_a_large_space() -> None:
    assert len(set(choose(create_space("nasnet"), None))) == 200


def test_random_ones_of_a_table_are_drawn_without_replacement(make_space: MakeSpace) -> None:
    space = make_space(4, 4)
    table = {space.architecture([i, i]): float(i) for i in range(4)}
    archs = sample_evaluation_set(space, table, path=None, num_archs=None, seed=0)
    assert set(archs) == set(table)
    assert archs != list(table)
    first = sample_evaluation_set(space, table, path=None, num_archs=3, seed=0)
    assert first == archs[:3]


def test_a_list_of_architectures_may_have_a_byte_order_mark(
    make_space: MakeSpace, tmp_path: Path
) -> None:
    space = make_space(4, 4)
    path = tmp_path / "archs.txt"
    path.write_bytes(b"\xef\xbb\xbf0-1\r\n1-2\r\n2-3\r\n")
    archs = sample_evaluation_set(space, None, path=path, num_archs=None, seed=0)
    assert [arch.choices for arch in archs] == [(0, 1), (1, 2), (2, 3)]


class Counted:
    """Costs of a space of decisions alone: 1,000 MACs for each step of the first, and 1 of others.

    Args:
        space: The space.
    """

    has_benchmark_count = False

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        macs = 1000 * (1 + choices[:, 0]) + choices[:, 1:].sum(axis=1)
        return macs, macs

    benchmark_count = count


def macs_of(costs: CostModel, archs: list[Architecture]) -> NDArray[np.int64]:
    macs: NDArray[np.int64] = costs.measure_all(costs.space.choices_of(archs))["macs"]
    return macs


def test_as_many_as_asked_for_are_within_each_window(make_space: MakeSpace) -> None:
    costs = CostModel(Counted(make_space(5, 10, 10)))
    windows = [MacsWindow(1000, 0.02), MacsWindow(4000, 0.02)]
    archs = sample_within_windows(costs, None, windows, 20, seed=0)
    assert len(set(archs)) == len(archs) == 40
    macs = macs_of(costs, archs)
    assert [int(window.holds(macs).sum()) for window in windows] == [20, 20]
    assert archs == sample_within_windows(costs, None, windows, 20, seed=0)
    assert archs != sample_within_windows(costs, None, windows, 20, seed=1)
    is_first = windows[0].holds(macs)
    assert 0 < is_first[:20].sum() < 20  # not one window after the other


def test_windows_that_overlap_share_what_they_can(make_space: MakeSpace) -> None:
    costs = CostModel(Counted(make_space(5, 10, 10)))
    same = [MacsWindow(1000, 0.02), MacsWindow(1001, 0.5)]  # the larger holds no others
    assert len(sample_within_windows(costs, None, same, 30, seed=0)) == 30
    wider = [MacsWindow(1000, 0.02), MacsWindow(1500, 0.5)]  # of 1,000 and of 2,000
    archs = sample_within_windows(costs, None, wider, 30, seed=0)
    assert 30 < len(archs) < 60
    macs = macs_of(costs, archs)
    assert wider[0].holds(macs).sum() >= 30 and wider[1].holds(macs).all()


def test_within_windows_of_a_table_only_what_it_lists(make_space: MakeSpace) -> None:
    space = make_space(5, 10, 10)
    costs = CostModel(Counted(space))
    table = {arch: 1.0 for arch in space.enumerate() if arch.choices[1] == 3}
    window = MacsWindow(2007, 0.01)
    archs = sample_within_windows(costs, table, [window], 10, seed=0)
    assert set(archs) == {arch for arch in table if arch.choices[0] == 1}
    with pytest.raises(ValueError, match="is 11, but of 50 architectures that the table lists, of"):
        sample_within_windows(costs, table, [window], 11, seed=0)


def test_windows_with_too_few_are_named(make_space: MakeSpace) -> None:
    costs = CostModel(Counted(make_space(5, 2, 2)))
    windows = [MacsWindow(1000, 0.02), MacsWindow(7000, 0.02), MacsWindow(3000, 0.5)]
    with pytest.raises(ValueError, match="--archs-per-window is 10, but of 500,000") as error:
        sample_within_windows(costs, None, windows, 10, seed=0)
    text = str(error.value)
    assert "drawn of the space, of 1,000 to 5,002 MACs, there are 4 in 1,000 MACs" in text
    assert "and 0 in 7,000 MACs ± 2 % (6,860 to 7,140);" in text and "3,000 MACs" not in text
