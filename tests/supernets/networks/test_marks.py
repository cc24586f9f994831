"""Ordinary networks with marks are supernets: what is marked is decided, and nothing else runs."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernets.networks.marked_costs import own_costs
from supernets.networks.marked_supernet import MarkedSupernet
from supernets.networks.marks import Choice, ElasticDepth, ElasticWidth, Mark

SIZE = (3, 12, 12)


class Bottleneck(nn.Module):
    """Every kind of layer that follows widths, within a residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.expand = ElasticWidth(nn.Conv2d(channels, inner, 1), (0.25, 0.5, 1.0))
        self.norm = nn.BatchNorm2d(inner)
        self.depthwise = Choice(
            {f"k{k}": nn.Conv2d(inner, inner, k, padding=k // 2, groups=inner) for k in (3, 5)}
        )
        self.project = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.depthwise(self.norm(self.expand(x)).relu())
        projected: Tensor = self.project(inner.relu())
        return x + projected


def network(num_classes: int, channels: int = 4) -> nn.Module:
    stem = {f"k{k}": nn.Conv2d(3, channels, k, padding=k // 2) for k in (3, 5)}
    return nn.Sequential(
        Choice(stem, "stem"),
        nn.BatchNorm2d(channels),
        ElasticDepth(*(Bottleneck(channels) for _ in range(3)), depths=(0, 1, 3), decision="depth"),
        Choice({"pool": nn.AvgPool2d(2), "skip": nn.Identity()}, "pool"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        ElasticWidth(nn.Linear(channels, 16), (8, 16), "hidden"),
        nn.LayerNorm(16),
        nn.Linear(16, num_classes),
    )


@pytest.fixture(scope="module")
def supernet() -> MarkedSupernet:
    torch.manual_seed(0)
    return MarkedSupernet("marked", network, num_classes=5, input_size=SIZE)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_decisions_are_those_of_the_marks_and_inner_ones_depend_on_outer_ones(
    supernet: MarkedSupernet,
) -> None:
    space = supernet.space
    assert [decision.name for decision in space.decisions] == [
        "stem",
        "depth",
        *(f"2.blocks.{i}.{name}" for i in range(3) for name in ("expand", "depthwise")),
        "pool",
        "hidden",
    ]
    blocks = 3 * 2  # ways to choose one
    assert space.size == 2 * (1 + blocks + blocks**3) * 2 * 2 == len(space.all_choices())
    arch = space.parse("stem=k3;depth=1;2.blocks.0.expand=0.25;2.blocks.0.depthwise=k5;"
                       "pool=skip;hidden=16")  # fmt: skip
    assert space.format(arch).startswith("stem=k3;depth=1;2.blocks.0.expand=0.25;")
    assert space.restrict({"depth": ("1",), "pool": ("skip",)}).size == 2 * blocks * 2


@pytest.mark.parametrize("training", [True, False])
def test_an_extracted_subnet_computes_the_same_bits(
    supernet: MarkedSupernet, rng: np.random.Generator, training: bool
) -> None:
    for _ in range(10):
        arch, whole = supernet.space.sample(rng), copy.deepcopy(supernet).train(training)
        x = torch.randn(4, *SIZE)
        subnet = whole.extract(arch)
        assert subnet.training == training
        assert not [m for m in subnet.modules() if isinstance(m, Mark)]
        assert all(
            type(m) is Bottleneck or "torch.nn" in type(m).__module__ for m in subnet.modules()
        )
        assert torch.equal(whole(x, arch), subnet(x))
        own = {p.data_ptr() for p in subnet.parameters()}
        assert not own & {p.data_ptr() for p in whole.parameters()}
        fresh = whole.build_subnet(arch)
        assert {k: v.shape for k, v in fresh.state_dict().items()} == {
            k: v.shape for k, v in subnet.state_dict().items()
        }
        assert not torch.equal(fresh.eval()(x), subnet.eval()(x))
        standalone = whole.to_standalone(subnet)
        assert torch.equal(standalone(x), subnet(x))


def test_running_statistics_and_gradients_are_those_of_the_path(
    supernet: MarkedSupernet, rng: np.random.Generator
) -> None:
    whole = copy.deepcopy(supernet).train()
    arch, x = supernet.space.sample(rng), torch.randn(4, *SIZE)
    subnet = whole.extract(arch)
    whole(x, arch).square().sum().backward()
    subnet(x).square().sum().backward()
    for name, module in subnet.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            (same,) = [m for n, m in whole.network.named_modules() if n == _in_whole(name)]
            width = module.num_features
            assert torch.equal(same.running_mean[:width], module.running_mean)
    own, inherited = (
        sum(p.grad.square().sum() for p in each.parameters() if p.grad is not None)
        for each in (subnet, whole)
    )
    assert torch.allclose(own, inherited, rtol=1e-5)


def _in_whole(name: str) -> str:
    parts = name.split(".")
    return ".".join([parts[0], "blocks", *parts[1:]]) if parts[0] == "2" else name


def test_nothing_off_the_path_is_computed(
    supernet: MarkedSupernet, rng: np.random.Generator
) -> None:
    whole, ran = copy.deepcopy(supernet), set[str]()
    for name, module in whole.network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: ran.add(name))
    arch = whole.space.parse("stem=k5;depth=0;pool=skip;hidden=8")
    whole(torch.randn(2, *SIZE), arch)
    assert ran == {"0.options.k5", "1", "3.options.skip", "4", "5", "7", "8"}
    assert not any("hook" in key and value for key, value in vars(whole.extract(arch)).items())


def test_costs_of_all_subnets_are_exact_and_few_of_them_are_traced(
    supernet: MarkedSupernet, rng: np.random.Generator
) -> None:
    choices = supernet.space.all_choices()
    params, macs = supernet.count(choices)
    assert len(supernet._costs._seen) < len(choices) / 10
    for i in rng.integers(len(choices), size=20):
        subnet = supernet.extract(supernet.space.architectures(choices[i : i + 1])[0])
        assert params[i] == sum(p.numel() for p in subnet.parameters())
        traced = own_costs(subnet.eval().to("meta"), SIZE)
        assert macs[i] == sum(cost[1] for cost in traced.values())
    begin = time.process_time()
    supernet.count(supernet.space.sample_choices(100_000, rng))
    assert time.process_time() - begin < 5


class Crop(nn.Module):
    """At most 6 pixels a side: a map that is halved once costs what follows the same."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :6, :6]


def halved_and_cropped(num_classes: int) -> nn.Module:
    halves = [Choice({"pool": nn.AvgPool2d(2), "skip": nn.Identity()}, f"{i}") for i in range(3)]
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*halves, Crop(), nn.Conv2d(3, num_classes, 1), pool, nn.Flatten())


def test_costs_that_no_single_change_shows_are_exact() -> None:
    found = MarkedSupernet("cropped", halved_and_cropped, num_classes=7, input_size=SIZE)
    choices = found.space.all_choices()
    num_halved = (choices == 0).sum(axis=1)
    sides = np.array([6, 6, 3, 1])[num_halved]
    assert found.count(choices)[1].tolist() == (7 * 3 * sides**2).tolist()


def test_a_network_is_checked_once_for_each_of_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[str] = []

    def check(name: str, *_: object) -> None:
        checked.append(name)

    monkeypatch.setattr("supernets.networks.marked_supernet.check_network", check)

    def build(num_classes: int) -> nn.Module:
        return network(num_classes)

    class Unhashed:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, num_classes: int) -> nn.Module:
            return network(num_classes)

    for name, function in (("a", build), ("b", Unhashed())):
        for num_classes in (5, 5, 6):
            MarkedSupernet(name, function, num_classes=num_classes, input_size=SIZE)
    assert checked == ["a", "a", "b", "b", "b"]


def test_one_decision_may_act_in_several_places() -> None:
    class Residual(nn.Module):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.one = ElasticWidth(nn.Conv2d(3, 8, 3, padding=1), (4, 8), "width")
            self.two = ElasticWidth(nn.Conv2d(8, 8, 3, padding=1), (4, 8), "width")
            self.head = nn.Linear(8, num_classes)

        def forward(self, x: Tensor) -> Tensor:
            x = self.one(x)
            return self.head((x + self.two(x)).mean(dim=(2, 3)))

    found = MarkedSupernet("residual", Residual, num_classes=3, input_size=SIZE).eval()
    assert found.space.size == 2
    x = torch.randn(2, *SIZE)
    for arch in found.space.enumerate():
        assert torch.equal(found(x, arch), found.extract(arch)(x))


def wide(num_classes: int) -> nn.Module:
    return nn.Sequential(
        ElasticWidth(nn.Conv2d(3, 8, 3), (4, 8), "a"),
        nn.Flatten(),
        nn.Linear(8 * 10 * 10, num_classes),
    )


def test_shares_are_rounded_to_multiples_of_a_divisor() -> None:
    layer = nn.Conv2d(3, 152, 1)
    assert ElasticWidth(layer, (0.25, 0.5, 1.0), divisor=8).widths == (40, 80, 152)
    assert ElasticWidth(layer, (0.25, 0.5, 1.0)).widths == (38, 76, 152)


def test_two_places_within_the_same_option_may_have_one_decision() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = ElasticWidth(nn.Conv2d(3, 8, 1), (4, 8), "width")
            self.gate = ElasticWidth(nn.Conv2d(3, 8, 1), (4, 8), "width")
            self.out = nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            gated: Tensor = self.out(self.one(x) * self.gate(x).sigmoid())
            return gated

    def build(num_classes: int) -> nn.Module:
        blocks = ElasticDepth(Gated(), nn.Identity(), depths=(0, 1), decision="depth")
        pool = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(blocks, pool, nn.Flatten(), nn.Linear(3, num_classes))

    space = MarkedSupernet("gated", build, num_classes=4, input_size=SIZE).space
    assert [space.format(arch) for arch in space.enumerate()] == [
        "depth=0",
        "depth=1;width=4",
        "depth=1;width=8",
    ]


def test_what_did_not_run_is_extracted_whole() -> None:
    class WithSpare(nn.Module):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.conv = ElasticWidth(nn.Conv2d(3, 8, 1), (4, 8), "width")
            self.head, self.spare = nn.Linear(8, num_classes), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).mean(dim=(2, 3))
            if self.training:
                self.spare(x)
            logits: Tensor = self.head(x)
            return logits

    found = MarkedSupernet("spare", WithSpare, num_classes=4, input_size=SIZE).train()
    narrow, wide = found.space.enumerate()
    found(torch.rand(2, *SIZE), narrow)
    subnet = found.extract(wide)
    assert subnet.head.in_features == subnet.spare.in_features == 8
    assert subnet.spare.weight.shape == (2, 8)


def test_what_follows_a_width_takes_the_first_of_its_inputs() -> None:
    """Also a linear layer after a flattened map, whose first inputs are the first channels."""
    found = MarkedSupernet("wide", wide, num_classes=3, input_size=SIZE).eval()
    x = torch.randn(2, *SIZE)
    for arch in found.space.enumerate():
        subnet = found.extract(arch)
        assert torch.equal(found(x, arch), subnet(x))
    assert subnet[2].in_features == 800


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stem=k3", "leaves 3 decisions open: depth, hidden, pool"),
        ("stem=k9;depth=0;pool=skip;hidden=8", "'stem' has no option 'k9'; there are k3, k5"),
        ("stem=k3;dept=0;pool=skip;hidden=8", "has no decision dept; did you mean depth"),
        ("stem=k3;depth=0;pool=skip;hidden=8;2.blocks.0.expand=1", "decides what does not exist"),
        ("stem", "'stem' is no decision of 'stem'. Expected, for example, 'stem=k3;depth=0;"),
        ("stem=k3;stem=k3;depth=0;pool=skip;hidden=8", "is no decision of"),
    ],
)
def test_wrong_notations_are_refused(supernet: MarkedSupernet, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        supernet.space.parse(text)
