"""Which paths a training step takes, and the gradient they add up to."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from supernets.cost.analytic import CostModel
from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.nasnet import NASNetSupernet
from supernets.spaces import (
    Architecture,
    MobileNetV3Space,
    NASBench201Space,
    NASNetSpace,
    SearchSpace,
)
from supernets.training.path_factory import create_path_sampler
from supernets.training.path_sampling import (
    BinnedPaths,
    FairPaths,
    MultiPaths,
    PathSampler,
    SandwichPaths,
    UniformPaths,
)
from supernets.training.paths import PATHS
from supernets.training.supernet import train_step

Batches = list[tuple[Tensor, Tensor]]
SPACE = NASBench201Space()
ELASTIC = MobileNetV3Space()
ELASTIC_BINS = (0.8e6, 1.4e6, 4)  # of the MACs of ``elastic_costs``


class FakeCosts:
    """Parameters and MACs of an architecture as a function of its choices."""

    def __init__(self, measure: Callable[[Sequence[int]], float]) -> None:
        self.measure = measure

    def measure_all(self, choices: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        costs = np.array([self.measure(row) for row in choices.tolist()])
        return {"params": costs, "macs": costs}

    def benchmark_costs(self, choices: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {"benchmark_params": self.measure_all(choices)["params"]}


def size_of(choices: Sequence[int]) -> int:
    """Weights of a cell in units of C squared."""
    return sum({2: 1, 3: 9}.get(choice, 0) for choice in choices)


def unmeasured(arch: Architecture) -> float:
    raise AssertionError("This sampler needs no losses.")


def draw(sampler: PathSampler, seed: Any) -> list[Architecture]:
    return sampler.sample(np.random.default_rng(seed), unmeasured)


@pytest.fixture(scope="module")
def elastic_costs() -> CostModel:
    """Of an elastic MobileNetV3."""
    return CostModel(MobileNetV3Supernet(num_classes=10, width=0.25, input_size=(3, 32, 32)))


@pytest.fixture(params=PATHS)
def make_sampler(request: pytest.FixtureRequest, elastic_costs: CostModel) -> Any:
    """Builds the sampler of each name, anew on each call."""
    macs_bins = ELASTIC_BINS if request.param == "macs-bins" else None
    return lambda: create_path_sampler(request.param, ELASTIC, elastic_costs, macs_bins=macs_bins)


def depth_of(arch: Architecture) -> float:
    """Stands for a loss; the same for many architectures."""
    return float(sum(arch.choices[:5]))


def test_paths_depend_on_the_rng_alone(make_sampler: Callable[[], PathSampler]) -> None:
    first, second = make_sampler(), make_sampler()
    first.sample(np.random.default_rng(9), depth_of)  # an earlier step leaves no trace
    for step in range(5):
        rngs = [np.random.default_rng((1, step)) for _ in range(2)]
        assert first.sample(rngs[0], depth_of) == second.sample(rngs[1], depth_of)
    steps = [first.sample(np.random.default_rng(step), depth_of) for step in (1, 2)]
    assert steps[0] != steps[1]


def test_paths_are_architectures_of_the_space(make_sampler: Callable[[], PathSampler]) -> None:
    for arch in make_sampler().sample(np.random.default_rng(0), depth_of):
        ELASTIC.validate(arch)
        assert {type(choice) for choice in arch.choices} == {int}


def test_uniform_paths_cover_the_space_evenly(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(2, 3, 4)
    sampler, rng, num_steps = UniformPaths(space), np.random.default_rng(0), 4800
    drawn = [sampler.sample(rng, unmeasured) for _ in range(num_steps)]
    assert {len(paths) for paths in drawn} == {1}
    counts = {arch: 0 for arch in space.enumerate()}
    for (arch,) in drawn:
        counts[arch] += 1
    sigma = math.sqrt(num_steps / 24 * (1 - 1 / 24))
    assert all(abs(count - num_steps / 24) < 4 * sigma for count in counts.values())


def test_several_uniform_paths_are_independent() -> None:
    sampler, rng = UniformPaths(SPACE, num_paths=4), np.random.default_rng(0)
    steps = [sampler.sample(rng, unmeasured) for _ in range(200)]
    assert {len(paths) for paths in steps} == {4}
    repeats = sum(a.choices[0] == b.choices[0] for a, b, *_ in steps)
    assert 20 < repeats < 65  # a fifth of 200, where fair paths would have none


def test_fair_paths_take_every_option_of_every_decision_once() -> None:
    sampler, rng = FairPaths(SPACE), np.random.default_rng(0)
    for _ in range(50):
        paths = sampler.sample(rng, unmeasured)
        assert len(paths) == 5
        for column in zip(*(arch.choices for arch in paths), strict=True):
            assert sorted(column) == [0, 1, 2, 3, 4]


def test_fair_permutations_are_independent_and_uniform(
    make_space: Callable[..., SearchSpace],
) -> None:
    sampler, rng, num_steps = FairPaths(make_space(3, 3)), np.random.default_rng(0), 3600
    seen: dict[tuple[tuple[int, ...], ...], int] = {}
    for _ in range(num_steps):
        key = tuple(arch.choices for arch in sampler.sample(rng, unmeasured))
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 36  # every pair of permutations of three
    assert max(abs(count - 100) for count in seen.values()) < 4 * math.sqrt(100)


def test_fair_paths_need_decisions_of_one_size(make_space: Callable[..., SearchSpace]) -> None:
    with pytest.raises(ValueError, match=r"'toy' has \[2, 3\]; use uniform paths"):
        FairPaths(make_space(2, 3))


@pytest.mark.parametrize("space", [SPACE, ELASTIC], ids=lambda space: space.name)
def test_fair_paths_draw_one_permutation_per_decision(space: SearchSpace) -> None:
    rngs = [np.random.default_rng(5) for _ in range(2)]
    for _ in range(20):
        paths = FairPaths(space).sample(rngs[0], unmeasured)
        columns = [rngs[1].permutation(len(paths)) for _ in space.decisions]
        rows = zip(*columns, strict=True)
        assert paths == [space.architecture([int(choice) for choice in row]) for row in rows]


@pytest.mark.parametrize("distinct_inputs", [False, True])
def test_fair_paths_share_what_the_nodes_of_a_cell_read(distinct_inputs: bool) -> None:
    space = NASNetSpace(distinct_inputs=distinct_inputs)
    sampler, rng, num_steps = FairPaths(space), np.random.default_rng(0), 900
    names = [decision.name for decision in space.decisions]
    read = np.zeros((num_steps, 2), np.int64)  # by the last nodes of both cells
    num_canonical = 0
    for step in range(num_steps):
        paths = sampler.sample(rng, unmeasured)
        columns = dict(zip(names, zip(*(arch.choices for arch in paths), strict=True), strict=True))
        for name, column in columns.items():
            expected = {column[0]} if name.startswith("inputs.") else set(range(7))
            assert len(column) == 7 and set(column) == expected
        read[step] = [columns[f"inputs.{cell}.5"][0] for cell in ("normal", "reduce")]
        num_canonical += paths[0] == space.architecture(paths[0].choices)
    num_pairs = 10 if distinct_inputs else 15
    expected_count = num_steps / num_pairs
    for column in read.T:
        counts = np.bincount(column, minlength=num_pairs)
        assert len(counts) == num_pairs
        assert np.abs(counts - expected_count).max() < 4 * math.sqrt(expected_count)
    assert 0 < num_canonical < num_steps / 4  # the others would have been changed
    assert {type(choice) for choice in paths[0].choices} == {int}


@pytest.mark.parametrize("distinct_inputs", [False, True])
def test_a_fair_step_uses_the_weights_of_every_operation_on_every_edge_once(
    distinct_inputs: bool, make_batches: Callable[..., Batches]
) -> None:
    """On an edge that a node reads twice, twice."""
    supernet = NASNetSupernet(
        num_classes=3, distinct_inputs=distinct_inputs, channels=2, layers=3, input_size=(3, 8, 8)
    )
    ((x, y),) = make_batches(1, 4)
    found: Counter[str] = Counter()
    for name, module in supernet.named_modules():
        if name.count(".") == 5:  # skeleton, cells, number, edges, edge, operation
            module.register_forward_hook(lambda *_, name=name: found.update([name]))
    sampler, rng = FairPaths(supernet.space), np.random.default_rng(1)
    numbers = set()
    for _ in range(2):
        found.clear()
        paths = sampler.sample(rng, unmeasured)
        train_step(supernet, paths, x, y)
        expected: Counter[str] = Counter()
        for decision, choice in zip(supernet.space.decisions, paths[0].choices, strict=True):
            if not decision.name.startswith("inputs."):
                continue
            _, kind, node = decision.name.split(".")
            for source in decision.options[choice].split(","):
                for cell in {"normal": [0], "reduce": [1, 2]}[kind]:
                    for op in supernet.space.decisions[1].options:
                        expected[f"skeleton.cells.{cell}.edges.{node}<-{source}.{op}"] += 1
        assert found == expected
        numbers |= set(expected.values())
    assert numbers == ({1} if distinct_inputs else {1, 2})


def test_fair_paths_use_the_options_a_restricted_space_allows() -> None:
    kept = ("max_pool_3x3", "sep_conv_3x3", "dil_conv_5x5")
    space = NASNetSpace(distinct_inputs=False).restrict({"op": kept})
    paths = draw(FairPaths(space), 0)
    assert len(paths) == 3
    assert space.fair_decisions is not None
    for i in space.fair_decisions:
        assert {space.decisions[i].options[arch.choices[i]] for arch in paths} == set(kept)
    cells = SPACE.restrict({edge.name: ("none", "nor_conv_3x3") for edge in SPACE.decisions})
    for column in zip(*(arch.choices for arch in draw(FairPaths(cells), 0)), strict=True):
        assert sorted(column) == [0, 3]
    with pytest.raises(ValueError, match=r"they permute, space 'nasnet' has \[3, 7\]"):
        FairPaths(NASNetSpace(distinct_inputs=False).restrict({"op.reduce": kept}))


def binned_paths(
    space: SearchSpace, minimum: float, maximum: float, num_bins: int, num_paths: int = 1
) -> BinnedPaths:
    """Whose MACs are the sum of the choices."""
    costs: Any = FakeCosts(sum)
    return BinnedPaths(space, costs, minimum, maximum, num_bins, num_paths)


@pytest.mark.parametrize(("minimum", "maximum", "num_bins"), [(0, 27, 3), (9, 21, 4)])
def test_bins_of_macs_are_drawn_evenly(
    minimum: int, maximum: int, num_bins: int, make_space: Callable[..., SearchSpace]
) -> None:
    """However many architectures they hold; the last has both its ends."""
    sampler = binned_paths(make_space(10, 10, 10), minimum, maximum, num_bins)
    rng, num_steps = np.random.default_rng(0), 900
    sums = np.array([sum(sampler.sample(rng, unmeasured)[0].choices) for _ in range(num_steps)])
    assert minimum <= sums.min() and sums.max() <= maximum
    width = (maximum - minimum) // num_bins
    counts = np.bincount(np.minimum((sums - minimum) // width, num_bins - 1))
    share = 1 / num_bins
    assert len(counts) == num_bins
    assert np.abs(counts - num_steps * share).max() < 4 * math.sqrt(num_steps * share * (1 - share))


@pytest.mark.parametrize("num_paths", [1, 3])
def test_the_path_is_the_first_draw_in_its_bin(
    num_paths: int, make_space: Callable[..., SearchSpace]
) -> None:
    space = make_space(10, 10, 10)
    sampler = binned_paths(space, 0, 30, 6, num_paths)
    assert sampler.bins == [0, 1, 2, 3, 4, 5]
    waits = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        expected = []
        for _ in range(num_paths):
            chosen, drawn = rng.integers(6), []
            while not any(chosen * 5 <= sum(row) < chosen * 5 + 5 for row in drawn):
                drawn += space.sample_choices(50, rng).tolist()
            path = next(row for row in drawn if chosen * 5 <= sum(row) < chosen * 5 + 5)
            waits.append(drawn.index(path))
            expected.append(space.architecture(path))
        assert draw(sampler, seed) == expected
    assert min(waits) == 0 and max(waits) > 50


def test_a_bin_that_no_draw_falls_in_gives_the_first_draw(
    make_space: Callable[..., SearchSpace],
) -> None:
    measured: list[list[int]] = []

    def measure(choices: Sequence[int]) -> float:
        """In the bin while the sampler is built only."""
        measured.append(list(choices))
        return 5.0 if len(measured) <= 10_000 else 50.0

    space, costs = make_space(10, 10), FakeCosts(measure)
    sampler = BinnedPaths(space, costs, 0, 10, 1)  # type: ignore[arg-type]
    (path,) = draw(sampler, 7)
    assert len(measured) == 10_500
    assert list(path.choices) == measured[10_000]


def test_empty_bins_are_left_out(
    make_space: Callable[..., SearchSpace], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert binned_paths(make_space(10, 10), 0, 18, 3).bins == [0, 1, 2]
        assert caplog.messages == []
        sampler = binned_paths(make_space(10, 10), 10, 30, 4)
    assert sampler.bins == [0, 1]
    assert caplog.messages == [
        "2 of 4 bins of MACs are left out: no architecture of space 'toy' falls in them"
    ]
    drawn = {sum(draw(sampler, seed)[0].choices) for seed in range(100)}
    assert min(drawn) >= 10 and drawn & {10, 11} and drawn & {15, 16}


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ((19, 40, 2), "from 19 to 40 MACs; 10,000 random ones have from 0 to 18"),
        ((-1, 10, 2), "minimum of at least 0 and a larger, finite maximum, got -1 and 10"),
        ((5, 5, 2), "finite maximum, got 5 and 5"),
        ((5, math.nan, 2), "finite maximum, got 5 and nan"),
        ((5, math.inf, 2), "finite maximum, got 5 and inf"),
        ((0, 10, 0), "number of bins of MACs must be at least 1, got 0"),
        ((0, 10, 2, 0), "num_paths must be at least 1, got 0"),
    ],
)
def test_impossible_bins_are_refused(
    bins: Any, message: str, make_space: Callable[..., SearchSpace]
) -> None:
    with pytest.raises(ValueError, match=message):
        binned_paths(make_space(10, 10), *bins)


def test_bins_are_of_macs_not_of_parameters(elastic_costs: CostModel) -> None:
    macs = [elastic_costs.measure(draw(UniformPaths(ELASTIC), seed)[0]).macs for seed in range(50)]
    low, high = np.quantile(macs, (0.4, 0.6))
    sampler = BinnedPaths(ELASTIC, elastic_costs, float(low), float(high), 2)
    for seed in range(10):
        (path,) = draw(sampler, seed)
        assert low <= elastic_costs.measure(path).macs <= high


def test_a_fair_step_uses_every_convolution_once(
    make_supernet: Callable[..., Supernet], images: Tensor
) -> None:
    # a step fair paths can draw, in which every convolution lies before an edge that is there
    steps = ((0, 0, 0, 4, 0, 0), (1, 2, 3, 0, 1, 2), (2, 3, 4, 1, 2, 3), (3, 4, 1, 2, 3, 4))
    paths = [SPACE.architecture(choices) for choices in (*steps, (4, 1, 2, 3, 4, 1))]
    supernet = make_supernet()
    calls: dict[str, int] = {}
    for name, module in supernet.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            calls[name] = 0
            module.register_forward_hook(
                lambda *_, name=name: calls.update({name: calls[name] + 1})
            )
    for arch in paths:
        supernet(images, arch)
    in_cells = [name for name in calls if ".edges." in name]
    assert len(in_cells) == 3 * 6 * 2
    assert {calls[name] for name in in_cells} == {1}
    assert {calls[name] for name in calls if name not in in_cells} == {5}


def test_the_gradient_of_a_fair_step_is_the_mean_over_its_paths(
    make_supernet: Callable[..., Supernet], make_batches: Callable[..., Batches]
) -> None:
    supernet = make_supernet(bn_mode="affine").double().train()
    (x, y), *_ = make_batches(1)
    x = x.double()
    paths = draw(FairPaths(SPACE), 3)
    parameters = dict(supernet.named_parameters())
    mean = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    users = {name: 0 for name in parameters}
    expected_losses = []
    for arch in paths:
        loss = F.cross_entropy(supernet(x, arch), y)
        expected_losses.append(loss.item())
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                mean[name] += gradient / 5
                users[name] += 1
    losses = train_step(supernet, paths, x, y)
    torch.testing.assert_close(losses.tolist(), expected_losses, rtol=1e-6, atol=0)
    for name, parameter in parameters.items():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradient, mean[name], rtol=1e-5, atol=1e-8, msg=name)
        assert users[name] == 5 if ".edges." not in name else users[name] <= 1
    assert sum(users[name] for name in users if ".edges." in name) > 0


def multi_paths(
    space: SearchSpace, measure: Callable[[Sequence[int]], float], num_paths: int = 4
) -> MultiPaths:
    return MultiPaths(space, FakeCosts(measure), num_paths)  # type: ignore[arg-type]


def test_multi_paths_take_one_path_from_each_stratum_of_size() -> None:
    sampler = multi_paths(SPACE, size_of)
    assert [len(stratum) for stratum in sampler.strata] == [3907, 3906, 3906, 3906]
    assert set().union(*sampler.strata) == set(SPACE.enumerate())
    sizes = [[size_of(arch.choices) for arch in stratum] for stratum in sampler.strata]
    ranges = [(min(stratum), max(stratum)) for stratum in sizes]
    assert all(low[1] <= high[0] for low, high in zip(ranges, ranges[1:], strict=False))
    assert (ranges[0][0], ranges[-1][1]) == (0, 54)
    members = [set(stratum) for stratum in sampler.strata]
    rng = np.random.default_rng(0)
    for _ in range(100):
        paths = sampler.sample(rng, unmeasured)
        assert len(paths) == 4
        assert all(arch in stratum for arch, stratum in zip(paths, members, strict=True))


def test_multi_paths_draw_evenly_within_a_stratum(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(8)
    sampler = multi_paths(space, lambda choices: -choices[0], num_paths=2)
    assert [{arch.choices[0] for arch in s} for s in sampler.strata] == [{4, 5, 6, 7}, {0, 1, 2, 3}]
    rng = np.random.default_rng(0)
    firsts = [sampler.sample(rng, unmeasured)[0].choices[0] for _ in range(400)]
    counts = np.bincount(firsts, minlength=8)[4:]
    assert np.abs(counts - 100).max() < 4 * math.sqrt(75)


def test_multi_paths_stratify_a_sample_of_a_large_space(
    make_space: Callable[..., SearchSpace],
) -> None:
    space = make_space(*[10] * 6)
    sampler = multi_paths(space, sum, num_paths=3)
    assert sum(map(len, sampler.strata)) == 10_000
    small, medium, large = draw(sampler, 0)
    assert sum(small.choices) <= sum(medium.choices) <= sum(large.choices)


@pytest.mark.parametrize("num_paths", [-1, 0, 1, 15_626])
def test_multi_paths_refuse_impossible_numbers(num_paths: int) -> None:
    with pytest.raises(ValueError, match=f"from 2 to the space's 15625.*got {num_paths}"):
        multi_paths(SPACE, size_of, num_paths)


def test_multi_paths_order_by_parameters(make_supernet: Callable[..., Supernet]) -> None:
    cost_model = CostModel(make_supernet())
    strata = MultiPaths(SPACE, cost_model).strata
    ends = [[arch.choices for arch in (stratum[0], stratum[-1])] for stratum in strata]
    params = cost_model.benchmark_costs(np.array(sum(ends, [])))["benchmark_params"].tolist()
    assert params[0] < params[-1]
    assert params == sorted(params)


def test_sandwich_paths_go_from_the_largest_to_the_smallest(elastic_costs: CostModel) -> None:
    sampler = SandwichPaths(ELASTIC, elastic_costs, num_paths=5)
    rng = np.random.default_rng(0)
    counts = np.zeros((len(ELASTIC.decisions), 3), np.int64)
    for _ in range(200):
        largest, *between, smallest = sampler.sample(rng, unmeasured)
        assert {ELASTIC.stages(largest)[s][b] for s in range(5) for b in range(4)} == {(7, 6)}
        assert [len(stage) for stage in ELASTIC.stages(smallest)] == [2] * 5
        assert {block for stage in ELASTIC.stages(smallest) for block in stage} == {(3, 3)}
        assert len(set(between)) == 3
        for arch in between:
            counts[np.arange(len(counts)), list(arch.choices)] += 1
    depths, always_there = counts[:5], [5, 6, 9, 10, 25, 26]  # the first two blocks of a stage
    for row in (*depths, *counts[always_there]):
        assert np.abs(row - 200).max() < 4 * math.sqrt(600 * (1 / 3) * (2 / 3))


def macs_bin(cost_model: CostModel, arch: Architecture) -> int:
    """Which of the 25 equal parts of the range of MACs; exact, as these are whole numbers."""
    low, high = (cost_model.measure(extreme).macs for extreme in ELASTIC.extremes())
    return (cost_model.measure(arch).macs - low) * 25 // (high - low)


@pytest.mark.parametrize("pick", ["best", "worst"])
def test_of_three_candidates_with_similar_macs_the_loss_picks(
    pick: Literal["best", "worst"], elastic_costs: CostModel
) -> None:
    losses = np.random.default_rng(1)
    measured: list[tuple[float, Architecture]] = []

    def measure(arch: Architecture) -> float:
        measured.append((losses.random(), arch))
        return measured[-1][0]

    sampler = SandwichPaths(ELASTIC, elastic_costs, num_paths=3, pick=pick)
    rng, bins, numbers, picked = np.random.default_rng(0), set(), [], []
    for _ in range(80):
        measured.clear()
        largest, path, smallest = sampler.sample(rng, measure)
        assert (smallest, largest) == ELASTIC.extremes()
        candidates = [arch for _, arch in measured]
        (macs,) = {macs_bin(elastic_costs, arch) for arch in candidates}
        bins.add(macs)
        assert path == sorted(measured, reverse=pick == "worst")[0][1]
        numbers.append(len(set(candidates)))
        picked.append(candidates.index(path))
    assert len(bins) > 4
    assert max(numbers) == 3 and np.mean(numbers) > 2.9  # fewer where a bin is almost empty
    assert set(picked) == {0, 1, 2}


def test_the_bins_of_candidates_are_those_of_random_architectures(
    elastic_costs: CostModel,
) -> None:
    """The middle of the range is drawn more often than its ends, as in the space."""
    sampler, rng = SandwichPaths(ELASTIC, elastic_costs, pick="best"), np.random.default_rng(2)
    drawn = [sampler.sample(rng, depth_of)[1] for _ in range(300)]
    random = [ELASTIC.sample(rng) for _ in range(300)]
    found, expected = (
        np.mean([macs_bin(elastic_costs, arch) for arch in archs]) for archs in (drawn, random)
    )
    assert abs(found - expected) < 0.7  # 4 standard errors of the difference


def test_sandwiches_need_an_order_and_a_middle(
    make_supernet: Callable[..., Supernet], elastic_costs: CostModel
) -> None:
    with pytest.raises(ValueError, match="'nasbench201' has no smallest.*use other paths"):
        SandwichPaths(SPACE, CostModel(make_supernet()))
    with pytest.raises(ValueError, match="num_paths must be at least 3, got 2"):
        SandwichPaths(ELASTIC, elastic_costs, num_paths=2)


@pytest.mark.parametrize(
    ("name", "num_paths", "kind", "per_step", "sums_gradients", "distills"),
    [
        ("uniform", None, UniformPaths, 1, False, False),
        ("uniform", 3, UniformPaths, 3, False, False),
        ("macs-bins", None, BinnedPaths, 1, False, False),
        ("macs-bins", 2, BinnedPaths, 2, False, False),
        ("fair", None, FairPaths, 3, False, False),
        ("fair", 3, FairPaths, 3, False, False),
        ("multi", None, MultiPaths, 4, False, False),
        ("multi", 2, MultiPaths, 2, False, False),
        ("sandwich", None, SandwichPaths, 4, True, True),
        ("sandwich", 3, SandwichPaths, 3, True, True),
        ("best-up", None, SandwichPaths, 4, True, True),
        ("worst-up", 5, SandwichPaths, 5, True, True),
    ],
)
def test_samplers_by_name(
    name: str,
    num_paths: int | None,
    kind: type,
    per_step: int,
    sums_gradients: bool,
    distills: bool,
    elastic_costs: CostModel,
) -> None:
    macs_bins = ELASTIC_BINS if name == "macs-bins" else None
    sampler = create_path_sampler(name, ELASTIC, elastic_costs, num_paths, macs_bins=macs_bins)
    assert type(sampler) is kind
    assert len(sampler.sample(np.random.default_rng(0), depth_of)) == per_step
    assert (sampler.sums_gradients, sampler.distills) == (sums_gradients, distills)


@pytest.mark.parametrize(
    ("name", "pick"), [("sandwich", None), ("best-up", "best"), ("worst-up", "worst")]
)
def test_sandwiches_by_name_pick_as_named(
    name: str, pick: Literal["best", "worst"] | None, elastic_costs: CostModel
) -> None:
    named = create_path_sampler(name, ELASTIC, elastic_costs)
    built = SandwichPaths(ELASTIC, elastic_costs, pick=pick)
    paths = [sampler.sample(np.random.default_rng(4), depth_of) for sampler in (named, built)]
    assert paths[0] == paths[1]


@pytest.mark.parametrize(
    ("name", "num_paths", "message"),
    [
        ("club", None, "Unknown paths 'club'; choose from uniform, macs-bins, fair, multi, sandw"),
        ("macs-bins", None, "macs-bins need macs_bins.*got paths 'macs-bins' with macs_bins None"),
        ("uniform", 0, "num_paths must be at least 1, got 0"),
        ("fair", 4, "num_paths is 5, got 4; leave it out or use other paths"),
        ("fair", 0, "num_paths is 5, got 0"),
        ("multi", 1, "from 2 to the space's 15625 architectures, got 1"),
        ("worst-up", 1, "num_paths must be at least 3, got 1"),
        ("best-up", None, "'nasbench201' has no smallest"),
    ],
)
def test_unknown_samplers_and_unsuitable_numbers_are_refused(
    name: str, num_paths: int | None, message: str, make_supernet: Callable[..., Supernet]
) -> None:
    with pytest.raises(ValueError, match=message):
        create_path_sampler(name, SPACE, CostModel(make_supernet()), num_paths)


def test_bins_are_for_paths_that_have_them(elastic_costs: CostModel) -> None:
    with pytest.raises(ValueError, match=r"others have none; got paths 'uniform' with .*0, 5, 3\)"):
        create_path_sampler("uniform", ELASTIC, elastic_costs, macs_bins=(0, 5, 3))
