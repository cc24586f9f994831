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

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from estimators.trials.store import Trial
from search.algorithms.base import FeasibilityCheck
from search.algorithms.population_search import PopulationSearch, best_first
from supernets.spaces import SearchSpace

_DRAWS_PER_CHILD = 100


class SPOSEvolution(PopulationSearch):
    """SPOS' genetic algorithm: every ask is a generation of mutants and crossovers of the best.

    The parents are the best of all trials. Half of a generation are mutants of random parents, the
    other half crossovers of two different random ones; of an odd number one child is either. The
    paper's generations are of 50.

    Args:
        space: Space that is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default.
        num_initial: Number of random trials before the first generation.
        num_parents: Number of best trials that are parents.
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
        if num_parents < 2:
            raise ValueError(
                f"num_parents must be at least 2, as a crossover takes two, got {num_parents}."
            )
        if not 0.0 <= mutation_prob <= 1.0:
            raise ValueError(f"mutation_prob must be from 0 to 1, got {mutation_prob}.")
        self.num_parents = num_parents
        self.mutation_prob = mutation_prob

    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        best = best_first(successful, self.num_parents)
        parents = self.space.choices_of(trial.arch for trial in best)

        def mutants(size: int) -> NDArray[np.int64]:
            picks = rng.integers(len(parents), size=size)
            return self.space.redraw_choices(parents[picks], self.mutation_prob, rng)

        def crossovers(size: int) -> NDArray[np.int64]:
            first = rng.integers(len(parents), size=size)
            second = (first + rng.integers(1, len(parents), size=size)) % len(parents)
            return self.space.crossover_choices(parents[first], parents[second], rng)

        num_mutants = (num_archs + int(rng.integers(2))) // 2
        children = self.space.choices_of([])
        for draw, wanted in ((mutants, num_mutants), (crossovers, num_archs - num_mutants)):
            drawn = self._draw_feasible(
                draw,
                wanted,
                excluded=children,
                max_draws=_DRAWS_PER_CHILD * wanted,
            )
            children = np.concatenate([children, drawn.choices])
        return children


class RegularizedEvolution(PopulationSearch):
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
        space: Space that is searched.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default.
        population_size: Number of trials that live; also the number of random trials at first.
        tournament_size: Number of trials of the population that compete to be the parent of a
            child. All of them while there are fewer.

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
        if population_size < 1:
            raise ValueError(f"population_size must be at least 1, got {population_size}.")
        if not 1 <= tournament_size <= population_size:
            raise ValueError(
                f"tournament_size must be from 1 to population_size={population_size}, "
                f"got {tournament_size}."
            )
        super().__init__(space, seed=seed, are_feasible=are_feasible, num_initial=population_size)
        self.population_size = population_size
        self.tournament_size = tournament_size

    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        alive = successful[-self.population_size :]
        shuffled = [alive[i] for i in rng.permutation(len(alive))]  # no age wins between equals
        population = self.space.choices_of(trial.arch for trial in best_first(shuffled))
        win_probs = _win_probs(len(alive), min(self.tournament_size, len(alive)))

        def mutants(size: int) -> NDArray[np.int64]:
            parents = population[rng.choice(len(population), size=size, p=win_probs)]
            return self.space.mutate_choices(parents, rng)

        return self._draw_feasible(
            mutants,
            num_archs,
            max_draws=_DRAWS_PER_CHILD * num_archs,
        ).choices


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
