"""Names give built-in objects, installed ones, and those of modules and files of one's own."""

from __future__ import annotations

import argparse
import importlib.metadata
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from supernets.runtime import named_objects
from supernets.runtime.named_objects import NamedObjects, find_object, load_file, loaded_files


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def things() -> NamedObjects[Any]:
    here = f"{__name__}:BUILT_IN"
    return NamedObjects("thing", "paceline.things", Thing, {"first": here})


BUILT_IN = Thing("first")


@pytest.fixture(autouse=True)
def module_of_this_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names this file as a reference does, however pytest imported it."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Thing.__module__])


def write(path: Path, text: str) -> Path:
    path.write_text("from __future__ import annotations\n" + text)
    return path


def test_a_built_in_name_is_a_reference_that_is_followed_once(things: NamedObjects[Any]) -> None:
    assert things.find("first") is BUILT_IN
    assert (list(things), len(things), "first" in things, "second" in things) == (
        ["first"],
        1,
        True,
        False,
    )


def test_objects_of_a_file_are_found_and_the_file_is_run_once(
    tmp_path: Path, things: NamedObjects[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "beside.py", "NAME = 'mine'\n")
    path = write(
        tmp_path / "own.py",
        f"import beside\nfrom {__name__} import Thing\nMINE = Thing(beside.NAME)\n"
        "print('runs')\nclass Kept:\n    pass\n",
    )
    found = things.find(f"{path}:MINE")
    monkeypatch.chdir(tmp_path)
    assert things.find("own.py:MINE") is found and things.find("mine") is found
    assert things.reference_of("mine") == f"{path}:MINE"
    assert things.is_loaded("own.py:MINE") and things.is_reference("own.py:MINE")
    kept = find_object("own.py:Kept")
    assert type(pickle.loads(pickle.dumps(kept()))) is kept
    assert path in loaded_files()


def test_objects_of_modules_are_looked_for_in_the_working_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package_of_mine").mkdir()
    write(tmp_path / "package_of_mine" / "things.py", "class A:\n    inner = 3\n")
    monkeypatch.chdir(tmp_path)
    assert find_object("package_of_mine.things:A.inner") == 3
    assert find_object("collections:OrderedDict") is OrderedDict


def test_entry_points_of_installed_distributions_are_names(
    things: NamedObjects[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = importlib.metadata.EntryPoint("installed", f"{__name__}:BUILT_IN", "paceline.things")

    def entry_points(**wanted: str) -> list[importlib.metadata.EntryPoint]:
        fits = wanted["group"] == point.group and wanted.get("name", point.name) == point.name
        return [point] if fits else []

    monkeypatch.setattr(named_objects, "entry_points", entry_points)
    assert things.names() == ("first", "installed")
    with pytest.raises(ValueError, match="calls itself 'first', which is another; rename it"):
        things.find("installed")
    BUILT_IN.name = "installed"
    try:
        assert things.find("installed") is BUILT_IN
        assert things.reference_of("installed") is None  # it is found by its name again
    finally:
        BUILT_IN.name = "first"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "frist",
            r"Unknown thing 'frist'; choose from first \(did you mean first\?\), or",
        ),
        ("no_such_package:A", "no_such_package cannot be imported: ModuleNotFoundError"),
        ("collections:OrderedDitc", "collections has no OrderedDitc; did you mean OrderedDict"),
        ("collections:", "'collections:' names no object; write package.module:Object or"),
        (":A", "':A' names no object"),
        ("missing.py:A", "There is no file .*missing.py"),
        ("collections:OrderedDict", "is the class OrderedDict, and no Thing"),
        ("math:pi", "math:pi is a float, and no Thing"),
        (3, "Unknown thing 3; choose from first"),
    ],
)
def test_what_cannot_be_found_is_told(things: NamedObjects[Any], name: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        things.find(name)


def test_a_file_that_fails_is_told_and_can_be_mended(
    tmp_path: Path, things: NamedObjects[Any]
) -> None:
    path = write(tmp_path / "own.py", "1 / 0\n")
    with pytest.raises(ValueError, match=r"imported: ZeroDivisionError: .* \(own.py, line 2\)\."):
        things.find(f"{path}:A")
    path.write_text("A = 3\n")
    assert find_object(f"{path}:A") == 3


def test_two_of_the_same_name_are_refused(tmp_path: Path, things: NamedObjects[Any]) -> None:
    text = f"from {__name__} import Thing\nA = Thing('twice')\nB = Thing('twice')\n"
    path = write(tmp_path / "own.py", text)
    things.find(f"{path}:A")
    with pytest.raises(ValueError, match="B and .*A are both called 'twice'; rename one of them"):
        things.find(f"{path}:B")


def test_options_take_names_without_importing_anything(things: NamedObjects[Any]) -> None:
    assert things("first") == "first" and things("nowhere.py:A") == "nowhere.py:A"
    things.check("thing", "nowhere.py:A")
    with pytest.raises(argparse.ArgumentTypeError, match="Unknown thing 'frist'; choose from"):
        things("frist")
    with pytest.raises(ValueError, match="thing must be a name, got 3"):
        things.check("thing", 3)
    with pytest.raises(ValueError, match="Unknown thing 'frist'"):
        things.check("thing", "frist")


def test_files_have_the_same_module_in_another_process(tmp_path: Path) -> None:
    path = write(tmp_path / "own.py", "class A:\n    pass\n")
    name = load_file(path).__name__
    program = (
        "import sys; from pathlib import Path; from supernets.runtime.named_objects import "
        "load_file; print(load_file(Path(sys.argv[1])).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == name
