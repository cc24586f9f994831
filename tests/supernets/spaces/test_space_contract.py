"""What every search space promises."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from supernets.factory import SPACES, create_space
from supernets.spaces import ENCODINGS, MAX_ENUMERABLE_SIZE, Architecture, SearchSpace

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
}


@pytest.fixture(params=KINDS)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return KINDS[request.param]()


def test_every_space_is_under_contract() -> None:
    assert {make().name for make in KINDS.values()} == set(SPACES)


def offered(space: SearchSpace, i: int) -> list[int]:
    """The options of decision ``i`` by their effect on what ``restrict`` accepts."""
    found = []
    for index, option in enumerate(space.decisions[i].options):
        try:
            space.restrict({space.decisions[i].name: (option,)})
        except ValueError:
            continue
        found.append(index)
    return found


def raw_choices(space: SearchSpace, num_archs: int, seed: int = 0) -> NDArray[np.int64]:
    """Offered options for all decisions, active or not."""
    rng = np.random.default_rng(seed)
    columns = [rng.choice(offered(space, i), num_archs) for i in range(len(space.decisions))]
    return np.stack(columns, axis=1).astype(np.int64)


def choices_of(archs: Sequence[Architecture]) -> NDArray[np.int64]:
    return np.array([arch.choices for arch in archs])


def samples(space: SearchSpace, num_archs: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(num_archs)]


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
    example = str(caught.value).split("Expected, for example, ")[1].rstrip(".").strip("'")
    resolutions = getattr(space, "resolutions", ())
    whole = create_space(space.name, resolutions=resolutions)
    assert whole.format(whole.parse(example)) == example


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


def test_sampling_draws_every_active_option_equally_often(space: SearchSpace) -> None:
    choices = space.sample_choices(4000, np.random.default_rng(0))
    active = space.is_active(choices)
    for i in range(len(space.decisions)):
        drawn, options = choices[active[:, i], i], offered(space, i)
        assert set(drawn.tolist()) <= set(options)
        for option in options:
            share = 1 / len(options)
            sigma = math.sqrt(len(drawn) * share * (1 - share))
            assert abs((drawn == option).sum() - len(drawn) * share) <= 4.5 * sigma


def test_canonical_form_is_that_of_the_network(space: SearchSpace) -> None:
    raw = raw_choices(space, 200)
    canonical = space.canonicalize(raw)
    active = space.is_active(raw)
    assert np.array_equal(space.canonicalize(canonical), canonical)
    assert np.array_equal(space.is_active(canonical), active)
    assert np.array_equal(canonical[active], raw[active])
    assert not canonical[~active].any()
    for choices, same in zip(raw, canonical, strict=True):
        assert space.architecture(choices) == space.architecture(same)


def test_what_is_not_canonical_is_refused(space: SearchSpace) -> None:
    raw = raw_choices(space, 50)
    changed = raw[(space.canonicalize(raw) != raw).any(axis=1)]
    if not len(changed):
        pytest.skip("all choices are active, or all that are not are 0 anyway")
    with pytest.raises(ValueError, match="makes inactive choices, which must be 0"):
        space.validate(Architecture(space.name, tuple(changed[0].tolist())))


def test_mutants_differ_in_one_decision_and_reach_every_other_option(space: SearchSpace) -> None:
    """Beside it only decisions that the parent did not make, and the mutant does, differ."""
    rng = np.random.default_rng(0)
    arch = samples(space, 1)[0]
    parents = np.repeat(choices_of([arch]), 150 * len(space.decisions), axis=0)
    mutants = space.mutate_choices(parents, rng)
    assert np.array_equal(parents, np.repeat(choices_of([arch]), len(parents), axis=0))
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
    for mutant in space.architectures(mutants[:200]):
        space.validate(mutant)
        assert {type(choice) for choice in mutant.choices} == {int}


def test_mutation_is_as_likely_at_every_active_decision(space: SearchSpace) -> None:
    parents = np.repeat(choices_of(samples(space, 1)), 6000, axis=0)
    mutants = space.mutate_choices(parents, np.random.default_rng(0))
    active = space.is_active(parents)
    counts = ((mutants != parents) & active & space.is_active(mutants)).sum(axis=0)
    open_ones = [i for i in np.flatnonzero(active[0]) if len(offered(space, i)) > 1]
    expected = 6000 / len(open_ones)
    assert np.abs(counts[open_ones] - expected).max() < 4.5 * math.sqrt(expected)
    assert counts.sum() == 6000


def test_one_mutant_is_one_of_many(space: SearchSpace) -> None:
    arch = samples(space, 1)[0]
    one = space.mutate(arch, np.random.default_rng(3))
    many = space.mutate_choices(choices_of([arch]), np.random.default_rng(3))
    assert [one] == space.architectures(many)


def test_crossovers_take_every_decision_from_a_parent_that_makes_it(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    first, second = (space.sample_choices(500, rng) for _ in range(2))
    children = space.crossover_choices(first, second, rng)
    assert np.array_equal(space.canonicalize(children), children)
    for child in space.architectures(children[:100]):
        space.validate(child)
    is_first = (children == first) & space.is_active(first)
    is_second = (children == second) & space.is_active(second)
    in_neither = ~space.is_active(first) & ~space.is_active(second)
    assert (is_first | is_second | in_neither | ~space.is_active(children)).all()
    differ = space.is_active(first) & space.is_active(second) & (first != second)
    differ &= space.is_active(children)
    share = is_first[differ].mean()
    assert abs(share - 0.5) < 4.5 * 0.5 / math.sqrt(differ.sum())


def test_parents_that_agree_have_themselves_for_child(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    for arch in samples(space, 20):
        assert space.crossover(arch, arch, rng) == arch


def test_restriction_keeps_the_choices(space: SearchSpace) -> None:
    decision = next(d for i, d in enumerate(space.decisions) if len(offered(space, i)) > 1)
    position = space.decisions.index(decision)
    (kept, *_, left_out) = (decision.options[i] for i in offered(space, position))
    part = space.restrict({decision.name: (kept,)})
    assert 1 <= part.size < space.size
    for arch in samples(part, 20):
        space.validate(arch)
        assert part.parse(part.format(arch)) == arch
    outside = next(
        arch
        for arch in samples(space, 1000)
        if decision.options[arch.choices[position]] == left_out
    )
    with pytest.raises(ValueError, match=f"is restricted to {kept} here, got {left_out}"):
        part.validate(outside)
    with pytest.raises(ValueError, match=f"offers {kept}, got {left_out}"):
        part.restrict({decision.name: (left_out,)})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nothing", ("3",), "has no decision 'nothing'; it has "),
        (None, ("no such option",), "offers .*, got no such option"),
        (None, (), "got none to keep"),
    ],
)
def test_impossible_restrictions_are_refused(
    space: SearchSpace, name: str | None, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        space.restrict({name or space.decisions[0].name: options})


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


def test_unknown_encodings_are_refused(space: SearchSpace) -> None:
    with pytest.raises(ValueError, match="Unknown encoding 'x'; choose from one-hot, integers."):
        space.encode(samples(space, 1), "x")  # type: ignore[arg-type]


def test_encoding_of_nothing_has_the_width_of_the_others(space: SearchSpace) -> None:
    for encoding in ENCODINGS:
        width = space.encode(samples(space, 1), encoding).shape[1]
        assert space.encode([], encoding).shape == (0, width)


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
