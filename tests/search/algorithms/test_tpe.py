"""TPE: what its densities are, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from search import SearchProblem, TPEOptions, Trial
from search.algorithms.tpe import TPESearch
from supernets.spaces import MobileNetV3Space


def _tell(algorithm, archs, scores):
    algorithm.tell(
        [
            Trial(number, arch, score, {}, 0.0, "failed" if score is None else None)
            for number, (arch, score) in enumerate(zip(archs, scores, strict=True))
        ]
    )
    return algorithm


def _choices(archs):
    return np.array([arch.choices for arch in archs])


GOOD, BAD, FAILED = (0, 2), (3, 3, 3, 1, 1, 2), (0, 0, 0)


@pytest.fixture
def told(large_space):
    """Tells an algorithm trials that have one digit in the first nine of twelve decisions."""

    def tell(**settings):
        digits = GOOD + BAD + FAILED
        archs = [
            large_space.architecture([digit] * 9 + [0, number // 4, number % 4])
            for number, digit in enumerate(digits)
        ]
        scores = [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, None, None, None]
        return _tell(
            TPESearch(SearchProblem(large_space), TPEOptions(num_initial=8, **settings)),
            archs,
            scores,
        )

    return tell


def test_candidates_are_drawn_as_good_trials_are_and_one_of_each_option(told):
    """Of 2 good trials one has 0 and one 2: options 0 to 3 have 2, 1, 2 and 1 parts of six."""
    drawn = _choices(told(num_candidates=1).ask(3000))
    for i in range(9):
        shares = np.bincount(drawn[:, i], minlength=4) / 3000
        assert shares == pytest.approx(np.array([2, 1, 2, 1]) / 6, abs=0.04)


def test_the_highest_ratios_of_the_candidates_are_asked_for(told):
    """Of the bad trials' options 0 to 3 have 1, 3, 2 and 4 parts of ten."""
    by_digit = np.array([2 / 6 / (1 / 10), 1 / 6 / (3 / 10), 2 / 6 / (2 / 10), 1 / 6 / (4 / 10)])
    one, many = (_choices(told(num_candidates=number).ask(20))[:, :9] for number in (1, 50))
    ratios = [np.log(by_digit[digits]).sum(axis=1) for digits in (one, many)]
    assert ratios[1].min() > np.median(ratios[0])
    assert ratios[1].mean() > ratios[0].max() - 1
    assert (many == 0).mean() > 0.6 and (one == 0).mean() == pytest.approx(1 / 3, abs=0.1)


def test_share_of_good_trials_is_rounded_up(large_space):
    """Of nine trials, the three best of gamma 0.25; with 0.1 the best alone."""
    archs = [large_space.architecture([int(number < 3)] * 11 + [number % 4]) for number in range(4)]
    archs += [large_space.architecture([0] * 10 + [1 + i // 4, i % 4]) for i in range(5)]
    for gamma, num_ones in ((0.25, 3), (0.1, 1)):
        algorithm = TPESearch(
            SearchProblem(large_space), TPEOptions(num_initial=9, gamma=gamma, num_candidates=1)
        )
        _tell(algorithm, archs, [float(-number) for number in range(9)])
        drawn = _choices(algorithm.ask(2000))[:, :10]
        assert (drawn == 1).mean() == pytest.approx((num_ones + 1) / (num_ones + 4), abs=0.02)


def test_where_few_are_left_all_are_candidates(make_digit_space):
    """Good is 000; bad are 111, 110 and 011.

    A 0 has a ratio of 2/3 : 2/5 at the ends and of 2/3 : 1/5 in the middle, a 1 of 1/3 : 3/5 and of
    1/3 : 4/5. So 001 and 100 have 3.09, 010 has 1.16 and 101 has 1.03.
    """
    space = make_digit_space(3, 2)
    told = [(0, 0, 0), (1, 1, 1), (1, 1, 0), (0, 1, 1)]
    algorithm = TPESearch(SearchProblem(space), TPEOptions(num_initial=4))
    _tell(algorithm, [space.architecture(choices) for choices in told], [4.0, 3.0, 2.0, 1.0])
    left = [arch.choices for arch in algorithm.ask(4)]
    assert set(left[:2]) == {(0, 0, 1), (1, 0, 0)} and left[2:] == [(0, 1, 0), (1, 0, 1)]
    assert algorithm.ask(1)[0].choices in left[:2]


def test_inactive_choices_are_no_observations():
    """Good trials are shallow; how deep blocks are does not follow from their zeros."""
    space = MobileNetV3Space()
    rng = np.random.default_rng(0)
    pool = space.architectures(space.sample_choices(4000, rng))
    shallow = [arch for arch in pool if arch.choices[0] == 0][:20]
    deep = [arch for arch in pool if arch.choices[0] == 2][:20]
    algorithm = TPESearch(
        SearchProblem(space), TPEOptions(num_initial=40, gamma=0.5, num_candidates=1)
    )
    _tell(algorithm, shallow + deep, [1.0] * 20 + [0.0] * 20)
    drawn = _choices(algorithm.ask(3000))
    assert (drawn[:, 0] == 0).mean() == pytest.approx(21 / 23, abs=0.02)
    kernels = drawn[drawn[:, 0] == 2][:, 5 + 3]  # of the fourth block of the first stage
    assert len(kernels) > 80
    assert np.bincount(kernels, minlength=3) / len(kernels) == pytest.approx(
        np.full(3, 1 / 3), abs=0.15
    )


def test_only_what_a_restricted_space_offers_is_drawn():
    """The first option is not offered, though inactive choices are written so."""
    space = MobileNetV3Space().restrict({"kernel": ("5", "7"), "depth.1": ("3", "4")})
    algorithm = TPESearch(SearchProblem(space), TPEOptions(num_initial=10))
    rng = np.random.default_rng(0)
    _tell(algorithm, space.architectures(space.sample_choices(10, rng)), map(float, range(10)))
    for arch in algorithm.ask(30):
        space.validate(arch)


def test_choices_that_make_no_architecture_are_left_out(make_digit_space):
    class OddSpace(make_digit_space):
        """Digits of an even sum are no architecture."""

        def are_valid(self, choices):
            return choices.sum(axis=1) % 2 == 1

        def sample_choices(self, num_archs, rng):
            choices = super().sample_choices(num_archs, rng)
            choices[:, 0] += (choices.sum(axis=1) + 1) % 2 * (1 - 2 * (choices[:, 0] % 2))
            return choices

    space = OddSpace(12, 4)
    algorithm = TPESearch(SearchProblem(space), TPEOptions(num_initial=10, num_candidates=8))
    archs = algorithm.ask(10)
    _tell(algorithm, archs, map(float, range(10)))
    asked = algorithm.ask(20)
    assert len(set(asked)) == 20 and all(sum(arch.choices) % 2 for arch in asked)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"gamma": 0.0}, "gamma must be between 0 and 1, got 0.0"),
        ({"gamma": 1.0}, "gamma must be between 0 and 1, got 1.0"),
        ({"gamma": float("nan")}, "gamma must be between 0 and 1, got nan"),
        ({"num_candidates": 0}, "num_candidates must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(small_space, wrong, match):
    with pytest.raises(ValueError, match=match):
        TPESearch(SearchProblem(small_space), TPEOptions(**wrong))
