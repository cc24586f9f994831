"""Tables of recorded values, and facts of NAS-Bench-201's where it is at hand."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from estimators.base import EstimateError
from estimators.benchmarks.tabular import TabularEstimator
from supernets.cost.analytic import CostModel
from supernets.networks.nasbench201 import NASBench201Supernet
from supernets.spaces import NASBench201Space, SearchSpace

WriteTable = Callable[[str], Path]
TABLE = "index,arch_str,top1,loss\n0,0-1,61.5,1.5\n1,1-2,,2.5\n2,1-0,70,\n"


@pytest.fixture
def space(make_space: Callable[..., SearchSpace]) -> SearchSpace:
    return make_space(2, 3)


def test_values_are_looked_up_by_architecture(write_table: WriteTable, space: SearchSpace) -> None:
    table = TabularEstimator.from_csv(write_table(TABLE), space, value_column="top1")
    estimate = table.estimate(space.architecture([0, 1]))
    assert (estimate.score, estimate.metrics) == (61.5, {"top1": 61.5})
    assert not estimate.curves
    assert table.estimate(space.architecture([1, 0])).score == 70
    assert len(table.values) == 2  # the empty cell is left out


def test_columns_can_be_chosen(write_table: WriteTable, space: SearchSpace) -> None:
    path = write_table("loss,cell\n1.5,0-1\n2.5,1-2\n")
    table = TabularEstimator.from_csv(path, space, arch_column="cell", value_column="loss")
    assert {arch.choices: value for arch, value in table.values.items()} == {
        (0, 1): 1.5,
        (1, 2): 2.5,
    }


def test_gzipped_tables_read_the_same(
    write_table: WriteTable, tmp_path: Path, space: SearchSpace
) -> None:
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    plain, zipped = (
        TabularEstimator.from_csv(path, space, value_column="top1")
        for path in (write_table(TABLE), tmp_path / "table.csv.gz")
    )
    assert plain.values == zipped.values


def test_a_byte_order_mark_is_no_part_of_the_first_column(
    tmp_path: Path, space: SearchSpace
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"arch_str,top1\r\n0-1,61.5\r\n")
    table = TabularEstimator.from_csv(path, space, value_column="top1")
    assert list(table.values.values()) == [61.5]


def test_rows_without_a_value_are_counted(
    write_table: WriteTable, space: SearchSpace, caplog: pytest.LogCaptureFixture
) -> None:
    TabularEstimator.from_csv(write_table(TABLE), space, value_column="top1")
    assert "1 of 3 rows have no top1 and are left out" in caplog.text


def test_unlisted_architectures_cannot_be_scored(space: SearchSpace) -> None:
    arch = space.architecture([0, 0])
    table = TabularEstimator({arch: 0.0})
    assert table.estimate(arch).metrics == {"value": 0.0}
    with pytest.raises(EstimateError, match="does not list"):
        table.estimate(space.architecture([1, 1]))


def test_later_changes_of_the_values_do_not_reach_the_table(space: SearchSpace) -> None:
    arch = space.architecture([0, 0])
    values = {arch: 1.0}
    table = TabularEstimator(values)
    values[arch] = 2.0
    assert table.estimate(arch).score == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv is empty; expected .* columns arch_str, top1"),
        ("arch_str,top1,top1\n0-1,5,6\n", "has 2 columns 'top1'"),
        ("arch_str,acc\n0-1,5\n", "no column 'top1'; it has arch_str, acc"),
        ("arch,top1\n0-1,5\n", "no column 'arch_str'; it has arch, top1; --arch-column, or arch_"),
        ("arch_str,top1\n", "holds no value in column 'top1'"),
        ("arch_str,top1\n0-1,\n1-1, \n", "holds no value in column 'top1'"),
        ("arch_str,top1\n0-9,5\n", "table.csv, line 2: Decision 'd1'"),
        ("arch_str,top1\n0-1,5\n0-9,5\n", "table.csv, line 3: Decision 'd1'"),
        ("arch_str,top1\n0-1,high\n", "table.csv, line 2: could not convert.*'high'"),
        ("arch_str,top1\n0-1,5\n1-1,high\n", "table.csv, line 3: could not convert.*'high'"),
        ("arch_str,top1\n0-1,nan\n", "table.csv, line 2: top1 is nan, not a finite number"),
        ("arch_str,top1\n0-1,5\n1-1,inf\n", "table.csv, line 3: top1 is inf, not a finite"),
        (
            "arch_str,top1\n0-1,5\n1-1,6\n0-1,7\n",
            "line 4: it lists 0-1 a second time, after line 2",
        ),
        ("top1,arch_str\n5\n", "table.csv, line 2: it has 1 cells, the header 2"),
    ],
)
def test_unreadable_tables_say_what_and_where(
    write_table: WriteTable, space: SearchSpace, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TabularEstimator.from_csv(write_table(text), space, value_column="top1")


def test_a_missing_table_is_named(tmp_path: Path, space: SearchSpace) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(ValueError, match=f"There is no table at {path}"):
            TabularEstimator.from_csv(path, space, value_column="top1")


def test_damaged_files_are_named(tmp_path: Path, space: SearchSpace) -> None:
    text = "arch_str,top1\n" + "0-1,\n" * 5000 + "1-1,5\n"
    zipped = gzip.compress(text.encode(), mtime=0)
    files = {
        "truncated.csv.gz": zipped[: len(zipped) // 2],
        "flipped.csv.gz": zipped[:20] + bytes(byte ^ 255 for byte in zipped[20:40]) + zipped[40:],
        "latin.csv": "arch_str,top1\n0-1,5\n# caf\xe9,\n".encode("latin-1"),
        "binary.csv": bytes(range(128, 256)),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a CSV table"):
            TabularEstimator.from_csv(tmp_path / name, space, value_column="top1")


ENVIRONMENT_VARIABLE = "PACELINE_NASBENCH201_CSV"
needs_benchmark = pytest.mark.skipif(
    ENVIRONMENT_VARIABLE not in os.environ,
    reason=f"{ENVIRONMENT_VARIABLE} does not say where the benchmark's table is",
)


@needs_benchmark
@pytest.mark.parametrize(
    ("column", "best_value", "best", "spearman", "kendall"),
    [
        (
            "cifar10_test_acc_200ep",
            94.3733,
            {(3, 3, 3, 1, 3, 2), (3, 3, 3, 1, 2, 3)},
            0.753,
            0.578,
        ),
        ("cifar100_test_acc_200ep", 73.5133, {(3, 3, 3, 1, 3, 3)}, 0.728, 0.553),
    ],
)
def test_facts_of_the_benchmark(
    column: str,
    best_value: float,
    best: set[tuple[int, ...]],
    spearman: float,
    kendall: float,
) -> None:
    """The best cells, and how well counting multiply-accumulates ranks all 15,625."""
    space = NASBench201Space()
    table = TabularEstimator.from_csv(os.environ[ENVIRONMENT_VARIABLE], space, value_column=column)
    assert len(table.values) == 15_625
    archs = list(space.enumerate())
    accuracies = np.array([table.estimate(arch).score for arch in archs])
    assert accuracies.max() == pytest.approx(best_value, abs=1e-4)
    assert {archs[i].choices for i in np.flatnonzero(accuracies == accuracies.max())} == best
    cost_model = CostModel(NASBench201Supernet(num_classes=10, channels=1, cells_per_stage=1))
    macs = [cost_model.measure(arch).macs for arch in archs]
    assert spearmanr(macs, accuracies).statistic == pytest.approx(spearman, abs=5e-4)
    assert kendalltau(macs, accuracies).statistic == pytest.approx(kendall, abs=5e-4)


@needs_benchmark
def test_distribution_of_the_benchmarks_accuracies() -> None:
    table = TabularEstimator.from_csv(
        os.environ[ENVIRONMENT_VARIABLE], NASBench201Space(), value_column="cifar10_test_acc_200ep"
    )
    accuracies = np.array(list(table.values.values()))
    assert accuracies.mean() == pytest.approx(87.06, abs=0.005)
    assert accuracies.std(ddof=1) == pytest.approx(12.94, abs=0.005)
    assert np.median(accuracies) == pytest.approx(90.745, abs=0.001)
    assert [(accuracies >= limit).sum() for limit in (94.3, 94, 93.5, 93)] == [6, 42, 411, 1446]
