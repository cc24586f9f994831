"""Search spaces as fixed lists of categorical decisions; everything torch-free that a search needs
to know.

A space is the product of its decisions. Sampling, mutation, crossover, encoding and validation
are written once here; a space adds its notation and whatever structure it has.
"""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.encodings import Encoding, integers, one_hot

_Space = TypeVar("_Space", bound="SearchSpace")

#: Spaces up to this many points are enumerated where that is exact and cheap; larger ones are
#: sampled.
MAX_ENUMERABLE_SIZE = 100_000
_MAX_MUTATION_ROUNDS = 1000


class SearchSpace(abc.ABC):
    """A list of categorical decisions, and the notation of its points.

    A decision can be inactive: what it chooses then has no effect. Of all choices that make the
    same network one is canonical, with inactive choices 0, so that two architectures are equal
    exactly if their networks are. Everything that gives architectures gives canonical ones.

    Batches of architectures are arrays of choices, shape (num_archs, num_decisions), int64.

    Example:
        >>> import numpy as np
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> space.size
        15625
        >>> rng = np.random.default_rng(0)
        >>> arch = space.sample(rng)
        >>> space.parse(space.format(arch)) == arch
        True
        >>> neighbour = space.mutate(arch, rng)  # differs in one decision
        >>> sum(a != b for a, b in zip(arch.choices, neighbour.choices))
        1
        >>> without_none = space.restrict({"1<-0": ("skip_connect", "nor_conv_3x3")})
        >>> without_none.size
        6250
    """

    name: str
    decisions: tuple[Decision, ...]
    #: How ``encode`` can write architectures.
    encodings: tuple[Encoding, ...] = ("one-hot", "integers")
    #: Positions of the decisions whose options compete in strict fairness; None for all of them.
    fair_decisions: tuple[int, ...] | None = None

    def __init__(self) -> None:
        self._set_allowed([range(len(decision.options)) for decision in self.decisions])

    def _set_allowed(self, allowed: Sequence[Sequence[int]]) -> None:
        """Sets which options of each decision the space offers, as ascending indices."""
        self._allowed = tuple(tuple(indices) for indices in allowed)
        self._num_allowed = np.array([len(indices) for indices in self._allowed])
        self._allowed_table = np.zeros((len(self._allowed), self._num_allowed.max()), np.int64)
        for row, indices in zip(self._allowed_table, self._allowed, strict=True):
            row[: len(indices)] = indices

    @property
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """The options of each decision that the space offers, as ascending indices."""
        return self._allowed

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(indices) for indices in self._allowed)

    @abc.abstractmethod
    def format(self, arch: Architecture) -> str:
        """Writes ``arch`` in the field's notation."""

    @abc.abstractmethod
    def parse(self, text: str) -> Architecture:
        """Reads the notation that ``format`` writes.

        Raises:
            ValueError: If ``text`` is not an architecture of this space; the message shows a valid
                one.
        """

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which choices have an effect; all of them unless the space says otherwise.

        Whether a decision is active may depend on the decisions before it only.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            The same shape.
        """
        return np.ones(choices.shape, np.bool_)

    #: Whether the options of every decision are ordered by the size of the network.
    is_ordered: bool = False

    def extremes(self) -> tuple[Architecture, Architecture]:
        """Returns the smallest and the largest architecture; one of them holds all others' weights.

        Raises:
            ValueError: If the space is not ordered.
        """
        if not self.is_ordered:
            raise ValueError(
                f"Space {self.name!r} has no smallest and largest architecture: its options are "
                "not ordered by size; use other paths."
            )
        return (
            self.architecture([allowed[0] for allowed in self._allowed]),
            self.architecture([allowed[-1] for allowed in self._allowed]),
        )

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Makes choices canonical: by default inactive ones 0.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), each in range.

        Returns:
            The same shape.
        """
        return np.where(self.is_active(choices), choices, 0)

    def first_of_functions(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Replaces every architecture by one that stands for all that are the same network.

        The same network is what has the same costs, and the same score for fresh weights up to the
        chance that draws them. Spaces whose canonical architectures may still be the same network
        say which are.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), canonical.

        Returns:
            The same shape.
        """
        return choices

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """Builds a validated, canonical architecture from option indices.

        Raises:
            ValueError: If the number of choices or one of them is out of range.
        """
        arch = Architecture(self.name, tuple(int(choice) for choice in choices))
        self.check(arch)
        arch = Architecture(self.name, tuple(self._canonical(arch.choices)))
        self.validate(arch)
        return arch

    def are_canonical(self, rows: Sequence[Sequence[int]]) -> bool:
        """Returns whether all rows are canonical choices; much faster than ``validate``.

        Args:
            rows: Choices of architectures, (num_archs, num_decisions).
        """
        if {len(row) for row in rows} != {len(self.decisions)}:
            return not rows
        choices = np.array(rows)
        sizes = [len(decision.options) for decision in self.decisions]
        if choices.dtype != np.int64 or (choices < 0).any() or (choices >= sizes).any():
            return False
        are_allowed = np.stack(
            [np.isin(column, each) for column, each in zip(choices.T, self._allowed, strict=True)],
            axis=1,
        )
        return bool(
            (are_allowed | ~self.is_active(choices)).all()
            and (self.canonicalize(choices) == choices).all()
            and self.are_valid(choices).all()
        )

    def architectures(self, choices: NDArray[np.int64]) -> list[Architecture]:
        """Builds architectures of the rows of canonical choices (num_archs, num_decisions)."""
        return [Architecture(self.name, tuple(row)) for row in choices.tolist()]

    def choices_of(self, archs: Iterable[Architecture]) -> NDArray[np.int64]:
        """Returns the choices of architectures, (num_archs, num_decisions), also of none."""
        rows = np.array([arch.choices for arch in archs], np.int64)
        return rows.reshape(-1, len(self.decisions))

    def are_valid(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which canonical choices make an architecture; all unless a space says otherwise.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), each an option that the
                space offers.

        Returns:
            (num_archs,).
        """
        return np.ones(len(choices), np.bool_)

    def validate(self, arch: Architecture) -> None:
        """Checks that ``arch`` belongs to this space.

        Raises:
            ValueError: If it is from another space, a choice is out of range, or it is not
                canonical.
        """
        self.check(arch)
        if list(arch.choices) != self._canonical(arch.choices):
            raise ValueError(
                f"An architecture of space {self.name!r} is not canonical; inactive choices must "
                "be 0, for example. Build it with space.architecture(choices)."
            )
        for decision, allowed, choice, is_active in zip(
            self.decisions, self._allowed, arch.choices, self._active(arch.choices), strict=True
        ):
            if is_active and choice not in allowed:
                offered = ", ".join(decision.options[index] for index in allowed)
                raise ValueError(
                    f"Decision {decision.name!r} is restricted to {offered} here, "
                    f"got {decision.options[choice]}."
                )

    def validate_all(self, archs: Sequence[Architecture]) -> None:
        """Checks each architecture as ``validate`` does, all at once.

        Raises:
            ValueError: As ``validate``.
        """
        are_ours = all(arch.space == self.name for arch in archs)
        if not are_ours or not self.are_canonical([arch.choices for arch in archs]):
            for arch in archs:
                self.validate(arch)

    def check(self, arch: Architecture) -> None:
        """Checks that ``arch`` is of this space, canonical or not.

        Raises:
            ValueError: If it is from another space, or a choice is out of range.
        """
        if arch.space != self.name:
            raise ValueError(
                f"Architecture is from space {arch.space!r}, but this space is {self.name!r}."
            )
        if len(arch.choices) != len(self.decisions):
            raise ValueError(
                f"Space {self.name!r} has {len(self.decisions)} decisions, "
                f"got {len(arch.choices)} choices."
            )
        for decision, choice in zip(self.decisions, arch.choices, strict=True):
            if not 0 <= choice < len(decision.options):
                raise ValueError(
                    f"Decision {decision.name!r} takes an index from 0 to "
                    f"{len(decision.options) - 1}, got {choice}."
                )

    def _active(self, choices: Sequence[int]) -> list[bool]:
        active: list[bool] = self.is_active(np.array([choices]))[0].tolist()
        return active

    def _canonical(self, choices: Sequence[int]) -> list[int]:
        canonical: list[int] = self.canonicalize(np.array([choices]))[0].tolist()
        return canonical

    def restrict(self: _Space, candidates: Mapping[str, Sequence[str]]) -> _Space:
        """Returns the part of this space where some decisions have fewer options.

        Its architectures are architectures of this space, with the same choices.

        Args:
            candidates: The options to keep by decision. A key may also name a group: ``"kernel"``
                stands for every decision whose name starts with ``"kernel."``.

        Raises:
            ValueError: If a key names no decision, or an option is not offered.
        """
        allowed = list(self._allowed)
        for name, options in candidates.items():
            positions = [
                i
                for i, decision in enumerate(self.decisions)
                if decision.name == name or decision.name.startswith(f"{name}.")
            ]
            if not positions:
                raise ValueError(
                    f"Space {self.name!r} has no decision {name!r}; it has "
                    f"{', '.join(dict.fromkeys(d.name.split('.')[0] for d in self.decisions))}."
                )
            for i in positions:
                offered = [self.decisions[i].options[index] for index in allowed[i]]
                unknown = [option for option in options if option not in offered]
                if unknown or not options:
                    raise ValueError(
                        f"Decision {self.decisions[i].name!r} offers {', '.join(offered)}, "
                        f"got {', '.join(unknown) or 'none to keep'}."
                    )
                kept = {self.decisions[i].options.index(option) for option in options}
                allowed[i] = tuple(sorted(kept))
        restricted = copy.copy(self)
        restricted._set_allowed(allowed)
        return restricted

    def sample_choices(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws architectures whose every decision is uniform, shape (num_archs, num_decisions).

        Where decisions can be inactive this is not uniform over the architectures: uniform depths
        are what supernets are trained with, while most architectures are deep.
        """
        return self.canonicalize(self._draw(num_archs, rng))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draws one architecture as ``sample_choices`` does."""
        return self.architectures(self.sample_choices(1, rng))[0]

    def mutate_choices(
        self, choices: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Redraws one uniformly chosen active decision of each architecture to a different option.

        Decisions that become active by it are drawn uniformly. Where the result is the same
        architecture written differently it is drawn again.

        Args:
            choices: Choices of architectures of this space, (num_archs, num_decisions).
            rng: Generator of the random numbers.

        Returns:
            The same shape.

        Raises:
            ValueError: If an architecture has no active decision with a second option.
        """
        active = self.is_active(choices)
        if not (active & (self._num_allowed > 1)).any(axis=1).all():
            raise ValueError(
                f"There is an architecture of space {self.name!r} that cannot be mutated: every "
                "active decision is restricted to one option."
            )
        mutants = self._mutate_once(choices, active, rng)
        for _ in range(_MAX_MUTATION_ROUNDS):
            same = (mutants == choices).all(axis=1)
            if not same.any():
                return mutants
            mutants[same] = self._mutate_once(choices[same], active[same], rng)
        raise ValueError(
            f"There is an architecture of space {self.name!r} that cannot be mutated: whichever "
            "decision is redrawn, it stays the same."
        )

    def _mutate_once(
        self, choices: NDArray[np.int64], active: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Redraws one active decision of each; may give the same architectures."""
        changeable = active & (self._num_allowed > 1)
        rows = np.arange(len(choices))
        positions = np.where(changeable, rng.random(choices.shape), -1.0).argmax(axis=1)
        present = self._allowed_table[positions] == choices[rows, positions, None]
        picks = rng.integers(self._num_allowed[positions] - 1)
        picks += picks >= present.argmax(axis=1)  # over the option that is there
        mutants = choices.copy()
        mutants[rows, positions] = self._allowed_table[positions, picks]
        return self._complete(mutants, active, rng)

    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture:
        """Mutates one architecture as ``mutate_choices`` does."""
        return self.architectures(self.mutate_choices(np.array([arch.choices]), rng))[0]

    def redraw_choices(
        self, choices: NDArray[np.int64], prob: float, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Redraws every active decision with probability ``prob``, perhaps to what it was.

        Decisions that become active by it are drawn uniformly.

        Args:
            choices: Choices of architectures of this space, (num_archs, num_decisions).
            prob: Probability that a decision is redrawn, from 0 to 1.
            rng: Generator of the random numbers.

        Returns:
            The same shape.
        """
        is_kept = rng.random(choices.shape) >= prob
        return self._complete(choices, self.is_active(choices) & is_kept, rng)

    def crossover_choices(
        self, first: NDArray[np.int64], second: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Takes each decision from either parent with equal probability.

        Where it is active in one parent only, that one is taken; in neither, it is drawn uniformly.

        Args:
            first: Choices of architectures of this space, (num_archs, num_decisions).
            second: Choices of the other parent of each, of the same shape.
            rng: Generator of the random numbers.

        Returns:
            The same shape.
        """
        coins = rng.integers(2, size=first.shape) == 0
        first_active, second_active = self.is_active(first), self.is_active(second)
        is_first = np.where(coins, first_active, ~second_active)
        children = np.where(is_first, first, second)
        return self._complete(children, first_active | second_active, rng)

    def crossover(
        self, first: Architecture, second: Architecture, rng: np.random.Generator
    ) -> Architecture:
        """Crosses two architectures as ``crossover_choices`` does."""
        parents = np.array([first.choices, second.choices])
        return self.architectures(self.crossover_choices(parents[:1], parents[1:], rng))[0]

    def _complete(
        self, choices: NDArray[np.int64], is_set: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draws the choices that are not set, and makes the result canonical."""
        return self.canonicalize(np.where(is_set, choices, self._draw(len(choices), rng)))

    def _draw(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Uniform options for all decisions, active or not."""
        picks = rng.integers(self._num_allowed, size=(num_archs, len(self.decisions)))
        return self._allowed_table[np.arange(len(self.decisions)), picks]

    def enumerate(self) -> Iterator[Architecture]:
        """Yields every architecture once, in the order of ``all_choices``.

        Raises:
            ValueError: If the space has more than ``MAX_ENUMERABLE_SIZE`` points.
        """
        self._check_enumerable()
        yield from self.architectures(self.all_choices())

    def all_choices(self) -> NDArray[np.int64]:
        """Lists every architecture once, in lexicographic order: (size, num_decisions).

        Raises:
            ValueError: If the space has more than ``MAX_ENUMERABLE_SIZE`` points.
        """
        self._check_enumerable()
        choices = np.zeros((1, len(self.decisions)), np.int64)
        for i, allowed in enumerate(self._allowed):
            num_options = np.where(self.is_active(choices)[:, i], len(allowed), 1)
            first_rows = np.cumsum(num_options) - num_options
            options = np.arange(num_options.sum()) - np.repeat(first_rows, num_options)
            is_active = np.repeat(num_options == len(allowed), num_options)
            choices = np.repeat(choices, num_options, axis=0)
            choices[:, i] = np.where(is_active, np.array(allowed)[options], 0)
        return self.canonicalize(choices)

    def _check_enumerable(self) -> None:
        if self.size > MAX_ENUMERABLE_SIZE:
            raise ValueError(
                f"Space {self.name!r} has {self.size} architectures; "
                f"only spaces up to {MAX_ENUMERABLE_SIZE} are enumerated, sample this one instead."
            )

    def encode(
        self, archs: Sequence[Architecture], encoding: Encoding = "one-hot"
    ) -> NDArray[np.float32]:
        """Encodes architectures as ``encode_choices`` does their choices."""
        return self.encode_choices(self.choices_of(archs), encoding)

    def encode_choices(
        self, choices: NDArray[np.int64], encoding: Encoding = "one-hot"
    ) -> NDArray[np.float32]:
        """Turns choices into features for predictors; inactive ones are all zeros.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).
            encoding: ``"one-hot"`` gives a column per option, ``"integers"`` one per decision: the
                number its option is, or the option's index where options are not numbers.
                ``"path"``, of cells, gives a column per path of operations; ``"sequence"``, of
                graphs, goes through the vertices.

        Returns:
            (num_archs, num_features), where there are as many features as options or decisions.

        Raises:
            ValueError: If the space has no such encoding.
        """
        self.check_encoding(encoding)
        return self._encode(choices, encoding)

    def check_encoding(self, encoding: str) -> None:
        """Makes sure that the space has an encoding.

        Raises:
            ValueError: If it has not.
        """
        if encoding not in self.encodings:
            raise ValueError(
                f"Space {self.name!r} has no encoding {encoding!r}; choose from "
                f"{', '.join(self.encodings)}."
            )

    def _encode(self, choices: NDArray[np.int64], encoding: Encoding) -> NDArray[np.float32]:
        """Encodes choices (num_archs, num_decisions); the space has the encoding."""
        encode = integers if encoding == "integers" else one_hot
        return encode(self.decisions, choices, self.is_active(choices))
