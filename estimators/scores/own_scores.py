"""Which scores can be compared: those that are built in, and those of one's own."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from estimators.scores.names import BENCHMARK_SCORES, SCORES, SECONDS, VAL_METRICS
from estimators.scores.registry import ESTIMATORS
from estimators.scores.settings import (
    RANKED,
    EstimatorSettings,
    ExtraStepsSettings,
    MultiScoreSettings,
)
from supernets.runtime.instances import check_instance
from supernets.runtime.named_objects import HOW_TO_NAME
from supernets.runtime.option_types import name as read_name
from supernets.runtime.option_types import shown
from supernets.runtime.options import options_of
from supernets.runtime.wording import did_you_mean

#: Names of other things that a pass over a subnet and the comparison speak of.
_TAKEN = {
    *SCORES,
    *BENCHMARK_SCORES,
    *VAL_METRICS.values(),
    *("extract", "train", "val", "val_after", "fitted", "rank_average"),
}


class RankedName:
    """Reads the name of a score that can be compared; the kind of an option.

    Example:
        >>> RankedName()("macs")
        'macs'
    """

    def __call__(self, text: str) -> str:
        """Reads a name on a command line; what it stands for is looked up once it is needed.

        Raises:
            argparse.ArgumentTypeError: If it is no such name.
        """
        try:
            self.check("estimators", read_name(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error
        return text

    def check(self, name: str, value: object) -> None:
        """Makes sure that a setting is such a name.

        Raises:
            ValueError: If it is not.
        """
        if not isinstance(value, str):
            raise ValueError(f"{name} must be names of scores, got {shown(value)}.")
        if value in RANKED or ESTIMATORS.is_own(value):
            return
        names = [*RANKED, *(each for each in ESTIMATORS.names() if each not in ESTIMATORS)]
        choices = f"choose from {', '.join(names)}, or name your own as {HOW_TO_NAME}."
        if value in ESTIMATORS:
            raise ValueError(f"{value!r} is no score that can be compared; {choices}")
        meant = did_you_mean(value, names)
        raise ValueError(f"Unknown score {value!r}; {f'{meant} ' if meant else ''}{choices}")


def ranked_classes(names: Iterable[str]) -> dict[str, type[EstimatorSettings]]:
    """Returns the classes of settings by the names of scores that can be compared.

    Args:
        names: Those that are asked for; those of one's own among them come last.

    Raises:
        ValueError: If there is no such estimator.
    """
    own = [name for name in names if ESTIMATORS.is_own(name)]
    return {**RANKED, **{name: ESTIMATORS.find(name).settings for name in own}}


@dataclass(frozen=True)
class OwnScore:
    """A score of one's own that is compared.

    Args:
        name: What its definition calls it, which is its name in all records.
        given: How it was asked for.
        settings: Its settings.
    """

    name: str
    given: str
    settings: EstimatorSettings

    @property
    def reference(self) -> str | None:
        """Where its definition is; None for one of an installed distribution."""
        return ESTIMATORS.reference_of(self.name)

    @property
    def inherits(self) -> bool:
        """Whether it may depend on inherited weights, as far as its definition says."""
        return "supernet" in self.settings.needs and not ESTIMATORS.find(self.given).trains_anew

    def record(self) -> dict[str, Any]:
        """Returns what a file has to say of it, so that it can be measured again."""
        return {"reference": self.reference, "settings": plain_settings(self.settings)}

    @property
    def looks_at_train_minibatches(self) -> bool:
        """Whether the size of train minibatches matters to it."""
        return bool({"train minibatches", "loaders as data"} & set(self.settings.needs))


def own_scores(
    scores: Sequence[str],
    own_settings: Mapping[str, EstimatorSettings] | None = None,
    settings: MultiScoreSettings | None = None,
) -> tuple[OwnScore, ...]:
    """Finds the scores of one's own among those that are compared.

    Args:
        scores: Names of scores.
        own_settings: Settings by these names.
        settings: Settings of built-in scores, from which those that are not in ``own_settings``
            take what both have; None for their own defaults.

    Returns:
        The scores in their order, each once.

    Raises:
        ValueError: If a name is unknown or taken, or settings are of something else.
    """
    given = dict(own_settings or {})
    found: dict[str, OwnScore] = {}
    for name in scores:
        RankedName().check("scores", name)
        if not ESTIMATORS.is_own(name):
            continue
        definition = ESTIMATORS.find(name)
        own = definition.name
        check_name(own, name, found)
        chosen = given.pop(name, None)
        check_instance(f"own_settings of {name}", chosen, (definition.settings, type(None)))
        if own not in found or chosen is not None:
            found[own] = OwnScore(own, name, chosen or _shared(definition.settings, settings))
    if given:
        raise ValueError(
            f"own_settings has settings of {', '.join(map(repr, given))}, which is no score of "
            "one's own among scores; name it there as well."
        )
    return tuple(found.values())


def check_name(name: str, given: str, others: Iterable[str] = ()) -> None:
    """Makes sure that the records of a comparison have no other meaning for a name.

    Args:
        name: What a score of one's own calls itself.
        given: How it was asked for.
        others: Names of such scores beside it.

    Raises:
        ValueError: If they have.
    """
    is_part = any(name.startswith(f"{other}.") or other.startswith(f"{name}.") for other in others)
    if name in _TAKEN or name.startswith(SECONDS) or is_part:
        raise ValueError(
            f"The estimator of {given!r} calls itself {name!r}, a name that a comparison of scores "
            "has for something else; rename it."
        )


def train_batch_size(
    scores: Sequence[str], settings: MultiScoreSettings, own: Sequence[OwnScore]
) -> int:
    """Returns the images in each train minibatch that loaders for scores are to have.

    Args:
        scores: Names of the scores.
        settings: Settings of those built in.
        own: Those of one's own among them.

    Raises:
        ValueError: If scores want different ones, as all are to look at the same.
    """
    wanted = {
        name: settings.batch_size
        for name in scores
        if name in RANKED and "train minibatches" in RANKED[name].needs
    }
    wanted |= {e.name: e.settings.train_batch_size for e in own if e.looks_at_train_minibatches}
    sizes = {size: name for name, size in wanted.items()}
    if len(sizes) > 1:
        said = " and ".join(f"{name} of {size}" for size, name in sizes.items())
        raise ValueError(
            f"All scores look at train minibatches of one size, got {said} images; give them one "
            "batch_size, as the commands do by --tse-batch-size."
        )
    return next(iter(sizes), settings.batch_size)


def plain_settings(settings: EstimatorSettings) -> dict[str, Any]:
    """Returns settings as they stand in the header of trials."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items()}
    if isinstance(settings, ExtraStepsSettings):
        del plain["kernels"]  # what they came to is among the facts of the machine
    return plain


def _shared(
    kind: type[EstimatorSettings], settings: MultiScoreSettings | None
) -> EstimatorSettings:
    """Settings of a class, with what it shares with those of built-in scores."""
    if settings is None:
        return kind()
    ours = {name: o.flag_of(name) for name, o in options_of(type(settings)).items()}
    taken = {name for name, o in options_of(kind).items() if ours.get(name) == o.flag_of(name)}
    return kind(**{f.name: getattr(settings, f.name) for f in fields(kind) if f.name in taken})
