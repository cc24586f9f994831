"""What every ask/tell search algorithm is, and the uniform sampling they share."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from estimators.trials import Trial
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

#: Says of architectures (num_archs, num_decisions) which may be asked for, (num_archs,).
FeasibilityCheck = Callable[[NDArray[np.int64]], NDArray[np.bool_]]

#: Random architectures tried for one ask in spaces too large to enumerate.
MAX_DRAWS = 5_000_000
_MAX_CHUNK_SIZE = 20_000


class StarvedError(ValueError):
    """Too few architectures that are feasible and not seen before are left, or can be found."""


class SearchAlgorithm(abc.ABC):
    """Proposes architectures from the trials it has been told.

    ``ask`` is a pure function of the settings, the seed and the told trials. A search is therefore
    resumed by telling a new algorithm the recorded trials; there is no other state to save.

    Args:
        space: What is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default. Must answer the
            same for the same architecture, whichever others it is asked about with.

    Raises:
        ValueError: If ``seed`` is negative.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        are_feasible: FeasibilityCheck | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}.")
        self.space = space
        self.seed = seed
        self.are_feasible = are_feasible if are_feasible is not None else _all_feasible
        self.trials: list[Trial] = []
        self._seen: set[Architecture] = set()

    @abc.abstractmethod
    def ask(self, num_archs: int) -> list[Architecture]:
        """Proposes architectures to measure: distinct, feasible, and never told before.

        Architectures that failed count as told.

        Raises:
            ValueError: If ``num_archs`` is less than 1.
            StarvedError: If fewer such architectures are left or can be found.
        """

    def tell(self, trials: Sequence[Trial]) -> None:
        """Adds measured trials, failed ones included, in the order of their numbers.

        Raises:
            ValueError: If an architecture is not of this space, or was told before.
        """
        seen = set(self._seen)
        for trial in trials:
            self.space.validate(trial.arch)
            if trial.arch in seen:
                raise ValueError(f"{self.space.format(trial.arch)} was told before.")
            seen.add(trial.arch)
        self._seen = seen
        self.trials.extend(trials)

    def next_batch_size(self, batch_size: int) -> int:
        """How many architectures to ask for next in a search by batches of ``batch_size``."""
        return batch_size

    @property
    def is_enumerable(self) -> bool:
        """Whether the space is small enough to be handled whole instead of by sampling."""
        return self.space.size <= MAX_ENUMERABLE_SIZE

    @cached_property
    def feasible_archs(self) -> tuple[Architecture, ...]:
        """All feasible architectures of an enumerable space, in the order of the space.

        Raises:
            ValueError: If the space is too large to enumerate.
        """
        archs = list(self.space.enumerate())
        feasible = self.are_feasible(np.array([arch.choices for arch in archs]))
        return tuple(archs[i] for i in np.flatnonzero(feasible))

    def _rng(self) -> np.random.Generator:
        """The random numbers of the next ask."""
        return np.random.default_rng((self.seed, len(self.trials)))

    def _check_num_archs(self, num_archs: int) -> None:
        """Raises as ``ask`` if it is known that ``num_archs`` cannot be asked for."""
        if num_archs < 1:
            raise ValueError(f"num_archs must be at least 1, got {num_archs}.")
        if self.is_enumerable:
            num_left = sum(arch not in self._seen for arch in self.feasible_archs)
            if num_left < num_archs:
                raise StarvedError(
                    f"Cannot ask for {num_archs} architectures: {num_left} of the "
                    f"{len(self.feasible_archs)} feasible ones of space {self.space.name!r} are "
                    "left; ask for fewer trials or loosen the constraint."
                )

    def _sample_unseen(self, num_archs: int, rng: np.random.Generator) -> list[Architecture]:
        """Draws distinct, unseen, feasible architectures; uniformly where the space is enumerable.

        Raises:
            StarvedError: As ``ask``.
        """
        self._check_num_archs(num_archs)
        if self.is_enumerable:
            unseen = [arch for arch in self.feasible_archs if arch not in self._seen]
            return [unseen[i] for i in rng.choice(len(unseen), num_archs, replace=False)]
        return self._sample_random(num_archs, rng, excluded=self._seen)

    def _sample_random(
        self, num_archs: int, rng: np.random.Generator, *, excluded: AbstractSet[Architecture]
    ) -> list[Architecture]:
        """Draws distinct feasible architectures with every decision uniform, by rejection.

        Raises:
            StarvedError: If ``MAX_DRAWS`` draws are not enough; the message says what they ran
                into.
        """
        drawn = self._draw_feasible(
            lambda size: self.space.sample_choices(size, rng),
            num_archs,
            excluded=excluded,
            max_draws=MAX_DRAWS,
        )
        if len(drawn.archs) < num_archs:
            raise StarvedError(
                f"Found {len(drawn.archs)} of {num_archs} architectures in {drawn.num_draws:,} "
                f"random draws from space {self.space.name!r}: {drawn.num_infeasible:,} of them "
                f"broke the constraint and {drawn.num_known:,} were seen before; loosen the "
                "constraint or ask for fewer trials."
            )
        return drawn.archs

    def _draw_feasible(
        self,
        draw: Callable[[int], NDArray[np.int64]],
        num_archs: int,
        *,
        excluded: AbstractSet[Architecture],
        max_draws: int,
    ) -> _Drawn:
        """Collects distinct feasible architectures outside ``excluded`` from random draws.

        Args:
            draw: Gives as many random canonical choices as it is asked for.
            num_archs: How many architectures are wanted.
            excluded: Not wanted.
            max_draws: After so many draws what was found is enough.
        """
        found: dict[Architecture, None] = {}
        num_draws, num_infeasible, num_known = 0, 0, 0
        chunk_size = 2 * num_archs
        while len(found) < num_archs and num_draws < max_draws:
            choices = draw(min(chunk_size, _MAX_CHUNK_SIZE, max_draws - num_draws))
            feasible = choices[self.are_feasible(choices)]
            num_draws += len(choices)
            num_infeasible += len(choices) - len(feasible)
            for arch in self.space.architectures(feasible):
                if arch in excluded or arch in found:
                    num_known += 1
                elif len(found) < num_archs:
                    found[arch] = None
            chunk_size *= 2
        return _Drawn(list(found), num_draws, num_infeasible, num_known)


class _Drawn(NamedTuple):
    """What came of drawing at random."""

    archs: list[Architecture]
    num_draws: int
    num_infeasible: int
    num_known: int  # drawn or seen before


def _all_feasible(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.ones(len(choices), np.bool_)
