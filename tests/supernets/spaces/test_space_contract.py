"""What every search space promises."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest

from supernets.factory import SPACES, create_space
from supernets.spaces import MAX_ENUMERABLE_SIZE, Architecture, SearchSpace


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return create_space(request.param)


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
    assert space.format(space.parse(example)) == example


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


def test_sampling_draws_every_option_equally_often(space: SearchSpace) -> None:
    num_archs = 4000
    choices = np.array([arch.choices for arch in samples(space, num_archs)])
    for i, decision in enumerate(space.decisions):
        num_options = len(decision.options)
        counts = np.bincount(choices[:, i], minlength=num_options)
        sigma = math.sqrt(num_archs * (1 / num_options) * (1 - 1 / num_options))
        assert np.abs(counts - num_archs / num_options).max() < 4.5 * sigma


def test_mutants_differ_in_one_decision_and_reach_every_other_option(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    arch = samples(space, 1)[0]
    reached = set()
    for _ in range(100 * len(space.decisions)):
        mutant = space.mutate(arch, rng)
        space.validate(mutant)
        assert {type(choice) for choice in mutant.choices} == {int}
        changed = [i for i, c in enumerate(mutant.choices) if c != arch.choices[i]]
        assert len(changed) == 1
        reached.add((changed[0], mutant.choices[changed[0]]))
    assert reached == {
        (i, option)
        for i, decision in enumerate(space.decisions)
        for option in range(len(decision.options))
        if option != arch.choices[i]
    }


def test_size_equals_enumeration(space: SearchSpace) -> None:
    if space.size > MAX_ENUMERABLE_SIZE:
        pytest.skip("too large to enumerate")
    archs = list(space.enumerate())
    assert len(archs) == len(set(archs)) == space.size
    assert all(a.choices < b.choices for a, b in itertools.pairwise(archs))


def test_encoding_is_one_hot_per_decision(space: SearchSpace) -> None:
    archs = samples(space, 50)
    encoding = space.encode(archs)
    assert encoding.dtype == np.float32
    assert encoding.shape == (50, sum(len(decision.options) for decision in space.decisions))
    assert set(np.unique(encoding)) == {0.0, 1.0}
    start = 0
    for i, decision in enumerate(space.decisions):
        block = encoding[:, start : start + len(decision.options)]
        assert (block.sum(axis=1) == 1).all()
        assert block.argmax(axis=1).tolist() == [arch.choices[i] for arch in archs]
        start += len(decision.options)


def test_encoding_of_nothing_has_the_width_of_the_others(space: SearchSpace) -> None:
    assert space.encode([]).shape == (0, space.encode(samples(space, 1)).shape[1])


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
