"""The accuracies of NATS-Bench's topology space (NAS-Bench-201), through its authors' package.

Paper: NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size,
https://arxiv.org/abs/2009.00437

The package reads pickle files, which can run code: they are opened only where that is allowed.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from estimators.benchmarks.splits import Split
from supernets.runtime.digests import digest_of, ends_digest, file_digest
from supernets.spaces import Architecture, SearchSpace

#: Data sets and what is trained on: "cifar10" on all train images, "cifar10-valid" on half of them.
DATASETS = ("cifar10", "cifar10-valid", "cifar100", "ImageNet16-120")
#: Accuracies by the splits they are of, as the package calls them.
METRICS: Mapping[Split, str] = {"valid": "valid-accuracy", "test": "test-accuracy"}
SPACE = "nasbench201"
SUFFIX = ".pbz2"


class NATSBench(Mapping[Architecture, float]):
    """Mean accuracy (percent) after 200 epochs, looked up when it is asked for.

    Args:
        path: The benchmark as a folder with a file for each architecture, or as a single file.
        space: Notation of the architectures.
        column: One of ``DATASETS``, or one with ``:valid`` or ``:test`` behind it.
        split: The split of a column that does not say.
        trust_pickle: Whether code that the files hold may run; without it nothing is opened.

    Raises:
        ValueError: If the files are not trusted, the package is not installed, the files cannot be
            opened, or something is not of the benchmark.
    """

    def __init__(
        self,
        path: Path,
        space: SearchSpace,
        column: str,
        *,
        split: Split = "valid",
        trust_pickle: bool = False,
    ) -> None:
        if space.name != SPACE:
            raise ValueError(f"NATS-Bench is of space {SPACE!r}, not {space.name!r}.")
        self.dataset, self.split = dataset_and_split(column, split)
        self.path, self._space, self._epochs = path, space, 200
        self._api: Any = _open(path, trust_pickle)

    @property
    def column(self) -> str:
        """The column with its split, such as ``cifar100:valid``."""
        return f"{self.dataset}:{self.split}"

    @property
    def digest(self) -> str:
        """SHA-256 of the single file, or of what decides a folder.

        A folder has a file of some 100 KB for each of 15,625 cells. Its meta file is read whole, of
        all others the size and the first and last 4 KB: they are compressed with checksums of their
        blocks and of the whole at the end, so that other content has other bytes there.
        """
        if self.path.is_file():
            return file_digest(self.path)
        files = sorted(path for path in self.path.iterdir() if path.name.endswith(SUFFIX))
        meta = [file_digest(path) for path in files if path.name.startswith("meta.")]
        return digest_of(
            [meta, [[path.name, path.stat().st_size, ends_digest(path)] for path in files]]
        )

    def with_column(self, column: str, epochs: int) -> NATSBench:
        """Returns another column of the same files, which are not opened again.

        Args:
            column: The column in the notation of the class; without a split it means validation.
            epochs: Length of the trainings, 12 or 200.
        """
        other = copy.copy(self)
        other.dataset, other.split = dataset_and_split(column, "valid")
        other._epochs = epochs
        return other

    def __getitem__(self, arch: Architecture) -> float:
        if arch.space != SPACE:
            raise KeyError(arch)
        index = self._api.query_index_by_arch(self._space.format(arch))
        if index < 0:
            raise KeyError(arch)
        info = self._api.get_more_info(index, self.dataset, hp=str(self._epochs), is_random=False)
        if METRICS[self.split] not in info:
            raise KeyError(arch)
        return float(info[METRICS[self.split]])

    def __iter__(self) -> Iterator[Architecture]:
        return (self._space.parse(text) for text in self._api.meta_archs)

    def __len__(self) -> int:
        return len(self._api.meta_archs)


def is_nats_bench(path: Path) -> bool:
    """Returns whether a table is files of the benchmark and not a CSV file."""
    return path.is_dir() or path.name.endswith(SUFFIX)


def dataset_and_split(column: str, split: Split) -> tuple[str, Split]:
    """Returns the data set and split that a column of the benchmark means.

    Trainings on all train images of CIFAR-10 have no validation accuracy; that of "cifar10" is
    therefore of "cifar10-valid", as in the benchmark itself.

    Args:
        column: The column in the notation of ``NATSBench``.
        split: The split that a column without one means.

    Raises:
        ValueError: If it is not of the benchmark.
    """
    dataset, _, named = column.partition(":")
    if dataset not in DATASETS or named not in ("", *METRICS):
        raise ValueError(
            f"NATS-Bench has the data sets {', '.join(DATASETS)}; give one of them as the column, "
            f"with :valid or :test behind it for one accuracy, got {column!r}."
        )
    found: Split = split if named == "" else "test" if named == "test" else "valid"
    return "cifar10-valid" if (dataset, found) == ("cifar10", "valid") else dataset, found


def _open(path: Path, trust_pickle: bool) -> Any:
    """The interface of the authors' package to the files."""
    if not trust_pickle:
        raise ValueError(
            f"{path} is not a CSV table but NATS-Bench's pickle files, and opening those runs "
            "whatever code they hold; add --trust-pickle (in Python trust_pickle=True) if you "
            "trust where they come from."
        )
    try:
        package = importlib.import_module("nats_bench")
    except ImportError as error:
        raise ValueError(
            f"{path} needs the package nats_bench; install it with pip install nats_bench."
        ) from error
    try:
        return package.create(str(path), "topology", fast_mode=path.is_dir(), verbose=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be opened as NATS-Bench: {error}.") from error
