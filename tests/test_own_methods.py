"""A score, a search, a predictor and paths in a file of one's own go through the commands."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import search.cli.search
import supernets.cli.train
from estimators import create_estimator
from estimators.testing import EstimatorContract
from estimators.trials.store import read_header
from search import ALGORITHMS
from search.testing import AlgorithmContract
from supernets import PATHS, PathOptions, TrainJob
from supernets.runtime import named_objects
from tests.own_files import forget

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorials" / "your-own-methods.md"
CODE = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)[0]
TSE = "--tse-batches 2 --tse-batch-size 32"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file of the tutorial, and a supernet that was trained by its paths."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_methods.py").write_text(CODE)
    flags = "--space nasbench201 --channels 4 --cells-per-stage 1 --dataset digits --epochs 1"
    flags += f" --batch-size 400 --num-probes 0 --device cpu --output {folder / 'pairs'}"
    paths = f"--paths {folder / 'my_methods.py'}:PAIRS"
    assert supernets.cli.train.main([*flags.split(), *paths.split()]) == 0
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    forget()
    yield
    forget()


def run(flags: str) -> int:
    return search.cli.search.main(f"--supernet pairs/last.pt --device cpu {flags}".split())


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_the_file_is_short() -> None:
    assert len(CODE.splitlines()) < 120


def test_paths_are_recorded_by_their_name_and_resumed_by_the_same_command(folder: Path) -> None:
    record = json.loads((folder / "pairs" / "args.json").read_text())
    assert record["args"]["paths"].endswith("my_methods.py:PAIRS")
    flags = "--space nasbench201 --channels 4 --cells-per-stage 1 --dataset digits --epochs 1"
    flags += " --batch-size 400 --num-probes 0 --device cpu --output pairs --resume"
    assert supernets.cli.train.main(f"{flags} --paths my_methods.py:PAIRS".split()) == 0
    assert supernets.cli.train.main(f"{flags} --paths uniform".split()) == 2
    job = TrainJob(paths=PathOptions("my_methods.py:PAIRS"))
    assert PATHS.own_name(job.sampler) == "pairs"
    assert supernets.cli.train.main(f"{flags} --paths my_methods.py:CLIMBER".split()) == 2


def test_a_score_and_a_search_are_used_continued_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    flags = "--estimator my_methods.py:ENTROPY --temperature 2 --algorithm my_methods.py:CLIMBER"
    flags += f" --tse-batch-size 32 --patience 3 --no-amp --output {output}"
    assert run(f"{flags} --num-trials 3") == 0
    assert run(f"{flags} --num-trials 5") == 0
    header = read_header(output / "trials.db")
    assert header["algorithm"] == {"name": "climber", "batch_size": 1, "patience": 3}
    estimator = {"name": "entropy", "temperature": 2.0, "batch_size": 32}
    assert header["estimator"] == {**estimator, "device": "cpu", "amp": False}
    forget()
    assert run(f"{flags} --num-trials 6") == 0
    assert run(f"{flags} --num-trials 6 --temperature 3") == 2
    assert "temperature" in error_of(capsys)
    forget()
    report = f"--report-of {output} --output {tmp_path / 'report'}".split()
    assert search.cli.search.main(report) == 2
    assert "my_methods.py:CLIMBER. If you trust that code" in error_of(capsys)
    assert not named_objects.loaded_files() and not (tmp_path / "report").exists()
    assert search.cli.search.main([*report, "--trust-code"]) == 0
    assert "climber" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.slow
def test_workers_load_the_file_of_a_score(tmp_path: Path) -> None:
    flags = (
        "--estimator my_methods.py:ENTROPY --tse-batch-size 32 --algorithm random --num-trials 4"
    )
    for output, workers in (("here", ""), ("there", "--workers 2")):
        assert run(f"{flags} {workers} --output {tmp_path / output}") == 0
    here, there = (json.loads((tmp_path / n / "best.json").read_text()) for n in ("here", "there"))
    assert here["best"] == there["best"]


def test_a_predictor_is_used_and_shown_in_a_report(tmp_path: Path) -> None:
    output = tmp_path / "run"
    flags = f"--algorithm weaknas --predictor my_methods.py:ADDITIVE {TSE} --num-initial 6"
    assert run(f"{flags} --batch-size 4 --num-trials 14 --report --output {output}") == 0
    assert read_header(output / "trials.db")["algorithm"]["predictor"] == "additive"
    assert (output / "report.html").is_file()
    forget()
    report = f"--report-of {output} --trust-code --output {tmp_path / 'report'}".split()
    assert search.cli.search.main(report) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--algorithm my_methods.py:ENTROPY", "is an EstimatorDefinition, and no AlgorithmDef"),
        ("--algorithm my_methods.py:CLIMER", "has no CLIMER; did you mean CLIMBER?"),
        ("--estimator nowhere.py:X", "There is no file"),
        ("--algorithm random --patience 3", "unknown option --patience"),
        (
            "--algorithm weaknas --predictor my_methods.py:PAIRS",
            "PathsDefinition, and no Predictor",
        ),
        ("--estimator entropi", "Unknown estimator 'entropi'; choose from tse, tse_e"),
        (
            "--estimator my_methods.py:ENTROPY --tse-batches 3",
            "--tse-batches is for --estimator tse",
        ),
    ],
)
def test_mistakes_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    try:
        assert run(f"{flags} --output {tmp_path / 'run'}") == 2
    except SystemExit as error:
        assert error.code == 2
    assert message in error_of(capsys)
    assert not (tmp_path / "run").exists()


def test_a_flag_that_the_command_has_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = CODE.replace("patience: int", "seed: int").replace("options.patience", "options.seed")
    (tmp_path / "taken.py").write_text(code)
    with pytest.raises(SystemExit):
        run(f"--algorithm {tmp_path / 'taken.py'}:CLIMBER --output {tmp_path / 'run'}")
    assert "has the option --seed, which the command has already" in error_of(capsys)


def test_what_is_built_must_be_what_its_definition_says(folder: Path, tmp_path: Path) -> None:
    code = CODE.replace('name = "entropy"', 'name = "other"').replace(
        "    def sample(", "    def s("
    )
    (tmp_path / "wrong.py").write_text(code)
    supernet = supernets.load_supernet("pairs/last.pt")
    loaders = supernets.create_loaders("digits", batch_size=64)
    with pytest.raises(ValueError, match="'entropy' returns must have that name, got 'other'"):
        create_estimator(f"{tmp_path / 'wrong.py'}:ENTROPY", supernet=supernet, data=loaders)
    flags = "--space nasbench201 --channels 4 --cells-per-stage 1 --dataset digits --epochs 1"
    paths = f"--device cpu --paths {tmp_path / 'wrong.py'}:PAIRS --output {tmp_path / 'run'}"
    assert supernets.cli.train.main([*flags.split(), *paths.split()]) == 2
    with pytest.raises(ValueError, match="Unknown algorithm 'climber'"):
        ALGORITHMS.find("climber")


def _object(name: str) -> Any:
    """What the tutorial's file calls so; its dataclasses look their module up."""
    module = type(sys)("tutorial_methods")
    sys.modules[module.__name__] = module
    exec(compile(CODE, "my_methods.py", "exec"), module.__dict__)
    return getattr(module, name)


class TestClimber(AlgorithmContract):
    """The last block of the tutorial."""

    algorithm = _object("Climber")
    options = _object("ClimberOptions")()


class TestEntropy(EstimatorContract):
    estimator = "my_methods.py:ENTROPY"
    tells_trained_from_untrained = False
