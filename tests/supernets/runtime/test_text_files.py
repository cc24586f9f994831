"""Text files with what spreadsheets and systems put around the text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from supernets.runtime.text_files import open_text, read_rows, read_text

TEXT = "arch,acc\r\n0-1,61.5\r\n\r\n1-2,café\r\n"
UTF8_BOM = b"\xef\xbb\xbf"
CONTENTS = {
    "plain": TEXT.encode(),
    "with a mark": UTF8_BOM + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "zipped": gzip.compress(TEXT.encode()),
    "zipped with a mark": gzip.compress(UTF8_BOM + TEXT.encode()),
    "zipped UTF-16": gzip.compress(TEXT.encode("utf-16")),
}


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table"])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_marks_gzip_and_line_ends_are_told_by_content_not_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_text(path) == TEXT
    with open_text(path) as file:
        assert file.readline() == "arch,acc\r\n"
    assert list(read_rows(path, ["acc", "arch"])) == [
        (2, {"arch": "0-1", "acc": "61.5"}),
        (4, {"arch": "1-2", "acc": "café"}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "table.csv is empty; expected a CSV table whose first line has columns arch, acc"),
        (UTF8_BOM, "table.csv is empty"),
        (b"arch;acc\n0-1;5\n", "has no column 'arch'; it has arch;acc"),
        (b"arch,acc,acc\n0-1,5,6\n", "has 2 columns 'acc'"),
        (b"arch,acc\n0-1,5\n1-2,5,7\n", "line 3: it has 3 cells, the header 2"),
        (b"arch,acc\n\xff\xff,5\n", "cannot be read as a CSV table"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "cannot be read as a CSV table"),
    ],
)
def test_tables_that_cannot_be_read_say_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_rows(path, ["arch", "acc"]))


def test_damaged_gzip_is_an_error_of_reading(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(TEXT.encode())[:-9])
    with pytest.raises(OSError, match="damaged gzip"):
        read_text(path)
