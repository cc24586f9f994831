"""YAML defaults, one-line errors, args.json and the closing JSON, on a small parser."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import supernets
from supernets.cli.command_line import command, parse_args, print_result
from supernets.cli.command_parser import CommandParser, add_config_option, command_parser
from supernets.data.image_loader import UnreadableImage
from supernets.export.files import ExportError
from supernets.runtime.device import resolve_device
from supernets.runtime.foreign_fields import ForeignFileError
from supernets.runtime.outputs import OutputError, Outputs
from supernets.runtime.progress import hides_bars
from supernets.runtime.run_record import write_args
from supernets.runtime.versions import versions
from supernets.training.loop import TrainingError


def build_parser() -> argparse.ArgumentParser:
    parser = CommandParser("tool")
    add_config_option(parser)
    parser.add_argument("--num-steps", type=int, default=7)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--mode", choices=("a", "b"), default="a")
    parser.add_argument("--name")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--early", action="store_const", const=True)
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction)
    return parser


@pytest.fixture
def parse(tmp_path: Path) -> Callable[..., argparse.Namespace]:
    def parse(text: str, *flags: str) -> argparse.Namespace:
        (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
        return parse_args(build_parser(), ["--config", str(tmp_path / "run.yaml"), *flags])

    return parse


def test_config_sets_every_kind_of_option(parse: Callable[..., argparse.Namespace]) -> None:
    args = parse(
        "num-steps: 3\nlr: 5e-4\nmode: b\nname: x y\nsizes: [1, 2]\nfast: true\namp: false\n"
        "early: true\n"
    )
    found = {name: value for name, value in vars(args).items() if name != "config"}
    assert found == {
        "num_steps": 3,
        "lr": 5e-4,
        "mode": "b",
        "name": "x y",
        "sizes": [1, 2],
        "fast": True,
        "early": True,
        "amp": False,
    }


def test_underscores_work_and_negative_values_too(parse: Callable[..., argparse.Namespace]) -> None:
    args = parse("num_steps: -3\nname: --lr\n")
    assert (args.num_steps, args.name, args.lr) == (-3, "--lr", None)


def test_nothing_and_null_and_false_leave_the_defaults(
    parse: Callable[..., argparse.Namespace],
) -> None:
    for text in ("", "# only a comment\n", "num-steps: null\nfast: false\nearly: false\n"):
        args = parse(text)
        assert (args.num_steps, args.fast, args.early, args.amp) == (7, False, None, None)


def test_flags_beat_the_config(parse: Callable[..., argparse.Namespace]) -> None:
    args = parse("num-steps: 3\namp: true\nmode: b\n", "--num-steps", "5", "--no-amp")
    assert (args.num_steps, args.amp, args.mode) == (5, False, "b")


def test_the_short_form_and_the_equals_sign_name_the_config_too(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("num-steps: 3\n")
    for flags in (["-c", str(path)], [f"--config={path}"]):
        assert parse_args(build_parser(), flags).num_steps == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 3\n", "has an unknown option 'steps'; see --help"),
        ("config: other.yaml\n", "has an unknown option 'config'"),
        ("help: true\n", "has an unknown option 'help'"),
        ("num-steps: many\n", "argument --num-steps: invalid int value: 'many'"),
        ("num-steps: 1.5\n", "argument --num-steps: invalid int value: '1.5'"),
        ("num-steps: true\n", "argument --num-steps: invalid int value: 'true'"),
        ("lr: {a: 1}\n", "lr must be a value or a list of values, got {'a': '1'}"),
        ("num-steps: [1, 2]\n", "num-steps takes one value, got ['1', '2']"),
        ("name: [x]\n", "name takes one value, got ['x']"),
        ("mode: c\n", "argument --mode: invalid choice: 'c'"),
        ("fast: 1\n", "fast must be true or false, got '1'"),
        ("amp: maybe\n", "amp must be true or false, got 'maybe'"),
        ("- num-steps\n", "must hold 'option: value' lines, got a list"),
        ("just text\n", "must hold 'option: value' lines, got a str"),
        ("a: [1\nb: 2", "cannot read"),
    ],
)
def test_wrong_configs_end_in_one_error_line(
    text: str,
    message: str,
    parse: Callable[..., argparse.Namespace],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(text)
    assert caught.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("tool: error: ")
    assert message in error[-1]


def test_a_missing_config_and_a_missing_name_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, message in (
        (["--config", str(tmp_path / "none.yaml")], "cannot read"),
        (["--config", str(tmp_path)], "cannot read"),
        (["--config"], "expected one argument"),
    ):
        with pytest.raises(SystemExit) as caught:
            parse_args(build_parser(), flags)
        assert caught.value.code == 2
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("tool: error: ") and message in last


PLAIN = argparse.Namespace(quiet=None, verbose=None)


def run_tool(
    prepare: Callable[[Outputs], object] = lambda _: None,
    work: Callable[[], object] = lambda: None,
    args: argparse.Namespace = PLAIN,
) -> int:
    """The exit status of a command of two parts."""
    with command("tool", args) as run:
        prepare(run.outputs)
        run.begin()
        work()
    return run.status


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_command_ends_with_the_status_it_sets() -> None:
    with command("tool", PLAIN) as run:
        assert run.status == 0 and not run.outputs.has_begun
        run.begin()
        assert run.outputs.has_begun
        run.status = 130
    assert run.status == 130


def test_a_user_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(raising(ValueError("lr must be positive, got 0."))) == 2
    captured = capsys.readouterr()
    assert captured.err == "tool: error: lr must be positive, got 0.\n"
    assert captured.out == ""


def test_an_error_of_the_work_is_not_disguised() -> None:
    with pytest.raises(ValueError, match="a mistake of ours"):
        run_tool(work=raising(ValueError("a mistake of ours")))


def test_what_shows_at_work_only_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (UnreadableImage, ExportError, ForeignFileError, TrainingError, OutputError):
        assert run_tool(work=raising(kind("It cannot go on."))) == 2
        assert capsys.readouterr().err == "tool: error: It cannot go on.\n"


@pytest.mark.parametrize("is_refused", [False, True])
def test_what_data_were_found_is_told_once_the_work_begins(
    is_refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(outputs: Outputs) -> None:
        logging.getLogger("supernets.data.loaders").info("10 classes")
        logging.getLogger("supernets").info("preparing")
        if is_refused:
            raise ValueError("no.")

    run_tool(prepare, lambda: logging.getLogger("supernets.data.loaders").info("working"))
    last = ["tool: error: no."] if is_refused else ["10 classes", "working"]
    assert capsys.readouterr().err.splitlines() == ["preparing", *last]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_signal_ends_with_130_and_a_json_block(
    number: signal.Signals, is_prepared: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert (run_tool(work=interrupt) if is_prepared else run_tool(interrupt)) == 130
    assert json.loads(capsys.readouterr().out) == {"status": "interrupted"}
    assert signal.getsignal(number) == before


def test_logging_is_set_up_for_one_command_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        logging.getLogger("paceline.test").info("epoch 1")
        logging.getLogger("paceline.test").warning("slow")

    before = logging.getLogger().handlers[:]
    for _ in range(2):
        assert run_tool(work=work) == 0
        assert capsys.readouterr().err == "epoch 1\nWARNING: slow\n"
    assert logging.getLogger().handlers == before


def test_an_error_is_one_line_without_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, message in (
        (["--num_steps", "3"], "unknown option --num_steps; did you mean --num-steps?"),
        (["--sizs=3"], "unknown option --sizs; did you mean --sizes?"),
        (["--nothing-like-it"], "unknown option --nothing-like-it; see --help"),
        (["stray"], "unexpected argument 'stray'; see --help"),
        (["--num-steps"], "argument --num-steps: expected one argument"),
    ):
        with pytest.raises(SystemExit) as caught:
            parse_args(build_parser(), flags)
        assert caught.value.code == 2
        assert capsys.readouterr().err == f"tool: error: {message}\n"


def test_a_typo_in_a_key_or_a_choice_is_asked_about(
    parse: Callable[..., argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("num-step: 3\n", "num_step: 3\n"):
        with pytest.raises(SystemExit):
            parse(text)
        assert "; did you mean num" in capsys.readouterr().err
    parser = CommandParser("tool")
    parser.add_argument("--algorithm", choices=("random", "weaknas"))
    with pytest.raises(SystemExit):
        parser.parse_args(["--algorithm", "weaknaas"])
    assert capsys.readouterr().err == (
        "tool: error: argument --algorithm: invalid choice: 'weaknaas'; did you mean weaknas? "
        "choose from random, weaknas\n"
    )


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_parser("tool", "A tool.").parse_args(["--version"])
    assert caught.value.code == 0
    assert supernets.__version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], ["INFO", "WARNING"]),
        (["--quiet"], ["WARNING"]),
        (["--verbose"], ["DEBUG", "INFO", "WARNING"]),
    ],
)
def test_quiet_and_verbose_decide_what_is_shown(
    given: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    args = command_parser("tool", "A tool.").parse_args(given)
    hidden = []

    def work() -> None:
        for name in ("DEBUG", "INFO", "WARNING"):
            logging.getLogger("search.test").log(getattr(logging, name), "[%s]", name)
        hidden.append(hides_bars())
        logging.getLogger("PIL").debug("of others")

    before = hides_bars()
    run_tool(work=work, args=args)
    captured = capsys.readouterr()
    assert re.findall(r"\[(\w+)\]", captured.err) == shown
    assert "of others" not in captured.err
    assert hidden == [before or given == ["--quiet"]]
    assert hides_bars() == before


def test_verbose_says_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = raising(ValueError("lr must be positive, got 0."))
    assert run_tool(wrong, args=argparse.Namespace(quiet=None, verbose=True)) == 2
    captured = capsys.readouterr().err
    assert "Traceback" in captured and "in run_tool" in captured
    assert captured.endswith("tool: error: lr must be positive, got 0.\n")


def test_quiet_of_a_config_gives_way_to_a_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser, path = command_parser("tool", "A tool."), tmp_path / "run.yaml"
    path.write_text("quiet: true\n")
    assert parse_args(parser, ["-c", str(path)]).quiet is True
    args = parse_args(parser, ["-c", str(path), "--verbose"])
    assert (args.quiet, args.verbose) == (None, True)
    with pytest.raises(SystemExit):
        parse_args(parser, ["--quiet", "--verbose"])
    assert "not allowed with argument --quiet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "/data/a"), "/data/a: No space left on device."),
        (BrokenPipeError(32, "Broken pipe"), "The result could not be printed; the work is done."),
    ],
)
def test_the_error_of_a_file_is_one_line(
    error: OSError, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(work=raising(error)) == 2
    assert capsys.readouterr().err == f"tool: error: {line}\n"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_preparation_that_fails_leaves_no_file_and_no_folder(
    error: type[BaseException], tmp_path: Path
) -> None:
    def prepare(outputs: Outputs) -> None:
        outputs.own(tmp_path / "a" / "b")
        outputs.create()
        outputs.new_file(tmp_path / "a" / "b" / "trials.db")
        (tmp_path / "a" / "b" / "trials.db").write_text("header")
        raise error

    assert run_tool(prepare) in (2, 130)
    assert list(tmp_path.iterdir()) == []


def test_args_json_holds_options_versions_and_commit(tmp_path: Path) -> None:
    write_args(tmp_path, {"output": tmp_path, "lr": 0.1})
    record = json.loads((tmp_path / "args.json").read_text())
    assert record["args"] == {"output": str(tmp_path), "lr": 0.1}
    assert record["versions"] == versions()
    assert {"python", "paceline", "torch", "timm", "numpy"} <= versions().keys()
    assert record["git_commit"] is None or len(record["git_commit"]) == 40


def test_no_git_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write_args(tmp_path, {})
    assert json.loads((tmp_path / "args.json").read_text())["git_commit"] is None


def test_the_result_is_one_json_block(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"status": "finished", "files": Path("runs/x"), "top1": 1.5})
    assert json.loads(capsys.readouterr().out) == {
        "status": "finished",
        "files": "runs/x",
        "top1": 1.5,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "Unknown device 'gpu'"),
        ("meta", "Device 'meta' was asked for"),
        ("cuda:99", "this machine has"),
    ],
)
def test_devices_that_are_not_there_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_known_devices_are_resolved() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    expected: Any = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
