"""Free memory: of the machine, or what a limit of its control group leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernets.runtime import free_memory as module
from supernets.runtime.free_memory import free_memory

MEMINFO = "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable:   50 kB\n"


def write_group(root: Path, limit: str) -> None:
    group = root / "jobs" / "one"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text("9000\n")
    (group / "memory.stat").write_text("anon 4000\ninactive_file 3000\n")


@pytest.mark.parametrize(
    ("meminfo", "limit", "expected"),
    [
        (MEMINFO, None, 50 * 1024),
        (MEMINFO, "max", 50 * 1024),
        (MEMINFO, "20000", 20000 - 9000 + 3000),
        (MEMINFO, "5000", 0),
        (MEMINFO, "9000000", 50 * 1024),
        ("", "20000", 14000),
        ("", None, None),
    ],
)
def test_the_less_of_machine_and_group(
    meminfo: str,
    limit: str | None,
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    (tmp_path / "cgroup").write_text("1:name=systemd:/x\n0::/jobs/one\n")
    if limit is not None:
        write_group(tmp_path / "groups", limit)
    monkeypatch.setattr(module, "_MEMINFO", str(tmp_path / "meminfo"))
    monkeypatch.setattr(module, "_CGROUP", str(tmp_path / "cgroup"))
    monkeypatch.setattr(module, "_CGROUPS", str(tmp_path / "groups"))
    assert free_memory() == expected


def test_here_it_is_known_or_not() -> None:
    found = free_memory()
    assert found is None or found > 0
