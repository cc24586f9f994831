"""Searches of listed architectures: from a file, and of a table that lists a part."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import search.runs.results
from estimators import TableSettings
from estimators.trials.store import read_header
from search import SearchJob
from search import search as run
from search.cli.search import main
from search.runs.pool import read_pool
from supernets.spaces import Architecture, NASBench201Space

SPACE = NASBench201Space()
ARCHS = SPACE.architectures(
    np.unique(SPACE.sample_choices(90, np.random.default_rng(0)), axis=0)[:80]
)
JOB = SearchJob(
    space="nasbench201", estimator="table", algorithm="regularized-evolution", num_trials=24
)
SETTINGS = {"population_size": 6, "tournament_size": 3}


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.runs.results, "plot_trials", lambda *args, **settings: None)


@pytest.fixture
def table(tmp_path: Path) -> TableSettings:
    """Of 80 architectures."""
    rows = [f"{SPACE.format(arch)},{sum(arch.choices)}.5,{i}" for i, arch in enumerate(ARCHS)]
    (tmp_path / "table.csv").write_text("\n".join(["arch_str,valid,tested", *rows]))
    return TableSettings(tmp_path / "table.csv", "valid")


def lines_of(archs: list[Architecture]) -> str:
    return "".join(f"{SPACE.format(arch)}\n" for arch in archs)


def test_a_pool_is_read_from_text_and_from_a_column(tmp_path: Path) -> None:
    text, table = tmp_path / "pool.txt", tmp_path / "pool.csv"
    text.write_text(f"# few\n\n{SPACE.format(ARCHS[0])}  # the first\n  {lines_of(ARCHS[1:3])}")
    assert read_pool(text, SPACE) == ARCHS[:3]
    table.write_text("arch_str,other\n" + lines_of(ARCHS[:2]).replace("\n", ",1\n"))
    assert read_pool(table, SPACE) == ARCHS[:2]
    zipped = tmp_path / "zipped"
    zipped.write_bytes(gzip.compress(table.read_bytes()))
    assert read_pool(zipped, SPACE, column="arch_str") == ARCHS[:2]


def test_mistakes_in_a_pool_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "pool.txt"
    first = SPACE.format(ARCHS[0])
    for text, message in (
        ("# nothing\n\n", "lists no architecture"),
        (f"# once\n{first}\n\n{first}\n", r"line 4: it lists .* a second time, after line 2"),
        (f"{first}\nd=2,2;k=3\n", "line 2: "),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_pool(path, SPACE)
    with pytest.raises(ValueError, match="has no column 'none'"):
        read_pool(path, SPACE, column="none")
    with pytest.raises(ValueError, match="There is no pool at"):
        read_pool(tmp_path / "gone", SPACE)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="cannot be read as a text"):
        read_pool(path, SPACE)
    with pytest.raises(ValueError, match="--pool-column is of --pool"):
        SearchJob(pool_column="arch")


def test_a_table_of_a_part_is_searched_within_it(
    table: TableSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job = SearchJob(**{**vars(JOB), "test_column": "tested", "report": True})
    result = run(job, tmp_path / "run", algorithm=SETTINGS, estimator=table)
    assert result.summary["failed"] == 0
    assert {trial.arch for trial in result.trials} <= set(ARCHS)
    assert caplog.text.count("lists 80 of the 15,625 architectures") == 1
    assert result.summary["tested"]["best_trial"] == ARCHS.index(result.best[0].arch)
    assert result.summary["verdict"]["truth"]["num_known"] == 80
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000
    assert read_header(tmp_path / "run" / "trials.db")["pool"]["num_archs"] == 80


def test_a_pool_is_recorded_and_another_one_refused(table: TableSettings, tmp_path: Path) -> None:
    path, output = tmp_path / "pool.txt", tmp_path / "run"
    path.write_text(lines_of(ARCHS[:30]))
    job = SearchJob(**{**vars(JOB), "pool": path, "num_trials": 12})
    run(job, output, algorithm=SETTINGS, estimator=table)
    path.write_text("# the same\n" + lines_of(ARCHS[:30][::-1]))
    job = SearchJob(**{**vars(job), "num_trials": 24})
    resumed = run(job, output, algorithm=SETTINGS, estimator=table)
    whole = run(job, tmp_path / "whole", algorithm=SETTINGS, estimator=table)
    found = [[(trial.arch, trial.score) for trial in each.trials] for each in (resumed, whole)]
    assert found[0] == found[1] and {arch for arch, _ in found[0]} <= set(ARCHS[:30])
    truth = resumed.summary["verdict"]["truth"]
    assert truth["num_known"] == 30
    assert truth["regret"] == max(sum(a.choices) for a in ARCHS[:30]) + 0.5 - truth["value"]
    path.write_text(lines_of(ARCHS[1:31]))
    with pytest.raises(ValueError, match="pool digest was .* and is now "):
        run(job, output, algorithm=SETTINGS, estimator=table)


def test_the_command_names_what_a_table_lacks(
    table: TableSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [arch for arch in list(SPACE.enumerate())[:9] if arch not in ARCHS]
    path = tmp_path / "pool.txt"
    path.write_text(lines_of([*ARCHS[:5], *others]))
    given = ["--table", str(table.table), "--pool", str(path), "--output", str(tmp_path / "run")]
    flags = "--space nasbench201 --estimator table --table-column valid --algorithm random"
    number = 5 + len(others)
    assert main([*flags.split(), *given, "--num-trials", str(number)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["failed"] == len(others)
    assert f"The table lists 5 of the {number} architectures of the pool" in captured.err
    assert main([*flags.split(), *given[:-1], str(tmp_path / "b"), "--num-trials", "99"]) == 2
    assert f"the pool of space 'nasbench201' has only {number}" in capsys.readouterr().err


def test_a_result_is_set_beside_those_of_the_table_that_the_search_could_find(
    tmp_path: Path, table: TableSettings
) -> None:
    from supernets.networks.nasbench201_counts import NASBench201Counts

    counts = NASBench201Counts(num_classes=10).count(SPACE.choices_of(ARCHS))
    limit = float(np.median(counts[1]))
    values = np.array([sum(arch.choices) + 0.5 for arch in ARCHS])[counts[1] <= limit]
    job = SearchJob(**{**vars(JOB), "max_macs": limit})
    result = run(job, tmp_path / "run", algorithm=SETTINGS, estimator=table)
    found = result.summary["verdict"]
    assert found["truth"]["num_known"] == len(values) < len(ARCHS)
    assert found["truth"]["best"] == values.max()
    assert found["truth"]["rank"] == 1 + (values > found["truth"]["value"]).sum()
    assert f"of {len(values)} of the pool within the limits" in found["text"]
