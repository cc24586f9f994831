"""NATS-Bench's files, through a stand-in for its package with the same calls."""

from __future__ import annotations

import bz2
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from estimators.base import EstimateError
from estimators.benchmarks.nats_bench import DATASETS, NATSBench
from estimators.benchmarks.tabular import TabularEstimator
from supernets import create_space
from supernets.spaces import Architecture

SPACE = create_space("nasbench201")
ARCHS = [SPACE.architecture(choices) for choices in ((3, 1, 2, 1, 3, 4), (0, 1, 2, 3, 4, 0))]


class API:
    """The calls of nats_bench 1.8 that are used, of two architectures."""

    def __init__(self) -> None:
        self.meta_archs = [SPACE.format(arch) for arch in ARCHS]
        self.asked: list[tuple[Any, ...]] = []

    def query_index_by_arch(self, arch: str) -> int:
        return self.meta_archs.index(arch) if arch in self.meta_archs else -1

    def get_more_info(
        self, index: int, dataset: str, iepoch: int | None = None, hp: str = "12", is_random=True
    ) -> dict[str, float]:
        self.asked.append((index, dataset, iepoch, hp, is_random))
        found = {"test-accuracy": 90.0 + index, "train-accuracy": 1.0}
        # as in the package, which has no validation images beside all train images of CIFAR-10
        return found if dataset == "cifar10" else {**found, "valid-accuracy": 70.0 + index}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the package was asked to open, and its API."""
    found: dict[str, Any] = {"api": API()}
    package = ModuleType("nats_bench")

    def create(path: Any, space: str, fast_mode: bool = False, verbose: bool = True) -> API:
        found.update(path=path, space=space, fast_mode=fast_mode, verbose=verbose)
        if "broken" in str(path):
            raise ValueError("it is neither a file nor a dir")
        return found["api"]

    package.create = create  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nats_bench", package)
    return found


def test_a_folder_is_read_file_by_file(tmp_path: Path, opened: dict[str, Any]) -> None:
    table = NATSBench(tmp_path, SPACE, "cifar100:test", trust_pickle=True)
    assert (opened["path"], opened["space"]) == (str(tmp_path), "topology")
    assert opened["fast_mode"] and not opened["verbose"]
    assert list(table) == ARCHS and len(table) == 2
    assert ARCHS[1] in table
    assert table[ARCHS[1]] == 91.0
    # the mean over seeds after 200 epochs
    assert opened["api"].asked[-1] == (1, "cifar100", None, "200", False)


def test_a_table_may_be_the_benchmark(tmp_path: Path, opened: dict[str, Any]) -> None:
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    estimator = TabularEstimator.open(path, SPACE, value_column="cifar10:test", trust_pickle=True)
    assert not opened["fast_mode"]
    assert opened["api"].asked == []  # nothing is looked up before it is asked for
    estimate = estimator.estimate(ARCHS[0])
    assert estimate.score == 90.0
    assert estimate.metrics == {"cifar10_test_top1": 90.0}
    with pytest.raises(EstimateError, match="does not list"):
        estimator.estimate(Architecture("nasnet", ARCHS[0].choices))


@pytest.mark.parametrize(
    ("column", "split", "canonical", "value"),
    [
        ("cifar100", "valid", "cifar100:valid", 70.0),
        ("cifar10-valid", "valid", "cifar10-valid:valid", 70.0),
        ("ImageNet16-120", "valid", "ImageNet16-120:valid", 70.0),
        ("cifar10", "valid", "cifar10-valid:valid", 70.0),
        ("cifar10:valid", "test", "cifar10-valid:valid", 70.0),
        ("cifar100", "test", "cifar100:test", 90.0),
        ("cifar10", "test", "cifar10:test", 90.0),
        ("cifar10-valid:test", "valid", "cifar10-valid:test", 90.0),
    ],
)
def test_a_data_set_means_validation_unless_test_is_asked_for(
    tmp_path: Path,
    opened: dict[str, Any],
    column: str,
    split: Any,
    canonical: str,
    value: float,
) -> None:
    table = TabularEstimator.open(
        tmp_path, SPACE, value_column=column, split=split, trust_pickle=True
    )
    assert table.column == canonical
    assert table.split == canonical.split(":")[1]
    assert table.estimate(ARCHS[0]).score == value


def test_files_that_may_run_code_are_not_opened_unless_trusted(
    tmp_path: Path, opened: dict[str, Any]
) -> None:
    for path in (tmp_path, tmp_path / "NATS.pickle.pbz2"):
        with pytest.raises(ValueError, match="runs whatever code they hold; add --trust-pickle"):
            TabularEstimator.open(path, SPACE, value_column="cifar10")
    assert "path" not in opened
    with pytest.raises(ValueError, match="holds no pickles; leave --trust-pickle out"):
        TabularEstimator.open(tmp_path / "a.csv", SPACE, value_column="acc", trust_pickle=True)


def test_a_folder_is_told_by_its_meta_file_and_the_ends_of_the_others(
    tmp_path: Path, opened: dict[str, Any]
) -> None:
    def digest(folder: str, meta: bytes, record: bytes) -> str:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "meta.pickle.pbz2").write_bytes(meta)
        (tmp_path / folder / "000000.pickle.pbz2").write_bytes(record)
        return NATSBench(tmp_path / folder, SPACE, "cifar100", trust_pickle=True).digest

    first = digest("a", b"meta", b"record")
    assert digest("b", b"meta", b"record") == first
    assert digest("c", b"beta", b"record") != first
    assert digest("d", b"meta", b"longer record") != first
    assert digest("e", b"meta", b"recorb") != first  # of the same size
    ninety, ninety_one = (bz2.compress(b"x" * 9000 + value) for value in (b"90", b"91"))
    assert digest("f", b"meta", ninety) != digest("g", b"meta", ninety_one)


def test_unfit_arguments_are_refused(tmp_path: Path, opened: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"data sets {', '.join(DATASETS)}; .* got 'digits'"):
        NATSBench(tmp_path, SPACE, "digits")
    with pytest.raises(ValueError, match="is of space 'nasbench201', not 'darts'"):
        NATSBench(tmp_path, create_space("darts"), "cifar10")
    with pytest.raises(ValueError, match="cannot be opened as NATS-Bench: it is neither"):
        NATSBench(tmp_path / "broken.pbz2", SPACE, "cifar10", trust_pickle=True)
    with pytest.raises(ValueError, match="no columns of architectures; leave cell out"):
        TabularEstimator.open(tmp_path, SPACE, arch_column="cell", value_column="cifar10")


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(ValueError, match="install it with pip install nats_bench"):
        NATSBench(tmp_path, SPACE, "cifar10", trust_pickle=True)
