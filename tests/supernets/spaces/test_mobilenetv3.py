"""The space of elastic MobileNetV3: its size, its notation, and which choices matter."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from supernets.spaces import MobileNetV3Space
from supernets.spaces.mobilenetv3 import Block

SPACE = MobileNetV3Space()
SIDES = MobileNetV3Space((224, 128, 160))
# The networks WeakNAS published for 800 and 1000 queries: kernels, expansions, depths.
PUBLISHED = [
    {
        "ks": [3, 5, 5, 5, 7, 5, 7, 3, 3, 7, 5, 7, 3, 3, 5, 5, 7, 5, 3, 5],
        "e": [4, 6, 4, 4, 4, 3, 4, 6, 4, 6, 6, 3, 6, 6, 6, 3, 6, 6, 4, 3],
        "d": [2, 4, 4, 4, 4],
    },
    {
        "ks": [5, 3, 3, 3, 5, 5, 5, 3, 7, 5, 7, 5, 3, 5, 5, 3, 7, 5, 3, 5],
        "e": [3, 3, 4, 3, 4, 6, 4, 4, 4, 6, 6, 6, 6, 6, 6, 4, 6, 6, 6, 3],
        "d": [4, 3, 3, 3, 4],
    },
]
TEXTS = [
    "d=2,4,4,4,4;k=3,5,-,-,7,5,7,3,3,7,5,7,3,3,5,5,7,5,3,5"
    ";e=4,6,-,-,4,3,4,6,4,6,6,3,6,6,6,3,6,6,4,3",
    "d=4,3,3,3,4;k=5,3,3,3,5,5,5,-,7,5,7,-,3,5,5,-,7,5,3,5"
    ";e=3,3,4,3,4,6,4,-,4,6,6,-,6,6,6,-,6,6,6,3",
]


def with_part(key: str, value: str) -> str:
    """The first of ``TEXTS`` with one of its lists replaced."""
    parts = dict(part.split("=") for part in TEXTS[0].split(";"))
    return ";".join(f"{k}={v}" for k, v in (parts | {key: value}).items())


def test_size_counts_every_network_once() -> None:
    assert sum(9**depth for depth in (2, 3, 4)) == 7371
    assert SPACE.size == 7371**5 == 21_758_655_492_572_485_851
    assert SIDES.size == 3 * 7371**5
    assert MobileNetV3Space((160,)).size == 7371**5  # no decision


def test_size_of_parts_by_hand() -> None:
    assert SPACE.restrict({"depth": ("2",), "kernel": ("3", "7"), "expand": ("6",)}).size == 2**10
    assert SPACE.restrict({"depth.2": ("3", "4")}).size == 7371**4 * (9**3 + 9**4)
    one_kernel = SPACE.restrict({"kernel.1.4": ("5",)})  # of the last block of the first stage
    assert one_kernel.size == (9**2 + 9**3 + 9**3 * 3) * 7371**4
    assert SIDES.restrict({"resolution": ("128", "224")}).size == 2 * 7371**5


def test_decisions_are_named_by_stage_and_block() -> None:
    names = [decision.name for decision in SIDES.decisions]
    assert len(names) == 46 and names[-1] == "resolution"
    assert names[:5] == [f"depth.{stage}" for stage in range(1, 6)]
    assert (names[5], names[8], names[9], names[24]) == (
        "kernel.1.1",
        "kernel.1.4",
        "kernel.2.1",
        "kernel.5.4",
    )
    assert (names[25], names[44]) == ("expand.1.1", "expand.5.4")
    assert SIDES.decisions[0].options == ("2", "3", "4")
    assert SIDES.decisions[5].options == ("3", "5", "7")
    assert SIDES.decisions[25].options == ("3", "4", "6")
    assert SIDES.decisions[-1].options == ("128", "160", "224")
    assert [decision.name for decision in SPACE.decisions] == names[:-1]


@pytest.mark.parametrize(("config", "text"), list(zip(PUBLISHED, TEXTS, strict=True)))
def test_published_networks(config: dict[str, Any], text: str) -> None:
    arch = SPACE.parse(json.dumps(config))
    assert SPACE.format(arch) == text
    assert SPACE.parse(text) == arch
    stages = SPACE.stages(arch)
    assert [len(stage) for stage in stages] == config["d"]
    for s, stage in enumerate(stages):
        blocks = zip(config["ks"][4 * s :], config["e"][4 * s :], strict=True)
        assert stage == [Block(*block) for block in blocks][: len(stage)]


def test_published_files_hold_a_width_and_a_resolution_too() -> None:
    arch = SPACE.parse(TEXTS[0])
    for extra in ({"wid": None}, {"wid": None, "r": [224]}, {"r": 224}):
        assert SPACE.parse(json.dumps(PUBLISHED[0] | extra)) == arch
    for side in (224, [224]):
        sided = SIDES.parse(json.dumps(PUBLISHED[0] | {"r": side, "wid": None}))
        assert SIDES.format(sided) == TEXTS[0] + ";r=224"
        assert SIDES.resolution(sided) == 224
    assert SPACE.resolution(arch) is None


def test_numbers_of_inactive_blocks_make_no_difference() -> None:
    config = json.loads(json.dumps(PUBLISHED[0]))
    config["ks"][2], config["ks"][3], config["e"][3] = 7, 7, 6
    assert SPACE.parse(json.dumps(config)) == SPACE.parse(TEXTS[0])
    assert SPACE.parse(with_part("k", ",".join(map(str, config["ks"])))) == SPACE.parse(TEXTS[0])


def test_printed_dict_is_read_as_json_is() -> None:
    assert SPACE.parse(str(PUBLISHED[0] | {"wid": None})) == SPACE.parse(json.dumps(PUBLISHED[0]))
    for text in ("{'ks', 'e'}", "{1: 2}", "{'ks': print()}"):
        with pytest.raises(ValueError, match="it is not valid JSON"):
            SPACE.parse(text)


def test_integers_of_a_full_network_are_the_published_encoding() -> None:
    config = PUBLISHED[0] | {"d": [4] * 5}
    (encoding,) = SPACE.encode([SPACE.parse(json.dumps(config))], "integers")
    assert encoding.tolist() == [*config["d"], *config["ks"], *config["e"]]
    (shallow,) = SPACE.encode([SPACE.parse(TEXTS[0])], "integers")
    assert shallow[7:9].tolist() == shallow[27:29].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (with_part("d", "2,4,4,4,5"), r"depth\.5 takes 2, 3, 4, got '5'"),
        (with_part("d", "1,4,4,4,4"), r"depth\.1 takes 2, 3, 4, got '1'"),
        (with_part("d", "-,4,4,4,4"), "a depth is left out"),
        (with_part("d", "2,4,4,4"), "d has 4 values, not 5"),
        (with_part("k", "3,5"), "k has 2 values, not 20"),
        (with_part("k", ",".join(["3"] * 21)), "k has 21 values, not 20"),
        (with_part("k", ",".join(["3"] * 19 + ["9"])), r"kernel\.5\.4 takes 3, 5, 7, got '9'"),
        (with_part("k", ",".join(["4"] + ["3"] * 19)), r"kernel\.1\.1 takes 3, 5, 7, got '4'"),
        (with_part("k", ",".join(["3", "3", "4"] + ["3"] * 17)), r"kernel\.1\.3 takes .* got '4'"),
        (with_part("k", ",".join(["-"] + ["3"] * 19)), r"kernel\.1\.1 is active but left out"),
        (with_part("e", ",".join(["3"] * 19 + ["-"])), r"expand\.5\.4 is active but left out"),
        (with_part("e", ",".join(["5"] + ["3"] * 19)), r"expand\.1\.1 takes 3, 4, 6, got '5'"),
        (with_part("e", ",".join(["3.0"] + ["3"] * 19)), "got '3.0'"),
        (with_part("r", "160"), "it has d, k, e, r, expected d, k, e"),
        ("d=2,2,2,2,2;k=3", "it has d, k, expected d, k, e"),
        ("d=2,2,2,2,2;d=2,2,2,2,2", "'d=2,2,2,2,2' is not of the form 'key=value,…', once per"),
        ("d:2,2,2,2,2", "'d:2,2,2,2,2' is not of the form"),
        ("{}", "it has nothing, expected d, k, e"),
        ('{"ks": [3,', "it is not valid JSON"),
        (json.dumps(PUBLISHED[0] | {"ks": 3}), "k has 1 values, not 20"),
        (json.dumps(PUBLISHED[0] | {"wid": 1.2}), "it has k, e, d, wid, expected"),
        (json.dumps({"e": [3], "d": [2]}), "it has e, d, expected d, k, e"),
        (json.dumps(PUBLISHED[0] | {"d": [[2], 2, 2, 2, 2]}), r"depth\.1 takes .* got '\[2\]'"),
    ],
)
def test_parse_errors_say_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"is not an architecture of space 'mobilenetv3': .*{why}"):
        SPACE.parse(text)


def test_resolutions_are_read_where_they_are_decided_on() -> None:
    with pytest.raises(ValueError, match="it has d, k, e, expected d, k, e, r"):
        SIDES.parse(TEXTS[0])
    with pytest.raises(ValueError, match="resolution takes 128, 160, 224, got '192'"):
        SIDES.parse(TEXTS[0] + ";r=192")
    with pytest.raises(ValueError, match="r has 2 values, not 1"):
        SIDES.parse(TEXTS[0] + ";r=128,160")


@pytest.mark.parametrize("wrong", [(0,), (-1, 128), (128, 128)])
def test_impossible_resolutions_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="resolutions must be different positive numbers"):
        MobileNetV3Space(wrong)


def test_blocks_past_the_depth_are_inactive() -> None:
    choices = np.zeros((1, 46), np.int64)
    choices[0, :5] = [0, 1, 2, 0, 2]  # depths 2, 3, 4, 2, 4
    (active,) = SIDES.is_active(choices)
    blocks = [*[1, 1, 0, 0], *[1, 1, 1, 0], *[1, 1, 1, 1], *[1, 1, 0, 0], *[1, 1, 1, 1]]
    assert active.tolist() == [bool(a) for a in [*[1] * 5, *blocks, *blocks, 1]]


def test_sum_over_blocks_by_hand() -> None:
    rng = np.random.default_rng(0)
    choices = SIDES.sample_choices(20, rng)
    table = rng.integers(1000, size=(3, 20, 3, 3))
    sums = []
    for row in choices.tolist():
        total = 0
        for i in range(20):
            if i % 4 < (2, 3, 4)[row[i // 4]]:
                total += int(table[row[45], i, row[5 + i], row[25 + i]])
        sums.append(total)
    found = SIDES.sum_over_blocks(table, choices)
    assert found.tolist() == sums and found.dtype == table.dtype
    same = SIDES.sum_over_blocks(table[:1] / 2, choices)  # for all resolutions alike
    assert same.tolist() == (SPACE.sum_over_blocks(table[:1], choices[:, :45]) / 2).tolist()
