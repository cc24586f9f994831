"""Neural Predictor: what is fitted to what, once, and the order of what follows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from search import (
    NeuralPredictorOptions,
    RandomSearch,
    SearchProblem,
    SpaceExhaustedError,
    Trial,
    TrialStore,
    run_search,
)
from search.algorithms.neural_predictor import NeuralPredictorSearch
from search.predictors.gcn import GCNPredictor
from supernets.spaces import NASBench201Space
from supernets.spaces.factory import create_space
from tests.search.algorithms.running import run


class OrderPredictor:
    """Predicts a fixed ranking, the first of the space best; remembers what it was fitted to."""

    fits: list[tuple[int, list[tuple[int, ...]], np.ndarray]] = []
    rankings: list[list[int]] = []

    def __init__(self, seed):
        self.seed = seed

    def fit(self, choices, scores):
        OrderPredictor.fits.append((self.seed, list(map(tuple, choices.tolist())), scores))

    def predict(self, choices):
        positions = self.positions(choices)
        OrderPredictor.rankings.append(positions.tolist())
        return -positions.astype(np.float64)

    @staticmethod
    def positions(choices):
        return choices @ 4 ** np.arange(choices.shape[1])[::-1]


class EvenClassifier(OrderPredictor):
    """Accepts every other architecture; of the others it thinks the better, the later they come."""

    def predict(self, choices):
        positions = self.positions(choices)
        return np.where(positions % 2 == 0, 0.9, 0.5 * positions / 4096)


@pytest.fixture(autouse=True)
def _no_fits():
    OrderPredictor.fits.clear()
    OrderPredictor.rankings.clear()


def _search(space, *, seed=0, make_predictor=OrderPredictor, make_classifier=None, **settings):
    return NeuralPredictorSearch(
        SearchProblem(space, seed=seed),
        NeuralPredictorOptions(**{"num_initial": 8, **settings}),
        make_predictor=make_predictor,
        make_classifier=make_classifier,
    )


def _archs(space, positions):
    everything = list(space.enumerate())
    return [everything[i] for i in positions]


def _positions(archs):
    return OrderPredictor.positions(np.array([arch.choices for arch in archs])).tolist()


def test_asks_for_the_best_predicted_in_order(medium_space, measure):
    algorithm = _search(medium_space)
    algorithm.tell(measure(_archs(medium_space, [0, 2, 3, 100, 200, 300, 400, 500])))
    assert _positions(algorithm.ask(4)) == [1, 4, 5, 6]
    algorithm.tell(measure(_archs(medium_space, [4, 9]), start=8))
    assert _positions(algorithm.ask(4)) == [1, 5, 6, 7]


def test_is_fitted_once_to_the_initial_trials(medium_space, measure):
    algorithm = _search(medium_space, seed=5)
    assert algorithm.next_batch_size(3) == 8
    told = measure(algorithm.ask(8))
    algorithm.tell(told)
    assert not OrderPredictor.fits and algorithm.next_batch_size(3) == 3
    for start in (8, 11, 14):
        algorithm.tell(measure(algorithm.ask(3), start))
        assert algorithm.ask(3) == algorithm.ask(3)
    ((seed, rows, scores),) = OrderPredictor.fits
    assert len(OrderPredictor.rankings) == 1
    assert rows == [trial.arch.choices for trial in told]
    raw = np.array([trial.score for trial in told])
    np.testing.assert_allclose(scores, (raw - raw.mean()) / raw.std())
    late = _search(medium_space, seed=5)
    late.tell(algorithm.trials)
    assert late.ask(3) == algorithm.ask(3)
    assert OrderPredictor.fits[1][:2] == (seed, rows)
    other = _search(medium_space, seed=6)
    other.tell(algorithm.trials)
    other.ask(1)
    assert OrderPredictor.fits[2][0] != seed


def test_two_successes_are_needed_and_no_more_are_fitted(medium_space, measure, make_estimator):
    """Of the first nine only one succeeds, and the search stays random; the eleventh is second."""
    archs = _archs(medium_space, range(14))
    failing = make_estimator(fails=lambda arch: arch in archs[:10] and arch != archs[3])
    trials = measure(archs, estimator=failing)
    algorithm = _search(medium_space)
    algorithm.tell(trials[:9])
    assert len(algorithm.ask(5)) == 5 and not OrderPredictor.fits
    with pytest.raises(ValueError, match="fitted to 8 trials .* at least 2 .* got 9 of which 1"):
        algorithm.predict_best()
    algorithm.tell(trials[9:])
    algorithm.ask(5)
    assert OrderPredictor.fits[0][1] == [archs[3].choices, archs[10].choices]


def test_two_stages_fit_a_classifier_and_the_better_trials(medium_space, measure, make_estimator):
    algorithm = _search(
        medium_space, two_stage=True, make_classifier=EvenClassifier, threshold_quantile=0.7
    )
    trials = measure(_archs(medium_space, range(100, 110)))
    algorithm.tell([*trials, *measure(_archs(medium_space, range(10)), start=10)])
    algorithm.ask(1)
    (seed_a, rows, labels), (seed_b, better, scores) = OrderPredictor.fits
    assert seed_a != seed_b and rows == [trial.arch.choices for trial in trials[:8]]
    raw = np.array([trial.score for trial in trials[:8]])
    threshold = np.sort(raw)[4] + 0.9 * (np.sort(raw)[5] - np.sort(raw)[4])
    assert labels.tolist() == (raw > threshold).tolist() and labels.sum() == 3
    assert better == [row for row, label in zip(rows, labels, strict=True) if label]
    kept = raw[raw > threshold]
    np.testing.assert_allclose(scores, (kept - kept.mean()) / kept.std())
    arch, predicted = algorithm.predict_best()
    assert arch == medium_space.architecture([0] * 6)
    assert predicted == pytest.approx(kept.mean())  # 0 of what is standardised


def test_the_accepted_come_first_and_the_rejected_by_their_probability(medium_space, measure):
    algorithm = _search(medium_space, two_stage=True, make_classifier=EvenClassifier)
    algorithm.tell(measure(_archs(medium_space, [0, 1, 2, 3, 10, 11, 4094, 4095])))
    rest = _positions(algorithm.ask(4096 - 8))
    assert rest[:4] == [4, 6, 8, 12] and rest[2042:2048] == [4090, 4092, 4093, 4091, 4089, 4087]
    assert rest[-3:] == [9, 7, 5]


def test_without_two_better_trials_there_is_one_stage(medium_space, measure):
    for quantile, score in ((0.5, 93.7), (0.95, None)):
        OrderPredictor.fits.clear()
        algorithm = _search(
            medium_space,
            two_stage=True,
            make_classifier=EvenClassifier,
            threshold_quantile=quantile,
        )
        trials = measure(_archs(medium_space, range(8)))
        if score is not None:
            trials = [Trial(t.number, t.arch, score, {}, 0.0, None) for t in trials]
        algorithm.tell(trials)
        assert _positions(algorithm.ask(2)) == [8, 9]
        ((_, rows, scores),) = OrderPredictor.fits
        assert len(rows) == 8
        if score is not None:
            assert scores.tolist() == [0.0] * 8


def test_a_regression_to_the_labels_classifies_where_nothing_else_is_given(medium_space, measure):
    algorithm = _search(medium_space, two_stage=True)
    algorithm.tell(measure(_archs(medium_space, range(8))))
    algorithm.ask(1)
    assert [len(rows) for _, rows, _ in OrderPredictor.fits] == [8, 4]
    assert set(OrderPredictor.fits[0][2]) == {0.0, 1.0}


@pytest.mark.parametrize("two_stage", [False, True])
def test_beats_random_on_a_planted_landscape(
    medium_space, make_estimator, make_linear_predictor, two_stage
):
    estimator = make_estimator()
    best = estimator.score(medium_space.architecture([3] * 6))
    for seed in range(5):
        algorithm = _search(
            medium_space,
            make_predictor=partial(make_linear_predictor, medium_space),
            seed=seed,
            num_initial=60,
            two_stage=two_stage,
        )
        random = RandomSearch(SearchProblem(medium_space, seed=seed))
        run(algorithm, 70, 10, estimator.score)
        run(random, 70, 10, estimator.score)
        found = max(trial.score for trial in algorithm.trials)
        assert found > max(trial.score for trial in random.trials)
        assert found > 0.95 * best


@pytest.mark.parametrize("two_stage", [False, True])
@pytest.mark.parametrize("space_name", ["medium_space", "large_space"])
def test_kill_and_resume_equals_uninterrupted(
    make_estimator, make_linear_predictor, request, tmp_path, space_name, two_stage
):
    space = request.getfixturevalue(space_name)
    fails = lambda arch: sum(arch.choices) % 5 == 0  # noqa: E731

    def search(estimator, name):
        algorithm = _search(
            space,
            make_predictor=partial(make_linear_predictor, space),
            seed=3,
            two_stage=two_stage,
            pool_size=100,
        )
        with TrialStore.open(tmp_path / name, {}, space) as store:
            run_search(algorithm, estimator, store, num_trials=20, batch_size=5)
            return [(trial.arch, trial.score) for trial in store.trials]

    whole = search(make_estimator(fails), "whole.db")
    assert len(whole) == 20 and any(score is None for _, score in whole)
    for at in (3, 10, 19):
        with pytest.raises(KeyboardInterrupt):
            search(make_estimator(fails, interrupt_at=at), f"{at}.db")
        assert search(make_estimator(fails), f"{at}.db") == whole


def test_a_fresh_pool_is_ranked_in_every_ask_by_the_same_predictor(large_space, measure):
    algorithm = _search(large_space, pool_size=50)
    algorithm.tell(measure(algorithm.ask(8)))
    for start in (8, 13):
        algorithm.tell(measure(algorithm.ask(5), start))
    first, second = OrderPredictor.rankings
    assert len(OrderPredictor.fits) == 1 and len(first) == 58 and len(second) == 63
    assert len(set(first) & set(second)) < 30
    pools = [sorted(pool) for pool in (first, second)]
    told = [_positions([trial.arch for trial in algorithm.trials[part]]) for part in
            (slice(8, 13), slice(13, 18))]  # fmt: skip
    seen = set(_positions([trial.arch for trial in algorithm.trials[:8]]))
    assert told[0] == [position for position in pools[0] if position not in seen][:5]
    seen |= set(told[0])
    assert told[1] == [position for position in pools[1] if position not in seen][:5]


def test_a_fixed_pool_is_ranked_once(large_space, measure):
    algorithm = _search(large_space, pool="fixed", pool_size=30)
    told = algorithm.ask(8)
    algorithm.tell(measure(told))
    for start in (8, 20):
        told += (asked := algorithm.ask(12 if start == 8 else 10))
        algorithm.tell(measure(asked, start))
    assert len(OrderPredictor.rankings) == 1
    assert set(OrderPredictor.rankings[0]) == set(_positions(told))
    with pytest.raises(SpaceExhaustedError, match="raise pool_size"):
        algorithm.ask(1)


def test_equal_predictions_are_not_ranked_in_the_order_of_the_space(medium_space, measure):
    class ConstantPredictor(OrderPredictor):
        def predict(self, choices):
            return np.zeros(len(choices))

    for two_stage in (False, True):
        algorithm = _search(medium_space, make_predictor=ConstantPredictor, two_stage=two_stage)
        algorithm.tell(measure(_archs(medium_space, range(8))))
        assert np.mean([arch.choices[0] for arch in algorithm.ask(40)]) == pytest.approx(1.5, 0.4)


def test_graph_predictors_in_two_stages():
    """The paper's own pair, on a corner of NAS-Bench-201 where convolutions are what counts."""
    ops = ["none", "skip_connect", "nor_conv_3x3"]
    whole = NASBench201Space()
    space = whole.restrict({decision.name: ops for decision in whole.decisions})
    settings = {"width": 16, "learning_rate": 1e-2, "num_epochs": 20}
    algorithm = _search(
        space,
        make_predictor=partial(GCNPredictor, space, **settings),
        make_classifier=partial(GCNPredictor, space, loss="bce", **settings),
        two_stage=True,
        num_initial=80,
    )

    def score(arch):
        return float(sum(0 if op == 0 else 1 if op == 1 else 4 for op in arch.choices))

    run(algorithm, 80, 10, score)
    found = [score(arch) for arch in algorithm.ask(20)]
    assert np.mean(found) > np.quantile([score(arch) for arch in space.enumerate()], 0.9)


@pytest.mark.parametrize("name", ["nasbench_macro", "mobilenetv3", "mnasnet"])
def test_chains_are_graphs(name):
    """The paper's second space is a chain."""
    space = create_space(name)
    settings = {"width": 16, "learning_rate": 1e-2, "num_epochs": 30}
    algorithm = _search(
        space,
        make_predictor=partial(GCNPredictor, space, **settings),
        num_initial=60,
        pool_size=300,
    )

    def score(arch):
        return float(sum(arch.choices))

    run(algorithm, 60, 10, score)
    by_chance = [
        score(arch)
        for arch in space.architectures(space.sample_choices(300, np.random.default_rng(1)))
    ]
    assert np.mean([score(arch) for arch in algorithm.ask(10)]) > np.quantile(by_chance, 0.9)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"num_initial": 0}, "num_initial must be at least 1, got 0"),
        ({"threshold_quantile": 0.0}, "threshold_quantile must be between 0 and 1, got 0.0"),
        ({"threshold_quantile": 1.0}, "threshold_quantile must be between 0 and 1, got 1.0"),
        ({"make_classifier": OrderPredictor}, "make_classifier is for two stages; leave it out"),
        ({"pool_size": 0}, "pool_size must be at least 1, got 0"),
        ({"pool": "fixed"}, "small enough to be ranked whole; a fixed pool is for larger ones"),
    ],
)
def test_settings_are_checked(small_space, wrong, match):
    with pytest.raises(ValueError, match=match):
        _search(small_space, **wrong)
