"""The NAS-Bench-101 space: cells of up to 7 vertices and 9 edges, 3 operations, 423,624 cells.

Paper: NAS-Bench-101: Towards Reproducible Neural Architecture Search,
https://arxiv.org/abs/1902.09635; WeakNAS (the sequence encoding), https://arxiv.org/abs/2102.10490

Differs from them:

1. Cells are one architecture if they are isomorphic, where the benchmark compares hashes; that
   comes to the same cells.
2. The sequence encoding numbers vertices in the canonical way, not as the benchmark's records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.base import SearchSpace
from supernets.spaces.encodings import Encoding
from supernets.spaces.features import Structure
from supernets.spaces.nasbench101_cells import (
    CONV_1X1,
    CONV_3X3,
    EDGE_INDEX,
    EDGES,
    MAX_EDGES,
    MAXPOOL,
    NO_ID,
    NUM_VERTICES,
    OPS,
    OUTPUT_ID,
    all_codes,
    canonical_codes,
    decode,
    graphs,
    live_vertices,
    prune,
    rewrite,
)

INPUT, OUTPUT = "input", "output"

_NAMES = (*OPS, INPUT, OUTPUT)  # by their ids in graphs
_SEQUENCE_OPS = (CONV_1X1, CONV_3X3, MAXPOOL, OUTPUT_ID)
_MAX_ROUNDS = 10_000
_EXAMPLE = "input,conv3x3-bn-relu,maxpool3x3,output|0110001100010000"


class NASBench101Space(SearchSpace):
    """Cells of NAS-Bench-101: graphs of operations between an input and an output vertex.

    Decisions are named ``edge.<target><-<source>`` for whether there is an edge between two of the
    vertices 0 (the input) to 6 (the output), and ``op.<vertex>`` for what the vertices 1 to 5 do.
    Vertices on no path from input to output have no effect, nor have their edges. Of all ways to
    write a cell the canonical one is the first in the order of the choices, so that isomorphic
    cells are one architecture. In it vertices without effect come before the others.

    Not all choices make a cell: there is none without a path from input to output, nor any of more
    than 9 edges. Such choices are refused; mutation and crossover draw again where they come to
    them. Sampling is uniform over the architectures, as uniform choices would make few cells of
    many vertices, while most cells are.

    Architectures are written as the operations of the vertices and the rows of the adjacency
    matrix, two fields of the benchmark's records: ``input,conv3x3-bn-relu,output|011001000``. Any
    upper triangular matrix of 2 to 7 vertices is read, vertices without effect among them or not.

    There are no networks of these cells here; the space is for tables and predictors.

    Example:
        >>> space = NASBench101Space()
        >>> space.size
        423624
        >>> arch = space.parse("input,conv3x3-bn-relu,output|011001000")
        >>> space.format(arch)
        'input,conv3x3-bn-relu,output|011001000'
        >>> space.cell(arch)[1]
        ['input', 'conv3x3-bn-relu', 'output']
    """

    name = "nasbench101"
    encodings: tuple[Encoding, ...] = ("one-hot", "integers", "sequence")
    decisions = (
        *(Decision(f"edge.{target}<-{source}", ("0", "1")) for source, target in EDGES),
        *(Decision(f"op.{vertex}", OPS) for vertex in range(1, NUM_VERTICES - 1)),
    )

    @property
    def size(self) -> int:
        """Number of architectures, isomorphic ones counted once."""
        return len(self._codes)

    @property
    def _codes(self) -> NDArray[np.int64]:
        """All architectures."""
        return all_codes(self._allowed[-1])

    def restrict(self, candidates: Mapping[str, Sequence[str]]) -> NASBench101Space:
        """Returns the part of this space with fewer operations.

        Args:
            candidates: The operations to keep, by ``"op"``.

        Raises:
            ValueError: If a key is another one, as vertices cannot be told apart; or an operation
                is not offered.
        """
        for name in candidates:
            if name != "op":
                raise ValueError(
                    f"Space {self.name!r} is restricted by 'op', got {name!r}; single vertices and "
                    "edges cannot be, as cells are the same however their vertices are numbered."
                )
        return super().restrict(candidates)

    def _check_offered(self, arch: Architecture) -> None:
        """Checks too that there is a path from input to output, and not too many edges."""
        super()._check_offered(arch)
        num_edges = sum(arch.choices[: len(EDGES)])
        if num_edges == 0:
            raise ValueError(
                f"A cell of space {self.name!r} needs a path from its input to its output, and "
                "there is none."
            )
        if num_edges > MAX_EDGES:
            raise ValueError(
                f"A cell of space {self.name!r} has at most {MAX_EDGES} edges on paths from its "
                f"input to its output, got {num_edges}."
            )

    def are_valid(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which canonical choices (num_archs, num_decisions) make a cell, (num_archs,).

        Those with a path from input to output and no more than 9 edges.
        """
        num_edges = choices[:, : len(EDGES)].sum(axis=1)
        are_valid: NDArray[np.bool_] = (num_edges >= 1) & (num_edges <= MAX_EDGES)
        return are_valid

    def is_active(self, choices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns all edges, and the operations on a path from input to output."""
        active = np.ones(choices.shape, np.bool_)
        active[:, len(EDGES) :] = live_vertices(choices)[:, 1:-1]
        return active

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Writes each cell in its canonical way; (num_archs, num_decisions) to the same shape.

        Choices without a path from input to output become all zeros.
        """
        return decode(canonical_codes(prune(choices)))

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """As of ``SearchSpace``; see ``supernets.spaces.structure``."""
        from supernets.spaces.structure import of_nasbench101  # which sees all spaces

        return of_nasbench101(self, choices)

    def format(self, arch: Architecture) -> str:
        """Writes operations and adjacency, e.g. ``input,conv3x3-bn-relu,output|011001000``."""
        adjacency, operations = self.cell(arch)
        return ",".join(operations) + "|" + "".join(map(str, adjacency.ravel().tolist()))

    def parse(self, text: str) -> Architecture:
        """Reads operations and adjacency.

        Raises:
            ValueError: If ``text`` does not follow the notation, or is no cell of this space.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        operations, _, adjacency = text.strip().partition("|")
        try:
            choices = read_cell(adjacency, operations.split(","))
        except ValueError as error:
            raise ValueError(
                f"{text!r} is not a NAS-Bench-101 architecture: {error}. "
                f"Expected, for example, {_EXAMPLE!r}."
            ) from error
        return self.architecture(choices)

    def cell(self, arch: Architecture) -> tuple[NDArray[np.int64], list[str]]:
        """Returns a cell as the benchmark has it, without vertices that have no effect.

        Returns:
            Adjacency of shape (V, V), entry [i, j] is 1 where i feeds j; and the V operations, of
            which the first is ``"input"`` and the last ``"output"``.
        """
        self.validate(arch)
        (adjacency,), (ids,) = graphs(self.choices_of([arch]))
        num_vertices = int((ids != NO_ID).sum())
        names = [_NAMES[i] for i in ids[:num_vertices]]
        return adjacency[:num_vertices, :num_vertices].astype(np.int64), names

    def to_graphs(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Returns cells as graphs with operations on the vertices; see ``CellSpace.to_graphs``.

        There are 7 vertices. Operations are 0 to 2 as in ``OPS``, 3 for the input, 4 for the
        output, and -1 after it in smaller cells.
        """
        adjacency, ids = graphs(choices)
        return adjacency.astype(np.float32), ids

    def module_hash(self, arch: Architecture) -> str:
        """Returns the benchmark's name of a cell: an MD5 digest that isomorphic cells share."""
        adjacency, operations = self.cell(arch)
        labels = [-1, *map(OPS.index, operations[1:-1]), -2]
        num_read_by, num_read = adjacency.sum(axis=1).tolist(), adjacency.sum(axis=0).tolist()
        digests = [_md5(str(vertex)) for vertex in zip(num_read_by, num_read, labels, strict=True)]
        for _ in labels:  # what is known of a vertex takes in its neighbours', time and again
            digests = [
                _md5(f"{_joined(digests, read)}|{_joined(digests, read_by)}|{digest}")
                for digest, read, read_by in zip(digests, adjacency.T, adjacency, strict=True)
            ]
        return _md5(str(sorted(digests)))

    def _draw(self, num_archs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Uniform architectures, with uniform operations of vertices without effect."""
        drawn = decode(self._codes[rng.integers(self.size, size=num_archs)])
        return np.where(self.is_active(drawn), drawn, super()._draw(num_archs, rng))

    def redraw_choices(
        self, choices: NDArray[np.int64], prob: float, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Takes every choice from a uniform architecture with probability ``prob``."""
        redraw = super().redraw_choices
        return self._until_valid(len(choices), lambda rows: redraw(choices[rows], prob, rng))

    def crossover_choices(
        self, first: NDArray[np.int64], second: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Takes each decision from either parent with equal probability, as every space does."""
        cross = super().crossover_choices
        return self._until_valid(len(first), lambda rows: cross(first[rows], second[rows], rng))

    def _mutate_once(
        self, choices: NDArray[np.int64], active: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Redraws one decision of cells written in a random way; may give the same architectures.

        Were they written in the canonical way, no single edge could bring in a vertex.
        """
        mutate, draw_options = super()._mutate_once, super()._draw

        def draw(rows: NDArray[np.int64]) -> NDArray[np.int64]:
            written = rewrite(choices[rows], rng)
            written = np.where(self.is_active(written), written, draw_options(len(rows), rng))
            return mutate(written, np.ones(written.shape, np.bool_), rng)

        return self._until_valid(len(choices), draw)

    def _until_valid(
        self, num_archs: int, draw: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    ) -> NDArray[np.int64]:
        """Draws canonical choices by their row numbers, again and again those that are no cell."""
        drawn = np.zeros((num_archs, len(self.decisions)), np.int64)
        rows = np.arange(num_archs)
        for _ in range(_MAX_ROUNDS):
            if not len(rows):
                return drawn
            drawn[rows] = draw(rows)
            rows = rows[~self.are_valid(drawn[rows])]
        raise ValueError(
            f"{_MAX_ROUNDS} draws in space {self.name!r} gave no cell with a path from input to "
            f"output and at most {MAX_EDGES} edges."
        )

    def all_choices(self) -> NDArray[np.int64]:
        """Lists every architecture once, in lexicographic order: (size, num_decisions).

        Unlike ``enumerate``, this has no limit on their number.
        """
        return decode(self._codes)

    def _encode(self, choices: NDArray[np.int64], encoding: Encoding) -> NDArray[np.float32]:
        """Encodes as ``encode`` says; ``"sequence"`` goes through the vertices after the input.

        For each of six it has a column per earlier vertex, 1 where that one feeds it, and one for
        each of 1x1 convolution, 3x3 convolution, pooling and output: (num_archs, 45). Vertices
        without effect are left out, so that zeros follow the output of smaller cells.
        """
        if encoding != "sequence":
            return super()._encode(choices, encoding)
        adjacency, ids = graphs(choices)
        columns = []
        for vertex in range(1, NUM_VERTICES):
            columns += [adjacency[:, :vertex, vertex], ids[:, vertex, None] == _SEQUENCE_OPS]
        return np.concatenate(columns, axis=1).astype(np.float32)


def read_cell(adjacency: str, operations: Sequence[str]) -> list[int]:
    """Reads the choices of a cell; they are neither canonical nor checked for a path and edges.

    Args:
        adjacency: The rows of its adjacency matrix one after another, V * V digits 0 and 1.
        operations: Operations of its V vertices, from ``"input"`` to ``"output"``.

    Raises:
        ValueError: If this is no upper triangular matrix with operations of the benchmark.
    """
    num_vertices = len(operations)
    if not 2 <= num_vertices <= NUM_VERTICES:
        raise ValueError(f"it has {num_vertices} operations, not 2 to {NUM_VERTICES}")
    if operations[0] != INPUT or operations[-1] != OUTPUT:
        raise ValueError(f"its operations do not start with {INPUT!r} and end with {OUTPUT!r}")
    unknown = [op for op in operations[1:-1] if op not in OPS]
    if unknown:
        raise ValueError(f"unknown operation {unknown[0]!r}, choose from {', '.join(OPS)}")
    if len(adjacency) != num_vertices**2 or not set(adjacency) <= {"0", "1"}:
        raise ValueError(
            f"its adjacency is not {num_vertices} x {num_vertices} digits 0 and 1, "
            f"got {adjacency!r}"
        )
    choices = [0] * len(NASBench101Space.decisions)
    vertices = (*range(num_vertices - 1), NUM_VERTICES - 1)
    for i, digit in enumerate(adjacency):
        if digit == "1":
            source, target = (vertices[end] for end in divmod(i, num_vertices))
            if source >= target:
                raise ValueError(f"its adjacency is not upper triangular, got {adjacency!r}")
            choices[EDGE_INDEX[source, target]] = 1
    choices[len(EDGES) : len(EDGES) + num_vertices - 2] = map(OPS.index, operations[1:-1])
    return choices


def _joined(digests: Sequence[str], is_taken: NDArray[np.int64]) -> str:
    """Some of the digests, sorted."""
    return "".join(sorted(d for d, taken in zip(digests, is_taken, strict=True) if taken))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
