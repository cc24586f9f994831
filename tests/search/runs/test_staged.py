"""A whole staged search: its files, how it goes on, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search.cli.search
import supernets.cli.train
from estimators import TabularEstimator
from search import StagedBasics, StagedJob, StagedOptions, staged_search
from search.runner import SearchError
from supernets.data.config import DataConfig
from supernets.runtime.own_code import OwnCodeError
from supernets.spaces import NASBench201Space

LEVELS = ("table:column=cheap,seconds=1", "table:column=true,seconds=20")
SUPERNET = "--channels 2 --cells-per-stage 1 --batch-size 600 --epochs 1 --num-probes 0".split()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of which 3x3 convolutions make the best; the cheap column is that and noise."""
    space, path = NASBench201Space(), tmp_path_factory.mktemp("table") / "table.csv"
    rng, rows = np.random.default_rng(0), ["arch_str,cheap,true"]
    for arch in space.enumerate():
        true = sum(op == 3 for op in arch.choices) + 0.5 * (arch.choices[3] == 1)
        rows.append(f"{space.format(arch)},{true + rng.normal():.4f},{true:.4f}")
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("supernet")
    assert supernets.cli.train.main([*SUPERNET, "--output", str(output)]) == 0
    return output / "last.pt"


def job(path: Path, **changes: Any) -> StagedJob:
    given = {"space": "nasbench201", "table": path, "levels": LEVELS, "budget": 150.0, **changes}
    return StagedJob(StagedBasics(**given))


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output / "trials.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_search_of_two_columns_leaves_its_answer_and_its_levels(
    table: Path, tmp_path: Path
) -> None:
    result = staged_search(job(table), tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "best.json").read_text())
    assert summary == json.loads(json.dumps(result.summary))
    assert summary["budget_seconds"] == 150 and 149 < summary["seconds"] <= 150
    cheap, top = summary["levels"]
    assert (cheap["name"], top["name"]) == LEVELS
    assert cheap["measurements"] + top["measurements"] == summary["measurements"]
    assert cheap["seconds"] == cheap["measurements"] and top["mean_seconds"] == 20
    assert cheap["share"] + top["share"] == pytest.approx(1, abs=1e-3)
    assert cheap["trust_interval"][0] <= cheap["trust"] <= cheap["trust_interval"][1]
    rows = rows_of(tmp_path / "run")
    assert [row["level"] for row in rows].count(LEVELS[1]) == top["measurements"]
    assert len(rows) == summary["measurements"]
    best = NASBench201Space().parse(summary["best"][0]["architecture"])
    assert sum(op == 3 for op in best.choices) >= 4
    assert summary["best"][0]["cost"]["macs"] > 0
    heaviest = summary["baselines"]["most_macs"]["architecture"]
    assert NASBench201Space().parse(heaviest).choices == (3,) * 6
    assert rows[0]["arch"] == heaviest  # what one takes who does not search is measured first
    assert (tmp_path / "run" / "search.png").stat().st_size > 1000


def test_a_search_that_was_killed_goes_on_to_the_same_bits(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = staged_search(job(table), tmp_path / "whole")
    calls, estimate = [], TabularEstimator.estimate

    def dies(self: TabularEstimator, arch: Any) -> Any:
        calls.append(arch)
        if len(calls) == 17:
            raise KeyboardInterrupt
        return estimate(self, arch)

    monkeypatch.setattr(TabularEstimator, "estimate", dies)
    part = staged_search(job(table), tmp_path / "part")
    assert not part.is_finished and len(part.trials) == 16
    assert len(rows_of(tmp_path / "part")) == 16
    again = staged_search(job(table), tmp_path / "part")
    assert again.trials == whole.trials
    assert again.summary == whole.summary


def test_a_larger_budget_continues_a_finished_search(table: Path, tmp_path: Path) -> None:
    short = staged_search(job(table, budget=80.0), tmp_path / "run")
    longer = staged_search(job(table, budget=160.0), tmp_path / "run")
    assert longer.trials[: len(short.trials)] == short.trials
    assert len(longer.trials) > len(short.trials) and longer.summary["seconds"] > 80


def test_other_levels_or_another_seed_are_another_search(table: Path, tmp_path: Path) -> None:
    staged_search(job(table, budget=30.0), tmp_path / "run")
    with pytest.raises(ValueError, match="seed was 0 and is now 1"):
        staged_search(job(table, budget=30.0, seed=1), tmp_path / "run")
    with pytest.raises(ValueError, match="levels"):
        staged_search(job(table, budget=30.0, levels=LEVELS[::-1]), tmp_path / "run")


def test_limits_hold_for_all_that_is_measured(table: Path, tmp_path: Path) -> None:
    result = staged_search(job(table, max_macs=50e6, budget=60.0), tmp_path / "run")
    assert result.summary["best"][0]["cost"]["macs"] <= 50e6
    heaviest = result.summary["baselines"]["most_macs"]["architecture"]
    assert heaviest == rows_of(tmp_path / "run")[0]["arch"]


@pytest.mark.slow
def test_levels_of_a_supernet_and_trainings_in_one_search(supernet: Path, tmp_path: Path) -> None:
    """By the command, then again with its trainings at hand."""
    levels = ["tse:num_batches=2,batch_size=600", "val_acc", "train:epochs=1,num_train=200",
              "train:epochs=2,channels=4,image_size=8"]  # fmt: skip
    flags = ["--algorithm", "staged", "--supernet", str(supernet), "--levels", *levels, "--budget",
             "6s", "--num-initial", "4", "--scratch-dir", str(tmp_path / "kept")]  # fmt: skip
    assert search.cli.search.main([*flags, "--output", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "best.json").read_text())
    assert [row["name"] for row in summary["levels"]] == levels
    assert all(row["measurements"] >= 1 for row in summary["levels"])
    assert summary["failed"] == 0
    assert summary["best"][0]["measured"]
    kept = list((tmp_path / "kept").glob("train-epochs-2*/*.json"))
    assert len(kept) == summary["levels"][-1]["measurements"] + 1  # and the settings
    rows = {(row["level"], row["arch"]): row for row in rows_of(tmp_path / "run")}
    assert search.cli.search.main([*flags, "--output", str(tmp_path / "again")]) == 0
    again = {(row["level"], row["arch"]): row for row in rows_of(tmp_path / "again")}
    both = [key for key in rows.keys() & again.keys() if key[0].startswith("train")]
    assert both and all(rows[key]["score"] == again[key]["score"] for key in both)


@pytest.mark.slow
def test_a_search_begun_without_kernels_says_how_to_go_on_where_there_are(
    supernet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def searched(level: str, budget: float) -> Any:
        basics = StagedBasics(supernet=supernet, levels=(level, "val_acc"), budget=budget)
        return staged_search(StagedJob(basics, StagedOptions(num_initial=2)), tmp_path / "run")

    has_kernels = False

    def chosen(choice: str, *_: object) -> str:
        return "2-avx512" if choice == "auto" and has_kernels else "off"

    monkeypatch.setattr("estimators.scores.extra_steps.chosen_kernels", chosen)
    begun = searched("tse:num_batches=1,batch_size=100", 0.3)
    has_kernels = True
    with pytest.raises(ValueError) as caught:
        searched("tse:num_batches=1,batch_size=100", 0.6)
    assert (
        "level tse:num_batches=1,batch_size=100 was begun with PyTorch's own kernels, and this "
        "machine would use the C++ ones (2-avx512): kernels=off among its settings in --levels "
        "continues it."
    ) in str(caught.value)
    again = searched("tse:num_batches=1,batch_size=100,kernels=off", 0.6)
    assert again.trials[: len(begun.trials)] == begun.trials


@pytest.mark.slow
def test_workers_measure_side_by_side(table: Path, tmp_path: Path) -> None:
    flags = ["--algorithm", "staged", "--space", "nasbench201", "--table", str(table), "--levels",
             *LEVELS, "--budget", "1m", "--workers", "2", "--output", str(tmp_path)]  # fmt: skip
    assert search.cli.search.main(flags) == 0
    summary = json.loads((tmp_path / "best.json").read_text())
    assert summary["seconds"] <= 60 and summary["lost_workers"] == 0


OWN = """
from estimators import EstimatorDefinition

class Broken:
    name = "broken"

    def estimate(self, arch):
        return [][0]

BROKEN = EstimatorDefinition("broken", lambda settings, inputs: Broken())
"""


def test_what_an_estimator_of_ones_own_raises_is_told_in_a_line(
    supernet: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    levels = (f"{tmp_path / 'mine.py'}:BROKEN", "val_acc")
    basics = StagedBasics(supernet=supernet, levels=levels, budget=1.0)
    with pytest.raises(OwnCodeError, match="broken.* IndexError"):
        staged_search(StagedJob(basics), tmp_path / "run")


def test_short_trainings_need_no_supernet(tmp_path: Path) -> None:
    levels = ("train:epochs=1,num_train=100,channels=2,cells_per_stage=1,batch_size=100",)
    basics = StagedBasics(space="nasbench201", levels=levels, budget=0.5)
    options = StagedOptions(num_initial=2)
    result = staged_search(StagedJob(basics, options, DataConfig("digits")), tmp_path)
    assert result.summary["levels"][0]["measurements"] >= 2


def test_a_search_of_which_all_fails_says_so(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from estimators.base import EstimateError

    def fails(self: TabularEstimator, arch: Any) -> Any:
        raise EstimateError("out of luck")

    monkeypatch.setattr(TabularEstimator, "estimate", fails)
    failing = StagedJob(job(table).basics, StagedOptions(num_initial=2))
    with pytest.raises(
        SearchError, match="measurements failed; the last, at table.*, with: out of luck"
    ):
        staged_search(failing, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": ()}, "needs --levels"),
        ({"budget": None}, "needs --budget, such as 4h"),
        ({"budget": -1.0}, "budget must be above 0"),
        ({"levels": ("tse",)}, "1 level of --levels, tse, cannot be measured without --supernet"),
        ({"table": None}, "Level table:column=cheap,seconds=1 needs --table"),
        ({"space": None}, "needs --supernet or --space"),
        ({"levels": ("train:epochs=1,layers=3",), "table": None}, "unknown setting 'layers'"),
        ({"levels": ("train:epochs=1",), "table": None}, "needs images; give --supernet, or"),
        ({"trainings": Path("kept")}, "--scratch-dir is of levels train"),
        ({"levels": ("train:epochs=1",)}, "--table is of levels table"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    table: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        staged_search(job(table, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-trials", "5"], "--num-trials is for --algorithm random"),
        (["--budget", "soon"], "must be a time such as 4h, 90m or 1h30m"),
        (["--levels", "table:column=none,seconds=1"], "none"),
        (["--levels", "train:epochs=1,num_train=99999", "--dataset", "digits"],
         "num_train is 99999, but there are 1149"),
    ],
)  # fmt: skip
def test_the_command_refuses_in_a_line(
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    base = ["--algorithm", "staged", "--space", "nasbench201", "--output", str(tmp_path / "run")]
    if "--budget" not in flags:
        base += ["--budget", "1m"]
    if "--levels" not in flags:
        base += ["--levels", *LEVELS]
    if not any("train" in each for each in flags):
        base += ["--table", str(table)]
    try:
        assert search.cli.search.main([*base, *flags]) == 2
    except SystemExit as error:  # of a flag alone
        assert error.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_table_of_a_part_of_the_space_is_searched_alone(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    part = tmp_path / "part.csv"
    part.write_text("\n".join([lines[0], *lines[9000:9039]]))
    result = staged_search(job(part, budget=5000.0), tmp_path / "run")
    assert result.summary["failed"] == 0
    assert [row["measurements"] for row in result.summary["levels"]] == [39, 39]


def test_a_budget_for_next_to_nothing_answers_what_was_measured(
    table: Path, tmp_path: Path
) -> None:
    result = staged_search(job(table, budget=3.0), tmp_path / "run")
    best = result.summary["best"][0]
    assert best["measured"]
    assert any("so few at" in doubt for doubt in result.summary["verdict"]["doubts"])


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_level_that_fails_wholly_is_given_up(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    from estimators.base import EstimateError

    estimate = TabularEstimator.estimate

    def fails(self: TabularEstimator, arch: Any) -> Any:
        if f"column={self.column}," in LEVELS[fails_at]:
            raise EstimateError("out of luck")
        return estimate(self, arch)

    monkeypatch.setattr(TabularEstimator, "estimate", fails)
    result = staged_search(job(table, budget=200.0), tmp_path / "run")
    rows = result.summary["levels"]
    assert rows[fails_at]["failed"] == rows[fails_at]["measurements"] >= 5
    assert rows[1 - fails_at]["measurements"] >= 2
    assert any("failed, see" in doubt for doubt in result.summary["verdict"]["doubts"])
    if fails_at == 0:
        assert rows[1]["measurements"] >= 8  # it goes on with the top level alone


def test_a_report_of_several_searches_says_where_a_staged_one_has_its_own(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staged_search(job(table, budget=30.0), tmp_path / "run")
    flags = ["--report-of", str(tmp_path / "run"), "--output", str(tmp_path / "report")]
    assert search.cli.search.main(flags) == 2
    assert "holds a staged search" in capsys.readouterr().err


def test_budget_and_levels_are_of_a_staged_search(capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--algorithm random --space nasbench201 --budget 1h --output nowhere".split()
    assert search.cli.search.main(flags) == 2
    assert "--budget is for --algorithm staged, not random" in capsys.readouterr().err
