"""What commands ask about the machine and about the files of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from supernets.cli.option_flags import add_options, from_args, resolved
from supernets.cli.run_options import AmpOptions, MachineOptions, RunOptions
from supernets.runtime.ranks import ProcessInfo


def test_a_machine_is_set_up_with_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    assert MachineOptions(device="cpu").set_up() == torch.device("cpu")
    assert asked == []
    assert AmpOptions(device="cpu", threads=3).set_up(ProcessInfo(1, 1, 2)) == torch.device("cpu")
    assert asked == [3]
    with pytest.raises(ValueError, match="Unknown device 'abacus'"):
        MachineOptions(device="abacus").set_up()
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        MachineOptions(threads=0)


def test_a_run_needs_a_folder_and_one_way_to_resume() -> None:
    assert RunOptions(output=Path("x")).resumes is False
    assert RunOptions(output=Path("x"), resume=True).resumes is True
    assert RunOptions(output=Path("x"), auto_resume=True).resumes is None
    with pytest.raises(ValueError, match="--output is required: folder for all files of the run."):
        RunOptions()
    with pytest.raises(ValueError, match="--auto-resume does not; give one"):
        RunOptions(output=Path("x"), resume=True, auto_resume=True)
    with pytest.raises(ValueError, match="checkpoint_minutes must be positive, got 0"):
        RunOptions(output=Path("x"), checkpoint_minutes=0)


def test_args_json_has_the_defaults_of_what_was_not_given() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, RunOptions)
    add_options(parser, AmpOptions)
    parser.add_argument("--name")
    assert "folder for all files of the run (required)" in parser.format_help()
    args = parser.parse_args(["--output", "x", "--num-workers", "1"])
    assert resolved(args, from_args(RunOptions, args), from_args(AmpOptions, args)) == {
        "output": Path("x"),
        "resume": False,
        "auto_resume": False,
        "checkpoint_minutes": 10.0,
        "num_workers": 1,
        "device": "auto",
        "threads": None,
        "amp": None,
        "name": None,
    }
