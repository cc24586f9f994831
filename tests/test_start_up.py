"""What only asks a command something need not wait for what it computes with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supernets.spaces import NASBench201Space

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


@pytest.mark.parametrize("command", ["train", "search", "export", "rank", "retrain", "latency"])
def test_help_version_and_a_wrong_flag_load_nothing_that_is_slow(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, command], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
    assert "unknown option --no-such-flag" in done.stderr


@pytest.mark.slow
def test_a_search_of_a_table_does_not_load_pytorch(tmp_path: Path) -> None:
    space = NASBench201Space()
    rows = (f"{space.format(arch)},{i % 97}\n" for i, arch in enumerate(space.enumerate()))
    (tmp_path / "table.csv").write_text("arch_str,valid\n" + "".join(rows))
    flags = "--estimator table --table-column valid --algorithm random --num-trials 3".split()
    given = ["--space", "nasbench201", "--output", str(tmp_path / "found")]
    code = "import sys; from search.cli.search import main; main(); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *given, "--table", str(tmp_path / "table.csv"), *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout.endswith("}\nFalse\n"), done.stderr
    assert '"macs"' in done.stdout  # costs are known all the same
