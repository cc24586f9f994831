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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.trials.store import Trial
from search.algorithms.options import AlgorithmOptions, num_initial_option
from search.algorithms.population_search import PopulationSearch, best_trials
from search.algorithms.problem import SearchProblem
from supernets.runtime.options import option

_DRAWS_PER_CHILD = 100


@dataclass(frozen=True)
class SPOSEvolutionOptions(AlgorithmOptions):
    """Settings of ``SPOSEvolution``.

    Args:
        num_initial: Number of random trials before the first generation.
        num_parents: Number of best trials that are parents; a crossover takes two.
        mutation_prob: Probability with which a mutant draws each decision anew, perhaps to what it
            was.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> SPOSEvolutionOptions(num_parents=5)
        SPOSEvolutionOptions(num_initial=50, num_parents=5, mutation_prob=0.1)
    """

    num_initial: int = num_initial_option(50)
    num_parents: int = option(
        10, "best trials that are parents of others", kinds.AT_LEAST_TWO, metavar="N"
    )
    mutation_prob: float = option(
        0.1, "how likely each decision is drawn anew", kinds.PROBABILITY, metavar="P"
    )


class SPOSEvolution(PopulationSearch):
    """SPOS' genetic algorithm: every ask is a generation of mutants and crossovers of the best.

    The parents are the best of all trials. Half of a generation are mutants of random parents, the
    other half crossovers of two different random ones; of an odd number one child is either. The
    paper's generations are of 50.

    Args:
        problem: What is searched.
        options: Settings of the search.
    """

    options: SPOSEvolutionOptions

    def __init__(self, problem: SearchProblem, options: SPOSEvolutionOptions | None = None) -> None:
        options = options or SPOSEvolutionOptions()
        super().__init__(problem, options, options.num_initial)

    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        best = best_trials(successful, self.options.num_parents)
        parents = self.space.choices_of(trial.arch for trial in best)

        def mutants(size: int) -> NDArray[np.int64]:
            picks = rng.integers(len(parents), size=size)
            return self.space.redraw_choices(parents[picks], self.options.mutation_prob, rng)

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


@dataclass(frozen=True)
class RegularizedEvolutionOptions(AlgorithmOptions):
    """Settings of ``RegularizedEvolution``.

    Args:
        population_size: Number of trials that live; also the number of random trials at first.
        tournament_size: Number of trials of the population that compete to be the parent of a
            child. All of them while there are fewer.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> RegularizedEvolutionOptions(population_size=20).tournament_size
        10
    """

    population_size: int = option(50, "trials that live", kinds.BATCH, metavar="N")
    tournament_size: int = option(
        10, "trials that compete to be a parent", kinds.POSITIVE_INT, metavar="N"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tournament_size > self.population_size:
            raise ValueError(
                f"tournament_size must be from 1 to population_size={self.population_size}, "
                f"got {self.tournament_size}."
            )


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
        problem: What is searched.
        options: Settings of the search.
    """

    options: RegularizedEvolutionOptions

    def __init__(
        self, problem: SearchProblem, options: RegularizedEvolutionOptions | None = None
    ) -> None:
        options = options or RegularizedEvolutionOptions()
        super().__init__(problem, options, options.population_size)

    def _proposals(
        self, successful: Sequence[Trial], num_archs: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        alive = successful[-self.options.population_size :]
        shuffled = [alive[i] for i in rng.permutation(len(alive))]  # no age wins between equals
        population = self.space.choices_of(trial.arch for trial in best_trials(shuffled))
        win_probs = _win_probs(len(alive), min(self.options.tournament_size, len(alive)))

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
