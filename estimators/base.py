"""What every estimator returns, and the one error a search survives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from supernets.spaces import Architecture


@dataclass(frozen=True)
class Estimate:
    """The measurement of one architecture.

    Args:
        score: Higher is better, for every estimator.
        metrics: Scalars in their natural sign and unit, e.g. ``{"tse": 143.2}`` nats.
        seconds: Wall-clock time the measurement took.
        curves: Values recorded step by step, e.g. ``{"train_loss": (2.30, 2.21, …)}`` nats.

    Example:
        >>> Estimate(score=-143.2, metrics={"tse": 143.2}, seconds=4.1).curves
        {}
    """

    score: float
    metrics: Mapping[str, float]
    seconds: float
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class EstimateError(RuntimeError):
    """This architecture cannot be scored; a search records it as a failed trial and goes on."""


class Estimator(Protocol):
    """Measures an architecture; the same architecture always gets the same score.

    Example:
        >>> class FewestParameters:
        ...     name = "fewest-parameters"
        ...
        ...     def __init__(self, cost_model):
        ...         self.cost_model = cost_model
        ...
        ...     def estimate(self, arch):
        ...         params = self.cost_model.measure(arch).params
        ...         return Estimate(score=-params, metrics={"params": params}, seconds=0.0)
    """

    name: str

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures ``arch``.

        Raises:
            EstimateError: If this architecture cannot be scored.
        """


@contextmanager
def short_of_memory_is_its_fault() -> Iterator[None]:
    """Turns a lack of memory into an ``EstimateError``."""
    try:
        yield
    except MemoryError as error:
        raise EstimateError(f"Out of memory: {error}") from error
    except EstimateError:
        raise
    except RuntimeError as error:
        import torch  # here, as what looks values up needs none

        # the CPU's allocator has no exception of its own
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        torch.cuda.empty_cache()  # nothing to do where CUDA was not used
        raise EstimateError(f"Out of memory: {error}") from error
