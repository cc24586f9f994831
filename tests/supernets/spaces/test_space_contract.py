"""What every search space promises."""

from __future__ import annotations

import itertools
import math
import pickle
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.spaces import (
    ENCODINGS,
    MAX_ENUMERABLE_SIZE,
    Architecture,
    CellSpace,
    NASBench101Space,
    SearchSpace,
)
from supernets.spaces.factory import SPACES, create_space

MOBILENETV3 = {"depth": ("2",), "kernel": ("3", "7"), "expand": ("6",)}  # 1024 architectures
UNEVEN = {  # 320, of two depths per stage
    "depth.1": ("2", "4"),
    **{f"depth.{stage}": ("2", "3") for stage in (2, 3, 4, 5)},
    "kernel": ("7",),
    "expand.1": ("3", "4"),
    **{f"expand.{stage}": ("6",) for stage in (2, 3, 4, 5)},
}
KINDS: dict[str, Callable[[], SearchSpace]] = {
    "nasbench201": partial(create_space, "nasbench201"),
    "nasbench201-restricted": lambda: create_space("nasbench201").restrict(
        {"1<-0": ("skip_connect", "nor_conv_3x3"), "3<-2": ("avg_pool_3x3",)}
    ),
    "mobilenetv3": partial(create_space, "mobilenetv3"),
    "mobilenetv3-resolutions": partial(create_space, "mobilenetv3", resolutions=(192, 128, 160)),
    "mobilenetv3-restricted": lambda: create_space("mobilenetv3").restrict(MOBILENETV3),
    "mobilenetv3-uneven": lambda: create_space("mobilenetv3").restrict(UNEVEN),
    "mobilenetv3-one-resolution": lambda: create_space(
        "mobilenetv3", resolutions=(128, 160, 192)
    ).restrict({"resolution": ("160",), "kernel": ("3", "5")}),
    "nasnet": partial(create_space, "nasnet"),
    "nasnet-restricted": lambda: create_space("nasnet").restrict(
        {"op.normal": ("skip_connect", "sep_conv_5x5"), "op.reduce": ("max_pool_3x3",)}
    ),
    "nasbench101": partial(create_space, "nasbench101"),
    "nasbench101-one-op": lambda: create_space("nasbench101").restrict({"op": ("maxpool3x3",)}),
    "darts": partial(create_space, "darts"),
    "darts-one-op": lambda: create_space("darts").restrict({"op": ("skip_connect",)}),  # 6241
}


@pytest.fixture(params=KINDS)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return KINDS[request.param]()


def test_every_space_is_under_contract() -> None:
    assert {make().name for make in KINDS.values()} == {*SPACES}


def merges_active_choices(space: SearchSpace) -> bool:
    """Whether a network can be written in several ways that are all active."""
    return space.name in ("nasnet", "darts", "nasbench101")


def skip_if_choices_are_refused(space: SearchSpace) -> None:
    if isinstance(space, NASBench101Space):
        pytest.skip("samples uniform architectures, as some choices make none")


def restriction(space: SearchSpace, i: int) -> str | None:
    """What to name to restrict decision ``i``; None if it cannot be."""
    name = space.decisions[i].name
    if not merges_active_choices(space):
        return name
    group = "op" if space.name == "nasbench101" else name[: len("op.normal")]
    return group if name.startswith("op.") else None


def offered(space: SearchSpace, i: int) -> list[int]:
    """The options of decision ``i`` by their effect on what ``restrict`` accepts."""
    name, options = restriction(space, i), space.decisions[i].options
    if name is None:
        return list(range(len(options)))
    found = []
    for index, option in enumerate(options):
        try:
            space.restrict({name: (option,)})
        except ValueError:
            continue
        found.append(index)
    return found


def raw_choices(space: SearchSpace, num_archs: int, seed: int = 0) -> NDArray[np.int64]:
    """Offered options for all decisions, active or not."""
    rng = np.random.default_rng(seed)
    num_drawn = 3 * num_archs if isinstance(space, NASBench101Space) else num_archs
    columns = [rng.choice(offered(space, i), num_drawn) for i in range(len(space.decisions))]
    choices = np.stack(columns, axis=1).astype(np.int64)
    if isinstance(space, NASBench101Space):
        choices = choices[space.are_valid(space.canonicalize(choices))]
    return choices[:num_archs]


def choices_of(archs: Sequence[Architecture]) -> NDArray[np.int64]:
    return np.array([arch.choices for arch in archs])


def samples(space: SearchSpace, num_archs: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(num_archs)]


def assert_alike(space: SearchSpace, found: NDArray[np.int64], expected: NDArray[np.int64]) -> None:
    """Compares how often each option is active in two equally large draws."""
    assert found.shape == expected.shape
    for i, decision in enumerate(space.decisions):
        for option in range(len(decision.options)):
            counts = [
                int(((choices[:, i] == option) & space.is_active(choices)[:, i]).sum())
                for choices in (found, expected)
            ]
            assert abs(counts[0] - counts[1]) <= 4.5 * math.sqrt(sum(counts)), decision.name


def test_parse_reads_what_format_writes(space: SearchSpace) -> None:
    for arch in samples(space, 200):
        assert space.parse(space.format(arch)) == arch


def test_parse_forgives_surrounding_white_space(space: SearchSpace) -> None:
    arch = samples(space, 1)[0]
    assert space.parse(f"  {space.format(arch)}\n") == arch


@pytest.mark.parametrize("text", ["", "nonsense", "|||", "0"])
def test_parse_refuses_what_is_no_architecture(space: SearchSpace, text: str) -> None:
    with pytest.raises(ValueError, match="Expected, for example"):
        space.parse(text)


def test_the_example_of_the_parse_error_parses(space: SearchSpace) -> None:
    with pytest.raises(ValueError) as caught:
        space.parse("nonsense")
    example = str(caught.value).split("Expected, for example, ")[1].rstrip(".").strip("'\"")
    resolutions = getattr(space, "resolutions", ())
    whole = create_space(space.name, resolutions=resolutions)
    written = whole.format(whole.parse(example))
    assert whole.parse(written) == whole.parse(example)
    assert written == example or merges_active_choices(space)


def test_formats_are_distinct(space: SearchSpace) -> None:
    archs = set(samples(space, 500))
    assert len({space.format(arch) for arch in archs}) == len(archs)


def test_samples_are_valid_and_plain_integers(space: SearchSpace) -> None:
    for arch in samples(space, 100):
        space.validate(arch)
        assert arch.space == space.name
        assert {type(choice) for choice in arch.choices} == {int}


def test_sampling_depends_on_the_rng_alone(space: SearchSpace) -> None:
    assert samples(space, 20, seed=3) == samples(space, 20, seed=3)
    assert samples(space, 20, seed=3) != samples(space, 20, seed=4)


def test_many_samples_are_canonical_choices(space: SearchSpace) -> None:
    choices = space.sample_choices(300, np.random.default_rng(0))
    assert choices.shape == (300, len(space.decisions)) and choices.dtype == np.int64
    assert np.array_equal(space.canonicalize(choices), choices)
    archs = space.architectures(choices)
    assert archs == [space.architecture(row) for row in choices]
    for arch in archs:
        space.validate(arch)


def test_no_architectures_give_none(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    nothing = space.sample_choices(0, rng)
    for found in (
        nothing,
        space.canonicalize(nothing),
        space.mutate_choices(nothing, rng),
        space.redraw_choices(nothing, 0.5, rng),
        space.crossover_choices(nothing, nothing, rng),
    ):
        assert found.shape == (0, len(space.decisions)) and found.dtype == np.int64


def test_samples_are_uniform_choices_made_canonical(space: SearchSpace) -> None:
    skip_if_choices_are_refused(space)
    choices = space.sample_choices(4000, np.random.default_rng(0))
    assert_alike(space, choices, space.canonicalize(raw_choices(space, 4000)))
    for i in range(len(space.decisions)):
        drawn = choices[space.is_active(choices)[:, i], i]
        assert set(drawn.tolist()) <= set(offered(space, i))


def test_sampling_draws_every_active_option_equally_often(space: SearchSpace) -> None:
    if merges_active_choices(space):
        pytest.skip("the canonical way to write a network prefers some options")
    choices = space.sample_choices(4000, np.random.default_rng(0))
    active = space.is_active(choices)
    for i in range(len(space.decisions)):
        drawn, options = choices[active[:, i], i], offered(space, i)
        for option in options:
            share = 1 / len(options)
            sigma = math.sqrt(len(drawn) * share * (1 - share))
            assert abs((drawn == option).sum() - len(drawn) * share) <= 4.5 * sigma


def test_canonical_form_is_that_of_the_network(space: SearchSpace) -> None:
    raw = raw_choices(space, 200)
    before = raw.copy()
    canonical = space.canonicalize(raw)
    active = space.is_active(canonical)
    assert canonical.dtype == np.int64 and np.array_equal(raw, before)
    assert np.array_equal(space.canonicalize(canonical), canonical)
    assert not canonical[~active].any()
    for i in range(len(space.decisions)):
        assert set(canonical[active[:, i], i].tolist()) <= set(offered(space, i))
    if not merges_active_choices(space):
        assert np.array_equal(space.is_active(raw), active)
        assert np.array_equal(canonical[active], raw[active])
    for choices, same in zip(raw, canonical, strict=True):
        assert space.architecture(choices) == space.architecture(same)


def test_architectures_are_all_choices_made_canonical(space: SearchSpace) -> None:
    options = [offered(space, i) for i in range(len(space.decisions))]
    if math.prod(map(len, options)) > MAX_ENUMERABLE_SIZE:
        pytest.skip("too many choices to go through")
    canonical = space.canonicalize(np.array(list(itertools.product(*options))))
    assert np.unique(canonical, axis=0).tolist() == choices_of(list(space.enumerate())).tolist()


def test_what_is_not_canonical_is_refused(space: SearchSpace) -> None:
    raw = raw_choices(space, 50)
    changed = raw[(space.canonicalize(raw) != raw).any(axis=1)]
    if not len(changed):
        pytest.skip("all choices are canonical")
    arch = Architecture(space.name, tuple(changed[0].tolist()))
    with pytest.raises(ValueError, match=r"is not canonical.*space\.architecture\(choices\)"):
        space.validate(arch)
    space.check(arch)  # it is of this space all the same


def test_mutants_differ_in_one_decision_and_reach_every_other_option(space: SearchSpace) -> None:
    """Beside it only decisions that the parent did not make, and the mutant does, differ."""
    if merges_active_choices(space):
        pytest.skip("the canonical way to write the mutant may differ in more")
    rng = np.random.default_rng(0)
    arch = samples(space, 1)[0]
    parents = np.repeat(choices_of([arch]), 150 * len(space.decisions), axis=0)
    mutants = space.mutate_choices(parents, rng)
    active = space.is_active(parents)[0]
    changed = (mutants != parents) & active & space.is_active(mutants)
    # a smaller depth also makes choices inactive
    assert (changed.sum(axis=1) == 1).all()
    reached = {(i, mutants[row, i]) for row, i in np.argwhere(changed)}
    assert reached == {
        (i, option)
        for i in np.flatnonzero(active)
        for option in offered(space, i)
        if option != arch.choices[i]
    }


def test_mutation_is_as_likely_at_every_active_decision(space: SearchSpace) -> None:
    if merges_active_choices(space):
        pytest.skip("the canonical way to write the mutant may differ in more")
    parents = np.repeat(choices_of(samples(space, 1)), 6000, axis=0)
    mutants = space.mutate_choices(parents, np.random.default_rng(0))
    active = space.is_active(parents)
    counts = ((mutants != parents) & active & space.is_active(mutants)).sum(axis=0)
    open_ones = [i for i in np.flatnonzero(active[0]) if len(offered(space, i)) > 1]
    expected = 6000 / len(open_ones)
    assert np.abs(counts[open_ones] - expected).max() < 4.5 * math.sqrt(expected)
    assert counts.sum() == 6000


def test_mutants_are_other_architectures_of_the_space(space: SearchSpace) -> None:
    parents = choices_of(samples(space, 300))
    before = parents.copy()
    mutants = space.mutate_choices(parents, np.random.default_rng(1))
    assert np.array_equal(parents, before)
    assert (mutants != parents).any(axis=1).all()
    assert np.array_equal(space.canonicalize(mutants), mutants)
    for mutant in space.architectures(mutants):
        space.validate(mutant)
        assert {type(choice) for choice in mutant.choices} == {int}


def test_mutants_are_as_likely_as_the_choices_that_make_them(space: SearchSpace) -> None:
    """A decision and then another option of it are uniform, but for what changes nothing."""
    arch = samples(space, 1)[0]
    if not space.is_active(raw_choices(space, 500)).all():
        pytest.skip("what becomes active is drawn as well")
    open_ones = [i for i in range(len(space.decisions)) if len(offered(space, i)) > 1]
    shares: dict[tuple[int, ...], float] = {}
    for i in open_ones:
        others = [option for option in offered(space, i) if option != arch.choices[i]]
        for option in others:
            choices = [*arch.choices[:i], option, *arch.choices[i + 1 :]]
            mutant = space.architecture(choices).choices
            share = 1 / len(open_ones) / len(others)
            shares[mutant] = shares.get(mutant, 0.0) + share
    shares.pop(arch.choices, None)
    parents = np.repeat(choices_of([arch]), 10_000, axis=0)
    mutants = space.mutate_choices(parents, np.random.default_rng(0))
    counts = dict.fromkeys(shares, 0)
    for mutant in map(tuple, mutants.tolist()):
        counts[mutant] += 1  # a KeyError for what is no neighbour
    for mutant, share in shares.items():
        expected = 10_000 * share / sum(shares.values())
        assert abs(counts[mutant] - expected) <= 4.5 * math.sqrt(expected)


def test_one_mutant_is_one_of_many(space: SearchSpace) -> None:
    arch = samples(space, 1)[0]
    one = space.mutate(arch, np.random.default_rng(3))
    many = space.mutate_choices(choices_of([arch]), np.random.default_rng(3))
    assert [one] == space.architectures(many)


def test_redrawing_with_probability_0_changes_nothing(space: SearchSpace) -> None:
    choices = choices_of(samples(space, 100))
    redrawn = space.redraw_choices(choices, 0.0, np.random.default_rng(0))
    assert np.array_equal(redrawn, choices)


def test_redrawing_with_probability_1_is_sampling(space: SearchSpace) -> None:
    parents = np.repeat(choices_of(samples(space, 1)), 3000, axis=0)
    redrawn = space.redraw_choices(parents, 1.0, np.random.default_rng(0))
    assert_alike(space, redrawn, space.sample_choices(3000, np.random.default_rng(1)))


def test_redrawing_draws_active_decisions_with_its_probability(space: SearchSpace) -> None:
    """What was not active and becomes so is always drawn."""
    skip_if_choices_are_refused(space)
    parents = np.repeat(choices_of(samples(space, 1)), 3000, axis=0)
    before = parents.copy()
    redrawn = space.redraw_choices(parents, 0.2, np.random.default_rng(0))
    assert np.array_equal(parents, before)
    assert np.array_equal(space.canonicalize(redrawn), redrawn)
    is_drawn = np.random.default_rng(1).random(parents.shape) < 0.2
    is_drawn |= ~space.is_active(parents)
    expected = space.canonicalize(np.where(is_drawn, raw_choices(space, 3000), parents))
    assert_alike(space, redrawn, expected)
    unchanged = [int((choices == parents).all(axis=1).sum()) for choices in (redrawn, expected)]
    assert abs(unchanged[0] - unchanged[1]) <= 4.5 * math.sqrt(sum(unchanged) + 1)
    for arch in space.architectures(redrawn[:100]):
        space.validate(arch)
        assert {type(choice) for choice in arch.choices} == {int}


def test_crossovers_are_architectures_of_the_space(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    first, second = (space.sample_choices(100, rng) for _ in range(2))
    before = first.copy(), second.copy()
    children = space.crossover_choices(first, second, rng)
    assert np.array_equal(first, before[0]) and np.array_equal(second, before[1])
    assert np.array_equal(space.canonicalize(children), children)
    for child in space.architectures(children):
        space.validate(child)


def test_crossovers_take_every_decision_from_a_parent_that_makes_it(space: SearchSpace) -> None:
    if merges_active_choices(space):
        pytest.skip("the canonical way to write the child may differ from both")
    rng = np.random.default_rng(0)
    first, second = (space.sample_choices(500, rng) for _ in range(2))
    children = space.crossover_choices(first, second, rng)
    is_first = (children == first) & space.is_active(first)
    is_second = (children == second) & space.is_active(second)
    in_neither = ~space.is_active(first) & ~space.is_active(second)
    assert (is_first | is_second | in_neither | ~space.is_active(children)).all()
    differ = space.is_active(first) & space.is_active(second) & (first != second)
    differ &= space.is_active(children)
    share = is_first[differ].mean()
    assert abs(share - 0.5) < 4.5 * 0.5 / math.sqrt(differ.sum())


def test_crossovers_are_uniform_mixtures_made_canonical(space: SearchSpace) -> None:
    if not space.is_active(raw_choices(space, 500)).all():
        pytest.skip("what neither parent chooses is drawn as well")
    first, second = (np.repeat(choices_of([arch]), 3000, axis=0) for arch in samples(space, 2))
    children = space.crossover_choices(first, second, np.random.default_rng(0))
    coins = np.random.default_rng(1).random(first.shape) < 0.5
    assert_alike(space, children, space.canonicalize(np.where(coins, first, second)))


def test_parents_that_agree_have_themselves_for_child(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    for arch in samples(space, 20):
        assert space.crossover(arch, arch, rng) == arch


def test_restriction_keeps_the_choices(space: SearchSpace) -> None:
    named = [(i, restriction(space, i)) for i in range(len(space.decisions))]
    found = [(i, name) for i, name in named if name and len(offered(space, i)) > 1]
    if not found:
        pytest.skip("all that can be restricted is")
    position, name = found[0]
    options = space.decisions[position].options
    (kept, *_, left_out) = (options[i] for i in offered(space, position))
    part = space.restrict({name: (kept,)})
    assert 1 <= part.size < space.size
    for arch in samples(part, 20):
        space.validate(arch)
        assert part.parse(part.format(arch)) == arch
    choices = space.sample_choices(1000, np.random.default_rng(0))
    outside = next(
        arch for arch in space.architectures(choices) if options[arch.choices[position]] == left_out
    )
    with pytest.raises(ValueError, match=f"is restricted to {kept} here, got {left_out}"):
        part.validate(outside)
    with pytest.raises(ValueError, match=f"is restricted to {kept} here, got {left_out}"):
        part.parse(space.format(outside))
    with pytest.raises(ValueError, match=f"offers {kept}, got {left_out}"):
        part.restrict({name: (left_out,)})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nothing", ("3",), "has no decision 'nothing'; it has |is restricted by .*'nothing'"),
        (None, ("no such option",), "offers .*, got no such option"),
        (None, (), "got none to keep"),
    ],
)
def test_impossible_restrictions_are_refused(
    space: SearchSpace, name: str | None, options: tuple[str, ...], message: str
) -> None:
    names = (restriction(space, i) for i in range(len(space.decisions)))
    with pytest.raises(ValueError, match=message):
        space.restrict({name or next(filter(None, names)): options})


def test_extremes_are_the_first_and_last_options(space: SearchSpace) -> None:
    if not space.is_ordered:
        with pytest.raises(ValueError, match="no smallest and largest architecture"):
            space.extremes()
        return
    smallest, largest = space.extremes()
    for arch, end in ((smallest, 0), (largest, -1)):
        space.validate(arch)
        active = space.is_active(choices_of([arch]))[0]
        ends = [offered(space, i)[end] for i in range(len(space.decisions))]
        assert arch.choices == tuple(np.where(active, ends, 0))


def test_size_equals_enumeration(space: SearchSpace) -> None:
    if space.size > MAX_ENUMERABLE_SIZE:
        pytest.skip("too large to enumerate")
    archs = list(space.enumerate())
    assert len(archs) == len(set(archs)) == space.size
    assert all(a.choices < b.choices for a, b in itertools.pairwise(archs))
    assert np.array_equal(space.all_choices(), choices_of(archs))


def test_choices_are_the_rows_of_architectures(space: SearchSpace) -> None:
    archs = samples(space, 5)
    choices = space.choices_of(iter(archs))
    assert choices.dtype == np.int64 and choices.tolist() == [list(a.choices) for a in archs]
    assert space.architectures(choices) == archs
    assert space.are_valid(choices).tolist() == [True] * 5
    nothing = space.choices_of([])
    assert nothing.shape == (0, len(space.decisions)) and nothing.dtype == np.int64
    assert space.architectures(nothing) == [] and space.are_valid(nothing).shape == (0,)


def test_encoding_is_one_hot_per_active_decision(space: SearchSpace) -> None:
    archs = samples(space, 50)
    encoding = space.encode(archs)
    active = space.is_active(choices_of(archs))
    assert encoding.dtype == np.float32
    assert encoding.shape == (50, sum(len(decision.options) for decision in space.decisions))
    assert set(np.unique(encoding)) == {0.0, 1.0}
    start = 0
    for i, decision in enumerate(space.decisions):
        block = encoding[:, start : start + len(decision.options)]
        assert np.array_equal(block.sum(axis=1), active[:, i])
        assert block.argmax(axis=1).tolist() == [arch.choices[i] for arch in archs]
        start += len(decision.options)


def test_encoding_by_integers_has_a_column_per_decision(space: SearchSpace) -> None:
    archs = samples(space, 50)
    encoding = space.encode(archs, "integers")
    active = space.is_active(choices_of(archs))
    assert encoding.dtype == np.float32
    assert encoding.shape == (50, len(space.decisions))
    for row, arch, is_active in zip(encoding, archs, active, strict=True):
        for value, decision, choice, counts in zip(
            row, space.decisions, arch.choices, is_active, strict=True
        ):
            assert value == (decision.values[choice] if counts else 0)
    assert len({tuple(row) for row in encoding}) == len(set(archs))


def test_encodings_give_finite_rows_of_one_width(space: SearchSpace) -> None:
    assert {"one-hot", "integers"} <= set(space.encodings) <= set(ENCODINGS)
    archs = samples(space, 20)
    for name in space.encodings:
        space.check_encoding(name)
        encoding = space.encode(archs, name)
        assert encoding.dtype == np.float32 and encoding.ndim == 2
        assert np.isfinite(encoding).all()
        assert np.array_equal(encoding[3:5], space.encode(archs[3:5], name))
        assert np.array_equal(encoding, space.encode_choices(choices_of(archs), name))
        assert space.encode([], name).shape == (0, encoding.shape[1])
        assert space.encode([], name).dtype == np.float32


def test_encodings_that_the_space_has_not_are_refused(space: SearchSpace) -> None:
    archs = samples(space, 1)
    for name in {*ENCODINGS, "x"} - set(space.encodings):
        message = f"has no encoding '{name}'; choose from {', '.join(space.encodings)}"
        for use in (
            space.check_encoding,
            lambda name: space.encode(archs, name),
            lambda name: space.encode_choices(choices_of(archs), name),
        ):
            with pytest.raises(ValueError, match=message):
                use(name)


def test_cells_and_graphs_go_forward(space: SearchSpace) -> None:
    if not isinstance(space, CellSpace):
        pytest.skip("not of cells")
    archs = samples(space, 20)
    for arch in archs:
        for edges in space.cells(arch).values():
            targets = [edge.target for edge in edges]
            assert targets == sorted(targets)
            for op, source, target in edges:
                assert 0 <= source < target
                assert space.num_inputs <= target < space.num_states
                assert any(op in decision.options for decision in space.decisions)
    adjacency, ids = space.to_graphs(choices_of(archs))
    assert adjacency.dtype == np.float32 and ids.dtype == np.int64
    assert len(ids) == 20 and adjacency.shape == (*ids.shape, ids.shape[1])
    assert set(np.unique(adjacency)) <= {0.0, 1.0}
    assert not np.tril(adjacency).any()  # hence no cycles
    for part, alone in zip((adjacency, ids), space.to_graphs(choices_of(archs[3:5])), strict=True):
        assert np.array_equal(part[3:5], alone)
    assert [len(part) for part in space.to_graphs(choices_of(archs)[:0])] == [0, 0]


def test_fair_decisions_are_positions(space: SearchSpace) -> None:
    if space.fair_decisions is None:
        return
    positions = list(space.fair_decisions)
    assert positions == sorted(set(positions)) and positions
    assert set(positions) <= set(range(len(space.decisions)))


def test_architecture_accepts_numpy_choices(space: SearchSpace) -> None:
    arch = samples(space, 1)[0]
    built = space.architecture(np.array(arch.choices))
    assert built == arch
    assert {type(choice) for choice in built.choices} == {int}


def test_wrong_numbers_of_choices_are_refused(space: SearchSpace) -> None:
    choices = samples(space, 1)[0].choices
    for wrong in ((), choices[:-1], (*choices, 0)):
        with pytest.raises(ValueError, match=f"{len(space.decisions)} decisions, got {len(wrong)}"):
            space.architecture(wrong)


def test_choices_out_of_range_are_refused(space: SearchSpace) -> None:
    choices = samples(space, 1)[0].choices
    for i, decision in enumerate(space.decisions):
        for wrong in (-1, len(decision.options)):
            with pytest.raises(ValueError, match=f"{decision.name}.*got {wrong}"):
                space.architecture([*choices[:i], wrong, *choices[i + 1 :]])


def test_architectures_of_another_space_are_refused(space: SearchSpace) -> None:
    foreign = Architecture("elsewhere", samples(space, 1)[0].choices)
    for use in (space.validate, space.format):
        with pytest.raises(ValueError, match="elsewhere"):
            use(foreign)


def test_architectures_survive_pickling_and_key_dictionaries(space: SearchSpace) -> None:
    arch = samples(space, 1)[0]
    copied = pickle.loads(pickle.dumps(arch))
    assert {arch: "value"}[copied] == "value"


def test_many_at_once_are_as_valid_as_one_by_one(space: SearchSpace) -> None:
    choices = space.sample_choices(50, np.random.default_rng(0))
    archs = space.architectures(choices)
    space.validate_all(archs)
    space.validate_all([])
    assert space.are_canonical(choices.tolist())
    rng = np.random.default_rng(1)
    for _ in range(40):  # one index of one architecture is changed, perhaps out of range
        row, column = rng.integers(50), rng.integers(choices.shape[1])
        changed = choices.copy()
        changed[row, column] = rng.integers(-1, len(space.decisions[column].options) + 1)
        (arch,) = space.architectures(changed[row : row + 1])
        try:
            space.validate(arch)
        except ValueError as error:
            assert not space.are_canonical(changed.tolist())
            with pytest.raises(ValueError, match=re.escape(str(error))):
                space.validate_all([*archs[:row], arch])
        else:
            assert space.are_canonical(changed.tolist())
    assert not space.are_canonical([[*choices[0].tolist(), 0]])
    with pytest.raises(ValueError, match="Architecture is from space 'other'"):
        space.validate_all([Architecture("other", archs[0].choices)])
