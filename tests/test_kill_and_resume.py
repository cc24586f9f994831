"""A short form of ``benchmarks/kill_and_resume.py``: a training, killed once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_killed_training_continues_to_the_same_bits(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "kill_and_resume.py"
    output = tmp_path / "result.json"
    flags = "--jobs training --kills 1 --epochs 3 --seed 3".split()
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
    assert result["kills"] == result["training"]["kills"] == 1
    assert {"command", "hardware", "date"} <= result.keys()
