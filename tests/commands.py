"""What commands print and write, for the tests of all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

#: For tests that export networks.
TORCH_EXPORT = pytest.mark.filterwarnings(
    # torch.export tells torch's own developers about the guards of its own modules
    "ignore::FutureWarning:torch",
    "ignore::DeprecationWarning:torch",
)


def error_line_of(program: str) -> Callable[[pytest.CaptureFixture[str]], str]:
    """Returns what reads the one line of a command's error; nothing else was printed."""

    def error_line(capsys: pytest.CaptureFixture[str]) -> str:
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith(f"{program}: error: ")
        return lines[0]

    return error_line


def files_below(folder: Path) -> list[str]:
    """Names of all files in a folder and in those within it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
