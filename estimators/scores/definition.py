"""What the name of an estimator stands for, and what an estimator is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from estimators.scores.settings import EstimatorSettings
from supernets.runtime.instances import check_instance, check_subclass, check_switch
from supernets.runtime.named_objects import Reference, check_builder, defining, object_of

if TYPE_CHECKING:
    import torch

    from estimators.base import Estimator
    from estimators.scores.minibatches import Draws, Minibatches
    from supernets.data.loaders import Loaders
    from supernets.networks.base import Supernet
    from supernets.spaces import SearchSpace


@dataclass(frozen=True)
class EstimatorInputs:
    """What an estimator is built from; of all this it gets what its settings say that it ``needs``.

    Args:
        name: The name that was asked for.
        supernet: Trained supernet, only to be read; None where it is not needed.
        data: Loaders of the supernet's data, or minibatches; None where they are not needed.
        space: Space of the architectures; None where it is not needed.
        device: Device to run on.
        amp: Whether to compute in bfloat16 autocast.
        draws: Minibatches that other scores were given too; None for none.

    Example:
        >>> import torch
        >>> EstimatorInputs("mine", None, None, None, torch.device("cpu"), amp=False).device.type
        'cpu'
    """

    name: str
    supernet: Supernet | None
    data: Loaders | Minibatches | None
    space: SearchSpace | None
    device: torch.device
    amp: bool
    draws: Draws | None = None

    def minibatches(self, settings: EstimatorSettings) -> Minibatches:
        """Returns what the settings need, drawn from the loaders if it was not given as it is.

        Train minibatches are ``num_batches`` of the settings, or one; val minibatches are
        ``num_val_batches``, or all; where the settings have ``num_recalibrate_batches``, there are
        minibatches for the statistics of BatchNorm, as of ``val_acc``. Scores that are compared
        look at the same ones.

        Raises:
            ValueError: If there is too little data.
        """
        from estimators.scores.minibatches import minibatches_that_settings_need

        assert self.supernet is not None
        return minibatches_that_settings_need(settings, self.supernet, self.data, self.draws)


@dataclass(frozen=True)
class EstimatorDefinition:
    """An estimator and its settings, as one object that can be named.

    Wherever an estimator is chosen by name, to search by or to rank, ``package.module:Object`` or
    ``file.py:Object`` may name a definition of one's own.

    Args:
        name: Its name, as in the records of trials.
        build: Function of settings and ``EstimatorInputs`` that returns the ``Estimator``; where
            the fields of its settings are not all that decides its scores, with a dictionary of
            plain values that do. Or ``module:Object``, imported once one is built.
        settings: Class of its settings, which says what it ``needs``; the flags of
            ``supernet-search`` and ``supernet-rank`` are made of its fields.
        trains_anew: Whether it trains networks from fresh weights, so that a search by it has no
            inherited ones to export.

    Raises:
        ValueError: If a value is not of its kind.

    Example:
        >>> from estimators import ESTIMATORS
        >>> ESTIMATORS["tse"].settings().num_batches
        100
    """

    name: str
    build: Reference
    settings: type[EstimatorSettings] = EstimatorSettings
    trains_anew: bool = False

    def __post_init__(self) -> None:
        with defining(self, self.name):
            check_instance("name", self.name, str)
            check_subclass("settings", self.settings, EstimatorSettings)
            check_switch("trains_anew", self.trains_anew)
            check_builder(self.build)

    @property
    def builder(self) -> Callable[..., Estimator | tuple[Estimator, dict[str, Any]]]:
        """What builds it, imported if it was not yet.

        Raises:
            ValueError: If it cannot be imported.
        """
        found: Callable[..., Estimator | tuple[Estimator, dict[str, Any]]] = object_of(self.build)
        return found
