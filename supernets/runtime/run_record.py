"""What a run was asked for, beside its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.versions import git_commit, versions


def write_args(output: Path, args: Mapping[str, Any]) -> None:
    """Writes ``args.json``: the resolved options, versions, and the git commit if there is one.

    Args:
        output: Folder of the run.
        args: The options by name.
    """
    record = {"args": dict(args), "versions": versions(), "git_commit": git_commit()}
    with atomic_write(output / "args.json") as file:
        file.write(json.dumps(record, indent=2, default=str) + "\n")
