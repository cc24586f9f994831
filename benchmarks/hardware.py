"""What a benchmark ran on and with, for the results it writes."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from supernets.runtime.atomic_write import atomic_write
from supernets.runtime.versions import versions

#: A list of numbers or nulls in indented JSON; no string of it can hold a line break.
_NUMBERS = re.compile(r"\[\n\s+(?:[-+.\deE]+|null)(?:,\n\s+(?:[-+.\deE]+|null))*\n\s+\]")


def provenance() -> dict[str, Any]:
    """Command, date, hardware and versions of this process."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
        "hardware": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": versions(),
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes ``result`` with its provenance as JSON, and prints it.

    A list of numbers stands on one line.
    """
    record = {**provenance(), **result}
    text = json.dumps(record, indent=2, default=str)
    text = _NUMBERS.sub(lambda found: "[" + " ".join(found[0][1:-1].split()) + "]", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(text + "\n")
    print(text)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
