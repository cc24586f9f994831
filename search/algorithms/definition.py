"""What the name of a search algorithm stands for."""

from __future__ import annotations

from dataclasses import dataclass

import supernets.runtime.option_types as kinds
from search.algorithms.base import SearchAlgorithm
from search.algorithms.options import AlgorithmOptions
from supernets.runtime.instances import check_instance, check_subclass
from supernets.runtime.named_objects import defining


@dataclass(frozen=True)
class AlgorithmDefinition:
    """A search algorithm and its settings, as one object that can be named.

    Wherever an algorithm is chosen by name, ``package.module:Object`` or ``file.py:Object`` may
    name a definition of one's own.

    Args:
        name: Its name, as in the records of searches.
        algorithm: Its class, built from a ``SearchProblem`` and its options.
        options: Class of its settings; the flags of ``supernet-search`` are made of their fields.
        batch_size: How many architectures are asked for at once where nothing else is said.
        predicts: Whether its class has ``can_predict`` and ``predict_best``, of a last predictor,
            which can put an architecture first that was never measured.

    Raises:
        ValueError: If ``algorithm`` or ``options`` is no such class, or a value is out of range.

    Example:
        >>> from search import ALGORITHMS
        >>> ALGORITHMS["evolution"].batch_size
        50
    """

    name: str
    algorithm: type[SearchAlgorithm]
    options: type[AlgorithmOptions] = AlgorithmOptions
    batch_size: int = 1
    predicts: bool = False

    def __post_init__(self) -> None:
        with defining(self, self.name):
            check_instance("name", self.name, str)
            check_subclass("algorithm", self.algorithm, SearchAlgorithm)
            check_subclass("options", self.options, AlgorithmOptions)
            kinds.BATCH.check("batch_size", self.batch_size)
