"""Neural Predictor: one predictor fitted once to random trials; then what it predicts best.

Paper: Neural Predictor for Neural Architecture Search, https://arxiv.org/abs/1912.00848

Differs from the paper in:

1. Any predictor will do; the paper's is ``search.predictors.gcn``.
2. Settings of the predictor are not chosen on a part of the trials.
3. Two stages: the threshold is a quantile of the random trials in every space; of NAS-Bench-101
   the paper's is a validation accuracy of 91 %. What the classifier rejects is not dropped but
   ranked last.
4. In spaces too large to enumerate candidates are, by default, not only random: see
   ``search.algorithms.pool_search``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from search.algorithms.options import (
    PoolOptions,
    PredictorOptions,
    num_initial_option,
    predictor_option,
)
from search.algorithms.pool_search import PoolSearch, predictor_maker
from search.algorithms.problem import SearchProblem
from search.predictors.base import OnScaleOfScores, Predictor
from search.predictors.registry import graph_classifier_maker
from supernets.runtime.options import option
from supernets.spaces import Architecture


@dataclass(frozen=True)
class NeuralPredictorOptions(PoolOptions, PredictorOptions):
    """Settings of ``NeuralPredictorSearch``.

    Args:
        num_initial: Number of random trials that the predictor is fitted to.
        two_stage: Whether a classifier comes first.
        threshold_quantile: Share of the random trials that is not good enough, between 0 and 1; of
            two stages, and 0.5 there where it is None.

    Raises:
        ValueError: If a number is out of range, a choice is unknown, or ``threshold_quantile`` is
            given for one stage.

    Example:
        >>> NeuralPredictorOptions(num_initial=50, two_stage=True).threshold_quantile
        0.5
    """

    predictor: str = predictor_option("gcn")
    num_initial: int = num_initial_option(172)
    two_stage: bool = option(
        False,
        "learn first which trials are good, and rank what is accepted by a predictor of the good "
        "ones",
    )
    threshold_quantile: float | None = option(
        None,
        "of --two-stage: part of the random trials that is not good enough",
        kinds.FRACTION,
        metavar="Q",
        default_text="0.5",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._only_with("threshold_quantile", "two_stage", True, 0.5)


class NeuralPredictorSearch(PoolSearch):
    """Fits a predictor to ``num_initial`` random trials; then asks for what it predicts best.

    Later trials are never fitted to. Where fewer than two of the random trials have succeeded, more
    of them are made until two have.

    With two stages a classifier first learns which of the random trials are better than
    ``threshold_quantile`` of them, and the predictor is fitted to these better ones alone. What the
    classifier accepts is asked for first, in the predictor's order; the others follow by their
    probability. With fewer than two better trials, as where most have the same score, there is
    one stage only.

    Args:
        problem: What is searched.
        options: Settings of the search.
        make_predictor: Builds an unfitted predictor from a seed below 2**32; None for the one of
            the options.
        make_classifier: Builds an unfitted predictor of the probability that a trial is a better
            one, for the first of two stages; it is fitted to labels 0 and 1. None for
            ``make_predictor``, a regression to these labels, or a graph network of that kind.

    Raises:
        ValueError: If a fixed pool is asked for in a space that is ranked whole, a classifier is
            given for one stage, or the space has not what the predictor sees.
    """

    options: NeuralPredictorOptions

    def __init__(
        self,
        problem: SearchProblem,
        options: NeuralPredictorOptions | None = None,
        *,
        make_predictor: Callable[[int], Predictor] | None = None,
        make_classifier: Callable[[int], Predictor] | None = None,
    ) -> None:
        options = options or NeuralPredictorOptions()
        super().__init__(problem, options, options.pool)
        if make_classifier is not None and not options.two_stage:
            raise ValueError("make_classifier is for two stages; leave it out, or set two_stage.")
        if make_predictor is None:
            make_predictor = predictor_maker(problem, options)
            if options.two_stage and options.predictor == "gcn":
                make_classifier = make_classifier or graph_classifier_maker(problem.space)
        self.make_predictor = make_predictor
        self.make_classifier = make_classifier or make_predictor

    @property
    def reported_predictor(self) -> Callable[[int], Predictor] | None:
        """As of ``SearchAlgorithm``; of two stages not a single predictor ranks."""
        return None if self.options.two_stage else self.make_predictor

    @property
    def num_fitted(self) -> int | None:
        """As of ``SearchAlgorithm``: the first trials, of which at least two have to succeed."""
        successes = [i for i, trial in enumerate(self.trials, 1) if trial.score is not None]
        return max([self.num_initial, *successes[1:2]])

    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Takes the best-predicted unseen ones."""
        ranked = self._ranking(rng).choices
        return ranked[self._unseen_rows(ranked, num_archs)[:num_archs]]

    @property
    def can_predict(self) -> bool:
        """Whether the predictor can be fitted."""
        return not self._is_initial

    def predict_best(self) -> tuple[Architecture, float]:
        """Returns the architecture first in the ranking, seen or not.

        Returns:
            The architecture, and its predicted score on the scale of the trials.

        Raises:
            ValueError: If there are not ``num_initial`` trials yet, or fewer than two succeeded.
        """
        if not self.can_predict:
            raise ValueError(
                f"The predictor is fitted to {self.num_initial} trials of which at least 2 have "
                f"succeeded, got {len(self.trials)} of which {self._num_successful} have."
            )
        ranking = self._ranking(self._rng())
        (arch,) = self.space.architectures(ranking.choices[:1])
        return arch, float(ranking.predicted[0])

    def _ranking(self, rng: np.random.Generator) -> _Ranking:
        """Ranks the candidates; where these are the same for all asks, only once."""
        if self.problem.is_enumerable or self.pool == "fixed":
            return self._fixed_ranking
        return self._model.rank(self._candidates(rng), rng)

    # Both are final: they depend on nothing but the trials up to the first ranking, and trials are
    # only ever added.

    @cached_property
    def _fixed_ranking(self) -> _Ranking:
        rng = np.random.default_rng((self.seed, len(self._fitted_to), 3))
        return self._model.rank(self._candidates(rng), rng)

    @cached_property
    def _model(self) -> _Model:
        archs, scores = zip(*self._fitted_to, strict=True)
        choices = self.space.choices_of(archs)
        values = np.array(scores, np.float64)
        entropy = np.random.SeedSequence((self.seed, len(self._fitted_to), 1))
        predictor_seed, classifier_seed = entropy.generate_state(2).tolist()
        classifier = None
        if self.options.threshold_quantile is not None:  # of two stages
            is_better = values > np.quantile(values, self.options.threshold_quantile)
            if is_better.sum() >= 2:
                classifier = self.make_classifier(classifier_seed)
                classifier.fit(choices, is_better.astype(np.float64))
                choices, values = choices[is_better], values[is_better]
        predictor = OnScaleOfScores(self.make_predictor(predictor_seed), choices, values)
        return _Model(predictor, classifier)

    @property
    def _fitted_to(self) -> list[tuple[Architecture, float]]:
        """The successes among the first trials; more than ``num_initial`` if two need that."""
        found: list[tuple[Architecture, float]] = []
        for number, trial in enumerate(self.trials):
            if number >= self.num_initial and len(found) >= 2:
                break
            if trial.score is not None:
                found.append((trial.arch, trial.score))
        return found


class _Ranking(NamedTuple):
    """Candidates, best first, with their predicted scores."""

    choices: NDArray[np.int64]  # (num_archs, num_decisions)
    predicted: NDArray[np.float64]  # (num_archs,), on the scale of the trials


class _Model(NamedTuple):
    """What was fitted to the random trials."""

    predictor: OnScaleOfScores
    classifier: Predictor | None

    def rank(self, candidates: NDArray[np.int64], rng: np.random.Generator) -> _Ranking:
        """Puts equals in random order."""
        predicted = self.predictor.predict(candidates)
        order = rng.permutation(len(candidates))
        keys = -predicted[order]
        if self.classifier is not None:
            probabilities = self.classifier.predict(candidates)[order]
            is_rejected = probabilities <= 0.5
            keys = np.where(is_rejected, -probabilities, keys)
            order = order[np.lexsort((keys, is_rejected))]
        else:
            order = order[np.argsort(keys, kind="stable")]
        return _Ranking(candidates[order], predicted[order])
