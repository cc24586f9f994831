"""Structure of architectures: hand-counted features, and what must not make a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from supernets.spaces import (
    Architecture,
    Decision,
    MobileNetV3Space,
    NASBench101Space,
    NASBench201Space,
    NASNetSpace,
    SearchSpace,
)
from supernets.spaces.features import Structure, structure_of_choices

CELLS = NASBench201Space()


def of(space: SearchSpace, *archs: Architecture) -> Structure:
    return space.structure(np.array([arch.choices for arch in archs]))


def cell(text: str) -> Architecture:
    """From initials of the operations of the six edges: n, s, 1, 3, a."""
    return CELLS.architecture(["ns13a".index(initial) for initial in text])


def test_of_a_cell_whatever_counts_is_counted() -> None:
    # paths: 0-3 skip; 0-1-3 3x3, none; 0-2-3 1x1, 3x3; 0-1-2-3 3x3, pool, 3x3
    found = of(CELLS, cell("31asn3"))
    assert found.labels.tolist() == [[3, 2, 4, 1, 0, 3, *(1, 1, 1, 2, 1)]]
    none, skips, ones, threes, pools = 1, 1, 1, 2, 1
    num_paths, most, least, mean, most_3x3, identities = 3, 2, 0, (0 + 2 + 2) / 3, 2, 1
    share_with_pool, size = 1 / 3, np.log1p(9 * 2 + 1)
    expected = [none, skips, ones, threes, pools, num_paths, most, least, mean, most_3x3]
    np.testing.assert_allclose(found.numbers, [[*expected, identities, share_with_pool, size]])


def test_what_never_reaches_the_output_does_not_count() -> None:
    # nothing leaves node 1, whatever comes in; or nothing comes in, whatever leaves
    dead = of(CELLS, cell("33nsn3"), cell("n3nsn3"), cell("n31s33"))
    for table in dead:
        np.testing.assert_array_equal(table, np.tile(table[0], (3, 1)))
    nothing = of(CELLS, cell("nnnnnn"), cell("333nnn"))
    np.testing.assert_array_equal(nothing.numbers, np.tile([6.0, *[0.0] * 12], (2, 1)))


def test_mirrored_cells_have_the_same_numbers() -> None:
    # nodes 1 and 2 change places, where no edge joins them
    first, second = of(CELLS, cell("13n3sa")), of(CELLS, cell("31n3as"))
    np.testing.assert_array_equal(first.numbers, second.numbers)
    assert (first.labels != second.labels).any()


def test_of_a_graph_whatever_is_counted_on_its_paths() -> None:
    space = NASBench101Space()
    # input > 3x3 > 1x1 > output, input > pool > 1x1, and input > output
    vertices = "input,conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,output"
    arch = space.parse(f"{vertices}|0110100010000100000100000")
    (found,) = of(space, arch).numbers
    counts, edges, ends = [1, 1, 1], [6], [3, 2, 1]
    most, least = [2, 2, 1, 1, 1], [0, 0, 0, 0, 0]  # all, convolutions, 3x3, 1x1, pools
    mean = [4 / 3, 1, 1 / 3, 2 / 3, 1 / 3]
    np.testing.assert_allclose(found, [*counts, *edges, *ends, np.log(3), *most, *least, *mean])


def test_of_mobilenet_only_active_blocks_count() -> None:
    space = MobileNetV3Space()
    text = (
        "d=2,3,4,2,2;k=3,5,-,-,7,7,3,-,5,5,5,5,3,3,-,-,3,3,-,-"
        ";e=3,6,-,-,4,4,6,-,6,6,6,6,3,3,-,-,3,4,-,-"
    )
    numbers = of(space, space.parse(text)).numbers[0]
    assert numbers[:5].tolist() == [2, 3, 4, 2, 2]
    assert numbers[5:10].tolist() == [8, 17, 20, 6, 6]
    assert numbers[10:15].tolist() == [9, 14, 24, 6, 7]
    assert numbers[15:18].tolist() == [13, 57, 60]
    assert numbers[18:22].tolist() == [3, 5, 0, 0] and numbers[38:42].tolist() == [3, 6, 0, 0]
    assert numbers.shape == (58,)
    several = MobileNetV3Space(resolutions=[24, 32])
    assert of(several, several.parse(f"{text};r=32")).numbers[0, -1] == 32


def test_of_nasnet_cells_operations_inputs_and_depths_are_counted() -> None:
    space = NASNetSpace(distinct_inputs=True)
    normal = "('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_5x5', 1), ('max_pool_3x3', 2), "
    normal += "('dil_conv_3x3', 2), ('avg_pool_3x3', 3), ('skip_connect', 0), ('skip_connect', 1)"
    reduce = ", ".join(["('sep_conv_3x3', 0), ('sep_conv_3x3', 1)"] * 4)
    parts = f"normal=[{normal}], normal_concat=range(2, 6), reduce=[{reduce}]"
    arch = space.parse(f"Genotype({parts}, reduce_concat=range(2, 6))")
    numbers = of(space, arch).numbers[0]
    per_cell = len(numbers) // 2
    first, second = numbers[:per_cell], numbers[per_cell:]
    # max, avg, skip, sep3, sep5, dil3, dil5; edges and convolutions at each input
    assert first[:7].tolist() == [1, 1, 3, 1, 1, 1, 0]
    assert first[7:11].tolist() == [2, 1, 3, 1]
    # (most convs, mean convs, operations, pools) of nodes: 2: (1, .5, 1, 0); 3: sep5 of an input
    # and a pool of node 2: (1, .75, 1.5, .5); 4: dil of 2 and a pool of 3: (2, 1.125, 2.25, .75);
    # 5: (0, 0, 1, 0); the highest of the first, and the means of all
    np.testing.assert_allclose(first[11:], [2, 1, 2.375 / 4, 5.75 / 4, 1.25 / 4])
    assert second[:11].tolist() == [0, 0, 0, 8, 0, 0, 0, 4, 4, 4, 4]
    np.testing.assert_allclose(second[11:], [1, 1, 1, 1, 0])


@pytest.mark.parametrize("distinct_inputs", [True, False])
def test_numbering_of_the_nodes_makes_no_difference(distinct_inputs: bool) -> None:
    space = NASNetSpace(distinct_inputs=distinct_inputs)
    rng = np.random.default_rng(0)
    choices = space.sample_choices(50, rng)
    assert np.isfinite(space.structure(choices).numbers).all()
    again = space.canonicalize(choices)
    np.testing.assert_array_equal(space.structure(again).numbers, space.structure(choices).numbers)


def test_of_other_spaces_the_active_choices_are_labels(
    make_space: Callable[..., SearchSpace],
) -> None:
    space = make_space(3, 2)
    found = space.structure(np.array([[2, 1], [0, 0]]))
    assert found.labels.tolist() == [[2, 1], [0, 0]]
    np.testing.assert_allclose(np.exp(found.numbers), [[3, 2], [1, 1]])


def test_quantities_are_numbers_as_well() -> None:
    """Numbers by their ratios; of two options which it is; of other names nothing."""
    decisions = (
        Decision("width", ("16", "64", "256")),
        Decision("op", ("skip", "pool", "conv")),
        Decision("squeeze", ("n", "s")),
    )
    active = np.array([[True, True, True], [False, False, True]])
    found = structure_of_choices(decisions, np.array([[1, 2, 0], [0, 0, 1]]), active)
    assert found.labels.tolist() == [[1, 2, 0], [-1, -1, 1]]
    np.testing.assert_allclose(np.exp(found.numbers), [[65, 1], [1, 2]])
    assert structure_of_choices(decisions[1:2], np.array([[0]]), active[:1, :1]).numbers.size == 0


def widths(found: Sequence[Structure]) -> set[tuple[int, int]]:
    return {(each.labels.shape[1], each.numbers.shape[1]) for each in found}


def test_columns_do_not_depend_on_the_architectures() -> None:
    for space in (CELLS, NASNetSpace(distinct_inputs=False), MobileNetV3Space()):
        rng = np.random.default_rng(1)
        found = [space.structure(space.sample_choices(n, rng)) for n in (1, 7)]
        assert len(widths(found)) == 1
