"""The accuracies of NAS-Bench-101, from the record file of its authors without TensorFlow.

Paper: NAS-Bench-101: Towards Reproducible Neural Architecture Search,
https://arxiv.org/abs/1902.09635

The file, ``nasbench_only108.tfrecord`` or ``nasbench_full.tfrecord``, has a record for every
training of every cell. A record is a JSON list: the hash of the cell, the epochs of the training,
the adjacency matrix, the operations, and metrics as a protocol buffer in base64.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.nasbench101 import NASBench101Space, read_cell

#: Accuracies by the number of their field in what the metrics hold of an evaluation.
SPLITS = {"validation": 4, "test": 5}
EPOCHS = 108
SUFFIX = ".tfrecord"

_EVALUATIONS = 1  # number of this field of the metrics
_RECORD_TYPES = [str, int, str, str, str]
_FIXED_SIZES = {1: 8, 5: 4}  # bytes of a field, by wire types


def read_nasbench101(path: Path, space: SearchSpace, split: str) -> dict[Architecture, float]:
    """Reads the mean final accuracy (percent) of the trainings of each cell over 108 epochs.

    Takes about half a minute for all cells.

    Args:
        path: The record file.
        space: ``NASBench101Space``.
        split: ``"validation"``, or ``"test"``.

    Raises:
        ValueError: If the space or split is another one, or the file is missing, cannot be read,
            is damaged or holds no training over 108 epochs; names the record.
    """
    if not isinstance(space, NASBench101Space):
        raise ValueError(f"NAS-Bench-101 is of space 'nasbench101', not {space.name!r}.")
    if split not in SPLITS:
        raise ValueError(
            f"NAS-Bench-101 has accuracies on {', '.join(SPLITS)}; give one of them as the column, "
            f"got {split!r}."
        )
    if not path.is_file():
        raise ValueError(f"There is no table at {path}.")
    cells: dict[str, list[int]] = {}
    accuracies: dict[str, list[float]] = {}
    for number, record in enumerate(_records(path)):
        try:
            fields = json.loads(record)
            if not isinstance(fields, list) or [type(field) for field in fields] != _RECORD_TYPES:
                raise ValueError("it is not a list of hash, epochs, adjacency, operations, metrics")
            name, epochs, adjacency, operations, metrics = fields
            if epochs != EPOCHS:
                continue
            if name not in cells:
                cells[name] = read_cell(adjacency, operations.split(","))
            accuracy = _final_accuracy(base64.b64decode(metrics), SPLITS[split])
        except ValueError as error:
            raise ValueError(f"{path}, record {number}: {error}") from error
        accuracies.setdefault(name, []).append(100 * accuracy)
    if not cells:
        raise ValueError(f"{path} holds no training over {EPOCHS} epochs.")
    choices = space.canonicalize(np.array(list(cells.values()), np.int64))
    if not space.are_valid(choices).all():
        raise ValueError(f"{path} holds a cell that is not of space {space.name!r}.")
    means = [sum(repeats) / len(repeats) for repeats in accuracies.values()]
    values = dict(zip(space.architectures(choices), means, strict=True))
    if len(values) < len(cells):
        raise ValueError(f"{path} holds a cell under two hashes.")
    return values


def is_nasbench101(path: Path) -> bool:
    """Returns whether a table is the benchmark's own file and not a CSV file."""
    return path.name.endswith(SUFFIX)


def _records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file.

    Before each stand its length and a checksum of that, which is compared; a checksum of the record
    follows, which is not, as that would take longer than everything else.

    Raises:
        ValueError: If the file is damaged or another one.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        while head := file.read(12):
            if len(head) < 12 or _checksum(head[:8]) != int.from_bytes(head[8:], "little"):
                raise ValueError(f"{path} is damaged, or not a file of TFRecords.")
            size = int.from_bytes(head[:8], "little")
            record = file.read(size + 4)
            if len(record) < size + 4:
                raise ValueError(f"{path} ends within a record; copy it again.")
            yield record[:-4]


def _checksum(data: bytes) -> int:
    """CRC-32C in the masked form of TFRecords."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    """The remainders of all bytes."""
    table = []
    for remainder in range(256):
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
        table.append(remainder)
    return table


_CRC_TABLE = _crc_table()


def _final_accuracy(metrics: bytes, field: int) -> float:
    """An accuracy (0 to 1) of the last evaluation of a training.

    Raises:
        ValueError: If the metrics hold none.
    """
    evaluations = [value for number, value in _fields(metrics) if number == _EVALUATIONS]
    if not evaluations:
        raise ValueError("its metrics hold no evaluation")
    value = dict(_fields(evaluations[-1])).get(field, b"")
    if len(value) != 8:
        raise ValueError("its last evaluation lacks an accuracy")
    accuracy = float(struct.unpack("<d", value)[0])
    if not 0 <= accuracy <= 1:
        raise ValueError(f"its accuracy is {accuracy}, not from 0 to 1")
    return accuracy


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and values of the fields of a protocol buffer, but for its integers.

    Raises:
        ValueError: If it is none.
    """
    position = 0
    while position < len(message):
        key, position = _integer(message, position)
        wire_type = key & 7
        size = _FIXED_SIZES.get(wire_type)
        if size is None:
            size, position = _integer(message, position)
            if wire_type == 0:
                continue
            if wire_type != 2:
                raise ValueError(f"its metrics have a field of unknown type {wire_type}")
        if position + size > len(message):
            raise ValueError("its metrics end within a field")
        yield key >> 3, message[position : position + size]
        position += size


def _integer(message: bytes, position: int) -> tuple[int, int]:
    """The integer at ``position`` of a protocol buffer, and where it ends."""
    value = 0
    for i, byte in enumerate(message[position : position + 10]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, position + i + 1
    raise ValueError("its metrics end within a field")
