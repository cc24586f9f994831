"""ProxyBO: its formulas by hand, and what becomes of good and of useless proxies."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import kendalltau

from search import BOOptions, ProxyBO, ProxyBOOptions, SearchProblem, SpaceExhaustedError
from search.algorithms.proxybo import concordance, proxy_weights
from search.predictors.forest import ProbabilisticForest


class TablePredictor:
    """Answers from a table by the first digit; remembers its fits and what it was asked about.

    Its answers are on the normalised scale of what it was fitted to, whatever that was.
    """

    fits: list[tuple[int, np.ndarray, np.ndarray]] = []
    asked: list[np.ndarray] = []

    def __init__(self, seed, means, stds):
        self.seed, self.means, self.stds = seed, means, stds

    def fit(self, choices, scores):
        TablePredictor.fits.append((self.seed, choices, scores))

    def predict_with_std(self, choices):
        TablePredictor.asked.append(choices)
        return self.means[choices[:, 0]], self.stds[choices[:, 0]]


@pytest.fixture(autouse=True)
def _nothing_remembered():
    TablePredictor.fits.clear()
    TablePredictor.asked.clear()


@pytest.fixture
def make_surrogate(make_linear_predictor):
    """A linear surrogate that costs nothing and is everywhere equally sure."""

    class LinearSurrogate(make_linear_predictor):
        def predict_with_std(self, choices):
            return self.predict(choices), np.full(len(choices), 0.1)

    return LinearSurrogate


def _table(means, stds=None):
    stds = np.zeros(len(means)) if stds is None else np.array(stds, np.float64)
    return partial(TablePredictor, means=np.array(means, np.float64), stds=stds)


def _digits(archs):
    return [arch.choices[0] for arch in archs]


def _columns(*columns):
    """Proxies by the first digit."""
    table = np.array(columns, np.float64).T
    return lambda choices: table[choices[:, 0]]


def _sum(choices):
    return choices.sum(axis=1, keepdims=True).astype(np.float64)


def _shuffled(choices):
    """Knows nothing, but is always of the same opinion."""
    return np.array([[float(hash((7, *row)))] for row in choices.tolist()])


def _rows(choices):
    return {tuple(row) for row in choices.tolist()}


def _run(algorithm, estimator, measure, num_trials, batch_size=1):
    while len(algorithm.trials) < num_trials:
        num_archs = algorithm.next_batch_size(batch_size)
        trials = measure(algorithm.ask(num_archs), len(algorithm.trials), estimator)
        algorithm.tell(trials)
    return algorithm


def _best(algorithm):
    return max(trial.score for trial in algorithm.trials if trial.score is not None)


def test_concordance_by_hand():
    """Pairs in order: agree by a tie, opposed, opposed by a tie of scores, opposed, agree, opposed.

    Of a tie it depends on the order of the pair.
    """
    scores, values = np.array([2.0, 3.0, 1.0, 2.0]), np.array([4.0, 4.0, 7.0, 0.0])
    assert concordance(values, scores) == pytest.approx(2 / 6)
    tie = np.array([4.0, 4.0])
    assert concordance(tie, np.array([2.0, 3.0])) == 1.0
    assert concordance(tie, np.array([3.0, 2.0])) == 0.0
    assert concordance(np.array([-np.inf, 4.0]), np.array([2.0, 3.0])) == 1.0


def test_concordance_without_ties_is_kendalls():
    rng = np.random.default_rng(0)
    for _ in range(3):
        values, scores = rng.normal(size=(2, 30))
        tau = kendalltau(values, scores).statistic
        assert concordance(values, scores) == pytest.approx((tau + 1) / 2)


def test_influences_sharpen_with_the_iteration_and_with_a_lower_temperature():
    assert proxy_weights(np.full(3, 0.7), iteration=9, tau0=0.05) == pytest.approx(
        np.full(3, 1 / 3)
    )
    concordances = np.array([0.6, 0.5])
    first = proxy_weights(concordances, iteration=1, tau0=0.05)
    assert first == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))])
    later = proxy_weights(concordances, iteration=round(math.e**3), tau0=0.05)  # 20
    assert later[0] == pytest.approx(1 / (1 + math.exp(-2 * (1 + math.log(20)))))
    assert later[0] > first[0] > proxy_weights(concordances, iteration=1, tau0=0.5)[0] > 0.5


def test_combined_ranks_by_hand(make_digit_space, measure):
    """All three rank the three trials perfectly, so that each has a third of the influence.

    ======= === === === === ===
    digit     3   4   5   6   7
    surrogate 1   2   3   4   5
    first     5   1 2.5 2.5   4   (nan is last)
    second    5   4   3   1   2
    sum      11   7 8.5 7.5  11
    ======= === === === === ===
    """
    space = make_digit_space(1, 8)
    nan = math.nan
    for seed in range(8):
        algorithm = ProxyBO(
            SearchProblem(
                space,
                zero_cost_features=_columns([0, 1, 2, nan, 9, 8, 8, 7], [0, 1, 2, 5, 6, 7, 9, 8]),
                seed=seed,
            ),
            ProxyBOOptions(predictor_inputs=("macs",), num_initial=3),
            make_predictor=_table([-100, 0, 100, 500, 400, 300, 200, 150]),
        )
        algorithm.tell(measure(list(space.enumerate())[:3]))
        assert algorithm.influences(3) == pytest.approx(np.full(3, 1 / 3))
        assert _digits(algorithm.ask(3)) == [4, 6, 5]
        assert _digits(algorithm.ask(1)) == [4]


def test_equal_candidates_are_asked_for_in_random_order(make_digit_space, measure):
    space = make_digit_space(1, 8)
    asked = set()
    for seed in range(12):
        algorithm = ProxyBO(
            SearchProblem(space, seed=seed),
            BOOptions(num_initial=3),
            make_predictor=_table([0.0] * 8),
        )
        algorithm.tell(measure(list(space.enumerate())[:3]))
        asked |= set(_digits(algorithm.ask(1)))
    assert len(asked) > 2


def test_without_proxies_it_is_expected_improvement(make_digit_space, measure):
    space = make_digit_space(1, 6)
    make_predictor = _table([0.0] * 6, stds=[0, 0, 0, 0.1, 3, 1])
    algorithm = ProxyBO(
        SearchProblem(space), BOOptions(num_initial=3), make_predictor=make_predictor
    )
    algorithm.tell(measure(list(space.enumerate())[:3]))
    assert _digits(algorithm.ask(3)) == [4, 5, 3]
    assert len(TablePredictor.fits) == 1  # nothing is judged where there is nothing to weigh
    assert algorithm.influences(3).tolist() == [1.0]


def test_surrogate_is_judged_by_what_it_was_not_fitted_to(medium_space, measure):
    algorithm = ProxyBO(
        SearchProblem(medium_space, zero_cost_features=_sum),
        ProxyBOOptions(predictor_inputs=("macs",)),
        make_predictor=_table(np.arange(4)),
    )
    algorithm.tell(measure(algorithm.ask(13)))
    algorithm.influences(12)
    told = {trial.arch.choices for trial in algorithm.trials[:12]}
    assert sorted(map(len, TablePredictor.asked)) == [2, 2, 2, 3, 3]
    assert _rows(np.concatenate(TablePredictor.asked)) == told
    for (_, choices, scores), fold in zip(TablePredictor.fits, TablePredictor.asked, strict=True):
        assert _rows(choices) == told - _rows(fold)
        assert scores.mean() == pytest.approx(0.0) and scores.std() == pytest.approx(1.0)


def test_influences_are_of_successful_trials(medium_space, measure, make_estimator):
    """Failed ones count neither as pairs nor as iterations."""

    def proxies(choices):
        return np.hstack([_sum(choices), _shuffled(choices)])

    estimator = make_estimator(fails=lambda arch: arch.choices[5] == 0)
    algorithm = ProxyBO(
        SearchProblem(medium_space, zero_cost_features=proxies),
        ProxyBOOptions(predictor_inputs=("macs",), tau0=0.3),
        make_predictor=_table(np.arange(4)),
    )
    algorithm.tell(measure(algorithm.ask(20), estimator=estimator))
    told = [trial for trial in algorithm.trials if trial.score is not None]
    assert 10 < len(told) < 20
    scores = np.array([trial.score for trial in told])
    by_sum, shuffled = proxies(medium_space.choices_of(trial.arch for trial in told)).T
    expected = concordance(by_sum, scores) - concordance(shuffled, scores)
    assert abs(expected) > 0.1
    influences = algorithm.influences(20)
    assert influences.sum() == pytest.approx(1.0)
    difference = math.log(influences[1] / influences[2]) * 0.3 / (1 + math.log(len(told) + 1))
    assert difference == pytest.approx(expected)


def test_perfect_proxy_dominates_a_surrogate_that_knows_nothing(
    medium_space, measure, make_estimator
):
    estimator = make_estimator()

    def perfect(choices):
        archs = medium_space.architectures(choices)
        return np.array([[estimator.score(arch)] for arch in archs])

    algorithm = ProxyBO(
        SearchProblem(medium_space, zero_cost_features=perfect),
        ProxyBOOptions(predictor_inputs=("macs",)),
        make_predictor=_table(np.zeros(4)),
    )
    algorithm.tell(measure(algorithm.ask(5)))
    best = sorted(medium_space.enumerate(), key=estimator.score, reverse=True)
    unseen = [arch for arch in best if arch not in {trial.arch for trial in algorithm.trials}]
    assert algorithm.influences(5)[1] > 0.999
    assert algorithm.ask(1) == unseen[:1]


def test_shuffled_proxy_loses_its_influence_and_does_no_harm(
    make_digit_space, measure, make_estimator, make_surrogate
):
    space, estimator = make_digit_space(5, 4), make_estimator()
    make_predictor = partial(make_surrogate, space)
    best = {"none": [], "shuffled": []}
    for seed in range(4):
        for name, proxies in (("none", None), ("shuffled", _shuffled)):
            algorithm = ProxyBO(
                SearchProblem(space, seed, zero_cost_features=proxies),
                BOOptions() if proxies is None else ProxyBOOptions(predictor_inputs=("macs",)),
                make_predictor=make_predictor,
            )
            best[name].append(_best(_run(algorithm, estimator, measure, 25)))
        assert algorithm.influences(25)[1] < 1e-3
    assert np.mean(best["shuffled"]) > 0.98 * np.mean(best["none"])


def test_good_proxy_gets_further_than_none(make_digit_space, measure, make_estimator):
    """With the surrogate it is meant for, which after so few trials knows little."""
    space, estimator = make_digit_space(5, 4), make_estimator()
    make_predictor = partial(ProbabilisticForest, space)
    best = {"none": [], "sum": []}
    for seed in range(4):
        for name, proxies in (("none", None), ("sum", _sum)):
            algorithm = ProxyBO(
                SearchProblem(space, seed, zero_cost_features=proxies),
                BOOptions() if proxies is None else ProxyBOOptions(predictor_inputs=("macs",)),
                make_predictor=make_predictor,
            )
            best[name].append(_best(_run(algorithm, estimator, measure, 15, batch_size=5)))
    assert np.mean(best["sum"]) > 1.1 * np.mean(best["none"])


def test_pure_function_of_what_was_told(medium_space, measure, make_surrogate):
    def search(seed, rand_prob):
        return ProxyBO(
            SearchProblem(medium_space, seed, zero_cost_features=_sum),
            ProxyBOOptions(predictor_inputs=("macs",), rand_prob=rand_prob),
            make_predictor=partial(make_surrogate, medium_space),
        )

    algorithm = search(3, 0.3)
    influences = {}
    for num_archs in (5, 4, 1, 3):
        archs = algorithm.ask(num_archs)
        assert algorithm.ask(num_archs) == archs
        algorithm.tell(measure(archs, len(algorithm.trials)))
        influences[len(algorithm.trials)] = algorithm.influences(len(algorithm.trials))
    again = search(3, 0.3)
    again.tell(algorithm.trials)
    assert again.ask(3) == algorithm.ask(3)
    for num_trials, expected in influences.items():
        assert np.array_equal(again.influences(num_trials), expected)
    other = search(4, 0.0)
    other.tell(algorithm.trials)
    assert not np.array_equal(other.influences(13), influences[13])  # other folds


def test_some_are_drawn_at_random(medium_space, measure):
    """Of 400 asked, the table ranks the first-digit 3 best, which are 1024 of 4096."""
    shares = []
    for rand_prob in (0.0, 0.4, 1.0):
        algorithm = ProxyBO(
            SearchProblem(medium_space),
            BOOptions(rand_prob=rand_prob),
            make_predictor=_table(np.arange(10, 14)),
        )
        algorithm.tell(measure(algorithm.ask(5)))
        asked = algorithm.ask(400)
        assert len(set(asked)) == 400
        shares.append(np.mean(np.array(_digits(asked)) == 3))
    assert shares[0] == 1.0
    assert shares[1] == pytest.approx(1 - 0.4 * 0.75, abs=0.08)
    assert shares[2] == pytest.approx(0.25, abs=0.08)
    assert len(TablePredictor.fits) == 2  # where all are random nothing is fitted


def test_constraint_holds_to_the_end(small_space, measure, make_surrogate):
    """Proxies of the candidates are asked for once, those of the trials in every ask."""
    sizes = []

    def proxies(choices):
        sizes.append(len(choices))
        return _sum(choices)

    algorithm = ProxyBO(
        SearchProblem(
            small_space,
            zero_cost_features=proxies,
            are_feasible=lambda choices: choices.sum(axis=1) % 2 == 0,
        ),
        ProxyBOOptions(predictor_inputs=("macs",), rand_prob=0.2),
        make_predictor=partial(make_surrogate, small_space),
    )
    while len(algorithm.trials) < 41:
        num_archs = min(6, 41 - len(algorithm.trials))
        archs = algorithm.ask(num_archs)
        assert not {trial.arch for trial in algorithm.trials} & set(archs)
        assert all(sum(arch.choices) % 2 == 0 for arch in archs)
        algorithm.tell(measure(archs, len(algorithm.trials)))
    assert sizes.count(41) == 1 and sizes.count(12) == 1
    with pytest.raises(SpaceExhaustedError, match="0 of the 41 feasible"):
        algorithm.ask(1)


@pytest.mark.parametrize("pool", ["fresh", "fixed"])
def test_large_space_is_ranked_by_a_pool(
    large_space, measure, make_estimator, make_surrogate, pool
):
    estimator = make_estimator()
    algorithm = ProxyBO(
        SearchProblem(large_space, zero_cost_features=_sum),
        ProxyBOOptions(predictor_inputs=("macs",), pool=pool, pool_size=100, rand_prob=0.1),
        make_predictor=partial(make_surrogate, large_space),
    )
    archs = algorithm.ask(5)
    algorithm.tell(measure(archs))
    for num_archs in (1, 10, 10, 10):
        asked = algorithm.ask(num_archs)
        assert not set(asked) & set(archs) and len(set(asked)) == num_archs
        archs += asked
        algorithm.tell(measure(asked, len(algorithm.trials)))
    initial = max(estimator.score(arch) for arch in archs[:5])
    assert _best(algorithm) > {"fresh": 1.1, "fixed": 1.0}[pool] * initial
    with pytest.raises(SpaceExhaustedError, match="raise pool_size"):
        algorithm.ask(200)


def test_nothing_is_fitted_to_one_success(medium_space, measure, make_estimator):
    make_predictor = _table(np.arange(4))
    algorithm = ProxyBO(
        SearchProblem(medium_space, zero_cost_features=_sum),
        ProxyBOOptions(predictor_inputs=("macs",), num_initial=4),
        make_predictor=make_predictor,
    )
    first = algorithm.ask(4)
    algorithm.tell(measure(first, estimator=make_estimator(fails=lambda arch: arch != first[0])))
    assert len(algorithm.ask(3)) == 3 and not TablePredictor.fits
    with pytest.raises(ValueError, match="at least 2 successful trials, got 1 among the first 4"):
        algorithm.influences(4)
    with pytest.raises(ValueError, match="among the first 5 of 4"):
        algorithm.influences(5)


def test_equal_scores_are_fitted_as_zeros(medium_space, measure):
    algorithm = ProxyBO(
        SearchProblem(medium_space, zero_cost_features=_sum),
        ProxyBOOptions(predictor_inputs=("macs",)),
        make_predictor=_table(np.arange(4)),
    )
    trials = measure(algorithm.ask(5))
    algorithm.tell([type(t)(t.number, t.arch, 93.7, {}, 0.0, None) for t in trials])
    assert len(algorithm.ask(2)) == 2
    assert np.array_equal(TablePredictor.fits[0][2], np.zeros(5))


def test_proxies_must_be_a_table(small_space, measure):
    algorithm = ProxyBO(
        SearchProblem(small_space, zero_cost_features=lambda choices: choices.sum(axis=1)),
        ProxyBOOptions(predictor_inputs=("macs",)),
        make_predictor=_table(np.arange(3)),
    )
    algorithm.tell(measure(algorithm.ask(5)))
    with pytest.raises(ValueError, match=r"proxies must give \(81, num_proxies\) .*, got \(81,\)"):
        algorithm.ask(1)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"num_initial": 0}, "num_initial must be at least 1, got 0"),
        ({"tau0": 0.0}, "tau0 must be positive, got 0.0"),
        ({"tau0": math.nan}, "tau0 must be positive, got nan"),
        ({"rand_prob": -0.1}, "rand_prob must be from 0 to 1, got -0.1"),
        ({"rand_prob": 1.1}, "rand_prob must be from 0 to 1, got 1.1"),
        ({"pool": "fixed"}, "small enough to be ranked whole"),
    ],
)
def test_settings_are_checked(small_space, wrong, match):
    with pytest.raises(ValueError, match=match):
        problem = SearchProblem(small_space, zero_cost_features=_sum)
        options = ProxyBOOptions(predictor_inputs=("macs",), **wrong)
        ProxyBO(problem, options, make_predictor=_table(np.arange(3)))
