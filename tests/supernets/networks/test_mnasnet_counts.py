"""Costs of Accel-NASBench's networks are those of its table."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from supernets.networks.mnasnet_counts import MnasNetCounts

TABLE = Path(os.environ.get("PACELINE_ACCEL_NASBENCH_CSV", "missing"))
#: Parameters and multiply-adds of the benchmark, with what it counts for BatchNorm and pooling.
PUBLISHED = {
    "e1k3l1n-e1k3l1n-e1k5l2n-e6k5l2n-e6k5l2n-e1k5l3n-e6k3l2n": (4_073_000, 236_587_120),
    "e1k3l1n-e6k3l2n-e1k3l1s-e1k5l2s-e1k3l2s-e4k3l4n-e6k5l3s": (6_744_204, 339_182_992),
    "e1k3l1n-e6k3l2n-e1k3l1s-e6k5l3s-e1k5l2s-e4k5l4n-e6k3l1n": (3_717_264, 260_780_072),
}


@pytest.fixture
def counts() -> MnasNetCounts:
    return MnasNetCounts(num_classes=1000)


def test_costs_are_the_published_ones(counts: MnasNetCounts) -> None:
    archs = [counts.space.parse(text) for text in PUBLISHED]
    params, macs = counts.benchmark_count(counts.space.choices_of(archs))
    assert dict(zip(PUBLISHED, zip(params, macs, strict=True), strict=True)) == PUBLISHED


@pytest.mark.skipif(not TABLE.is_file(), reason="PACELINE_ACCEL_NASBENCH_CSV names no table")
def test_costs_of_all_are_those_of_the_table(counts: MnasNetCounts) -> None:
    opened = gzip.open if TABLE.suffix == ".gz" else open
    with opened(TABLE, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3925
    choices = counts.space.choices_of([counts.space.parse(row["arch"]) for row in rows])
    params, macs = counts.benchmark_count(choices)
    assert params.tolist() == [round(1e6 * float(row["params_m"])) for row in rows]
    assert macs.tolist() == [round(1e6 * float(row["macs_m"])) for row in rows]


def test_a_network_has_as_many(counts: MnasNetCounts) -> None:
    """Built of PyTorch's own layers, and traced on images with odd sides."""
    arch = counts.space.parse("e4k3l2s-e1k5l1n-e6k3l1s-e4k5l3n-e1k3l1s-e6k5l1n-e4k3l1s")
    settings = {"num_classes": 7, "input_size": (3, 75, 45)}
    params, macs = MnasNetCounts(**settings).count(counts.space.choices_of([arch]))
    layers: list[nn.Module] = [*_conv(3, 32, 3, 2)]
    channels = 32
    for block, (width, stride) in enumerate(
        zip((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1), strict=True)
    ):
        expand, kernel, num_layers, squeeze = (
            decision.options[choice]
            for decision, choice in list(zip(counts.space.decisions, arch.choices, strict=True))[
                4 * block : 4 * block + 4
            ]
        )
        for layer in range(int(num_layers)):
            inner = int(expand) * channels
            if inner > channels:
                layers += _conv(channels, inner, 1)
            layers += _conv(inner, inner, int(kernel), stride if layer == 0 else 1, inner)
            if squeeze == "s":
                layers.append(_Squeeze(inner, channels // 4))
            layers += _conv(inner, width, 1)
            channels = width
    layers += [*_conv(channels, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(1280, 7))
    assert sum(each.numel() for each in network.parameters()) == params[0]
    found = []

    def add_macs(module: nn.Module, _: object, output: torch.Tensor) -> None:
        size = output[0].numel() if isinstance(module, nn.Linear) else output[0, 0].numel()
        weight = module.weight
        found.append(weight.numel() if isinstance(module, nn.Linear) else weight.numel() * size)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add_macs)
    network.eval()(torch.zeros(1, 3, 75, 45))
    assert np.sum(found) == macs[0]


class _Squeeze(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate: torch.Tensor = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu())
        return x * gate.sigmoid()


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(
        in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )
    return [conv, nn.BatchNorm2d(out_channels)]
