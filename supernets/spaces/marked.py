"""The space of a network whose modules are marked as choices: see ``supernets.networks.marks``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.runtime.option_types import shown
from supernets.runtime.wording import did_you_mean, plural
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace

#: What separates decisions, options and architectures in notations and in files of these.
_SEPARATORS = ";=,#"
#: A decision by its index, and the options of it that make something else exist.
Condition = tuple[int, frozenset[int]]


def check_notation_name(what: str, name: object) -> None:
    """Makes sure that a name can stand in a notation, and is read back from it.

    Args:
        what: What it is the name of, for messages.
        name: The name.

    Raises:
        ValueError: If it cannot.
    """
    is_name = isinstance(name, str) and name != "" and name == name.strip() and name.isprintable()
    if not is_name or any(each in str(name) for each in _SEPARATORS):
        raise ValueError(
            f"{what} must be a text without {' '.join(_SEPARATORS)} and without blanks around it, "
            f"as notations such as stem=k3;depth=2 are read back, got {shown(name)}."
        )


@dataclass(frozen=True)
class MarkedDecision:
    """A decision, and where in the network it acts.

    Args:
        decision: Its name and options.
        places: For each place in the network the conditions that all must hold for it to exist.
    """

    decision: Decision
    places: tuple[tuple[Condition, ...], ...]


class MarkedSpace(SearchSpace):
    """Decisions of which some act within an option of others.

    The notation names every decision that has an effect: ``stem=k3;body.0=skip``.

    Args:
        name: Name of the space.
        marked: The decisions; conditions are about decisions before them.

    Raises:
        ValueError: If there is no decision, a name cannot stand in a notation, or one decision acts
            in several places of which none always exists.

    Example:
        >>> op = MarkedDecision(Decision("op", ("conv", "skip")), ((),))
        >>> kernel = MarkedDecision(Decision("kernel", ("3", "5")), (((0, frozenset({0})),),))
        >>> space = MarkedSpace("tiny", [op, kernel])
        >>> space.size, [space.format(arch) for arch in space.enumerate()]
        (3, ['op=conv;kernel=3', 'op=conv;kernel=5', 'op=skip'])
    """

    def __init__(self, name: str, marked: Sequence[MarkedDecision]) -> None:
        if not marked:
            raise ValueError(f"Space {name!r} has no decisions: mark something as a Choice.")
        self.name = name
        self.decisions = tuple(each.decision for each in marked)
        #: For each decision that may be inactive, its one place; the others are always active.
        self._conditions: dict[int, tuple[Condition, ...]] = {}
        for i, each in enumerate(marked):
            check_notation_name("The name of a decision", each.decision.name)
            for option in each.decision.options:
                check_notation_name(f"An option of decision {each.decision.name!r}", option)
            if all(each.places):
                if len(each.places) > 1:
                    raise ValueError(
                        f"Decision {each.decision.name!r} acts in {len(each.places)} places, and "
                        "each of them only where others choose so; give them names of their own, "
                        "or one place that is always there."
                    )
                self._conditions[i] = each.places[0]
        super().__init__()

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which choices have an effect: those whose place exists."""
        active = np.ones(choices.shape, np.bool_)
        for i, conditions in self._conditions.items():
            for decision, options in conditions:
                active[:, i] &= np.isin(choices[:, decision], list(options))
        return active

    @property
    def size(self) -> int:
        """Number of architectures."""
        return self._size_within(range(len(self.decisions)), 0)

    def _size_within(self, decisions: Sequence[int], depth: int) -> int:
        """Counts the ways to choose decisions that exist under the same ``depth`` conditions."""
        outer = [i for i in decisions if len(self._conditions.get(i, ())) == depth]
        total = 1
        for i in outer:
            total *= sum(self._size_of(i, option, decisions, depth) for option in self.allowed[i])
        return total

    def _size_of(self, outer: int, option: int, decisions: Sequence[int], depth: int) -> int:
        """Counts the ways to choose what exists because ``outer`` has ``option``."""
        within = [
            i
            for i in decisions
            if len(self._conditions.get(i, ())) > depth
            and self._conditions[i][depth][0] == outer
            and option in self._conditions[i][depth][1]
        ]
        return self._size_within(within, depth + 1) if within else 1

    def format(self, arch: Architecture) -> str:
        """Writes ``name=option;…`` of the decisions that have an effect."""
        self.validate(arch)
        active = self._active(arch.choices)
        return ";".join(
            f"{decision.name}={decision.options[choice]}"
            for decision, choice, is_active in zip(
                self.decisions, arch.choices, active, strict=True
            )
            if is_active
        )

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes; decisions may be in any order.

        Raises:
            ValueError: If it is no architecture of this space; says which decision is wrong.
        """
        example = self.format(self.architecture([allowed[0] for allowed in self.allowed]))
        check_instance("notation", text, str, "format(arch) writes it")
        given: dict[str, str] = {}
        for part in text.strip().split(";"):
            name, equals, option = part.strip().partition("=")
            if not equals or name in given:
                raise ValueError(
                    f"{part!r} is no decision of {text!r}. Expected, for example, {example!r}."
                )
            given[name] = option
        choices = []
        for decision in self.decisions:
            option = given.pop(decision.name, decision.options[0])
            if option not in decision.options:
                raise ValueError(
                    f"Decision {decision.name!r} has no option {option!r}; there are "
                    f"{', '.join(decision.options)}."
                )
            choices.append(decision.options.index(option))
        if given:
            meant = did_you_mean(next(iter(given)), [each.name for each in self.decisions])
            end = f"; {meant}" if meant else "."
            raise ValueError(f"Space {self.name!r} has no decision {', '.join(given)}{end}")
        arch = self.architecture(choices)
        self._check_named(text, arch)
        return arch

    def _check_named(self, text: str, arch: Architecture) -> None:
        """Makes sure that a notation names the decisions that have an effect, and no others."""
        pairs = zip(self.decisions, self._active(arch.choices), strict=True)
        named = {part.partition("=")[0].strip() for part in text.split(";")}
        expected = {decision.name for decision, is_active in pairs if is_active}
        if missing := expected - named:
            raise ValueError(
                f"{text!r} leaves {plural(len(missing), 'decision')} open: "
                f"{', '.join(sorted(missing))}."
            )
        if useless := named - expected:
            raise ValueError(
                f"{text!r} decides what does not exist then: {', '.join(sorted(useless))}."
            )
