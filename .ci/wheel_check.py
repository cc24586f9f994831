"""Builds the wheel from the sdist, installs it alone, and runs a short demo with its commands.

What it needs is taken from the environment that runs this, so that nothing large is downloaded; the
checkout is not seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("supernets", "search", "estimators")
LOADS = """
import sys
from pathlib import Path
import numpy, torch
import estimators, search, supernets

for package in (estimators, search, supernets):
    assert Path(package.__file__).is_relative_to(sys.prefix), package.__file__
subnet = supernets.load_subnet("run/subnet")
assert subnet(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
"""


def main() -> None:
    """Ends with an error at the first step that fails."""
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder))
    print("The wheel holds every file of the packages, and its commands run the demo.")


def check(folder: Path) -> None:
    """Does everything in a folder."""
    python, bin_dir = new_environment(folder / "env")
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", ROOT)
    (wheel,) = (folder / "dist").glob("*.whl")
    check_files(wheel)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    elsewhere = folder / "elsewhere"
    shutil.copytree(ROOT / "recipes", elsewhere / "recipes")
    config = "recipes/digits_demo"
    training = ["--config", f"{config}.yaml", "--epochs", "2", "--output", "run/supernet"]
    run(bin_dir / "supernet-train", *training, cwd=elsewhere)
    search = ["--config", f"{config}_search.yaml", "--num-trials", "12", "--batch-size", "6"]
    inputs = ["--supernet", "run/supernet/last.pt"]
    outputs = ["--output", "run/search", "--export", "run/subnet"]
    run(bin_dir / "supernet-search", *search, *inputs, *outputs, cwd=elsewhere)
    run(python, "-c", LOADS, cwd=elsewhere)


def new_environment(folder: Path) -> tuple[Path, Path]:
    """An environment that also sees what is installed in this one, but not what is editable.

    Files ``.pth`` are read in the environment's own folder of packages alone, so that what they
    name in this environment is not found: neither is this checkout.

    Returns:
        Its interpreter, and the folder of its commands.
    """
    venv.create(folder, with_pip=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", paths))
    (own / "packages_of_the_checkout.pth").write_text(sysconfig.get_path("purelib") + "\n")
    bin_dir = Path(sysconfig.get_path("scripts", "venv", paths))
    return bin_dir / "python", bin_dir


def check_files(wheel: Path) -> None:
    """Compares a wheel with the files of the packages that are under version control.

    Raises:
        SystemExit: If it lacks some of them, or holds others.
    """
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True
    )
    expected = set(listed.stdout.split())
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if found != expected:
        raise SystemExit(
            f"The wheel lacks {sorted(expected - found)} and should not have "
            f"{sorted(found - expected)}; see [tool.setuptools] in pyproject.toml."
        )


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Runs a command that does not see this checkout, and raises if it fails."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    print("+", *command, flush=True)
    subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
