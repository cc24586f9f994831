"""A short form of ``benchmarks/torchrun_restart.py``: a training of two ranks, one killed."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.forked_program import ForkedProgram

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds ranks in /proc")
def test_torchrun_restarts_a_training_that_lost_a_rank(
    tmp_path: Path,
    forked_program: Callable[..., ForkedProgram],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, output = BENCHMARKS / "torchrun_restart.py", tmp_path / "result.json"
    flags = "--kills 1 --epochs 3".split()
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *flags, "--output", str(output)])
    monkeypatch.setattr(subprocess, "Popen", forked_program)  # torchrun; its ranks start anew
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().err
    result = json.loads(output.read_text())
    assert len(result["kills"]) == 1 and result["checkpoints_lost"] == 0
    assert result["largest_difference_of_weights"] <= result["tolerance"]
