"""supernet-search: resuming by the same command, what it writes, and every refusal in one line."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import search.cli.options
import search.runs.results
import search.runs.subject
import supernets.cli.train
import supernets.export.subnet
from estimators import Estimate, EstimateError, TabularEstimator, TSEEstimator, ValAccuracyEstimator
from estimators.trials.store import read_header, read_trials
from search import TrialStore
from search.cli.search import main
from search.predictors.sklearn_models import MODELS
from supernets import create_space, load_subnet, load_supernet
from supernets.cost.latency import LatencyTable, latency_settings
from supernets.export.subnet import export_subnet
from supernets.spaces import Architecture

SPACE = create_space("nasbench201")
TINY = "--channels 4 --cells-per-stage 1 --batch-size 400 --num-probes 0 --epochs 1 --paths uniform"
TSE = "--tse-batches 2 --tse-batch-size 32 --num-trials 6 --batch-size 2".split()
WEAKNAS = (
    "--algorithm weaknas --num-initial 3 --predictor gradient_boosting".split()
)  # the quickest
ELASTIC = (
    "--space mobilenetv3 --width 0.25 --image-size 32 --resolutions 24 32 --strides 2 2 2 2 1 1 "
    "--batch-size 600 --num-probes 0 --epochs 1 --paths uniform"
)
NUM_TABLE_TRIALS = 30
Command = Callable[..., int]


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the trees: what is searched for here needs no good predictor."""
    monkeypatch.setitem(MODELS["gradient_boosting"][1], "n_estimators", 30)


@pytest.fixture(scope="module")
def elastic_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MobileNetV3 supernet of two resolutions, after two steps on digits."""
    output = tmp_path_factory.mktemp("elastic")
    assert supernets.cli.train.main([*ELASTIC.split(), "--output", str(output)]) == 0
    return output / "last.pt"


def value_of(arch: Architecture) -> float:
    return 50.0 + sum((i + 1) * choice for i, choice in enumerate(arch.choices)) / 2


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,500 of the 15,625 architectures, with a planted value."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    rng = np.random.default_rng(0)
    archs = [arch for arch in SPACE.enumerate() if rng.random() < 0.1]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "accuracy", "other"])
        writer.writerows((SPACE.format(arch), value_of(arch), -value_of(arch)) for arch in archs)
    return path


@pytest.fixture
def search_table(table: Path, no_plots: None) -> Command:
    """Searches the table, so that most trials of a random search fail; draws no plots."""

    def run(output: Path, *flags: str) -> int:
        return main(
            [
                *("--space", "nasbench201", "--estimator", "table", "--table", str(table)),
                *("--table-column", "accuracy", "--algorithm", "random"),
                *("--num-trials", str(NUM_TABLE_TRIALS), "--output", str(output), *flags),
            ]
        )

    return run


@pytest.fixture
def search_tse(checkpoint: Path) -> Command:
    """Searches the supernet with WeakNAS and TSE."""

    def run(output: Path, *flags: str) -> int:
        given = ["--supernet", str(checkpoint), "--output", str(output), *TSE, *WEAKNAS]
        return main([*given, *flags])

    return run


@pytest.fixture
def search_elastic(elastic_checkpoint: Path, no_plots: None) -> Command:
    """Searches the MobileNetV3 supernet by accuracy on few images; draws no plots."""

    def run(output: Path, *flags: str) -> int:
        return main(
            [
                *("--supernet", str(elastic_checkpoint), "--output", str(output)),
                *"--algorithm weaknas --predictor gradient_boosting".split(),
                *"--num-initial 3 --batch-size 2".split(),
                *"--pool-size 50 --num-trials 5 --estimator val_acc".split(),
                *flags,
            ]
        )

    return run


@pytest.fixture
def searches_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables count as if they listed all of their space."""
    monkeypatch.setattr(search.runs.subject, "pool_of_table", lambda table, space: None)


@pytest.fixture
def search_mobilenetv3(searches_all: None, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Searches for what the table, of one architecture, does not hold."""
    space = create_space("mobilenetv3")
    arch = space.format(space.sample(np.random.default_rng(0)))
    path = tmp_path_factory.mktemp("one") / "one.csv"
    path.write_text(f'arch_str,accuracy\n"{arch}",50\n')

    def run(output: Path, *flags: str) -> int:
        given = ["--space", "mobilenetv3", "--estimator", "table", "--table", str(path)]
        return main([*given, "--table-column", "accuracy", "--output", str(output), *flags])

    return run


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("supernet-search: error: ")
    return lines[0]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def rows(output: Path, *columns: str) -> list[tuple[Any, ...]]:
    """The recorded trials, by default all but their seconds."""
    chosen = columns or ("number", "arch", "is_told", "score", "error", "metrics", "curves")
    with sqlite3.connect(output / "trials.db") as connection:
        found = connection.execute(f"SELECT {', '.join(chosen)} FROM trials ORDER BY number")
        result = found.fetchall()
    connection.close()
    return result


@pytest.mark.slow
def test_digits_from_search_to_subnet(
    search_tse: Command,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights_alone = partial(export_subnet, formats=())  # other formats take long to write
    monkeypatch.setattr(supernets.export.subnet, "export_subnet", weights_alone)
    output, subnet = tmp_path / "search", tmp_path / "subnet"
    assert search_tse(output, "--export", str(subnet)) == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["status"], block["trials"], block["failed"]) == ("finished", 6, 0)
    assert block["files"] == str(output)
    best = json.loads((output / "best.json").read_text())
    assert best["best"] == block["best"]
    scores = [trial["score"] for trial in best["best"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 5
    assert best["best"][0]["metrics"]["tse"] == -scores[0]
    SPACE.parse(block["predicted_best"]["architecture"])
    args = json.loads((output / "args.json").read_text())["args"]
    assert (args["num_trials"], args["supernet"]) == (6, str(checkpoint))
    with open(output / "trials.csv", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [int(row["number"]) for row in listed] == list(range(6))
    assert max(float(row["score"]) for row in listed) == scores[0]
    assert {"args.json", "best.json", "search.png", "trials.csv", "trials.db"} == set(
        files_below(output)
    )
    for curves, metrics in rows(output, "curves", "metrics"):
        losses = json.loads(curves)["train_loss"]
        assert len(losses) == 2
        assert sum(losses) == pytest.approx(json.loads(metrics)["tse"])
    assert block["export"]["architecture"] == best["best"][0]["architecture"]
    record = json.loads((subnet / "subnet.json").read_text())
    assert record["provenance"]["trial"] == best["best"][0]
    assert load_subnet(subnet)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)

    (subnet / "notes.txt").write_text("mine")
    assert search_tse(output, "--export", str(subnet)) == 0  # replaces what it exported itself
    capsys.readouterr()
    another = ("--export", str(subnet), "--seed", "1")
    assert search_tse(tmp_path / "another", *another) == 2
    assert f"{subnet} holds an exported subnet; pass --overwrite" in error_line(capsys)
    assert json.loads((subnet / "subnet.json").read_text()) == record
    assert search_tse(tmp_path / "another", *another, "--overwrite") == 0
    assert json.loads((subnet / "subnet.json").read_text())["provenance"]["search"] == "another"
    assert (subnet / "notes.txt").read_text() == "mine"


def test_equal_accuracies_are_counted_and_told_apart_by_loss(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = ValAccuracyEstimator.estimate

    def coarse(self: ValAccuracyEstimator, arch: Architecture) -> Estimate:
        found = real(self, arch)
        return Estimate(50.0, {**found.metrics, "val_top1": 50.0}, found.seconds)

    monkeypatch.setattr(ValAccuracyEstimator, "estimate", coarse)
    weights_alone = partial(export_subnet, formats=())
    monkeypatch.setattr(supernets.export.subnet, "export_subnet", weights_alone)
    given = f"--supernet {checkpoint} --algorithm random --estimator val_acc --num-trials 6"
    flags = ["--output", str(tmp_path / "run"), "--export", str(tmp_path / "subnet")]
    assert main([*given.split(), *flags]) == 0
    captured = capsys.readouterr()
    block = json.loads(captured.out)
    assert (block["tied"], block["ties_broken_by"]) == (6, "val_loss")
    assert block["points_per_image"] == pytest.approx(100 / 288)
    assert "6 of 6 trials share the best score; the one of least val_loss comes" in captured.err
    assert "One of the 288 validation images is worth 0.347 points." in captured.err
    losses = [trial["metrics"]["val_loss"] for trial in block["best"]]
    assert losses == sorted(losses)
    every = [json.loads(metrics)["val_loss"] for (metrics,) in rows(tmp_path / "run", "metrics")]
    assert losses[0] == min(every)
    assert block["export"]["architecture"] == block["best"][0]["architecture"]
    assert main([*given.split(), *flags]) == 0  # the same again
    again = json.loads(capsys.readouterr().out)
    assert again["best"] == block["best"] and again["tied"] == 6


def test_a_finished_search_that_may_not_export_says_so_in_one_line(
    search_tse: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Something was put there while it ran."""
    output, subnet = tmp_path / "search", tmp_path / "subnet"
    real = supernets.export.subnet.export_subnet

    def export(*args: Any, **settings: Any) -> Any:
        subnet.mkdir()
        (subnet / "chapter1.txt").write_text("mine")
        return real(*args, **settings)

    monkeypatch.setattr(supernets.export.subnet, "export_subnet", export)
    assert search_tse(output, "--export", str(subnet)) == 2
    assert "choose another folder. The search itself is finished" in capsys.readouterr().err
    assert files_below(subnet) == ["chapter1.txt"]
    assert (output / "best.json").is_file()


def test_val_acc_searches_too(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--estimator val_acc --algorithm random --num-trials 2 --recalibrate-batches 1".split()
    assert main(["--supernet", str(checkpoint), "--output", str(tmp_path), *flags]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert 0 <= best[1]["score"] <= best[0]["score"] <= 100
    assert set(best[0]["metrics"]) == {"val_top1", "val_loss"}
    recalibration = header_of(tmp_path)["estimator"]["recalibration"]
    assert (recalibration["num_images"], recalibration["transforms"]) == (
        64,
        "those of the test split",
    )


def header_of(output: Path) -> dict[str, Any]:
    with sqlite3.connect(output / "trials.db") as connection:
        header = dict(connection.execute("SELECT key, value FROM header"))
    connection.close()
    return {key: json.loads(value) for key, value in header.items()}


@pytest.mark.slow
def test_an_elastic_supernet_is_searched_at_one_resolution(
    search_elastic: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--resolution 24 --max-macs 6.4e5 --encoding integers --recalibrate-batches 2".split()
    assert search_elastic(tmp_path, *flags) == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["space"], block["trials"], block["failed"]) == ("mobilenetv3", 5, 0)
    space = create_space("mobilenetv3", resolutions=(24, 32))
    assert all(text.endswith(";r=24") for (text,) in rows(tmp_path, "arch"))
    for trial in block["best"]:
        assert space.format(space.parse(trial["architecture"])) == trial["architecture"]
        assert trial["cost"].keys() == {"params", "macs"} and trial["cost"]["macs"] <= 6.4e5
        assert 0 <= trial["score"] <= 100
    header = header_of(tmp_path)
    assert (header["resolution"], header["algorithm"]["encoding"]) == (24, "integers")
    assert header["estimator"]["recalibration"] == {
        "split": "train",
        "transforms": "those of the train split",
        "num_batches": 2,
        "num_images": 400,
        "seed": 0,
    }
    assert json.loads((tmp_path / "best.json").read_text())["estimator"] == header["estimator"]
    assert search_elastic(tmp_path, *flags[2:]) == 2
    assert "resolution was 24 and is now None" in error_line(capsys)


@pytest.mark.slow
def test_an_elastic_supernet_is_recalibrated_unless_that_is_refused(
    search_elastic: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_elastic(tmp_path, "--resolution", "40") == 2
    assert "'resolution' offers 24, 32, got 40" in error_line(capsys)
    assert search_elastic(tmp_path, "--recalibrate-batches", "0") == 2
    assert "--recalibrate-batches must be at least 1 for a mobilenetv3" in error_line(capsys)
    assert files_below(tmp_path) == []
    few = ["--num-initial", "1", "--num-trials", "2", "--val-batches", "1"]
    assert search_elastic(tmp_path, *few) == 0
    recalibration = header_of(tmp_path)["estimator"]["recalibration"]
    assert recalibration["num_batches"] == 10
    assert recalibration["num_images"] == 10 * 200  # short minibatches are filled up


def test_an_elastic_supernet_is_searched_by_tse(
    elastic_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--algorithm random --num-trials 2 --tse-batches 2 --tse-batch-size 16".split()
    assert main(["--supernet", str(elastic_checkpoint), "--output", str(tmp_path), *flags]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert [trial["score"] for trial in best] == [-trial["metrics"]["tse"] for trial in best]
    assert (tmp_path / "search.png").stat().st_size > 1000


@pytest.fixture
def latency_table(elastic_checkpoint: Path, tmp_path: Path) -> Path:
    """Every block takes as many milliseconds as its kernel has pixels on a side; the rest 7."""
    supernet = load_supernet(elastic_checkpoint)
    blocks = np.broadcast_to(np.array([3.0, 5, 7])[:, None], (2, 20, 3, 3)) / 1000
    table = LatencyTable(
        settings=latency_settings(supernet),
        conditions={"device": "abacus"},
        fixed=np.array([0.007, 0.007]),
        blocks=blocks,
        scale=1.0,
        offset=0.0,
        error={},
    )
    table.save(tmp_path / "latency.json")
    return tmp_path / "latency.json"


@pytest.mark.slow
def test_latency_is_constrained_in_milliseconds(
    search_elastic: Command,
    latency_table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = create_space("mobilenetv3", resolutions=(24, 32))
    flags = ["--latency-table", str(latency_table), "--recalibrate-batches", "1"]
    bounds = ["--min-latency", "60", "--max-latency", "70.5", "--val-batches", "1"]
    assert search_elastic(tmp_path / "a", *flags, *bounds) == 0
    for trial in json.loads(capsys.readouterr().out)["best"]:
        blocks = sum(space.stages(space.parse(trial["architecture"])), [])
        milliseconds = 7 + sum(block.kernel for block in blocks)
        assert 60 <= milliseconds <= 70
        assert trial["cost"]["latency"] == pytest.approx(milliseconds / 1000)
    header = header_of(tmp_path / "a")
    assert header["constraints"] == [{"metric": "latency", "minimum": 0.06, "maximum": 0.0705}]
    assert len(header["latency_table"]) == 64
    assert search_elastic(tmp_path / "b", *flags, "--max-latency", "36") == 2
    assert "No architecture of 'mobilenetv3' has latency in [0 ms, 36 ms]" in error_line(capsys)
    latency_table.write_text(latency_table.read_text().replace("abacus", "slide rule"))
    assert search_elastic(tmp_path / "a", *flags, *bounds) == 2
    assert "latency_table was" in error_line(capsys)


def test_a_latency_table_of_another_supernet_is_refused(
    search_mobilenetv3: Command,
    search_table: Command,
    latency_table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--latency-table", str(latency_table), "--max-latency", "50"]
    assert search_mobilenetv3(tmp_path / "run", *flags) == 2
    assert "is for another supernet: num_classes 10, not 1000" in error_line(capsys)
    assert search_table(tmp_path / "run", *flags) == 2
    assert "Latency tables are for space 'mobilenetv3'" in error_line(capsys)
    assert files_below(tmp_path) == ["latency.json"]


@pytest.mark.slow
def test_a_search_that_runs_out_of_architectures_says_so(
    search_elastic: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (
        "--ranked-pool fixed --pool-size 3 --max-params 2.2e5 --recalibrate-batches 1 "
        "--val-batches 1"
    )
    assert search_elastic(tmp_path, *flags.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error = captured.err.splitlines()[-1]
    assert "error: Only 0 of 2 architectures found: a fixed pool of 3" in error
    assert "Of random architectures params from 0 to 2.2e+05 holds for" in error
    assert len(rows(tmp_path)) == 3


def test_an_impossible_constraint_on_a_huge_space_is_refused_in_seconds(
    search_mobilenetv3: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.process_time()
    assert search_mobilenetv3(tmp_path / "run", "--max-macs", "1e8") == 2
    assert time.process_time() - started < 15
    error = error_line(capsys)
    assert "No architecture of 'mobilenetv3' has macs in [0, 100,000,000]" in error
    assert "macs from 121,278,672 to 566,170,656" in error
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--algorithm weaknas --predictor gcn --encoding one-hot", "leave encoding 'one-hot' out"),
        (
            "--algorithm weaknas --predictor gaussian_process --encoding integers",
            "leave encoding 'integers' out",
        ),
    ],
)
def test_a_predictor_that_cannot_be_fitted_is_refused_before_any_trial(
    flags: str,
    message: str,
    search_mobilenetv3: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search_mobilenetv3(tmp_path / "run", *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


def test_a_constraint_that_next_to_nothing_satisfies_is_named(
    search_mobilenetv3: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The largest architecture exists, but no second one is found beside it."""
    monkeypatch.setattr("search.algorithms.base.MAX_DRAWS", 10_000)
    flags = ["--min-macs", "566e6", "--max-params", "1e7"]
    assert search_mobilenetv3(tmp_path / "run", *flags) == 2
    error = error_line(capsys)
    assert "Found 0 of 5 architectures in 10,000 random draws" in error
    assert "macs from 5.66e+08 to inf holds for 0.00% (they have" in error
    assert "params from 0 to 1e+07 holds for 100.00%" in error
    assert files_below(tmp_path) == []


def test_what_was_found_is_looked_up_in_another_column(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--algorithm", "weaknas", "--predictor", "gaussian_process", "--num-initial", "20"]
    assert search_table(tmp_path / "a", "--test-column", "other", *flags) == 0
    block = json.loads(capsys.readouterr().out)
    scores = [score for (score,) in rows(tmp_path / "a", "score") if score is not None]
    tested = block["tested"]
    assert (tested["column"], tested["best_trial"]) == ("other", -max(scores))
    assert tested["best_tested"] == -min(scores)
    predicted = SPACE.parse(block["predicted_best"]["architecture"])
    assert tested["predicted_best"] in (None, -value_of(predicted))
    assert search_table(tmp_path / "b", *flags) == 0
    assert "tested" not in json.loads(capsys.readouterr().out)
    assert rows(tmp_path / "b", "arch, score") == rows(tmp_path / "a", "arch, score")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--test-column", "accuracy"], "--test-column accuracy is what the search sees"),
        (["--test-column", "none"], "has no column 'none'"),
        (
            ["--test-column", "other", "--estimator", "tse", "--supernet", "last.pt"],
            "--test-column is of --table",
        ),
    ],
)
def test_columns_that_cannot_be_tested_by_are_refused(
    search_table: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    assert search_table(tmp_path / "run", *flags) == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "run" / "trials.db").exists()


@pytest.mark.usefixtures("searches_all")
def test_failed_trials_are_survived_and_counted(
    search_table: Command, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_table(tmp_path) == 0
    block = json.loads(capsys.readouterr().out)
    errors = [error for (error,) in rows(tmp_path, "error")]
    failed = [error for error in errors if error is not None]
    assert set(failed) == {"The table does not list this architecture."}
    assert 0 < block["failed"] == len(failed) < NUM_TABLE_TRIALS == len(errors)
    estimator = TabularEstimator.from_csv(table, SPACE, value_column="accuracy")
    expected = [
        estimator.values[arch]
        for arch in (SPACE.parse(text) for (text,) in rows(tmp_path, "arch"))
        if arch in estimator.values
    ]
    assert block["best"][0]["score"] == max(expected)
    assert block["best"][0]["metrics"] == {"accuracy": max(expected)}


@pytest.mark.usefixtures("searches_all")
def test_constraints_hold_for_every_trial(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_table(tmp_path, "--max-params", "3e5", "--min-macs", "2e7") == 0
    for trial in json.loads(capsys.readouterr().out)["best"]:
        assert trial["cost"]["params"] <= 3e5
        assert trial["cost"]["macs"] >= 2e7


def test_a_search_whose_trials_all_fail_says_so(
    search_table: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(self: TabularEstimator, arch: Architecture) -> Any:
        raise EstimateError("The loss is nan.")

    monkeypatch.setattr(TabularEstimator, "estimate", fail)
    assert search_table(tmp_path, "--num-trials", "3") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    ((last,),) = rows(tmp_path, "arch")[-1:]
    error = f"supernet-search: error: All 3 trials failed; the last, {last}, with: The loss is nan."
    assert captured.err.splitlines()[-1] == error
    assert len(rows(tmp_path)) == 3
    assert (tmp_path / "trials.csv").read_text().count("The loss is nan.") == 3
    assert not (tmp_path / "best.json").exists()


def interrupt_at(
    monkeypatch: pytest.MonkeyPatch, kind: type, number: int, action: Callable[[], None]
) -> None:
    """Runs ``action`` in place of the ``number``-th measurement from now (from 1)."""
    real, count = kind.estimate, 0

    def estimate(self: Any, arch: Architecture) -> Any:
        nonlocal count
        count += 1
        if count == number:
            action()
        return real(self, arch)

    monkeypatch.setattr(kind, "estimate", estimate)


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("action", [press_ctrl_c, sigterm])
def test_an_interrupted_search_says_how_to_continue(
    action: Callable[[], None],
    search_table: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        interrupt_at(patch, TabularEstimator, 13, action)
        assert search_table(tmp_path) == 130
    assert json.loads(capsys.readouterr().out) == {
        "status": "interrupted",
        "trials": 12,
        "continue": "the same command again",
    }
    assert signal.getsignal(signal.SIGTERM) == before
    assert sum(told for (told,) in rows(tmp_path, "is_told")) == 12
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 1 + 12
    assert not (tmp_path / "best.json").exists()
    assert search_table(tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"


@pytest.mark.parametrize(
    ("flags", "num_trials", "interruptions"),
    [
        ("", NUM_TABLE_TRIALS, (1, 5, 4, 1, 7)),  # of which some end a batch
        (
            "--algorithm weaknas --num-initial 4 --batch-size 3 --num-trials 10 --max-params 8e4",
            10,
            (3, 4),
        ),
        (
            "--algorithm evolution --num-initial 24 --batch-size 6 --num-parents 2 "
            "--mutation-prob 0.3 --num-trials 40",
            40,
            (20, 6, 3, 7),
        ),
        (
            "--algorithm regularized-evolution --population-size 24 --tournament-size 2 "
            "--num-trials 32",
            32,
            (26, 3),
        ),
    ],
    ids=["random", "weaknas", "evolution", "regularized-evolution"],
)
def test_interrupted_at_any_trial_equals_uninterrupted(
    flags: str,
    num_trials: int,
    interruptions: tuple[int, ...],
    search_table: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert search_table(tmp_path / "whole", *flags.split()) == 0
    expected = rows(tmp_path / "whole")
    assert len(expected) == num_trials
    output = tmp_path / "parts"
    for number in interruptions:
        with monkeypatch.context() as patch:
            interrupt_at(patch, TabularEstimator, number, press_ctrl_c)
            assert search_table(output, *flags.split()) == 130
    assert search_table(output, *flags.split()) == 0
    assert rows(output) == expected
    best = [json.loads((o / "best.json").read_text()) for o in (tmp_path / "whole", output)]
    for each in best:
        assert each["verdict"].pop("next")  # names the folder
    assert best[0] == best[1]


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("random", {"batch_size": 10}),
        (
            "evolution",
            {"batch_size": 50, "num_initial": 50, "num_parents": 10, "mutation_prob": 0.1},
        ),
        ("regularized-evolution", {"batch_size": 1, "population_size": 50, "tournament_size": 10}),
    ],
)
def test_the_batch_size_is_the_algorithms_own(
    algorithm: str, settings: dict[str, Any], search_table: Command, tmp_path: Path
) -> None:
    flags = ["--algorithm", algorithm, "--num-trials", "55"]
    assert search_table(tmp_path, *flags) == 0
    assert header_of(tmp_path)["algorithm"] == {"name": algorithm, **settings}
    assert search_table(tmp_path, *flags, "--batch-size", "7") == 2
    assert search_table(tmp_path / "7", *flags, "--batch-size", "7") == 0
    assert header_of(tmp_path / "7")["algorithm"]["batch_size"] == 7


@pytest.mark.parametrize(
    ("algorithm", "flags"),
    [
        ("weaknas", "--sampling linear-decay --keep top --top-n 50 --exclude-before-top"),
        ("weaknas", "--acquisition ei --num-members 3 --keep none"),
        ("neural-predictor", "--two-stage --threshold-quantile 0.6"),
        ("bo", "--rand-prob 0.3"),
        ("proxybo", "--predictor-inputs macs params --tau0 0.1 --rand-prob 0.2"),
        ("tpe", "--gamma 0.3 --num-candidates 5"),
        ("local-search", ""),
        ("structural-bo", ""),
    ],
)
def test_options_reach_the_algorithm(
    algorithm: str, flags: str, search_table: Command, tmp_path: Path
) -> None:
    if algorithm in ("weaknas", "neural-predictor"):
        flags += " --predictor gradient_boosting"
    size = "--num-initial 12 --num-trials 14 --batch-size 2"  # of the first 12, four succeed
    given = ["--algorithm", algorithm, *flags.split(), *size.split()]
    assert search_table(tmp_path, *given, "--report") == 0
    assert (tmp_path / "report.html").exists()  # so it could be built again
    header = header_of(tmp_path)["algorithm"]
    assert (header["name"], header["num_initial"], header["batch_size"]) == (algorithm, 12, 2)
    chosen = vars(search.cli.options.build_parser().parse_args(flags.split()))
    names = [flag[2:].replace("-", "_") for flag in flags.split() if flag.startswith("--")]
    assert {name: header[name] for name in names} == {name: chosen[name] for name in names}


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("nasnet", "--algorithm regularized-evolution --population-size 5 --tournament-size 2"),
        ("darts", "--algorithm evolution --num-initial 5 --batch-size 6"),
        (
            "darts",
            "--algorithm weaknas --encoding path --predictor gradient_boosting --num-initial 5 "
            "--pool-size 40 "
            "--batch-size 3",
        ),
    ],
)
@pytest.mark.usefixtures("searches_all")
def test_genotypes_are_searched(
    name: str,
    flags: str,
    search_table: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = create_space(name)
    with open(tmp_path / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "accuracy"])
        writer.writerow([space.format(space.sample(np.random.default_rng(0))), 1.0])

    def estimate(self: TabularEstimator, arch: Architecture) -> Estimate:
        return Estimate(float(sum(arch.choices)), {}, seconds=0.0)

    monkeypatch.setattr(TabularEstimator, "estimate", estimate)
    given = ["--space", name, "--table", str(tmp_path / "table.csv"), "--algorithm", "weaknas"]
    few = ["--num-trials", "11", "--max-params", "4.5e5"]
    assert search_table(tmp_path / "run", *given, *few, *flags.split()) == 0
    block = json.loads(capsys.readouterr().out)
    assert (block["space"], block["trials"], block["failed"]) == (name, 11, 0)
    for trial in block["best"]:
        assert space.format(space.parse(trial["architecture"])) == trial["architecture"]
        assert trial["cost"]["params"] <= 4.5e5


@pytest.mark.slow
def test_an_interrupted_tse_search_equals_an_uninterrupted_one(
    search_tse: Command, tmp_path: Path, no_plots: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = "--num-trials 5 --max-params 6000".split()  # a small part of the space ranks faster
    assert search_tse(tmp_path / "whole", *few) == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, TSEEstimator, 5, press_ctrl_c)  # the second that WeakNAS chose
        assert search_tse(tmp_path / "parts", *few) == 130
    assert search_tse(tmp_path / "parts", *few) == 0
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_finished_search_gives_its_result_again(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_table(tmp_path) == 0
    first, recorded = json.loads(capsys.readouterr().out), rows(tmp_path)
    assert search_table(tmp_path) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert rows(tmp_path) == recorded


def test_a_search_can_be_prolonged_but_not_shortened(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_table(tmp_path / "a", "--num-trials", "20") == 0
    assert search_table(tmp_path / "a") == 0
    assert search_table(tmp_path / "b") == 0
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    capsys.readouterr()
    assert search_table(tmp_path / "a", "--num-trials", "20") == 2
    assert "holds 30 trials already, more than num_trials=20" in error_line(capsys)


def test_one_random_trial_is_one_and_is_told_of_when_nothing_else_can_fail(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--algorithm", "tpe", "--num-trials", "3"]
    assert search_table(tmp_path, *flags, "--table-column", "absent") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ": error: " in line
    assert search_table(tmp_path, *flags) in (0, 2)  # 2: all trials failed
    said = "tpe begins with 1 random trial instead of "
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("algorithm", "option", "num_random"),
    [
        ("structural-bo", "num_initial", 2),
        ("weaknas", "num_initial", 2),
        ("neural-predictor", "num_initial", 2),
        ("evolution", "num_initial", 2),
        ("regularized-evolution", "population_size", 2),
        ("tpe", "num_initial", 2),
    ],
)
def test_few_trials_shrink_the_random_ones_of_the_defaults(
    algorithm: str,
    option: str,
    num_random: int,
    search_table: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--algorithm", algorithm, "--seed", "2"]
    assert search_table(tmp_path, *flags, "--num-trials", "5") in (0, 2)  # 2: all trials failed
    assert f"{algorithm} begins with {num_random} random trials instead" in capsys.readouterr().err
    settings = read_header(tmp_path / "trials.db")["algorithm"]
    assert settings[option] == num_random
    if algorithm == "regularized-evolution":
        assert settings["tournament_size"] == num_random
    # the same again, and more of the same
    for num_trials in ("5", "7"):
        assert search_table(tmp_path, *flags, "--num-trials", num_trials) in (0, 2)
        assert "was written" not in capsys.readouterr().err
        assert read_header(tmp_path / "trials.db")["algorithm"] == settings
    assert len(read_trials(tmp_path / "trials.db", SPACE)) == 7


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "1"], "seed was 0 and is now 1"),
        (["--batch-size", "5"], "algorithm batch_size was 10 and is now 5"),
        (["--algorithm", "weaknas"], "algorithm name was random and is now weaknas"),
        (["--max-params", "5e5"], "constraints was []"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(
    flags: list[str],
    message: str,
    search_table: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search_table(tmp_path) == 0
    capsys.readouterr()
    before = (tmp_path / "args.json").read_bytes()
    assert search_table(tmp_path, *flags) == 2
    error = error_line(capsys)
    assert "was written with other settings" in error
    assert message in error
    assert (tmp_path / "args.json").read_bytes() == before


def test_another_supernet_or_estimator_in_the_same_folder_is_refused(
    search_tse: Command, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--num-trials", "2", "--num-initial", "1"]
    assert search_tse(tmp_path / "run", *flags) == 0
    capsys.readouterr()
    for changed in (["--tse-batches", "3"], ["--tse-lr", "0.1"], ["--tse-batch-size", "16"]):
        assert search_tse(tmp_path / "run", *flags, *changed) == 2
        assert "settings: estimator " in error_line(capsys)
    stored = torch.load(checkpoint, weights_only=True)
    stored["state_dict"]["skeleton.classifier.bias"][0] += 1
    torch.save(stored, tmp_path / "other.pt")
    assert search_tse(tmp_path / "run", *flags, "--supernet", str(tmp_path / "other.pt")) == 2
    assert "supernet was" in error_line(capsys)


def test_the_predicted_best_is_exported_where_that_is_asked_for(
    search_tse: Command, tmp_path: Path, no_plots: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[tuple[Architecture, Any]] = []

    def export(supernet: Any, arch: Architecture, *args: Any, **settings: Any) -> dict[str, Any]:
        exported.append((arch, settings["provenance"]))
        return {}

    monkeypatch.setattr(supernets.export.subnet, "export_subnet", export)
    monkeypatch.setattr(supernets.export.subnet, "export_summary", lambda record: record)
    output = tmp_path / "run"
    for choice in ("measured", "predicted"):  # the second only goes on from the first
        flags = ("--export", str(tmp_path / choice), "--export-choice", choice)
        assert search_tse(output, *flags) == 0
        best = json.loads((output / "best.json").read_text())
        arch, provenance = exported.pop()
        found = best["export_choice"]
        assert found["choice"] == provenance["choice"] == choice
        assert found["architecture"] == SPACE.format(arch)
        if choice == "measured":
            assert provenance["trial"]["architecture"] == best["best"][0]["architecture"]
        else:
            assert arch == SPACE.parse(best["predicted_best"]["architecture"])
            told = {text for (text,) in rows(output, "arch")}
            assert found["is_measured"] == (SPACE.format(arch) in told)
            assert (found["score"] is not None) == found["is_measured"]


def test_the_verdict_of_a_search_is_a_line_and_a_field(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_table(tmp_path / "run") == 0
    captured = capsys.readouterr()
    verdict = json.loads(captured.out)["verdict"]
    assert verdict["text"] in captured.err
    assert verdict["truth"]["rank"] >= 1
    assert verdict["macs"]["num_trials"] > 1
    assert verdict["next"][0].startswith("supernet-retrain --arch")


def test_another_table_of_the_same_name_is_refused_and_the_same_elsewhere_is_not(
    search_table: Command, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert search_table(output) == 0
    same = tmp_path / "moved.csv.gz"
    same.write_bytes(gzip.compress(table.read_bytes()))
    assert search_table(output, "--table", str(same)) == 0
    other = tmp_path / table.name
    other.write_text(table.read_text().replace(",5", ",6"))
    capsys.readouterr()
    assert search_table(output, "--table", str(other)) == 2
    assert "was written with other settings" in error_line(capsys)


def test_a_store_of_before_digests_goes_on_and_says_what_was_not_checked(
    search_table: Command, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert search_table(output) == 0
    header = header_of(output)
    del header["estimator"]["table_digest"]
    with sqlite3.connect(output / "trials.db") as connection:
        text = json.dumps(header["estimator"], sort_keys=True)
        connection.execute("UPDATE header SET value = ? WHERE key = 'estimator'", [text])
    connection.close()
    capsys.readouterr()
    more = ("--num-trials", str(NUM_TABLE_TRIALS + 5))
    assert search_table(output, *more) == 0
    assert "does not say what was in its table" in capsys.readouterr().err
    assert "table_digest" in header_of(output)["estimator"]
    assert search_table(output, *more) == 0
    assert "does not say" not in capsys.readouterr().err


def test_a_search_by_test_accuracy_is_said_in_one_line(
    search_table: Command, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "test.csv"
    path.write_text(table.read_text().replace("accuracy", "cifar10_test_acc", 1))
    flags = ("--table", str(path), "--table-column", "cifar10_test_acc")
    assert search_table(tmp_path / "tested", *flags) == 0
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if "by test accuracy" in line]
    assert len(said) == 1 and "(cifar10_test_acc)" in said[0]
    assert search_table(tmp_path / "plain") == 0
    assert "by test accuracy" not in capsys.readouterr().err


def test_two_searches_cannot_share_a_folder(
    search_table: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("estimators.trials.store_file._LOCK_TIMEOUT", 0.1)
    assert search_table(tmp_path) == 0
    capsys.readouterr()
    connection = sqlite3.connect(tmp_path / "trials.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        assert search_table(tmp_path) == 2
        assert "is in use by another process" in error_line(capsys)
    finally:
        connection.close()


def test_a_file_that_is_no_store_is_refused(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials.db").write_bytes(b"no database, but long enough to be read" * 30)
    assert search_table(tmp_path) == 2
    assert "cannot be read as a store of trials: file is not a database" in error_line(capsys)
    assert TrialStore.__name__ and files_below(tmp_path) == ["trials.db"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--num-trials 15626", "num_trials is 15626, but the pool of space 'nasbench201' has only"),
        ("--table none.csv", "There is no table at none.csv."),
        ("--table-column nope", "has no column 'nope'; it has arch_str, accuracy, other."),
        ("--arch-column nope", "has no column 'nope'"),
        (
            "--predictor mlp",
            "--predictor is for --algorithm weaknas or neural-predictor, not random.",
        ),
        (
            "--num-initial 5",
            "--num-initial is for --algorithm weaknas, structural-bo, neural-predictor, bo, ",
        ),
        ("--top-n 5", "--top-n is for --algorithm weaknas, not random."),
        ("--exclude-before-top", "--exclude-before-top is for --algorithm weaknas, not random."),
        ("--num-parents 5", "--num-parents is for --algorithm evolution, not random."),
        ("--mutation-prob 0.2", "--mutation-prob is for --algorithm evolution, not random."),
        (
            "--population-size 5",
            "--population-size is for --algorithm regularized-evolution, not random.",
        ),
        (
            "--tournament-size 5",
            "--tournament-size is for --algorithm regularized-evolution, not random.",
        ),
        (
            "--algorithm regularized-evolution --tournament-size 51",
            "tournament_size must be from 1 to population_size=15, got 51.",
        ),
        ("--algorithm weaknas --encoding path", "has no encoding 'path'; choose from one-hot, in"),
        ("--algorithm weaknas --ranked-pool fixed", "small enough to be ranked whole"),
        (
            "--algorithm bo --ranked-pool fresh",
            "--ranked-pool is for spaces too large to rank whole, and the pool of space",
        ),
        (
            "--algorithm structural-bo --pool-size 9999",
            "--pool-size is for spaces too large to ran",
        ),
        (
            "--algorithm weaknas --num-members 5",
            "num_members has no effect unless acquisition is ei",
        ),
        ("--algorithm neural-predictor --threshold-quantile 0.4", "no effect unless two_stage is"),
        (
            "--algorithm evolution --num-initial 50",
            "evolution begins with 50 random trials, which would be all of --num-trials 30; ask fo",
        ),
        ("--algorithm tpe --num-initial 30", "tpe begins with 30 random trials, which would be a"),
        (
            "--encoding integers",
            "--encoding is for --algorithm weaknas, neural-predictor, bo or proxybo, n",
        ),
        (
            "--ranked-pool fresh",
            "--ranked-pool is for --algorithm weaknas, neural-predictor, bo or proxybo, not",
        ),
        (
            "--resolution 160",
            "--resolution 160 does not apply: Space 'nasbench201' has no decision 'resolution'",
        ),
        (
            "--tse-batches 5",
            "--tse-batches is for --estimator tse, tse_e, tse_ema, ",
        ),
        ("--tse-lr 0.1", "--tse-lr is for --estimator tse"),
        ("--recalibrate-batches 2", "--recalibrate-batches is for --estimator val_acc"),
        ("--val-batches 2", "--val-batches is for --estimator val_acc"),
        ("--amp", "--estimator table computes nothing; leave --amp out."),
        ("--data-dir x", "--data-dir needs --supernet."),
        ("--export x", "--export needs --supernet."),
        ("--num-workers 2", "--num-workers needs --supernet."),  # even if that is the default
        ("--device cpu", "--device needs --supernet."),
        ("--estimator tse", "--estimator tse needs --supernet."),
        ("--estimator val_acc", "--estimator val_acc needs --supernet."),
        ("--max-latency 5", "--max-latency needs --latency-table, from supernet-latency."),
        ("--min-latency 5", "--min-latency needs --latency-table"),
        ("--latency-table none.json", "Latency tables are for space 'mobilenetv3'"),
        ("--min-params 5 --max-params 4", "The minimum of params (5) must not exceed"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    flags: str,
    message: str,
    search_table: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search_table(tmp_path / "run", *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--export-choice predicted", "--export-choice is of --export; give that too"),
        (
            "--export-choice predicted --export x --algorithm random",
            "--export-choice predicted needs a predictor, which --algorithm random does not",
        ),
        ("--table x.csv", "--table is for --estimator table, not tse"),
        ("--estimator val_acc", "--tse-batch-size is for --estimator tse"),
        ("--data-dir x", "digits come with scikit-learn; leave out --data-dir x."),
        ("--device tpu", "Unknown device 'tpu'"),
    ],
)
def test_bad_options_of_a_supernet_search_are_one_line(
    flags: str,
    message: str,
    search_tse: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search_tse(tmp_path / "run", *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--output is required"),
        (["--output", "x", "--estimator", "table"], "--estimator table needs --table."),
        (
            ["--output", "x", "--estimator", "table", "--table", "t"],
            "--table needs --table-column.",
        ),
        (
            ["--output", "x", "--estimator", "table", "--table", "t", "--table-column", "c"],
            "--estimator table needs --space (or --supernet).",
        ),
        (["--output", "x"], "--estimator tse needs --supernet."),
    ],
)
def test_what_is_needed_is_named(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("metric", ["params", "macs"])
def test_an_impossible_constraint_names_the_feasible_range_in_seconds(
    metric: str, search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.process_time()
    assert search_table(tmp_path / "run", f"--max-{metric}", "10") == 2
    assert time.process_time() - started < 5
    error = error_line(capsys)
    assert f"No architecture of 'nasbench201' has {metric} in [0, 10]" in error
    low, high = {"params": ("73,306", "1,531,546"), "macs": ("7,78", "220,119")}[metric]
    assert f"{metric} from {low}" in error and f" to {high}" in error
    assert files_below(tmp_path) == []


@pytest.mark.usefixtures("searches_all")
def test_more_trials_than_feasible_architectures_are_refused(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--max-params", "73306", "--num-trials", "1984"]  # cells without a live convolution
    assert search_table(tmp_path / "run", *flags) == 2
    assert "num_trials is 1984, but space 'nasbench201' has only 1983" in error_line(capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("arch_str,accuracy\n", "holds no value in column 'accuracy'"),
        ("", "is empty; expected a CSV table"),
        ("arch_str,accuracy\n|x|,3\n", "'|x|' is not a NAS-Bench-201 architecture"),
        ("arch_str,accuracy\n{arch},many\n", "many"),
        ("arch_str,accuracy\n{arch},nan\n", "not a finite number"),
        ("arch_str,accuracy\n{arch},1\n{arch},2\n", "a second time"),
    ],
)
def test_bad_tables_are_refused(
    content: str,
    message: str,
    search_table: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content.format(arch=SPACE.format(SPACE.architecture([3] * 6))))
    assert search_table(tmp_path / "run", "--table", str(path)) == 2
    error = error_line(capsys)
    assert message in error
    assert str(path) in error
    assert files_below(tmp_path) == ["bad.csv"]


def test_a_bad_supernet_is_refused(
    search_tse: Command, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.pt"
    stored = torch.load(checkpoint, weights_only=True)

    def refusal(*flags: str) -> str:
        assert search_tse(tmp_path / "run", "--supernet", str(bad), *flags) == 2
        return error_line(capsys)

    assert "There is no checkpoint" in refusal()
    bad.write_bytes(checkpoint.read_bytes()[:5000])
    assert "truncated" in refusal()
    torch.save({"a": 1}, bad)
    assert "is not a supernet checkpoint" in refusal()
    torch.save(stored | {"space": "elsewhere"}, bad)
    assert "space 'elsewhere', which is unknown here; known are nasbench201" in refusal()
    torch.save(stored | {"space": "mobilenetv3"}, bad)
    assert "not 'nasbench201'; leave --space out" in refusal("--space", "nasbench201")
    torch.save({k: v for k, v in stored.items() if k not in ("data", "train_config")}, bad)
    assert "without its training and data settings" in refusal()
    stored["data"]["split_digest"] = "0" * 64
    torch.save(stored, bad)
    assert "The images of digits are not those" in refusal()
    assert files_below(tmp_path) == ["bad.pt"]


def write_images(root: Path, *classes: str) -> Path:
    rng = np.random.default_rng(0)
    for name, i in itertools.product(classes, range(6)):
        (root / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def test_a_folder_with_other_classes_or_images_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = write_images(tmp_path / "images", "cat", "dog")
    flags = ["--dataset", "folder", "--val-fraction", "0.25", "--data-dir", str(data_dir)]
    output = tmp_path / "supernet"
    assert supernets.cli.train.main([*TINY.split(), *flags, "--output", str(output)]) == 0
    capsys.readouterr()
    given = ["--supernet", str(output / "last.pt"), "--output", str(tmp_path / "run"), *TSE]
    for classes, message in (
        (("cat", "dog", "emu"), "was trained on 2 classes (cat, dog), "),
        (("ape", "bee"), "has 2 (ape, bee); pass the --data-dir it was trained on."),
    ):
        other = write_images(tmp_path / "-".join(classes), *classes)
        assert main([*given, "--data-dir", str(other)]) == 2
        assert message in error_line(capsys)
    other_image = 255 - np.asarray(Image.open(data_dir / "cat" / "5.png"))
    Image.fromarray(other_image).save(data_dir / "cat" / "6.png")
    assert main(given) == 2
    assert "are not those" in error_line(capsys)
    (data_dir / "cat" / "6.png").unlink()
    data_dir.rename(tmp_path / "moved")
    assert main(given) == 2
    assert f"Image folder {data_dir} does not exist; pass --data-dir" in error_line(capsys)
    assert not (tmp_path / "run" / "trials.db").exists()
    few = ["--num-trials", "2", "--algorithm", "random"]
    assert main([*given, "--data-dir", str(tmp_path / "moved"), *few]) == 0


def test_an_output_that_cannot_be_written_is_refused(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        assert search_table(output) == 2
        assert "Cannot write to --output" in error_line(capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_is_refused(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    try:
        assert search_table(tmp_path / "run") == 2
        assert "Cannot write to --output" in error_line(capsys)
    finally:
        tmp_path.chmod(0o700)


def test_an_export_that_would_overwrite_something_is_refused_first(
    search_tse: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("x")
    assert search_tse(tmp_path / "run", "--export", str(tmp_path / "thesis")) == 2
    assert "exists and is no exported subnet" in error_line(capsys)
    assert files_below(tmp_path) == ["thesis/chapter1.txt"]
    assert search_tse(tmp_path / "run", "--export", str(tmp_path / "run")) == 2
    assert "is --output, which holds the search; name another folder" in error_line(capsys)
    assert search_tse(tmp_path / "run", "--overwrite") == 2
    assert "--overwrite is about the export; pass --export" in error_line(capsys)
    assert files_below(tmp_path) == ["thesis/chapter1.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials: 3\n", "unknown option 'trials'"),
        ("algorithm: best\n", "argument --algorithm: Unknown algorithm 'best'; choose from"),
    ],
)
def test_bad_configs_are_refused(
    text: str,
    message: str,
    search_table: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "search.yaml"
    config.write_text(text)
    with pytest.raises(SystemExit) as caught:
        search_table(tmp_path / "run", "--config", str(config))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert files_below(tmp_path) == ["search.yaml"]


def test_a_config_is_a_search_and_flags_beat_it(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "search.yaml"
    config.write_text("batch-size: 5\nnum_trials: 7\nseed: 4\n")
    assert search_table(tmp_path / "run", "--config", str(config), "--num-trials", "40") == 0
    args = json.loads((tmp_path / "run" / "args.json").read_text())["args"]
    assert (args["batch_size"], args["num_trials"], args["seed"]) == (5, 40, 4)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for action in search.cli.options.build_parser()._actions:
        assert action.option_strings[-1] in text
        assert action.help


@pytest.mark.slow
def test_predictors_see_cheap_scores_that_are_kept(
    search_tse: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    # of a space this size every cell is ranked; so few seconds allow for costs only
    assert search_tse(output, "--predictor-inputs", "macs", "params") == 0
    plain = tmp_path / "plain"
    assert search_tse(plain) == 0
    assert json.loads((output / "args.json").read_text())["args"]["predictor_inputs"] == [
        "macs",
        "params",
    ]
    assert told(output)[:3] == told(plain)[:3]
    assert told(output) != told(plain)
    capsys.readouterr()
    assert search_tse(output, "--predictor-inputs", "macs") == 2
    assert "settings: algorithm " in error_line(capsys)


def told(output: Path) -> list[str]:
    with open(output / "trials.csv", newline="") as file:
        return [row["arch"] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_proxies_are_inputs_of_predictors_in_a_large_space(
    search_elastic: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    flags = ["--predictor-inputs", "snip", "macs", "--num-trials", "4", "--batch-size", "1"]
    quick = ["--pool-size", "4", "--val-batches", "1", "--recalibrate-batches", "1"]
    assert search_elastic(output, *flags, *quick) == 0
    with sqlite3.connect(output / "cheap_scores.db") as connection:
        rows = connection.execute("SELECT arch, value FROM scores").fetchall()
    assert len(rows) >= 3 + 4  # the random trials and the pool
    assert all(json.loads(value)["snip"] > 0 for _, value in rows)


def test_proxies_need_a_supernet(
    search_table: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--algorithm", "weaknas", "--predictor-inputs", "macs", "snip"]
    assert search_table(tmp_path / "run", *flags) == 2
    assert "--predictor-inputs snip need images and so --supernet" in error_line(capsys)
    assert search_table(tmp_path / "run", "--predictor-inputs", "macs") == 2
    assert (
        "--predictor-inputs is for --algorithm weaknas, neural-predictor or proxybo, not random."
        in error_line(capsys)
    )


@pytest.mark.slow
def test_a_raced_search_finds_the_same_best_and_goes_on_with_the_race(
    checkpoint: Path, tmp_path: Path, no_plots: None
) -> None:

    def run(output: Path, num_trials: int, *flags: str) -> list[tuple[str, float]]:
        given = ["--supernet", str(checkpoint), "--algorithm", "random", "--output", str(output)]
        size = ["--num-trials", str(num_trials), "--batch-size", "4"]
        budget = "--tse-batches 20 --tse-batch-size 8 --tse-lr 0.5".split()  # sums that differ
        assert main([*given, *size, *budget, *flags]) == 0
        found = json.loads((output / "best.json").read_text())["best"][:2]
        return [(each["architecture"], each["score"]) for each in found]

    raced = tmp_path / "raced"
    assert run(raced, 9, "--race-for", "2") == run(tmp_path / "whole", 9)
    with open(raced / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    stopped = [row for row in rows if row["tse_at_least"]]
    assert stopped
    assert all(1 <= float(row["num_steps"]) < 20 and not row["tse"] for row in stopped)
    parts = tmp_path / "parts"
    run(parts, 4, "--race-for", "2")
    run(parts, 9, "--race-for", "2")
    with open(parts / "trials.csv", newline="") as file:
        again = list(csv.DictReader(file))
    assert [(row["arch"], row["score"], row["num_steps"]) for row in again] == [
        (row["arch"], row["score"], row["num_steps"]) for row in rows
    ]
