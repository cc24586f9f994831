"""A whole search as a Python call, and how far its command is from the network."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search.cli.search
import supernets.cli.train
from estimators import TableSettings
from estimators.trials.store import TrialStore, read_header
from search import (
    GradientJob,
    RandomSearch,
    SearchJob,
    SearchProblem,
    SPOSEvolutionOptions,
)
from search import (
    search as run,
)
from supernets.runtime.device import resolve_device
from supernets.spaces import NASBench201Space
from tests.own_frames import frames_to_forward

FLAGS = "--channels 2 --cells-per-stage 1 --batch-size 600 --epochs 1 --num-probes 0".split()
JOB = SearchJob(
    space="nasbench201", estimator="table", algorithm="evolution", num_trials=12, batch_size=4
)


@pytest.fixture
def table(tmp_path: Path) -> TableSettings:
    space, path = NASBench201Space(), tmp_path / "table.csv"
    rows = [f"{space.format(arch)},{i / 200}" for i, arch in enumerate(space.enumerate())]
    path.write_text("\n".join(["arch_str,top1", *rows]))
    return TableSettings(path, "top1")


def test_from_the_command_to_the_network_there_are_at_most_eight_frames(tmp_path: Path) -> None:
    supernet = tmp_path / "supernet"
    assert supernets.cli.train.main([*FLAGS, "--output", str(supernet)]) == 0
    flags = "--algorithm random --num-trials 2 --tse-batches 2 --tse-batch-size 600".split()
    given = ["--supernet", str(supernet / "last.pt"), "--output", str(tmp_path / "run")]
    ways = frames_to_forward(lambda: search.cli.search.main([*given, *flags]))
    begin = ("main", "search", "run_search", "poll", "trial_of_estimate", "estimate")
    assert ways == {(*begin, "run", "forward")} and len(begin) + 2 <= 8


@pytest.mark.slow
def test_a_search_begun_without_kernels_says_how_to_go_on_where_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    supernet = tmp_path / "supernet"
    assert supernets.cli.train.main([*FLAGS, "--output", str(supernet)]) == 0
    flags = "--algorithm random --num-trials 2 --tse-batches 2 --tse-batch-size 600".split()
    flags += ["--supernet", str(supernet / "last.pt"), "--output", str(tmp_path / "run")]
    has_kernels = False

    def chosen(choice: str, *_: object) -> str:
        return "2-avx512" if choice == "auto" and has_kernels else "off"

    monkeypatch.setattr("estimators.scores.extra_steps.chosen_kernels", chosen)
    assert search.cli.search.main(flags) == 0
    capsys.readouterr()
    has_kernels = True
    assert search.cli.search.main(flags) == 2
    assert (
        "it was begun with PyTorch's own kernels, and this machine would use the C++ ones "
        "(2-avx512): --kernels off continues it."
    ) in capsys.readouterr().err
    assert search.cli.search.main([*flags, "--kernels", "off"]) == 0


@pytest.mark.slow
def test_a_call_is_continued_and_is_the_command(table: TableSettings, tmp_path: Path) -> None:
    """By settings that are given by name, as the flags of the command are."""
    short = run(SearchJob(**{**vars(JOB), "num_trials": 8}), tmp_path / "a", estimator=table,
                algorithm={"num_initial": 4})  # fmt: skip
    result = run(JOB, tmp_path / "a", estimator=table, algorithm={"num_initial": 4})
    assert short.is_finished and short.trials == result.trials[:8]
    assert [trial.number for trial in result.trials] == list(range(12))
    assert result.best[0].score == max(trial.score or 0 for trial in result.trials)
    assert result.summary == json.loads((tmp_path / "a" / "best.json").read_text())
    flags = "--space nasbench201 --estimator table --table-column top1 --algorithm evolution"
    flags += " --num-initial 4 --batch-size 4 --num-trials 12"
    files = ["--table", str(table.table), "--output", str(tmp_path / "b")]
    assert search.cli.search.main([*flags.split(), *files]) == 0
    found = [json.loads((tmp_path / name / "best.json").read_text())["best"] for name in "ab"]
    assert found[0] == found[1]
    csv = [(tmp_path / name / "trials.csv").read_text().splitlines() for name in "ab"]
    assert [line.split(",")[:3] for line in csv[0]] == [line.split(",")[:3] for line in csv[1]]


def test_objects_of_ones_own_are_searched_with(
    make_digit_space, make_estimator, tmp_path: Path
) -> None:
    """A space, an algorithm and an estimator that no command knows."""
    space = make_digit_space(4, 3)
    job = SearchJob(num_trials=20, batch_size=5)
    problem = SearchProblem(space, seed=3)
    result = run(job, tmp_path, algorithm=RandomSearch(problem), estimator=make_estimator())
    assert [trial.arch for trial in result.trials[:5]] == RandomSearch(problem).ask(5)
    assert result.space is space and result.summary["space"] == space.name
    with pytest.raises(ValueError, match="estimator name was .*planted.* and is now other"):
        other = make_estimator()
        other.name = "other"
        run(job, tmp_path, algorithm=RandomSearch(problem), estimator=other)
    with pytest.raises(
        ValueError, match="Constraints, a resolution and a pool are of an algorithm's"
    ):
        bounded = SearchJob(num_trials=20, max_macs=1e6)
        run(bounded, tmp_path / "b", algorithm=RandomSearch(problem), estimator=make_estimator())


def test_mistakes_are_refused_before_any_file(table: TableSettings, tmp_path: Path) -> None:
    for job, settings, message in (
        (SearchJob(), {}, "--estimator tse needs --supernet"),
        (SearchJob(estimator="table"), {}, "needs --space"),
        (JOB, {"algorithm": {"top_n": 5}}, "has no option top_n"),
        (JOB, {"algorithm": SPOSEvolutionOptions(num_initial=12)}, None),  # as it is given
        (JOB, {"algorithm": {"num_initial": 12}}, "would be all of --num-trials 12"),
    ):
        settings = {"estimator": table if job.estimator == "table" else None, **settings}
        if message is None:
            assert len(run(job, tmp_path / "fine", **settings).trials) == 12
            continue
        with pytest.raises(ValueError, match=message):
            run(job, tmp_path / "run", **settings)
        assert not (tmp_path / "run").exists()


def test_trials_are_a_table_of_pandas(
    make_digit_space, make_estimator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Column by column; what a trial does not have is missing."""
    space, estimator = (
        make_digit_space(4, 3),
        make_estimator(fails=lambda arch: arch.choices[0] == 2),
    )
    job = SearchJob(num_trials=18, batch_size=9)
    algorithm = RandomSearch(SearchProblem(space))
    result = run(job, tmp_path, algorithm=algorithm, estimator=estimator, device="auto")
    asked = json.loads((tmp_path / "args.json").read_text())["args"]
    assert {name: asked[name] for name in ("threads", "num_workers", "amp")} == {
        "threads": None,
        "num_workers": 2,
        "amp": None,
    }
    assert asked["device"] == str(resolve_device("auto"))
    table = result.trials_dataframe()
    assert list(table) == ["number", "arch", "score", "seconds", "error", "loss"]
    for name in ("number", "score", "seconds", "error"):
        told = [getattr(trial, name) for trial in result.trials]
        assert table[name].astype(object).where(table[name].notna(), None).tolist() == told
    assert table.arch.tolist() == [space.format(trial.arch) for trial in result.trials]
    losses = [trial.metrics.get("loss", math.nan) for trial in result.trials]
    np.testing.assert_array_equal(table.loss, losses)
    assert table.score.dtype == np.float64
    assert table.score.isna().any() and table.error.isna().any()
    header = read_header(tmp_path / "trials.db")
    with TrialStore.open(tmp_path / "trials.db", header, space) as store:
        assert store.trials_dataframe().equals(table)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'paceline\[pandas\]'"):
        result.trials_dataframe()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"job": GradientJob()}, "job must be a SearchJob, got a GradientJob; a GradientJob is"),
        ({"estimator": "tse"}, "or None, got 'tse'; SearchJob"),
        ({"estimator": {"table": "x"}}, "estimator must be an EstimatorSettings or None, got {'ta"),
        ({"estimator": TableSettings}, "got the class TableSettings; .* here TableSettings; or"),
        ({"algorithm": "evolution"}, "or None, got 'evolution'; SearchJob"),
        ({"algorithm": RandomSearch}, "or None, got the class RandomSearch; SearchJob"),
        ({"job": "x"}, "job must be a SearchJob, got 'x'; SearchJob"),
        ({"output": 5}, "output must be a path or text, got 5"),
        ({"device": "tpu"}, "Unknown device 'tpu'; this machine has cpu"),
        ({"threads": "a"}, "threads must be a whole number, got 'a'"),
        ({"num_workers": -1}, "num_workers must not be negative, got -1"),
        ({"amp": "x"}, "amp must be True, False or None, got 'x'"),
        ({"executors": 4}, "executors must be an ExecutorSettings or None, got 4"),
    ],
)
def test_arguments_of_another_kind_are_refused(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        run(**{"job": JOB, "output": tmp_path / "run", **given})
    assert not (tmp_path / "run").exists()


def test_problems_and_asks_of_another_kind_are_refused() -> None:
    space: Any = NASBench201Space()
    text: Any = "nasbench201"
    with pytest.raises(ValueError, match="space must be a SearchSpace, got 'nasbench201'; create"):
        SearchProblem(text)
    with pytest.raises(ValueError, match="seed must be a whole number, got '0'"):
        SearchProblem(space, seed="0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="problem must be a SearchProblem, got a NASBench201Space"):
        RandomSearch(space)
    for wrong in ("1", 1.5):
        with pytest.raises(ValueError, match=f"num_archs must be a whole number, got {wrong!r}"):
            RandomSearch(SearchProblem(space)).ask(wrong)  # type: ignore[arg-type]


def test_paths_of_a_job_may_be_text() -> None:
    text: Any = "runs/x/last.pt"
    assert SearchJob(supernet=text).supernet == Path(text)
    assert TableSettings(text, "top1").table == Path(text)
