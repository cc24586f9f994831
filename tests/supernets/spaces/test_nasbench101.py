"""NAS-Bench-101's cells: how many there are, what makes two the same, notation and mutation."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import networkx as nx
import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.spaces import Architecture
from supernets.spaces.nasbench101 import INPUT, OUTPUT, NASBench101Space, read_cell
from supernets.spaces.nasbench101_cells import EDGES, OPS, live_vertices

SPACE = NASBench101Space()
ONE_OP = SPACE.restrict({"op": ("conv1x1-bn-relu",)})
CONV_3X3, CONV_1X1, MAXPOOL = OPS
CHAIN = (INPUT, CONV_1X1, CONV_1X1, CONV_1X1, CONV_1X1, CONV_1X1, OUTPUT)
# Two rows of the benchmark, which are well known: its first, and the example of its authors.
FIRST = (
    "0100110 0010000 0001001 0000010 0000010 0000001 0000000",
    (INPUT, CONV_3X3, MAXPOOL, CONV_3X3, CONV_3X3, CONV_1X1, OUTPUT),
    "00005c142e6f48ac74fdcf73e3439874",
)
INCEPTION = (
    "0111010 0000001 0000001 0000100 0000001 0000001 0000000",
    (INPUT, CONV_1X1, CONV_3X3, CONV_3X3, CONV_3X3, MAXPOOL, OUTPUT),
    "28cfc7874f6d200472e1a9dcd8650aa0",
)


def write(adjacency: str, operations: Sequence[str]) -> str:
    """The notation; ``adjacency`` may have spaces between rows."""
    return f"{','.join(operations)}|{adjacency.replace(' ', '')}"


def read(adjacency: str, *operations: str) -> Architecture:
    """A cell by the operations between input and output."""
    return SPACE.parse(write(adjacency, (INPUT, *operations, OUTPUT)))


def graph_of(choices: Sequence[int]) -> nx.DiGraph:
    """Choices as a graph of what is on a path from input to output, by networkx alone."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(7))
    graph.add_edges_from(edge for edge, is_there in zip(EDGES, choices, strict=False) if is_there)
    on_path = (nx.descendants(graph, 0) | {0}) & (nx.ancestors(graph, 6) | {6})
    graph = graph.subgraph(on_path).copy()
    names = (INPUT, *(OPS[op] for op in choices[len(EDGES) :]), OUTPUT)
    nx.set_node_attributes(graph, {vertex: names[vertex] for vertex in graph}, "op")
    return graph


def are_isomorphic(first: nx.DiGraph, second: nx.DiGraph) -> bool:
    return nx.is_isomorphic(first, second, node_match=lambda a, b: a["op"] == b["op"])


def ways(choices: Sequence[int]) -> list[list[int]]:
    """A cell with its seven vertices in every order in which edges go forward."""
    edges = [edge for edge, is_there in zip(EDGES, choices, strict=False) if is_there]
    found = set()
    for order in itertools.permutations(range(1, 6)):
        place = (0, *order, 6)
        moved = {(place[source], place[target]) for source, target in edges}
        if all(source < target for source, target in moved):
            ops = [0] * 5
            for vertex, op in zip(order, choices[len(EDGES) :], strict=True):
                ops[vertex - 1] = int(op)
            found.add((*(int(edge in moved) for edge in EDGES), *ops))
    return [list(way) for way in sorted(found)]


def invariants(graph: nx.DiGraph) -> tuple[object, ...]:
    """What isomorphic graphs have in common."""
    return tuple(
        sorted((graph.in_degree(v), graph.out_degree(v), graph.nodes[v]["op"]) for v in graph)
    )


def num_vertices(choices: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(live_vertices(choices).sum(axis=1))


def choices_of(arch: Architecture, num_archs: int = 1) -> NDArray[np.int64]:
    return np.repeat(np.array([arch.choices]), num_archs, axis=0)


@pytest.fixture(scope="module")
def all_choices() -> NDArray[np.int64]:
    return SPACE.all_choices()


def test_the_space_has_the_benchmarks_cells(all_choices: NDArray[np.int64]) -> None:
    assert SPACE.size == len(all_choices) == 423_624
    counts = np.bincount(num_vertices(all_choices))
    assert counts.tolist() == [0, 0, 1, 6, 84, 2_441, 62_010, 359_082]
    some = all_choices[np.random.default_rng(0).choice(len(all_choices), 2000, replace=False)]
    assert np.array_equal(SPACE.canonicalize(some), some)
    assert some[:, : len(EDGES)].sum(axis=1).max() == 9


def test_enumeration_is_for_the_part_of_few_operations() -> None:
    archs = list(ONE_OP.enumerate())
    assert len(archs) == ONE_OP.size == 2494
    assert all(a.choices < b.choices for a, b in itertools.pairwise(archs))
    for arch in archs[::50]:
        ONE_OP.validate(arch)
        SPACE.validate(arch)
    assert SPACE.restrict({"op": (CONV_3X3, MAXPOOL)}).size == 61_199
    with pytest.raises(ValueError, match="has 423624 architectures"):
        next(SPACE.enumerate())


def small_cells() -> Iterator[list[int]]:
    """All matrices and operations of up to four vertices, as choices."""
    for size in (2, 3, 4):
        places = [(i, j) for j in range(size) for i in range(j)]
        for edges in itertools.product("01", repeat=len(places)):
            digits = dict(zip(places, edges, strict=True))
            grid = itertools.product(range(size), repeat=2)
            adjacency = "".join(digits.get(place, "0") for place in grid)
            for ops in itertools.product(OPS, repeat=size - 2):
                yield read_cell(adjacency, (INPUT, *ops, OUTPUT))


def test_small_cells_are_equal_exactly_if_isomorphic() -> None:
    classes: dict[tuple[int, ...], list[nx.DiGraph]] = {}
    cells = np.array(list(small_cells()))
    assert len(cells) == 2 + 8 * 3 + 64 * 9
    for raw, choices in zip(cells, SPACE.canonicalize(cells), strict=True):
        graph = graph_of(raw)
        has_path = graph.has_node(0) and nx.has_path(graph, 0, 6) if len(graph) else False
        assert SPACE.are_valid(choices[None])[0] == has_path
        if has_path:
            classes.setdefault(tuple(choices.tolist()), []).append(graph)
    assert len(classes) == 1 + 6 + 84
    for graphs in classes.values():
        assert all(are_isomorphic(graphs[0], graph) for graph in graphs)
    for first, second in itertools.combinations(classes.values(), 2):
        assert not are_isomorphic(first[0], second[0])


def test_large_cells_are_equal_exactly_if_isomorphic() -> None:
    """Among cells of one operation, written in up to two ways each."""
    raw = np.concatenate([ways(row)[-2:] for row in ONE_OP.all_choices()[::20].tolist()])
    graphs = [graph_of(row) for row in raw]
    canonical = SPACE.canonicalize(raw).tolist()
    num_equal = num_others = 0
    for i, j in itertools.combinations(range(len(raw)), 2):
        if invariants(graphs[i]) == invariants(graphs[j]):
            is_equal = canonical[i] == canonical[j]
            assert is_equal == are_isomorphic(graphs[i], graphs[j])
            num_equal += is_equal
            num_others += not is_equal
    assert num_equal >= 50 and num_others >= 50


def test_the_canonical_way_is_the_first_of_all() -> None:
    for choices in SPACE.sample_choices(30, np.random.default_rng(0)):
        assert ways(choices)[0] == choices.tolist()


@pytest.mark.parametrize(("adjacency", "operations", "name"), [FIRST, INCEPTION])
def test_published_hashes(adjacency: str, operations: tuple[str, ...], name: str) -> None:
    arch = SPACE.parse(write(adjacency, operations))
    assert SPACE.module_hash(arch) == name
    for way in ways(arch.choices):
        assert SPACE.architecture(way) == arch


def test_hashes_tell_cells_apart() -> None:
    archs = list(ONE_OP.enumerate())[::4]
    assert len({SPACE.module_hash(arch) for arch in archs}) == len(archs)


def test_notation_is_that_of_the_records() -> None:
    arch = SPACE.parse(f"{INPUT},{MAXPOOL},{OUTPUT}|011001000")
    assert SPACE.format(arch) == f"{INPUT},{MAXPOOL},{OUTPUT}|011001000"
    adjacency, operations = SPACE.cell(arch)
    assert adjacency.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert operations == [INPUT, MAXPOOL, OUTPUT]
    #  0 -> 5 (maxpool) -> 6 and 0 -> 6: edges by target, vertices without effect first
    expected = dict.fromkeys(EDGES, 0) | {(0, 5): 1, (5, 6): 1, (0, 6): 1}
    assert arch.choices == (*expected.values(), 0, 0, 0, 0, OPS.index(MAXPOOL))


def test_notation_round_trips_for_every_size(all_choices: NDArray[np.int64]) -> None:
    sizes = set()
    for arch in SPACE.architectures(all_choices[np.geomspace(1, 423_624, 100).astype(int) - 1]):
        adjacency, operations = SPACE.cell(arch)
        assert len(operations) == len(adjacency) == num_vertices(choices_of(arch))[0]
        assert SPACE.parse(SPACE.format(arch)) == arch
        sizes.add(len(operations))
    assert sizes == {2, 3, 4, 5, 6, 7}


def test_vertices_without_effect_are_dropped() -> None:
    arch = read("011 001 000", MAXPOOL)
    assert read("0111 0000 0001 0000", CONV_1X1, MAXPOOL) == arch  # vertex 1 is not read
    assert read("0101 0001 0001 0000", MAXPOOL, CONV_3X3) == arch  # vertex 2 reads nothing
    # vertex 1 is read by vertex 3 alone, which is not read
    assert read("01101 00010 00011 00000 00000", CONV_1X1, MAXPOOL, CONV_3X3) == arch


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("input,output", "adjacency is not 2 x 2 digits 0 and 1, got ''"),
        ("input,output|0120", "adjacency is not 2 x 2 digits 0 and 1, got '0120'"),
        ("input,output|0110", "not upper triangular"),
        ("input,output|1100", "not upper triangular"),
        ("input|0", "it has 1 operations, not 2 to 7"),
        (",".join(["input", *[MAXPOOL] * 6, "output"]) + "|" + "0" * 64, "it has 8 operations"),
        ("output,input|0100", "do not start with 'input' and end with 'output'"),
        ("input,conv5x5,output|010001000", "unknown operation 'conv5x5', choose from conv3x3-bn"),
    ],
)
def test_what_is_no_notation_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{why}.* Expected, for example, 'input,"):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("input,output|0000", "needs a path from its input to its output, and there is none"),
        (f"input,{MAXPOOL},output|010000000", "needs a path from its input"),
        (
            write("011110 001110 000110 000001 000001 000000", CHAIN[:5] + (OUTPUT,)),
            "at most 9 edges on paths from its input to its output, got 11",
        ),
    ],
)
def test_choices_that_make_no_cell_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SPACE.parse(text)
    operations, adjacency = text.split("|")
    choices = SPACE.canonicalize(np.array([read_cell(adjacency, operations.split(","))]))
    assert SPACE.are_valid(choices).tolist() == [False]
    with pytest.raises(ValueError, match=why):
        SPACE.validate(SPACE.architectures(choices)[0])


def test_edges_without_effect_do_not_count() -> None:
    """Eleven edges, of which two lead nowhere."""
    arch = read("0111110 0010010 0001000 0000100 0000001 0000000 0000000", *CHAIN[1:-1])
    assert sum(arch.choices[: len(EDGES)]) == 8


def test_samples_are_uniform() -> None:
    drawn = ONE_OP.sample_choices(50_000, np.random.default_rng(0))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 2494
    expected = 50_000 / 2494
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - 2493) < 4.5 * np.sqrt(2 * 2493)


def test_redrawing_everything_samples() -> None:
    parents = choices_of(read("01 00"), 4000)
    rng = np.random.default_rng(0)
    for redrawn in (SPACE.redraw_choices(parents, 1.0, rng), SPACE.sample_choices(4000, rng)):
        share = 359_082 / 423_624
        assert abs((num_vertices(redrawn) == 7).mean() - share) < 4.5 * np.sqrt(share / 4000)


def test_redrawing_takes_choices_from_uniform_cells() -> None:
    parents = choices_of(SPACE.parse(write(*FIRST[:2])), 3000)
    redrawn = SPACE.redraw_choices(parents, 0.1, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    others = SPACE.sample_choices(6000, rng)
    mixed = np.where(rng.random(others.shape) < 0.1, others, parents[:1])
    mixed = SPACE.canonicalize(mixed)
    mixed = mixed[SPACE.are_valid(mixed)][:3000]
    assert len(mixed) == 3000
    for count in (lambda rows: (rows == parents).all(axis=1), lambda rows: rows[:, : len(EDGES)]):
        found, expected = count(redrawn).mean(axis=0), count(mixed).mean(axis=0)
        assert np.abs(found - expected).max() < 4.5 * np.sqrt(2 * 0.25 / 3000)


def test_offspring_are_valid_cells() -> None:
    rng = np.random.default_rng(0)
    parents, others = SPACE.sample_choices(300, rng), SPACE.sample_choices(300, rng)
    for offspring in (
        SPACE.mutate_choices(parents, rng),
        SPACE.redraw_choices(parents, 0.3, rng),
        SPACE.crossover_choices(parents, others, rng),
        ONE_OP.mutate_choices(ONE_OP.sample_choices(300, rng), rng),
    ):
        assert SPACE.are_valid(offspring).all()
        for arch in SPACE.architectures(offspring)[:50]:
            SPACE.validate(arch)


def neighbours(arch: Architecture) -> set[tuple[int, ...]]:
    """Cells one choice away from any way to write a cell, in which idle vertices read one other."""
    found = []
    for way in ways(arch.choices):
        idle = np.flatnonzero(~live_vertices(np.array([way]))[0])
        for sources in itertools.product(*(range(vertex) for vertex in idle)):
            for ops in itertools.product(range(3), repeat=len(idle)):
                row = np.array(way)
                for vertex, source, op in zip(idle, sources, ops, strict=True):
                    row[EDGES.index((source, vertex))] = 1
                    row[len(EDGES) + vertex - 1] = op
                for i, decision in enumerate(SPACE.decisions):
                    for option in range(len(decision.options)):
                        found.append([*row[:i], option, *row[i + 1 :]])
    canonical = SPACE.canonicalize(np.unique(np.array(found), axis=0))
    return {tuple(row) for row in canonical[SPACE.are_valid(canonical)].tolist()} - {arch.choices}


def test_mutants_are_all_cells_one_choice_away() -> None:
    arch = read("011000 000110 000010 000001 000001 000000", CONV_1X1, MAXPOOL, MAXPOOL, CONV_3X3)
    mutants = SPACE.mutate_choices(choices_of(arch, 12_000), np.random.default_rng(0))
    counts = Counter(map(tuple, mutants.tolist()))
    assert set(counts) == neighbours(arch)
    sizes = num_vertices(np.array(list(counts)))
    assert set(sizes.tolist()) >= {5, 6, 7}  # fewer, as many, and more


def test_cells_of_any_size_come_from_the_smallest_by_mutation() -> None:
    choices = choices_of(read("01 00"), 200)
    rng = np.random.default_rng(0)
    for _ in range(20):
        choices = SPACE.mutate_choices(choices, rng)
    assert {2, 3, 4, 5, 6, 7} <= set(num_vertices(choices).tolist())


def test_operations_are_inactive_where_vertices_have_no_effect() -> None:
    arch = read("011 001 000", MAXPOOL)
    active = SPACE.is_active(choices_of(arch))[0]
    assert active.tolist() == [True] * len(EDGES) + [False] * 4 + [True]
    encoding = SPACE.encode([arch])[0]
    assert encoding[: 2 * len(EDGES)].reshape(-1, 2).sum(axis=1).tolist() == [1] * len(EDGES)
    assert encoding[2 * len(EDGES) :].reshape(-1, 3).tolist() == [[0] * 3] * 4 + [[0, 0, 1]]


def test_sequence_encoding_by_hand() -> None:
    archs = [read("0110 0011 0001 0000", CONV_3X3, CONV_1X1), read("01 00")]
    assert SPACE.encode(archs, "sequence").tolist() == [
        [
            *(1, 0, 1, 0, 0),  # vertex 1: reads the input; 1x1, 3x3, pooling, output
            *(1, 1, 1, 0, 0, 0),
            *(0, 1, 1, 0, 0, 0, 1),
            *[0] * (4 + 4 + 5 + 4 + 6 + 4),
        ],
        [1, 0, 0, 0, 1, *[0] * 40],
    ]


def test_graph_by_hand() -> None:
    arch = read("0110 0011 0001 0000", CONV_3X3, MAXPOOL)
    (_, adjacency), (_, ids) = SPACE.to_graphs(SPACE.choices_of([read("01 00"), arch]))
    assert ids.tolist() == [3, 0, 2, 4, -1, -1, -1]
    assert np.argwhere(adjacency).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert adjacency.shape == (7, 7) and adjacency.dtype == np.float32


def test_only_operations_can_be_restricted() -> None:
    for name in ("edge", "op.1", "edge.2<-1"):
        with pytest.raises(ValueError, match=f"is restricted by 'op', got '{name}'"):
            SPACE.restrict({name: (MAXPOOL,)})
    with pytest.raises(ValueError, match="restricted to conv1x1-bn-relu here, got maxpool3x3"):
        ONE_OP.validate(read("010 001 000", MAXPOOL))
