"""The scripts in examples/ run, at a smaller size."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from supernets import create_space

EXAMPLES = Path(__file__).parents[1] / "examples"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_supernet_is_trained_searched_and_a_subnet_exported(tmp_path: Path) -> None:
    accuracy = script("train_search_export").main(tmp_path, epochs=4, num_trials=2)
    assert accuracy > 20  # chance is 10
    assert (tmp_path / "subnet" / "subnet.json").is_file()


@pytest.mark.slow
def test_searches_are_compared_on_what_is_given() -> None:
    best = script("compare_searches").main(num_trials=20, num_seeds=2)
    assert set(best) == {"random", "local-search", "regularized-evolution", "structural-bo"}
    assert all(len(scores) == 2 and max(scores) <= 5.5 for scores in best.values())
    assert max(best["structural-bo"]) > 5


def test_a_search_compares_on_a_table_of_a_file(tmp_path: Path) -> None:
    space = create_space("nasbench201")
    table = tmp_path / "table.csv"
    rows = [f"{space.format(arch)},{sum(arch.choices)}" for arch in space.enumerate()]
    table.write_text("\n".join(["arch_str,worth", *rows]) + "\n")
    best = script("compare_searches").main(str(table), "worth", num_trials=12, num_seeds=1)
    assert all(scores[0] <= 24 for scores in best.values())


def test_a_score_of_ones_own_is_searched_under_a_limit() -> None:
    assert script("own_estimator").main(num_trials=12, max_macs=5e4) <= 5e4


@pytest.mark.slow
def test_scores_are_compared_with_networks_trained_alone(tmp_path: Path) -> None:
    found = script("rank_scores").main(tmp_path, epochs=1, num_archs=6)
    assert set(found) == {"tse", "val_acc", "macs", "params"}
    assert (tmp_path / "rank" / "report.html").is_file()


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'script("{path.stem}")' in text
