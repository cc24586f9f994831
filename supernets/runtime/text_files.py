"""Text files as people have them: with or without a byte order mark, gzipped or not."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO, cast

_GZIP_MAGIC = b"\x1f\x8b"
#: What reading a text file may raise.
READ_ERRORS = (OSError, EOFError, UnicodeError, zlib.error)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a file for reading, with line ends as they are in it.

    Whether it is gzipped is told by its first bytes, whatever its name. The encoding is UTF-8, or
    UTF-16 where the file begins with the mark of that; a byte order mark is no part of the text.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be opened; reading may raise any of ``READ_ERRORS``.
    """
    with open(path, "rb") as file:
        is_zipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    with gzip.open(path) if is_zipped else open(path, "rb") as binary:
        start = binary.read(2)
        binary.seek(0)
        is_utf_16 = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        encoding = "utf-16" if is_utf_16 else "utf-8-sig"
        yield io.TextIOWrapper(cast(IO[bytes], binary), encoding=encoding, newline="")


def read_text(path: Path) -> str:
    """Reads a whole file as ``open_text`` opens it.

    Raises:
        OSError: If it cannot be read, also where it is damaged gzip.
        UnicodeError: If it is no text.
    """
    try:
        with open_text(path) as file:
            return file.read()
    except (EOFError, zlib.error) as error:
        raise OSError(f"damaged gzip, {error}") from error


def read_rows(
    path: Path, columns: Sequence[str], *, advice: Mapping[str, str] | None = None
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Reads a CSV table with a header, row by row.

    Args:
        path: The file.
        columns: Names of the columns that are needed.
        advice: What to do where a column is missing, by its name and without a full stop.

    Returns:
        An iterator over the numbers of lines and the rows, by column.

    Raises:
        ValueError: If the file cannot be read, is empty, or lacks a column or has it twice, or if a
            row has not as many cells as the header; names the line.
    """
    try:
        with open_text(path) as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            if not header:
                raise ValueError(
                    f"{path} is empty; expected a CSV table whose first line has columns "
                    f"{', '.join(columns)}."
                )
            for column in columns:
                if column not in header:
                    hint = (advice or {}).get(column)
                    raise ValueError(
                        f"{path} has no column {column!r}; it has {', '.join(header)}"
                        f"{'; ' + hint if hint else ''}."
                    )
                if header.count(column) > 1:
                    raise ValueError(f"{path} has {header.count(column)} columns {column!r}.")
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: it has {len(cells)} cells, the header "
                        f"{len(header)}."
                    )
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except (*READ_ERRORS, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a CSV table: {error}") from error
