"""Networks that do not fit their marks, and marks that decide nothing, are refused in a line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supernets.networks.marked_supernet import MarkedSupernet
from supernets.networks.marks import Choice, ElasticDepth, ElasticWidth

SIZE = (3, 12, 12)


class Unequal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = ElasticWidth(nn.Conv2d(3, 8, 1), (4, 8), "a")
        self.two = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.one(x) + self.two(x)
        return added


def unequal(num_classes: int) -> nn.Module:
    return nn.Sequential(Unequal(), nn.Flatten(), nn.Linear(1152, num_classes))


def grouped(num_classes: int) -> nn.Module:
    return nn.Sequential(
        ElasticWidth(nn.Conv2d(3, 8, 1), (3, 8), "a"), nn.Conv2d(8, 8, 1, groups=4), nn.Flatten(1)
    )


class Calls(nn.Module):
    """Runs modules as a function says."""

    def __init__(self, forward: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.run, self.parts = forward, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Any:
        return self.run(x, *self.parts)


def classified(*modules: nn.Module) -> Callable[..., nn.Module]:
    """Builds a network of modules from 3 channels to 8, and a classifier."""

    def build(num_classes: int) -> nn.Module:
        pool, head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, num_classes)
        return nn.Sequential(*copy.deepcopy(modules), pool, nn.Flatten(), head)

    return build


def stem(decision: str = "stem") -> nn.Module:
    return Choice({"k1": nn.Conv2d(3, 8, 1), "k3": nn.Conv2d(3, 8, 3, padding=1)}, decision)


def halved(*, decision: str = "half") -> nn.Module:
    return ElasticWidth(nn.Conv2d(8, 8, 3, padding=1), (0.5, 1.0), decision)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        found: Tensor = self.attend(tokens, tokens, tokens)[0]
        return found.transpose(1, 2).reshape(x.shape)


def fails(num_classes: int) -> nn.Module:
    raise KeyError("channels")


def both_places(num_classes: int) -> nn.Module:
    same = Choice({"a": nn.ReLU(), "b": nn.GELU()})
    return nn.Sequential(nn.Sequential(same), nn.Sequential(same), nn.Flatten())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            classified(stem(), Calls(lambda x, mark: x, halved())),
            "never runs the ElasticWidth of decision 'half', which would decide nothing",
        ),
        (
            classified(
                Choice(
                    {
                        "a": stem("a"),
                        "b": Calls(lambda x, used, unused: used(x), stem("b"), stem("c")),
                    },
                    "outer",
                )
            ),
            "never runs the Choice of decision 'c'",
        ),
        (
            classified(
                stem(),
                Calls(lambda x, mark, after: after(mark(mark(x))), halved(), nn.Conv2d(8, 8, 1)),
            ),
            r"runs 1.parts.0.layer \(Conv2d\) with in_channels 4 and with in_channels 8 in one "
            "forward, with stem=k1;half=0.5; a layer of a subnet has one size",
        ),
        (both_places, "One Choice is in two places, 0.0 and 1.0, and can be chosen once"),
        (
            classified(stem(), halved(), Attention()),
            r"fails in 2.attend \(MultiheadAttention\) .* with stem=k1;half=0.5: AssertionError: "
            r"was expecting embedding dimension of 8, but got 4 "
            r"\(test_wrong_marks.py, line \d+\)\. What",
        ),
        (
            classified(
                Choice(
                    {f"k{i}": nn.Conv2d(3, i, 1) for i in (8, 5)} | {"k1": nn.Conv2d(3, 8, 1)}, "a"
                )
            ),
            r"fails in 3 \(Linear\) .* with a=k5",
        ),
        (
            lambda num_classes: Calls(lambda x, mark: (mark(x), None), stem()),
            r"must map \(N, C, H, W\) to \(N, 5\) logits, got tuple for 2 images with stem=k1",
        ),
        (
            lambda num_classes: nn.Sequential(nn.LazyConv2d(8, 3), stem()),
            "sizes are known, got a LazyConv2d as 0; give the number of its inputs",
        ),
        (lambda num_classes: None, "networks of space 'wrong' must return an nn.Module, got None"),
        (
            fails,
            r"builds networks of space 'wrong' failed: KeyError: 'channels' "
            r"\(test_wrong_marks.py, line \d+\)\.",
        ),
        (
            lambda num_classes: nn.ModuleDict({"a;b": Choice({"a": nn.ReLU(), "b": nn.GELU()})}),
            "The name of a decision must be a text without ; = , # .* got 'a;b'",
        ),
        (lambda num_classes: nn.Linear(3, 3), "has no decisions: mark something as a Choice"),
        (grouped, "groups of 2 channels cannot take 3; choose widths that are multiples"),
        (
            unequal,
            r"fails in 0 \(Unequal\) for images .* with a=4: .*mark it with the same decision",
        ),
        (lambda num_classes, width: nn.ReLU(), "takes num_classes, input_size and settings with"),
        (
            lambda num_classes: nn.Sequential(
                Choice({"a": nn.Flatten(), "b": nn.Flatten()}), nn.Linear(432, 4)
            ),
            r"must map \(N, C, H, W\) to \(N, 5\) logits, got \(2, 4\) for 2 images",
        ),
        (
            lambda num_classes: nn.Sequential(
                Choice({"a": nn.ReLU(), "b": nn.ReLU()}, "x"),
                Choice({"a": nn.ReLU(), "c": nn.ReLU()}, "x"),
            ),
            "Marks of decision 'x' must have the same options, got a, b and a, c",
        ),
    ],
)
def test_networks_that_do_not_fit_their_marks_are_refused(
    build: Callable[..., nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MarkedSupernet("wrong", build, num_classes=5, input_size=SIZE)


class Noise(nn.Module):
    def __init__(self, in_eval: bool) -> None:
        super().__init__()
        self.in_eval = in_eval

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) if self.training or self.in_eval else x


def test_a_network_that_is_random_in_eval_mode_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calm = (nn.Dropout(0.5), nn.RReLU(), Attention(), Noise(in_eval=False))
    for parts, told in (
        (calm, ""),
        ((*calm, Noise(in_eval=True)), "eval mode in 1.options.a.4 (Noise): scores of its subnets"),
    ):
        mark = Choice({"a": nn.Sequential(*parts), "b": nn.Identity()})
        MarkedSupernet("noisy", classified(stem(), mark), num_classes=5, input_size=SIZE)
        assert told in caplog.text and bool(told) == bool(caplog.text)


def test_what_runs_twice_with_one_size_is_the_same_alone() -> None:
    twins = Calls(lambda x, mark, end: end(mark(x) + mark(x.flip(3))), halved(), nn.Conv2d(8, 8, 1))
    found = MarkedSupernet("twins", classified(stem(), twins), num_classes=5, input_size=SIZE)
    x = torch.randn(2, *SIZE)
    for arch in found.space.enumerate():
        assert torch.equal(found(x, arch), found.extract(arch)(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice({"a": nn.ReLU()}), "Choice needs at least two different options, got a"),
        (lambda: Choice([nn.ReLU(), nn.GELU()]), "Choice takes modules by the names .* got a list"),
        (lambda: Choice({"a": nn.ReLU(), "b": "gelu"}), "Option 'b' of Choice must be an nn.Modu"),
        (lambda: Choice({"a;b": nn.ReLU(), "c": nn.GELU()}), "without ; = , # .* got 'a;b'"),
        (lambda: Choice({"a=b": nn.ReLU(), "c": nn.GELU()}), "without ; = , # .* got 'a=b'"),
        (lambda: Choice({"a,b": nn.ReLU(), "c": nn.GELU()}), "without ; = , # .* got 'a,b'"),
        (lambda: Choice({" a": nn.ReLU(), "c": nn.GELU()}), "An option of Choice .* got ' a'"),
        (lambda: Choice({3: nn.ReLU(), 5: nn.GELU()}), "An option of Choice must be a text"),
        (lambda: Choice({"1.5": nn.ReLU(), "c": nn.GELU()}), "'1.5' of Choice needs another name"),
        (lambda: Choice({"half": nn.ReLU(), "c": nn.GELU()}), "'half' of Choice needs another"),
        (
            lambda: Choice({"a": nn.ReLU(), "b": nn.GELU()}, "x=y"),
            "The decision of Choice must be a text without ; = , # .* got 'x=y'",
        ),
        (lambda: ElasticDepth([nn.ReLU()], depths=(0, 1)), "Module 0 of ElasticDepth must be"),
        (lambda: ElasticDepth(nn.ReLU(), depths=1), "depths must be whole numbers such as"),
        (lambda: ElasticDepth(nn.ReLU(), depths=(0.5, 1)), "depths must be whole numbers such"),
        (lambda: ElasticWidth(nn.Linear(2, 4), 0.5), "widths must be numbers such as .* got 0.5"),
        (lambda: ElasticWidth(nn.Linear(2, 4), "ab"), "widths must be numbers such as .* got 'ab'"),
        (lambda: ElasticDepth(nn.ReLU(), depths=(1, 2)), "Depths must be from 0 to the 1 modules"),
        (lambda: ElasticWidth(nn.ReLU(), (1, 2)), "of a convolution of one group or an nn.Lin"),
        (
            lambda: ElasticWidth(nn.Conv2d(4, 4, 3, groups=4), (2, 4)),
            "got Conv2d of 4 groups, which follows its inputs",
        ),
        (lambda: ElasticWidth(nn.Linear(2, 4), (2, 5)), "Widths must be from 1 to the 4 outputs"),
        (lambda: ElasticWidth(nn.Linear(2, 4), (0.0, 1.0)), "Widths must be from 1 to the 4"),
        (
            lambda: ElasticWidth(nn.Linear(2, 20), (0.1, 1.0), divisor=8),
            "or shares of them up to 1.0 in multiples of 8, got 0.1, 1.0",
        ),
    ],
)
def test_marks_without_a_choice_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
