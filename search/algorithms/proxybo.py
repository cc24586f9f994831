"""ProxyBO: a Bayesian search that trusts zero-cost proxies as far as they have ranked its trials.

Paper: ProxyBO: Accelerating Neural Architecture Search via Bayesian Optimization with Zero-cost
Proxies, https://arxiv.org/abs/2110.10423. Without proxies it is a plain Bayesian search by expected
improvement; with a probabilistic forest and ``rand_prob=0.1`` as OpenBox does it,
https://arxiv.org/abs/2106.00421.

There is no public code. Where the paper leaves a choice, or we differ:

1. Agreement of a pair is that both orders are equal; the paper prints an exclusive or, under which
   a larger value would mean a worse ranking. A tie is "not above", as the paper's strict
   comparison has it.
2. The surrogate is judged by five folds, shuffled anew for every ask; the paper names no number.
3. The iteration T counts successful trials, the random ones included, plus one, whatever the size
   of batches; its logarithm is natural.
4. Candidates are all unseen architectures of a space small enough to enumerate, otherwise a pool of
   5000, see ``search.algorithms.pool_search``; the paper draws a number it does not name,
   random and local ones.
5. Candidates of equal rank share their mean rank, and equal sums are ordered at random.
6. A batch is the best of one ranking; the paper asks for one architecture at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from search.algorithms.acquisition import expected_improvement
from search.algorithms.options import (
    PoolOptions,
    encoding_option,
    features_option,
    pool_size_option,
)
from search.algorithms.pool_search import PoolSearch, chosen_features
from search.algorithms.problem import SearchProblem
from search.algorithms.rows import unseen_rows
from search.predictors.base import (
    FeatureFunction,
    OnScaleOfScores,
    Predictor,
    ProbabilisticPredictor,
)
from search.predictors.registry import forest_maker
from supernets.runtime.options import option
from supernets.spaces import Encoding

Floats = NDArray[np.float64]

_NUM_FOLDS = 5


@dataclass(frozen=True)
class BOOptions(PoolOptions):
    """Settings of a plain Bayesian search, ``ProxyBO`` without proxies.

    Args:
        encoding: What the surrogate sees of an architecture.
        num_initial: Number of random trials before the first surrogate.
        rand_prob: Probability with which an architecture is drawn at random instead.

    Raises:
        ValueError: If a number is out of range, or a choice is unknown.

    Example:
        >>> BOOptions(rand_prob=0.1).pool_size
        5000
    """

    encoding: Encoding = encoding_option("one-hot")
    rand_prob: float = option(
        0.0, "share of trials drawn at random", kinds.PROBABILITY, metavar="P"
    )
    pool_size: int = pool_size_option(5_000)


@dataclass(frozen=True)
class ProxyBOOptions(BOOptions):
    """Settings of ``ProxyBO`` with proxies, beside those of a plain Bayesian search.

    Args:
        predictor_inputs: Names of the problem's zero-cost features, which are the proxies.
        tau0: Temperature of the softmax over concordances at the first iteration; lower trusts the
            most concordant ranking alone.

    Raises:
        ValueError: If a number is out of range, or a choice is unknown.

    Example:
        >>> ProxyBOOptions(predictor_inputs=("macs", "synflow")).tau0
        0.05
    """

    predictor_inputs: tuple[str, ...] = features_option()
    tau0: float = option(
        0.05,
        "how evenly surrogate and proxies are weighed; lower trusts the best alone",
        kinds.POSITIVE,
        metavar="T",
    )


class ProxyBO(PoolSearch):
    """Ranks candidates by expected improvement and by proxies, weighted by their concordance.

    The first ``num_initial`` trials are random. Then every ask fits the surrogate to the successful
    trials and asks for the candidates with the least weighted sum of ranks.

    Args:
        problem: What is searched. With ``ProxyBOOptions`` its zero-cost features are the proxies,
            (num_archs, num_proxies), of which higher promises more, as in their natural sign; nan
            where there is none, which ranks last. They must be the same for the same architecture,
            and are asked of all of a space that is ranked whole at once.
        options: Settings of the search; of ``BOOptions`` it has no proxies.
        make_predictor: Builds an unfitted surrogate from a seed below 2**32; None for a
            probabilistic forest.

    Raises:
        ValueError: If a fixed pool is asked for in a space that is ranked whole, the space lacks
            the encoding, or there are no proxies.
    """

    options: BOOptions

    predictor_sees_features = False

    def __init__(
        self,
        problem: SearchProblem,
        options: BOOptions | None = None,
        *,
        make_predictor: Callable[[int], ProbabilisticPredictor] | None = None,
    ) -> None:
        options = options or BOOptions()
        super().__init__(problem, options, options.pool)
        self.proxies: FeatureFunction | None = None
        if isinstance(options, ProxyBOOptions):
            self.proxies = chosen_features(problem, options.predictor_inputs)
            if self.proxies is None:
                raise ValueError(
                    "ProxyBO needs predictor_inputs, the zero-cost features that are its proxies, "
                    "such as macs synflow."
                )
        problem.space.check_encoding(options.encoding)
        self.make_predictor = make_predictor or forest_maker(problem.space, options.encoding)

    @property
    def reported_predictor(self) -> Callable[[int], Predictor] | None:
        """As of ``SearchAlgorithm``."""
        return self.make_predictor

    def _choose_informed(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Takes the best of a combined ranking, with ``rand_prob`` each a random one instead.

        Raises:
            ValueError: If the proxies do not give a row for every architecture.
        """
        num_random = int(rng.binomial(num_archs, self.options.rand_prob))
        chosen = self.space.choices_of([])
        if num_random:
            chosen = self._sample_initial(num_random, rng)
        if num_random < num_archs:
            best = self._rank(num_archs, rng)[:num_archs]
            chosen = np.concatenate([chosen, best[unseen_rows(best, chosen)]])[:num_archs]
        return chosen

    def influences(self, num_trials: int) -> Floats:
        """Returns how much each ranking counts once the first ``num_trials`` trials are told.

        Returns:
            The weights of the surrogate and of each proxy, (1 + num_proxies,), which sum to 1.

        Raises:
            ValueError: If so many trials were not told, or fewer than two of them succeeded.
        """
        choices, scores = self._scored(num_trials)
        if not 0 <= num_trials <= len(self.trials) or len(scores) < 2:
            raise ValueError(
                f"Influences need at least 2 successful trials, got {len(scores)} among the first "
                f"{num_trials} of {len(self.trials)}."
            )
        if self.proxies is None or not isinstance(self.options, ProxyBOOptions):
            return np.ones(1)
        predicted = self._predict_left_out(choices, scores, num_trials)
        rankings = [predicted, *self._proxies_of(choices).T]
        concordances = np.array([concordance(values, scores) for values in rankings])
        return proxy_weights(concordances, iteration=len(scores) + 1, tau0=self.options.tau0)

    def _rank(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Unseen candidates, best first; SpaceExhaustedError if fewer than ``num_archs``."""
        from scipy.stats import rankdata  # here, as loading takes half a second

        candidates = self._candidates(rng)
        rows = self._unseen_rows(candidates, num_archs)
        unseen = candidates[rows]
        choices, scores = self._scored()
        mean, std = self._fit_and_predict(choices, scores, unseen, len(self.trials))
        rankings = [expected_improvement(mean, std, scores.max())]
        if self.proxies is not None:
            is_same_always = self.problem.is_enumerable or self.pool == "fixed"
            table = self._proxies_of_all[rows] if is_same_always else self._proxies_of(unseen)
            rankings.extend(table.T)
        sums = np.zeros(len(unseen))
        for influence, values in zip(self.influences(len(self.trials)), rankings, strict=True):
            sums += influence * rankdata(-values)
        shuffled = rng.permutation(len(unseen))
        return unseen[shuffled[np.argsort(sums[shuffled], kind="stable")]]

    def _fit_and_predict(
        self,
        choices: NDArray[np.int64],
        scores: Floats,
        others: NDArray[np.int64],
        num_trials: int,
    ) -> tuple[Floats, Floats]:
        """Scores of ``others`` and their deviations by a surrogate that knows ``scores`` alone."""
        entropy = np.random.SeedSequence((self.seed, num_trials, 1))
        predictor = self.make_predictor(int(entropy.generate_state(1)[0]))
        return OnScaleOfScores(predictor, choices, scores).predict_with_std(others)

    def _predict_left_out(
        self, choices: NDArray[np.int64], scores: Floats, num_trials: int
    ) -> Floats:
        """Every score as predicted by a surrogate that was not fitted to its fold."""
        order = np.random.default_rng((self.seed, num_trials, 3)).permutation(len(scores))
        predicted = np.empty(len(scores))
        for fold in np.array_split(order, min(_NUM_FOLDS, len(scores))):
            rest = np.setdiff1d(order, fold)
            predicted[fold], _ = self._fit_and_predict(
                choices[rest], scores[rest], choices[fold], num_trials
            )
        return predicted

    def _proxies_of(self, choices: NDArray[np.int64]) -> Floats:
        """Proxies (num_archs, num_proxies), the least where there is none."""
        assert self.proxies is not None
        table = self.proxies(choices)
        if table.ndim != 2 or len(table) != len(choices):
            raise ValueError(
                f"proxies must give ({len(choices)}, num_proxies) of as many architectures, got "
                f"{table.shape}."
            )
        return np.where(np.isfinite(table), table, -np.inf)

    @cached_property
    def _proxies_of_all(self) -> Floats:
        """Proxies of all candidates, where these are the same in every ask."""
        return self._proxies_of(self._candidates(self._rng()))


def concordance(values: Floats, scores: Floats) -> float:
    """Returns the share ``2 F / (n (n - 1))`` of pairs that two columns (num_archs,) order alike.

    A pair j < k agrees if both of "j above k" hold or neither does, so that of a tie it depends on
    the order of the pair.
    """
    first, second = np.triu_indices(len(scores), 1)
    is_above = scores[first] > scores[second]
    return float(np.mean((values[first] > values[second]) == is_above))


def proxy_weights(concordances: Floats, *, iteration: int, tau0: float) -> Floats:
    """Weighs by the softmax of concordances over ``tau0 / (1 + ln T)``, T being ``iteration``."""
    from scipy.special import softmax

    tau = tau0 / (1 + np.log(iteration))
    return np.asarray(softmax(concordances / tau), np.float64)
