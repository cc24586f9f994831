"""Whatever stands in a store of trials, it is read or refused in a line that names the file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from estimators.trials.store import Trial, TrialStore, read_header, read_trials
from supernets.spaces import NASBench201Space

HEADER = {"space": "nasbench201", "estimator": {"name": "tse"}}
COLUMNS = ("number", "arch", "choices", "is_told", "score", "seconds", "error", "metrics", "curves")
VALUES = (
    None, "", "abc", "{", "[]", "{}", "null", "[1]", "[99, 0, 0, 0, 0, 0]", "[-1, 0, 0, 0, 0, 0]",
    "[true, 0, 0, 0, 0, 0]", '["0", 0, 0, 0, 0, 0]', "[" * 9999, f"[{10**30}, 0, 0, 0, 0, 0]",
    '{"a": "b"}', '{"a": [1, "b"]}', '{"a": null}', '{"a": 1}', "NaN", b"\xff\x00", -1, 2, 1.5,
    10**18, 1e308, float("inf"), float("-inf"),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    space, path = NASBench201Space(), tmp_path / "trials.db"
    archs = [space.architecture((0, 1, 2, 3, 4, i)) for i in range(3)]
    with TrialStore.open(path, HEADER, space) as store:
        store.ask(archs)
        for i, arch in enumerate(archs[:2]):
            store.tell(Trial(i, arch, 1.0, {"tse": 2.0}, 0.1, None, {"loss": (1.0, 2.0)}))
    return path


def read_whole(path: Path) -> None:
    """Reads in both ways; what is refused names the file in one line."""
    space = NASBench201Space()
    for read in (
        lambda: read_trials(path, space),
        lambda: read_header(path),
        lambda: TrialStore.open(path, HEADER, space).close(),
    ):
        try:
            read()
        except ValueError as error:
            assert "trials.db" in str(error)
            assert "\n" not in str(error) and len(str(error)) < 600


def edit(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute(statement, values)


@pytest.mark.parametrize("column", COLUMNS)
def test_any_value_of_a_row_is_read_or_refused_in_a_line(column: str, path: Path) -> None:
    whole = path.read_bytes()
    for value in VALUES:
        for number in (0, 2):
            path.write_bytes(whole)
            try:
                edit(path, f"UPDATE trials SET {column} = ? WHERE number = ?", value, number)
            except sqlite3.IntegrityError:
                continue  # SQLite itself refuses it
            read_whole(path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE trials SET choices = '[9]' WHERE number = 0", "the choices of trial 0"),
        ("UPDATE trials SET score = NULL WHERE number = 1", "the error of trial 1 must be there"),
        ("UPDATE trials SET score = 9e999 WHERE number = 1", "the score of trial 1 must be"),
        ("UPDATE trials SET metrics = '[]' WHERE number = 0", "the metrics of trial 0 must be"),
        ("UPDATE trials SET number = 9 WHERE number = 2", "numbered from 0 without gaps"),
        ("DELETE FROM trials WHERE number = 0", "numbered from 0 without gaps"),
        (
            "UPDATE trials SET choices = (SELECT choices FROM trials WHERE number = 0) "
            "WHERE number = 2",
            "trials 0 and 2 are of one architecture",
        ),
    ],
)
def test_what_no_search_has_written_is_refused(statement: str, message: str, path: Path) -> None:
    edit(path, statement)
    with pytest.raises(ValueError, match=message):
        TrialStore.open(path, HEADER, NASBench201Space())
    with pytest.raises(ValueError, match=message):
        read_trials(path, NASBench201Space())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE header SET value = '{'",
        "UPDATE header SET value = 'NaN'",
        "UPDATE header SET value = x'ff'",
        "DELETE FROM header",
        "DROP TABLE header",
        "DROP TABLE trials",
        "ALTER TABLE trials DROP COLUMN metrics",
        "ALTER TABLE trials DROP COLUMN position",
    ],
)
def test_any_other_edit_of_the_file_is_read_or_refused_in_a_line(
    statement: str, path: Path
) -> None:
    edit(path, statement)
    read_whole(path)
