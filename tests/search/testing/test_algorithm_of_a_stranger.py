"""A stranger's algorithm passes the contract, or fails the test that says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TESTS = """
from search import RandomSearch, RegularizedEvolution, RegularizedEvolutionOptions
from search.testing import AlgorithmContract


class Repeating(RandomSearch):
    def ask(self, num_archs):
        return super().ask(num_archs)[:1] * num_archs


class TestMine(AlgorithmContract):
"""
RIGHT = """
    algorithm = RegularizedEvolution
    options = RegularizedEvolutionOptions(population_size=6, tournament_size=3)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "failing"),
    [
        (RIGHT, None),
        ("    algorithm = Repeating\n", "test_asks_distinct_unseen_feasible"),
        ("    pass\n", "TestMine must say which class it tests: algorithm = MySearch"),
    ],
    ids=["right", "repeating", "none"],
)
def test_a_contract_holds_or_says_what_does_not(
    tmp_path: Path, body: str, failing: str | None
) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS + body, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if failing is None else 1), done.stdout + done.stderr
    if failing is None:
        assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 10
    else:
        assert failing in done.stdout
