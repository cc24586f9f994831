"""The SQLite file of a store of trials: how it is opened, its lock, and its header."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from estimators.trials.settings import by_content_of_texts, diff_json_settings, with_units
from estimators.trials.sqlite_errors import named_file
from estimators.trials.trial_rows import check_json
from supernets.runtime.digests import unchecked_inputs

_logger = logging.getLogger(__name__)

FORMAT = 1
_APPLICATION_ID = 0x70616365  # "pace", in the SQLite file header
_LOCK_TIMEOUT = 2.0  # seconds; outlasts someone's query, not someone's search
_SCHEMA = (
    "CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE trials (
        number INTEGER PRIMARY KEY, arch TEXT NOT NULL UNIQUE, choices TEXT NOT NULL,
        is_told INTEGER NOT NULL DEFAULT 0, score REAL, seconds REAL, error TEXT,
        metrics TEXT NOT NULL DEFAULT '{}', curves TEXT NOT NULL DEFAULT '{}', position INTEGER
    )""",
)


def header_texts(header: Mapping[str, Any]) -> dict[str, str]:
    """Returns the header as the file has it: JSON by key, with the format of the file.

    Raises:
        ValueError: If a value cannot be written as JSON, or the key "format" is given.
    """
    if "format" in header:
        raise ValueError("The header key 'format' is the store's own; use another name.")
    texts = {"format": json.dumps(FORMAT)}
    for key, value in header.items():
        try:
            texts[key] = json.dumps(value, sort_keys=True)
        except TypeError as error:
            raise ValueError(f"Header key {key!r} cannot be written as JSON: {error}.") from error
    return texts


def connect(path: Path) -> sqlite3.Connection:
    """Opens the file and takes its lock, which the connection then holds until it is closed.

    Raises:
        ValueError: If its folder is missing, another process has it, or it is no database.
    """
    if not path.parent.is_dir():
        raise ValueError(f"The folder of {path} does not exist; create it first.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; trials are stored in a file.")
    connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None)
    with closed_on_error(connection):
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                with named_file(path):
                    raise
            raise ValueError(
                f"{path} is in use by another process; let it end first, or use a new --output."
            ) from error
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{path} is not a store of trials ({error}); use a new --output."
            ) from error
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a store that nothing is written to.

    Raises:
        ValueError: If the file is missing, in use by another process, or not a store of trials.
    """
    if not path.is_file():
        raise ValueError(f"There is no store of trials at {path}.")
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT)) as connection:
        try:
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            if application_id != _APPLICATION_ID:
                raise ValueError(f"{path} is not a store of trials.")
            yield connection
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise ValueError(
                    f"{path} is in use by another process; let it end first, or read a copy."
                ) from error
            raise ValueError(f"{path} cannot be read as a store of trials: {error}.") from error


def read_or_write_header(path: Path, connection: sqlite3.Connection, given: dict[str, str]) -> None:
    """Writes the header of a new file, or makes sure that the file has the same one.

    Args:
        path: The file, for messages.
        connection: Connection to it, which holds its lock.
        given: The header that ``header_texts`` returned.

    Raises:
        ValueError: If it has another one, or is something else.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (num_tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if num_tables == 0:  # new, or left empty by a process killed before its first transaction
        with named_file(path), connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            transaction.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            for statement in _SCHEMA:
                transaction.execute(statement)
            transaction.executemany("INSERT INTO header VALUES (?, ?)", given.items())
        return
    if application_id != _APPLICATION_ID:
        raise ValueError(f"{path} is a database, but not a store of trials; use a new --output.")
    texts = dict(connection.execute("SELECT key, value FROM header"))
    check_json(path, texts)
    stored, unchecked = by_content_of_texts(with_units(texts), given)
    differences = diff_json_settings(stored, given)
    if differences:
        raise ValueError(
            f"{path} was written with other settings: {differences}. "
            "Use a new --output, or the settings it was written with."
        )
    if unchecked:
        _logger.warning(unchecked_inputs(path, unchecked))
        with named_file(path), connection as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            transaction.executemany("INSERT OR REPLACE INTO header VALUES (?, ?)", stored.items())


@contextmanager
def closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Closes a connection if what follows fails."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
