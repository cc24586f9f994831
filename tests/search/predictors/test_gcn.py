"""The graph predictor: its layer by hand, what it must and must not see, and its random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from search.predictors.gcn import GCNPredictor, directed_convolution, read_graphs
from supernets.spaces import (
    MobileNetV3Space,
    NASBench201Space,
    NASBenchMacroSpace,
    NASNetSpace,
)

#: A fit of a moment.
QUICK = {"width": 16, "learning_rate": 1e-2, "num_epochs": 40}


class GraphsByHand:
    """The one choice of an architecture is which of some graphs it is, padded to five vertices."""

    name = "by-hand"

    def __init__(self, *graphs):
        self.adjacency = np.zeros((len(graphs), 5, 5), np.float32)
        self.ids = np.full((len(graphs), 5), -1)
        for i, (adjacency, ids) in enumerate(graphs):
            self.adjacency[i, : len(ids), : len(ids)] = adjacency
            self.ids[i, : len(ids)] = ids
        self.choices = np.arange(len(graphs))[:, None]

    def to_graphs(self, choices):
        return self.adjacency[choices[:, 0]], self.ids[choices[:, 0]]


#: The input, an operation, the output; and the same with all edges turned round.
CHAIN = ([[0, 1, 0], [0, 0, 1], [0, 0, 0]], [1, 0, 2])
TURNED = ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [1, 0, 2])
#: The first two are the same but for the places of two padded vertices.
CHAIN_PADDED = (
    [[0, 0, 1, 0, 0], [0] * 5, [0, 0, 0, 0, 1], [0] * 5, [0] * 5],
    [1, -1, 0, -1, 2],
)
LONGER = ([[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [1, 0, 0, 2])


def _cells(num_archs, seed=0):
    space = NASBench201Space()
    return space, np.random.default_rng(seed).choice(space.all_choices(), num_archs, replace=False)


def test_layer_by_hand():
    graphs = read_graphs(space := GraphsByHand(CHAIN), space.choices)
    states = torch.tensor([[[1.0], [2.0], [4.0], [0.0], [0.0]]])
    # neighbours: with the next vertex (1.5, 3, 4), with the one before (1, 1.5, 3)
    weights = torch.tensor([[[2.0, -1.0, 1.0]], [[-1.0, 1.0, 3.0]]])
    found = directed_convolution(states, graphs.propagation, weights)
    expected = [[[1.5, 0.5, 2.25], [3.0, 0.75, 3.75], [4.0, 1.5, 6.5], [0.0] * 3, [0.0] * 3]]
    assert found.tolist() == expected


def test_rows_of_both_directions_sum_to_one():
    space, choices = _cells(5)
    propagation = read_graphs(space, choices).propagation
    assert propagation.shape == (2, 5, 8, 8)
    torch.testing.assert_close(propagation.sum(dim=3), torch.ones(2, 5, 8))
    forward, backward = propagation
    assert torch.equal(forward > 0, (backward > 0).transpose(1, 2))
    assert (forward.tril(-1) == 0).all() and (forward.diagonal(dim1=1, dim2=2) > 0).all()


def test_padding_and_its_place_change_nothing():
    space = GraphsByHand(CHAIN, CHAIN_PADDED, LONGER)
    predictor = GCNPredictor(space, 0, width=16, learning_rate=2e-2, num_epochs=150)
    predictor.fit(space.choices[::2], np.array([-1.0, 1.0]))
    chain, padded, longer = predictor.predict(space.choices)
    assert chain == pytest.approx(padded, abs=1e-6)
    space.adjacency, space.ids = space.adjacency[:1, :3, :3], space.ids[:1, :3]
    assert predictor.predict(space.choices[:1])[0] == pytest.approx(chain, abs=1e-6)
    assert longer - chain > 1.0


def test_direction_of_edges_matters():
    space = GraphsByHand(CHAIN, TURNED)
    predictor = GCNPredictor(space, 0, **QUICK)
    predictor.fit(space.choices, np.array([-1.0, 1.0]))
    forward, backward = predictor.predict(space.choices)
    assert forward < -0.5 and backward > 0.5


def test_fits_twenty_cells_whatever_their_labels():
    space, choices = _cells(20)
    labels = np.random.default_rng(1).normal(size=20)
    predictor = GCNPredictor(space, 0, learning_rate=1e-2, num_epochs=150)
    predictor.fit(choices, labels)
    assert np.mean((predictor.predict(choices) - labels) ** 2) < 0.1


def test_ranks_what_it_has_not_seen():
    """What counts is which operation is where: edges into the output and others differ."""
    space, choices = _cells(160)
    worth = np.random.default_rng(2).normal(size=(2, 5))
    scores = worth[[0, 0, 0, 1, 1, 1], choices].sum(axis=1)
    scores = (scores - scores.mean()) / scores.std()
    predictor = GCNPredictor(space, 0, **QUICK)
    predictor.fit(choices[:100], scores[:100])
    assert kendalltau(predictor.predict(choices[100:]), scores[100:]).statistic > 0.75


def test_fit_depends_on_its_labels_and_the_seed_alone():
    space, choices = _cells(30)
    labels = np.linspace(-1, 1, 30)
    settings = {"width": 8, "num_epochs": 3}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = GCNPredictor(space, 1, **settings)
    first.fit(choices, labels)
    expected = first.predict(choices)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again = GCNPredictor(space, 1, **settings)
    again.fit(choices[::2], -labels[::2])
    again.fit(choices, labels)
    assert np.array_equal(again.predict(choices), expected)
    other = GCNPredictor(space, 2, **settings)
    other.fit(choices, labels)
    assert not np.array_equal(other.predict(choices), expected)


def test_classifier_predicts_probabilities():
    space, choices = _cells(60)
    labels = ((choices == 3).sum(axis=1) >= 2).astype(np.float64)
    predictor = GCNPredictor(space, 0, loss="bce", **QUICK)
    predictor.fit(choices, labels)
    found = predictor.predict(choices)
    assert ((found >= 0) & (found <= 1)).all()
    assert ((found > 0.5) == labels).mean() > 0.95
    with pytest.raises(ValueError, match="labels 0 and 1, got scores from -1.0 to 1.0"):
        predictor.fit(choices, 2 * labels - 1)


@pytest.mark.parametrize(("num_labels", "width"), [(20, 48), (65, 72)])
def test_width_is_that_of_the_nearest_number_of_labels(num_labels, width):
    space, choices = _cells(num_labels)
    found = []
    for given in ({}, {"width": width}, {"width": width + 1}):
        predictor = GCNPredictor(space, 0, num_epochs=1, **given)
        predictor.fit(choices, np.zeros(num_labels))
        found.append(predictor.predict(choices[:5]))
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_predicts_in_chunks(monkeypatch):
    space, choices = _cells(20)
    predictor = GCNPredictor(space, 0, **QUICK)
    predictor.fit(choices[:2], np.array([-1.0, 1.0]))
    whole = predictor.predict(choices)
    assert whole.dtype == np.float64 and predictor.predict(choices[:0]).shape == (0,)
    monkeypatch.setattr("search.predictors.gcn._CHUNK_SIZE", 7)
    np.testing.assert_allclose(predictor.predict(choices), whole, atol=1e-6)


def test_cells_of_nasnet():
    space = NASNetSpace(distinct_inputs=True)
    choices = space.sample_choices(80, np.random.default_rng(0))
    ops = choices.reshape(80, 8, 3)[:, :, 1:]
    scores = ((ops >= 3).sum(axis=(1, 2)) - 9.0) / 2  # convolutions
    predictor = GCNPredictor(space, 0, **QUICK)
    predictor.fit(choices[:50], scores[:50])
    assert kendalltau(predictor.predict(choices[50:]), scores[50:]).statistic > 0.7


def test_chains_of_decisions():
    """It sees which decision is where in a chain, and which of them are there."""
    for space in (NASBenchMacroSpace(), MobileNetV3Space()):
        choices = space.sample_choices(110, np.random.default_rng(0))
        worth = np.random.default_rng(1).normal(size=choices.shape[1])
        scores = np.where(space.is_active(choices), choices, -1) @ worth
        scores = (scores - scores.mean()) / scores.std()
        predictor = GCNPredictor(space, 0, **QUICK)
        predictor.fit(choices[:80], scores[:80])
        assert kendalltau(predictor.predict(choices[80:]), scores[80:]).statistic > 0.45, space.name


def test_settings_and_labels_are_checked():
    space, choices = _cells(3)
    for wrong, match in (
        ({"loss": "mae"}, "Unknown loss 'mae'; choose from mse, bce."),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"num_epochs": 0}, "num_epochs must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            GCNPredictor(space, 0, **wrong)
    predictor = GCNPredictor(space, 0)
    for wrong_choices, wrong_scores in ((choices[:0], np.empty(0)), (choices, np.zeros(2))):
        with pytest.raises(ValueError, match="one score for each"):
            predictor.fit(wrong_choices, wrong_scores)
    with pytest.raises(ValueError, match="call fit first"):
        predictor.predict(choices)
