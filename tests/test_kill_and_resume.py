"""A short form of ``benchmarks/kill_and_resume.py``: a training, killed once."""

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
def test_a_killed_training_continues_to_the_same_bits(
    tmp_path: Path,
    forked_program: Callable[..., ForkedProgram],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, output = BENCHMARKS / "kill_and_resume.py", tmp_path / "result.json"
    flags = "--jobs training --kills 1 --epochs 3 --seed 3".split()
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *flags, "--output", str(output)])
    monkeypatch.setattr(subprocess, "Popen", forked_program)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    result = json.loads(output.read_text())
    assert json.loads(printed.out) == result
    assert result["identical"] is True
    assert result["kills"] == result["training"]["kills"] == 1
    assert {"command", "hardware", "date"} <= result.keys()
