"""What the notation of the ProxylessNAS space says, how many there are, and which are the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from supernets.spaces import ProxylessNASSpace
from supernets.spaces.proxylessnas import STAGES, Block

SPACE = ProxylessNASSpace()
#: The authors' networks for mobile phones, GPUs and CPUs.
PUBLISHED = {
    "mobile": "e1k3;e3k5,e3k3,-,-;e3k7,e3k3,e3k5,e3k5;e6k7,e3k5,e3k5,e3k5;"
    "e6k5,e3k5,e3k5,e3k5;e6k7,e6k7,e3k7,e3k7;e6k7",
    "gpu": "e1k3;e3k5,-,-,-;e3k7,-,-,e3k3;e6k7,-,-,e3k5;e6k5,-,e3k3,e3k5;e6k7,e6k7,e6k7,e6k5;e6k7",
    "cpu": "e1k3;e6k3,e3k3,e3k3,e3k3;e6k3,e3k3,e3k3,e3k5;e6k3,-,-,e3k3;"
    "e6k5,e3k3,e3k3,e3k3;e6k5,e3k5,e3k5,e3k3;e6k5",
}


def test_the_size_is_that_of_the_paper() -> None:
    """6.64e17, of which the paper cuts the digits that follow."""
    assert SPACE.size == 3 * 6**6 * 7**15 == 664_506_689_423_701_824
    assert SPACE.restrict({"first": ("e1k3",)}).size == 6**6 * 7**15


def test_no_other_22_blocks_with_as_many_options_come_to_that_size() -> None:
    found = [
        (threes, sixes)
        for threes in range(23)
        for sixes in range(23 - threes)
        if 6.64e17 <= 3**threes * 6**sixes * 7 ** (22 - threes - sixes) < 6.65e17
    ]
    assert found == [(1, 6)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_architectures(name: str) -> None:
    arch = SPACE.parse(PUBLISHED[name])
    assert SPACE.format(arch) == PUBLISHED[name]
    assert SPACE.parse(f" {PUBLISHED[name].replace(',', ' , ')}\n") == arch
    num_blocks = PUBLISHED[name].count("k")
    assert sum(len(stage) for stage in SPACE.stages(arch)) == num_blocks
    assert SPACE.structure(SPACE.choices_of([arch])).numbers[0, 1] == num_blocks - 1


def test_blocks_are_those_written() -> None:
    stages = SPACE.stages(SPACE.parse(PUBLISHED["gpu"]))
    assert stages[:3] == [[Block(3, 1)], [Block(5, 3)], [Block(7, 3), Block(3, 3)]]
    assert stages[-1] == [Block(7, 6)]


def published_json(text: str, key: str = "mobile_inverted_conv") -> dict[str, Any]:
    """The form in which the authors publish networks, as far as it matters here."""
    blocks = []
    for block in text.replace(";", ",").split(","):
        layer: dict[str, Any] = {"name": "ZeroLayer", "stride": 1}
        if block != "-":
            sizes = {"expand_ratio": int(block[1]), "kernel_size": int(block[3])}
            layer = {"name": "MBInvertedConvLayer", **sizes}
        blocks.append({key: layer})
    return {"name": "ProxylessNASNets", "blocks": blocks}


@pytest.mark.parametrize("key", ["mobile_inverted_conv", "conv"])
def test_published_json_is_read(key: str) -> None:
    for text in PUBLISHED.values():
        assert SPACE.format(SPACE.parse(json.dumps(published_json(text, key)))) == text
    config = published_json(PUBLISHED["gpu"])
    config["blocks"][2] = {key: None}  # also left out
    assert SPACE.format(SPACE.parse(json.dumps(config))) == PUBLISHED["gpu"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e1k3", r"its stages have \[1\] blocks, expected \[1, 4, 4, 4, 4, 4, 1\]"),
        (PUBLISHED["cpu"].replace("-", "none"), "block.3.2 takes .*, e6k7, -, got 'none'"),
        (PUBLISHED["cpu"].replace("e1", "e3"), "first takes e1k3, e1k5, e1k7, got 'e3k3'"),
        (PUBLISHED["cpu"].replace(";e6k5,", ";-,"), "block.4.1 takes .*, e6k7, got '-'"),
        (PUBLISHED["cpu"] + ";e6k5", "its stages have"),
        ("{", "it is no JSON of a network with blocks"),
        ('{"blocks": 3}', "it is no JSON of a network with blocks"),
        ('{"blocks": [{"conv": {}}]}', "it is no JSON of a network with blocks"),
        ('{"blocks": []}', "its stages have"),
    ],
)
def test_what_is_no_notation_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.parse(text)


def test_where_blocks_of_a_stage_are_left_out_does_not_matter() -> None:
    first = SPACE.parse(PUBLISHED["gpu"].replace("e3k7,-,-,e3k3", "e3k7,e3k3,-,-"))
    choices = SPACE.choices_of([SPACE.parse(PUBLISHED["gpu"]), first])
    found = SPACE.first_of_functions(choices)
    assert (found[0] == found[1]).all()
    assert SPACE.format(SPACE.architecture(found[0])).startswith("e1k3;e3k5,-,-,-;e3k7,e3k3,-,-;")
    numbers = SPACE.structure(choices).numbers
    assert (numbers[0] == numbers[1]).all()
    part = SPACE.restrict({"block.2.2": ("skip",)})
    assert (part.first_of_functions(choices[:1]) == choices[:1]).all()


def test_structure_tells_networks_apart() -> None:
    choices = SPACE.sample_choices(200, np.random.default_rng(0))
    first = SPACE.first_of_functions(choices)
    assert SPACE.stages(SPACE.architecture(first[0])) == SPACE.stages(
        SPACE.architecture(choices[0])
    )
    numbers = SPACE.structure(choices).numbers
    assert len(np.unique(numbers, axis=0)) == len(np.unique(first, axis=0))
    for row, arch in zip(numbers, SPACE.architectures(choices), strict=True):
        head, *stages = SPACE.stages(arch)
        assert row[0] == head[0].kernel
        blocks = [block for stage in stages for block in stage]
        totals = [len(blocks), sum(b.kernel for b in blocks), sum(b.expand for b in blocks)]
        assert row[1:4].tolist() == totals
        assert row[4 : 4 + len(STAGES)].tolist() == [len(stage) for stage in stages]
