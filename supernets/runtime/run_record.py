"""What a run was asked for, beside its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.versions import git_commit, versions


def write_args(output: Path, args: Mapping[str, Any]) -> None:
    """Writes ``args.json``: what was asked for, versions, and the git commit if there is one.

    Args:
        output: Folder of the run.
        args: The resolved options of a command, or what a call from Python was given, by name.
            Dataclasses are recorded as their fields and the name of their class, other objects as
            the name of their class.
    """
    record = {"args": _plain(args), "versions": versions(), "git_commit": git_commit()}
    with atomic_write(output / "args.json") as file:
        file.write(json.dumps(record, indent=2) + "\n")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        values = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"class": type(value).__name__, **values}
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
