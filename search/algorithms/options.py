"""Settings of search algorithms: their base, and the fields that several of them have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import supernets.runtime.option_types as kinds
from estimators.scores.names import COST_SCORES, PROXY_SCORES
from search.predictors.registry import PREDICTORS, WHICH_PREDICTOR
from supernets.runtime.named_objects import NamedObjects
from supernets.runtime.options import Options, option, options_of
from supernets.spaces import ENCODINGS, Encoding

#: Numbers that tell of an architecture before any trial: costs, and zero-cost proxies.
ZERO_COST_FEATURES = (*COST_SCORES, *PROXY_SCORES)

Pool = Literal["fresh", "fixed"]
POOLS: tuple[Pool, ...] = ("fresh", "fixed")


@dataclass(frozen=True)
class AlgorithmOptions(Options):
    """Base of the settings of an algorithm, which are all it takes beside a ``SearchProblem``.

    A field that has an effect only beside another one is None where it has none.

    Example:
        >>> AlgorithmOptions().settings()
        {}
    """

    def settings(self) -> dict[str, Any]:
        """Returns the settings that have an effect, for the header of a search's trials.

        Objects of one's own are there by the names that they call themselves.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, declared in options_of(type(self)).items():
            if isinstance(declared.kind, NamedObjects):
                values[name] = declared.kind.own_name(values[name])
        return {name: value for name, value in values.items() if value is not None}

    def _only_with(self, name: str, other: str, needed: object, default: object) -> None:
        """Fills in a field that has an effect only where another one has a certain value.

        Raises:
            ValueError: If it is given where it has none.
        """
        if getattr(self, other) == needed:
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        elif getattr(self, name) is not None:
            raise ValueError(
                f"Option {name} has no effect unless {other} is {needed}; leave {name} out, or set "
                f"{other}."
            )


def num_initial_option(default: int) -> Any:
    """Makes the field ``num_initial`` of an algorithm that begins with random trials."""
    return option(default, "random trials to begin with", kinds.POSITIVE_INT, metavar="N")


def pool_size_option(default: int) -> Any:
    """Makes the field ``pool_size`` of an algorithm that ranks candidates."""
    return option(default, "architectures of a pool", kinds.POOL, metavar="N")


@dataclass(frozen=True)
class RankingOptions(AlgorithmOptions):
    """Settings of an algorithm that ranks candidates.

    Args:
        num_initial: Number of random trials before the first ranking.
        pool_size: Number of architectures in a pool, where the space is too large to rank whole.

    Raises:
        ValueError: If a number is out of range.
    """

    num_initial: int = num_initial_option(5)
    pool_size: int = pool_size_option(10_000)


@dataclass(frozen=True)
class PoolOptions(RankingOptions):
    """Settings of an algorithm that ranks candidates, with a choice of pools.

    Args:
        pool: Whether every ask ranks a ``"fresh"`` pool or all rank one ``"fixed"`` random pool,
            which all trials then come from, where the space is too large to rank whole.

    Raises:
        ValueError: If a number is out of range, or ``pool`` is unknown.
    """

    pool: Pool = option(
        "fresh",
        "where a space is too large to rank whole: a pool is drawn for every batch, or one for all",
        choices=POOLS,
        flag="--ranked-pool",  # --pool lists what may be searched
    )


def encoding_option(default: Encoding | None) -> Any:
    """Makes the field ``encoding`` of an algorithm with a predictor."""
    return option(default, "what the predictor sees", choices=ENCODINGS, default_text="one-hot")


def features_option() -> Any:
    """Makes the field ``predictor_inputs`` of an algorithm that looks at zero-cost features."""
    return option(
        (),
        "what else the predictor sees, and proxies of proxybo, of "
        f"{', '.join(ZERO_COST_FEATURES)}; measured of all candidates, so use a fixed or small "
        "pool",
        choices=ZERO_COST_FEATURES,
        nargs="+",
        metavar="NAME",
        default_text="nothing",
    )


def predictor_option(default: str) -> Any:
    """Makes the field ``predictor`` of an algorithm that can have any of them."""
    return option(
        default,
        f"what regresses scores from trials: {WHICH_PREDICTOR}",
        PREDICTORS,
        metavar="NAME",
    )


@dataclass(frozen=True)
class PredictorOptions(AlgorithmOptions):
    """Settings of an algorithm that can have any predictor.

    Args:
        predictor: One of ``PREDICTORS``, or where one of one's own is.
        encoding: What the predictor sees of an architecture; None for one-hot, or of one that has
            its own view.
        predictor_inputs: Names of the problem's zero-cost features, which it sees as well.

    Raises:
        ValueError: If a value is none of its choices, or there is an encoding for a predictor with
            its own view.
    """

    predictor: str = predictor_option("mlp")
    encoding: Encoding | None = encoding_option(None)
    predictor_inputs: tuple[str, ...] = features_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not PREDICTORS.find(self.predictor).has_own_view:
            object.__setattr__(self, "encoding", self.encoding or "one-hot")
        elif self.encoding is not None:
            raise ValueError(
                f"Predictor {self.predictor!r} has its own view of architectures; leave "
                f"encoding {self.encoding!r} out."
            )
