"""Cells of NAS-Bench-101 as rows of choices: what has an effect, numbering and enumeration.

A row holds 21 choices, 0 or 1, for the edges between the vertices 0 (the input) to 6 (the output),
and 5 for the operations of the vertices between. What is on no path from input to output has no
effect. All functions are vectorised over the rows.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

#: Operations in the benchmark's own order; the choices of vertices index this tuple.
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
CONV_3X3, CONV_1X1, MAXPOOL = range(3)
#: Ids of the vertices of graphs beside the operations'.
INPUT_ID, OUTPUT_ID, NO_ID = len(OPS), len(OPS) + 1, -1

NUM_VERTICES = 7
MAX_EDGES = 9
#: All places of edges as (source, target), by target; one decision each.
EDGES = tuple((source, target) for target in range(1, NUM_VERTICES) for source in range(target))
EDGE_INDEX = {edge: i for i, edge in enumerate(EDGES)}

_NUM_INNER = NUM_VERTICES - 2
_SOURCES, _TARGETS = np.array(EDGES).T
_CHUNK_SIZE = 16_384

# A cell as one number, its code: the choices are its digits, in order, so that codes are ordered as
# choices are. An edge is a digit of one bit, an operation one of two.
_BITS = np.array([1] * len(EDGES) + [2] * _NUM_INNER)
_SHIFTS = _BITS[::-1].cumsum()[::-1] - _BITS
_NOT_FORWARD = 1 << int(_BITS.sum())  # more than any code


def _renumbering_weights() -> NDArray[np.float64]:
    """What each choice adds to the code of a cell whose inner vertices are renumbered.

    Floating-point numbers of this size are exact, and their products fast.

    Returns:
        (num_decisions, num_orders); an edge that goes backward in an order adds ``_NOT_FORWARD``.
    """
    orders = [(0, *order, NUM_VERTICES - 1) for order in permutations(range(1, NUM_VERTICES - 1))]
    weights = np.empty((len(_BITS), len(orders)))
    for column, order in zip(weights.T, orders, strict=True):
        for i, (source, target) in enumerate(EDGES):
            moved = EDGE_INDEX.get((order[source], order[target]))
            column[i] = _NOT_FORWARD if moved is None else 1 << int(_SHIFTS[moved])
        column[len(EDGES) :] = 1 << _SHIFTS[len(EDGES) - 1 + np.array(order[1:-1])]
    return weights


_WEIGHTS = _renumbering_weights()


def live_vertices(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which vertices are on a path from input to output, (num_archs, 7)."""
    adjacency = _adjacency(choices)
    is_fed, is_read = np.zeros((2, len(choices), NUM_VERTICES), np.bool_)
    is_fed[:, 0] = is_read[:, -1] = True
    for vertex in range(1, NUM_VERTICES):
        is_fed[:, vertex] = (is_fed & adjacency[:, :, vertex]).any(axis=1)
    for vertex in range(NUM_VERTICES - 2, -1, -1):
        is_read[:, vertex] = (is_read & adjacency[:, vertex]).any(axis=1)
    return is_fed & is_read


def prune(choices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Makes all choices 0 that have no effect."""
    live = live_vertices(choices)
    has_effect = np.concatenate([live[:, _SOURCES] & live[:, _TARGETS], live[:, 1:-1]], axis=1)
    return np.where(has_effect, choices, 0)


def canonical_codes(pruned: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the lowest code of each pruned cell, over all orders in which edges go forward."""
    codes = [
        (pruned[start : start + _CHUNK_SIZE] @ _WEIGHTS).min(axis=1)
        for start in range(0, len(pruned), _CHUNK_SIZE)
    ]
    return np.concatenate([np.empty(0), *codes]).astype(np.int64)


def decode(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Decodes codes (num_archs,) to choices."""
    choices: NDArray[np.int64] = codes[:, None] >> _SHIFTS & ((1 << _BITS) - 1)
    return choices


def rewrite(choices: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Writes pruned cells in another way, so that one more edge can bring in any vertex.

    The vertices are put in a uniform one of the orders in which edges go forward, and those without
    effect read one earlier vertex each.
    """
    codes = choices @ _WEIGHTS  # (num_archs, num_orders)
    orders = np.where(codes < _NOT_FORWARD, rng.random(codes.shape), -1.0).argmax(axis=1)
    written = decode(codes[np.arange(len(codes)), orders].astype(np.int64))
    live = live_vertices(written)
    for vertex in range(1, NUM_VERTICES - 1):
        rows = np.flatnonzero(~live[:, vertex])
        sources = rng.integers(vertex, size=len(rows))
        written[rows, EDGE_INDEX[0, vertex] + sources] = 1
    return written


def graphs(choices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns the graphs of cells without the vertices that have no effect.

    Returns:
        Adjacency of shape (num_archs, 7, 7), entry [:, i, j] is True where i feeds j; and ids of
        the vertices (num_archs, 7): indices of ``OPS`` between ``INPUT_ID`` and ``OUTPUT_ID``, and
        ``NO_ID`` beyond.
    """
    ids = np.pad(choices[:, len(EDGES) :], ((0, 0), (1, 1)))
    ids[:, 0], ids[:, -1] = INPUT_ID, OUTPUT_ID
    live = live_vertices(choices)
    order = np.argsort(~live, axis=1, kind="stable")  # (num_archs, 7), those with effect first
    rows = np.arange(len(choices))[:, None]
    adjacency = _adjacency(prune(choices))[rows[:, :, None], order[:, :, None], order[:, None]]
    return adjacency, np.where(live, ids, NO_ID)[rows, order]


@lru_cache
def all_codes(ops: tuple[int, ...]) -> NDArray[np.int64]:
    """Lists the canonical codes of all cells of some operations, ascending; in about a second."""
    structures = _structures()
    labels = np.array(list(product(ops, repeat=_NUM_INNER)))
    found = []
    for chunk in np.array_split(structures, 1 + len(structures) * len(labels) // _CHUNK_SIZE):
        choices = np.repeat(chunk, len(labels), axis=0)
        live = live_vertices(choices)[:, 1:-1]
        choices[:, len(EDGES) :] = np.tile(labels, (len(chunk), 1)) * live
        codes = _encode(choices)
        found.append(codes[codes == canonical_codes(choices)])
    codes = np.unique(np.concatenate(found))  # labels of vertices without effect made copies
    codes.flags.writeable = False
    return codes


def _structures() -> NDArray[np.int64]:
    """The canonical cells whose operations are all 0."""
    codes = np.arange(1, 1 << len(EDGES)) << 2 * _NUM_INNER
    bits = 1 << _SHIFTS[: len(EDGES)]
    for vertex in range(1, NUM_VERTICES - 1):
        # nothing is to be pruned where vertices are fed exactly if they are read
        is_fed = codes & bits[vertex == _TARGETS].sum() != 0
        codes = codes[is_fed == (codes & bits[vertex == _SOURCES].sum() != 0)]
    choices = decode(codes)
    choices = choices[choices.sum(axis=1) <= MAX_EDGES]
    structures: NDArray[np.int64] = choices[_encode(choices) == canonical_codes(choices)]
    return structures


def _encode(choices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes of choices, (num_archs,)."""
    codes: NDArray[np.int64] = (choices << _SHIFTS).sum(axis=1)
    return codes


def _adjacency(choices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns the adjacency (num_archs, 7, 7) of choices (num_archs, num_decisions)."""
    adjacency = np.zeros((len(choices), NUM_VERTICES, NUM_VERTICES), np.bool_)
    adjacency[:, _SOURCES, _TARGETS] = choices[:, : len(EDGES)] == 1
    return adjacency
