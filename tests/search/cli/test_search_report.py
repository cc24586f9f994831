"""supernet-search --report and --report-of: a page that needs nothing else; what is refused."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from functools import partial
from html import unescape
from pathlib import Path

import pytest

import search.cli.search
import search.runs.results
from search.cli.search import main
from supernets import create_space

SPACE = create_space("nasbench201")
Command = Callable[..., int]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cells of at least two 3x3 convolutions, so that some trials fail."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "accuracy"])
        for arch in SPACE.enumerate():
            if sum(choice == 3 for choice in arch.choices) >= 2:
                writer.writerow([SPACE.format(arch), 80.0 + sum(arch.choices) / 10])
    return path


@pytest.fixture
def run(table: Path, no_plots: None) -> Command:
    """Searches the table at random; draws no plots."""
    return partial(search_table, table)


def search_table(table: Path, output: Path, flags: str = "") -> int:
    given = ["--space", "nasbench201", "--estimator", "table", "--table", str(table)]
    settings = "--table-column accuracy --algorithm random --num-trials 12 --batch-size 4"
    return main([*given, *settings.split(), "--output", str(output), *flags.split()])


@pytest.fixture(scope="module")
def folder(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the folder of a search, an empty folder, and a config."""
    folder = tmp_path_factory.mktemp("folder")
    assert search_table(table, folder / "run") == 0
    (folder / "empty").mkdir()
    (folder / "seed.yaml").write_text("seed: 0\n")
    return folder


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("supernet-search: error: ")
    return line


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def page_in(folder: Path) -> str:
    """The text of the page, which refers to nothing but places in itself."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    targets = re.findall(r"""(?:href|src)\s*=\s*["']?([^"'\s>]*)|url\(([^)]*)\)""", text)
    assert all(target.startswith("#") for both in targets for target in both if target)
    assert not re.search("<link|<script src|@import", text)
    return text


@pytest.mark.slow
def test_a_finished_search_writes_its_report(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "plain") == 0
    assert "report.html" not in contents(tmp_path / "plain")
    capsys.readouterr()
    assert run(tmp_path / "my-run", "--report") == 0
    block = json.loads(capsys.readouterr().out)
    text = page_in(tmp_path / "my-run")
    assert "What the search found" in text and "1 run · 12 trials" in text
    best = block["best"][0]
    assert re.sub("<[^>]*>", "", text).count(best["architecture"]) >= 1
    assert f"{best['score']:.1f}" in text
    (command,) = re.findall("<pre>(.*?)</pre>", text)
    assert command.startswith("supernet-search --space nasbench201") and "--report" in command
    assert main(shlex.split(unescape(command))[1:]) == 0  # what is finished
    assert run(tmp_path / "plain", "--report") == 0  # of what is finished
    assert "1 run · 12 trials" in page_in(tmp_path / "plain")


def test_a_search_that_does_not_finish_writes_no_report(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press_ctrl_c(*args: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search.runs.search, "run_search", press_ctrl_c)
        assert run(tmp_path, "--report") == 130
    assert "report.html" not in contents(tmp_path)
    assert run(tmp_path, "--report") == 0
    assert "report.html" in contents(tmp_path)


def test_one_page_over_searches_of_earlier(
    run: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, output = tmp_path / "first", tmp_path / "second", tmp_path / "pages" / "both"
    assert run(first) == 0
    assert run(second, "--algorithm evolution --num-initial 5 --num-trials 9 --seed 3") == 0
    before = contents(first), contents(second)
    capsys.readouterr()
    assert main(["--report-of", str(first), str(second), "--output", str(output)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "status": "finished",
        "runs": 2,
        "report": str(output / "report.html"),
    }
    assert (contents(first), contents(second)) == before
    assert list(contents(output)) == ["report.html"]
    text = page_in(output)
    assert "What the searches found" in text and "2 runs · 21 trials" in text
    assert all(f'<td class="text">{name}</td>' in text for name in ("first", "second"))
    assert "<code>random</code>" in text and "<code>evolution</code>" in text

    config = tmp_path / "report.yaml"
    config.write_text(f"report-of: [{first}, {second}]\noutput: {tmp_path / 'again'}\n")
    assert main(["--config", str(config)]) == 0
    assert page_in(tmp_path / "again") == text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--num-trials 12", "--report-of searches nothing; leave --num-trials out, or search"),
        ("--num-trials 100", "leave --num-trials out"),  # even if that is the default
        ("--no-amp --report --algorithm weaknas", "leave --algorithm, --report, --amp out"),
        ("--space nasbench201 --estimator table", "leave --space, --estimator out"),
        ("--max-macs 1e6 --export x", "leave --max-macs, --export out"),
        ("--config seed.yaml", "leave --seed out"),
        ("--report-of run nowhere", "nowhere holds no search: it has no trials.db"),
        ("--report-of run empty", "empty holds no search: it has no trials.db; give an --output"),
        ("--report-of run run", "Runs run and run have the same settings and seed 0; give one"),
    ],
)
def test_what_does_not_go_with_reports_is_refused_before_any_work(
    flags: str,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    capsys.readouterr()
    assert main(["--report-of", "run", "--output", "page", *flags.split()]) == 2
    assert message in error_line(capsys)
    assert contents(folder) == before and not (folder / "page").exists()


def test_a_report_needs_an_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report-of", "run"]) == 2
    assert "--output is required: folder for all files" in error_line(capsys)
