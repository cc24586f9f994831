"""NASNet and DARTS cells: a normal and a reduction cell of four nodes, each summing two operations.

Papers: Learning Transferable Architectures for Scalable Image Recognition (NASNet),
https://arxiv.org/abs/1707.07012; DARTS: Differentiable Architecture Search,
https://arxiv.org/abs/1806.09055; BANANAS (the path encoding), https://arxiv.org/abs/1910.11858

Differs from them:

1. ``none`` is no operation: no derived genotype has it.
2. The path encoding is truncated to paths of up to three operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, permutations, product

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.cells import CellSpace, Edge
from supernets.spaces.encodings import Encoding
from supernets.spaces.features import Structure
from supernets.spaces.genotypes import read_genotype

#: Operations in DARTS' order; the choices of an architecture index this tuple.
OPS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CELLS = ("normal", "reduce")
NUM_INPUTS = 2  # of a cell: the outputs of the last cell but one, and of the last
NUM_NODES = 4
NUM_STATES = NUM_INPUTS + NUM_NODES
#: Longest paths of the path encoding, in operations; a cell has paths of up to 4.
MAX_PATH_LENGTH = 3

_DECISIONS_PER_CELL = 3 * NUM_NODES  # inputs and two operations of each node
_NUM_CODES = NUM_STATES * len(OPS)  # of one (input, operation) pair
_CONCAT = f"range({NUM_INPUTS}, {NUM_STATES})"
_EXAMPLE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    f"('dil_conv_3x3', 2)], normal_concat={_CONCAT}, reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('max_pool_3x3', 1), "
    f"('skip_connect', 2), ('max_pool_3x3', 1), ('skip_connect', 2)], reduce_concat={_CONCAT})"
)

#: All orders of the nodes: the new position of each node, (24, NUM_NODES); the new number of each
#: state; and the weight of each node's key in the key of a cell.
_POSITIONS = np.array(list(permutations(range(NUM_NODES))), np.int64)
_RENUMBERED = np.concatenate(
    [np.tile(np.arange(NUM_INPUTS), (len(_POSITIONS), 1)), _POSITIONS + NUM_INPUTS], axis=1
)
_KEY_BASE = _NUM_CODES**2
_KEY_WEIGHTS = _KEY_BASE ** (NUM_NODES - 1 - _POSITIONS)


class NASNetSpace(CellSpace):
    """Genotypes of two cells whose nodes each sum two operations on earlier states.

    Decisions are named ``inputs.<cell>.<node>`` for the pair of states a node reads, and
    ``op.<cell>.<node>.<0 or 1>`` for what it does to the first and to the second of them, with the
    cells ``normal`` and ``reduce`` and the nodes 2 to 5. All four nodes of a cell are concatenated.

    The two pairs of a node commute, and nodes can be numbered in any order in which none reads a
    later one. Of all ways to write a cell the canonical one is the first in the order of the nodes'
    (input, operation) pairs, so that isomorphic cells are one architecture.

    Architectures are written as the DARTS community does,
    ``Genotype(normal=[('op', input), …], normal_concat=range(2, 6), reduce=…, reduce_concat=…)``.

    Args:
        distinct_inputs: Whether the two inputs of a node differ, as in the genotypes that DARTS
            derives (``"darts"``), or may be the same state (``"nasnet"``).

    Example:
        >>> import numpy as np
        >>> space = NASNetSpace(distinct_inputs=True)
        >>> space.name, f"{space.size:.3g}"
        ('darts', '1.46e+17')
        >>> arch = space.sample(np.random.default_rng(0))
        >>> space.parse(space.format(arch)) == arch
        True
    """

    encodings: tuple[Encoding, ...] = ("one-hot", "integers", "path")
    num_states = NUM_STATES
    num_inputs = NUM_INPUTS
    concatenated = tuple(range(NUM_INPUTS, NUM_STATES))

    def __init__(self, *, distinct_inputs: bool) -> None:
        self.name = "darts" if distinct_inputs else "nasnet"
        self._distinct_inputs = distinct_inputs
        self._pairs = [
            np.array(pairs, np.int64) for pairs in _input_pairs(distinct_inputs)
        ]  # of each node, (options, 2)
        self.decisions = tuple(
            decision
            for cell in CELLS
            for node, pairs in enumerate(self._pairs, start=NUM_INPUTS)
            for decision in (
                Decision(f"inputs.{cell}.{node}", tuple(f"{a},{b}" for a, b in pairs.tolist())),
                Decision(f"op.{cell}.{node}.0", OPS),
                Decision(f"op.{cell}.{node}.1", OPS),
            )
        )
        self._pair_index = np.zeros((NUM_NODES, NUM_STATES, NUM_STATES), np.int64)
        for index, pairs in zip(self._pair_index, self._pairs, strict=True):
            index[pairs[:, 0], pairs[:, 1]] = np.arange(len(pairs))
        self.fair_decisions = tuple(
            i for i, decision in enumerate(self.decisions) if decision.name.startswith("op.")
        )
        super().__init__()

    @property
    def size(self) -> int:
        """Number of architectures, isomorphic ones counted once."""
        return math.prod(
            _num_cells(self._distinct_inputs, num_ops) for num_ops in self._num_ops_of_cells()
        )

    @property
    def num_genotypes(self) -> int:
        """Number of architectures if the numbering of the nodes made a difference.

        For ``"darts"`` it is the literature's 1.08e18.
        """
        total = 1
        for num_ops in self._num_ops_of_cells():
            for pairs in self._pairs:
                num_same = int((pairs[:, 0] == pairs[:, 1]).sum())
                total *= (len(pairs) - num_same) * num_ops**2 + num_same * math.comb(num_ops + 1, 2)
        return total

    def _num_ops_of_cells(self) -> list[int]:
        return [len(self._allowed[i * _DECISIONS_PER_CELL + 1]) for i in range(len(CELLS))]

    def restrict(self, candidates: Mapping[str, Sequence[str]]) -> NASNetSpace:
        """Returns the part of this space where a cell, or both, have fewer operations.

        Args:
            candidates: The operations to keep, by ``"op"``, ``"op.normal"`` or ``"op.reduce"``.

        Raises:
            ValueError: If a key is another one, as nodes cannot be told apart; or an operation is
                not offered.
        """
        for name in candidates:
            if name not in ("op", *(f"op.{cell}" for cell in CELLS)):
                raise ValueError(
                    f"Space {self.name!r} is restricted by 'op', 'op.normal' or 'op.reduce', got "
                    f"{name!r}; single nodes cannot be, as cells are the same however their nodes "
                    "are numbered."
                )
        return super().restrict(candidates)

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """As of ``SearchSpace``; see ``supernets.spaces.structure``."""
        from supernets.spaces.structure import of_nasnet

        return of_nasnet(self, choices)

    def format(self, arch: Architecture) -> str:
        """Writes the genotype, as Python prints the named tuple of the DARTS community."""
        self.validate(arch)
        parts = []
        for cell, edges in self.cells(arch).items():
            pairs = ", ".join(f"({edge.op!r}, {edge.source})" for edge in edges)
            parts.append(f"{cell}=[{pairs}], {cell}_concat={_CONCAT}")
        return f"Genotype({', '.join(parts)})"

    def parse(self, text: str) -> Architecture:
        """Reads a genotype, without evaluating it.

        Raises:
            ValueError: If ``text`` is not the genotype of an architecture of this space.
        """
        check_instance("notation", text, str, "format(arch) writes it")
        try:
            fields = read_genotype(text.strip(), CELLS, range(NUM_INPUTS, NUM_STATES))
            choices = [choice for cell in CELLS for choice in self._read_cell(cell, fields[cell])]
        except ValueError as error:
            shown = text if len(text) <= 200 else f"{text[:200]}…"
            raise ValueError(
                f"{shown!r} is not an architecture of space {self.name!r}: {error}. "
                f"Expected, for example, {_EXAMPLE!r}."
            ) from error
        return self.architecture(choices)

    def _read_cell(self, cell: str, pairs: Sequence[tuple[str, int]]) -> Iterator[int]:
        """The choices of one cell."""
        if len(pairs) != 2 * NUM_NODES:
            raise ValueError(f"{cell} has {len(pairs)} (op, input) pairs, not {2 * NUM_NODES}")
        for node in range(NUM_NODES):
            state = node + NUM_INPUTS
            coded = []
            for op, source in pairs[2 * node : 2 * node + 2]:
                if op not in OPS:
                    raise ValueError(f"unknown operation {op!r}, choose from {', '.join(OPS)}")
                if not 0 <= source < state:
                    raise ValueError(
                        f"node {state} of {cell} reads {source}, not a state from 0 to {state - 1}"
                    )
                coded.append((source, OPS.index(op)))
            (first, first_op), (second, second_op) = sorted(coded)
            if first == second and self._distinct_inputs:
                raise ValueError(
                    f"node {state} of {cell} reads state {first} twice, which space 'nasnet' has"
                )
            yield from (int(self._pair_index[node, first, second]), first_op, second_op)

    def cells(self, arch: Architecture) -> dict[str, list[Edge]]:
        """Returns the edges of ``normal`` and ``reduce``, two for each of nodes 2 to 5 in turn."""
        inputs, ops = self.edges(np.array([arch.choices]))  # (1, cells, NUM_NODES, 2)
        return {
            cell: [
                Edge(OPS[ops[0, c, node, slot]], int(inputs[0, c, node, slot]), node + NUM_INPUTS)
                for node in range(NUM_NODES)
                for slot in range(2)
            ]
            for c, cell in enumerate(CELLS)
        }

    def edges(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns what architectures (num_archs, num_decisions) read and do.

        Returns:
            The states read and the indices of the operations, each of shape
            (num_archs, cells, NUM_NODES, 2).
        """
        grouped = choices.reshape(len(choices), len(CELLS), NUM_NODES, 3)
        inputs = [pairs[grouped[:, :, node, 0]] for node, pairs in enumerate(self._pairs)]
        return np.stack(inputs, axis=2), grouped[..., 1:]

    def canonicalize(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Writes each cell in its canonical way; (num_archs, num_decisions) to the same shape."""
        inputs, ops = self.edges(choices)
        inputs, ops = inputs.reshape(-1, NUM_NODES, 2), ops.reshape(-1, NUM_NODES, 2)
        renumbered = _RENUMBERED[:, inputs]  # (orders, num_cells, NUM_NODES, 2)
        is_valid = (renumbered < _POSITIONS[:, None, :, None] + NUM_INPUTS).all(axis=(2, 3))
        codes = renumbered * len(OPS) + ops
        nodes = codes.min(axis=3) * _NUM_CODES + codes.max(axis=3)  # (orders, cells, NUM_NODES)
        keys = (nodes * _KEY_WEIGHTS[:, None]).sum(axis=2)
        best = np.where(is_valid, keys, np.iinfo(np.int64).max).min(axis=0)  # (num_cells,)
        nodes = best[:, None] // _KEY_BASE ** np.arange(NUM_NODES - 1, -1, -1) % _KEY_BASE
        first, second = np.divmod(nodes, _NUM_CODES)  # (num_cells, NUM_NODES)
        sources = first // len(OPS), second // len(OPS)
        pairs = self._pair_index[np.arange(NUM_NODES), sources[0], sources[1]]
        canonical = np.stack([pairs, first % len(OPS), second % len(OPS)], axis=2)
        return canonical.reshape(choices.shape)

    def all_choices(self) -> NDArray[np.int64]:
        """Lists every architecture once, in lexicographic order: (size, num_decisions).

        Raises:
            ValueError: If the space has more than ``MAX_ENUMERABLE_SIZE`` points.
        """
        self._check_enumerable()
        found = []  # the choices of all canonical cells of each kind, (num_cells, 12)
        for c in range(len(CELLS)):
            part = slice(c * _DECISIONS_PER_CELL, (c + 1) * _DECISIONS_PER_CELL)
            grid = np.array(list(product(*self._allowed[part])), np.int64)
            # the other cell is only there to make whole architectures of them
            cells = self.canonicalize(np.tile(grid, len(CELLS)))[:, part]
            found.append(np.unique(cells, axis=0))
        normal, reduce = found
        return np.concatenate(
            [np.repeat(normal, len(reduce), axis=0), np.tile(reduce, (len(normal), 1))], axis=1
        )

    def _encode(self, choices: NDArray[np.int64], encoding: Encoding) -> NDArray[np.float32]:
        """Encodes; ``"path"`` has a column per path of operations from an input to a node.

        It is 1 where a cell has the path, 0 elsewhere: (num_archs, 1596) for paths of up to three
        operations from either input through either cell. Isomorphic cells have equal columns.
        """
        if encoding != "path":
            return super()._encode(choices, encoding)
        inputs, ops = self.edges(choices)
        columns = []
        rows = np.arange(len(choices))
        for c in range(len(CELLS)):
            # of each state, the paths of each length that lead to it
            paths: list[list[NDArray[np.bool_]]] = []
            for state in range(NUM_INPUTS):
                start = np.zeros((len(choices), NUM_INPUTS), np.bool_)
                start[:, state] = True
                empty = [
                    np.zeros((len(choices), NUM_INPUTS * len(OPS) ** length), np.bool_)
                    for length in range(1, MAX_PATH_LENGTH + 1)
                ]
                paths.append([start, *empty])
            for node in range(NUM_NODES):
                reaching = [np.zeros_like(found) for found in paths[0]]
                for slot in range(2):
                    source, op = inputs[:, c, node, slot], ops[:, c, node, slot]
                    for length in range(MAX_PATH_LENGTH):
                        at_source = np.stack([state[length] for state in paths])[source, rows]
                        longer = reaching[length + 1].reshape(*at_source.shape, len(OPS))
                        longer[rows, :, op] |= at_source
                paths.append(reaching)
            for length in range(1, MAX_PATH_LENGTH + 1):
                columns.append(np.any([state[length] for state in paths[NUM_INPUTS:]], axis=0))
        return np.concatenate(columns, axis=1).astype(np.float32)

    def to_graphs(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Returns both cells of each as one graph with operations on the vertices, for predictors.

        Vertices are, for ``normal`` and then for ``reduce``, the two inputs, the eight operations
        in order and the output; no edge joins the cells.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            Adjacency of shape (num_archs, 22, 22), entry [:, i, j] is 1 where i feeds j; and
            operation ids of shape (num_archs, 22): 0 to 6 as in ``OPS``, 7 and 8 for the inputs, 9
            for the output, and 10 more of each for ``reduce``, so that the two cells can be told
            apart.
        """
        # of the vertices of a cell before its output, the state that each is of or adds to
        nodes = np.repeat(np.arange(NUM_INPUTS, NUM_STATES), 2)
        states = np.concatenate([np.arange(NUM_INPUTS), nodes])
        num_vertices = len(states) + 1
        inputs, ops = (
            part.reshape(len(choices), len(CELLS), 2 * NUM_NODES) for part in self.edges(choices)
        )
        adjacency = np.zeros((len(choices), *(len(CELLS) * num_vertices,) * 2), np.float32)
        ids = np.zeros((len(choices), len(CELLS), num_vertices), np.int64)
        ids[..., :NUM_INPUTS] = len(OPS) + np.arange(NUM_INPUTS)
        ids[..., NUM_INPUTS:-1] = ops
        ids[..., -1] = len(OPS) + NUM_INPUTS
        ids += np.arange(len(CELLS))[:, None] * (len(OPS) + NUM_INPUTS + 1)
        for c in range(len(CELLS)):
            own = slice(c * num_vertices, (c + 1) * num_vertices)
            cells = adjacency[:, own, own]
            cells[:, :-1, NUM_INPUTS:-1] = states[:, None] == inputs[:, c, None]
            cells[:, NUM_INPUTS:-1, -1] = 1.0
        return adjacency, ids.reshape(adjacency.shape[:2])


def _input_pairs(distinct: bool) -> list[list[tuple[int, int]]]:
    """What each node can read."""
    choose = combinations if distinct else combinations_with_replacement
    return [list(choose(range(state), 2)) for state in range(NUM_INPUTS, NUM_STATES)]


@lru_cache
def _num_cells(distinct_inputs: bool, num_ops: int) -> int:
    """Number of cells, isomorphic ones counted once.

    A cell is written in as many ways as its nodes have valid orders, divided by the number of
    orders that change nothing; the sum over all ways of writing of (orders that change nothing) /
    (valid orders) is therefore the number of cells. It is taken over what the nodes read, with the
    number of ways to choose the operations that each order leaves as they are.
    """
    total = Fraction(0)
    orders = list(permutations(range(NUM_INPUTS, NUM_STATES)))
    for inputs in product(*_input_pairs(distinct_inputs)):
        nodes = dict(enumerate(inputs, start=NUM_INPUTS))
        num_valid, num_fixed = 0, 0
        for order in orders:
            renumbered = {0: 0, 1: 1} | dict(zip(nodes, order, strict=True))
            moved = {
                renumbered[node]: tuple(sorted(renumbered[source] for source in pair))
                for node, pair in nodes.items()
            }
            num_valid += all(source < node for node, pair in moved.items() for source in pair)
            if moved == nodes:
                num_fixed += _num_unchanged(nodes, renumbered, num_ops)
        total += Fraction(num_fixed, num_valid)
    assert total.denominator == 1
    return int(total)


def _num_unchanged(
    nodes: Mapping[int, tuple[int, int]], renumbered: Mapping[int, int], num_ops: int
) -> int:
    """Choices of operations that stay the same under an order that keeps what the nodes read."""
    count = 1
    counted: set[tuple[int, int]] = set()
    for node, pair in nodes.items():
        for source in set(pair):
            edge = (node, source)
            if edge in counted:
                continue
            while edge not in counted:  # all edges that take each other's place are alike
                counted.add(edge)
                edge = (renumbered[edge[0]], renumbered[edge[1]])
            count *= num_ops if pair[0] != pair[1] else math.comb(num_ops + 1, 2)
    return count
