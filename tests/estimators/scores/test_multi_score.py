"""One pass gives what the single estimators give, and says what each part took."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from estimators.base import EstimateError
from estimators.factory import create_estimator
from estimators.scores.extra_steps import ExtraSteps
from estimators.scores.minibatches import Minibatches
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.multi_score_factory import create_multi_score
from estimators.scores.names import PROXY_SCORES, SCORES, Score
from estimators.scores.settings import MultiScoreSettings, TSESettings
from supernets.cost.analytic import CostModel
from supernets.networks.base import Supernet

Batches = list[tuple[Tensor, Tensor]]
#: Estimators that are built without a pass.
SINGLE = ("tse", "val_acc")


@pytest.fixture(scope="module")
def inputs(make_batches: Callable[..., Batches]) -> dict[str, Any]:
    return {
        "settings": MultiScoreSettings(num_batches=4, lr=0.05),
        "data": Minibatches(make_batches(4, seed=1), make_batches(2, seed=2)),
    }


@pytest.fixture(scope="module")
def supernet(make_supernet: Callable[..., Supernet]) -> Supernet:
    return make_supernet()


@pytest.fixture(scope="module")
def whole(supernet: Supernet, inputs: dict[str, Any]) -> MultiScoreEstimator:
    return create_multi_score(SCORES, supernet=supernet, **inputs)


def test_a_pass_finds_what_single_estimators_find(
    whole: MultiScoreEstimator, supernet: Supernet, inputs: dict[str, Any]
) -> None:
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    estimate = whole.estimate(arch)
    settings = TSESettings(num_batches=4, lr=0.05)
    tse = create_estimator("tse", settings, supernet=supernet, data=inputs["data"]).estimate(arch)
    assert estimate.score == tse.score
    assert estimate.curves["train_loss"] == tse.curves["train_loss"]
    val = create_estimator("val_acc", supernet=supernet, data=inputs["data"])
    assert val.estimate(arch).metrics.items() <= estimate.metrics.items()
    cost = CostModel(supernet).measure(arch)
    assert (estimate.metrics["params"], estimate.metrics["macs"]) == (cost.params, cost.macs)


@pytest.mark.parametrize("name", [name for name in SCORES if name not in SINGLE])
def test_a_score_alone_equals_that_of_the_whole_pass(
    name: str, whole: MultiScoreEstimator, supernet: Supernet, inputs: dict[str, Any]
) -> None:
    arch = supernet.space.architecture([3, 2, 0, 1, 3, 4])
    record = whole.measure(arch)
    alone = create_multi_score([name], supernet=supernet, **inputs)
    assert alone.estimate(arch).score == Score(name).of(record.metrics, record.curves)
    assert alone.name == name


def test_sovl_measures_one_val_minibatch_after_each_step(
    whole: MultiScoreEstimator, supernet: Supernet, inputs: dict[str, Any]
) -> None:
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    (x, y), (x2, y2) = inputs["data"].train[0], inputs["data"].val[0]
    subnet = supernet.extract(arch).train()
    optimizer = torch.optim.SGD(
        subnet.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    F.cross_entropy(subnet(x), y).backward()
    optimizer.step()
    with torch.no_grad():
        expected = F.cross_entropy(subnet.eval()(x2), y2).item()
    curve = whole.measure(arch).curves["val_minibatch_loss"]
    assert curve[0] == pytest.approx(expected, rel=1e-6)
    assert len(curve) == 4
    # there are two val minibatches; the third step sees the first again
    assert len(set(curve)) == 4


def test_measuring_val_on_the_way_does_not_change_the_training(
    whole: MultiScoreEstimator, supernet: Supernet, inputs: dict[str, Any]
) -> None:
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    plain = create_multi_score(["tse_e"], supernet=supernet, **inputs)
    assert plain.measure(arch).curves["train_loss"] == whole.measure(arch).curves["train_loss"]


@pytest.mark.parametrize("space", ["nasbench201", "mobilenetv3", "nasnet"])
def test_every_space_has_every_score(space: str, make_supernet: Callable[..., Supernet]) -> None:
    supernet = make_supernet(space)
    generator = torch.Generator().manual_seed(0)
    *train, one = (
        (torch.randn(8, *supernet.input_size, generator=generator), torch.arange(8) % 3)
        for _ in range(3)
    )
    multi_score = create_multi_score(
        SCORES,
        MultiScoreSettings(num_batches=2),
        supernet=supernet,
        data=Minibatches(train, [one], train if supernet.needs_recalibration else None),
    )
    arch = supernet.space.sample(np.random.default_rng(0))
    record = multi_score.measure(arch)
    scores = {name: Score(name).of(record.metrics, record.curves) for name in SCORES}
    assert all(math.isfinite(score) for score in scores.values()), scores
    parts = {"extract", "train", "sovl", "val", "val_after", *PROXY_SCORES}
    assert set(record.seconds) == parts
    assert all(seconds >= 0 for seconds in record.seconds.values())


@pytest.mark.parametrize("name", ["naswot", "jacob_cov"])
def test_images_that_are_all_equal_are_refused_before_any_work(
    name: str, supernet: Supernet, inputs: dict[str, Any]
) -> None:
    x, y = inputs["data"].train[0]
    equal = {**inputs, "data": Minibatches([(x[:1].expand(len(x), *x.shape[1:]), y)])}
    with pytest.raises(ValueError, match="need two that differ, got .* give a larger minibatch"):
        create_multi_score([name], supernet=supernet, **equal)
    with pytest.raises(ValueError, match="snip cannot tell networks apart by a minibatch whose"):
        create_multi_score(["snip"], supernet=supernet, **equal)
    create_multi_score(["synflow"], supernet=supernet, **equal)


def test_parts_that_nothing_looks_at_are_left_out(
    supernet: Supernet, inputs: dict[str, Any]
) -> None:
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])
    costs = create_multi_score(["params"], supernet=supernet, **inputs)
    assert costs.measure(arch).seconds == {}
    curve = create_multi_score(["tlmini"], supernet=supernet, **inputs)
    assert set(curve.measure(arch).seconds) == {"extract", "train"}
    assert set(curve.measure(arch).metrics) == {"params", "macs"}
    before = create_multi_score(["val_loss"], supernet=supernet, **inputs)
    assert set(before.measure(arch).seconds) == {"extract", "val"}
    proxy = create_multi_score(["snip"], supernet=supernet, **inputs)
    assert set(proxy.measure(arch).seconds) == {"snip"}


def test_costs_are_live_and_the_benchmarks_own_have_another_name(
    make_supernet: Callable[..., Supernet], inputs: dict[str, Any]
) -> None:
    supernet = make_supernet()
    arch = supernet.space.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"
    )
    (params,), (macs,) = supernet.count(np.array([arch.choices]))
    (bench_params,), (bench_macs,) = supernet.benchmark_count(np.array([arch.choices]))
    expected = {
        "params": params,
        "macs": macs,
        "benchmark_params": bench_params,
        "benchmark_macs": bench_macs,
    }
    assert bench_params > params and bench_macs > macs
    for name, value in expected.items():
        multi_score = create_multi_score([name], supernet=supernet, **inputs)
        assert multi_score.estimate(arch).score == value
    with pytest.raises(ValueError, match="count as we do; use macs or params instead of bench"):
        other = make_supernet(space="nasnet")
        create_multi_score(["benchmark_macs"], supernet=other, **inputs)


def test_proxies_look_at_fresh_weights(
    make_supernet: Callable[..., Supernet], inputs: dict[str, Any]
) -> None:
    supernet = make_supernet()
    arch = supernet.space.architecture([3, 1, 2, 1, 3, 4])

    def snip(seed: int) -> float:
        multi_score = MultiScoreEstimator(
            supernet,
            score=Score("snip"),
            proxies=["snip"],
            proxy_batches=inputs["data"].train[:1],
            proxy_seed=seed,
            cost_model=CostModel(supernet),
        )
        return multi_score.estimate(arch).score

    first = snip(0)
    assert snip(1) != first
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.mul_(2)
    assert snip(0) == first


def test_a_training_that_diverges_is_recorded_and_has_no_score(
    make_one_weight_supernet: Callable[..., Any], make_pixels: Callable[..., Batches]
) -> None:
    supernet = make_one_weight_supernet(math.inf, 0.0)
    multi_score = create_multi_score(
        ["tlmini", "val_acc"],
        MultiScoreSettings(num_batches=2),
        supernet=supernet,
        data=Minibatches(make_pixels([-1.0], [-1.0]), make_pixels([1.0])),
    )
    bad, good = (supernet.space.architecture([choice]) for choice in (0, 1))
    record = multi_score.measure(bad)
    assert record.problem == "The training loss became inf at step 0."
    assert record.metrics["val_top1"] == 100.0
    assert len(record.curves["train_loss"]) == 2
    with pytest.raises(EstimateError, match="loss became inf at step 0"):
        multi_score.estimate(bad)
    assert multi_score.measure(good).problem is None
    assert multi_score.estimate(good).score < 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"proxies": ["flops"]}, "Unknown proxies flops; choose from grad_norm, "),
        ({"proxies": ["snip"]}, "need proxy_batches"),
        ({"val_after": True}, "val_after needs val and training"),
        ({"sovl_batches": [1, 2]}, "one for each of 0 steps of training, got 2"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    settings: dict[str, Any], message: str, supernet: Supernet
) -> None:
    cost_model = CostModel(supernet)
    with pytest.raises(ValueError, match=message):
        MultiScoreEstimator(supernet, score=Score("macs"), cost_model=cost_model, **settings)


def test_sovl_needs_a_minibatch_for_every_step(supernet: Supernet, inputs: dict[str, Any]) -> None:
    training = ExtraSteps(inputs["data"].train, num_batches=3)
    with pytest.raises(ValueError, match="one for each of 3 steps of training, got 2"):
        MultiScoreEstimator(
            supernet,
            score=Score("sovl"),
            training=training,
            sovl_batches=inputs["data"].val,
            cost_model=CostModel(supernet),
        )
