"""What every ask/tell search algorithm is, and the uniform sampling they share."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.trials.store import Trial
from search.algorithms.options import AlgorithmOptions
from search.algorithms.own_algorithm import checked_choices
from search.algorithms.problem import SearchProblem
from search.algorithms.rows import RowSet, nearest_rows, unseen_rows
from search.predictors.base import Predictor
from supernets.runtime.instances import check_instance
from supernets.runtime.own_code import is_own
from supernets.spaces import Architecture

#: Random architectures tried for one ask in spaces too large to enumerate.
MAX_DRAWS = 5_000_000
_MAX_CHUNK_SIZE = 20_000


class SpaceExhaustedError(ValueError):
    """Too few architectures that are feasible and not seen before are left, or can be found."""


class SearchAlgorithm(abc.ABC):
    """Proposes architectures from the trials it has been told.

    ``ask`` is a pure function of the settings, the seed and the told trials. A search is therefore
    resumed by telling a new algorithm the recorded trials; there is no other state to save.

    Architectures are handled as rows of choices (num_archs, num_decisions), all at once; those that
    are asked for become ``Architecture`` objects.

    Args:
        problem: What is searched.
        options: Settings of the algorithm, of the class that its module has for them; None for
            their defaults.
    """

    #: Whether what ``reported_predictor`` builds sees the problem's zero-cost features.
    predictor_sees_features = True

    def __init__(self, problem: SearchProblem, options: AlgorithmOptions | None = None) -> None:
        check_instance("problem", problem, SearchProblem, "SearchProblem(space, seed=0) is one")
        check_instance("options", options, (AlgorithmOptions, type(None)))
        self.problem = problem
        self.options = options or AlgorithmOptions()
        self.space, self.seed = problem.space, problem.seed
        self.trials: list[Trial] = []
        self._successful: list[Trial] = []
        self._seen = RowSet()
        # of feasible_choices, once it was asked for
        self._unseen_mask: NDArray[np.bool_] | None = None

    def ask(self, num_archs: int) -> list[Architecture]:
        """Proposes architectures to measure: distinct, feasible, and never told before.

        Architectures that failed count as told.

        Raises:
            ValueError: If ``num_archs`` is no whole number, or less than 1.
            SpaceExhaustedError: If fewer such architectures are left or can be found.
            OwnCodeError: If an algorithm of one's own chooses what are no rows of choices.
        """
        rng = self._rng()
        self._check_num_archs(num_archs)
        chosen = self._choose(num_archs, rng)
        if is_own(self):
            chosen = checked_choices(self, chosen, num_archs)
        return self.space.architectures(chosen)

    @property
    def reported_predictor(self) -> Callable[[int], Predictor] | None:
        """Builds an unfitted predictor as the search has it, from a seed below 2**32, for reports.

        None if it has none, or if not a single one ranks.
        """
        return None

    @property
    def num_fitted(self) -> int | None:
        """How many of the first trials told that predictor is fitted to; None for all."""
        return None

    @abc.abstractmethod
    def _choose(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Chooses what ``ask`` proposes, (num_archs, num_decisions).

        Args:
            num_archs: Number of architectures; at least 1, and no more than are known to be left.
            rng: The random numbers of this ask.
        """

    def tell(self, trials: Sequence[Trial]) -> None:
        """Adds measured trials, failed ones included, in the order of their numbers.

        Raises:
            ValueError: If an architecture is not of this space, or was told before.
        """
        self.space.validate_all([trial.arch for trial in trials])
        told = self.space.choices_of(trial.arch for trial in trials)
        is_known = self._seen.hold(told) | ~unseen_rows(told, told[:0])
        if is_known.any():
            known = trials[int(is_known.argmax())].arch
            raise ValueError(f"{self.space.format(known)} was told before.")
        self._seen.add(told)
        if self._unseen_mask is not None:
            rows = [self.problem.feasible_rows.get(trial.arch.choices) for trial in trials]
            self._unseen_mask[[row for row in rows if row is not None]] = False
        self.trials.extend(trials)
        self._successful.extend(trial for trial in trials if trial.score is not None)

    def next_batch_size(self, batch_size: int) -> int:
        """Returns how many architectures a search by batches of ``batch_size`` asks for next."""
        return self.batch_size_after(len(self.trials), batch_size)

    def batch_size_after(self, num_told: int, batch_size: int) -> int:
        """Returns what ``next_batch_size`` does once so many trials were told."""
        return batch_size

    @property
    def _feasible_unseen(self) -> NDArray[np.bool_]:
        """Which of ``feasible_choices`` were not told before; not to be changed."""
        if self._unseen_mask is None:
            self._unseen_mask = ~self._seen.hold(self.problem.feasible_choices)
        return self._unseen_mask

    def _rng(self) -> np.random.Generator:
        """The random numbers of the next ask."""
        return np.random.default_rng((self.seed, len(self.trials)))

    def _check_num_archs(self, num_archs: int) -> None:
        """Raises as ``ask`` if it is known that ``num_archs`` cannot be asked for."""
        kinds.POSITIVE_INT.check("num_archs", num_archs)
        if self.problem.is_enumerable:
            num_left = int(self._feasible_unseen.sum())
            if num_left < num_archs:
                raise SpaceExhaustedError(
                    f"Cannot ask for {num_archs} architectures: {num_left} of the "
                    f"{len(self.problem.feasible_choices)} feasible ones of {self.problem.name} "
                    "are left; ask for fewer trials or loosen the constraint."
                )

    def _are_unseen(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which architectures were not told before, (num_archs,)."""
        if self.problem.is_enumerable and choices is self.problem.feasible_choices:
            return self._feasible_unseen
        return ~self._seen.hold(choices)

    def _sample_unseen(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws distinct, unseen, feasible architectures; uniformly where the space is enumerable.

        Returns:
            (num_archs, num_decisions).

        Raises:
            SpaceExhaustedError: As ``ask``.
        """
        self._check_num_archs(num_archs)
        if self.problem.is_enumerable:
            unseen = self.problem.feasible_choices[self._feasible_unseen]
            return unseen[rng.choice(len(unseen), num_archs, replace=False)]
        return self._sample_random(num_archs, rng)

    def _sample_random(
        self,
        num_archs: int,
        rng: np.random.Generator,
        *,
        excluded: NDArray[np.int64] | None = None,
        allows_seen: bool = False,
    ) -> NDArray[np.int64]:
        """Draws distinct feasible architectures with every decision uniform, by rejection.

        Args:
            num_archs: Number of architectures to draw.
            rng: Generator of the random numbers.
            excluded: Architectures that are not wanted, (num_excluded, num_decisions).
            allows_seen: Whether those that were told before are wanted too.

        Returns:
            (num_archs, num_decisions).

        Raises:
            SpaceExhaustedError: If ``MAX_DRAWS`` draws are not enough; the message says what they
                ran into.
        """
        drawn = self._draw_feasible(
            lambda size: self.space.sample_choices(size, rng),
            num_archs,
            excluded=excluded,
            allows_seen=allows_seen,
            max_draws=MAX_DRAWS,
        )
        if len(drawn.choices) < num_archs:
            raise SpaceExhaustedError(
                f"Found {len(drawn.choices)} of {num_archs} architectures in {drawn.num_draws:,} "
                f"random draws from space {self.space.name!r}: {drawn.num_infeasible:,} of them "
                f"broke the constraint and {drawn.num_known:,} were seen before; loosen the "
                "constraint or ask for fewer trials."
            )
        return drawn.choices

    def _draw_feasible(
        self,
        draw: Callable[[int], NDArray[np.int64]],
        num_archs: int,
        *,
        excluded: NDArray[np.int64] | None = None,
        allows_seen: bool = False,
        max_draws: int,
    ) -> _Drawn:
        """Collects distinct feasible architectures from random draws.

        Where there is a pool, a draw that is not of it stands for the wanted one of the pool that
        differs in the fewest decisions.

        Args:
            draw: Gives as many random canonical choices as it is asked for.
            num_archs: Number of architectures that are wanted.
            excluded: Architectures that are not wanted, (num_excluded, num_decisions).
            allows_seen: Whether those that were told before are wanted too.
            max_draws: Number of draws after which what was found is enough.
        """
        if excluded is None:
            excluded = self.space.choices_of([])
        known = excluded  # and what was found
        num_draws, num_infeasible, num_known = 0, 0, 0
        chunk_size = 2 * num_archs
        ties = np.random.default_rng((self.seed, len(self.trials), 4))  # (…, …, 1) are predictors'
        while len(known) < len(excluded) + num_archs and num_draws < max_draws:
            choices = draw(min(chunk_size, _MAX_CHUNK_SIZE, max_draws - num_draws))
            if self.problem.pool is not None:
                listed = self.problem.feasible_choices
                if not allows_seen:
                    listed = listed[self._feasible_unseen]
                if len(known):
                    listed = listed[unseen_rows(listed, known)]
                choices = self._within_pool(choices, listed, ties)
            feasible = choices[self.problem.is_feasible(choices)]
            num_draws += len(choices)
            num_infeasible += len(choices) - len(feasible)
            is_new = unseen_rows(feasible, known)
            if not allows_seen:
                is_new &= ~self._seen.hold(feasible)
            new = feasible[is_new]
            num_known += len(feasible) - len(new)
            known = np.concatenate([known, new])
            chunk_size *= 2
        found = known[len(excluded) :][:num_archs]
        return _Drawn(found, num_draws, num_infeasible, num_known)

    def _within_pool(
        self, choices: NDArray[np.int64], listed: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Replaces what is not of the problem's pool by the nearest architectures that are.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).
            listed: Those of the pool that may take their places, (num_listed, num_decisions); where
                there is none, nothing is replaced.
            rng: Decides between those that differ in as many decisions.

        Returns:
            The same shape.
        """
        is_foreign = ~self.problem.is_listed(choices)
        if len(listed) and is_foreign.any():
            choices = choices.copy()
            choices[is_foreign] = nearest_rows(choices[is_foreign], listed, rng)
        return choices


class StartupSearch(SearchAlgorithm):
    """An algorithm whose first trials are random, until two of them have succeeded.

    Args:
        problem: What is searched.
        options: Settings of the algorithm.
        num_initial: Number of random trials.

    Raises:
        ValueError: If ``num_initial`` is less than 1.
    """

    def __init__(self, problem: SearchProblem, options: AlgorithmOptions, num_initial: int) -> None:
        super().__init__(problem, options)
        if num_initial < 1:
            raise ValueError(f"num_initial must be at least 1, got {num_initial}.")
        self.num_initial = num_initial

    def batch_size_after(self, num_told: int, batch_size: int) -> int:
        """Returns what is left of the initial trials, then ``batch_size``."""
        num_left = self.num_initial - num_told
        return num_left if num_left > 0 else batch_size

    def _choose(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if self._is_initial:
            return self._sample_initial(num_archs, rng)
        return self._choose_informed(num_archs, rng)

    def _sample_initial(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws random unseen architectures, (num_archs, num_decisions)."""
        return self._sample_unseen(num_archs, rng)

    @abc.abstractmethod
    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Chooses by what was told, of which two at least have succeeded, as ``_choose``."""

    @property
    def _is_initial(self) -> bool:
        """Whether it is too early for anything but random trials."""
        return len(self.trials) < self.num_initial or self._num_successful < 2

    @property
    def _num_successful(self) -> int:
        return len(self._successful)


class _Drawn(NamedTuple):
    """What came of drawing at random."""

    choices: NDArray[np.int64]  # (num_archs, num_decisions)
    num_draws: int
    num_infeasible: int
    num_known: int  # drawn or seen before
