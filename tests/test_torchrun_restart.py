"""A short form of ``benchmarks/torchrun_restart.py``: a training of two ranks, one killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
def test_torchrun_restarts_a_training_that_lost_a_rank(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "torchrun_restart.py"
    output = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, str(script), *"--kills 1 --epochs 4".split(), "--output", str(output)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert len(result["kills"]) == 1 and result["checkpoints_lost"] == 0
    assert result["largest_difference_of_weights"] <= result["tolerance"]
