"""Which paths a training step takes, and the gradient they add up to."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.base import Supernet
from supernets.path_sampling import (
    PATHS,
    FairPaths,
    MultiPaths,
    PathSampler,
    UniformPaths,
    create_path_sampler,
)
from supernets.spaces import Architecture, NASBench201Space, SearchSpace
from supernets.training import train_step

Batches = list[tuple[Tensor, Tensor]]
SPACE = NASBench201Space()


def size_of(arch: Architecture) -> int:
    """Weights of a cell in units of C squared."""
    return sum({2: 1, 3: 9}.get(choice, 0) for choice in arch.choices)


def samplers() -> dict[str, PathSampler]:
    return {name: create_path_sampler(name, SPACE, size_of) for name in PATHS}


@pytest.mark.parametrize("name", PATHS)
def test_paths_depend_on_the_rng_alone(name: str) -> None:
    first, second = (samplers()[name] for _ in range(2))
    first.sample(np.random.default_rng(9))  # an earlier step leaves no trace
    for step in range(5):
        rngs = [np.random.default_rng((1, step)) for _ in range(2)]
        assert first.sample(rngs[0]) == second.sample(rngs[1])
    assert first.sample(np.random.default_rng(1)) != first.sample(np.random.default_rng(2))


@pytest.mark.parametrize("name", PATHS)
def test_paths_are_architectures_of_the_space(name: str) -> None:
    paths = samplers()[name].sample(np.random.default_rng(0))
    for arch in paths:
        SPACE.validate(arch)
        assert {type(choice) for choice in arch.choices} == {int}


def test_uniform_paths_cover_the_space_evenly(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(2, 3, 4)
    sampler, rng, num_steps = UniformPaths(space), np.random.default_rng(0), 4800
    drawn = [sampler.sample(rng) for _ in range(num_steps)]
    assert {len(paths) for paths in drawn} == {1}
    counts = {arch: 0 for arch in space.enumerate()}
    for (arch,) in drawn:
        counts[arch] += 1
    sigma = math.sqrt(num_steps / 24 * (1 - 1 / 24))
    assert all(abs(count - num_steps / 24) < 4 * sigma for count in counts.values())


def test_several_uniform_paths_are_independent() -> None:
    sampler, rng = UniformPaths(SPACE, num_paths=4), np.random.default_rng(0)
    steps = [sampler.sample(rng) for _ in range(200)]
    assert {len(paths) for paths in steps} == {4}
    repeats = sum(a.choices[0] == b.choices[0] for a, b, *_ in steps)
    assert 20 < repeats < 65  # a fifth of 200, where fair paths would have none


def test_fair_paths_take_every_option_of_every_decision_once() -> None:
    sampler, rng = FairPaths(SPACE), np.random.default_rng(0)
    for _ in range(50):
        paths = sampler.sample(rng)
        assert len(paths) == 5
        for column in zip(*(arch.choices for arch in paths), strict=True):
            assert sorted(column) == [0, 1, 2, 3, 4]


def test_fair_permutations_are_independent_and_uniform(
    make_space: Callable[..., SearchSpace],
) -> None:
    sampler, rng, num_steps = FairPaths(make_space(3, 3)), np.random.default_rng(0), 3600
    seen: dict[tuple[tuple[int, ...], ...], int] = {}
    for _ in range(num_steps):
        key = tuple(arch.choices for arch in sampler.sample(rng))
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 36  # every pair of permutations of three
    assert max(abs(count - 100) for count in seen.values()) < 4 * math.sqrt(100)


def test_fair_paths_need_decisions_of_one_size(make_space: Callable[..., SearchSpace]) -> None:
    with pytest.raises(ValueError, match=r"'toy' has \[2, 3\]; use uniform paths"):
        FairPaths(make_space(2, 3))


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
    paths = FairPaths(SPACE).sample(np.random.default_rng(3))
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


def test_multi_paths_take_one_path_from_each_stratum_of_size() -> None:
    sampler = MultiPaths(SPACE, size_of)
    assert [len(stratum) for stratum in sampler.strata] == [3907, 3906, 3906, 3906]
    assert set().union(*sampler.strata) == set(SPACE.enumerate())
    ranges = [(min(map(size_of, s)), max(map(size_of, s))) for s in sampler.strata]
    assert all(low[1] <= high[0] for low, high in zip(ranges, ranges[1:], strict=False))
    assert (ranges[0][0], ranges[-1][1]) == (0, 54)
    members = [set(stratum) for stratum in sampler.strata]
    rng = np.random.default_rng(0)
    for _ in range(100):
        paths = sampler.sample(rng)
        assert len(paths) == 4
        assert all(arch in stratum for arch, stratum in zip(paths, members, strict=True))


def test_multi_paths_draw_evenly_within_a_stratum(make_space: Callable[..., SearchSpace]) -> None:
    space = make_space(8)
    sampler = MultiPaths(space, lambda arch: -arch.choices[0], num_paths=2)
    assert [{arch.choices[0] for arch in s} for s in sampler.strata] == [{4, 5, 6, 7}, {0, 1, 2, 3}]
    rng = np.random.default_rng(0)
    firsts = [sampler.sample(rng)[0].choices[0] for _ in range(400)]
    counts = np.bincount(firsts, minlength=8)[4:]
    assert np.abs(counts - 100).max() < 4 * math.sqrt(75)


def test_multi_paths_stratify_a_sample_of_a_large_space(
    make_space: Callable[..., SearchSpace],
) -> None:
    space = make_space(*[10] * 6)
    sampler = MultiPaths(space, lambda arch: sum(arch.choices), num_paths=3)
    assert sum(map(len, sampler.strata)) == 10_000
    small, medium, large = sampler.sample(np.random.default_rng(0))
    assert sum(small.choices) <= sum(medium.choices) <= sum(large.choices)


@pytest.mark.parametrize("num_paths", [-1, 0, 1, 15_626])
def test_multi_paths_refuse_impossible_numbers(num_paths: int) -> None:
    with pytest.raises(ValueError, match=f"from 2 to the space's 15625.*got {num_paths}"):
        MultiPaths(SPACE, size_of, num_paths)


@pytest.mark.parametrize(
    ("name", "num_paths", "kind", "per_step"),
    [
        ("uniform", None, UniformPaths, 1),
        ("uniform", 3, UniformPaths, 3),
        ("fair", None, FairPaths, 5),
        ("fair", 5, FairPaths, 5),
        ("multi", None, MultiPaths, 4),
        ("multi", 2, MultiPaths, 2),
    ],
)
def test_samplers_by_name(name: str, num_paths: int | None, kind: type, per_step: int) -> None:
    sampler = create_path_sampler(name, SPACE, size_of, num_paths)
    assert type(sampler) is kind
    assert len(sampler.sample(np.random.default_rng(0))) == per_step


@pytest.mark.parametrize(
    ("name", "num_paths", "message"),
    [
        ("sandwich", None, "Unknown paths 'sandwich'; choose from uniform, fair, multi"),
        ("uniform", 0, "num_paths must be at least 1, got 0"),
        ("fair", 4, "num_paths is 5, got 4; leave it out or use other paths"),
        ("fair", 0, "num_paths is 5, got 0"),
        ("multi", 1, "from 2 to the space's 15625 architectures, got 1"),
    ],
)
def test_unknown_samplers_and_unsuitable_numbers_are_refused(
    name: str, num_paths: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        create_path_sampler(name, SPACE, size_of, num_paths)
