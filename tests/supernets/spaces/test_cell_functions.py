"""Names of functions against what small cells compute, over all ways to hand out their weights."""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.spaces import Architecture, NASBench201Space
from supernets.spaces.nasbench201 import EDGES, live_edges

SPACE = NASBench201Space()
SIDE = 4


@pytest.fixture(scope="module")
def archs() -> list[Architecture]:
    return list(SPACE.enumerate())


def test_there_are_5260_functions(archs: list[Architecture]) -> None:
    functions, strings = defaultdict(set), defaultdict(set)
    for arch in archs:
        name, string = SPACE.function_string(arch), SPACE.unique_string(arch)
        functions[name].add(string)
        strings[string].add(name)
    assert len(functions) == 5_260
    # the benchmark's strings merge different functions, and give one function several names
    assert len(strings) == 6_466
    assert sum(len(names) > 1 for names in strings.values()) == 430
    assert sum(len(found) > 1 for found in functions.values()) == 688


def test_functions_by_hand() -> None:
    for text, name in {
        "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|none~2|": "0",
        "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|skip_connect~2|": (
            "a+x; a=nor_conv_3x3(x)"
        ),
        # one convolution read twice, and two
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|": (
            "a+a; a=nor_conv_3x3(x)"
        ),
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|skip_connect~2|": (
            "a+b; a=nor_conv_3x3(x); b=nor_conv_3x3(x)"
        ),
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|": (
            "avg_pool_3x3(a+avg_pool_3x3(x)); a=nor_conv_1x1(x)"
        ),
    }.items():
        assert SPACE.function_string(SPACE.parse(text)) == name


def test_one_cell_stands_for_all_of_its_function(archs: list[Architecture]) -> None:
    choices = np.array([arch.choices for arch in archs])
    first = SPACE.first_of_functions(choices)
    assert len(np.unique(first, axis=0)) == 5_260
    assert np.array_equal(SPACE.first_of_functions(first), first)
    for row, own in zip(first[::50].tolist(), choices[::50].tolist(), strict=True):
        names = [SPACE.function_string(arch) for arch in SPACE.architectures(np.array([row, own]))]
        assert names[0] == names[1]
        assert row <= own
    assert SPACE.first_of_functions(choices[:0]).shape == (0, 6)


def test_cells_of_a_restricted_space_stand_for_themselves() -> None:
    part = SPACE.restrict({decision.name: ("none", "nor_conv_3x3") for decision in SPACE.decisions})
    choices = np.array([arch.choices for arch in part.enumerate()])
    assert np.array_equal(part.first_of_functions(choices), choices)


def test_cells_have_one_name_exactly_if_they_compute_the_same(archs: list[Architecture]) -> None:
    by_string = defaultdict(list)
    for arch in archs:
        by_string[SPACE.unique_string(arch)].append(arch)
    # those that the benchmark's rule merges, and some others
    chosen = [
        arch
        for group in by_string.values()
        if len({SPACE.function_string(arch) for arch in group}) > 1
        for arch in group
    ][::5] + archs[::60]
    named, computed = defaultdict(set), defaultdict(set)
    for arch in chosen:
        if max(sum(c == op for c in arch.choices) for op in (2, 3)) > 4:
            continue  # too many ways
        outputs = all_outputs(arch.choices)
        named[SPACE.function_string(arch)].add(outputs)
        computed[outputs].add(SPACE.function_string(arch))
    assert len(named) > 200
    assert all(len(outputs) == 1 for outputs in named.values())
    assert all(len(names) == 1 for names in computed.values())


RNG = np.random.default_rng(0)
IMAGE, PROBE = RNG.normal(size=(2, SIDE, SIDE))
KERNELS = {2: RNG.normal(size=(6, 1, 1)), 3: RNG.normal(size=(6, 3, 3))}


def all_outputs(choices: tuple[int, ...]) -> bytes:
    """The outputs, in order, of all ways to give the live convolutions the kernels of their size.

    A pool is not linear here, so that the pool of a sum is something else than the sum of pools.
    """
    live = live_edges(choices)
    convs = {op: [i for i in live if choices[i] == op] for op in KERNELS}
    ways = product(*(permutations(range(len(edges))) for edges in convs.values()))
    numbers = [
        dict(zip(sum(convs.values(), []), sum(map(list, way), []), strict=True)) for way in ways
    ]
    nodes = [np.broadcast_to(IMAGE, (len(numbers), SIDE, SIDE)), 0.0, 0.0, 0.0]
    for i in live:
        source, target = EDGES[i]
        x, op = nodes[source], choices[i]
        if op in KERNELS:
            kernels = KERNELS[op][[number[i] for number in numbers]]
            x = np.tanh(correlate(np.maximum(x, x / 3), kernels))
        elif op == 4:
            x = np.tanh(correlate(x, np.full((1, 3, 3), 1 / 9)))
        nodes[target] = nodes[target] + x
    values = np.sort((nodes[-1] * PROBE + np.zeros((len(numbers), SIDE, SIDE))).sum(axis=(1, 2)))
    return (values.round(9) + 0.0).tobytes()


def correlate(x: NDArray[np.float64], kernels: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, H, W) with kernels (N or 1, k, k), padded by zeros."""
    size = kernels.shape[-1]
    padded = np.pad(x, ((0, 0), *[(size // 2, size // 2)] * 2))
    shifts = [
        kernels[:, i, j, None, None] * padded[:, i : i + SIDE, j : j + SIDE]
        for i, j in product(range(size), repeat=2)
    ]
    return np.asarray(sum(shifts))
