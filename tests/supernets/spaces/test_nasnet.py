"""NASNet and DARTS cells: their notation, when two are the same, how many there are, features."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.spaces import Architecture, Edge, NASNetSpace
from supernets.spaces.factory import create_space
from supernets.spaces.nasnet import OPS
from tests.supernets.genotypes import SHORT, cell

Pair = tuple[str, int]  # an operation and the state it reads
Cell = list[Pair]  # two pairs for each of the nodes 2 to 5
Nodes = tuple[tuple[Pair, ...], ...]  # the sorted pairs of each

NASNET, DARTS = NASNetSpace(distinct_inputs=False), NASNetSpace(distinct_inputs=True)
SPACES = {"nasnet": NASNET, "darts": DARTS}
ORDERS = list(itertools.permutations(range(4)))


PUBLISHED = {
    "DARTS_V1": (
        cell("sep3 1 sep3 0  skip 0 sep3 1  skip 0 sep3 1  sep3 0 skip 2"),
        cell("max 0 max 1  skip 2 max 0  max 0 skip 2  skip 2 avg 0"),
    ),
    "DARTS_V2": (
        cell("sep3 0 sep3 1  sep3 0 sep3 1  sep3 1 skip 0  skip 0 dil3 2"),
        cell("max 0 max 1  skip 2 max 1  max 0 skip 2  skip 2 max 1"),
    ),
    "WeakNAS": (
        cell("sep5 1 dil3 0  sep3 0 sep3 2  skip 0 dil5 1  sep3 1 sep5 3"),
        cell("sep5 0 sep5 1  sep3 1 sep5 2  sep3 3 sep5 2  sep5 4 sep3 4"),
    ),
}
NORMAL, REDUCE = PUBLISHED["DARTS_V2"]


def genotype(normal: object, reduce: object, concat: object = range(2, 6)) -> str:
    """The text as Python prints the named tuple."""
    return (
        f"Genotype(normal={normal!r}, normal_concat={concat!r}, "
        f"reduce={reduce!r}, reduce_concat={concat!r})"
    )


def read(text: str) -> tuple[Cell, Cell]:
    """The cells of a text that ``format`` wrote."""
    pairs = [(op, int(state)) for op, state in re.findall(r"\('(\w+)', (\d)\)", text)]
    assert len(pairs) == 16
    return pairs[:8], pairs[8:]


def nodes_of(pairs: Cell) -> Nodes:
    return tuple(tuple(sorted(pairs[i : i + 2])) for i in range(0, 8, 2))


def renumbered(nodes: Nodes, order: tuple[int, ...]) -> Nodes | None:
    """The cell whose node ``order[i]`` was node ``i``; None if a node reads a later one then."""
    moved: list[tuple[Pair, ...]] = [()] * 4
    for i, pairs in enumerate(nodes):
        new = [(op, state if state < 2 else order[state - 2] + 2) for op, state in pairs]
        if any(state >= order[i] + 2 for _, state in new):
            return None
        moved[order[i]] = tuple(sorted(new))
    return tuple(moved)


def ways_to_write(nodes: Nodes) -> set[Nodes]:
    return {found for order in ORDERS if (found := renumbered(nodes, order)) is not None}


def same_cell(first: Cell, second: Cell) -> bool:
    return nodes_of(second) in ways_to_write(nodes_of(first))


def raw_choices(space: NASNetSpace, num_archs: int, seed: int = 0) -> NDArray[np.int64]:
    sizes = [len(decision.options) for decision in space.decisions]
    return np.random.default_rng(seed).integers(sizes, size=(num_archs, 24))


def raw_cells(space: NASNetSpace, choices: NDArray[np.int64]) -> list[Cell]:
    """The normal and the reduction cell of choices (24,), by the names of the options."""
    found = []
    for position in range(0, 24, 3):
        pair, *ops = (
            decision.options[choice]
            for decision, choice in zip(
                space.decisions[position : position + 3],
                choices[position : position + 3].tolist(),
                strict=True,
            )
        )
        found += list(zip(ops, map(int, pair.split(",")), strict=True))
    return [found[:8], found[8:]]


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> NASNetSpace:
    return SPACES[request.param]


def test_decisions_are_named_by_cell_and_node() -> None:
    assert OPS == tuple(SHORT.values())
    for space, inputs in ((NASNET, ["0,0", "0,1", "1,1"]), (DARTS, ["0,1"])):
        names = [decision.name for decision in space.decisions]
        assert len(names) == 24
        assert names[:4] == [
            *("inputs.normal.2", "op.normal.2.0", "op.normal.2.1"),
            "inputs.normal.3",
        ]
        assert names[12] == "inputs.reduce.2" and names[-1] == "op.reduce.5.1"
        assert list(space.decisions[0].options) == inputs
        assert [len(decision.options) for decision in space.decisions[1:3]] == [7, 7]
        assert {names[i] for i in space.fair_decisions or ()} == {
            name for name in names if name.startswith("op.")
        }
    assert [len(DARTS.decisions[i].options) for i in (0, 3, 6, 9)] == [1, 3, 6, 10]
    assert [len(NASNET.decisions[i].options) for i in (0, 3, 6, 9)] == [3, 6, 10, 15]
    assert DARTS.decisions[3].options == ("0,1", "0,2", "1,2")
    assert (NASNET.name, DARTS.name) == ("nasnet", "darts")


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("concat", [range(2, 6), [2, 3, 4, 5], (2, 3, 4, 5)], ids=repr)
def test_published_genotypes_are_read_and_written(
    space: NASNetSpace, name: str, concat: object
) -> None:
    text = genotype(*PUBLISHED[name], concat)
    if name == "WeakNAS" and space is DARTS:
        with pytest.raises(ValueError, match="node 5 of reduce reads state 4 twice.*'nasnet' has"):
            space.parse(text)
        return
    arch = space.parse(text)
    written = space.format(arch)
    for found, published in zip(read(written), PUBLISHED[name], strict=True):
        assert same_cell(found, published)
    assert written == genotype(*read(written))  # as Python prints it
    assert space.parse(written) == arch


def test_what_the_choices_mean(space: NASNetSpace) -> None:
    for raw in raw_choices(space, 100):
        cells = raw_cells(space, raw)
        arch = space.architecture(raw)
        assert space.parse(genotype(*cells)) == arch
        for pairs, found, edges in zip(
            cells, read(space.format(arch)), space.cells(arch).values(), strict=True
        ):
            assert same_cell(pairs, found)
            expected = [Edge(op, state, 2 + i // 2) for i, (op, state) in enumerate(found)]
            assert edges == expected
        as_they_are = space.cells(Architecture(space.name, tuple(raw.tolist())))
        assert [[(op, state) for op, state, _ in e] for e in as_they_are.values()] == cells
        assert list(as_they_are) == ["normal", "reduce"]


def test_all_ways_to_write_a_cell_are_one_architecture(space: NASNetSpace) -> None:
    rng = np.random.default_rng(0)
    most = 0
    for raw in raw_choices(space, 60):
        arch = space.architecture(raw)
        normal, reduce = (ways_to_write(nodes_of(pairs)) for pairs in raw_cells(space, raw))
        most = max(most, len(normal))
        for _, (first, second) in zip(
            range(8), itertools.product(sorted(normal), sorted(reduce)), strict=False
        ):
            texts = []
            for nodes in (first, second):  # in either order
                pairs = [list(node)[:: rng.choice([-1, 1])] for node in nodes]
                texts.append([pair for node in pairs for pair in node])
            assert space.parse(genotype(*texts)) == arch
    assert most >= 6


def test_architectures_are_equal_exactly_if_their_cells_are(space: NASNetSpace) -> None:
    """Of one operation in the normal cell, so that many of them are."""
    raw = raw_choices(space, 120)
    raw[:, 12:] = raw[0, 12:]
    raw[:, [1, 2, 4, 5, 7, 8, 10, 11]] = 2
    archs = [space.architecture(choices) for choices in raw]
    cells = [raw_cells(space, choices)[0] for choices in raw]
    ways = [ways_to_write(nodes_of(pairs)) for pairs in cells]
    num_equal = 0
    for i, j in itertools.combinations(range(len(raw)), 2):
        is_same = nodes_of(cells[j]) in ways[i]
        assert (archs[i] == archs[j]) == is_same
        num_equal += is_same and nodes_of(cells[i]) != nodes_of(cells[j])
    assert num_equal >= 5


def test_number_of_genotypes_is_that_of_the_literature() -> None:
    assert 49**4 * 1 * 3 * 6 * 10 == 1_037_664_180
    assert DARTS.num_genotypes == 1_037_664_180**2
    # of either input 7 * 8 / 2 pairs of operations, of both 49
    assert NASNET.num_genotypes == ((49 + 56) * (147 + 84) * (294 + 112) * (490 + 140)) ** 2
    part = DARTS.restrict({"op.normal": ("skip_connect",), "op.reduce": OPS[:2]})
    assert part.num_genotypes == 180 * 180 * 4**4


def count_cells(space: NASNetSpace, num_ops: int) -> int:
    """Number of cells with so many operations: sets of what swapping neighbours makes equal.

    All valid orders of the nodes are reached by swapping nodes i and i + 1 that are not joined.
    """
    pair_codes = []  # of each node, all (input, operation) pairs, one code for both
    num_codes = 6 * num_ops
    for node in range(4):
        codes = itertools.combinations_with_replacement(range((node + 2) * num_ops), 2)
        pair_codes.append(
            [a * num_codes + b for a, b in codes if space is NASNET or a // num_ops != b // num_ops]
        )
    cells = np.stack(np.meshgrid(*map(np.array, pair_codes), indexing="ij"), axis=-1).reshape(-1, 4)
    weights = (num_codes**2) ** np.arange(3, -1, -1)
    keys = cells @ weights
    assert (np.diff(keys) > 0).all()  # so that cells are found by bisection
    swapped = []
    for i in range(3):
        first, second = cells[:, i], cells[:, i + 1]
        state = i + 2
        reads_first = [code // num_ops == state for code in np.divmod(second, num_codes)]
        moved = cells.copy()
        moved[:, i], moved[:, i + 1] = second, first
        for later in range(i + 2, 4):  # what reads one of the two reads it under its new number
            codes = []
            for code in np.divmod(cells[:, later], num_codes):
                source, op = np.divmod(code, num_ops)
                new = np.select([source == state, source == state + 1], [state + 1, state], source)
                codes.append(new * num_ops + op)
            moved[:, later] = np.minimum(*codes) * num_codes + np.maximum(*codes)
        is_joined = reads_first[0] | reads_first[1]
        rows = np.searchsorted(keys, np.where(is_joined, keys, moved @ weights))
        swapped.append(rows)
    labels = np.arange(len(cells))
    while True:
        lowest = np.minimum.reduce([labels, *(labels[rows] for rows in swapped)])
        if np.array_equal(lowest, labels):
            return len(np.unique(labels))
        labels = lowest


def test_size_of_spaces_of_few_operations_by_brute_force(space: NASNetSpace) -> None:
    one, two = count_cells(space, 1), count_cells(space, 2)
    assert space.restrict({"op": ("max_pool_3x3",)}).size == one**2
    assert space.restrict({"op": ("sep_conv_3x3", "dil_conv_5x5")}).size == two**2
    part = space.restrict({"op.normal": ("avg_pool_3x3",), "op.reduce": OPS[1:3]})
    assert part.size == one * two


def test_size_of_darts_of_one_operation() -> None:
    assert DARTS.restrict({"op": ("skip_connect",)}).size == 79**2 == 6241


def test_size_agrees_with_how_often_random_cells_are_written(space: NASNetSpace) -> None:
    """A cell that is written in k ways is met k times as often."""
    shares = []
    for raw in raw_choices(space, 500):
        for pairs in raw_cells(space, raw):
            nodes = nodes_of(pairs)
            # two different operations on one input are two choices of equal meaning
            orders = math.prod(2 for a, b in nodes if a[1] == b[1] and a != b)
            shares.append(1 / (orders * len(ways_to_write(nodes))))
    raw_size = math.prod(len(decision.options) for decision in space.decisions[:12])
    share = math.sqrt(space.size) / raw_size
    sigma = np.std(shares) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - share) < 4.5 * sigma
    assert sigma < 0.02


def test_single_nodes_cannot_be_restricted(space: NASNetSpace) -> None:
    for name in ("op.normal.2", "op.normal.2.0", "inputs", "inputs.normal.3", "normal"):
        with pytest.raises(ValueError, match=f"by 'op', 'op.normal' or 'op.reduce', got '{name}'"):
            space.restrict({name: ("skip_connect",)})


@pytest.mark.parametrize("text", ["__import__('os').system('touch {}')", "open('{}', 'w')"])
def test_nothing_is_evaluated(space: NASNetSpace, text: str, tmp_path: Path) -> None:
    call = text.format(tmp_path / "called")
    good = genotype(NORMAL, REDUCE)
    for wrong in (
        call,
        f"Genotype({call})",
        good.replace(repr(NORMAL), call),
        good.replace(repr(NORMAL[0]), call),
        good.replace("0)", f"{call})", 1),
        good.replace("range(2, 6)", f"range(2, {call})", 1),
        good.replace("range(2, 6)", call, 1),
        good.replace("Genotype", f"({call} or Genotype)"),
    ):
        assert wrong != good
        with pytest.raises(ValueError, match="is not an architecture of space"):
            space.parse(wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (genotype(NORMAL, REDUCE) + " " * 10_000 + "#", "it has 10,[0-9]{3} characters"),
        ("(" * 4_000, "it is no Genotype"),
        ("[" * 4_000 + "]" * 4_000, "it is no Genotype"),
        ("-" * 9_000 + "1", "it is no Genotype"),
        ("a" + ".a" * 4_000, "it is no Genotype"),
        ("a" + "()" * 4_000, "it is no Genotype"),
        ("9" * 9_000, "it is no Genotype"),
        ("1" + "+1" * 4_000, "it is no Genotype"),
        (genotype(NORMAL, REDUCE).replace(repr(NORMAL), "-" * 9_000 + "1"), "it is no Genotype"),
        (genotype(NORMAL, REDUCE).replace("range(2, 6)", "range(2, 10**10**10)"), "normal_concat"),
        (genotype(NORMAL, REDUCE).replace(repr(NORMAL), f"{NORMAL} * 10**9"), "normal is no list"),
        ("Genotype(\0)", "it is no Genotype"),
        ("Genotype(\ud800)", "it is no Genotype"),
    ],
    ids=[
        *("long", "parentheses", "brackets", "signs", "attributes", "calls", "digits", "sum"),
        *("signs-within", "power", "repetition", "null", "surrogate"),
    ],
)
def test_hostile_texts_are_refused(space: NASNetSpace, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"is not an architecture of space.*(?:{why})") as caught:
        space.parse(text)
    assert len(str(caught.value)) < 2_000


FIELDS = {
    "normal": repr(NORMAL),
    "normal_concat": "range(2, 6)",
    "reduce": repr(REDUCE),
    "reduce_concat": "range(2, 6)",
}


def with_fields(call: str = "Genotype", **fields: str | None) -> str:
    """The genotype of DARTS_V2 with fields replaced, added or, where None, left out."""
    parts = [f"{name}={text}" for name, text in (FIELDS | fields).items() if text is not None]
    return f"{call}({', '.join(parts)})"


def with_pair(position: int, pair: str) -> str:
    """The normal cell with another pair."""
    pairs = [*map(repr, NORMAL)]
    return f"[{', '.join([*pairs[:position], pair, *pairs[position + 1 :]])}]"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_fields(normal=repr(NORMAL[:-1])), "normal has 7 .* pairs, not 8"),
        (with_fields(reduce=repr(REDUCE + REDUCE[:2])), "reduce has 10 .* pairs, not 8"),
        (with_fields(normal="[]"), "normal has 0 .* pairs, not 8"),
        (with_fields(normal=with_pair(0, "('conv_7x7', 0)")), "unknown operation 'conv_7x7'"),
        (with_fields(normal=with_pair(0, "('none', 0)")), "unknown operation 'none', choose from"),
        (with_fields(normal=with_pair(0, "('sep_conv_3x3', 2)")), "node 2 of normal reads 2, not "),
        (with_fields(normal=with_pair(3, "('sep_conv_3x3', 4)")), "node 3 .* a state from 0 to 2"),
        (with_fields(normal=with_pair(7, "('sep_conv_3x3', 6)")), "node 5 .* a state from 0 to 4"),
        (with_fields(normal=with_pair(7, "('sep_conv_3x3', -1)")), "node 5 of normal reads -1"),
        (with_fields(normal=with_pair(7, "('sep_conv_3x3', 1.5)")), r"1\.5\) in normal is not of"),
        (with_fields(normal=with_pair(7, "('sep_conv_3x3', True)")), "in normal is not of the for"),
        (with_fields(normal=with_pair(7, "('sep_conv_3x3',)")), "in normal is not of the form"),
        (with_fields(normal=with_pair(7, "('skip_connect', 0, 0)")), "in normal is not of the for"),
        (with_fields(normal=with_pair(7, "(2, 'sep_conv_3x3')")), "in normal is not of the form"),
        (with_fields(normal=with_pair(7, "'skip_connect'")), "'skip_connect' in normal is not of"),
        (with_fields(normal="3"), "normal is no list"),
        (with_fields(reduce="cell"), "reduce is no list"),
        (with_fields(normal="{[]: 1}"), "normal is no list"),
        (with_fields(normal_concat=None), "it needs exactly normal=…, normal_concat=…, reduce=…"),
        (with_fields(reduce_concat="range(1, 6)"), r"reduce_concat is not range\(2, 6\), all"),
        (with_fields(normal_concat="range(6)"), "normal_concat is not"),
        (with_fields(normal_concat="range(2, 6, 2)"), "normal_concat is not"),
        (with_fields(normal_concat="range(2, stop=6)"), "normal_concat is not"),
        (with_fields(normal_concat="[2, 3, 4]"), "normal_concat is not"),
        (with_fields(normal_concat="[2, 3, 4, 5, 5]"), "normal_concat is not"),
        (with_fields(normal_concat="['2', 3, 4, 5]"), "normal_concat is not"),
        (with_fields(normal_concat="5"), "normal_concat is not"),
        (with_fields(extra="1"), "it needs exactly"),
        (with_fields(reduce=None, **{"*": "1"}).replace("*=", "**"), "it needs exactly"),
        (with_fields(reduce=None).replace(")]", ")], normal=[]"), "it needs exactly"),
        (with_fields().replace("normal=", "", 1) + ", normal=[])", "it is no Genotype.* alone"),
        (with_fields(normal_concat="range(2, 6), 1"), "Python can read: positional argument foll"),
        (f"Genotype([], range(2, 6), normal={NORMAL})", "it needs exactly"),
        (with_fields() + " " + with_fields(), "it holds 2 of Genotype.*; give one of them"),
        (with_fields()[:-20], "a parenthesis is not closed, so its end is missing"),
        (with_fields(normal_concat="[2, 3, 4]"), r"all nodes, but \[2, 3, 4\]"),
        (with_fields(normal=with_pair(7, "(4, 0)")), r"\(4, 0\) in normal is not of the form"),
        (with_fields("MyGenotype"), "it is no Genotype"),
        (with_fields("NASNet"), "it is no Genotype"),
        ("Genotype", "it is no Genotype"),
        ("Genotype(", "it is no Genotype"),
        (with_fields() + "; pass", "it is no Genotype"),
        ("[1, 2]", "it is no Genotype"),
    ],
)
def test_parse_errors_say_what_is_wrong(space: NASNetSpace, text: str, why: str) -> None:
    message = f"is not an architecture of space '{space.name}': .*{why}.*Expected, for example"
    with pytest.raises(ValueError, match=message):
        space.parse(text)


_PAIR_OF_NUMPY = "(np.str_('sep_conv_3x3'), np.int64(0))"
_TYPOGRAPHIC = with_fields().replace(", '", ", ‘").replace("('", "(‘").replace("',", "’,")


@pytest.mark.parametrize(
    "text",
    [
        "DARTS_V2 = " + with_fields(),
        "DARTS_V2: Genotype = " + with_fields() + "  # 2.76 ± 0.09",
        f"# from genotypes.py\nDARTS_V2 = {with_fields()}\n",
        "2026-01-02 03:04:05,678 genotype = " + with_fields(),
        "01/02 03:04:05 AM | genotype = " + with_fields() + "\r\n",
        with_fields("genotypes.Genotype"),
        "genotype=" + with_fields("models.cnn.genotypes.Genotype") + ",",
        f"Genotype({', '.join(FIELDS.values())})",
        f"Genotype({FIELDS['normal']}, range(2, 6), reduce_concat=[2, 3, 4, 5], reduce={REDUCE})",
        with_fields().replace("', 0)", "', np.int64(0))"),
        with_fields(normal=with_pair(0, _PAIR_OF_NUMPY)),
        with_fields().replace("', 1)", "', numpy.int32(1))"),
        with_fields().replace("', 1)", "', tensor(1))"),
        with_fields().replace("', 1)", "', torch.tensor(1, device='cuda:0', dtype=torch.int32))"),
        with_fields().replace("', 1)", "', 1.0)"),
        f'{{"genotype": "{with_fields()}"}}',
        with_fields(normal_concat="list(range(2, 6))", reduce_concat="np.arange(2, 6)"),
        with_fields(normal_concat="[2, 3] + [4, 5]", reduce_concat="(5, 4, 3, 2)"),
        with_fields(normal_concat="range(2, 6, 1)", reduce_concat="array([2, 3, 4, 5])"),
        with_fields(reduce=f"{REDUCE[:2]} + {REDUCE[2:]}"),
        with_fields(normal=str([tuple(NORMAL[i : i + 2]) for i in range(0, 8, 2)])),
        with_fields().replace("'", '"'),
        _TYPOGRAPHIC,
        with_fields()
        .replace(", ", " ,\n\t")
        .replace("]", ",]  # the (cell\n")
        .replace("(2", "( 2"),
    ],
)
def test_genotypes_are_read_as_people_copy_them(space: NASNetSpace, text: str) -> None:
    assert text != with_fields()
    assert space.parse(text) == space.parse(with_fields())


def test_order_of_fields_and_white_space_make_no_difference(space: NASNetSpace) -> None:
    arch = space.parse(with_fields())
    fields = reversed(FIELDS.items())
    text = "Genotype(\n" + ",\n".join(f"  {name} = {value}" for name, value in fields) + ",\n)"
    assert space.parse(text) == arch
    assert space.parse(with_fields(normal=repr(tuple(map(list, NORMAL))))) == arch


def test_restricted_spaces_read_what_they_offer(space: NASNetSpace) -> None:
    part = space.restrict({"op.normal": ("skip_connect", "sep_conv_3x3", "dil_conv_3x3")})
    assert part.parse(with_fields()) == space.parse(with_fields())
    with pytest.raises(ValueError, match="is restricted to .*, got sep_conv_5x5"):
        part.parse(with_fields(normal=with_pair(0, "('sep_conv_5x5', 0)")))


def paths_of(pairs: Cell) -> set[tuple[int, ...]]:
    """The input and then the operations of every path of one to three operations to a node."""
    complete: set[tuple[int, ...]] = set()
    ends: set[tuple[tuple[int, ...], int]] = {((i,), i) for i in range(2)}  # and where they end
    for _ in range(3):
        ends = {
            ((*path, OPS.index(op)), 2 + i // 2)
            for path, end in ends
            for i, (op, source) in enumerate(pairs)
            if source == end
        }
        complete |= {path for path, _ in ends}
    return complete


def test_path_encoding_by_following_every_path(space: NASNetSpace) -> None:
    columns = [
        (cell, start, *ops)
        for cell in (0, 1)
        for length in (1, 2, 3)
        for start in (0, 1)
        for ops in itertools.product(range(7), repeat=length)
    ]
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(40)]
    encoding = space.encode(archs, "path")
    assert encoding.shape == (40, 1596) and encoding.dtype == np.float32
    for row, arch in zip(encoding, archs, strict=True):
        cells = read(space.format(arch))
        paths = {(i, *path) for i, pairs in enumerate(cells) for path in paths_of(pairs)}
        assert row.tolist() == [float(column in paths) for column in columns]


def test_graph_has_operations_on_vertices() -> None:
    # every node reads the one before it, so that there is one order
    normal = cell("sep3 0 max 1  skip 1 dil3 2  avg 2 dil5 3  sep5 3 sep3 4")
    reduce = cell("max 0 sep5 0  skip 2 sep3 2  avg 0 dil3 3  dil5 4 sep5 4")
    graphs = NASNET.to_graphs(NASNET.choices_of([NASNET.parse(genotype(normal, reduce))]))
    (adjacency,), (ids,) = graphs
    # inputs, operations of nodes 2, 3, 4 and 5, output; and again, of another kind
    assert ids[:11].tolist() == [7, 8, *(3, 0), *(2, 5), *(1, 6), *(4, 3), 9]
    assert (ids[11:] - 10).tolist() == [7, 8, *(0, 4), *(2, 3), *(1, 5), *(4, 6), 9]
    assert adjacency.shape == (22, 22)
    arrows = {(int(i), int(j)) for i, j in np.argwhere(adjacency)}
    assert arrows == {
        *((0, 2), (1, 3), (1, 4)),
        *((2, 5), (3, 5), (2, 6), (3, 6)),  # of node 2
        *((4, 7), (5, 7), (4, 8), (5, 8)),  # of node 3
        *((6, 9), (7, 9)),  # of node 4
        *((i, 10) for i in range(2, 10)),
        *((11, 13), (11, 14), (11, 17)),
        *((13, 15), (14, 15), (13, 16), (14, 16)),
        *((15, 18), (16, 18)),
        *((17, 19), (18, 19), (17, 20), (18, 20)),
        *((i, 21) for i in range(13, 21)),
    }


def test_isomorphic_cells_have_equal_features(space: NASNetSpace) -> None:
    """Whatever the numbering: what is encoded or drawn is the canonical cell."""
    for raw in raw_choices(space, 10):
        first = [sorted(ways_to_write(nodes_of(pairs)))[-1] for pairs in raw_cells(space, raw)]
        texts = [[pair for node in nodes for pair in node] for nodes in first]
        archs = [space.architecture(raw), space.parse(genotype(*texts))]
        for name in space.encodings:
            one, other = space.encode(archs, name)
            assert np.array_equal(one, other)
        as_written = Architecture(space.name, tuple(raw.tolist()))
        assert np.array_equal(space.encode([as_written], "path"), space.encode(archs[:1], "path"))
        for one, other in space.to_graphs(space.choices_of(archs)):
            assert np.array_equal(one, other)


def test_created_by_name() -> None:
    for name, space in SPACES.items():
        created = create_space(name)
        assert isinstance(created, NASNetSpace)
        assert (created.name, created.size) == (space.name, space.size)
