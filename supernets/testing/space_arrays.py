"""What a space promises of many architectures at once: all of them, their rows, their encodings."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from supernets.spaces import ENCODINGS, MAX_ENUMERABLE_SIZE, SearchSpace
from supernets.testing.space_under_test import SpaceUnderTest, choices_of, samples


class ArraysContract(SpaceUnderTest):
    """Tests of ``SpaceContract``, which see."""

    def test_architectures_are_all_choices_made_canonical(self, search_space: SearchSpace) -> None:
        options = [self.offered(search_space, i) for i in range(len(search_space.decisions))]
        if math.prod(map(len, options)) > MAX_ENUMERABLE_SIZE:
            pytest.skip("too many choices to go through")
        canonical = search_space.canonicalize(np.array(list(itertools.product(*options))))
        assert (
            np.unique(canonical, axis=0).tolist()
            == choices_of(list(search_space.enumerate())).tolist()
        )

    def test_size_equals_enumeration(self, search_space: SearchSpace) -> None:
        if search_space.size > MAX_ENUMERABLE_SIZE:
            pytest.skip("too large to enumerate")
        archs = list(search_space.enumerate())
        assert len(archs) == len(set(archs)) == search_space.size
        assert all(a.choices < b.choices for a, b in itertools.pairwise(archs))
        assert np.array_equal(search_space.all_choices(), choices_of(archs))

    def test_choices_are_the_rows_of_architectures(self, search_space: SearchSpace) -> None:
        archs = samples(search_space, 5)
        choices = search_space.choices_of(iter(archs))
        assert choices.dtype == np.int64 and choices.tolist() == [list(a.choices) for a in archs]
        assert search_space.architectures(choices) == archs
        assert search_space.are_valid(choices).tolist() == [True] * 5
        nothing = search_space.choices_of([])
        assert nothing.shape == (0, len(search_space.decisions)) and nothing.dtype == np.int64
        assert search_space.architectures(nothing) == [] and search_space.are_valid(
            nothing
        ).shape == (0,)

    def test_encoding_is_one_hot_per_active_decision(self, search_space: SearchSpace) -> None:
        archs = samples(search_space, 50)
        encoding = search_space.encode(archs)
        active = search_space.is_active(choices_of(archs))
        assert encoding.dtype == np.float32
        assert encoding.shape == (
            50,
            sum(len(decision.options) for decision in search_space.decisions),
        )
        assert set(np.unique(encoding)) == {0.0, 1.0}
        start = 0
        for i, decision in enumerate(search_space.decisions):
            block = encoding[:, start : start + len(decision.options)]
            assert np.array_equal(block.sum(axis=1), active[:, i])
            assert block.argmax(axis=1).tolist() == [arch.choices[i] for arch in archs]
            start += len(decision.options)

    def test_encoding_by_integers_has_a_column_per_decision(
        self, search_space: SearchSpace
    ) -> None:
        archs = samples(search_space, 50)
        encoding = search_space.encode(archs, "integers")
        active = search_space.is_active(choices_of(archs))
        assert encoding.dtype == np.float32
        assert encoding.shape == (50, len(search_space.decisions))
        for row, arch, is_active in zip(encoding, archs, active, strict=True):
            for value, decision, choice, counts in zip(
                row, search_space.decisions, arch.choices, is_active, strict=True
            ):
                assert value == (decision.values[choice] if counts else 0)
        assert len({tuple(row) for row in encoding}) == len(set(archs))

    def test_encodings_give_finite_rows_of_one_width(self, search_space: SearchSpace) -> None:
        assert {"one-hot", "integers"} <= set(search_space.encodings) <= set(ENCODINGS)
        archs = samples(search_space, 20)
        for name in search_space.encodings:
            search_space.check_encoding(name)
            encoding = search_space.encode(archs, name)
            assert encoding.dtype == np.float32 and encoding.ndim == 2
            assert np.isfinite(encoding).all()
            assert np.array_equal(encoding[3:5], search_space.encode(archs[3:5], name))
            assert np.array_equal(encoding, search_space.encode_choices(choices_of(archs), name))
            assert search_space.encode([], name).shape == (0, encoding.shape[1])
            assert search_space.encode([], name).dtype == np.float32

    def test_encodings_that_the_space_has_not_are_refused(self, search_space: SearchSpace) -> None:
        archs = samples(search_space, 1)
        for name in {*ENCODINGS, "x"} - set(search_space.encodings):
            message = f"has no encoding '{name}'; choose from {', '.join(search_space.encodings)}"
            for use in (
                search_space.check_encoding,
                lambda name: search_space.encode(archs, name),
                lambda name: search_space.encode_choices(choices_of(archs), name),
            ):
                with pytest.raises(ValueError, match=message):
                    use(name)

    def test_fair_decisions_are_positions(self, search_space: SearchSpace) -> None:
        if search_space.fair_decisions is None:
            return
        positions = list(search_space.fair_decisions)
        assert positions == sorted(set(positions)) and positions
        assert set(positions) <= set(range(len(search_space.decisions)))
