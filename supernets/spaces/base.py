"""Search spaces as fixed lists of categorical decisions; everything torch-free that a search needs
to know.

A space is the product of its decisions, which ``DecisionList`` validates. Sampling, mutation,
crossover and encoding are written once here; a space adds its notation and whatever structure it
has.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from supernets.spaces.architecture import Architecture
from supernets.spaces.chains import chain_graphs
from supernets.spaces.decisions import DecisionList
from supernets.spaces.encodings import Encoding, integers, one_hot
from supernets.spaces.features import Structure, structure_of_choices

#: Spaces up to this many points are enumerated where that is exact and cheap; larger ones are
#: sampled.
MAX_ENUMERABLE_SIZE = 100_000
_MAX_MUTATION_ROUNDS = 1000


class SearchSpace(DecisionList):
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

    #: How ``encode`` can write architectures.
    encodings: tuple[Encoding, ...] = ("one-hot", "integers")
    #: Positions of the decisions whose options compete in strict fairness; None for all of them.
    fair_decisions: tuple[int, ...] | None = None

    @abc.abstractmethod
    def format(self, arch: Architecture) -> str:
        """Writes ``arch`` in the field's notation."""

    @abc.abstractmethod
    def parse(self, text: str) -> Architecture:
        """Reads the notation that ``format`` writes.

        Raises:
            ValueError: If ``text`` is not an architecture of this space; the message ends with a
                valid one: ``Expected, for example, '…'.``
        """

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

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """Describes what architectures are in quantities that decide how they train.

        Two ways of writing the same network should look the same here. A space that knows nothing
        of the kind has its active choices as labels, and as numbers those that are quantities; see
        ``structure_of_choices``.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), canonical.

        Returns:
            As many columns for any architectures of the same space.
        """
        return structure_of_choices(self.decisions, choices, self.is_active(choices))

    def to_graphs(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Returns architectures as graphs with operations on the vertices, for graph predictors.

        A space that knows nothing better is a chain of its decisions; see ``chain_graphs``.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions), canonical.

        Returns:
            Adjacency of shape (num_archs, V, V), entry [:, i, j] is 1 where i feeds j; and
            operation ids (num_archs, V), negative for padding. The id of the output, which every
            graph has, is the greatest of the space.
        """
        num_options = [len(decision.options) for decision in self.decisions]
        return chain_graphs(choices, self.is_active(choices), num_options)

    def has_convolution(self, arch: Architecture) -> bool:
        """Returns whether the output depends on a convolution that the search can leave out."""
        return True

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
