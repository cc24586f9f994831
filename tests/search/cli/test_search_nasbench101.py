"""supernet-search over NAS-Bench-101, of which there are tables and no networks."""

from __future__ import annotations

import base64
import csv
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from search import SearchProblem, create_algorithm
from search.cli.search import main
from supernets import create_space
from supernets.spaces import Architecture

SPACE = create_space("nasbench101")
NUM_LISTED, NUM_INITIAL = 6, 4
WEAKNAS = {
    "predictor": "gradient_boosting",
    "encoding": "sequence",
    "num_initial": NUM_INITIAL,
}
Command = Callable[..., int]


def listed() -> list[Architecture]:
    """The cells of the tables, which the search then finds there are no others of."""
    return create_algorithm("weaknas", SearchProblem(SPACE), **WEAKNAS).ask(NUM_LISTED)


def write_csv(path: Path, archs: Sequence[Architecture]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "validation"])
        writer.writerows((SPACE.format(arch), 90 + i) for i, arch in enumerate(archs))
    return path


def write_records(path: Path, archs: Sequence[Architecture]) -> Path:
    """A training of each cell, as the benchmark's file has it."""
    with open(path, "wb") as file:
        for i, arch in enumerate(archs):
            operations, adjacency = SPACE.format(arch).split("|")
            accuracies = (0.9 + i / 100, 0.5)  # validation and test, of the only evaluation
            fields = b"".join(
                struct.pack("<Bd", number << 3 | 1, accuracy)
                for number, accuracy in enumerate(accuracies, start=4)
            )
            metrics = base64.b64encode(bytes([1 << 3 | 2, len(fields)]) + fields).decode()
            record = json.dumps([f"hash{i}", 108, adjacency, operations, metrics]).encode()
            length = struct.pack("<Q", len(record))
            file.write(length + struct.pack("<I", checksum(length)) + record + bytes(4))
    return path


def checksum(data: bytes) -> int:
    """CRC-32C as long division bit by bit, masked as TFRecords are."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if (crc ^ byte >> bit) & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def search_table(table: Path, output: Path, flags: str = "") -> int:
    given = ["--space", "nasbench101", "--estimator", "table", "--table", str(table)]
    settings = f"--table-column validation --num-trials {NUM_LISTED} --batch-size 2"
    weaknas = [
        "--algorithm=weaknas",
        *(f"--{name.replace('_', '-')}={value}" for name, value in WEAKNAS.items()),
    ]
    return main([*given, *settings.split(), *weaknas, "--output", str(output), *flags.split()])


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_csv, write_records])
def test_a_table_is_searched_without_networks(
    write: Callable[[Path, Sequence[Architecture]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archs = listed()
    table = write(tmp_path / "tiny.tfrecord", archs)
    if write is write_csv:
        table = table.rename(tmp_path / "tiny.csv")
    output = tmp_path / "run"
    assert search_table(table, output, "--report") == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["space"], block["trials"], block["failed"]) == ("nasbench101", 6, 0)
    assert [trial["score"] for trial in block["best"]] == pytest.approx([95, 94, 93, 92, 91])
    assert block["best"][0].keys() == {"number", "architecture", "score", "metrics"}
    assert SPACE.parse(block["best"][0]["architecture"]) == archs[-1]
    SPACE.parse(block["predicted_best"]["architecture"])
    assert (output / "search.png").stat().st_size > 1000
    text = (output / "report.html").read_text(encoding="utf-8")
    assert "there are tables of this space, and no networks" in text
    assert ">MACs</th>" not in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--max-macs 6e7", "--max-macs needs networks, to count or measure what they cost, and of"),
        ("--min-params 5", "--min-params needs networks"),
        ("--predictor-inputs macs", "--predictor-inputs needs networks"),
        ("--latency-table x.json", "--latency-table needs networks"),
        ("--latency-table x.json --max-latency 5", "--max-latency needs networks"),
        ("--resolution 32", "--resolution 32 does not apply: Space 'nasbench101' is restricted by"),
        ("--estimator tse", "--estimator tse needs --supernet."),
        (
            "--algorithm proxybo",
            "--predictor is for --algorithm weaknas or neural-predictor, not proxybo",
        ),
        ("--arch-column cell", "has no column 'cell'"),
        ("--table-column test", "has no column 'test'"),
    ],
)
def test_what_needs_networks_is_refused(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_csv(tmp_path / "tiny.csv", listed())
    assert search_table(table, tmp_path / "run", flags) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["tiny.csv"]


def test_tables_of_other_spaces_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_records(tmp_path / "tiny.tfrecord", listed()[:1])
    flags = ["--table", str(table), "--table-column", "test", "--output", str(tmp_path / "run")]
    random = ["--estimator", "table", "--algorithm", "random"]
    assert main(["--space", "nasbench201", *random, *flags]) == 2
    assert "NAS-Bench-101 is of space 'nasbench101', not 'nasbench201'" in capsys.readouterr().err
