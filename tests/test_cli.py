"""The commands as a user starts them: both root scripts, the recipes, and the entry points."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import estimators.cli.rank
import search.cli.options
import search.cli.search
import supernets.cli.export
import supernets.cli.retrain
import supernets.cli.train
from supernets.cli.command_line import parse_args
from supernets.cost.analytic import CostModel
from supernets.networks.factory import create_supernet
from supernets.training.job import PROGRESSIVE
from supernets.training.path_factory import create_path_sampler
from supernets.training.progressive_shrinking import phases_for

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "train_supernet.py": supernets.cli.train.build_parser,
    "search.py": search.cli.options.build_parser,
}
#: How recipes name the command they are for, and its options.
COMMANDS = {
    **PARSERS,
    "supernet-train": supernets.cli.train.build_parser,
    "supernet-rank": estimators.cli.rank.build_parser,
    "supernet-retrain": supernets.cli.retrain.build_parser,
}


#: What keeps the metadata of this package from being found, as where it is not installed.
HIDE = """
import importlib.metadata
found = importlib.metadata.Distribution.from_name.__func__
def hidden(cls, name):
    if name == "paceline":
        raise importlib.metadata.PackageNotFoundError(name)
    return found(cls, name)
importlib.metadata.Distribution.from_name = classmethod(hidden)
"""


@pytest.mark.slow
def test_both_scripts_run_from_any_folder_in_a_checkout_that_is_not_installed(
    tmp_path: Path,
) -> None:
    # site-packages are seen but nothing that installed this package into them, in workers neither
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDE)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "hiding")}
    # A stranger's files of our names in the working folder must not be taken for ours.
    (tmp_path / "search.py").write_text("raise SystemExit('the stranger')\n")
    (tmp_path / "supernets.py").write_text("raise SystemExit('the stranger')\n")

    def run(script: str, *flags: str) -> dict[str, Any]:
        command = [sys.executable, str(ROOT / script), *flags]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        block: dict[str, Any] = json.loads(done.stdout)
        return block

    flags = "--channels 4 --cells-per-stage 1 --epochs 1 --batch-size 600 --num-probes 0".split()
    block = run("train_supernet.py", *flags, "--output", "run")
    assert (block["status"], block["steps"]) == ("finished", 2)
    flags = "--num-trials 2 --num-initial 1 --tse-batches 2 --workers 1 --output found".split()
    assert run("search.py", "--supernet", "run/last.pt", *flags)["trials"] == 2
    assert (tmp_path / "found" / "best.json").is_file()
    for folder in ("run", "found"):
        args = json.loads((tmp_path / folder / "args.json").read_text())
        assert args["versions"]["paceline"] == supernets.__version__


@pytest.mark.parametrize(
    "module",
    [
        "supernets.cli.train",
        "supernets.cli.export",
        "supernets.cli.retrain",
        "supernets.cli.latency",
        "estimators.cli.rank",
        "search.cli.search",
    ],
)
def test_every_command_can_be_run_as_a_module(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--threads", "1"])
    path = ROOT / (module.replace(".", "/") + ".py")
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(path), run_name="__main__")
    assert caught.value.code == 2
    assert " is required" in capsys.readouterr().err


@pytest.mark.parametrize("script", PARSERS)
def test_the_scripts_give_back_the_status_of_an_error(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--threads", "0", "--output", "x"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("main", "program"),
    [
        (supernets.cli.train.main, "supernet-train"),
        (search.cli.search.main, "supernet-search"),
        (supernets.cli.export.main, "supernet-export"),
        (estimators.cli.rank.main, "supernet-rank"),
        (supernets.cli.retrain.main, "supernet-retrain"),
    ],
)
def test_help_shows_the_program(
    main: Callable[[list[str]], int], program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {program} ")


@pytest.mark.parametrize(
    ("main", "flags"),
    [
        (supernets.cli.train.main, []),
        (supernets.cli.retrain.main, ["--arch", "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"]),
        (search.cli.search.main, ["--algorithm", "gdas"]),
    ],
)
def test_autocast_that_a_device_lacks_is_refused_before_any_work(
    main: Callable[[list[str]], int],
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    common = ["--space", "nasbench201", "--device", "meta", "--amp", "--dataset", "digits"]
    assert main([*common, *flags, "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("PyTorch does not have for meta; leave it out.")
    assert not (tmp_path / "out").exists()


def entry_points() -> dict[str, str]:
    """Programs and the functions they start, as ``pyproject.toml`` has them."""
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    scripts: dict[str, str] = project["scripts"]
    return scripts


def test_entry_points_exist_under_their_program_names() -> None:
    for program, target in entry_points().items():
        module_name, function = target.split(":")
        entry = getattr(importlib.import_module(module_name), function)
        named, command = entry.args
        assert named == program == importlib.import_module(command).PROGRAM
        assert callable(importlib.import_module(command).main)


@pytest.mark.slow
@pytest.mark.parametrize("from_script", [False, True])
def test_ctrl_c_while_modules_are_imported_is_one_line(tmp_path: Path, from_script: bool) -> None:
    slow = "import pathlib, time\npathlib.Path('started').touch()\ntime.sleep(60)\n"
    (tmp_path / "torch.py").write_text(slow)
    if from_script:
        starts = {script: [str(ROOT / script)] for script in PARSERS}
    else:
        starts = {
            program: ["-c", f"import {module}; raise SystemExit({module}.{function}())"]
            for program, target in entry_points().items()
            for module, function in [target.split(":")]
        }
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for name, start_it in starts.items():
        needs_torch = ["--supernet", "none.pt"] if "search" in name else []  # a table does not
        with subprocess.Popen(
            [sys.executable, *start_it, *needs_torch],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
        ) as process:
            while not (tmp_path / "started").exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
        (tmp_path / "started").unlink()
        assert process.returncode == 130, name
        assert errors.decode().endswith(": interrupted.\n") and errors.count(b"\n") == 1


def command_of(recipe: Path) -> str:
    """The command a recipe says it is for, which may go on in a second line."""
    text = recipe.read_text(encoding="utf-8").replace(" \\\n#       ", " ")
    (command,) = [name for name in COMMANDS if f" {name} --config recipes/{recipe.name}" in text]
    return command


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_parse_with_the_command_they_name(recipe: Path) -> None:
    args = parse_args(COMMANDS[command_of(recipe)](), ["--config", str(recipe)])
    given = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    assert given
    for key, value in given.items():
        found = getattr(args, key.replace("-", "_"))
        assert found == value or str(found) == str(value), key


def test_there_are_recipes_for_every_command_that_trains_or_searches() -> None:
    assert {command_of(recipe) for recipe in RECIPES} == COMMANDS.keys()


@pytest.mark.parametrize(
    "recipe",
    [
        recipe
        for recipe in RECIPES
        if COMMANDS[command_of(recipe)] is supernets.cli.train.build_parser
    ],
    ids=lambda path: path.stem,
)
def test_what_recipes_of_supernets_say_goes_together(recipe: Path) -> None:
    flags = ["--config", str(recipe), "--output", "x"]
    args = parse_args(supernets.cli.train.build_parser(), flags)
    args.data_dir = None if args.dataset in (None, "digits") else Path("data")
    job = supernets.cli.train.train_job(args, amp=False)
    config, size = job.recipe, job.data.image_size or 32
    assert job.settings is not None
    with torch.device("meta"):
        supernet = create_supernet(
            job.space,
            num_classes=10,
            input_size=(3, size, size),
            **job.settings.arguments,
            **({"auxiliary": True} if config.aux_weight > 0 else {}),
        )
    if job.sampler == PROGRESSIVE:
        phases = phases_for(supernet.space, **asdict(job.phases))
        assert [phase.config(config).lr for phase in phases] == args.phase_lrs
    else:
        create_path_sampler(job.sampler, supernet.space, CostModel(supernet), job.paths.num_paths)
        assert config.epochs == args.epochs
