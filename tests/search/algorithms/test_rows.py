"""Equal rows against sets of tuples."""

from __future__ import annotations

import numpy as np
import pytest

from search.algorithms.rows import RowSet, unique_rows, unseen_rows


def test_first_copies_by_hand() -> None:
    choices = np.array([[0, 1], [1, 0], [0, 1], [0, 0], [1, 0], [0, 0]])
    assert unique_rows(choices).tolist() == [0, 1, 0, 3, 1, 3]
    assert unique_rows(choices[:0]).tolist() == []


@pytest.mark.parametrize("most", [1, 255, 256, 65_535, 65_536, 2**40])
def test_choices_of_any_size_are_told_apart(most: int) -> None:
    """By all their bytes, zeros at the end included."""
    choices = np.array([[0, most], [most, 0], [most - 1, 0], [0, 0], [most, 0], [0, most - 1]])
    assert len(set(map(tuple, choices.tolist()))) == (3 if most == 1 else 5)
    rows = choices.tolist()
    assert unique_rows(choices).tolist() == [rows.index(row) for row in rows]


@pytest.mark.parametrize("num_decisions", [1, 6, 45])
def test_new_rows_are_those_that_a_loop_over_a_set_finds(num_decisions: int) -> None:
    rng = np.random.default_rng(0)
    options = 40 if num_decisions == 1 else 2 if num_decisions == 6 else 3
    drawn = rng.integers(options, size=(40, num_decisions))
    known, choices = drawn[rng.integers(15, size=8)], drawn[rng.integers(40, size=60)]
    choices = np.asfortranarray(choices)  # however they lie in memory
    seen, expected = set(map(tuple, known.tolist())), []
    for row in map(tuple, choices.tolist()):
        expected.append(row not in seen)
        seen.add(row)
    assert 5 < sum(expected) < 40
    assert unseen_rows(choices, known).tolist() == expected
    assert unseen_rows(choices, choices).tolist() == [False] * 60
    assert unseen_rows(choices[:0], known).tolist() == []


def test_a_row_set_holds_what_was_added_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    known, choices = rng.integers(3, size=(20, 4)), rng.integers(3, size=(50, 4))
    rows = RowSet()
    rows.add(known[:5])
    rows.add(np.asfortranarray(known[5:]))
    expected = [row in known.tolist() for row in choices.tolist()]
    assert 3 < sum(expected) < 40
    assert rows.hold(choices).tolist() == expected
    assert rows.hold(choices[:0]).tolist() == []
