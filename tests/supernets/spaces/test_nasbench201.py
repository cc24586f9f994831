"""NAS-Bench-201's notation, its isomorphism classes, and which edges of a cell matter."""

from __future__ import annotations

import numpy as np
import pytest

from supernets.spaces import Architecture, NASBench201Space
from supernets.spaces.nasbench201 import (
    EDGES,
    OPS,
    UniqueRule,
    live_edges,
    only_live,
    useful_edges,
)

SPACE = NASBench201Space()
NONE, SKIP, CONV_1X1, CONV_3X3 = range(4)
# Every way from node 0 to node 3, as edge indices.
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))


@pytest.fixture(scope="module")
def archs() -> list[Architecture]:
    return list(SPACE.enumerate())


def test_size_and_order_of_operations_and_edges() -> None:
    assert SPACE.size == 15_625
    assert OPS == ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    names = [decision.name for decision in SPACE.decisions]
    assert names == ["1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2"]


def test_all_strings_round_trip_and_are_distinct(archs: list[Architecture]) -> None:
    texts = [SPACE.format(arch) for arch in archs]
    assert [SPACE.parse(text) for text in texts] == archs
    assert len(set(texts)) == 15_625


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        (  # the most accurate cell on CIFAR-10
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
            (3, 3, 3, 1, 3, 2),
        ),
        (  # on CIFAR-100
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
            (3, 3, 3, 1, 3, 3),
        ),
        (  # on ImageNet16-120
            "|nor_conv_1x1~0|+|nor_conv_1x1~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
            (2, 2, 3, 1, 3, 3),
        ),
        (  # the ResNet-like cell
            "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|",
            (3, 0, 3, 1, 0, 1),
        ),
        (  # the first of the benchmark's list
            "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
            "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
            (4, 2, 1, 2, 1, 1),
        ),
    ],
)
def test_published_strings(text: str, choices: tuple[int, ...]) -> None:
    assert SPACE.parse(text).choices == choices
    assert SPACE.format(SPACE.architecture(choices)) == text


@pytest.mark.parametrize(
    "around",
    [
        "'{}'",
        "Structure(4 nodes with {})",
        "arch_str: {}\n",
        '{{"arch": "{}"}}',
        "epoch 3, genotype={}; top1 90.1",
    ],
)
def test_strings_are_read_out_of_what_people_copy_with_them(around: str) -> None:
    text = SPACE.format(SPACE.architecture((3, 0, 3, 1, 0, 1)))
    assert SPACE.parse(around.format(text)) == SPACE.parse(text)
    with pytest.raises(ValueError, match="is not a NAS-Bench-201 architecture"):
        SPACE.parse(f"{text} and {text}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("|none~0|+|none~0|none~1|", "2 '\\+'-separated groups, not 3"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+|none~0|", "4 '\\+'-separated"),
        ("none~0+|none~0|none~1|+|none~0|none~1|none~2|", "group 1 does not start and end"),
        ("|none~0|+|none~0|none~1+|none~0|none~1|none~2|", "group 2 does not start and end"),
        ("|none~0|+|none~0|+|none~0|none~1|none~2|", "group 2 has 1 operations, not 2"),
        ("|none~0|+|none~0|none~1|+|none~0|none~2|none~1|", "'none~2' in group 3.*'op~1'"),
        ("|none~0|+|none~0|none|+|none~0|none~1|none~2|", "'none' in group 2.*'op~1'"),
        ("|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|", "unknown operation 'conv'"),
        ("|None~0|+|none~0|none~1|+|none~0|none~1|none~2|", "'None~0' in group 1"),
        ("|none ~0|+|none~0|none~1|+|none~0|none~1|none~2|", "'none ~0' in group 1"),
    ],
)
def test_parse_errors_say_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("rule", "num_classes"),
    [("benchmark", 6_466), ("keep-zeros", 12_751), ("drop-zeros", 5_390), ("flatten", 4_930)],
)
def test_number_of_isomorphism_classes(
    archs: list[Architecture], rule: UniqueRule, num_classes: int
) -> None:
    assert len({SPACE.unique_string(arch, rule) for arch in archs}) == num_classes


def test_unique_strings_by_hand() -> None:
    through_node_1 = SPACE.architecture((CONV_3X3, NONE, NONE, NONE, SKIP, NONE))
    through_node_2 = SPACE.architecture((NONE, CONV_3X3, NONE, NONE, NONE, SKIP))
    assert SPACE.unique_string(through_node_1) == "#+#+(0)@nor_conv_3x3"
    assert SPACE.unique_string(through_node_2) == "#+#+#+(0)@nor_conv_3x3"
    for arch in (through_node_1, through_node_2):
        assert SPACE.unique_string(arch, "drop-zeros") == "(0)@nor_conv_3x3"


def test_flattening_merges_sums_that_pass_through_skips() -> None:
    # node 2 is conv1x1(0) + 0, and node 3 is node 2 + conv3x3(0)
    nested = SPACE.architecture((SKIP, CONV_1X1, SKIP, CONV_3X3, NONE, SKIP))
    assert SPACE.unique_string(nested, "drop-zeros") == "(0)@nor_conv_1x1+0+(0)@nor_conv_3x3"
    assert SPACE.unique_string(nested, "flatten") == "(0)@nor_conv_1x1+(0)@nor_conv_3x3+0"
    # the same sum, with the identity on an edge of its own; node 1 is conv1x1(0)
    direct = SPACE.architecture((CONV_1X1, SKIP, NONE, CONV_3X3, SKIP, SKIP))
    assert SPACE.unique_string(direct, "drop-zeros") == "(0)@nor_conv_1x1+(0)@nor_conv_3x3+0"
    assert SPACE.unique_string(direct, "flatten") == "(0)@nor_conv_1x1+(0)@nor_conv_3x3+0"


def test_341_cells_are_disconnected(archs: list[Architecture]) -> None:
    assert sum(not SPACE.is_connected(arch) for arch in archs) == 341


def test_live_edges_are_those_on_an_unbroken_path(archs: list[Architecture]) -> None:
    for arch in archs:
        unbroken = [path for path in PATHS if all(arch.choices[i] != NONE for i in path)]
        assert set(live_edges(arch.choices)) == {i for path in unbroken for i in path}


def test_only_live_edges_are_kept_of_every_cell(archs: list[Architecture]) -> None:
    choices = np.array([arch.choices for arch in archs])
    kept = only_live(choices)
    assert len(kept) == 15_625
    for row, arch in zip(kept.tolist(), archs, strict=True):
        live = live_edges(arch.choices)
        assert row == [c if i in live else 0 for i, c in enumerate(arch.choices)]


def test_useful_edges_are_those_the_output_reads(archs: list[Architecture]) -> None:
    # an edge is read if it and all that follow it on some path are there, fed or not
    endings = [path[start:] for path in PATHS for start in range(len(path))]
    for arch in archs:
        read = [ending for ending in endings if all(arch.choices[i] != NONE for i in ending)]
        assert set(useful_edges(arch.choices)) == {i for ending in read for i in ending}


def test_graph_has_operations_on_vertices() -> None:
    (_, adjacency), (_, ops) = SPACE.to_graphs(np.array([[0] * 6, [3, 0, 2, 1, 4, 3]]))
    assert ops.tolist() == [5, 3, 0, 2, 1, 4, 3, 6]
    assert adjacency.shape == (8, 8)
    arrows = {(int(i), int(j)) for i, j in np.argwhere(adjacency)}
    # vertices 1 to 6 are the edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2
    assert arrows == {
        *((0, 1), (0, 2), (0, 4)),
        *((1, 3), (1, 5)),
        *((2, 6), (3, 6)),
        *((4, 7), (5, 7), (6, 7)),
    }
    assert set(np.unique(adjacency)) == {0.0, 1.0}
