"""WeakNAS: a new weak predictor after every batch, sampling where it predicts best.

Paper: Stronger NAS with Weaker Predictors, https://arxiv.org/abs/2102.10490

Differs from the paper and the authors' code in:

1. Labels are normalised with the mean and deviation of the labelled architectures; the code uses
   those of the whole space, including labels it has not queried.
2. Architectures predicted equal are ranked in random order; the code ranks them in table order.
3. Spaces too large to enumerate: the paper ranks one fixed random pool. Here every ask ranks a
   fresh one, half uniform and half mutations of the best trials, together with those trials.
4. While fewer than two trials have succeeded nothing is fitted, and sampling stays uniform.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from search.base import SearchAlgorithm
from search.predictors.base import Predictor
from supernets.spaces import Architecture, SearchSpace

_NUM_PARENTS = 20  # best trials that the pool of a large space mutates
_MAX_MUTATIONS = 3  # decisions redrawn in one of them, at most
_DRAWS_PER_POOL_MEMBER = 10  # a tight constraint thins the pool rather than stall the search


class WeakNAS(SearchAlgorithm):
    """Alternates between fitting a predictor to all trials and sampling from its top.

    The first ``num_initial`` trials are uniform. Then every ask fits a fresh predictor to the
    successful trials, ranks all feasible architectures (of a large space, a pool), and draws
    uniformly from the unseen among the top ``top_n``. If these are fewer than asked for, it takes
    the best-predicted unseen ones of the whole ranking instead.

    Args:
        space: What is searched.
        make_predictor: Builds an unfitted predictor from a seed below 2**32.
        seed: Makes the search repeatable; not negative.
        is_feasible: Which architectures may be asked for; all of them by default.
        num_initial: Number of uniform trials before the first predictor.
        top_n: N, from how many of the best-predicted the next are drawn. A sequence gives one N per
            predictor, its last value going on; predictors are counted by the trials told and the
            number asked for, so this needs batches of one size.
        exclude_before_top: Whether seen architectures leave the ranking before its top is cut
            (paper) or after (the authors' code, and default), which turns greedy once most of the
            top is seen.
        pool_size: How many architectures are ranked where the space is too large to rank whole.

    Raises:
        ValueError: If a number is less than 1.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        make_predictor: Callable[[int], Predictor],
        seed: int = 0,
        is_feasible: Callable[[Architecture], bool] | None = None,
        num_initial: int = 10,
        top_n: int | Sequence[int] = 100,
        exclude_before_top: bool = False,
        pool_size: int = 10_000,
    ) -> None:
        super().__init__(space, seed=seed, is_feasible=is_feasible)
        self._top_ns = (top_n,) if isinstance(top_n, int) else tuple(top_n)
        if not self._top_ns or min(self._top_ns) < 1:
            raise ValueError(f"top_n must be at least 1, got {top_n}.")
        if num_initial < 1:
            raise ValueError(f"num_initial must be at least 1, got {num_initial}.")
        if pool_size < 1:
            raise ValueError(f"pool_size must be at least 1, got {pool_size}.")
        self.make_predictor = make_predictor
        self.num_initial = num_initial
        self.exclude_before_top = exclude_before_top
        self.pool_size = pool_size

    def next_batch_size(self, batch_size: int) -> int:
        """What is left of the initial trials, then ``batch_size``."""
        num_left = self.num_initial - len(self.trials)
        return num_left if num_left > 0 else batch_size

    def ask(self, num_archs: int) -> list[Architecture]:
        """Samples from the top of a freshly fitted predictor; uniformly before ``num_initial``.

        Raises:
            ValueError: As ``SearchAlgorithm.ask``.
        """
        rng = self._rng()
        if len(self.trials) < self.num_initial or self._num_successful < 2:
            return self._sample_unseen(num_archs, rng)
        self._check_num_archs(num_archs)
        ranking = [arch for arch, _ in self._rank(rng)]
        iteration = (len(self.trials) - self.num_initial) // num_archs
        top_n = self._top_ns[min(iteration, len(self._top_ns) - 1)]
        unseen = [arch for arch in ranking if arch not in self._seen]
        if self.exclude_before_top:
            candidates = unseen[:top_n]
        else:
            candidates = [arch for arch in ranking[:top_n] if arch not in self._seen]
        if len(candidates) >= num_archs:
            return [candidates[i] for i in rng.choice(len(candidates), num_archs, replace=False)]
        best = unseen[:num_archs]
        if len(best) < num_archs:
            raise ValueError(
                f"Only {len(best)} of {num_archs} architectures found: a pool of {self.pool_size} "
                f"from space {self.space.name!r} held no more that are feasible and unseen; loosen "
                "the constraint or raise pool_size."
            )
        return best

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
        candidates = self.feasible_archs if self.is_enumerable else self._pool(rng)
        predicted = predictor.predict(candidates) * deviation + mean
        shuffled = rng.permutation(len(candidates))
        order = shuffled[np.argsort(-predicted[shuffled], kind="stable")]
        return [(candidates[i], float(predicted[i])) for i in order]

    def _pool(self, rng: np.random.Generator) -> Sequence[Architecture]:
        """What is ranked where the space is not: told, mutated and random architectures."""
        told = [t for t in self.trials if t.score is not None]
        told.sort(key=lambda trial: -(trial.score or 0.0))
        parents = [trial.arch for trial in told[:_NUM_PARENTS]]

        def mutant() -> Architecture:
            arch = parents[rng.integers(len(parents))]
            for _ in range(rng.integers(1, _MAX_MUTATIONS + 1)):
                arch = self.space.mutate(arch, rng)
            return arch

        pool = dict.fromkeys(trial.arch for trial in told)
        for draw, size in (
            (mutant, self.pool_size // 2),
            (lambda: self.space.sample(rng), self.pool_size - self.pool_size // 2),
        ):
            found, _ = self._draw_feasible(
                draw,
                size,
                excluded=self._seen | pool.keys(),
                max_draws=_DRAWS_PER_POOL_MEMBER * size,
            )
            pool.update(dict.fromkeys(found))
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
