"""A disk that is full: one line that says what is safe, and the same command goes on."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import estimators.cli.rank
import search.cli.search
import search.runs.results
import supernets.cli.export
import supernets.cli.retrain
import supernets.cli.train
from estimators.trials.store import TrialStore
from supernets.runtime import folder_lock
from supernets.runtime.folder_lock import FolderLock
from supernets.runtime.outputs import Outputs
from supernets.spaces import NASBench201Space

SPACE = NASBench201Space()
TINY = (
    "--space nasbench201 --dataset digits --channels 2 --cells-per-stage 1 --epochs 1 "
    "--batch-size 512 --num-workers 0 --device cpu --threads 1"
).split()
ARCH = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|none~2|"

DiskOf = Callable[[int], AbstractContextManager[None]]


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if ": error: " in line]
    assert "Traceback" not in captured.err
    return line


def hidden_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("supernet")
    assert supernets.cli.train.main([*TINY, "--output", str(output)]) == 0
    return output


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path, rng = tmp_path / "table.csv", np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "accuracy"])
        writer.writerows((SPACE.format(arch), rng.random()) for arch in SPACE.enumerate())
    return path


@pytest.mark.slow
def test_a_training_names_its_checkpoint_the_step_it_holds_and_how_to_go_on(
    disk_of: DiskOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*TINY, "--output", str(tmp_path / "run")]
    last = tmp_path / "run" / "last.pt"
    with disk_of(20_000):
        assert supernets.cli.train.main(command) == 2
    line = error_line(capsys)
    assert f"{last}: File too large. There is no checkpoint in {tmp_path / 'run'}." in line
    assert line.endswith("go on with the same command again.")
    assert not hidden_files(tmp_path)
    assert supernets.cli.train.main(command) == 0
    capsys.readouterr()
    before = last.read_bytes()
    with disk_of(20_000):
        assert supernets.cli.train.main([*command, "--resume"]) in (
            0,
            2,
        )  # finished: little to write
    assert last.read_bytes() == before


@pytest.mark.slow
def test_a_training_whose_later_checkpoint_fails_names_the_step_of_the_one_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def fails_at_the_second_checkpoint(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append(name)
        if sum(".last.pt." in each for each in synced) == 2 and ".last.pt." in name:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_at_the_second_checkpoint)
    flags = [*TINY, "--epochs", "2", "--output", str(tmp_path)]
    assert supernets.cli.train.main(flags) == 2
    line = error_line(capsys)
    assert f"last.pt: No space left on device. {tmp_path / 'last.pt'} holds step 3." in line
    assert line.endswith("go on with the same command with --resume.")
    assert supernets.cli.train.main([*flags, "--resume"]) == 0


def test_a_search_counts_the_trials_that_are_safe_and_goes_on(
    disk_of: DiskOf,
    tmp_path: Path,
    table: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search.runs.results, "plot_trials", lambda *args, **settings: None)
    command = [
        *("--space", "nasbench201", "--estimator", "table", "--table", str(table)),
        *("--table-column", "accuracy", "--algorithm", "random", "--num-trials", "300"),
        *("--output", str(tmp_path / "run")),
    ]
    with disk_of(60_000):
        assert search.cli.search.main(command) == 2
    line = error_line(capsys)
    assert f"{tmp_path / 'run' / 'trials.db'}: " in line
    assert "What was measured is safe in" in line and "run the same command again" in line
    num_safe = int(line.split(" trials.")[0].split()[-1])
    assert num_safe > 0
    assert search.cli.search.main(command) == 0
    assert '"trials": 300' in capsys.readouterr().out


def test_an_error_at_the_end_of_a_search_does_not_hide_the_first(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **settings: object) -> None:
        raise RuntimeError("the first error")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(search.runs.search, "run_search", fail)
    monkeypatch.setattr(TrialStore, "write_csv", full)
    command = [
        *("--space", "nasbench201", "--estimator", "table", "--table", str(table)),
        *("--table-column", "accuracy", "--algorithm", "random", "--num-trials", "3"),
        *("--output", str(tmp_path / "run")),
    ]
    with pytest.raises(RuntimeError, match="the first error"):
        search.cli.search.main(command)


def commands(trained: Path, output: Path) -> dict[str, Callable[[], int]]:
    """A tiny job of each command that writes a folder."""
    to = ["--output", str(output)]
    supernet = ["--supernet", str(trained / "last.pt")]
    machine = "--num-workers 0 --device cpu --threads 1".split()
    data = ["--dataset", "digits", "--batch-size", "512", *machine]
    rank = "--estimators val_acc --truth-epochs 1 --num-archs 10 --top-k 2".split()
    gradients = "--algorithm gdas --space nasbench201 --channels 2 --cells-per-stage 1".split()
    retrain = ["--space", "nasbench201", "--arch", ARCH, "--epochs", "1", "--channels", "2"]
    searched = "--estimator from_scratch --scratch-epochs 1 --algorithm random --num-trials 2"
    return {
        "train": lambda: supernets.cli.train.main([*TINY, *to]),
        "retrain": lambda: supernets.cli.retrain.main([*retrain, *data, *to]),
        "export": lambda: supernets.cli.export.main(
            [*supernet, "--arch", ARCH, "--formats", "pt2", *machine, *to]
        ),
        "rank": lambda: estimators.cli.rank.main([*supernet, *rank, *machine, *to]),
        "search": lambda: search.cli.search.main([*supernet, *searched.split(), *machine, *to]),
        "gradients": lambda: search.cli.search.main([*gradients, "--epochs", "1", *data, *to]),
    }


COMMANDS = ("train", "retrain", "export", "rank", "search", "gradients")


# NumPy 1 leaves a ZIP file that could not be written to be closed when it is collected
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function ZipFile.__del__")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_with_one_line(
    disk_of: DiskOf, command: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with disk_of(3_000):
        assert commands(trained, tmp_path / "out")[command]() == 2
    assert str(tmp_path / "out") in error_line(capsys)
    assert not hidden_files(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_preparation_that_is_interrupted_at_its_end_leaves_nothing(
    command: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(outputs: Outputs) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Outputs, "begin", interrupt)
    assert commands(trained, tmp_path / "a" / "b" / "out")[command]() == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_another_process_writes_is_refused(
    command: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder_lock, "WAIT", 0.0)
    output = tmp_path / "out"
    output.mkdir()
    lock = FolderLock.beside(output) if command == "export" else FolderLock(output)
    with lock:
        assert commands(trained, output)[command]() == 2
        assert f"{output} is in use: process {os.getpid()}" in error_line(capsys)
    assert list(output.iterdir()) == []
