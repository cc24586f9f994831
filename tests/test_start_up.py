"""What only asks a command something need not wait for what it computes with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What takes a second or more to load.
SLOW = ("torch", "torchvision", "timm", "sklearn", "scipy", "matplotlib")
#: Asks a command in a process of its own, and prints what was loaded for that.
ASK = f"""
import contextlib, sys
from supernets.cli import entry_points
command = getattr(entry_points, sys.argv[1])
for flags, expected in ((["--help"], 0), (["--version"], 0), (["--no-such-flag"], 2)):
    sys.argv[1:] = flags
    try:
        with contextlib.redirect_stdout(sys.stderr):
            command()
    except SystemExit as end:
        assert end.code == expected, (flags, end.code)
print(*sorted(sys.modules.keys() & set({SLOW!r})))
"""


@pytest.mark.parametrize("command", ["export", "latency", "rank", "search"])
def test_help_version_and_a_wrong_flag_load_nothing_that_is_slow(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, command], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
    assert "unknown option --no-such-flag" in done.stderr
