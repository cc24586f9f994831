"""What a space promises of its notation, its architectures and its restrictions."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from supernets.spaces import Architecture, SearchSpace
from supernets.testing.space_under_test import SpaceUnderTest, choices_of, samples


class NotationContract(SpaceUnderTest):
    """Tests of ``SpaceContract``, which see."""

    def test_parse_reads_what_format_writes(self, search_space: SearchSpace) -> None:
        for arch in samples(search_space, 200):
            text = search_space.format(arch)
            assert search_space.parse(text) == arch, f"parse({text!r}) is another architecture"

    def test_parse_forgives_surrounding_white_space(self, search_space: SearchSpace) -> None:
        arch = samples(search_space, 1)[0]
        assert search_space.parse(f"  {search_space.format(arch)}\n") == arch

    @pytest.mark.parametrize("text", ["", "nonsense", "|||", "0"])
    def test_parse_refuses_what_is_no_architecture(
        self, search_space: SearchSpace, text: str
    ) -> None:
        with pytest.raises(ValueError, match="Expected, for example"):
            search_space.parse(text)

    def test_the_example_of_the_parse_error_parses(self, search_space: SearchSpace) -> None:
        with pytest.raises(ValueError) as caught:
            search_space.parse("nonsense")
        message = str(caught.value)
        assert "Expected, for example, " in message, "the message of parse shows no valid notation"
        example = message.split("Expected, for example, ")[1].rstrip(".").strip("'\"")
        whole = self.whole(search_space)
        written = whole.format(whole.parse(example))
        assert whole.parse(written) == whole.parse(example)
        assert written == example or self.merges_active_choices(search_space)

    def test_formats_are_distinct(self, search_space: SearchSpace) -> None:
        archs = set(samples(search_space, 500))
        assert len({search_space.format(arch) for arch in archs}) == len(archs)

    def test_canonical_form_is_that_of_the_network(self, search_space: SearchSpace) -> None:
        raw = self.raw_choices(search_space, 200)
        before = raw.copy()
        canonical = search_space.canonicalize(raw)
        active = search_space.is_active(canonical)
        assert canonical.dtype == np.int64 and np.array_equal(raw, before)
        assert np.array_equal(search_space.canonicalize(canonical), canonical)
        assert not canonical[~active].any()
        for i in range(len(search_space.decisions)):
            assert set(canonical[active[:, i], i].tolist()) <= set(self.offered(search_space, i))
        if not self.merges_active_choices(search_space):
            assert np.array_equal(search_space.is_active(raw), active)
            assert np.array_equal(canonical[active], raw[active])
        for choices, same in zip(raw, canonical, strict=True):
            assert search_space.architecture(choices) == search_space.architecture(same)

    def test_what_is_not_canonical_is_refused(self, search_space: SearchSpace) -> None:
        raw = self.raw_choices(search_space, 50)
        changed = raw[(search_space.canonicalize(raw) != raw).any(axis=1)]
        if not len(changed):
            pytest.skip("all choices are canonical")
        arch = Architecture(search_space.name, tuple(changed[0].tolist()))
        with pytest.raises(ValueError, match=r"is not canonical.*space\.architecture\(choices\)"):
            search_space.validate(arch)
        search_space.check(arch)  # it is of this space all the same

    def test_restriction_keeps_the_choices(self, search_space: SearchSpace) -> None:
        named = [(i, self.restriction(search_space, i)) for i in range(len(search_space.decisions))]
        found = [(i, name) for i, name in named if name and len(self.offered(search_space, i)) > 1]
        if not found:
            pytest.skip("all that can be restricted is")
        position, name = found[0]
        options = search_space.decisions[position].options
        (kept, *_, left_out) = (options[i] for i in self.offered(search_space, position))
        part = search_space.restrict({name: (kept,)})
        assert 1 <= part.size < search_space.size
        for arch in samples(part, 20):
            search_space.validate(arch)
            assert part.parse(part.format(arch)) == arch
        choices = search_space.sample_choices(1000, np.random.default_rng(0))
        outside = next(
            arch
            for arch in search_space.architectures(choices)
            if options[arch.choices[position]] == left_out
        )
        with pytest.raises(ValueError, match=f"is restricted to {kept} here, got {left_out}"):
            part.validate(outside)
        with pytest.raises(ValueError, match=f"is restricted to {kept} here, got {left_out}"):
            part.parse(search_space.format(outside))
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
        self, search_space: SearchSpace, name: str | None, options: tuple[str, ...], message: str
    ) -> None:
        names = (self.restriction(search_space, i) for i in range(len(search_space.decisions)))
        with pytest.raises(ValueError, match=message):
            search_space.restrict({name or next(filter(None, names)): options})

    def test_extremes_are_the_first_and_last_options(self, search_space: SearchSpace) -> None:
        if not search_space.is_ordered:
            with pytest.raises(ValueError, match="no smallest and largest architecture"):
                search_space.extremes()
            return
        smallest, largest = search_space.extremes()
        for arch, end in ((smallest, 0), (largest, -1)):
            search_space.validate(arch)
            active = search_space.is_active(choices_of([arch]))[0]
            ends = [self.offered(search_space, i)[end] for i in range(len(search_space.decisions))]
            assert arch.choices == tuple(np.where(active, ends, 0))

    def test_architecture_accepts_numpy_choices(self, search_space: SearchSpace) -> None:
        arch = samples(search_space, 1)[0]
        built = search_space.architecture(np.array(arch.choices))  # type: ignore[arg-type]
        assert built == arch
        assert {type(choice) for choice in built.choices} == {int}

    def test_wrong_numbers_of_choices_are_refused(self, search_space: SearchSpace) -> None:
        choices = samples(search_space, 1)[0].choices
        for wrong in ((), choices[:-1], (*choices, 0)):
            with pytest.raises(
                ValueError, match=f"{len(search_space.decisions)} decisions, got {len(wrong)}"
            ):
                search_space.architecture(wrong)

    def test_choices_out_of_range_are_refused(self, search_space: SearchSpace) -> None:
        choices = samples(search_space, 1)[0].choices
        for i, decision in enumerate(search_space.decisions):
            for wrong in (-1, len(decision.options)):
                with pytest.raises(ValueError, match=f"{decision.name}.*got {wrong}"):
                    search_space.architecture([*choices[:i], wrong, *choices[i + 1 :]])

    def test_architectures_of_another_space_are_refused(self, search_space: SearchSpace) -> None:
        foreign = Architecture("elsewhere", samples(search_space, 1)[0].choices)
        for use in (search_space.validate, search_space.format):
            with pytest.raises(ValueError, match="elsewhere"):
                use(foreign)

    def test_architectures_survive_pickling_and_key_dictionaries(
        self, search_space: SearchSpace
    ) -> None:
        arch = samples(search_space, 1)[0]
        copied = pickle.loads(pickle.dumps(arch))
        assert {arch: "value"}[copied] == "value"

    def test_many_at_once_are_as_valid_as_one_by_one(self, search_space: SearchSpace) -> None:
        choices = search_space.sample_choices(50, np.random.default_rng(0))
        archs = search_space.architectures(choices)
        search_space.validate_all(archs)
        search_space.validate_all([])
        assert search_space.are_canonical(choices.tolist())
        rng = np.random.default_rng(1)
        for _ in range(40):  # one index of one architecture is changed, perhaps out of range
            row, column = rng.integers(50), rng.integers(choices.shape[1])
            changed = choices.copy()
            changed[row, column] = rng.integers(-1, len(search_space.decisions[column].options) + 1)
            (arch,) = search_space.architectures(changed[row : row + 1])
            try:
                search_space.validate(arch)
            except ValueError as error:
                assert not search_space.are_canonical(changed.tolist())
                with pytest.raises(ValueError, match=re.escape(str(error))):
                    search_space.validate_all([*archs[:row], arch])
            else:
                assert search_space.are_canonical(changed.tolist())
        assert not search_space.are_canonical([[*choices[0].tolist(), 0]])
        with pytest.raises(ValueError, match="Architecture is from space 'other'"):
            search_space.validate_all([Architecture("other", archs[0].choices)])
