"""Costs of NAS-Bench-201 without a network are those of the networks."""

from __future__ import annotations

import numpy as np

from supernets.networks.nasbench201 import NASBench201Subnet
from supernets.networks.nasbench201_counts import NASBench201Counts
from supernets.spaces import Architecture


def test_params_are_those_of_the_network_that_is_built() -> None:
    settings = {"num_classes": 7, "channels": 4, "cells_per_stage": 2}
    counts = NASBench201Counts(**settings)
    choices = counts.space.sample_choices(5, np.random.default_rng(0))
    for row, params in zip(choices.tolist(), counts.count(choices)[0], strict=True):
        network = NASBench201Subnet(Architecture("nasbench201", tuple(row)), **settings)
        assert params == sum(parameter.numel() for parameter in network.parameters())


def test_the_benchmark_counts_every_edge() -> None:
    """The published numbers of a cell with two dead convolutions, and of what is live of it."""
    counts = NASBench201Counts(num_classes=10)
    dead = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    choices = counts.space.choices_of([counts.space.parse(dead)])
    (params,), (macs,) = counts.count(choices)
    (all_params,), (all_macs,) = counts.benchmark_count(choices)
    assert all_params - params == 5 * sum(9 * c * c + 2 * c for c in (16, 32, 64))
    assert all_macs - macs == 5 * sum(9 * (16 * 32) ** 2 for _ in range(3))
