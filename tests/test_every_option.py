"""Every option of every command has a checked type, and no value ends in a traceback."""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import estimators.cli.rank
import search.cli.options
import search.cli.search
import supernets.cli.export
import supernets.cli.latency
import supernets.cli.retrain
import supernets.cli.train
from estimators.ranking.macs_windows import MacsTarget
from estimators.scores.own_scores import RankedName
from estimators.scores.windows import window_argument
from supernets.cli.command_line import parse_args
from supernets.runtime import option_types as kinds
from supernets.runtime.named_objects import NameBeside, NamedObjects

PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "train": supernets.cli.train.build_parser,
    "retrain": supernets.cli.retrain.build_parser,
    "export": supernets.cli.export.build_parser,
    "latency": supernets.cli.latency.build_parser,
    "rank": estimators.cli.rank.build_parser,
    "search": search.cli.options.build_parser,
}
MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": supernets.cli.train.main,
    "retrain": supernets.cli.retrain.main,
    "export": supernets.cli.export.main,
    "latency": supernets.cli.latency.main,
    "rank": estimators.cli.rank.main,
    "search": search.cli.search.main,
}
#: What nobody means, as flags.
TEXTS = (
    "", " ", "abc", "nan", "inf", "-inf", "-1", "0", "1e308", "1e30", "-1e30", str(10**30),
    "9" * 5000, "0x10", "1:30", "1.5", "\x00", "a\nb", "\u0663", "~nobody/x", "x" * 5000,
)  # fmt: skip
#: The same from a YAML file, as it is written there.
VALUES = (
    "[]", "[[1]]", "[a, null]", "{a: 1}", "true", ".nan", "010", "1e30", "[1, 2, 3, 4, 5]", "''",
    "!!int 12", "[--epochs, 5]",
)  # fmt: skip


@functools.cache
def parser(command: str) -> argparse.ArgumentParser:
    return PARSERS[command]()


def options(command: str) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser(command)._actions:
        if action.dest not in ("help", "version", "config"):
            yield action.option_strings[-1], action


EVERY = [
    pytest.param(command, name, id=f"{command} {name}")
    for command in PARSERS
    for name in dict(options(command))
]


def action_of(command: str, name: str) -> argparse.Action:
    return parser(command)._option_string_actions[name]


@pytest.mark.parametrize(("command", "name"), EVERY)
def test_every_option_has_a_checked_type(command: str, name: str) -> None:
    action = action_of(command, name)
    is_checked = isinstance(
        action.type,
        kinds.Whole | kinds.Real | NamedObjects | NameBeside | RankedName | MacsTarget,
    ) or action.type in (
        *kinds.TEXTS,
        window_argument,
    )
    assert action.nargs == 0 or action.choices is not None or is_checked


@pytest.mark.parametrize(("command", "name"), EVERY)
def test_every_option_takes_any_value_or_refuses_it_in_one_line(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    action, file = action_of(command, name), tmp_path / "c.yaml"
    config = ["--config", str(file)]
    if action.nargs != 0:
        for text in TEXTS:
            _check(command, [f"{name}={text}"], action, capsys)
    for value in VALUES:
        file.write_text(f"{name[2:]}: {value}\n", encoding="utf-8")
        _check(command, config, action, capsys)


def _check(
    command: str,
    arguments: Sequence[str],
    action: argparse.Action,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        found = getattr(parse_args(parser(command), arguments), action.dest)
    except SystemExit as ended:
        assert ended.code == 2
        assert capsys.readouterr().err.count("\n") == 1
        return
    for value in found if isinstance(found, list | tuple) else [found]:
        if isinstance(value, int | float):
            assert math.isfinite(value) and abs(value) <= kinds.MAX_FLOAT
        if isinstance(value, Path):
            assert str(value).strip() and "\0" not in str(value)


def small_job(command: str, tmp_path: Path) -> list[str]:
    """What would start a command, or end it soon for want of files."""
    table = tmp_path / "table.csv"
    table.write_text(
        "arch_str,acc\n|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|,90\n"
    )
    output = str(tmp_path / "out")
    missing = str(tmp_path / "missing")
    return {
        "train": ["--output", output, "--epochs", "1"],
        "retrain": ["--output", output, "--subnet", missing, "--epochs", "1"],
        "export": ["--output", output, "--supernet", missing, "--arch", "x"],
        "latency": ["--output", output, "--supernet", missing],
        "rank": ["--output", output, "--supernet", missing, "--table", str(table),
                 "--table-column", "acc"],
        "search": ["--output", output, "--space", "nasbench201", "--estimator", "table",
                   "--table", str(table), "--table-column", "acc", "--algorithm", "random",
                   "--num-trials", "1"],
    }[command]  # fmt: skip


@pytest.mark.parametrize("command", PARSERS)
def test_the_most_of_every_number_ends_in_one_line_before_any_work(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.set_num_threads", lambda num_threads: None)
    main, base = MAINS[command], small_job(command, tmp_path)
    start = time.monotonic()
    for name, action in options(command):
        if not isinstance(action.type, kinds.Whole | kinds.Real):
            continue
        most = action.type.most
        text = f"{most + 1 if isinstance(action.type, kinds.Whole) else 2 * most}"
        count = action.nargs if isinstance(action.nargs, int) else 1
        with pytest.raises(SystemExit) as ended:
            main([*base, name, *[text] * count])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{name} must" in error
    assert time.monotonic() - start < 30
