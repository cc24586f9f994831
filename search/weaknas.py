"""WeakNAS: a new weak predictor after every batch, sampling where it predicts best.

Paper: Stronger NAS with Weaker Predictors, https://arxiv.org/abs/2102.10490

Differs from the paper and the authors' code in:

1. Labels are normalised with the mean and deviation of the labelled architectures; the code uses
   those of the whole space, including labels it has not queried.
2. Architectures predicted equal are ranked in random order; the code ranks them in table order.
3. Spaces too large to enumerate: the code ranks one pool of 10,000 random feasible architectures,
   fixed for the whole search (``pool="fixed"``). By default every ask ranks a fresh pool here: half
   random, a quarter mutants (1 to 3 decisions redrawn) and a quarter crossovers of the best 20
   trials, together with all successful trials. Members are distinct networks; in the code's pool
   they may differ in inactive choices only.
4. While fewer than two trials have succeeded nothing is fitted, and sampling stays random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search.base import FeasibilityCheck, SearchAlgorithm, StarvedError
from search.predictors.base import Predictor
from supernets.spaces import Architecture, SearchSpace

Pool = Literal["fresh", "fixed"]
POOLS: tuple[Pool, ...] = ("fresh", "fixed")

_NUM_PARENTS = 20  # best trials that a fresh pool takes mutants and crossovers of
_MAX_MUTATIONS = 3  # decisions redrawn in a mutant, at most
#: Draws for the random part of a fresh pool; where a tight constraint leaves it short, mutants and
#: crossovers take its place.
_MAX_RANDOM_DRAWS = 1_000_000
_DRAWS_PER_OFFSPRING = 20


class WeakNAS(SearchAlgorithm):
    """Alternates between fitting a predictor to all trials and sampling from its top.

    The first ``num_initial`` trials are random. Then every ask fits a fresh predictor to the
    successful trials, ranks all feasible architectures (of a large space, a pool), and draws
    uniformly from the unseen among the top ``top_n``. If these are fewer than asked for, it takes
    the best-predicted unseen ones of the whole ranking instead.

    Args:
        space: What is searched.
        make_predictor: Builds an unfitted predictor from a seed below 2**32.
        seed: Makes the search repeatable; not negative.
        are_feasible: Which architectures may be asked for; all of them by default.
        num_initial: Number of random trials before the first predictor.
        top_n: N, from how many of the best-predicted the next are drawn. A sequence gives one N per
            predictor, its last value going on; predictors are counted by the trials told and the
            number asked for, so this needs batches of one size.
        exclude_before_top: Whether seen architectures leave the ranking before its top is cut
            (paper) or after (the authors' code, and default), which turns greedy once most of the
            top is seen.
        pool: Where the space is too large to rank whole, whether every ask ranks a ``"fresh"`` pool
            or all rank one ``"fixed"`` random pool, which all trials then come from.
        pool_size: How many architectures a pool holds.

    Raises:
        ValueError: If a number is less than 1, ``pool`` is unknown, or a fixed pool is asked for
            in a space that is ranked whole.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        make_predictor: Callable[[int], Predictor],
        seed: int = 0,
        are_feasible: FeasibilityCheck | None = None,
        num_initial: int = 10,
        top_n: int | Sequence[int] = 100,
        exclude_before_top: bool = False,
        pool: Pool = "fresh",
        pool_size: int = 10_000,
    ) -> None:
        super().__init__(space, seed=seed, are_feasible=are_feasible)
        self._top_ns = (top_n,) if isinstance(top_n, int) else tuple(top_n)
        if not self._top_ns or min(self._top_ns) < 1:
            raise ValueError(f"top_n must be at least 1, got {top_n}.")
        if num_initial < 1:
            raise ValueError(f"num_initial must be at least 1, got {num_initial}.")
        if pool_size < 1:
            raise ValueError(f"pool_size must be at least 1, got {pool_size}.")
        if pool not in POOLS:
            raise ValueError(f"Unknown pool {pool!r}; choose from {', '.join(POOLS)}.")
        if pool == "fixed" and self.is_enumerable:
            raise ValueError(
                f"Space {space.name!r} is small enough to be ranked whole; a fixed pool is for "
                "larger ones, leave it out."
            )
        self.make_predictor = make_predictor
        self.num_initial = num_initial
        self.exclude_before_top = exclude_before_top
        self.pool = pool
        self.pool_size = pool_size

    def next_batch_size(self, batch_size: int) -> int:
        """What is left of the initial trials, then ``batch_size``."""
        num_left = self.num_initial - len(self.trials)
        return num_left if num_left > 0 else batch_size

    def ask(self, num_archs: int) -> list[Architecture]:
        """Samples from the top of a freshly fitted predictor; at random before ``num_initial``.

        Raises:
            ValueError: If ``num_archs`` is less than 1.
            StarvedError: As ``SearchAlgorithm.ask``.
        """
        rng = self._rng()
        self._check_num_archs(num_archs)
        if len(self.trials) < self.num_initial or self._num_successful < 2:
            if self.pool == "fresh":
                return self._sample_unseen(num_archs, rng)
            unseen = self._not_seen(self._fixed_pool, num_archs)
            return [unseen[i] for i in rng.choice(len(unseen), num_archs, replace=False)]
        ranking = [arch for arch, _ in self._rank(rng)]
        iteration = (len(self.trials) - self.num_initial) // num_archs
        top_n = self._top_ns[min(iteration, len(self._top_ns) - 1)]
        unseen = self._not_seen(ranking, num_archs)
        if self.exclude_before_top:
            candidates = unseen[:top_n]
        else:
            candidates = [arch for arch in ranking[:top_n] if arch not in self._seen]
        if len(candidates) >= num_archs:
            return [candidates[i] for i in rng.choice(len(candidates), num_archs, replace=False)]
        return unseen[:num_archs]

    def _not_seen(self, archs: Sequence[Architecture], num_archs: int) -> list[Architecture]:
        """The unseen among ``archs``, in their order; StarvedError if fewer than ``num_archs``."""
        unseen = [arch for arch in archs if arch not in self._seen]
        if len(unseen) < num_archs:
            raise StarvedError(
                f"Only {len(unseen)} of {num_archs} architectures found: a {self.pool} pool of "
                f"{self.pool_size} from space {self.space.name!r} held no more that are feasible "
                "and unseen; loosen the constraint or raise pool_size."
            )
        return unseen

    def predict_best(self) -> tuple[Architecture, float]:
        """Fits a last predictor to all trials and gives its best architecture, seen or not.

        Returns:
            The architecture, and its predicted score on the scale of the trials.

        Raises:
            ValueError: If fewer than two trials have succeeded.
        """
        if self._num_successful < 2:
            raise ValueError(
                f"A predictor needs at least 2 successful trials, got {self._num_successful}."
            )
        return self._rank(self._rng())[0]

    @property
    def _num_successful(self) -> int:
        return sum(trial.score is not None for trial in self.trials)

    def _rank(self, rng: np.random.Generator) -> list[tuple[Architecture, float]]:
        """All candidates with their predicted scores, best first, equals in random order."""
        labelled = [(t.arch, t.score) for t in self.trials if t.score is not None]
        scores = np.array([score for _, score in labelled], dtype=np.float64)
        mean, deviation = scores.mean(), scores.std() or 1.0
        entropy = np.random.SeedSequence((self.seed, len(self.trials), 1))
        predictor = self.make_predictor(int(entropy.generate_state(1)[0]))
        predictor.fit([arch for arch, _ in labelled], (scores - mean) / deviation)
        candidates = self._candidates(rng)
        predicted = predictor.predict(candidates) * deviation + mean
        shuffled = rng.permutation(len(candidates))
        order = shuffled[np.argsort(-predicted[shuffled], kind="stable")]
        return [(candidates[i], float(predicted[i])) for i in order]

    def _candidates(self, rng: np.random.Generator) -> Sequence[Architecture]:
        """What is ranked."""
        if self.is_enumerable:
            return self.feasible_archs
        return self._fixed_pool if self.pool == "fixed" else self._fresh_pool(rng)

    @cached_property
    def _fixed_pool(self) -> list[Architecture]:
        """Random feasible architectures, the same whatever was told."""
        rng = np.random.default_rng((self.seed, 0, 2))  # predictors are seeded with (…, …, 1)
        return self._sample_random(self.pool_size, rng, excluded=set())

    def _fresh_pool(self, rng: np.random.Generator) -> list[Architecture]:
        """Told, random, mutated and crossed architectures."""
        told = [trial for trial in self.trials if trial.score is not None]
        told.sort(key=lambda trial: -(trial.score or 0.0))
        parents = np.array([trial.arch.choices for trial in told[:_NUM_PARENTS]])

        def random_parents(num_archs: int) -> NDArray[np.int64]:
            return parents[rng.integers(len(parents), size=num_archs)]

        def mutants(num_archs: int) -> NDArray[np.int64]:
            choices = random_parents(num_archs)
            num_mutations = rng.integers(1, _MAX_MUTATIONS + 1, size=num_archs)
            for i in range(_MAX_MUTATIONS):
                rows = num_mutations > i
                choices[rows] = self.space.mutate_choices(choices[rows], rng)
            return choices

        def crossovers(num_archs: int) -> NDArray[np.int64]:
            first, second = random_parents(num_archs), random_parents(num_archs)
            return self.space.crossover_choices(first, second, rng)

        pool = dict.fromkeys(trial.arch for trial in told)
        size = len(pool) + self.pool_size
        for draw, share, max_draws in (
            (lambda n: self.space.sample_choices(n, rng), 0.5, _MAX_RANDOM_DRAWS),
            (mutants, 0.5, None),
            (crossovers, 1.0, None),
        ):
            wanted = round(share * (size - len(pool)))
            drawn = self._draw_feasible(
                draw,
                wanted,
                excluded=self._seen | pool.keys(),
                max_draws=max_draws or _DRAWS_PER_OFFSPRING * wanted,
            )
            pool.update(dict.fromkeys(drawn.archs))
        return list(pool)


def top_n_schedule(start: int, end: int, num_iterations: int, decay: float = 0.96) -> list[int]:
    """N of each iteration, falling exponentially from ``start`` to ``end``.

    ``N_i = end + (start - end) (decay^x_i - decay^99) / (1 - decay^99)``, rounded down, with the
    ``x_i`` evenly spaced from 0 to 99.

    Args:
        start: N of the first iteration.
        end: N of the last one; at least 1.
        num_iterations: Length of the schedule; at least 1.
        decay: Between 0 and 1; smaller falls faster.

    Raises:
        ValueError: If an argument is out of range.
    """
    if num_iterations < 1 or end < 1 or start < 1 or not 0.0 < decay < 1.0:
        raise ValueError(
            "A schedule needs start, end and num_iterations of at least 1 and a decay between 0 "
            f"and 1, got start={start}, end={end}, num_iterations={num_iterations}, decay={decay}."
        )
    x = np.linspace(0.0, 99.0, num_iterations)
    fraction = (decay**x - decay**99) / (1.0 - decay**99)
    return [int(n) for n in end + (start - end) * fraction]
