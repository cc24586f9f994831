"""TSE by hand on a net of one weight, and what it needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from estimators.base import EstimateError
from estimators.scores.tse import TSEEstimator
from supernets.networks.base import Supernet

Batches = list[tuple[Tensor, Tensor]]
# The loss of pixel x under weight w is log(1 + exp(-w x)); its slope in w is -x / (1 + exp(w x)).


def losses_by_hand(
    w: float, batches: list[list[float]], *, lr: float, momentum: float, weight_decay: float
) -> list[float]:
    """Losses before each step of SGD with Nesterov momentum."""
    losses, velocity = [], None
    for x in batches:
        losses.append(sum(math.log(1 + math.exp(-w * xi)) for xi in x) / len(x))
        slope = sum(-xi / (1 + math.exp(w * xi)) for xi in x) / len(x) + weight_decay * w
        velocity = slope if velocity is None else momentum * velocity + slope
        w -= lr * (slope + momentum * velocity)
    return losses


def test_three_batches_by_hand(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(0.0)
    arch = supernet.space.architecture([0])
    estimator = TSEEstimator(
        supernet, make_pixels([1.0], [1.0], [1.0]), num_batches=3, lr=1, momentum=0, weight_decay=0
    )
    estimate = estimator.estimate(arch)
    # w = 0, 0.5, 0.5 + 1 / (1 + e^0.5) = 0.877541
    expected = (0.693147, 0.474077, 0.347698)
    assert estimate.curves["train_loss"] == pytest.approx(expected, abs=1e-6)
    assert estimate.metrics == {
        "tse": pytest.approx(1.514922, abs=2e-6),
        "last_loss": pytest.approx(0.347698, abs=1e-6),
    }
    assert estimate.score == -estimate.metrics["tse"]
    assert estimate.seconds > 0


@pytest.mark.parametrize(
    ("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.3), (0.9, 0.3)]
)
def test_nesterov_momentum_and_weight_decay(
    make_one_weight_supernet: Callable[..., Any],
    make_pixels: Callable[..., Batches],
    momentum: float,
    weight_decay: float,
) -> None:
    supernet = make_one_weight_supernet(0.0, 0.7)
    batches = [[1.0, -0.5], [2.0], [0.3, 0.4, -1.0], [1.5], [9.0]]
    recipe = {"lr": 0.5, "momentum": momentum, "weight_decay": weight_decay}
    estimator = TSEEstimator(supernet, make_pixels(*batches), num_batches=4, **recipe)
    for choice, weight in ((0, 0.0), (1, 0.7)):
        estimate = estimator.estimate(supernet.space.architecture([choice]))
        expected = losses_by_hand(weight, batches[:4], **recipe)
        assert estimate.curves["train_loss"] == pytest.approx(expected, rel=1e-5)
        assert estimate.metrics["tse"] == pytest.approx(sum(expected), rel=1e-5)
        assert estimate.metrics["last_loss"] == pytest.approx(expected[-1], rel=1e-5)


def test_defaults_are_the_recipe_of_the_paper(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(0.0)
    batches = [[float(i % 7 - 2)] for i in range(100)]
    estimate = TSEEstimator(supernet, make_pixels(*batches)).estimate(
        supernet.space.architecture([0])
    )
    expected = losses_by_hand(0.0, batches, lr=0.001, momentum=0.9, weight_decay=5e-4)
    assert estimate.curves["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_exactly_the_first_batches_are_drawn_and_used(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(0.0)
    drawn = []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i, batch in enumerate(make_pixels(*[[1.0]] * 10)):
            drawn.append(i)
            yield batch

    estimator = TSEEstimator(supernet, batches(), num_batches=4, lr=0.1)
    assert drawn == [0, 1, 2, 3]
    estimate = estimator.estimate(supernet.space.architecture([0]))
    assert drawn == [0, 1, 2, 3]
    assert supernet.extracted[-1].calls == [True] * 4  # in train mode, and nothing else is run
    assert len(estimate.curves["train_loss"]) == 4


def test_training_is_in_train_mode_whatever_the_supernets_mode(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(0.0).eval()
    TSEEstimator(supernet, make_pixels([1.0]), num_batches=1).estimate(
        supernet.space.architecture([0])
    )
    assert supernet.extracted[-1].calls == [True]
    assert not supernet.training


def test_curve_has_one_loss_per_batch_and_sums_to_tse(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet = make_supernet()
    estimator = TSEEstimator(supernet, make_batches(5), num_batches=5, lr=0.05)
    estimate = estimator.estimate(supernet.space.architecture([3, 1, 2, 1, 3, 4]))
    curve = estimate.curves["train_loss"]
    assert len(curve) == 5
    assert math.fsum(curve) == pytest.approx(estimate.metrics["tse"], rel=1e-12)
    assert curve[-1] == estimate.metrics["last_loss"]
    assert len(set(curve)) == 5


def test_the_first_loss_is_that_of_the_inherited_weights(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet, batches = make_supernet(), make_batches(2)
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    x, y = batches[0]
    inherited = torch.nn.functional.cross_entropy(supernet.extract(arch).train()(x), y)
    estimate = TSEEstimator(supernet, batches, num_batches=2, lr=0.3).estimate(arch)
    assert estimate.curves["train_loss"][0] == pytest.approx(inherited.item(), rel=1e-6)


def test_amp_changes_the_losses_a_little(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet, batches = make_supernet(), make_batches(3)
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    exact, rounded = (
        TSEEstimator(supernet, batches, num_batches=3, amp=amp).estimate(arch).score
        for amp in (False, True)
    )
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(("bad", "step"), [(0, 0), (2, 2)])
@pytest.mark.parametrize("pixel", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_fails_and_names_the_step(
    make_one_weight_supernet: Callable[..., Any],
    make_pixels: Callable[..., Batches],
    bad: int,
    step: int,
    pixel: float,
) -> None:
    supernet = make_one_weight_supernet(-1.0)
    batches = make_pixels(*[[pixel if i == bad else 1.0] for i in range(4)])
    estimator = TSEEstimator(supernet, batches, num_batches=4, lr=0.1)
    with pytest.raises(EstimateError, match=f"training loss became (nan|inf) at step {step}\\."):
        estimator.estimate(supernet.space.architecture([0]))


def test_a_failed_architecture_does_not_spoil_the_next(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(math.inf, 0.0)
    estimator = TSEEstimator(supernet, make_pixels([-1.0]), num_batches=1)
    with pytest.raises(EstimateError, match="step 0"):
        estimator.estimate(supernet.space.architecture([0]))
    estimate = estimator.estimate(supernet.space.architecture([1]))
    assert estimate.score == pytest.approx(-math.log(2))


def test_too_few_batches_are_refused(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    with pytest.raises(ValueError, match="needs 3 minibatches, the train split gave 2"):
        TSEEstimator(make_one_weight_supernet(0.0), make_pixels([1.0], [1.0]), num_batches=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_batches": 0}, "num_batches must be at least 1, got 0"),
        ({"lr": 0}, "lr must be positive, got 0"),
        ({"lr": -0.1}, "lr must be positive, got -0.1"),
        ({"lr": math.nan}, "lr must be positive, got nan"),
        ({"momentum": 1}, "momentum must be from 0 to less than 1, got 1"),
        ({"momentum": -0.1}, "momentum must be from 0 to less than 1, got -0.1"),
        ({"weight_decay": -1}, "weight_decay must not be negative, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(
    make_one_weight_supernet: Callable[..., Any],
    make_pixels: Callable[..., Batches],
    arguments: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        TSEEstimator(
            make_one_weight_supernet(0.0), make_pixels([1.0]), **{"num_batches": 1, **arguments}
        )


def test_elastic_subnets_are_trained_as_copies(
    make_supernet: Callable[..., Supernet],
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
    assert_same_weights: Callable[..., None],
) -> None:
    supernet = make_supernet("mobilenetv3", resolutions=(24, 32))
    before = weights_of(supernet)
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(8, 3, 32, 32, generator=generator), torch.arange(8) % 3) for _ in range(3)
    ]
    estimator = TSEEstimator(supernet, batches, num_batches=3, lr=0.05)
    archs = supernet.space.extremes()
    losses = [estimator.estimate(arch).curves["train_loss"] for arch in archs]
    assert losses == [estimator.estimate(arch).curves["train_loss"] for arch in archs]
    assert_same_weights(supernet, before)
    x, y = batches[0]
    for arch, (first, *_) in zip(archs, losses, strict=True):
        assert first == F.cross_entropy(supernet.train()(x, arch), y).item()


def test_a_race_stops_what_cannot_be_among_the_best(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    weights = (2.0, -3.0, 1.0, -1.0, 3.0, 0.5, 2.5)
    supernet = make_one_weight_supernet(*weights)
    batches = make_pixels(*[[1.0]] * 6)
    archs = [supernet.space.architecture([i]) for i in range(len(weights))]
    whole = TSEEstimator(supernet, batches, num_batches=6, lr=0.01)
    full = [whole.estimate(arch) for arch in archs]
    race = TSEEstimator(supernet, batches, num_batches=6, lr=0.01, race_for=2)
    found = [race.estimate(arch) for arch in archs]
    finished = [i for i, estimate in enumerate(found) if "tse" in estimate.metrics]
    # the first two fill the top; 1.0 enters it; -1.0 and 0.5 are too slow; 3.0 and 2.5 enter it
    assert finished == [0, 1, 2, 4, 6]
    assert all(found[i].score == full[i].score for i in finished)
    for i in (3, 5):
        num_steps = len(found[i].curves["train_loss"])
        assert num_steps < 6
        assert found[i].curves["train_loss"] == full[i].curves["train_loss"][:num_steps]
        assert found[i].metrics == {
            "tse_at_least": -found[i].score,
            "last_loss": found[i].curves["train_loss"][-1],
            "num_steps": num_steps,
        }
        # the step before, it still could
        threshold = sorted(-full[j].score for j in finished if j < i)[1]
        assert sum(found[i].curves["train_loss"][:-1]) <= threshold < -found[i].score
    best = sorted(range(len(weights)), key=lambda i: -found[i].score)[:2]
    assert best == sorted(range(len(weights)), key=lambda i: -full[i].score)[:2] == [4, 6]


def test_a_race_goes_on_from_what_was_finished_before(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(1.0)
    batches = make_pixels(*[[1.0]] * 6)
    race = TSEEstimator(supernet, batches, num_batches=6, lr=0.01, race_for=1)
    race.note_finished([0.5])
    estimate = race.estimate(supernet.space.architecture([0]))
    assert estimate.metrics["num_steps"] == 2  # the loss is 0.313 and then a little less


def test_a_race_for_none_is_refused(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        TSEEstimator(make_one_weight_supernet(0.0), make_pixels([1.0]), num_batches=1, race_for=0)
