"""What the name of a predictor stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search.predictors.base import Predictor
from supernets.runtime.instances import check_instance, check_switch
from supernets.runtime.named_objects import Reference, check_builder, defining, object_of


@dataclass(frozen=True)
class PredictorDefinition:
    """A predictor, as one object that can be named.

    Wherever a predictor is chosen by name, ``package.module:Object`` or ``file.py:Object`` may name
    a definition of one's own.

    Args:
        name: Its name, as in the records of searches.
        build: Class or function that builds an unfitted ``Predictor`` from a space, a seed below
            2**32, and by name ``encoding`` and ``zero_cost_features`` where it takes these; or
            ``module:Object``, imported once one is built.
        has_own_view: Whether it looks at architectures in a way of its own, at no encoding.
        takes_features: Whether it sees zero-cost features beside.

    Raises:
        ValueError: If a value is not of its kind.

    Example:
        >>> from search import PREDICTORS
        >>> PREDICTORS["gaussian_process"].has_own_view
        True
    """

    name: str
    build: Reference
    has_own_view: bool = False
    takes_features: bool = True

    def __post_init__(self) -> None:
        with defining(self, self.name):
            check_instance("name", self.name, str)
            check_builder(self.build)
            check_switch("has_own_view", self.has_own_view)
            check_switch("takes_features", self.takes_features)

    @property
    def builder(self) -> Callable[..., Predictor]:
        """What builds it, imported if it was not yet.

        Raises:
            ValueError: If it cannot be imported.
        """
        found: Callable[..., Predictor] = object_of(self.build)
        return found
