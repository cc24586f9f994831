"""The table that is made of NATS-Bench's files, through a stand-in for its package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from estimators.benchmarks.tabular import TabularEstimator
from estimators.cli.nats_bench_csv import COLUMNS, main
from supernets import create_space

SPACE = create_space("nasbench201")
ARCHS = [SPACE.architecture(choices) for choices in ((3, 1, 2, 1, 3, 4), (0, 1, 2, 3, 4, 0))]


class API:
    """Accuracies by data set, split and epochs; 12 epochs of CIFAR-100 are missing."""

    meta_archs = tuple(SPACE.format(arch) for arch in ARCHS)

    def query_index_by_arch(self, arch: str) -> int:
        return self.meta_archs.index(arch)

    def get_more_info(self, index: int, dataset: str, hp: str, is_random: bool) -> dict[str, float]:
        base = {"cifar10": 10.0, "cifar10-valid": 20.0, "cifar100": 30.0}.get(dataset, 40.0)
        found = {"test-accuracy": base + index + 0.5}
        if dataset == "cifar10" or (dataset, hp) == ("cifar100", "12"):
            return found
        return {**found, "valid-accuracy": base + index + int(hp) / 1000}


def test_the_table_of_the_benchmark_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package: Any = ModuleType("nats_bench")
    package.create = lambda *args, **settings: API()
    monkeypatch.setitem(sys.modules, "nats_bench", package)
    output = tmp_path / "nasbench201.csv.gz"
    flags = ["--table", str(tmp_path), "--output", str(output)]
    assert main(flags) == 2
    assert "--trust-pickle" in capsys.readouterr().err and not output.exists()
    assert main([*flags, "--trust-pickle"]) == 0
    assert "2 architectures" in capsys.readouterr().out

    def values(column: str) -> list[float]:
        return list(TabularEstimator.open(output, SPACE, value_column=column).values.values())

    assert values("cifar10_test_acc_200ep") == [10.5, 11.5]
    assert values("cifar10_valid_acc_200ep") == [20.2, 21.2]
    assert values("cifar10_valid_acc_12ep") == [20.012, 21.012]
    assert values("ImageNet16-120_test_acc_200ep") == [40.5, 41.5]
    with pytest.raises(ValueError, match="no value in column 'cifar100_valid_acc_12ep'"):
        values("cifar100_valid_acc_12ep")
    assert len(COLUMNS) == 8
