"""The levels of a staged search: what is measured, by which settings, in text and as objects.

A level is written ``NAME`` or ``NAME:key=value,key=value``. ``NAME`` is that of an estimator, whose
settings are the keys (``tse:num_batches=10``); ``train``, a short training of the stand-alone
network from fresh weights, whose keys are those of ``TrainLevel`` and the sizes of the space's
networks (``train:epochs=2,image_size=16,channels=8``); or ``table``, which looks a column up that
stands for a measurement of so many seconds (``table:column=NAME,seconds=75``).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import supernets.runtime.option_types as kinds
from estimators.scores.names import SCRATCH_SCORES
from estimators.scores.registry import ESTIMATORS
from estimators.scores.settings import EstimatorSettings
from supernets.runtime.option_types import shown
from supernets.runtime.options import Options, option, options_of
from supernets.runtime.wording import one_of
from supernets.spaces import Architecture, Decision, SearchSpace

TRAIN, TABLE = "train", "table"
#: Estimators that are levels by other names, or none.
_NO_LEVELS = ("table", "from_scratch", "combined")


@dataclass(frozen=True)
class TrainLevel(Options):
    """A training of the stand-alone network from fresh weights, cheaper than the one that counts.

    Args:
        epochs: Passes over the train images.
        num_train: Train images that are used, drawn at random; None for all.
        image_size: Height and width in pixels; None for those of the data.
        lr: Peak of the learning rate, which falls to 0 by a cosine.
        batch_size: Images in a minibatch.
        score: What of it counts, one of ``SCRATCH_SCORES``.
        seed: Seed of the training.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int = option(1, "", kinds.POSITIVE_INT)
    num_train: int | None = option(None, "", kinds.POSITIVE_INT)
    image_size: int | None = option(None, "", kinds.PIXELS)
    lr: float = option(0.1, "", kinds.POSITIVE)
    batch_size: int = option(128, "", kinds.BATCH)
    score: str = option("val_acc", "", choices=SCRATCH_SCORES)
    seed: int = option(0, "", kinds.SEED)


@dataclass(frozen=True)
class TableLevel(Options):
    """A column of a table that stands for a measurement.

    Args:
        column: Name of the column, higher is better; must be given.
        seconds: What a measurement counts for; must be given.

    Raises:
        ValueError: If one is missing.
    """

    column: str | None = option(None, "", kinds.name)
    seconds: float | None = option(None, "", kinds.SECONDS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.column is None or self.seconds is None:
            raise ValueError(
                "a level of a table needs its column and the seconds that it stands for, as in "
                "table:column=valid_acc,seconds=75"
            )


@dataclass(frozen=True)
class Level:
    """One level, as it was written.

    Args:
        text: As it was written, which is its name, but for ``kernels``: a search that began where
            there were none is continued with ``kernels=off`` where there are.
        kind: ``"train"``, ``"table"``, or the name of an estimator.
        settings: A ``TrainLevel``, a ``TableLevel``, or the settings of the estimator.
        sizes: Sizes of the networks that are trained, as settings of the space's supernet.

    Example:
        >>> level = read_level("tse:num_batches=10,lr=0.01")
        >>> level.kind, level.settings.num_batches
        ('tse', 10)
        >>> read_level("train:epochs=2,channels=8").sizes
        {'channels': '8'}
    """

    text: str
    kind: str
    settings: Options
    sizes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """All that decides its scores but the data, as plain values."""
        values = {
            name: value if value is None or isinstance(value, int | float) else str(value)
            for name, value in asdict(self.settings).items()
        }
        return {"kind": self.kind, **values, **self.sizes}

    @property
    def is_inherited(self) -> bool:
        """Whether it measures a trained supernet."""
        return self.kind not in (TRAIN, TABLE)


def read_levels(texts: Sequence[str]) -> tuple[Level, ...]:
    """Reads levels, of which the last is the top.

    Raises:
        ValueError: If there is none, one stands twice, or ``read_level`` refuses one.
    """
    if not texts:
        raise ValueError("A staged search needs --levels, of rising cost; the last is what counts.")
    levels = tuple(map(read_level, texts))
    names = [level.text for level in levels]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--levels has {name} twice; leave one out.")
    for i, level in enumerate(levels):
        for other in levels[:i]:
            if level.record == other.record:
                raise ValueError(
                    f"Levels {other.text!r} and {level.text!r} are the same; leave one out."
                )
    return levels


def read_level(text: str) -> Level:
    """Reads a level; sizes of networks stay text, which the space of a search reads.

    Raises:
        ValueError: If there is no such level, or a setting is unknown or out of range.
    """
    kind, rest = _parts(text)
    if kind in _NO_LEVELS and kind != TABLE:
        raise ValueError(
            f"Level {text!r}: {kind} is none; write train:epochs=… for a training, or the score "
            "itself."
        )
    given: dict[str, str] = {}
    for pair in rest.split(",") if rest else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value) or key in given:
            raise ValueError(
                f"Level {text!r}: settings are key=value, each once and with commas between, got "
                f"{shown(pair)}."
            )
        given[key] = value
    try:
        settings_class = {TRAIN: TrainLevel, TABLE: TableLevel}.get(kind)
        if settings_class is None:
            settings_class = _settings_class(kind)
        own, sizes = {}, {}
        for key, value in given.items():
            declared = options_of(settings_class).get(key)
            if declared is None and kind == TRAIN:
                sizes[key] = value
            elif declared is None:
                known = list(options_of(settings_class))
                offered = f"it has {one_of(known)}" if known else "it has no settings"
                raise ValueError(f"unknown setting {shown(key)}; {offered}")
            else:
                own[key] = read_value(key, value, declared)
        return Level(_name(kind, given), kind, settings_class(**own), sizes)
    except ValueError as error:
        raise ValueError(f"Level {text!r}: {error}") from error


def _parts(text: str) -> tuple[str, str]:
    """What a level is, and the text of its settings; ``file.py:Object`` has a colon of its own."""
    kind, _, rest = text.partition(":")
    if kind in (TRAIN, TABLE) or ESTIMATORS.is_known(kind) or not ESTIMATORS.is_reference(text):
        return kind, rest
    own, _, settings = text.rpartition(":")
    if "=" not in settings:
        return text, ""
    return (own, settings) if ESTIMATORS.is_reference(own) else (kind, rest)


def _name(kind: str, given: Mapping[str, str]) -> str:
    pairs = [f"{key}={value}" for key, value in given.items() if key != "kernels"]
    return f"{kind}:{','.join(pairs)}" if pairs else kind


def _settings_class(kind: str) -> type[EstimatorSettings]:
    """The class of the settings of an estimator."""
    if not (ESTIMATORS.is_known(kind) or ESTIMATORS.is_reference(kind)):
        known = [TRAIN, TABLE, *(name for name in ESTIMATORS if name not in _NO_LEVELS)]
        raise ValueError(f"there is no {kind!r}; choose from {', '.join(known)}")
    return ESTIMATORS.find(kind).settings


def read_value(name: str, text: str, declared: Any) -> Any:
    """Reads the value of a setting from text.

    Args:
        name: Name of the setting, for messages.
        text: What a user wrote.
        declared: The setting's ``Option``.

    Raises:
        ValueError: If it cannot be such a value.
    """
    if declared.is_switch:
        if text not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {shown(text)}")
        return text == "true"
    if declared.choices is not None:
        return next((each for each in declared.choices if str(each) == text), text)
    try:
        return text if declared.kind is None else declared.kind(text)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{name} {error}") from error


def sizes_for(level: Level, space: str) -> dict[str, Any]:
    """Reads the sizes of the networks of a level.

    Args:
        level: A level that trains.
        space: Name of the space.

    Returns:
        Arguments of ``create_supernet``; those that are not given are left out.

    Raises:
        ValueError: If the space's networks have no such size, or it is out of range.
    """
    from supernets.networks.settings import settings_class

    kind = settings_class(space)
    declared = options_of(kind)
    try:
        for name in level.sizes:
            if name not in declared or declared[name].nargs is not None:
                known = [each for each, own in declared.items() if own.nargs is None]
                known = [*options_of(TrainLevel), *known]
                raise ValueError(f"unknown setting {shown(name)}; it has {one_of(known)}")
        sizes = {n: read_value(n, str(v), declared[n]) for n, v in level.sizes.items()}
        kind(**sizes)
    except ValueError as error:
        raise ValueError(f"Level {level.text!r}: {error}") from error
    return sizes


class LevelledSpace(SearchSpace):
    """Measurements of a staged search as points of a space: a level, then an architecture.

    So the store of trials, and executors, take a measurement for an architecture.

    Args:
        space: Space of the architectures.
        levels: Names of the levels.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> levelled = LevelledSpace(space, ["tse", "train"])
        >>> arch = levelled.joined(1, space.architecture([3, 3, 3, 1, 3, 3]))
        >>> arch.choices
        (1, 3, 3, 3, 1, 3, 3)
        >>> levelled.split(arch) == (1, space.architecture([3, 3, 3, 1, 3, 3]))
        True
    """

    def __init__(self, space: SearchSpace, levels: Sequence[str]) -> None:
        self.inner = space
        self.name = f"{space.name} at levels"
        self.decisions = (Decision("level", tuple(levels)), *space.decisions)
        super().__init__()
        self._set_allowed([range(len(levels)), *space.allowed])

    def joined(self, level: int, arch: Architecture) -> Architecture:
        """Returns the measurement of an architecture at a level."""
        return Architecture(self.name, (level, *arch.choices))

    def split(self, arch: Architecture) -> tuple[int, Architecture]:
        """Returns the level and the architecture of a measurement."""
        return arch.choices[0], Architecture(self.inner.name, arch.choices[1:])

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which choices have an effect; the level always has."""
        active = self.inner.is_active(choices[:, 1:])
        return np.concatenate([np.ones((len(choices), 1), np.bool_), active], axis=1)

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Makes the choices of the architectures canonical."""
        return np.concatenate([choices[:, :1], self.inner.canonicalize(choices[:, 1:])], axis=1)

    def are_valid(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which canonical choices make an architecture."""
        return self.inner.are_valid(choices[:, 1:])

    def format(self, arch: Architecture) -> str:
        """Writes the level, a blank and the architecture."""
        level, inner = self.split(arch)
        return f"{self.decisions[0].options[level]} {self.inner.format(inner)}"

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes.

        Raises:
            ValueError: If it is none of it.
        """
        level, _, rest = text.partition(" ")
        names = self.decisions[0].options
        if level not in names:
            raise ValueError(f"{shown(level)} is no level; expected one of {', '.join(names)}.")
        return self.joined(names.index(level), self.inner.parse(rest))
