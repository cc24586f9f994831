"""NAS-Bench-101's record file, in files written here as the benchmark's is."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from estimators.benchmarks.nasbench101 import SPLITS, is_nasbench101, read_nasbench101
from estimators.benchmarks.tabular import TabularEstimator
from supernets.spaces import NASBench201Space, SearchSpace
from supernets.spaces.nasbench101 import NASBench101Space

SPACE = NASBench101Space()
LINE = ("a" * 32, "010001000", "input,maxpool3x3,output")
PAIR = ("b" * 32, "0101001000010000", "input,conv1x1-bn-relu,maxpool3x3,output")
#: A training of the benchmark's first record, over four epochs, as the benchmark has it: epoch,
#: seconds, and accuracies in training, validation and test before, halfway and at the end of it.
PUBLISHED = (
    "00005c142e6f48ac74fdcf73e3439874",
    "0100110001000000010010000010000001000000010000000",
    "input,conv3x3-bn-relu,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,conv1x1-bn-relu,output",
)
PUBLISHED_METRICS = (
    (0.0, 0.0, 0.10026041418313980, 0.09775640815496445, 0.09985977411270142),
    (2.0, 45.152000427246094, 0.10166265815496445, 0.10526842623949051, 0.10436698794364929),
    (4.0, 89.90399932861328, 0.3498597741127014, 0.3489583432674408, 0.3504607379436493),
)


def checksum(data: bytes) -> int:
    """CRC-32C as long division bit by bit, masked as TFRecords are."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if (crc ^ byte >> bit) & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return b"".join(
        [
            length,
            struct.pack("<I", checksum(length)),
            record,
            struct.pack("<I", checksum(record)),
        ]
    )


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def message(evaluations: Sequence[Sequence[float]], params: int, total_time: float) -> bytes:
    """The protocol buffer: doubles are fields of type 1, messages of type 2, integers of type 0."""
    parts = []
    for evaluation in evaluations:
        fields = [struct.pack("<Bd", i << 3 | 1, v) for i, v in enumerate(evaluation, start=1)]
        parts.append(bytes([1 << 3 | 2]) + varint(9 * len(evaluation)) + b"".join(fields))
    return b"".join(
        [*parts, bytes([2 << 3]), varint(params), struct.pack("<Bd", 3 << 3 | 1, total_time)]
    )


def record(cell: tuple[str, str, str], epochs: int, metrics: bytes) -> bytes:
    name, adjacency, operations = cell
    text = base64.encodebytes(metrics).decode()  # has line ends, as the benchmark's
    return json.dumps([name, epochs, adjacency, operations, text]).encode()


def training(
    cell: tuple[str, str, str], validation: float, test: float, epochs: int = 108
) -> bytes:
    """The framed record of a training that ends with these accuracies."""
    evaluations = [(0.0, 0.0, 0.1, 0.1, 0.1), (54.0, 9.0, 0.9, 0.6, 0.5)]
    evaluations.append((float(epochs), 20.0, 1.0, validation, test))
    return framed(record(cell, epochs, message(evaluations, 2_694_282, 1e3)))


def write(path: Path, *records: bytes) -> Path:
    path.write_bytes(b"".join(records))
    return path


def test_records_are_written_here_as_the_benchmark_writes_them() -> None:
    metrics = message(PUBLISHED_METRICS, 8_555_530, 413.7015450000763)
    written = framed(record(PUBLISHED, 4, metrics))
    # the checksums that the benchmark's file has for this record
    assert written[8:12].hex() == "9825ed9b"
    assert written[-4:].hex() == "68166903"


def test_means_are_those_of_the_final_accuracies(tmp_path: Path) -> None:
    path = write(
        tmp_path / "nasbench_full.tfrecord",
        training(LINE, 0.9, 0.8),
        training(PAIR, 0.1, 0.2),
        training(LINE, 0.3, 0.3, epochs=36),
        training(LINE, 0.93, 0.83),
        training(LINE, 0.96, 0.84),
    )
    line = SPACE.parse("input,maxpool3x3,output|010001000")
    pair = SPACE.parse("input,conv1x1-bn-relu,maxpool3x3,output|0101001000010000")
    validation = read_nasbench101(path, SPACE, "validation")
    assert validation == {line: pytest.approx(93.0), pair: pytest.approx(10.0)}
    test = read_nasbench101(path, SPACE, "test")
    assert test == {line: pytest.approx(247 / 3), pair: pytest.approx(20.0)}
    estimate = TabularEstimator(test, "test_accuracy").estimate(line)
    assert estimate.score == estimate.metrics["test_accuracy"] == pytest.approx(247 / 3)


def test_cells_are_found_in_whichever_order_their_vertices_are(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", training(PUBLISHED, 0.9264, 0.9206))
    other = (
        "input,conv3x3-bn-relu,conv3x3-bn-relu,maxpool3x3,conv3x3-bn-relu,conv1x1-bn-relu,output"
    )
    # its vertices 1 to 4 are those numbered 2, 3, 4 and 1 here
    adjacency = "0110010000001000010000000101000001000000010000000"
    arch = SPACE.parse(f"{other}|{adjacency}")
    assert read_nasbench101(path, SPACE, "validation") == {arch: pytest.approx(92.64)}
    assert SPACE.module_hash(arch) == PUBLISHED[0]


def test_other_fields_are_skipped(tmp_path: Path) -> None:
    """As protocol buffers are read: unknown fields of any type may stand anywhere."""
    last = struct.pack("<Bd", 4 << 3 | 1, 0.5) + bytes([6 << 3 | 2]) + varint(200) + b"/" * 200
    metrics = bytes([9 << 3 | 5]) + b"1234" + bytes([1 << 3 | 2]) + varint(len(last)) + last
    path = write(tmp_path / "x.tfrecord", framed(record(LINE, 108, metrics)))
    assert list(read_nasbench101(path, SPACE, "validation").values()) == [50.0]
    with pytest.raises(ValueError, match="record 0: its last evaluation lacks an accuracy"):
        read_nasbench101(path, SPACE, "test")


def metrics_of(*parts: bytes) -> bytes:
    return framed(record(LINE, 108, b"".join(parts)))


GOOD = training(LINE, 0.9, 0.8)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not,a,record,file\n1,2,3,4\n", "is damaged, or not a file of TFRecords"),
        (b"short", "is damaged, or not a file of TFRecords"),
        (GOOD + bytes([GOOD[0] ^ 1]) + GOOD[1:], "is damaged, or not a file of TFRecords"),
        (GOOD + GOOD[:-1], "ends within a record"),
        (GOOD + framed(b"{"), "record 1: "),
        (framed(b"\xff"), "record 0: "),
        (framed(b'["a", 108, "", "", 3]'), "record 0: it is not a list of hash, epochs"),
        (framed(record(("a", "0", "input"), 108, b"")), "record 0: it has 1 operations"),
        (metrics_of(), "record 0: its metrics hold no evaluation"),
        (metrics_of(b"\x0a\x05\x21"), "record 0: its metrics end within a field"),
        (metrics_of(b"\x0a"), "record 0: its metrics end within a field"),
        (metrics_of(b"\x0b\x00"), "record 0: its metrics have a field of unknown type 3"),
        (training(LINE, 1.5, 0.8), "record 0: its accuracy is 1.5, not from 0 to 1"),
        (training(LINE, float("nan"), 0.8), "record 0: its accuracy is nan"),
        (b"", "holds no training over 108 epochs"),
        (training(LINE, 0.9, 0.8, epochs=36), "holds no training over 108 epochs"),
        (training((LINE[0], "0" * 9, LINE[2]), 0.9, 0.8), "holds a cell that is not of space"),
        (GOOD + training(("c", *LINE[1:]), 0.9, 0.8), "holds a cell under two hashes"),
    ],
    ids=range(18),
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = write(tmp_path / "x.tfrecord", content)
    with pytest.raises(ValueError, match=why) as caught:
        read_nasbench101(path, SPACE, "validation")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("space", "split", "why"),
    [
        (NASBench201Space(), "test", "is of space 'nasbench101', not 'nasbench201'"),
        (SPACE, "train", f"accuracies on {', '.join(SPLITS)}; .* got 'train'"),
        (SPACE, "test", "There is no table at"),
    ],
)
def test_unfit_arguments_are_refused(
    tmp_path: Path, space: SearchSpace, split: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        read_nasbench101(tmp_path / "missing.tfrecord", space, split)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.tfrecord").touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"secret\.tfrecord cannot be read: Permission denied\."):
        read_nasbench101(tmp_path / "secret.tfrecord", SPACE, "test")


def test_the_benchmark_is_told_by_its_name() -> None:
    assert is_nasbench101(Path("nasbench_only108.tfrecord"))
    assert not is_nasbench101(Path("table.csv.gz"))
