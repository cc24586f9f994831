"""Ensembles: mean and deviation by hand, and small MLPs that disagree where they know least."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from search.predictors.ensemble import EnsemblePredictor, mlp, mlp_ensemble


class ConstantPredictor:
    """Predicts what it is given one after the other, plus the mean of its labels."""

    seeds: list[int] = []

    def __init__(self, seed):
        self.value = [1.0, 2.0, 6.0][len(ConstantPredictor.seeds) % 3]
        ConstantPredictor.seeds.append(seed)

    def fit(self, choices, scores):
        self.mean = scores.mean()

    def predict(self, choices):
        return np.full(len(choices), self.value + self.mean)


def test_mean_and_deviation_by_hand(small_space, monkeypatch):
    monkeypatch.setattr(ConstantPredictor, "seeds", [])
    choices = small_space.all_choices()[:4]
    ensemble = EnsemblePredictor(ConstantPredictor, 5, num_members=3)
    ensemble.fit(choices, np.array([0.0, 2.0, 4.0, 6.0]))
    mean, std = ensemble.predict_with_std(choices)
    assert mean.tolist() == ensemble.predict(choices).tolist() == [6.0] * 4
    np.testing.assert_allclose(std, [np.sqrt((4 + 1 + 9) / 3)] * 4)
    EnsemblePredictor(ConstantPredictor, 5, num_members=3)
    EnsemblePredictor(ConstantPredictor, 6, num_members=3)
    seeds = ConstantPredictor.seeds
    assert seeds[:3] == seeds[3:6] and len(set(seeds)) == 6
    with pytest.raises(ValueError, match="num_members must be at least 2, got 1"):
        EnsemblePredictor(ConstantPredictor, 0, num_members=1)


def _linear(space):
    choices = space.all_choices()
    features = space.encode_choices(choices)
    scores = features @ np.random.default_rng(99).normal(size=features.shape[1])
    order = np.random.default_rng(0).permutation(len(choices))
    return choices[order], ((scores - scores.mean()) / scores.std())[order]


def test_small_mlps_rank_and_doubt(make_digit_space):
    space = make_digit_space(4, 4)
    choices, scores = _linear(space)
    ensemble = mlp_ensemble(space, 0)
    ensemble.fit(choices[:60], scores[:60])
    mean, std = ensemble.predict_with_std(choices)
    assert mean.shape == std.shape == (256,) and (std >= 0).all()
    assert kendalltau(mean[60:], scores[60:]).statistic > 0.9
    assert std[60:].mean() > 2 * std[:60].mean()  # surer of what they were fitted to
    errors = np.abs(mean - scores)
    assert kendalltau(std[60:], errors[60:]).statistic > 0.1


@pytest.mark.parametrize(("build", "num_members", "hidden"), [(mlp, 4, 192), (mlp_ensemble, 5, 64)])
def test_members_are_as_many_and_as_wide_as_documented(build, num_members, hidden, small_space):
    """And differ: what they predict is their mean, not one of them."""
    ensemble = build(small_space, 0)
    choices, scores = _linear(small_space)
    ensemble.fit(choices[:10], scores[:10])
    each = [member.predict(choices) for member in ensemble._members]
    assert len(each) == num_members and not np.array_equal(each[0], each[1])
    assert np.array_equal(ensemble.predict(choices), np.mean(each, axis=0))
    assert set(ensemble._members[0]._model.hidden_layer_sizes) == {hidden}


def test_fit_depends_on_its_labels_and_the_seed_alone(small_space):
    choices, scores = _linear(small_space)
    found = []
    for seed in (1, 1, 2):
        np.random.seed(len(found))
        ensemble = mlp_ensemble(small_space, seed)
        ensemble.fit(choices[: 10 + len(found)], -scores[: 10 + len(found)])
        ensemble.fit(choices[:20], scores[:20])
        found.append(ensemble.predict_with_std(choices))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_few_and_equal_labels_are_fitted(small_space):
    choices, scores = _linear(small_space)
    ensemble = mlp_ensemble(small_space, 0)
    ensemble.fit(choices[:2], scores[:2])
    assert np.isfinite(ensemble.predict_with_std(choices)).all()
    ensemble.fit(choices[:2], np.zeros(2))
    assert np.abs(ensemble.predict(choices[:2])).max() < 0.1
    assert ensemble.predict(choices[:0]).shape == (0,)
    with pytest.raises(ValueError, match="one score for each"):
        ensemble.fit(choices, scores[:2])


def test_members_see_encoding_and_zero_cost_features(make_digit_space):
    space = make_digit_space(2, 6)
    choices = space.all_choices()
    scores = np.random.default_rng(0).normal(size=36)
    taus = []
    for zero_cost_features in (None, lambda choices: scores[choices @ [6, 1], None]):
        ensemble = mlp_ensemble(space, 0, "integers", zero_cost_features)
        ensemble.fit(choices[::2], scores[::2])
        assert ensemble._members[0]._model.n_features_in_ == (
            2 if zero_cost_features is None else 3
        )
        taus.append(kendalltau(ensemble.predict(choices[1::2]), scores[1::2]).statistic)
    assert taus[1] > 0.8 > taus[0] + 0.3
