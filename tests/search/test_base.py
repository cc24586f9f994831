"""The uniform sampling that algorithms share."""

from __future__ import annotations

import pytest

from search import RandomSearch


def test_uniform_over_what_is_feasible_and_unseen(make_digit_space, measure):
    """Each of 7 remaining points comes first about equally often."""
    space = make_digit_space(2, 3)

    def is_feasible(arch) -> bool:
        return arch.choices != (2, 2)

    told = measure([space.architecture([0, 0])])
    counts: dict[str, int] = {}
    for seed in range(1400):
        algorithm = RandomSearch(space, seed=seed, is_feasible=is_feasible)
        algorithm.tell(told)
        (arch,) = algorithm.ask(1)
        counts[space.format(arch)] = counts.get(space.format(arch), 0) + 1
    assert len(counts) == 7
    chi_squared = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_squared < 22.5  # 0.999 quantile at 6 degrees of freedom


def test_feasibility_of_an_enumerable_space_is_asked_once(small_space, measure):
    asked = []

    def is_feasible(arch) -> bool:
        asked.append(arch)
        return True

    algorithm = RandomSearch(small_space, is_feasible=is_feasible)
    algorithm.tell(measure(algorithm.ask(5)))
    algorithm.ask(5)
    assert len(asked) == small_space.size


def test_large_space_is_not_enumerated(large_space):
    algorithm = RandomSearch(large_space)
    assert not algorithm.is_enumerable
    with pytest.raises(ValueError, match="sample this one instead"):
        algorithm.feasible_archs  # noqa: B018
    assert len(set(algorithm.ask(50))) == 50
