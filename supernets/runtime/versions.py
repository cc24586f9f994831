"""What software a result was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from supernets.version import __version__


def versions() -> dict[str, str]:
    """Returns the versions of what decides results; "unknown" of packages with no install record.

    The own version is that of the code that runs, so a checkout need not be installed.
    """
    names = ("torch", "torchvision", "timm", "numpy", "scikit-learn")
    own = {"python": platform.python_version(), "paceline": __version__}
    return {**own, **{name: _installed_version(name) for name in names}}


def _installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # vendored, or a checkout on the path
        return "unknown"


def git_commit() -> str | None:
    """Returns the commit of the checkout that runs; None outside of one, or without git."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return done.stdout.strip() or None
