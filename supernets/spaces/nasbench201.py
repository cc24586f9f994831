"""The NAS-Bench-201 topology space: 4 nodes, 6 edges, 5 operations, 15,625 cells.

Paper: NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search,
https://arxiv.org/abs/2001.00326
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.instances import check_instance
from supernets.spaces.architecture import Architecture, Decision
from supernets.spaces.cell_functions import name_function
from supernets.spaces.cells import CellSpace, Edge
from supernets.spaces.features import Structure

#: Operations in the benchmark's own order; an architecture's choices index this tuple.
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)

#: Edges as (source, target) in reading order of the notation; one decision each.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NUM_NODES = 4
INCOMING: Mapping[int, tuple[tuple[int, int], ...]] = MappingProxyType(
    {
        target: tuple((i, source) for i, (source, end) in enumerate(EDGES) if end == target)
        for target in range(1, NUM_NODES)
    }
)

UniqueRule = Literal["benchmark", "keep-zeros", "drop-zeros", "flatten"]

_EXAMPLE = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
_MEMBER = re.compile(r"([a-z0-9_]+)~(\d+)")
#: What looks like the notation, within a line of a log or in quotes.
_NOTATION = re.compile(r"(?<![\w~|+])\|[\w~|]+\|(?:\+\|[\w~|]+\|){2}(?![\w~|+])")


class NASBench201Space(CellSpace):
    """Cells of NAS-Bench-201; every node sums what its incoming edges deliver.

    Architectures are written as the benchmark writes them, one ``|op~source|…|`` group per node 1,
    2, 3.

    Example:
        >>> space = NASBench201Space()
        >>> cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|none~1|none~2|"
        >>> space.is_connected(space.parse(cell))  # nothing reaches the last node
        False
    """

    name = "nasbench201"
    num_states = NUM_NODES
    num_inputs = 1
    decisions = tuple(Decision(f"{target}<-{source}", OPS) for source, target in EDGES)

    def has_convolution(self, arch: Architecture) -> bool:
        """As of ``CellSpace``; edges that no path reaches do not count."""
        (live,) = self.architectures(only_live(np.array([arch.choices])))
        return "conv" in self.format(live)

    def structure(self, choices: NDArray[np.int64]) -> Structure:
        """As of ``SearchSpace``; see ``supernets.spaces.structure``."""
        from supernets.spaces.structure import of_nasbench201  # which sees all spaces

        return of_nasbench201(choices)

    def format(self, arch: Architecture) -> str:
        """Writes the benchmark's string, e.g. ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        self.validate(arch)
        groups = []
        for node in range(1, NUM_NODES):
            members = [f"{OPS[arch.choices[i]]}~{source}" for i, source in INCOMING[node]]
            groups.append("|" + "|".join(members) + "|")
        return "+".join(groups)

    def parse(self, text: str) -> Architecture:
        """Reads the benchmark's string, also out of what logs and files have around it.

        Raises:
            ValueError: If ``text`` does not follow the notation.
        """
        check_instance("notation", text, str, "format(arch) writes it")

        def error(why: str) -> ValueError:
            return ValueError(
                f"{text!r} is not a NAS-Bench-201 architecture: {why}. "
                f"Expected, for example, {_EXAMPLE!r}."
            )

        found = _NOTATION.findall(text)
        groups = (found[0] if len(found) == 1 else text.strip()).split("+")
        if len(groups) != NUM_NODES - 1:
            raise error(f"it has {len(groups)} '+'-separated groups, not {NUM_NODES - 1}")
        choices: list[int] = []
        for node, group in enumerate(groups, start=1):
            try:
                choices += _read_group(node, group)
            except ValueError as why:
                raise error(str(why)) from None
        return self.architecture(choices)

    def cells(self, arch: Architecture) -> dict[str, list[Edge]]:
        """Returns the edges of the one cell that are not ``none``."""
        edges = [
            Edge(OPS[op], source, target)
            for op, (source, target) in zip(arch.choices, EDGES, strict=True)
            if op != NONE
        ]
        return {"cell": edges}

    def unique_string(self, arch: Architecture, rule: UniqueRule = "benchmark") -> str:
        """Names a cell as the benchmark does, to compare with what was published.

        These are not names of networks: of the 6,466 that the benchmark's rule gives, 430 are of
        several networks (one convolution that is read twice, and two of them, are written alike),
        and 688 networks have several. ``function_string`` names networks.

        ``"benchmark"`` is the benchmark's own rule (6,466 classes): a ``none`` edge, and any edge
        from a node that is exactly the zero token, contributes the zero token; a skip contributes
        its source's string. ``"keep-zeros"`` knows no zeros (12,751 classes), ``"drop-zeros"`` also
        leaves zero tokens out of the sums (5,390), and ``"flatten"`` moreover merges sums that pass
        through skips (4,930).
        """
        self.validate(arch)
        zero = "#"
        terms: list[tuple[str, ...]] = [("0",)]  # per node, the summands of its string, sorted

        def text(node: int) -> str:
            return "+".join(terms[node])

        for node in range(1, NUM_NODES):
            summands: list[str] = []
            for i, source in INCOMING[node]:
                op = arch.choices[i]
                if rule != "keep-zeros" and (op == NONE or text(source) == zero):
                    summands.append(zero)
                elif op == SKIP:
                    summands.extend(terms[source] if rule == "flatten" else [text(source)])
                else:
                    summands.append(f"({text(source)})@{OPS[op]}")
            if rule in ("drop-zeros", "flatten"):
                summands = [summand for summand in summands if summand != zero] or [zero]
            terms.append(tuple(sorted(summands)))
        return text(NUM_NODES - 1)

    def function_string(self, arch: Architecture) -> str:
        """Names what the cell computes, with weights for its convolutions: 5,260 functions.

        See ``supernets.spaces.cell_functions``. Cells of one name are one network for all that
        fresh weights or costs decide. Weights inherited from a supernet belong to edges, so with
        those they are different networks.
        """
        self.validate(arch)
        return _function_string(arch.choices)

    def first_of_functions(self, choices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns for every cell the first, in ``enumerate``'s order, of the same function.

        In a restricted space that may be one it does not offer, so each stands for itself there.
        """
        if self.size < len(OPS) ** len(EDGES):
            return choices
        codes = choices @ len(OPS) ** np.arange(len(EDGES) - 1, -1, -1)
        first: NDArray[np.int64] = _first_cells()[codes]
        return first

    def is_connected(self, arch: Architecture) -> bool:
        """Returns whether the input reaches the output; 341 cells always output zero."""
        return bool(live_edges(arch.choices))

    def to_graphs(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Returns cells as graphs with operations on the vertices, for graph predictors.

        Vertices are the input, the six edges in order, and the output.

        Args:
            choices: Choices of architectures, (num_archs, num_decisions).

        Returns:
            Adjacency of shape (num_archs, 8, 8), entry [:, i, j] is 1 where i feeds j; and
            operation ids of shape (num_archs, 8): 0 to 4 as in ``OPS``, 5 for the input, 6 for the
            output.
        """
        # what each vertex reads and what it adds to; the input reads nothing, the output adds to it
        sources, targets = np.array([(-1, 0), *EDGES, (NUM_NODES - 1, NUM_NODES)]).T
        adjacency = (targets[:, None] == sources).astype(np.float32)
        ids = np.pad(choices, ((0, 0), (1, 1)))
        ids[:, 0], ids[:, -1] = len(OPS), len(OPS) + 1
        return np.tile(adjacency, (len(choices), 1, 1)), ids


@lru_cache(maxsize=1024)  # of the 155 there are a table has each thousands of times
def _read_group(node: int, group: str) -> tuple[int, ...]:
    """The operations that the notation of one node names, or a ``ValueError`` that says why not."""
    if len(group) < 2 or group[0] != "|" or group[-1] != "|":
        raise ValueError(f"group {node} does not start and end with '|'")
    members = group[1:-1].split("|")
    if len(members) != node:
        raise ValueError(f"group {node} has {len(members)} operations, not {node}")
    ops = []
    for source, member in enumerate(members):
        match = _MEMBER.fullmatch(member)
        if match is None or int(match[2]) != source:
            raise ValueError(f"{member!r} in group {node} is not of the form 'op~{source}'")
        if match[1] not in OPS:
            raise ValueError(f"unknown operation {match[1]!r}, choose from {', '.join(OPS)}")
        ops.append(OPS.index(match[1]))
    return tuple(ops)


@lru_cache(maxsize=32768)
def useful_edges(choices: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the edges that are not ``none`` and from whose target the output can be reached.

    What an edge delivers to any other node is never read.
    """
    useful_nodes = {NUM_NODES - 1}
    for i in reversed(
        range(len(EDGES))
    ):  # ordered by target, so every target is settled before its sources
        if choices[i] != NONE and EDGES[i][1] in useful_nodes:
            useful_nodes.add(EDGES[i][0])
    return tuple(
        i for i, (_, target) in enumerate(EDGES) if choices[i] != NONE and target in useful_nodes
    )


@lru_cache(maxsize=32768)
def live_edges(choices: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the edges on a path from input to output that has no ``none``.

    These are the edges that the network one gets consists of: the useful ones whose source is
    reached by the input. The others would see nothing but zeros.
    """
    reached, live = {0}, []
    for i in useful_edges(choices):
        source, target = EDGES[i]
        if source in reached:
            reached.add(target)
            live.append(i)
    return tuple(live)


@lru_cache(maxsize=32768)
def _function_string(choices: tuple[int, ...]) -> str:
    edges = [Edge(OPS[choices[i]], *EDGES[i]) for i in live_edges(choices)]
    return name_function(edges, NUM_NODES)


@lru_cache(maxsize=1)
def _first_cells() -> NDArray[np.int64]:
    """Returns the first cell of the same function for each of all cells in order, (15625, 6)."""
    first: dict[str, tuple[int, ...]] = {}
    cells = product(range(len(OPS)), repeat=len(EDGES))
    return np.array([first.setdefault(_function_string(cell), cell) for cell in cells], np.int64)


def only_live(choices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns cells (num_archs, 6) with ``none`` on every edge that is not live."""
    there = choices != NONE
    num_archs = len(choices)
    reached, useful = np.zeros((2, num_archs, NUM_NODES), np.bool_)
    reached[:, 0], useful[:, -1] = True, True
    for i, (source, target) in enumerate(EDGES):  # ordered by target
        reached[:, target] |= there[:, i] & reached[:, source]
    for i, (source, target) in reversed(tuple(enumerate(EDGES))):
        useful[:, source] |= there[:, i] & useful[:, target]
    sources, targets = np.array(EDGES).T
    return np.where(there & reached[:, sources] & useful[:, targets], choices, NONE)
