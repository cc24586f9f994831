"""The examples in docstrings run, and every public class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("supernets", "estimators", "search", "supernets.spaces")
#: Public classes that have none yet.
WITHOUT = {
    "ExtraSteps",
    "FromScratchEstimator",
    "HeldOutResults",
    "LocalSearch",
    "MultiScoreEstimator",
    "NeuralPredictorSearch",
    "ProxyBO",
    "RandomSearch",
    "RecordedRun",
    "RegularizedEvolution",
    "SPOSEvolution",
    "SearchAlgorithm",
    "StructuralBO",
    "TPESearch",
    "TSEEstimator",
    "TabularEstimator",
    "ValAccuracyEstimator",
    "WeakNAS",
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    files = [path for package in PACKAGES[:3] for path in sorted((ROOT / package).rglob("*.py"))]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files
        if ">>> " in path.read_text()
    ]


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_class_has_an_example(package: str) -> None:
    module = importlib.import_module(package)
    classes = {name: getattr(module, name) for name in module.__all__}
    without = [
        name
        for name, found in classes.items()
        if inspect.isclass(found)
        and not issubclass(found, Exception)
        and "Example:" not in (found.__doc__ or "")
    ]
    assert set(without) <= WITHOUT
