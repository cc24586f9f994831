"""Writes NAS-Bench-201's accuracies as a table, from the public files of NATS-Bench.

Run once, with the package ``nats_bench`` installed and its file of the topology space unpacked::

    python -m estimators.cli.nats_bench_csv --table NATS-tss-v1_0-3ffb9-simple --trust-pickle \\
        --output nasbench201.csv.gz
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from estimators.benchmarks.nats_bench import NATSBench
from supernets.cli.command_line import fail
from supernets.runtime.atomic_write import atomic_write
from supernets.spaces import NASBench201Space

PROGRAM = "python -m estimators.cli.nats_bench_csv"
#: Columns of the table: data set with split, and epochs of the trainings.
COLUMNS = {
    "cifar10_test_acc_200ep": ("cifar10:test", 200),
    "cifar100_test_acc_200ep": ("cifar100:test", 200),
    "ImageNet16-120_test_acc_200ep": ("ImageNet16-120:test", 200),
    "cifar10_valid_acc_200ep": ("cifar10-valid:valid", 200),
    "cifar100_valid_acc_200ep": ("cifar100:valid", 200),
    "ImageNet16-120_valid_acc_200ep": ("ImageNet16-120:valid", 200),
    "cifar10_valid_acc_12ep": ("cifar10-valid:valid", 12),
    "cifar100_valid_acc_12ep": ("cifar100:valid", 12),
}


def write_table(path: Path, output: Path, *, trust_pickle: bool) -> int:
    """Writes all columns of ``COLUMNS``; a value that the files do not have is left empty.

    Args:
        path: The benchmark's files.
        output: The table; gzipped if its name ends in ``.gz``.
        trust_pickle: Whether code that the files hold may run.

    Returns:
        The number of rows.

    Raises:
        ValueError: As ``NATSBench``.
    """
    space = NASBench201Space()
    first = NATSBench(path, space, "cifar10", trust_pickle=trust_pickle)
    columns = [first.with_column(column, epochs) for column, epochs in COLUMNS.values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "arch_str", *COLUMNS])
    for index, arch in enumerate(tqdm(first, total=len(first), unit="arch")):
        values = [column.get(arch) for column in columns]
        shown = ["" if value is None else f"{value:.6g}" for value in values]
        writer.writerow([index, space.format(arch), *shown])
    content = text.getvalue().encode()
    with atomic_write(output, "wb") as file:
        file.write(gzip.compress(content, mtime=0) if output.suffix == ".gz" else content)
    return len(first)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the table that the command line asks for and returns the exit status."""
    parser = argparse.ArgumentParser(prog=PROGRAM, allow_abbrev=False)
    add = parser.add_argument
    add("--table", type=Path, required=True, metavar="PATH", help="NATS-Bench's folder or file")
    add("--output", type=Path, required=True, metavar="CSV", help="the table; .gz for gzip")
    add("--trust-pickle", action="store_true", help="open the files, which may run code")
    args = parser.parse_args(argv)
    if not args.output.parent.is_dir():
        return fail(PROGRAM, ValueError(f"There is no folder {args.output.parent}; make it first."))
    try:
        num_rows = write_table(args.table, args.output, trust_pickle=args.trust_pickle)
    except ValueError as error:
        return fail(PROGRAM, error)
    print(f"{args.output}: {num_rows} architectures")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
