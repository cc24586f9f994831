"""The accuracies of NATS-Bench's topology space (NAS-Bench-201), through its authors' package.

Paper: NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size,
https://arxiv.org/abs/2009.00437

The package reads pickle files, which can run code: open only files from a source you trust.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from supernets.spaces import Architecture, SearchSpace

#: Data sets and what is trained on: "cifar10" on all train images, "cifar10-valid" on half of them.
DATASETS = ("cifar10", "cifar10-valid", "cifar100", "ImageNet16-120")
SPACE = "nasbench201"
SUFFIX = ".pbz2"


class NATSBench(Mapping[Architecture, float]):
    """Mean test accuracy (percent) after 200 epochs, looked up when it is asked for.

    Args:
        path: The benchmark as a folder with a file for each architecture, or as a single file.
        space: Notation of the architectures.
        dataset: One of ``DATASETS``.

    Raises:
        ValueError: If the package is not installed, the files cannot be opened, or something is not
            of the benchmark.
    """

    def __init__(self, path: Path, space: SearchSpace, dataset: str) -> None:
        if space.name != SPACE:
            raise ValueError(f"NATS-Bench is of space {SPACE!r}, not {space.name!r}.")
        if dataset not in DATASETS:
            raise ValueError(
                f"NATS-Bench has the data sets {', '.join(DATASETS)}; give one of them as the "
                f"column, got {dataset!r}."
            )
        try:
            package = importlib.import_module("nats_bench")
        except ImportError as error:
            raise ValueError(
                f"{path} needs the package nats_bench; install it with pip install nats_bench."
            ) from error
        self._space, self._dataset = space, dataset
        try:
            self._api: Any = package.create(
                str(path), "topology", fast_mode=path.is_dir(), verbose=False
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be opened as NATS-Bench: {error}.") from error

    def __getitem__(self, arch: Architecture) -> float:
        if arch.space != SPACE:
            raise KeyError(arch)
        index = self._api.query_index_by_arch(self._space.format(arch))
        info = self._api.get_more_info(index, self._dataset, hp="200", is_random=False)
        return float(info["test-accuracy"])

    def __iter__(self) -> Iterator[Architecture]:
        return (self._space.parse(text) for text in self._api.meta_archs)

    def __len__(self) -> int:
        return len(self._api.meta_archs)


def is_nats_bench(path: Path) -> bool:
    """Whether a table is not a CSV file but files of the benchmark."""
    return path.is_dir() or path.name.endswith(SUFFIX)
