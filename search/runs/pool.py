"""The architectures that a search is restricted to: those of a file, or of a table of a part."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from estimators.benchmarks.tabular import TabularEstimator
from supernets.runtime.text_files import read_rows, read_text
from supernets.spaces import Architecture, SearchSpace

_logger = logging.getLogger(__name__)

_CSV_NAMES = (".csv", ".csv.gz")


def read_pool(path: Path, space: SearchSpace, *, column: str | None = None) -> list[Architecture]:
    """Reads a file that lists architectures, gzipped or not.

    It is a CSV file with a header if its name ends in ``.csv`` or ``.csv.gz`` or a column is given.
    Any other is text with an architecture a line; of a line that begins with ``#``, and of what
    follows a blank and ``#``, nothing is read, nor of empty lines.

    Args:
        path: The file.
        space: Parses the architectures.
        column: Column of the architectures in a CSV file; None for ``"arch_str"``.

    Raises:
        ValueError: If the file cannot be read or lists none, or an architecture is none of the
            space or occurs twice; names the line.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> arch = space.sample(np.random.default_rng(0))
        >>> path = Path("pool.txt")
        >>> _ = path.write_text(f"# a single one\\n{space.format(arch)}\\n")  # doctest: +SKIP
        >>> read_pool(path, space) == [arch]  # doctest: +SKIP
        True
    """
    if not path.is_file():
        is_old = str(path) in ("fresh", "fixed")
        instead = f"--ranked-pool {path} says what is ranked" if is_old else "give another file"
        raise ValueError(
            f"There is no pool at {path}; --pool is a file that lists architectures, {instead}."
        )
    is_csv = column is not None or path.name.endswith(_CSV_NAMES)
    lines: dict[Architecture, int] = {}
    for line, text in _cells(path, column or "arch_str") if is_csv else _lines(path):
        try:
            arch = space.parse(text)
            space.validate(arch)
            if arch in lines:
                raise ValueError(f"it lists {text} a second time, after line {lines[arch]}")
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
        lines[arch] = line
    if not lines:
        raise ValueError(f"{path} lists no architecture.")
    return list(lines)


def _cells(path: Path, column: str) -> Iterator[tuple[int, str]]:
    for line, row in read_rows(path, (column,)):
        yield line, row[column].strip()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = read_text(path)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path} cannot be read as a text: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        found = f" {line}".partition(" #")[0].strip()
        if found:
            yield number, found


def pool_of_table(table: TabularEstimator, space: SearchSpace) -> list[Architecture] | None:
    """Returns what a table lists of a space, if that is a part of it; None if it is all.

    Of a table that is read file by file nothing is known, and it counts as all.

    Args:
        table: The table.
        space: The space that is searched, perhaps without some options of the table's.
    """
    if not isinstance(table.values, dict):
        return None
    listed = list(table.values)
    choices = space.choices_of(listed)
    offered = [np.isin(own, each) for own, each in zip(choices.T, space.allowed, strict=True)]
    is_ours = (np.array(offered).T | ~space.is_active(choices)).all(axis=1)
    ours = [listed[i] for i in np.flatnonzero(is_ours)]
    return ours if 0 < len(ours) < space.size else None


def note_pool(
    pool: Sequence[Architecture], table: TabularEstimator, space: SearchSpace, *, is_given: bool
) -> None:
    """Says how much of a space or of a given pool a table lists, if not all.

    Args:
        pool: The architectures that are searched.
        table: The table they are looked up in.
        space: The space that is searched.
        is_given: Whether the pool was asked for, and is not the table's own.
    """
    if not isinstance(table.values, dict):
        return
    num_listed = sum(arch in table.values for arch in pool)
    if not is_given:
        _logger.info(
            "The table lists %s of the %s architectures of space %r; these alone are searched.",
            f"{num_listed:,}",
            f"{space.size:,}",
            space.name,
        )
    elif num_listed < len(pool):
        _logger.warning(
            "The table lists %s of the %s architectures of the pool; the others will be failed "
            "trials.",
            f"{num_listed:,}",
            f"{len(pool):,}",
        )
