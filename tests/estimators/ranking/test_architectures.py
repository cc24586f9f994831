"""Which architectures a ranking is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from estimators.ranking.architectures import sample_evaluation_set
from supernets import create_space
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
