"""A short form of ``benchmarks/kill_and_resume.py``: a training and a search, killed once each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_killed_training_and_a_killed_search_continue_to_the_same_bits(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "kill_and_resume.py"
    output = tmp_path / "result.json"
    flags = "--kills 1 --epochs 3 --trials 15 --seed 3".split()
    done = subprocess.run(
        [sys.executable, str(script), *flags, "--output", str(output)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert json.loads(done.stdout) == result
    assert result["identical"] is True
    assert result["kills"] == 2
    assert {"command", "hardware", "date"} <= result.keys()
