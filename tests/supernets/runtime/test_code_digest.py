"""Code is another if the file or a neighbour that it uses is, and not for what lies beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from supernets.runtime.code_digest import code_digest
from supernets.runtime.named_objects import NamedObjects, load_file, loaded_files
from supernets.runtime.own_code import is_own_file

NAMES = ("own_blocks", "own_layers", "own_unused")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "space.py").write_text("import math\nfrom own_blocks import Block\n\nSPACE = {}\n")
    (tmp_path / "own_blocks.py").write_text("import own_layers\n\nclass Block: pass\n")
    (tmp_path / "own_layers.py").write_text("WIDTH = 3\n")
    (tmp_path / "own_unused.py").write_text("WIDTH = 3\n")
    yield tmp_path
    forget()


def forget() -> None:
    files = loaded_files()
    for name, module in list(sys.modules.items()):
        if name in NAMES or getattr(module, "__file__", None) in map(str, files):
            del sys.modules[name]


def digest(path: Path) -> str | None:
    forget()
    sys.path_importer_cache.clear()
    return code_digest(load_file(path))


def test_it_is_of_the_file_and_what_it_uses(folder: Path) -> None:
    before = digest(folder / "space.py")
    assert digest(folder / "space.py") == before and before is not None
    for name, is_used in (("own_blocks", True), ("own_layers", True), ("own_unused", False)):
        path = folder / f"{name}.py"
        text = path.read_text()
        path.write_text(f"{text}# {name} is another\n")
        assert (digest(folder / "space.py") != before) == is_used, name
        path.write_text(text)
    (folder / "renamed.py").write_text((folder / "space.py").read_text())
    assert digest(folder / "renamed.py") == before
    (folder / "space.py").write_text("SPACE = {}\n")
    assert digest(folder / "space.py") != before


def test_it_is_of_what_was_run(folder: Path) -> None:
    path = folder / "space.py"
    before = digest(path)
    spaces: NamedObjects[dict[str, int]] = NamedObjects("mapping", "none", dict, {})
    spaces.find(f"{path}:SPACE")
    path.write_text("SPACE = {1: 2}\n")
    assert spaces._digests == {f"{path}:SPACE": before}


def test_our_own_modules_are_not_among_it(folder: Path) -> None:
    space = ModuleType("space")
    file = Path(code_digest.__code__.co_filename).parents[2] / "pyproject.toml"
    vars(space).update(__file__=str(file))
    alone = code_digest(space)
    vars(space).update(used=code_digest)
    assert code_digest(space) == alone


def test_a_module_without_a_file_has_none() -> None:
    assert code_digest(ModuleType("made_up")) is None


def test_a_file_beside_the_packages_is_a_users_whatever_its_name_begins_with() -> None:
    root = Path(code_digest.__code__.co_filename).parents[2]
    for package in ("supernets", "estimators", "search"):
        assert is_own_file(root / f"{package}_mine.py")
        assert not is_own_file(root / package / "mine.py")
    assert not is_own_file(pytest.__file__)
