"""What a space promises of what is drawn from it: samples, mutants, children."""

from __future__ import annotations

import math

import numpy as np
import pytest

from supernets.spaces import SearchSpace
from supernets.testing.space_under_test import SpaceUnderTest, assert_alike, choices_of, samples


class DrawsContract(SpaceUnderTest):
    """Tests of ``SpaceContract``, which see."""

    def test_samples_are_valid_and_plain_integers(self, search_space: SearchSpace) -> None:
        for arch in samples(search_space, 100):
            search_space.validate(arch)
            assert arch.space == search_space.name
            assert {type(choice) for choice in arch.choices} == {int}

    def test_sampling_depends_on_the_rng_alone(self, search_space: SearchSpace) -> None:
        assert samples(search_space, 20, seed=3) == samples(search_space, 20, seed=3)
        assert samples(search_space, 20, seed=3) != samples(search_space, 20, seed=4)

    def test_many_samples_are_canonical_choices(self, search_space: SearchSpace) -> None:
        choices = search_space.sample_choices(300, np.random.default_rng(0))
        assert choices.shape == (300, len(search_space.decisions)) and choices.dtype == np.int64
        assert np.array_equal(search_space.canonicalize(choices), choices)
        archs = search_space.architectures(choices)
        assert archs == [search_space.architecture(row) for row in choices]
        for arch in archs:
            search_space.validate(arch)

    def test_no_architectures_give_none(self, search_space: SearchSpace) -> None:
        rng = np.random.default_rng(0)
        nothing = search_space.sample_choices(0, rng)
        for found in (
            nothing,
            search_space.canonicalize(nothing),
            search_space.mutate_choices(nothing, rng),
            search_space.redraw_choices(nothing, 0.5, rng),
            search_space.crossover_choices(nothing, nothing, rng),
        ):
            assert found.shape == (0, len(search_space.decisions)) and found.dtype == np.int64

    def test_samples_are_uniform_choices_made_canonical(self, search_space: SearchSpace) -> None:
        self.skip_if_choices_are_refused(search_space)
        choices = search_space.sample_choices(4000, np.random.default_rng(0))
        assert_alike(
            search_space, choices, search_space.canonicalize(self.raw_choices(search_space, 4000))
        )
        for i in range(len(search_space.decisions)):
            drawn = choices[search_space.is_active(choices)[:, i], i]
            assert set(drawn.tolist()) <= set(self.offered(search_space, i))

    def test_sampling_draws_every_active_option_equally_often(
        self, search_space: SearchSpace
    ) -> None:
        if self.merges_active_choices(search_space):
            pytest.skip("the canonical way to write a network prefers some options")
        choices = search_space.sample_choices(4000, np.random.default_rng(0))
        active = search_space.is_active(choices)
        for i in range(len(search_space.decisions)):
            drawn, options = choices[active[:, i], i], self.offered(search_space, i)
            for option in options:
                share = 1 / len(options)
                sigma = math.sqrt(len(drawn) * share * (1 - share))
                assert abs((drawn == option).sum() - len(drawn) * share) <= 4.5 * sigma

    def test_mutants_differ_in_one_decision_and_reach_every_other_option(
        self, search_space: SearchSpace
    ) -> None:
        """Beside it only decisions that the parent did not make, and the mutant does, differ."""
        if self.merges_active_choices(search_space):
            pytest.skip("the canonical way to write the mutant may differ in more")
        rng = np.random.default_rng(0)
        arch = samples(search_space, 1)[0]
        parents = np.repeat(choices_of([arch]), 150 * len(search_space.decisions), axis=0)
        mutants = search_space.mutate_choices(parents, rng)
        active = search_space.is_active(parents)[0]
        changed = (mutants != parents) & active & search_space.is_active(mutants)
        # a smaller depth also makes choices inactive
        assert (changed.sum(axis=1) == 1).all()
        reached = {(i, mutants[row, i]) for row, i in np.argwhere(changed)}
        assert reached == {
            (i, option)
            for i in np.flatnonzero(active).tolist()
            for option in self.offered(search_space, i)
            if option != arch.choices[i]
        }

    def test_mutation_is_as_likely_at_every_active_decision(
        self, search_space: SearchSpace
    ) -> None:
        if self.merges_active_choices(search_space):
            pytest.skip("the canonical way to write the mutant may differ in more")
        parents = np.repeat(choices_of(samples(search_space, 1)), 6000, axis=0)
        mutants = search_space.mutate_choices(parents, np.random.default_rng(0))
        active = search_space.is_active(parents)
        counts = ((mutants != parents) & active & search_space.is_active(mutants)).sum(axis=0)
        open_ones = [
            i for i in np.flatnonzero(active[0]).tolist() if len(self.offered(search_space, i)) > 1
        ]
        expected = 6000 / len(open_ones)
        assert np.abs(counts[open_ones] - expected).max() < 4.5 * math.sqrt(expected)
        assert counts.sum() == 6000

    def test_mutants_are_other_architectures_of_the_space(self, search_space: SearchSpace) -> None:
        parents = choices_of(samples(search_space, 300))
        before = parents.copy()
        mutants = search_space.mutate_choices(parents, np.random.default_rng(1))
        assert np.array_equal(parents, before)
        assert (mutants != parents).any(axis=1).all()
        assert np.array_equal(search_space.canonicalize(mutants), mutants)
        for mutant in search_space.architectures(mutants):
            search_space.validate(mutant)
            assert {type(choice) for choice in mutant.choices} == {int}

    def test_mutants_are_as_likely_as_the_choices_that_make_them(
        self, search_space: SearchSpace
    ) -> None:
        """A decision and then another option of it are uniform, but for what changes nothing."""
        arch = samples(search_space, 1)[0]
        if not search_space.is_active(self.raw_choices(search_space, 500)).all():
            pytest.skip("what becomes active is drawn as well")
        open_ones = [
            i for i in range(len(search_space.decisions)) if len(self.offered(search_space, i)) > 1
        ]
        shares: dict[tuple[int, ...], float] = {}
        for i in open_ones:
            others = [
                option for option in self.offered(search_space, i) if option != arch.choices[i]
            ]
            for option in others:
                choices = [*arch.choices[:i], option, *arch.choices[i + 1 :]]
                mutant = search_space.architecture(choices).choices
                share = 1 / len(open_ones) / len(others)
                shares[mutant] = shares.get(mutant, 0.0) + share
        shares.pop(arch.choices, None)
        parents = np.repeat(choices_of([arch]), 10_000, axis=0)
        mutants = search_space.mutate_choices(parents, np.random.default_rng(0))
        counts = dict.fromkeys(shares, 0)
        for mutant in map(tuple, mutants.tolist()):
            counts[mutant] += 1  # a KeyError for what is no neighbour
        for mutant, share in shares.items():
            expected = 10_000 * share / sum(shares.values())
            assert abs(counts[mutant] - expected) <= 4.5 * math.sqrt(expected)

    def test_one_mutant_is_one_of_many(self, search_space: SearchSpace) -> None:
        arch = samples(search_space, 1)[0]
        one = search_space.mutate(arch, np.random.default_rng(3))
        many = search_space.mutate_choices(choices_of([arch]), np.random.default_rng(3))
        assert [one] == search_space.architectures(many)

    def test_redrawing_with_probability_0_changes_nothing(self, search_space: SearchSpace) -> None:
        choices = choices_of(samples(search_space, 100))
        redrawn = search_space.redraw_choices(choices, 0.0, np.random.default_rng(0))
        assert np.array_equal(redrawn, choices)

    def test_redrawing_with_probability_1_is_sampling(self, search_space: SearchSpace) -> None:
        parents = np.repeat(choices_of(samples(search_space, 1)), 3000, axis=0)
        redrawn = search_space.redraw_choices(parents, 1.0, np.random.default_rng(0))
        assert_alike(
            search_space, redrawn, search_space.sample_choices(3000, np.random.default_rng(1))
        )

    def test_redrawing_draws_active_decisions_with_its_probability(
        self, search_space: SearchSpace
    ) -> None:
        """What was not active and becomes so is always drawn."""
        self.skip_if_choices_are_refused(search_space)
        parents = np.repeat(choices_of(samples(search_space, 1)), 3000, axis=0)
        before = parents.copy()
        redrawn = search_space.redraw_choices(parents, 0.2, np.random.default_rng(0))
        assert np.array_equal(parents, before)
        assert np.array_equal(search_space.canonicalize(redrawn), redrawn)
        is_drawn = np.random.default_rng(1).random(parents.shape) < 0.2
        is_drawn |= ~search_space.is_active(parents)
        expected = search_space.canonicalize(
            np.where(is_drawn, self.raw_choices(search_space, 3000), parents)
        )
        assert_alike(search_space, redrawn, expected)
        unchanged = [int((choices == parents).all(axis=1).sum()) for choices in (redrawn, expected)]
        assert abs(unchanged[0] - unchanged[1]) <= 4.5 * math.sqrt(sum(unchanged) + 1)
        for arch in search_space.architectures(redrawn[:100]):
            search_space.validate(arch)
            assert {type(choice) for choice in arch.choices} == {int}

    def test_crossovers_are_architectures_of_the_space(self, search_space: SearchSpace) -> None:
        rng = np.random.default_rng(0)
        first, second = (search_space.sample_choices(100, rng) for _ in range(2))
        before = first.copy(), second.copy()
        children = search_space.crossover_choices(first, second, rng)
        assert np.array_equal(first, before[0]) and np.array_equal(second, before[1])
        assert np.array_equal(search_space.canonicalize(children), children)
        for child in search_space.architectures(children):
            search_space.validate(child)

    def test_crossovers_take_every_decision_from_a_parent_that_makes_it(
        self, search_space: SearchSpace
    ) -> None:
        if self.merges_active_choices(search_space):
            pytest.skip("the canonical way to write the child may differ from both")
        rng = np.random.default_rng(0)
        first, second = (search_space.sample_choices(500, rng) for _ in range(2))
        children = search_space.crossover_choices(first, second, rng)
        is_first = (children == first) & search_space.is_active(first)
        is_second = (children == second) & search_space.is_active(second)
        in_neither = ~search_space.is_active(first) & ~search_space.is_active(second)
        assert (is_first | is_second | in_neither | ~search_space.is_active(children)).all()
        differ = search_space.is_active(first) & search_space.is_active(second) & (first != second)
        differ &= search_space.is_active(children)
        share = is_first[differ].mean()
        assert abs(share - 0.5) < 4.5 * 0.5 / math.sqrt(differ.sum())

    def test_crossovers_are_uniform_mixtures_made_canonical(
        self, search_space: SearchSpace
    ) -> None:
        if not search_space.is_active(self.raw_choices(search_space, 500)).all():
            pytest.skip("what neither parent chooses is drawn as well")
        first, second = (
            np.repeat(choices_of([arch]), 3000, axis=0) for arch in samples(search_space, 2)
        )
        children = search_space.crossover_choices(first, second, np.random.default_rng(0))
        coins = np.random.default_rng(1).random(first.shape) < 0.5
        assert_alike(
            search_space, children, search_space.canonicalize(np.where(coins, first, second))
        )

    def test_parents_that_agree_have_themselves_for_child(self, search_space: SearchSpace) -> None:
        rng = np.random.default_rng(0)
        for arch in samples(search_space, 20):
            assert search_space.crossover(arch, arch, rng) == arch
