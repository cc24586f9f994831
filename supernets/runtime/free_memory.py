"""How much memory is left, of the machine and of the control group that a job runs in."""

from __future__ import annotations

from pathlib import Path

_MEMINFO, _CGROUP, _CGROUPS = "/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup"


def free_memory() -> int | None:
    """Returns bytes that can be had without swapping; None where that is not known.

    Caches of files count as free, as the operating system gives them away.
    """
    found = [each for each in (_of_machine(), _of_cgroup()) if each is not None]
    return min(found) if found else None


def _of_machine() -> int | None:
    try:
        for line in Path(_MEMINFO).read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):  # no Linux
        pass
    return None


def _of_cgroup() -> int | None:
    """Of the group that this process is in, such as a container or a job of Slurm."""
    try:
        paths = dict(
            (line.split(":", 2)[0], line.split(":", 2)[2])
            for line in Path(_CGROUP).read_text().splitlines()
        )
        group = Path(_CGROUPS) / paths["0"].lstrip("/")  # of version 2
        limit = int((group / "memory.max").read_text())  # "max" without a limit
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat["inactive_file"]))
    except (OSError, ValueError, KeyError, IndexError):  # no such groups, or no limit
        return None
