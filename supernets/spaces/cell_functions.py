"""Names what a cell of NAS-Bench-201 computes: 5,260 functions of 15,625 cells.

Two cells are the same function if they compute the same from the same image once the convolutions
of one get the weights of those of the other, each its own; the order of sums does not count. The
benchmark's own strings (``NASBench201Space.unique_string``) do not say that.

Average pooling is taken as it is computed. In exact arithmetic the pool of a sum is also the sum of
the pools, which would leave 5,044 functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, permutations, product

from supernets.spaces.cells import Edge

_INPUT, _SKIP, _POOL = "x", "skip_connect", "avg_pool_3x3"


def name_function(edges: Sequence[Edge], num_nodes: int) -> str:
    """Returns a name that is the same for two cells if and only if they are the same function.

    Convolutions are named by letters, for example ``"a+x; a=nor_conv_3x3(x)"``. Of all ways to name
    them that keep equal operations together it is the first in the order of the alphabet.

    Args:
        edges: Edges on a path from input to output, ordered by target; each a skip, a pool or a
            convolution with weights of its own.
        num_nodes: Number of nodes of a cell; the first is its input, the last its output.
    """
    # what a node sums: the input, the convolution of an edge by its number, or a pool of such a sum
    sums: list[tuple[object, ...]] = [(_INPUT,), *[()] * (num_nodes - 1)]
    convs = []
    for i, (op, source, target) in enumerate(edges):
        if op == _SKIP:
            sums[target] += sums[source]
        elif op == _POOL:
            sums[target] += (sums[source],)
        else:
            sums[target] += (i,)
            convs.append(i)
    convs.sort(key=lambda i: edges[i].op)
    groups = [list(group) for _, group in groupby(convs, lambda i: edges[i].op)]
    texts = []
    for orders in product(*map(permutations, groups)):
        letters = {i: chr(ord("a") + n) for n, i in enumerate(i for each in orders for i in each)}
        parts = [_write(sums[-1], letters)]
        for i, letter in letters.items():
            parts.append(f"{letter}={edges[i].op}({_write(sums[edges[i].source], letters)})")
        texts.append("; ".join(parts))
    return min(texts)


def _write(total: tuple[object, ...], letters: dict[int, str]) -> str:
    texts = []
    for term in total:
        if isinstance(term, tuple):
            texts.append(f"{_POOL}({_write(term, letters)})")
        else:
            texts.append(letters[term] if isinstance(term, int) else str(term))
    return "+".join(sorted(texts)) or "0"
