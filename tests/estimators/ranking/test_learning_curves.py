"""Curves whose order at each epoch is known, budgets by hand, and what LcSVR may look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from estimators.ranking.learning_curves import (
    LcSVR,
    early_correlations,
    effective_budget,
    first_overfit,
    lc_svr_correlations,
    nearly_zero,
    val_loss_rising,
)

Array = NDArray[np.float64]


def saturating_curves(num_archs: int, num_epochs: int, seed: int) -> tuple[Array, Array, Array]:
    """Curves ``final * (1 - exp(-rate * t))`` with two costs, and the finals.

    Slow ones end higher, so that the accuracy after a few epochs misleads and the shape does not.
    """
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.1, 0.6, num_archs)
    final = 90 - 40 * rate + rng.uniform(-2, 2, num_archs)
    epochs = np.arange(1, num_epochs + 1)
    curves = final[:, None] * (1 - np.exp(-rate[:, None] * epochs))
    costs = np.stack([1e6 * rng.uniform(1, 2, num_archs), np.full(num_archs, 3e7)], axis=1)
    return curves, costs, final


def test_correlations_at_each_budget_use_the_epochs_up_to_it() -> None:
    # truth 1 < 2 < 3; the losses of epoch 1 say the opposite, those of 2 and 3 the same
    losses = np.array([[1.0, 3.0, 9.0], [2.0, 2.0, 5.0], [3.0, 1.0, 1.0]])
    val_top1 = np.array([[3.0, 1.0, 1.0], [2.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    truth = np.array([10.0, 20.0, 30.0])
    found = early_correlations(losses, val_top1, truth, [1, 2, 3])
    assert list(found) == ["TSE", "TSE-E", "TSE-EMA", "VAccES"]
    # sums after two epochs are 4, 4, 4; after three 13, 9, 5
    assert found["TSE"][[0, 2]].tolist() == pytest.approx([-1, 1])
    assert found["TSE-E"].tolist() == pytest.approx([-1, 1, 1])
    # 0.999 + 3, 1.998 + 2, 2.997 + 1: the later loss decides
    assert found["TSE-EMA"].tolist() == pytest.approx([-1, 1, 1])
    assert found["VAccES"].tolist() == pytest.approx([-1, 1, 0.5])


def test_correlations_do_not_see_later_epochs() -> None:
    rng = np.random.default_rng(0)
    losses, val_top1, truth = rng.random((8, 6)), rng.random((8, 6)), rng.random(8)
    before = early_correlations(losses, val_top1, truth, [2, 4])
    losses[:, 4:], val_top1[:, 4:] = 0, 0
    after = early_correlations(losses, val_top1, truth, [2, 4])
    losses[:, 3] = 100 * truth
    other = early_correlations(losses, val_top1, truth, [2, 4])
    for name in before:
        assert before[name].tolist() == after[name].tolist()
    assert other["TSE"][0] == before["TSE"][0]
    assert other["TSE"][1] == pytest.approx(-1)
    assert before["TSE"][1] > -0.9


def test_a_diverged_training_ranks_last() -> None:
    losses = np.array([[3.0, 3.0], [2.0, 2.0], [1.0, np.nan]])
    val_top1 = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, np.nan]])
    found = early_correlations(losses, val_top1, np.array([2.0, 3.0, 1.0]), [1, 2])
    for correlations in found.values():
        assert correlations.tolist() == pytest.approx([-0.5, 1])


@pytest.mark.parametrize(
    ("shapes", "at_epochs", "message"),
    [
        (((3, 4), (3, 5), (3,)), [1], r"got \(3, 4\) and \(3, 5\)"),
        (((3, 4), (3, 4), (4,)), [1], r"got \(3, 4\) and \(4,\)"),
        (((4,), (4,), (4,)), [1], r"got \(4,\) and \(4,\)"),
        (((3, 4), (3, 4), (3,)), [1, 0], "from 1 to the 4 epochs of the curves, got 0"),
        (((3, 4), (3, 4), (3,)), [5], "from 1 to the 4 epochs of the curves, got 5"),
    ],
)
def test_correlations_refuse_what_does_not_fit(
    shapes: tuple[tuple[int, ...], ...], at_epochs: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        early_correlations(*(np.ones(shape) for shape in shapes), at_epochs)


def test_lc_svr_reads_the_shape_of_curves() -> None:
    curves, costs, final = saturating_curves(70, 4, seed=0)
    model = LcSVR(num_draws=20, seed=0)
    model.fit(curves[:40], costs[:40], final[:40])
    predicted = model.predict(curves[40:], costs[40:])
    # after four epochs the fast ones lead, and they end lowest
    assert spearmanr(curves[40:, -1], final[40:])[0] < 0
    assert spearmanr(predicted, final[40:])[0] > 0.9
    assert np.abs(predicted - final[40:]).mean() < 1.5  # their standard deviation is 6


def test_lc_svr_uses_costs() -> None:
    rng = np.random.default_rng(1)
    costs = rng.uniform(1e6, 2e6, (70, 1))
    final = 50 + 2e-5 * costs[:, 0]
    curves = rng.uniform(10, 11, (70, 3))  # say nothing
    model = LcSVR(num_draws=20)
    model.fit(curves[:50], costs[:50], final[:50])
    assert spearmanr(model.predict(curves[50:], costs[50:]), final[50:])[0] > 0.8


def test_lc_svr_does_not_depend_on_units() -> None:
    curves, costs, final = saturating_curves(30, 4, seed=2)
    predicted = []
    for scaled in (costs, 1e-6 * costs):
        model = LcSVR(num_draws=5)
        model.fit(curves[:20], scaled[:20], final[:20])
        predicted.append(model.predict(curves[20:], scaled[20:]))
    assert predicted[0] == pytest.approx(predicted[1])


def test_lc_svr_repeats_by_seed_and_gains_by_draws() -> None:
    curves, costs, final = saturating_curves(40, 4, seed=3)

    def predict(**settings: int) -> list[float]:
        model = LcSVR(**settings)
        model.fit(curves[:20], costs[:20], final[:20])
        return model.predict(curves[20:], costs[20:]).tolist()

    def error(predicted: list[float]) -> float:
        return float(np.abs(np.array(predicted) - final[20:]).mean())

    first = predict(num_draws=1, seed=0)
    assert predict(num_draws=1, seed=0) == first
    assert predict(num_draws=1, seed=1) != first
    assert error(predict(num_draws=15, seed=0)) < error(first)


def test_lc_svr_predicts_nan_where_a_training_diverged() -> None:
    curves, costs, final = saturating_curves(10, 4, seed=4)
    model = LcSVR(num_draws=2)
    model.fit(curves, costs, final)
    curves[3, 2], curves[5, 1:3] = np.nan, np.inf
    assert np.flatnonzero(np.isnan(model.predict(curves, costs))).tolist() == [3, 5]
    assert np.isnan(model.predict(curves[3:4], costs[3:4])).all()
    with pytest.raises(ValueError, match="leave out trainings that diverged"):
        model.fit(curves, costs, final)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((8, 2), (8, 1), (8,)), "at least 3 epochs, got 2"),
        (((8, 3), (7, 1), (8,)), r"got \(8, 3\) and \(7, 1\)"),
        (((8, 3), (8,), (8,)), r"got \(8, 3\) and \(8,\)"),
        (((8, 3), (8, 1), (7,)), r"got 8 architectures and accuracies of shape \(7,\)"),
        (((5, 3), (5, 1), (5,)), "at least 6 architectures"),
    ],
)
def test_lc_svr_refuses_what_does_not_fit(
    shapes: tuple[tuple[int, ...], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LcSVR(num_draws=1).fit(*(np.ones(shape) for shape in shapes))


def test_lc_svr_needs_a_draw() -> None:
    with pytest.raises(ValueError, match="num_draws must be at least 1, got 0"):
        LcSVR(num_draws=0)


def test_lc_svr_correlations_are_over_the_architectures_it_does_not_know() -> None:
    curves, costs, final = saturating_curves(60, 60, seed=5)
    settings: dict[str, Any] = {"num_train_archs": 30, "num_draws": 10}
    found = lc_svr_correlations(curves, costs, final, [1, 2, 3], **settings)
    assert np.isnan(found[:2]).all()
    assert found[2] > 0.9
    # what is known is taken from the curves: a truth that contradicts them is not learned from
    opposed = lc_svr_correlations(curves, costs, -final, [3], **settings)
    assert opposed.tolist() == pytest.approx([-found[2]])
    assert lc_svr_correlations(curves, costs, final, [3], **settings, seed=1)[0] != found[2]


def test_lc_svr_cannot_see_later_epochs() -> None:
    curves, costs, final = saturating_curves(40, 8, seed=6)
    settings: dict[str, Any] = {"num_train_archs": 20, "num_draws": 3}
    before = lc_svr_correlations(curves, costs, final, [4], **settings)
    rng = np.random.default_rng(0)
    for first_changed, is_equal in ((4, True), (3, False)):
        changed = curves.copy()
        changed[:, first_changed:-1] = rng.uniform(0, 90, (40, 7 - first_changed))
        after = lc_svr_correlations(changed, costs, final, [4], **settings)
        assert (after.tolist() == before.tolist()) is is_equal


def test_lc_svr_learns_from_finished_trainings_only() -> None:
    curves, costs, final = saturating_curves(40, 60, seed=7)
    curves[:4, 2:] = np.nan
    final[:4] = 0
    found = lc_svr_correlations(curves, costs, final, [4], num_train_archs=20, num_draws=10)
    assert found[0] > 0.9  # over 20, of which the four without prediction rank last
    for num_train_archs in (5, 37, 39):
        with pytest.raises(ValueError, match=f"from 6 to the 36 .* got {num_train_archs}"):
            lc_svr_correlations(curves, costs, final, [4], num_train_archs=num_train_archs)


def test_effective_budget_by_hand() -> None:
    losses = np.full((3, 40), 1.0)
    assert effective_budget(losses) == 36
    losses[0, 29:] = 0.05  # from epoch 30
    assert effective_budget(losses) == 27
    losses[2, 24] = 0.1  # not below
    assert effective_budget(losses) == 27
    losses[2, 24] = 0.09
    assert effective_budget(losses) == 22  # 22.5 rounded down
    losses[1, 0] = 0.0
    assert effective_budget(losses) == 1
    assert effective_budget(np.full((1, 1), 5.0)) == 1
    assert nearly_zero(np.array([0.09, 0.1, np.nan])).tolist() == [True, False, False]


def test_effective_budget_by_rising_validation_loss() -> None:
    falling = 3 - 0.1 * np.arange(20)
    risen = falling.copy()
    risen[10:14] = [3, 4, 5, 6]  # rises after epochs 11 to 14, then falls again
    late = falling.copy()
    late[15:] = [3, 3, 4, 5, 6]  # epochs 16, 18, 19, 20: stands still once
    losses = np.stack([falling, late, risen])
    for patience, first in ((1, 11), (3, 13), (4, 14)):
        assert effective_budget(losses, val_loss_rising(patience)) == 9 * first // 10
    assert effective_budget(losses, val_loss_rising()) == 18
    assert effective_budget(losses[:2], val_loss_rising(3)) == 18  # after epoch 20
    losses[0, 5:11] = np.arange(6)
    assert effective_budget(losses, val_loss_rising()) == 9  # rises after epochs 7 to 11
    assert val_loss_rising(3)(losses[:, :3]).tolist() == [[False] * 3] * 3


def test_effective_budget_refuses_what_is_no_curve() -> None:
    with pytest.raises(ValueError, match=r"Expected losses \(num_archs, num_epochs\), got \(0, 4"):
        effective_budget(np.ones((0, 4)))
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        effective_budget(np.ones(4))
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        val_loss_rising(0)


def test_no_epoch_overfits_where_no_loss_is_nearly_zero() -> None:
    assert first_overfit(np.full((3, 1), 2.0)) is None
    assert effective_budget(np.full((3, 1), 2.0)) == 1
    assert first_overfit(np.array([[2.0, 1.0, 0.5], [1.0, 0.05, 0.01]])) == 2
    with pytest.raises(ValueError, match=r"losses \(num_archs, num_epochs\), got \(0,\)"):
        first_overfit(np.zeros(0))
