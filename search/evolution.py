"""Evolution: the genetic algorithm of SPOS, and aging (regularized) evolution.

Papers: Single Path One-Shot Neural Architecture Search with Uniform Sampling,
https://arxiv.org/abs/1904.00420; Regularized Evolution for Image Classifier Architecture Search,
https://arxiv.org/abs/1802.01548

Beside what their classes say, both differ from the papers in:

1. Children that are infeasible or were seen before are drawn anew, up to 100 times for each that is
   wanted (SPOS' code: 10 times); then random architectures take their place.
2. Failed trials are never parents. While fewer than two trials have succeeded, sampling stays
   random.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from estimators.trials import Trial
from search.base import FeasibilityCheck, SearchAlgorithm
from supernets.spaces import Architecture, SearchSpace

_DRAWS_PER_CHILD = 100


class _Evolution(SearchAlgorithm):
    """Random trials first, then children of successful ones."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        are_feasible: FeasibilityCheck | None,
        num_initial: int,
    ) -> None:
        super().__init__(space, seed=seed, are_feasible=are_feasible)
        self.num_initial = num_initial

    def next_batch_size(self, batch_size: int) -> int:
        """What is left of the initial trials, then ``batch_size``."""
        num_left = self.num_initial - len(self.trials)
        return num_left if num_left > 0 else batch_size

    def ask(self, num_archs: int) -> list[Architecture]:
        """Proposes children, and random architectures where too few children are found.

        Raises:
            ValueError: If ``num_archs`` is less than 1.
            StarvedError: As ``SearchAlgorithm.ask``.
        """
        rng = self._rng()
        self._check_num_archs(num_archs)
        successful = [trial for trial in self.trials if trial.score is not None]
        if len(self.trials) < self.num_initial or len(successful) < 2:
            return self._sample_unseen(num_archs, rng)
        children = self._children(successful, num_archs, rng)
        if len(children) == num_archs:
            return children
        if self.is_enumerable:  # so many are enough, whichever of them are children
            others = self._sample_unseen(num_archs, rng)
        else:
            excluded = self._seen.union(children)
            others = self._sample_random(num_archs - len(children), rng, excluded=excluded)
        return list(dict.fromkeys([*children, *others]))[:num_archs]

    @abc.abstractmethod
    def _children(
        self, successful: list[Trial], num_archs: int, rng: np.random.Generator
    ) -> list[Architecture]:
        """Up to ``num_archs`` distinct, unseen, feasible children of successful trials."""


class GeneticSearch(_Evolution):
    """SPOS' genetic algorithm: every ask is a generation of mutants and crossovers of the best.

    The parents are the best of all trials. Half of a generation are mutants of random parents, the
    other half crossovers of two different random ones; of an odd number one child is either. The
    paper's generations are of 50.

    Args:
        space: What is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default.
        num_initial: Number of random trials before the first generation.
        num_parents: How many of the best trials are parents.
        mutation_prob: Probability with which a mutant draws each decision anew, perhaps to what it
            was.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        are_feasible: FeasibilityCheck | None = None,
        num_initial: int = 50,
        num_parents: int = 10,
        mutation_prob: float = 0.1,
    ) -> None:
        super().__init__(space, seed=seed, are_feasible=are_feasible, num_initial=num_initial)
        if num_initial < 1:
            raise ValueError(f"num_initial must be at least 1, got {num_initial}.")
        if num_parents < 2:
            raise ValueError(
                f"num_parents must be at least 2, as a crossover takes two, got {num_parents}."
            )
        if not 0.0 <= mutation_prob <= 1.0:
            raise ValueError(f"mutation_prob must be from 0 to 1, got {mutation_prob}.")
        self.num_parents = num_parents
        self.mutation_prob = mutation_prob

    def _children(
        self, successful: list[Trial], num_archs: int, rng: np.random.Generator
    ) -> list[Architecture]:
        parents = _choices(_best_first(successful)[: self.num_parents])

        def mutants(size: int) -> NDArray[np.int64]:
            picks = rng.integers(len(parents), size=size)
            return self.space.redraw_choices(parents[picks], self.mutation_prob, rng)

        def crossovers(size: int) -> NDArray[np.int64]:
            first = rng.integers(len(parents), size=size)
            second = (first + rng.integers(1, len(parents), size=size)) % len(parents)
            return self.space.crossover_choices(parents[first], parents[second], rng)

        num_mutants = (num_archs + int(rng.integers(2))) // 2
        children: list[Architecture] = []
        for draw, wanted in ((mutants, num_mutants), (crossovers, num_archs - num_mutants)):
            drawn = self._draw_feasible(
                draw,
                wanted,
                excluded=self._seen.union(children),
                max_draws=_DRAWS_PER_CHILD * wanted,
            )
            children += drawn.archs
        return children


class RegularizedEvolution(_Evolution):
    """Aging evolution: children of the best of random tournaments; the oldest trial leaves.

    The population are the last ``population_size`` successful trials. A child is the best of a
    tournament, ``tournament_size`` random members of the population, with one decision redrawn.

    Differs from the paper in:

    1. A child that was seen before is discarded, and a new tournament held; in the paper it is
       trained again, so that a good architecture can stay in the population by inheritance.
    2. Children of one ask come from the same population. One at a time is the paper's algorithm;
       several stand for its parallel workers.
    3. The decision is any active one, and its option another than before; the paper redraws an
       input or an operation, equally often, and nothing with a probability of 0.05.
    4. By default the population is of 50 and tournaments are of 10; the paper's are of 100 and 25.

    Args:
        space: What is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default.
        population_size: How many trials live; also the number of random trials at first.
        tournament_size: How many of the population compete to be the parent of a child. All of
            them while there are fewer.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int = 0,
        are_feasible: FeasibilityCheck | None = None,
        population_size: int = 50,
        tournament_size: int = 10,
    ) -> None:
        super().__init__(space, seed=seed, are_feasible=are_feasible, num_initial=population_size)
        if population_size < 1:
            raise ValueError(f"population_size must be at least 1, got {population_size}.")
        if not 1 <= tournament_size <= population_size:
            raise ValueError(
                f"tournament_size must be from 1 to population_size={population_size}, "
                f"got {tournament_size}."
            )
        self.population_size = population_size
        self.tournament_size = tournament_size

    def _children(
        self, successful: list[Trial], num_archs: int, rng: np.random.Generator
    ) -> list[Architecture]:
        alive = successful[-self.population_size :]
        shuffled = [alive[i] for i in rng.permutation(len(alive))]  # no age wins between equals
        population = _choices(_best_first(shuffled))
        win_probs = _win_probs(len(alive), min(self.tournament_size, len(alive)))

        def mutants(size: int) -> NDArray[np.int64]:
            parents = population[rng.choice(len(population), size=size, p=win_probs)]
            return self.space.mutate_choices(parents, rng)

        return self._draw_feasible(
            mutants, num_archs, excluded=self._seen, max_draws=_DRAWS_PER_CHILD * num_archs
        ).archs


def _best_first(trials: Iterable[Trial]) -> list[Trial]:
    """Successful trials by score, equals in the order they come in."""
    return sorted(trials, key=lambda trial: -(trial.score or 0.0))


def _choices(trials: Iterable[Trial]) -> NDArray[np.int64]:
    """Of each trial's architecture, (num_trials, num_decisions)."""
    return np.array([trial.arch.choices for trial in trials])


def _win_probs(population_size: int, tournament_size: int) -> NDArray[np.float64]:
    """How likely each of a population, from its best to its worst, is the best of a tournament.

    Members are drawn without replacement. One wins where all other members are worse.
    """
    num_tournaments = math.comb(population_size, tournament_size)
    return np.array(
        [
            math.comb(num_worse, tournament_size - 1) / num_tournaments
            for num_worse in reversed(range(population_size))
        ]
    )
