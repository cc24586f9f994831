"""Lists of categorical decisions: which choices are in them, and which of them are canonical."""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.architecture import Architecture, Decision

_List = TypeVar("_List", bound="DecisionList")


class DecisionList(abc.ABC):
    """What a ``SearchSpace`` has of its decisions alone."""

    name: str
    decisions: tuple[Decision, ...]

    def __init__(self) -> None:
        self._set_allowed([range(len(decision.options)) for decision in self.decisions])

    def _set_allowed(self, allowed: Sequence[Sequence[int]]) -> None:
        """Sets which options of each decision the space offers, as ascending indices."""
        self._allowed = tuple(tuple(indices) for indices in allowed)
        self._is_whole = all(
            len(indices) == len(decision.options)
            for indices, decision in zip(self._allowed, self.decisions, strict=True)
        )
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

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which choices have an effect; all of them unless the space says otherwise.

        Whether a decision is active may depend on the decisions before it only.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            The same shape.
        """
        return np.ones(choices.shape, np.bool_)

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Makes choices canonical: by default inactive ones 0.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), each in range.

        Returns:
            The same shape.
        """
        return np.where(self.is_active(choices), choices, 0)

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """Builds a validated, canonical architecture from option indices.

        Raises:
            ValueError: If the number of choices or one of them is out of range.
        """
        arch = Architecture(self.name, tuple(int(choice) for choice in choices))
        self.check(arch)
        arch = Architecture(self.name, tuple(self._canonical(arch.choices)))
        self._check_offered(arch)
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
        self._check_offered(arch)

    def _check_offered(self, arch: Architecture) -> None:
        """Checks that this space, which may be restricted, has what is canonical choices."""
        if self._is_whole:
            return
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

    def restrict(self: _List, candidates: Mapping[str, Sequence[str]]) -> _List:
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
