"""A stranger's test module in a folder of its own passes the contracts, or fails them by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "tutorials" / "your-own-space.md"
OF_SPACE, OF_SUPERNET = (
    f"from supernets.testing import {contract}\n\n\nclass TestMine({contract}):\n"
    '    space = "my_space.py:SPACE"\n'
    for contract in ("SpaceContract", "SupernetContract")
)
TINY = """
from functools import partial

import numpy as np
from torch import nn

from supernets import Choice, SpaceDefinition, space_from_network
from supernets.networks.marked_supernet import MarkedSupernet


def network(num_classes):
    conv = Choice({"k1": nn.Conv2d(3, 4, 1), "k3": nn.Conv2d(3, 4, 3, padding=1)}, "conv")
    pool = Choice({"mean": nn.AvgPool2d(8), "max": nn.MaxPool2d(8)}, "pool")
    return nn.Sequential(conv, pool, nn.Flatten(), nn.Linear(64, num_classes))

"""
RIGHT = f'{TINY}\nSPACE = space_from_network("tiny", network)\n'
OTHER_SUPERNET = """
class Wrong(MarkedSupernet):
{method}

SPACE = SpaceDefinition(
    "tiny",
    lambda: Wrong("tiny", network, num_classes=2).space,
    supernet=partial(Wrong, "tiny", network),
)
"""
SHARING = """    def extract(self, arch):
        subnet = super().extract(arch)
        last = [each for each in self.modules() if isinstance(each, nn.Linear)][-1]
        [each for each in subnet.modules() if isinstance(each, nn.Linear)][-1].weight = last.weight
        return subnet
"""
OFF_BY_ONE = """    def count(self, choices):
        params, macs = super().count(choices)
        return params + 1, macs
"""
NO_ROUND_TRIP = """
from supernets import Decision, SearchSpace


class Wrong(SearchSpace):
    name = "tiny"
    decisions = (Decision("conv", ("k1", "k3")), Decision("pool", ("mean", "max")))

    def format(self, arch):
        self.validate(arch)
        return "-".join(map(str, arch.choices))

    def parse(self, text):
        try:
            return self.architecture([int(part) for part in reversed(text.strip().split("-"))])
        except ValueError:
            raise ValueError(f"{text!r} is no notation. Expected, for example, '0-0'.") from None


SPACE = SpaceDefinition("tiny", Wrong)
"""


def outcomes(folder: Path, space: str, tests: str, *options: str) -> tuple[set[str], str]:
    """Runs pytest on a stranger's files, and returns the names of what failed, and the output."""
    (folder / "my_space.py").write_text(space, encoding="utf-8")
    (folder / "test_mine.py").write_text(tests, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    failed = set(re.findall(r"^FAILED \S*::(\w+)", done.stdout, flags=re.MULTILINE))
    assert done.returncode == (1 if failed else 0), done.stdout + done.stderr
    assert "passed" in done.stdout or failed
    return failed, done.stdout


@pytest.mark.slow
def test_the_space_of_the_tutorial_passes_as_the_tutorial_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    (tests,) = (block for block in blocks if "supernets.testing" in block)
    failed, output = outcomes(tmp_path, blocks[0], tests)
    assert not failed, output
    assert int(re.findall(r"(\d+) passed", output)[0]) > 60


@pytest.mark.slow
def test_a_small_space_passes(tmp_path: Path) -> None:
    failed, output = outcomes(tmp_path, RIGHT, OF_SUPERNET)
    assert not failed, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "tests", "test", "message"),
    [
        (
            TINY + OTHER_SUPERNET.format(method=SHARING),
            OF_SUPERNET,
            "test_extracted_subnet_shares_no_storage",
            "weight is the supernet's",
        ),
        (
            TINY + OTHER_SUPERNET.format(method=OFF_BY_ONE),
            OF_SUPERNET,
            "test_count_gives_the_parameters_of_the_built_subnets",
            "of conv=k",
        ),
        (
            TINY + NO_ROUND_TRIP,
            OF_SPACE,
            "test_parse_reads_what_format_writes",
            "') is another architecture",
        ),
    ],
    ids=["sharing", "off by one", "no round trip"],
)
def test_what_is_wrong_fails_the_test_that_names_it(
    tmp_path: Path, space: str, tests: str, test: str, message: str
) -> None:
    failed, output = outcomes(tmp_path, space, tests)
    assert test in failed and message in output, output
    assert len(failed) < 8, failed


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (None, 'TestMine must say which space it tests, as in space = "my_space.py:SPACE"'),
        ("nowhere", "Unknown space 'nowhere'"),
    ],
)
def test_a_class_without_a_space_says_so(space: str | None, message: str) -> None:
    from supernets.testing.space_under_test import space_definition

    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        space_definition(type("TestMine", (), {}), space)
