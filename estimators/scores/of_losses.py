"""Scores of one's own that look at the losses of the extra steps alone, and so can share them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.base import Estimate, EstimateError
from estimators.scores.definition import EstimatorInputs
from estimators.scores.extra_steps import ExtraSteps, failure
from estimators.scores.names import TRAIN_CURVE
from estimators.scores.settings import EstimatorSettings, ExtraStepsSettings
from supernets.networks.base import Supernet
from supernets.spaces import Architecture

#: Of losses in nats, shape (num_steps,), and the settings of the score; higher is better.
LossFunction = Callable[[NDArray[np.float64], Any], float]


class OfLosses:
    """Builds a score that is a function of the losses of extra steps, as "tse" is.

    It is the ``build`` of an ``EstimatorDefinition`` whose settings are ``ExtraStepsSettings``, or
    a subclass. Where several such scores are ranked, and built-in ones of the same steps, a subnet
    is trained once for all of them.

    Args:
        function: Gives the score of the losses in nats, shape (num_steps,), each taken before its
            own update, and of the settings; higher is better.

    Raises:
        ValueError: If ``function`` is none.

    Example:
        >>> from estimators import EstimatorDefinition, ExtraStepsSettings
        >>> def drop(losses, settings):
        ...     return losses[0] - losses[-1]
        >>> EstimatorDefinition("drop", OfLosses(drop), ExtraStepsSettings).name
        'drop'
    """

    def __init__(self, function: LossFunction) -> None:
        if not callable(function):
            raise ValueError(f"function must be one of losses and settings, got {function!r}.")
        self.function = function

    def __call__(self, settings: EstimatorSettings, inputs: EstimatorInputs) -> LossesEstimator:
        """Builds the estimator.

        Raises:
            ValueError: If the settings are not of extra steps, or there is too little data.
        """
        if not isinstance(settings, ExtraStepsSettings):
            raise ValueError(
                f"Estimator {inputs.name!r} is of losses, so its settings must be a subclass of "
                f"ExtraStepsSettings, got {type(settings).__name__}."
            )
        assert inputs.supernet is not None
        batches = inputs.minibatches(settings).train
        if inputs.draws is None:
            training = ExtraSteps.of(settings, batches, inputs.device, inputs.amp)
        else:
            training = inputs.draws.extra_steps(settings, inputs.device, inputs.amp)
        return LossesEstimator(inputs.name, inputs.supernet, training, self.function, settings)


class LossesEstimator:
    """What ``OfLosses`` builds.

    Args:
        name: Name of the score.
        supernet: Trained supernet; only read.
        training: The extra steps.
        function: As of ``OfLosses``.
        settings: Settings of the score.
    """

    def __init__(
        self,
        name: str,
        supernet: Supernet,
        training: ExtraSteps,
        function: LossFunction,
        settings: ExtraStepsSettings,
    ) -> None:
        self.name, self.supernet, self.training = name, supernet, training
        self.function, self.settings = function, settings
        self.own_code = function

    def estimate(self, arch: Architecture) -> Estimate:
        """Trains an extracted copy of ``arch``.

        Raises:
            EstimateError: If a loss is not finite.
        """
        started = time.perf_counter()
        losses = self.training.run(self.supernet.extract(arch).to(self.training.device))
        found = self.estimate_of(losses)
        return Estimate(
            score=found.score,
            metrics={},
            seconds=time.perf_counter() - started,
            curves={TRAIN_CURVE: tuple(losses.tolist())},
        )

    def estimate_of(self, losses: NDArray[np.float64]) -> Estimate:
        """Scores an architecture whose losses are known.

        Raises:
            EstimateError: If one is not finite.
        """
        problem = failure(losses)
        if problem is not None:
            raise EstimateError(problem)
        return Estimate(score=self.function(losses, self.settings), metrics={}, seconds=0.0)
