"""When kernels are built, used and refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from supernets.kernels import library
from supernets.kernels.library import are_on, chosen_kernels, identity, using

CPU = torch.device("cpu")


def test_a_training_that_goes_on_has_the_kernels_it_began_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library, "load", lambda: None)
    own = identity()
    assert chosen_kernels("auto", CPU) == own == chosen_kernels("auto", CPU, own)
    assert chosen_kernels("off", CPU) == "off" == chosen_kernels("auto", CPU, "off")
    assert chosen_kernels("auto", torch.device("meta")) == "off"
    with pytest.raises(ValueError, match=f"C.. kernels {own}, .* --kernels auto on a CPU"):
        chosen_kernels("off", CPU, own)
    with pytest.raises(ValueError, match="C.. kernels 0-other, which cannot be used: here"):
        chosen_kernels("auto", CPU, "0-other")
    with pytest.raises(ValueError, match="must be one of auto, off, got 'fast'"):
        chosen_kernels("fast", CPU)
    monkeypatch.setattr(library, "load", lambda: "there is no C++ compiler")
    assert chosen_kernels("auto", CPU) == "off"
    with pytest.raises(ValueError, match="cannot be used: there is no C.. compiler"):
        chosen_kernels("auto", CPU, own)
    with pytest.raises(RuntimeError, match="there is no C.. compiler"), using(own):
        pass


@pytest.mark.skipif(library.load() is not None, reason="no kernels here")
def test_they_are_on_within_the_block_alone() -> None:
    assert not are_on()
    with pytest.raises(KeyError), using(identity()):
        assert are_on()
        with using("off"):
            assert not are_on()
        assert are_on()
        raise KeyError
    assert not are_on()
    with pytest.raises(RuntimeError, match="this machine has"), using("0-other"):
        pass


def test_what_fails_in_building_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load = library.load.__wrapped__
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert load() == "there is no C++ compiler 'no-such-compiler'"
    compiler = tmp_path / "compiler"
    compiler.write_text(
        "#!/bin/sh\necho 'in file x.h:' >&2\necho 'x.cpp: error: odd' >&2\nexit 3\n"
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"{compiler} --fast")
    assert load() == "the compiler fails: x.cpp: error: odd"
    compiler.write_text("#!/bin/sh\nexit 4\n")
    assert load() == "the compiler fails: exit status 4"
    assert not list((tmp_path / "paceline" / "kernels").iterdir())
    monkeypatch.setattr(library.sys, "platform", "plan9")
    assert "kernels are built on Linux" in str(load())


def test_a_folder_that_cannot_be_used_is_found_before_compiling_is_spoken_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(library.shutil, "which", lambda name: name)
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    load = library.load.__wrapped__
    assert str(file) in load()

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(library.Path, "home", homeless)
    assert load() == "Could not determine home directory"
    assert "Compiling" not in caplog.text


def test_they_are_built_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernels" / "some.so"

    def run(command: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
        assert not path.exists()
        Path(command[command.index("-o") + 1]).write_text("built")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(library.shutil, "which", lambda name: name)
    monkeypatch.setattr(library.subprocess, "run", run)
    library._build(path)
    assert path.read_bytes().startswith(b"built") and library._is_whole(path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:5], lambda whole: b"", lambda whole: whole + b"."]
)
def test_a_file_that_is_not_as_it_was_built_is_built_anew(
    damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Path] = []
    loaded: list[str] = []

    def build(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a library")
        library._sign(path)
        built.append(path)

    monkeypatch.setattr(library, "_build", build)
    monkeypatch.setattr(library.torch.ops, "load_library", loaded.append)
    load = library.load.__wrapped__
    assert load() is None and load() is None
    assert len(built) == 1
    built[0].write_bytes(damage(built[0].read_bytes()))
    assert load() is None
    assert len(built) == 2 and library._is_whole(built[0])
    assert loaded == [str(built[0])] * 3
