"""What the notation of elastic ResNet-50D says, in our form and OFA's, and how many there are."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from supernets.spaces import ResNet50DSpace
from supernets.spaces.resnet50d import Stage

SPACE = ResNet50DSpace()
SMALLEST = "d=0,0,0,0,0;e=20,20,-,-,20,20,-,-,20,20,20,20,-,-,20,20,-,-;w=65,65,65,65,65,65"


def test_the_space_is_counted_by_what_differs() -> None:
    """Each stage has 3 widths, and 3 expansions for each of 2, 3 or 4 (4, 5 or 6) bottlenecks."""
    stages = [3 * sum(3**depth for depth in (d, d + 1, d + 2)) for d in (2, 2, 4, 2)]
    assert SPACE.size == 2 * 2 * 3 * stages[0] ** 3 * stages[2] == 1_639_276_531_308


@pytest.mark.parametrize(
    ("kept", "size"),
    [
        ({"width": ("65", "100"), "expand": ("20",)}, 2 * 2 * 2**5 * 3**4),
        (
            {
                "stem.depth": ("2",),
                "stem.width": ("65",),
                "depth.3": ("0", "2"),
                "expand.1": ("20",),
                "expand.2": ("20",),
                "expand.3": ("25", "35"),
                "expand.4.4": ("35",),
                "expand.4.3": ("35",),
                "expand.4.1": ("20", "25"),
                "width": ("100",),
            },
            3 * 3 * (2**4 + 2**6) * 3 * 2 * 3,
        ),
        ({"width": ("80",), "depth": ("1",), "expand": ("35",)}, 2 * 2),
    ],
)
def test_restricted_spaces_are_as_large_as_what_they_enumerate(
    kept: dict[str, tuple[str, ...]], size: int
) -> None:
    part = SPACE.restrict(kept)
    archs = list(part.enumerate())
    assert len(archs) == len({SPACE.format(arch) for arch in archs}) == part.size == size


def test_an_architecture_is_its_stem_and_its_stages() -> None:
    arch = SPACE.parse(
        "d=2,0,1,2,0;e=35,20,-,-,25,20,35,-,20,25,35,20,25,35,20,25,-,-;w=65,80,100,65,80,65"
    )
    assert SPACE.has_stem_layer(arch) and SPACE.stem_choices(arch) == (0, 1)
    assert SPACE.stages(arch) == [
        Stage(2, (2, 0)),
        Stage(0, (1, 0, 2)),
        Stage(1, (0, 1, 2, 0, 1, 2)),
        Stage(0, (0, 1)),
    ]


def ofa_object(rng: random.Random) -> dict[str, list[Any]]:
    """As OFA's code draws architectures: also of what has no effect, and of all stem widths."""
    return {
        "d": [rng.choice([0, 2]), *rng.choices([0, 1, 2], k=4)],
        "e": rng.choices([0.2, 0.25, 0.35], k=18),
        "w": rng.choices([0, 1, 2], k=6),
    }


def test_objects_of_ofa_are_read() -> None:
    rng = random.Random(0)
    for _ in range(50):
        drawn = ofa_object(rng)
        arch = SPACE.parse(json.dumps(drawn))
        assert SPACE.parse(str(drawn)) == arch  # a Python dict
        assert SPACE.has_stem_layer(arch) == (drawn["d"][0] == 2)
        assert SPACE.stem_choices(arch) == (drawn["w"][0] // 2, drawn["w"][1])
        first = 0
        for stage, depth, width, base in zip(
            SPACE.stages(arch), drawn["d"][1:], drawn["w"][2:], (2, 2, 4, 2), strict=True
        ):
            expands = drawn["e"][first : first + base + depth]
            assert stage == Stage(width, tuple([0.2, 0.25, 0.35].index(e) for e in expands))
            first += base + 2


def test_what_makes_the_same_network_is_the_same_architecture() -> None:
    drawn = ofa_object(random.Random(1))
    archs = set()
    for depth, width in ((0, 0), (1, 1)):
        same = {**drawn, "d": [depth, 0, *drawn["d"][2:]], "w": [width, *drawn["w"][1:]]}
        same["e"] = [*drawn["e"][:2], *[(0.2, 0.35)[depth]] * 2, *drawn["e"][4:]]
        archs.add(SPACE.parse(json.dumps(same)))
    assert len(archs) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d=0,0,0,0,0", "it has d, expected d, e, w"),
        (SMALLEST.replace("d=0", "d=1"), "stem.depth takes 0, 2, got '1'"),
        (SMALLEST.replace("d=0", "d=-"), "a depth is left out"),
        (SMALLEST.replace("e=20", "e=-"), "expand.1.1 is active but left out"),
        (SMALLEST.replace("e=20", "e=0.2"), "expand.1.1 takes 20, 25, 35, got '0.2'"),
        (SMALLEST.replace("w=65", "w=80"), "stem.width takes 65, 100, got '80'"),
        (SMALLEST.replace("w=65,65", "w=65"), "w has 5 values, not 6"),
        ('{"d": [2], "e": [0.2], "w": [3]}', "w takes 0, 1, 2 in this form, got 3"),
        ('{"d": [2], "e": [20], "w": [0]}', "e takes 0.2, 0.25, 0.35 in this form, got 20"),
        ('{"d": [2], "e": ["0.2"], "w": [0]}', "e holds '0.2', which is no number"),
        ('{"d": [2], "e": [0.2], "w": [0]}', "d has 1 values, not 5"),
        ('{"d": [2], "ks": [3]}', "it has d, ks, expected d, e, w"),
        ('{"d": }', "it is not valid JSON"),
        ("{3}", "it is not valid JSON"),
    ],
)
def test_what_is_no_notation_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SPACE.parse(text)
    assert str(caught.value).endswith(f"Expected, for example, {SMALLEST!r}.")


def test_the_structure_is_that_of_the_network() -> None:
    choices = SPACE.sample_choices(200, np.random.default_rng(0))
    structure = SPACE.structure(choices)
    assert len(structure.numbers) == 200 and np.isfinite(structure.numbers).all()
    assert len(np.unique(structure.numbers, axis=0)) == len(np.unique(choices, axis=0))
    for row, arch in zip(structure.numbers, SPACE.architectures(choices), strict=True):
        stages = SPACE.stages(arch)
        assert row[3:8].tolist() == [
            *(len(stage.expands) for stage in stages),
            sum(len(stage.expands) for stage in stages),
        ]
        assert row[8:12].tolist() == [(0.65, 0.8, 1.0)[stage.width] for stage in stages]
