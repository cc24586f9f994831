"""WeakNAS: a new weak predictor after every batch, sampling where it predicts best.

Paper: Stronger NAS with Weaker Predictors, https://arxiv.org/abs/2102.10490

Differs from the paper and the authors' code in:

1. Labels are normalised with the mean and deviation of the labelled architectures; the code uses
   those of the whole space, including labels it has not queried.
2. Architectures predicted equal are ranked in random order; the code ranks them in table order.
3. Spaces too large to enumerate: the code ranks one pool of 10,000 random feasible architectures,
   fixed for the whole search (``pool="fixed"``). By default every ask ranks a fresh pool here, see
   ``search.algorithms.pool_search``. Members are distinct networks; in the code's pool they may
   differ in inactive choices only.
4. While fewer than two trials have succeeded nothing is fitted, and sampling stays random.
5. The paper compares linearly and exponentially decaying sampling without a formula, and the code
   has neither. Here the probabilities of n candidates, best first, are proportional to n, n - 1, …,
   1 or to powers of 0.96.
6. What ``keep="top"`` keeps of the old trials is decided by one predictor fitted to all of them; in
   the code, by those fitted to what each iteration before had kept.
7. ``acquisition="ei"`` divides the deviation between the members by 5 as the code does, and adds
   1e-9, as members may agree. Improvement is over the best label; the code's is over the worst, of
   the wrong sign, so that hardly anything improves. It is ranked by its logarithm, which is never
   too small to be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.trials.store import Trial
from search.algorithms.acquisition import log_expected_improvement
from search.algorithms.options import (
    PoolOptions,
    PredictorOptions,
    num_initial_option,
)
from search.algorithms.pool_search import PoolSearch, predictor_maker
from search.algorithms.problem import SearchProblem
from search.algorithms.rows import unseen_rows
from search.predictors.base import OnScaleOfScores, Predictor
from supernets.runtime.options import option
from supernets.spaces import Architecture

Sampling = Literal["uniform", "linear-decay", "exponential-decay"]
SAMPLINGS: tuple[Sampling, ...] = ("uniform", "linear-decay", "exponential-decay")
Keep = Literal["all", "none", "top"]
KEEPS: tuple[Keep, ...] = ("all", "none", "top")
Acquisition = Literal["mean", "ei"]
ACQUISITIONS: tuple[Acquisition, ...] = ("mean", "ei")

_DEFAULT_TOP_N = 100
_DEFAULT_NUM_MEMBERS = 5  # of acquisition "ei"
_DECAY = 0.96  # of exponential sampling, from a rank to the next
_STD_DIVISOR = 5.0
_STD_FLOOR = 1e-9


class _TopN(kinds.Whole):
    """A number of architectures, or in Python a sequence of them."""

    def check(self, name: str, value: object) -> None:
        """Makes sure that a setting is one, or that there are some.

        Raises:
            ValueError: If it is not.
        """
        if not isinstance(value, Sequence) or isinstance(value, str):
            super().check(name, value)
        elif not value:
            raise ValueError(f"{name} must be a number or several, got none.")
        else:
            for each in value:
                super().check(name, each)


@dataclass(frozen=True)
class WeakNASOptions(PoolOptions, PredictorOptions):
    """Settings of ``WeakNAS``.

    Args:
        num_initial: Number of random trials before the first predictor.
        top_n: N, from how many of the best-predicted the next are drawn. A sequence gives one N per
            predictor, its last value going on; predictors are counted by the trials told and the
            number asked for, so this needs batches of one size.
        exclude_before_top: Whether seen architectures leave the ranking before its top is cut
            (paper) or after (the authors' code, and default), which turns greedy once most of the
            top is seen.
        sampling: How likely the unseen of the top are drawn, without replacement: all
            ``"uniform"``-ly, or less so with their rank by ``"linear-decay"`` or
            ``"exponential-decay"``.
        keep: Which trials a predictor is fitted to: ``"all"``; of the old ones ``"none"``; or of
            these the ones in the ``"top"`` ``top_n`` of a predictor fitted to them, and all new
            ones. New are the last as many as are asked for, or the initial trials if no more are
            told. Where fewer than two old ones could be ranked or fewer than two are kept, all are.
        acquisition: What ranks: the ``"mean"`` prediction, or ``"ei"``, the improvement over the
            best trial that several predictors expect, of which the best unseen are asked for
            without drawing.
        num_members: Number of predictors of ``"ei"``, of different seeds; 5 where it is None.

    Raises:
        ValueError: If a number is out of range, a choice is unknown, or an option has no effect
            with ``acquisition``.

    Example:
        >>> WeakNASOptions(top_n=[100, 50], predictor="random_forest").encoding
        'one-hot'
    """

    num_initial: int = num_initial_option(10)
    top_n: int | Sequence[int] = option(
        _DEFAULT_TOP_N, "the next are drawn from so many best-predicted", _TopN(1), metavar="N"
    )
    exclude_before_top: bool = option(False, "take seen ones out before cutting the top N")
    sampling: Sampling = option(
        "uniform", "how to draw from the top: evenly, or less with rank", choices=SAMPLINGS
    )
    keep: Keep = option("all", "older trials to fit to beside the newest batch", choices=KEEPS)
    acquisition: Acquisition = option(
        "mean",
        "rank by the mean, or by expected improvement of several predictors",
        choices=ACQUISITIONS,
    )
    num_members: int | None = option(
        None,
        "predictors of --acquisition ei",
        kinds.Whole(2, 100),
        metavar="N",
        default_text=str(_DEFAULT_NUM_MEMBERS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._only_with("num_members", "acquisition", "ei", _DEFAULT_NUM_MEMBERS)
        has_top = self.sampling != "uniform" or self.exclude_before_top
        has_top |= self.top_ns != (_DEFAULT_TOP_N,) and self.keep != "top"
        if self.acquisition == "ei" and has_top:
            raise ValueError(
                "acquisition 'ei' asks for the best unseen without drawing from a top: leave out "
                "sampling and exclude_before_top, and top_n unless keep is 'top'."
            )
        if self.acquisition == "ei" and self.predictor == "gaussian_process":
            raise ValueError(
                "Acquisition 'ei' goes by how much predictors of several seeds differ, and those of"
                " 'gaussian_process' do not; choose another predictor, or algorithm structural-bo."
            )

    @property
    def top_ns(self) -> tuple[int, ...]:
        """N of each predictor, its last value going on."""
        return (self.top_n,) if isinstance(self.top_n, int) else tuple(self.top_n)


class WeakNAS(PoolSearch):
    """Alternates between fitting a predictor to all trials and sampling from its top.

    The first ``num_initial`` trials are random. Then every ask fits a fresh predictor to the
    successful trials, ranks all feasible architectures (of a large space, a pool), and draws from
    the unseen among the top ``top_n``. If these are fewer than asked for, it takes the
    best-predicted unseen ones of the whole ranking instead.

    Args:
        problem: What is searched.
        options: Settings of the search.
        make_predictor: Builds an unfitted predictor from a seed below 2**32; None for the one of
            the options.

    Raises:
        ValueError: If a fixed pool is asked for in a space that is ranked whole, or the space has
            not what the predictor sees.
    """

    options: WeakNASOptions

    def __init__(
        self,
        problem: SearchProblem,
        options: WeakNASOptions | None = None,
        *,
        make_predictor: Callable[[int], Predictor] | None = None,
    ) -> None:
        options = options or WeakNASOptions()
        super().__init__(problem, options, options.pool)
        self.make_predictor = make_predictor or predictor_maker(problem, options)

    @property
    def reported_predictor(self) -> Callable[[int], Predictor] | None:
        """As of ``SearchAlgorithm``."""
        return self.make_predictor

    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Samples from the top of a freshly fitted predictor."""
        iteration = (len(self.trials) - self.num_initial) // num_archs
        top_ns = self.options.top_ns
        top_n = top_ns[min(iteration, len(top_ns) - 1)]
        candidates = self._candidates(rng)
        kept = self._kept(num_archs, top_n, candidates, rng)
        ranking = self._ranked(kept, len(self.trials), candidates, rng)
        unseen = self._unseen_rows(ranking, num_archs)
        top = unseen[:top_n] if self.options.exclude_before_top else unseen[unseen < top_n]
        if self.options.acquisition == "ei" or len(top) < num_archs:
            chosen = unseen[:num_archs]
        else:
            probs = self._sampling_probs(len(top))
            chosen = rng.choice(top, num_archs, replace=False, p=probs)
        return ranking[chosen]

    @property
    def can_predict(self) -> bool:
        """Whether enough trials have succeeded for ``predict_best``."""
        return self._num_successful >= 2

    def predict_best(self) -> tuple[Architecture, float]:
        """Fits a last predictor to all trials, whatever ``keep`` is, and gives its best.

        Returns:
            The architecture, seen or not, and its predicted score on the scale of the trials; of
            several members, their mean.

        Raises:
            ValueError: If fewer than two trials have succeeded.
        """
        if not self.can_predict:
            raise ValueError(
                f"A predictor needs at least 2 successful trials, got {self._num_successful}."
            )
        rng = self._rng()
        candidates = self._candidates(rng)
        mean = self._predict(_successful(self.trials), len(self.trials), candidates).mean(axis=0)
        shuffled = rng.permutation(len(candidates))
        best = shuffled[mean[shuffled].argmax()]
        (arch,) = self.space.architectures(candidates[[best]])
        return arch, float(mean[best])

    def _kept(
        self,
        num_archs: int,
        top_n: int,
        candidates: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> list[Trial]:
        """The trials that the predictor of this ask is fitted to, at least two."""
        labelled = _successful(self.trials)
        if self.options.keep == "all":
            return labelled
        num_told = len(self.trials)
        num_old = max(num_told - num_archs, 0) if num_told > self.num_initial else 0
        old, kept = _successful(self.trials[:num_old]), _successful(self.trials[num_old:])
        if self.options.keep == "top":
            if len(old) < 2:
                return labelled
            top = self._ranked(old, num_old, candidates, rng)[:top_n]
            are_below = unseen_rows(self.space.choices_of(trial.arch for trial in old), top)
            kept = [old[i] for i in np.flatnonzero(~are_below)] + kept
        return kept if len(kept) >= 2 else labelled

    def _ranked(
        self,
        labelled: Sequence[Trial],
        num_told: int,
        candidates: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """The candidates best first, equals in random order."""
        predicted = self._predict(labelled, num_told, candidates)
        value = mean = predicted.mean(axis=0)
        if self.options.acquisition == "ei":
            std = predicted.std(axis=0) / _STD_DIVISOR + _STD_FLOOR
            best = max(trial.score for trial in self.trials if trial.score is not None)
            value = log_expected_improvement(mean, std, best)
        shuffled = rng.permutation(len(candidates))
        return candidates[shuffled[np.argsort(-value[shuffled], kind="stable")]]

    def _predict(
        self, labelled: Sequence[Trial], num_told: int, candidates: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What fresh predictors say, seeded by the number of trials that were told by then.

        Returns:
            Scores on the scale of the trials, (num_members, num_candidates); of acquisition
            ``"mean"`` there is one member.
        """
        choices = self.space.choices_of(trial.arch for trial in labelled)
        scores = np.array([trial.score for trial in labelled], dtype=np.float64)
        num_members = self.options.num_members or 1
        entropy = np.random.SeedSequence((self.seed, num_told, 1))
        predicted = np.empty((num_members, len(candidates)))
        for row, seed in zip(predicted, entropy.generate_state(num_members), strict=True):
            fitted = OnScaleOfScores(self.make_predictor(int(seed)), choices, scores)
            row[:] = fitted.predict(candidates)
        return predicted

    def _sampling_probs(self, num_archs: int) -> NDArray[np.float64] | None:
        """Returns the probability of each rank of the top, from the best; None if all are equal."""
        if self.options.sampling == "uniform":
            return None
        ranks = np.arange(num_archs)
        weights = num_archs - ranks if self.options.sampling == "linear-decay" else _DECAY**ranks
        return np.asarray(weights / weights.sum(), np.float64)


def top_n_schedule(start: int, end: int, num_iterations: int, decay: float = 0.96) -> list[int]:
    """Computes N of each iteration, falling exponentially from ``start`` to ``end``.

    ``N_i = end + (start - end) (decay^x_i - decay^99) / (1 - decay^99)``, rounded down, with the
    ``x_i`` evenly spaced from 0 to 99.

    Args:
        start: N of the first iteration.
        end: N of the last one; at least 1.
        num_iterations: Length of the schedule; at least 1.
        decay: Base of the exponential, between 0 and 1; a smaller one falls faster.

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


def _successful(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.score is not None]
