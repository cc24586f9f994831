"""Which architecture to measure next, and at which level.

Ours. One Gaussian process over all levels (``search.predictors.multi_level_gp``) is conditioned on
all trials, and the next measurement is the one by which the best expected score at the top level
rises most per second it takes (``search.staged.knowledge_gradient``). So a level that says nothing
of the top one is measured no more once that is known, and one that says much takes the place of the
top one where it is cheaper.

Scores of each level are seen as the logarithms of their regrets, as in ``structural-bo``. The first
measurements are of random architectures at the first level; every level after it begins with half
as many, of those before it, in turn the best of them by then and one at random. The top level is
measured once the first of these had their share, first the best and then, for contrast, what one
would take without a search, or one at random; and it gets a share of all seconds in any case. The
process believes at first that levels can be trusted, and would not find out. In a space too large
to be ranked whole, what is looked at are architectures that were measured before, random ones, and
mutants of the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.trials.store import Trial
from search.algorithms.log_regret_gp import log_regrets, scores_of_labels
from search.algorithms.problem import SearchProblem
from search.algorithms.structural_bo import fitted_numbers
from search.predictors.gaussian_process import Features
from search.predictors.gp_posterior import Table
from search.predictors.multi_level_gp import (
    LevelFit,
    MultiLevelPosterior,
    Observations,
    chosen_rows,
    fit_levels,
)
from search.staged.knowledge_gradient import knowledge_gradient
from search.staged.options import StagedOptions
from search.staged.records import Answer, Interval, LevelTrial, Measurement
from search.staged.sampling import Sampler, some_of
from supernets.spaces import Architecture

Floats = NDArray[np.float64]

#: Architectures among which the next measurement is looked for.
NUM_CANDIDATES = 200
#: Of those, the ones of highest expectation, which alone are measured at the top level: what would
#: tell most of the rest if the process were right is far from all of them.
NUM_AT_TOP = 30
#: Scores at the top level from which on an architecture may be the answer that has none.
LEAST_AT_TOP = 3
#: A level is given up after so many failed measurements and no other; the top with the search.
MAX_FAILED = 5
#: Architectures that a search of one level begins with at least, whatever they cost.
LEAST_OF_ONE = 3
#: Scores of each level that the process is conditioned on at most, half of them the best.
MAX_OBSERVED = 400
#: In a space too large to rank whole: how many of the best are mutated, and how often.
NUM_PARENTS, NUM_ROUNDS = 20, 2
#: Standard deviations within which nearly all of a normal variable is.
OPTIMISM = 2.0
#: Of an interval that holds 95 % of a normal variable.
NORMAL_95 = 1.96
#: Seconds that a measurement costs at least, so that none is for nothing.
_MIN_SECONDS = 1e-6


class StagedSearch:
    """Asks for measurements of architectures at levels of rising cost and truth.

    ``ask`` is a pure function of the settings and of what was told, so that a search is resumed by
    telling a new one what was recorded.

    Args:
        problem: What is searched.
        num_levels: Number of levels; the last is the top.
        budget: Seconds that all measurements together may take. Only the first one at a level,
            whose cost is not known before, may exceed it.
        options: Settings of the search; None for their defaults.
        first: Architectures that the first level begins with, such as the one of most MACs, which
            is what one takes who does not search; no more than ``num_initial`` are measured.

    Raises:
        ValueError: If there is no level, or the budget is not positive.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> search = StagedSearch(SearchProblem(NASBench201Space()), num_levels=2, budget=60)
        >>> def measure(level, arch):
        ...     return float(sum(arch.choices)) - level
        >>> while (asked := search.ask()) is not None:
        ...     score = measure(*asked)
        ...     search.tell([LevelTrial(*asked, score, seconds=[1, 10][asked.level])])
        >>> search.spent <= 60
        True
    """

    def __init__(
        self,
        problem: SearchProblem,
        num_levels: int,
        budget: float,
        options: StagedOptions | None = None,
        first: Sequence[Architecture] = (),
    ) -> None:
        kinds.POSITIVE_INT.check("num_levels", num_levels)
        kinds.POSITIVE.check("budget", budget)
        self.problem, self.num_levels, self.budget = problem, num_levels, budget
        self.options = options or StagedOptions()
        problem.space.validate_all(first)
        self._first = tuple(first)
        self.trials: list[LevelTrial] = []
        self._told: list[set[Architecture]] = [set() for _ in range(num_levels)]
        self._sampler = Sampler(problem)
        self._features = Features(problem.space)
        self._fit: tuple[int, LevelFit] | None = None

    @property
    def top(self) -> int:
        """Index of the level that counts."""
        return self.num_levels - 1

    @property
    def spent(self) -> float:
        """Seconds of all trials."""
        return math.fsum(trial.seconds for trial in self.trials)

    def tell(self, trials: Sequence[LevelTrial]) -> None:
        """Adds what was measured, failed measurements included.

        Raises:
            ValueError: If an architecture is not of the space, or was measured there before.
        """
        for trial in trials:
            if trial.arch in self._told[trial.level]:
                notation = self.problem.space.format(trial.arch)
                raise ValueError(f"{notation} was told at level {trial.level} before.")
            if trial.level == 0:
                error = None if trial.score is not None else "failed"
                number = len(self._sampler.trials)
                told = Trial(number, trial.arch, trial.score, {}, trial.seconds, error)
                self._sampler.tell([told])
            else:
                self.problem.space.validate(trial.arch)
            self._told[trial.level].add(trial.arch)
            self.trials.append(trial)

    def mean_seconds(self) -> list[float | None]:
        """Returns what a measurement took at each level in the mean; None where there is none."""
        found: list[float | None] = []
        for level in range(self.num_levels):
            own = [trial.seconds for trial in self.trials if trial.level == level]
            found.append(max(math.fsum(own) / len(own), _MIN_SECONDS) if own else None)
        return found

    def ask(self, pending: Sequence[Measurement] = ()) -> Measurement | None:
        """Chooses the next measurement; None where nothing more fits into the budget.

        Args:
            pending: What was asked for and is not told yet; it is taken to turn out as expected.

        Raises:
            SpaceExhaustedError: If there are too few architectures to begin with.
        """
        rng = np.random.default_rng((self.problem.seed, len(self.trials), len(pending)))
        seconds = self.mean_seconds()
        committed = math.fsum(seconds[level] or 0.0 for level, _ in pending)
        left = self.budget - self.spent - committed
        if left <= 0 or self._is_given_up(self.top):
            return None
        initial = self._initial(pending, seconds, left, rng, top_waits=True)
        if initial is not None:
            return initial
        if any(trial.score is not None for trial in self.trials):
            informed = self._informed(pending, seconds, left, rng)
            if informed is not None:
                return informed
        return self._initial(pending, seconds, left, rng, top_waits=False)

    def best_arch(self) -> Architecture | None:
        """Returns the architecture of the best expected score; None where nothing was measured.

        Until ``LEAST_AT_TOP`` have scores at the top level, it is one of those that have scores at
        the highest level where any have: what was never measured is then expected in ignorance.
        """
        successful = [trial for trial in self.trials if trial.score is not None]
        if not successful:
            return None
        rng = np.random.default_rng((self.problem.seed, len(self.trials)))
        posterior = self._posterior(())
        highest = max(trial.level for trial in successful)
        known = [trial.arch for trial in successful if trial.level == highest]
        if highest < self.top or len(known) < LEAST_AT_TOP:
            choices = self.problem.space.choices_of(known)
            table = self._features.of(choices)
        else:
            choices, table = self._candidates(posterior, rng)
        best = int(posterior.mean_and_variance(table, self.top)[0].argmax())
        return self.problem.space.architectures(choices[best : best + 1])[0]

    def answer(self) -> Answer | None:
        """Returns ``best_arch`` with what is believed of it and of the levels."""
        arch = self.best_arch()
        if arch is None:
            return None
        assert self._fit is not None
        own = {t.score for t in self.trials if t.level == self.top and t.score is not None}
        score = self.expected([arch])[0] if len(own) > 1 else None
        reference = self._features.of(some_of(self.problem, NUM_CANDIDATES)[:NUM_CANDIDATES])
        trust = [Interval(*each) for each in self._fit[1].trust_intervals(reference)]
        return Answer(arch, score, trust)

    def expected(self, archs: Sequence[Architecture]) -> list[Interval]:
        """Returns what architectures are expected to score at the top level, in its unit.

        Args:
            archs: Architectures of the space.

        Raises:
            ValueError: If fewer than two different scores were measured there.
        """
        own = {t.score for t in self.trials if t.level == self.top and t.score is not None}
        if len(own) < 2:
            raise ValueError(
                "Scores are expected in a unit once two different ones were measured at the top "
                f"level, got {len(own)}."
            )
        table = self._features.of(self.problem.space.choices_of(archs))
        mean, variance = self._posterior(()).mean_and_variance(table, self.top)
        return [self._interval(*each) for each in zip(mean, variance, strict=True)]

    def _interval(self, mean: float, variance: float) -> Interval:
        """What is expected at the top level, in the unit of that."""
        own = [t.score for t in self.trials if t.level == self.top and t.score is not None]
        scores, reach = np.array(own), NORMAL_95 * math.sqrt(variance)
        labels = mean + np.array([0.0, -reach, reach])
        return Interval(*scores_of_labels(labels, log_regrets(scores), scores).tolist())

    def _initial(
        self,
        pending: Sequence[Measurement],
        seconds: Sequence[float | None],
        left: float,
        rng: np.random.Generator,
        *,
        top_waits: bool,
    ) -> Measurement | None:
        """The next of the first measurements; None where they are all made or being made."""
        wanted = self.options.num_initial
        if self.problem.is_enumerable:
            wanted = min(wanted, max(len(self.problem.feasible_choices), 1))
        for level, cost in enumerate(seconds):
            told = self._told[level] | {m.arch for m in pending if m.level == level}
            affordable = self.options.initial_share * self.budget / cost if cost else 1
            least = LEAST_OF_ONE if self.top == 0 else 1
            num_wanted = min(max(int(affordable), least), wanted)
            if level == self.top > 0:  # once something is known of where to look
                is_early = self.spent < self.options.initial_share * self.budget
                num_wanted = 0 if is_early and top_waits and not told else min(num_wanted, 2)
            if self._is_given_up(level):
                num_wanted = 0
            if len(told) < num_wanted and (cost is None or cost <= left):
                if level == 0:
                    begun = [arch for arch in self._first if arch not in told]
                    return Measurement(0, begun[0] if begun else self._sampler.unseen(told))
                before = [t.arch for t in self.trials if t.level == level - 1]
                is_open = [arch for arch in dict.fromkeys(before) if arch not in told]
                if is_open and len(told) % 2:
                    given = [arch for arch in self._first if arch in is_open]
                    if level == self.top and given:
                        return Measurement(level, given[0])
                    return Measurement(level, is_open[int(rng.integers(len(is_open)))])
                if is_open and not any(trial.score is not None for trial in self.trials):
                    return Measurement(level, is_open[int(rng.integers(len(is_open)))])
                if is_open:
                    return Measurement(level, self._best_of(is_open, pending))
            wanted = max(wanted // 2, 2)
        return None

    def _best_of(
        self, archs: Sequence[Architecture], pending: Sequence[Measurement]
    ) -> Architecture:
        table = self._features.of(self.problem.space.choices_of(archs))
        mean, _ = self._posterior(pending).mean_and_variance(table, self.top)
        return archs[int(mean.argmax())]

    def _informed(
        self,
        pending: Sequence[Measurement],
        seconds: Sequence[float | None],
        left: float,
        rng: np.random.Generator,
    ) -> Measurement | None:
        """What raises the best expected score most per second."""
        posterior = self._posterior(pending)
        choices, table = self._promising(posterior, rng)
        archs = self.problem.space.architectures(choices)
        at_top = posterior.whitened(table, self.top)
        mean, _ = posterior.mean_and_variance(table, self.top, at_top)
        best, best_rate = None, -math.inf
        for level in self._offered(pending, seconds, left):
            cost = seconds[level]
            assert cost is not None
            told = self._told[level] | {m.arch for m in pending if m.level == level}
            most = NUM_AT_TOP if level == self.top > 0 else len(archs)
            is_open = [i for i, arch in enumerate(archs) if arch not in told]
            rows = np.array([i for i in is_open if i < most] or is_open, np.int64)
            if not len(rows):
                continue
            own = table.rows(rows)
            whitened = at_top[:, rows] if level == self.top else posterior.whitened(own, level)
            _, variance = posterior.mean_and_variance(own, level, whitened)
            changes = posterior.cross_covariance(own, level, whitened, table, self.top, at_top)
            deviation = np.sqrt(variance + posterior.parameters.noise[level])
            gains = knowledge_gradient(mean, changes / deviation[:, None])
            i = int(gains.argmax())
            if gains[i] / cost > best_rate:
                best, best_rate = Measurement(level, archs[rows[i]]), gains[i] / cost
        return best

    def _offered(
        self, pending: Sequence[Measurement], seconds: Sequence[float | None], left: float
    ) -> list[int]:
        """The levels that can be paid for; the top alone while it had less than its share."""
        affordable = [
            level
            for level, cost in enumerate(seconds)
            if cost is not None and cost <= left and not self._is_given_up(level)
        ]
        at_top = [t.seconds for t in self.trials if t.level == self.top]
        at_top += [seconds[self.top] or 0.0 for level, _ in pending if level == self.top]
        spent = self.spent + math.fsum(seconds[level] or 0.0 for level, _ in pending)
        is_short = math.fsum(at_top) < self.options.top_share * spent
        has_open = len(at_top) < len({trial.arch for trial in self.trials})
        return [self.top] if is_short and has_open and self.top in affordable else affordable

    def _is_given_up(self, level: int) -> bool:
        """Whether measurements at a level failed, and none did not."""
        scores = [trial.score for trial in self.trials if trial.level == level]
        return len(scores) >= MAX_FAILED and all(score is None for score in scores)

    def _promising(
        self, posterior: MultiLevelPosterior, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Table]:
        """Architectures that may be the answer: of the highest means, and by optimism."""
        choices, table = self._candidates(posterior, rng)
        mean, variance = posterior.mean_and_variance(table, self.top)
        by_mean = np.argsort(-mean, kind="stable")[: NUM_CANDIDATES // 2]
        hopes = np.argsort(-(mean + OPTIMISM * np.sqrt(variance)), kind="stable")
        order = dict.fromkeys([*by_mean.tolist(), *hopes[:NUM_CANDIDATES].tolist()])
        rows = np.array(list(order)[:NUM_CANDIDATES])
        return choices[rows], table.rows(rows)

    def _candidates(
        self, posterior: MultiLevelPosterior, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Table]:
        """All architectures, or in a large space those worth a look, with their features."""
        if self.problem.is_enumerable:
            return self.problem.feasible_choices, self._whole_table
        told = self.problem.space.choices_of(dict.fromkeys(t.arch for t in self.trials))
        choices = self._sampler.others(self.options.pool_size, told, rng)
        choices, table = np.concatenate([told, choices]), self._features.of(told)
        table = table.joined(self._features.of(choices[len(told) :]))
        for _ in range(NUM_ROUNDS):
            mean, _ = posterior.mean_and_variance(table, self.top)
            parents = choices[np.argsort(-mean, kind="stable")[:NUM_PARENTS]]
            mutants = self._sampler.mutants(parents, self.options.pool_size // 5, choices, rng)
            choices = np.concatenate([choices, mutants])
            table = table.joined(self._features.of(mutants))
        return choices, table

    @cached_property
    def _whole_table(self) -> Table:
        """Features of all feasible architectures."""
        return self._features.of(self.problem.feasible_choices)

    def _posterior(self, pending: Sequence[Measurement]) -> MultiLevelPosterior:
        """The process, conditioned on all that was told and on what is pending as expected."""
        successful = [trial for trial in self.trials if trial.score is not None]
        num_fitted, _ = fitted_numbers(len(successful))
        if self._fit is None or self._fit[0] != num_fitted:
            fitted = self._observations(successful[:num_fitted])
            fit = fit_levels(self._features, fitted, self.num_levels, self.problem.seed)
            self._fit = num_fitted, fit
        parameters, observed = self._fit[1].parameters, self._kept(successful)
        posterior = MultiLevelPosterior(observed, parameters)
        if not pending:
            return posterior
        table = self._features.of(self.problem.space.choices_of(arch for _, arch in pending))
        levels = np.array([level for level, _ in pending])
        means = np.array(
            [
                posterior.mean_and_variance(table.rows(slice(i, i + 1)), level)[0][0]
                for i, level in enumerate(levels)
            ]
        )
        return MultiLevelPosterior(
            Observations(
                observed.table.joined(table),
                np.concatenate([observed.levels, levels]),
                np.concatenate([observed.scores, means]),
            ),
            parameters,
        )

    def _kept(self, trials: Sequence[LevelTrial]) -> Observations:
        """What the process is conditioned on: of a level with too many scores the best and some."""
        observed = self._observations(trials)
        kept = [
            chosen_rows(
                observed, level, MAX_OBSERVED, np.random.default_rng((self.problem.seed, level))
            )
            for level in range(self.num_levels)
        ]
        return observed.rows(np.sort(np.concatenate(kept)))

    def _observations(self, trials: Sequence[LevelTrial]) -> Observations:
        levels = np.array([trial.level for trial in trials], np.int64)
        scores = np.array([trial.score for trial in trials], np.float64)
        labels = np.zeros(len(trials))
        for level in np.unique(levels):
            labels[levels == level] = log_regrets(scores[levels == level])
        choices = self.problem.space.choices_of(trial.arch for trial in trials)
        return Observations(self._features.of(choices), levels, labels)
