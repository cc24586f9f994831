"""Samplers of Optuna as search algorithms, for the tables of queries.

A decision is a categorical parameter of its options. What a sampler asks for again is answered at
once with what is known of it and is no query: the count of queries is of different architectures,
as for the algorithms beside it. How often that happens is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from estimators.trials.store import Trial
from supernets.spaces import Architecture
from supernets.spaces.base import SearchSpace

#: Samplers by the names they have here.
SAMPLERS = {
    "optuna-tpe": optuna.samplers.TPESampler,
    "optuna-gp": optuna.samplers.GPSampler,
    "optuna-nsga2": optuna.samplers.NSGAIISampler,
    "optuna-random": optuna.samplers.RandomSampler,
}
#: Times in a row that a sampler may ask for what is known, before a search is given up.
MAX_REPEATS = 100


class OptunaSearch:
    """A study that is asked for one architecture at a time.

    Args:
        name: Of ``SAMPLERS``.
        space: What is searched.
        seed: Seed of the sampler.
        **options: Further arguments of the sampler.
    """

    def __init__(self, name: str, space: SearchSpace, seed: int, **options: Any) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = SAMPLERS[name](seed=seed, **options)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space = space
        self._parameters = {
            decision.name: optuna.distributions.CategoricalDistribution(decision.options)
            for decision in space.decisions
        }
        self._asked: optuna.Trial | None = None
        self._known: dict[Architecture, float] = {}
        #: What was measured, in order.
        self.trials: list[Trial] = []
        #: Architectures that were asked for when they were known.
        self.num_repeats = 0

    def next_batch_size(self, batch_size: int) -> int:
        """Returns 1: samplers are asked for one at a time, whatever ``batch_size``."""
        return 1

    def ask(self, num_archs: int) -> list[Architecture]:
        """Proposes an architecture that is not known; none if the sampler only repeats itself."""
        for _ in range(MAX_REPEATS):
            self._asked = self._study.ask(dict(self._parameters))
            chosen = self._asked.params
            arch = self._space.architecture(
                [
                    decision.options.index(chosen[decision.name])
                    for decision in self._space.decisions
                ]
            )
            if arch not in self._known:
                return [arch]
            self._study.tell(self._asked, self._known[arch])
            self.num_repeats += 1
        return []

    def tell(self, trials: Sequence[Trial]) -> None:
        """Tells the study what was asked for."""
        for trial in trials:
            assert self._asked is not None and trial.score is not None
            self._study.tell(self._asked, trial.score)
            self._known[trial.arch] = trial.score
            self.trials.append(trial)

    def tell_known(self, scores: Mapping[Architecture, float]) -> None:
        """Tells the study what it did not ask for."""
        for arch, score in scores.items():
            chosen = {
                decision.name: decision.options[choice]
                for decision, choice in zip(self._space.decisions, arch.choices, strict=True)
            }
            self._study.add_trial(
                optuna.trial.create_trial(
                    params=chosen, distributions=dict(self._parameters), value=score
                )
            )
            self._known[arch] = score
            self.trials.append(Trial(len(self.trials), arch, score, {}, 0.0, None))
