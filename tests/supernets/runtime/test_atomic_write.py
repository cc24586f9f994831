"""A file is the old or the new version, never a part."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supernets.runtime.atomic_write import atomic_write


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "result.json") as file:
        file.write("τ = 0.7\n")
    assert (tmp_path / "result.json").read_bytes() == "τ = 0.7\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_bytes_replace_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"a longer old version")
    with atomic_write(path, "wb") as file:
        file.write(b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


def test_the_old_version_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_version_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "state"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write("half of the ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "state"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "state"):
        pass


def test_a_relative_name_is_written_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_write(Path("state")) as file:
        file.write("new")
    assert (tmp_path / "state").read_text() == "new"


def test_an_error_of_the_disk_names_the_file_and_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "state"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: .*state'") as caught:
        with atomic_write(path) as file:
            file.write("new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_first_error_is_told_where_the_temporary_file_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(RuntimeError, match="first"), atomic_write(tmp_path / "state"):
        raise RuntimeError("first")


def test_names_that_are_not_utf8_are_written_in_printable_characters(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "page.html") as file:
        file.write(os.fsdecode(b"caf\xe9 \xc3\xa9"))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "caf\\udce9 \u00e9"
