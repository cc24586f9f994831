"""Costs against the published table, torch's own counter, and built networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from supernets.cost.analytic import Constraint, Cost, CostModel, feasibility_check
from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.nasbench201 import NASBench201Supernet
from supernets.networks.nasnet import NASNetSupernet
from supernets.spaces import Architecture, NASBench201Space, SearchSpace

SPACE = NASBench201Space()


def cost_model(**settings: Any) -> CostModel:
    with torch.device("meta"):
        return CostModel(NASBench201Supernet(**settings))


@pytest.fixture(scope="module")
def cifar10() -> CostModel:
    return cost_model(num_classes=10)


def all_edges(op: int) -> Architecture:
    return SPACE.architecture([op] * 6)


RESNET_LIKE = SPACE.parse(
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
)


@pytest.mark.parametrize(
    ("arch", "mega_macs", "mega_params"),
    [
        (all_edges(3), 220.11969, 1.531546),
        (all_edges(2), 31.37601, 0.241306),
        (all_edges(0), 7.78305, 0.073306),
        (all_edges(1), 7.78305, 0.073306),
        (all_edges(4), 7.78305, 0.073306),
        (RESNET_LIKE, 78.56193, 0.559386),
    ],
    ids=["all-3x3", "all-1x1", "all-none", "all-skip", "all-pool", "resnet-like"],
)
def test_published_costs_on_cifar10(
    cifar10: CostModel, arch: Architecture, mega_macs: float, mega_params: float
) -> None:
    cost = cifar10.measure(arch)
    assert (cost.macs, cost.params) == (round(mega_macs * 1e6), round(mega_params * 1e6))


@pytest.mark.parametrize(
    ("num_classes", "side", "mega_macs", "mega_params"),
    [(100, 32, 220.12554, 1.537396), (120, 16, 55.03756, 1.538696)],
    ids=["cifar100", "imagenet16-120"],
)
def test_published_costs_with_other_heads_and_inputs(
    num_classes: int, side: int, mega_macs: float, mega_params: float
) -> None:
    model = cost_model(num_classes=num_classes, input_size=(3, side, side))
    cost = model.measure(all_edges(3))
    assert (cost.macs, cost.params) == (round(mega_macs * 1e6), round(mega_params * 1e6))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_classes": 10, "channels": 16, "cells_per_stage": 1, "input_size": (3, 32, 32)},
        {"num_classes": 2, "channels": 3, "cells_per_stage": 1, "input_size": (1, 28, 28)},
        {"num_classes": 120, "channels": 8, "cells_per_stage": 2, "input_size": (3, 15, 21)},
        {"num_classes": 7, "channels": 1, "cells_per_stage": 3, "input_size": (4, 4, 5)},
    ],
    ids=["32x32", "28x28", "15x21", "4x5"],
)
def test_costs_equal_what_torch_counts(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(settings["channels"])
    with torch.device("meta"):
        supernet = NASBench201Supernet(**settings)
        model = CostModel(supernet)
        image = torch.zeros(1, *settings["input_size"])
        for _ in range(8):
            arch = SPACE.sample(rng)
            subnet = supernet.build_subnet(arch).eval()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                subnet(image)
            # two operations per multiply-accumulate; the classifier's bias is not counted
            macs = counter.get_total_flops() // 2 + settings["num_classes"]
            params = sum(parameter.numel() for parameter in subnet.parameters())
            assert model.measure(arch) == Cost(params, macs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"input_size": (3, 236, 236), "width": 1.2},
        {"input_size": (1, 32, 32), "width": 0.25, "strides": (2, 1, 2, 2, 1, 1)},
        {"input_size": (3, 47, 70), "width": 0.5, "strides": (1, 2, 2, 1, 2, 2)},
        {"input_size": (3, 160, 160), "resolutions": (97, 128, 160)},
    ],
    ids=["236x236", "32x32", "47x70", "three-resolutions"],
)
def test_elastic_costs_equal_what_torch_counts(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        supernet = MobileNetV3Supernet(num_classes=11, **settings)
        model = CostModel(supernet)
        archs = [*supernet.space.extremes(), *(supernet.space.sample(rng) for _ in range(3))]
        for arch in archs:
            subnet = supernet.build_subnet(arch).eval()
            side = supernet.space.resolution(arch)
            shape = supernet.input_size if side is None else (3, side, side)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                subnet(torch.zeros(1, *shape))
            params = sum(parameter.numel() for parameter in subnet.parameters())
            assert model.measure(arch) == Cost(params, counter.get_total_flops() // 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_classes": 2, "channels": 5, "layers": 4, "input_size": (1, 17, 15)},
        {"num_classes": 7, "channels": 3, "layers": 3, "input_size": (3, 100, 100)},
        {
            "num_classes": 3,
            "channels": 6,
            "layers": 5,
            "input_size": (4, 33, 47),
            "stem": "imagenet",
        },
    ],
    ids=["cifar-17x15", "imagenet-100x100", "imagenet-33x47"],
)
def test_costs_of_cells_equal_what_torch_counts(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(settings["channels"])
    with torch.device("meta"):
        supernet = NASNetSupernet(**settings)
        image = torch.zeros(1, *settings["input_size"])
        archs = [supernet.space.sample(rng) for _ in range(3)]
        archs.append(Architecture("nasnet", (0, 3, 3) * 8))  # an operation twice on every edge
        params, macs = supernet.count(np.array([arch.choices for arch in archs]))
        for arch, cost in zip(archs, zip(params, macs, strict=True), strict=True):
            subnet = supernet.build_subnet(arch).eval()
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                subnet(image)
            num_params = sum(parameter.numel() for parameter in subnet.parameters())
            assert cost == (num_params, counter.get_total_flops() // 2)


@pytest.mark.parametrize(
    "text",
    [
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|",
        "|none~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    ],
    ids=["never-read", "sees-only-zeros"],
)
def test_costs_are_those_of_the_edges_on_a_path_from_input_to_output(
    cifar10: CostModel, text: str
) -> None:
    arch = SPACE.parse(text)
    assert cifar10.measure(arch) == cifar10.measure(all_edges(1)) == Cost(73_306, 7_783_050)


def test_benchmark_costs_want_rows_of_choices(cifar10: CostModel) -> None:
    arch = cifar10.space.architecture([3] * 6)
    with pytest.raises(ValueError, match=r"got Architecture. For one architecture use metrics"):
        cifar10.benchmark_costs(arch)  # type: ignore[arg-type]
    one = cifar10.benchmark_costs(cifar10.space.choices_of([arch]))
    assert cifar10.metrics(arch)["benchmark_macs"] == one["benchmark_macs"][0]


def test_the_benchmarks_own_costs_count_every_edge(cifar10: CostModel) -> None:
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"
    choices = np.array([SPACE.parse(text).choices, RESNET_LIKE.choices])
    costs = cifar10.benchmark_costs(choices)
    assert costs["benchmark_macs"].tolist() == [113_951_370, 78_561_930]
    assert costs["benchmark_params"].tolist() == [802_426, 559_386]
    assert cifar10.measure_all(choices)["macs"].tolist() == [7_783_050, 78_561_930]


def test_policy_of_the_supernet_does_not_change_the_cost(
    make_supernet: Callable[..., Supernet],
) -> None:
    costs = {CostModel(make_supernet(bn_mode=m)).measure(RESNET_LIKE) for m in ("batch", "affine")}
    assert len(costs) == 1


def test_many_architectures_are_measured_at_once(cifar10: CostModel) -> None:
    rng = np.random.default_rng(0)
    choices = SPACE.sample_choices(50, rng)
    costs = cifar10.measure_all(choices)
    assert costs.keys() == {"params", "macs"}
    measured = [cifar10.measure(arch) for arch in SPACE.architectures(choices)]
    assert costs["params"].tolist() == [cost.params for cost in measured]
    assert costs["macs"].tolist() == [cost.macs for cost in measured]
    assert {cost.latency for cost in measured} == {None}
    assert type(measured[0].params) is type(measured[0].macs) is int


def test_architectures_of_another_space_have_no_cost(cifar10: CostModel) -> None:
    with pytest.raises(ValueError, match="elsewhere"):
        cifar10.measure(Architecture("elsewhere", (0,) * 6))


class SumCosts:
    """Params of an architecture are the sum of its choices, its latency is a tenth of that."""

    has_latency = True

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def measure_all(self, choices: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        params = choices.sum(axis=1)
        return {"params": params, "macs": 0 * params, "latency": params / 10}


@pytest.mark.parametrize(
    ("constraint", "feasible"),
    [
        (Constraint("params", 2, 4), [0, 0, 1, 1, 1, 0]),
        (Constraint("params", maximum=1), [1, 1, 0, 0, 0, 0]),
        (Constraint("params", minimum=5), [0, 0, 0, 0, 0, 1]),
        (Constraint("macs", maximum=0), [1, 1, 1, 1, 1, 1]),
        (Constraint("latency", 0.1, 0.2), [0, 1, 1, 0, 0, 0]),
    ],
)
def test_constraints_are_closed_intervals(
    constraint: Constraint, feasible: list[int], make_space: Callable[..., SearchSpace]
) -> None:
    model: Any = SumCosts(make_space(6))
    are_feasible = feasibility_check(model, [constraint])
    assert are_feasible is not None
    assert are_feasible(np.arange(6)[:, None]).tolist() == [bool(answer) for answer in feasible]


def test_latency_is_measured_by_what_predicts_it() -> None:
    def latency(choices: NDArray[np.int64]) -> NDArray[np.float64]:
        return choices.sum(axis=1) * 0.5

    with torch.device("meta"):
        supernet = NASBench201Supernet(num_classes=10)
    model = CostModel(supernet, latency=latency)
    assert model.has_latency and not CostModel(supernet).has_latency
    assert model.measure(all_edges(2)).latency == 6.0
    assert model.measure_all(np.array([[1] * 6, [0] * 6]))["latency"].tolist() == [3.0, 0.0]
    constraint = Constraint("latency", maximum=6.0)
    are_feasible = feasibility_check(model, [constraint])
    assert are_feasible is not None
    assert are_feasible(np.array([[2] * 6, [3] * 6])).tolist() == [True, False]
    with pytest.raises(ValueError, match="latency needs a latency table; none was given"):
        feasibility_check(CostModel(supernet), [constraint])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("flops",), "Unknown metric 'flops'; choose from params, macs, latency"),
        (("params", 3, 2), "minimum of params \\(3\\) must not exceed its maximum \\(2\\)"),
        (("macs", float("nan"), 2), "minimum of macs"),
        (("macs", 0, float("nan")), "maximum \\(nan\\)"),
    ],
)
def test_impossible_intervals_are_refused(arguments: Sequence[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Constraint(*arguments)


def test_no_constraints_give_no_check(cifar10: CostModel) -> None:
    assert feasibility_check(cifar10, []) is None


def test_all_constraints_have_to_hold(cifar10: CostModel) -> None:
    are_feasible = feasibility_check(
        cifar10, [Constraint("macs", maximum=80e6), Constraint("params", minimum=0.5e6)]
    )
    assert are_feasible is not None
    # 78.6 million and 0.56 million; then too many macs; then too few params
    archs = (RESNET_LIKE, all_edges(3), all_edges(1))
    choices = np.array([arch.choices for arch in archs])
    assert are_feasible(choices).tolist() == [True, False, False]


def test_unsatisfiable_constraint_names_the_range(cifar10: CostModel) -> None:
    with pytest.raises(ValueError) as caught:
        feasibility_check(cifar10, [Constraint("params", maximum=70_000)])
    assert str(caught.value) == (
        "No architecture of 'nasbench201' has params in [0, 70,000]; "
        "this space offers params from 73,306 to 1,531,546."
    )


def test_constraint_that_falls_into_a_gap_names_both_sides(cifar10: CostModel) -> None:
    # one 1x1 convolution per cell adds 5 * (16^2 + 32^2 + 64^2) weights and 2 * 5 * (16 + 32 + 64)
    # BatchNorm parameters to the 73,306 of a cell without convolution
    assert 73_306 + 5 * (256 + 1024 + 4096) + 2 * 5 * 112 == 101_306
    with pytest.raises(ValueError, match="nearest: 73,306 and 101,306"):
        feasibility_check(cifar10, [Constraint("params", 80_000, 90_000)])


def test_constraints_that_exclude_each_other_name_both_metrics(cifar10: CostModel) -> None:
    constraints = [Constraint("params", minimum=1e6), Constraint("macs", maximum=10e6)]
    with pytest.raises(ValueError, match="has params in .* and macs in .*; .*params from.*macs fr"):
        feasibility_check(cifar10, constraints)


def test_large_spaces_are_sampled(make_space: Callable[..., SearchSpace]) -> None:
    model: Any = SumCosts(make_space(*[2] * 40))
    are_feasible = feasibility_check(model, [Constraint("params", 18, 22)])
    assert are_feasible is not None
    choices = np.array([[0, 1] * 20, [1] * 40])
    assert are_feasible(choices).tolist() == [True, False]
    with pytest.raises(ValueError, match="this space offers params from"):
        feasibility_check(model, [Constraint("params", minimum=41)])


def test_extremes_of_an_ordered_space_are_known_to_be_feasible() -> None:
    with torch.device("meta"):
        supernet = MobileNetV3Supernet(num_classes=1000)
    model = CostModel(supernet)
    extremes = np.array([arch.choices for arch in supernet.space.extremes()])
    least, most = supernet.count(extremes)[1].tolist()
    for constraint in (Constraint("macs", maximum=least), Constraint("macs", minimum=most)):
        are_feasible = feasibility_check(model, [constraint])
        assert are_feasible is not None
        assert sorted(are_feasible(extremes).tolist()) == [False, True]
    with pytest.raises(ValueError, match=f"offers macs from {least:,} to {most:,}"):
        feasibility_check(model, [Constraint("macs", maximum=least - 1)])


def test_bounds_are_numbers() -> None:
    with pytest.raises(ValueError, match="The maximum of macs must be a number, got '3'"):
        Constraint("macs", maximum="3")  # type: ignore[arg-type]
