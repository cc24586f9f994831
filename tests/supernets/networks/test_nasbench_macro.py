"""Networks of NAS-Bench-Macro cost what its table says, and compute what its blocks say."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from supernets.networks.factory import create_subnet, create_supernet
from supernets.networks.nasbench_macro import NASBenchMacroSupernet

#: Parameters and multiply-accumulates of the benchmark: the first, the last, one of the best, and
#: for each layer each block where all others are identities.
PUBLISHED = {
    "00000000": (387_882, 7_713_280),
    "22222222": (2_932_586, 105_660_928),
    "10000000": (396_298, 12_128_768),
    "20000000": (409_834, 17_854_976),
    "01000000": (415_082, 14_447_104),
    "02000000": (448_298, 22_753_792),
    "00100000": (419_050, 12_018_176),
    "00200000": (464_554, 17_240_576),
    "00010000": (491_434, 14_225_920),
    "00020000": (607_018, 21_524_992),
    "00000100": (507_562, 11_962_880),
    "00000200": (672_298, 16_933_376),
    "00000010": (791_594, 14_115_328),
    "00000002": (1_219_370, 20_910_592),
}
TABLE = Path(os.environ.get("PACELINE_NASBENCH_MACRO_CSV", "missing"))


@pytest.fixture(scope="module")
def supernet() -> NASBenchMacroSupernet:
    """The benchmark's size, without weights."""
    with torch.device("meta"):
        return NASBenchMacroSupernet(num_classes=10)


def test_costs_are_the_published_ones(supernet: NASBenchMacroSupernet) -> None:
    archs = [supernet.space.parse(text) for text in PUBLISHED]
    params, macs = supernet.count(supernet.space.choices_of(archs))
    assert dict(zip(PUBLISHED, zip(params, macs, strict=True), strict=True)) == PUBLISHED


def test_costs_of_layers_add_up(supernet: NASBenchMacroSupernet) -> None:
    """All 6,561 follow from what each block adds, as the table's do."""
    choices = supernet.space.choices_of(supernet.space.enumerate())
    blocks = np.concatenate([choices == 1, choices == 2], axis=1).astype(np.int64)
    single = np.array([np.eye(8, dtype=np.int64)[i] * block for block in (1, 2) for i in range(8)])
    nothing = np.zeros((1, 8), np.int64)
    for count, fixed, each in zip(
        supernet.count(choices), supernet.count(nothing), supernet.count(single), strict=True
    ):
        assert (count == fixed + blocks @ (each - fixed)).all()


@pytest.mark.skipif(not TABLE.is_file(), reason="PACELINE_NASBENCH_MACRO_CSV names no table")
def test_costs_of_all_are_those_of_the_table(supernet: NASBenchMacroSupernet) -> None:
    opened = gzip.open if TABLE.suffix == ".gz" else open
    with opened(TABLE, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == supernet.space.size
    choices = supernet.space.choices_of([supernet.space.parse(row["arch"]) for row in rows])
    params, macs = supernet.count(choices)
    assert params.tolist() == [int(row["params"]) for row in rows]
    assert macs.tolist() == [int(row["macs"]) for row in rows]
    accuracies = [row["cifar10_test_acc"] for row in rows]
    of_arch = dict(zip(map(tuple, choices.tolist()), accuracies, strict=True))
    first = supernet.space.first_of_functions(choices).tolist()
    assert [of_arch[tuple(each)] for each in first] == accuracies


def test_identities_that_keep_the_shape_do_nothing() -> None:
    """Networks of one function have the same weights to draw, and then the same logits."""
    settings = {"num_classes": 3, "stem_channels": 4, "input_size": (3, 16, 16)}
    space = create_supernet("nasbench_macro", **settings).space
    images = torch.randn(2, 3, 16, 16)
    subnets = [create_subnet(space.parse(text), **settings) for text in ("00010001", "00001100")]
    subnets.append(create_subnet(space.parse("00001001"), **settings))
    weights = list(subnets[0].state_dict().values())
    subnets[2].load_state_dict(dict(zip(subnets[2].state_dict(), weights, strict=True)))
    logits = [subnet.eval()(images) for subnet in subnets]
    assert torch.equal(logits[0], logits[2])
    assert not torch.equal(logits[0], logits[1])


def test_maps_are_halved_by_stages_and_shortcuts_are_where_the_shape_stays() -> None:
    supernet = NASBenchMacroSupernet(num_classes=3, stem_channels=4)
    subnet = supernet.extract(supernet.space.parse("12121212"))
    shapes = []
    for layer in subnet[1]:
        layer.register_forward_hook(lambda *args: shapes.append(tuple(args[2].shape[1:])))
    subnet(torch.randn(2, 3, 32, 32))
    sides, widths = (16, 16, 8, 8, 8, 4, 4, 4), (8, 8, 16, 16, 16, 32, 32, 32)
    assert shapes == [(width, side, side) for width, side in zip(widths, sides, strict=True)]
    has_shortcut = [layer.has_shortcut for layer in subnet[1]]
    assert has_shortcut == [False, True, False, True, True, False, True, True]
