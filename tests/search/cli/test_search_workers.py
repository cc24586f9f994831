"""supernet-search with workers: the same result, what is counted, and every refusal."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.cli.search import main

TSE = "--estimator tse --tse-batches 2 --tse-batch-size 16 --num-trials 8"
SCRATCH = "--estimator from_scratch --scratch-epochs 1 --scratch-batch-size 400 --num-trials 3"
BATCHES = "--algorithm weaknas --predictor gradient_boosting --num-initial 4 --batch-size 2"


@pytest.fixture
def run(checkpoint: Path, no_plots: None) -> Callable[..., int]:
    """Searches; draws no plots."""

    def run(output: Path, flags: str, measuring: str = TSE) -> int:
        given = ["--supernet", str(checkpoint), "--output", str(output)]
        return main([*given, *f"--threads 1 --no-amp {measuring} {flags}".split()])

    return run


def rows(output: Path) -> list[tuple[Any, ...]]:
    """The recorded trials, all but their seconds and order of completion."""
    columns = "number, arch, is_told, score, error, metrics, curves"
    with sqlite3.connect(output / "trials.db") as connection:
        found = connection.execute(f"SELECT {columns} FROM trials ORDER BY number").fetchall()
    connection.close()
    return found


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


@pytest.mark.slow
def test_workers_find_what_one_process_finds(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "here", BATCHES) == 0
    here = json.loads(capsys.readouterr().out)
    assert "lost_workers" not in here
    assert run(tmp_path / "workers", f"{BATCHES} --workers 2 --trial-timeout 600") == 0
    workers = json.loads(capsys.readouterr().out)
    assert workers["lost_workers"] == 0
    assert rows(tmp_path / "workers") == rows(tmp_path / "here")
    assert workers["best"] == here["best"]


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_a_candidate_that_takes_too_long_is_a_failed_trial(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--algorithm random --workers 1 --trial-timeout 1e-6 --num-trials 2"
    assert run(tmp_path, flags) == 2
    error = capsys.readouterr().err
    assert "All 2 trials failed; the last, |" in error
    assert "with: Stopped after 1e-06 s" in error


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_workers_train_from_scratch_and_keep_the_results(
    run: Callable[..., int], tmp_path: Path
) -> None:
    here, workers = tmp_path / "here", tmp_path / "workers"
    assert run(here, "--algorithm random", measuring=SCRATCH) == 0
    assert run(workers, "--algorithm random --workers 2", measuring=SCRATCH) == 0
    assert rows(workers) == rows(here)
    names = [sorted(path.name for path in (each / "scratch").iterdir()) for each in (here, workers)]
    assert names[0] == names[1] and len(names[0]) == 3 + 1  # and their settings


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--workers 2 --ray auto", "--workers is for this machine and --ray for a cluster"),
        ("--trial-timeout 5", "--trial-timeout stops a process that measures, and so needs"),
        ("--trials-per-gpu 2", "--trials-per-gpu is for --ray on GPUs; leave it out."),
        ("--workers 2 --trials-per-gpu 2", "--trials-per-gpu is for --ray on GPUs"),
        ("--workers 2 --race-for 3", "--race-for compares a candidate with all finished before"),
    ],
)
def test_options_that_do_not_go_together(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    message: str,
) -> None:
    assert run(tmp_path / "run", flags) == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_table_needs_no_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--estimator table --table t.csv --table-column acc --space nasbench201 --workers 2"
    assert main([*flags.split(), "--output", str(tmp_path / "run")]) == 2
    assert "--estimator table looks values up at once" in error_line(capsys)


def test_without_ray_it_says_what_to_install(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else real(name)
    )
    assert run(tmp_path / "run", "--ray auto") == 2
    assert "Ray is not installed; use pip install -e '.[ray]'" in error_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "There is no Ray cluster at '127.0.0.1:1' ([Errno"),
        ("ray://127.0.0.1:10001", "is of Ray's client, which cannot stop single tasks"),
    ],
)
def test_no_cluster(
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    address: str,
    message: str,
) -> None:
    pytest.importorskip("ray")
    assert run(tmp_path / "run", f"--ray {address}") == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "run").exists()
