"""Runs read back from their folders: everything that was stored, and nothing that is not so."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from estimators.trials.store import Trial, TrialStore
from search.algorithms.log_regret_gp import LogRegretGP
from search.algorithms.meta_supernets import meta_supernet
from search.algorithms.problem import SearchProblem
from search.algorithms.registry import algorithm_settings, create_algorithm
from search.algorithms.zero_cost_features import ZeroCostFeatures
from search.cli.options import build_parser
from search.report.recorded_runs import RecordedRun, read_run, rounds_of
from supernets.cost.analytic import CostModel
from supernets.networks.base import Supernet
from supernets.networks.factory import create_supernet
from supernets.networks.nasbench201_counts import NASBench201Counts
from supernets.runtime.run_record import write_args
from supernets.spaces import Architecture
from supernets.spaces.factory import create_space
from supernets.training.checkpoint import save_supernet, weights_digest

SPACE = create_space("nasbench201")
WEAKNAS = {"num_initial": 4, "predictor": "gradient_boosting"}
WriteRun = Callable[..., Path]


def archs_of(count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return list(dict.fromkeys(SPACE.architectures(SPACE.sample_choices(2 * count, rng))))[:count]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Writes the folder of a run as the command does, with a failure as trial 2."""

    def write_run(
        name: str = "run",
        *,
        algorithm: str = "weaknas",
        options: Mapping[str, Any] = WEAKNAS,
        header: Mapping[str, Any] | None = None,
        argv: str = "",
        num_trials: int = 9,
        failed: Sequence[int] = (2,),
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        args = build_parser().parse_args(shlex.split(f"{argv} --output {shlex.quote(str(folder))}"))
        write_args(folder, vars(args))
        full = {
            "space": SPACE.name,
            "resolution": None,
            "supernet": None,
            "algorithm": {
                "name": algorithm,
                "batch_size": 3,
                **algorithm_settings(algorithm, **options),
            },
            "estimator": {"name": "table"},
            "constraints": [],
            "latency_table": None,
            "seed": 5,
            **(header or {}),
        }
        with TrialStore.open(folder / "trials.db", full, SPACE) as store:
            store.ask(archs_of(num_trials + 1))  # the last one is pending
            for number, arch in store.pending[:num_trials]:
                score, error = (None, "loss is nan") if number in failed else (0.1 * number, None)
                store.tell(Trial(number, arch, score, {"top1": 1.0}, 0.5, error))
        return folder

    return write_run


def predictions_of(run: RecordedRun) -> np.ndarray[Any, Any]:
    """Of a predictor that knows the successful trials."""
    assert run.make_predictor is not None
    predictor = run.make_predictor(1)
    told = [trial for trial in run.trials if trial.score is not None]
    choices = SPACE.choices_of(trial.arch for trial in told)
    predictor.fit(choices, np.array([trial.score for trial in told]))
    return predictor.predict(SPACE.choices_of(archs_of(30)))


def test_a_run_of_a_table(write_run: WriteRun) -> None:
    argv = "--space nasbench201 --estimator table --table 'my table.csv' --table-column top1"
    folder = write_run("my run", argv=f"{argv} --seed 5 --exclude-before-top")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    run = read_run(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before

    assert (run.name, run.seed, run.space.name) == ("my run", 5, "nasbench201")
    archs = archs_of(9)
    assert run.trials == tuple(
        Trial(i, arch, None if i == 2 else 0.1 * i, {"top1": 1.0}, 0.5, "loss is nan")
        if i == 2
        else Trial(i, arch, 0.1 * i, {"top1": 1.0}, 0.5, None)
        for i, arch in enumerate(archs)
    )
    assert run.rounds == (range(0, 4), range(4, 7), range(7, 9))
    assert run.header["estimator"] == {"name": "table"}
    with torch.device("meta"):  # the networks of the benchmark
        cost_model = CostModel(create_supernet("nasbench201", num_classes=10))
    assert run.costs == {arch: cost_model.measure(arch) for arch in archs}
    assert run.versions["numpy"] == np.__version__
    assert run.versions.keys() >= {"python", "numpy", "git commit"}
    again = build_parser().parse_args(shlex.split(run.command)[1:])
    given = json.loads((folder / "args.json").read_text())["args"]
    assert json.loads(json.dumps(vars(again), default=str)) == given
    assert shlex.split(run.command)[0] == "supernet-search"


def test_any_value_of_a_header_is_read_or_refused_in_a_line(
    write_run: WriteRun, edits: Callable[..., Any], is_refused: Callable[..., bool]
) -> None:
    folder = write_run(num_trials=3)
    path = folder / "trials.db"
    with closing(sqlite3.connect(path)) as connection:
        stored = dict(connection.execute("SELECT key, value FROM header").fetchall())
    whole = {key: json.loads(text) for key, text in stored.items()}
    num_refused = 0
    for _, edited in edits(whole, every=17):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM header")
            rows = [(key, json.dumps(value)) for key, value in edited.items()]
            connection.executemany("INSERT INTO header (key, value) VALUES (?, ?)", rows)
        num_refused += is_refused(folder, lambda: read_run(folder))
    assert num_refused > 5


def test_any_value_of_args_json_is_read_or_refused_in_a_line(
    write_run: WriteRun, edits: Callable[..., Any], is_refused: Callable[..., bool]
) -> None:
    folder = write_run(num_trials=3)
    path = folder / "args.json"
    whole = json.loads(path.read_text())
    for _, edited in edits(whole, every=29):
        path.write_text(json.dumps(edited))
        is_refused(path, lambda: read_run(folder))


def test_the_predictor_is_that_of_the_settings(write_run: WriteRun) -> None:
    run = read_run(write_run())
    integers = read_run(write_run("other", options={**WEAKNAS, "encoding": "integers"}))
    found = predictions_of(run)
    assert np.isfinite(found).all() and found.std() > 0
    assert not np.array_equal(found, predictions_of(integers))
    without = read_run(write_run("random", algorithm="random", options={}))
    assert without.make_predictor is None
    assert without.rounds == (range(0, 3), range(3, 6), range(6, 9))


def test_the_predictor_of_a_neural_predictor_knows_the_first_trials(write_run: WriteRun) -> None:
    options = {"num_initial": 3, "predictor": "gradient_boosting"}
    run = read_run(write_run(algorithm="neural-predictor", options=options))
    assert np.isfinite(predictions_of(run)).all() and run.num_fitted == 3
    # two have to succeed
    late = read_run(
        write_run("late", algorithm="neural-predictor", options=options, failed=(0, 1, 2, 4))
    )
    assert late.num_fitted == 6
    # where there are two, none ranks alone
    two = {**options, "two_stage": True}
    assert (
        read_run(write_run("two", algorithm="neural-predictor", options=two)).make_predictor is None
    )
    assert read_run(write_run("weaknas")).num_fitted is None


def test_the_predictor_of_structural_bo_learns_regrets(write_run: WriteRun) -> None:
    run = read_run(write_run(algorithm="structural-bo", options={}))
    assert run.make_predictor is not None
    assert isinstance(run.make_predictor(0), LogRegretGP)
    assert np.isfinite(predictions_of(run)).all()


def test_rounds_are_those_of_the_algorithm() -> None:
    trials = [Trial(i, arch, 0.0, {}, 0.0, None) for i, arch in enumerate(archs_of(9))]
    algorithm = create_algorithm("evolution", SearchProblem(SPACE), num_initial=2)
    assert rounds_of(algorithm, trials, 4) == (range(0, 2), range(2, 6), range(6, 9))
    assert algorithm.trials == trials


@pytest.mark.parametrize("name", ["random", "evolution", "regularized-evolution", "weaknas"])
def test_rounds_found_at_once_are_those_of_trials_told_one_round_after_the_other(
    name: str,
) -> None:
    trials = [Trial(i, arch, 0.0, {}, 0.0, None) for i, arch in enumerate(archs_of(80))]
    for batch_size in (1, 3):
        stepwise, at_once = (create_algorithm(name, SearchProblem(SPACE)) for _ in range(2))
        rounds, start = [], 0
        while start < len(trials):
            stop = min(start + stepwise.next_batch_size(batch_size), len(trials))
            stepwise.tell(trials[start:stop])
            rounds.append(range(start, stop))
            start = stop
        assert rounds_of(at_once, trials, batch_size) == tuple(rounds)
        assert at_once.trials == stepwise.trials == trials
        assert at_once.ask(3) == stepwise.ask(3)


def test_rounds_are_found_with_one_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = create_algorithm("regularized-evolution", SearchProblem(SPACE), population_size=10)
    tell, sizes = algorithm.tell, []

    def counted(trials: Sequence[Trial]) -> None:
        sizes.append(len(trials))
        tell(trials)

    monkeypatch.setattr(algorithm, "tell", counted)
    trials = [Trial(i, arch, 0.0, {}, 0.0, None) for i, arch in enumerate(archs_of(40))]
    assert len(rounds_of(algorithm, trials, 1)) == 31
    assert sizes == [40]


def test_the_verdict_is_that_of_the_last_trial(write_run: WriteRun) -> None:
    folder = write_run()
    assert read_run(folder).verdict == ""
    result = {"trials": 9, "verdict": {"text": "good."}}
    (folder / "best.json").write_text(json.dumps(result))
    assert read_run(folder).verdict == "good."
    (folder / "best.json").write_text(json.dumps({**result, "trials": 8}))
    assert read_run(folder).verdict == ""
    (folder / "best.json").write_text("[1")
    assert read_run(folder).verdict == ""


def test_costs_are_of_the_supernet_that_was_searched(write_run: WriteRun, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    settings = {"num_classes": 3, "channels": 4, "cells_per_stage": 1}
    supernet = create_supernet("nasbench201", **settings)
    save_supernet(path, supernet)
    header = {"supernet": weights_digest(supernet), "estimator": {"name": "tse"}}
    folder = write_run(header=header, argv=f"--supernet {path}")
    run = read_run(folder)
    assert run.costs == {arch: CostModel(supernet).measure(arch) for arch in archs_of(9)}
    stand_in = CostModel(meta_supernet("nasbench201"))
    assert all(cost.macs < stand_in.measure(arch).macs for arch, cost in run.costs.items())
    assert run.make_predictor is not None

    save_supernet(path, create_supernet("nasbench201", **settings))  # other weights
    assert read_run(folder).costs == {}
    path.unlink()
    run = read_run(folder)
    assert run.costs == {} and run.make_predictor is not None
    assert len(run.trials) == 9


def test_inputs_of_predictors_come_from_the_folder(write_run: WriteRun, tmp_path: Path) -> None:
    options = {**WEAKNAS, "predictor_inputs": ["macs", "snip"]}
    folder = write_run(options=options)
    assert read_run(folder).make_predictor is None  # no proxy was ever measured
    assert not (folder / "cheap_scores.db").exists()

    costs = CostModel(meta_supernet("nasbench201"))
    scores = ZeroCostFeatures(
        ["macs", "snip"], SPACE, count=costs.measure_all, path=folder / "cheap_scores.db"
    )
    choices = SPACE.choices_of(archs_of(31))
    scores.measure_with(lambda arch: {"snip": float(sum(arch.choices))})
    scores(choices[:30])
    run = read_run(folder)
    assert not np.array_equal(predictions_of(run), predictions_of(read_run(write_run("plain"))))
    assert run.make_predictor is not None
    predictor = run.make_predictor(1)
    with pytest.raises(ValueError, match="zero-cost proxies of"):
        predictor.fit(choices[30:], np.zeros(1))

    gone = {"supernet": "ab" * 32}
    costs_only = {**WEAKNAS, "predictor_inputs": ["macs"]}
    assert read_run(write_run("macs", options=costs_only)).make_predictor is not None
    folder = write_run("gone", options=costs_only, header=gone, argv="--supernet gone.pt")
    assert read_run(folder).make_predictor is None


def test_proxies_of_proxybo_are_not_needed(write_run: WriteRun) -> None:
    options = {"num_initial": 4, "predictor_inputs": ["macs", "snip"]}
    plain = predictions_of(read_run(write_run("bo", algorithm="bo", options={"num_initial": 4})))
    gone = {"supernet": "ab" * 32}
    for name, header, argv in (("here", {}, ""), ("gone", gone, "--supernet gone.pt")):
        run = read_run(
            write_run(name, algorithm="proxybo", options=options, header=header, argv=argv)
        )
        np.testing.assert_array_equal(predictions_of(run), plain)
        assert run.header["algorithm"]["predictor_inputs"] == ["macs", "snip"]


def test_folders_without_a_search_are_refused(write_run: WriteRun, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no search: it has no trials\.db"):
        read_run(tmp_path)
    folder = write_run()
    (folder / "args.json").write_text("{")
    with pytest.raises(ValueError, match=r"args\.json is not the record of how a search"):
        read_run(folder)
    (folder / "args.json").unlink()
    with pytest.raises(ValueError, match=r"args\.json is not the record of how a search"):
        read_run(folder)


def test_runs_without_a_success_are_refused(write_run: WriteRun) -> None:
    with pytest.raises(ValueError, match=r"0 trials and none that succeeded\.$"):
        read_run(write_run("none", num_trials=0))
    with pytest.raises(ValueError, match="4 trials and none .*, the last with: loss is nan$"):
        read_run(write_run("failed", num_trials=4, failed=range(4)))


def test_runs_of_others_are_refused(write_run: WriteRun, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    folder.mkdir()
    TrialStore.open(folder / "trials.db", {"space": SPACE.name, "seed": 0}, SPACE).close()
    (folder / "args.json").write_text('{"args": {}, "versions": {}, "git_commit": null}')
    with pytest.raises(ValueError, match="no resolution, supernet, algorithm, estimator"):
        read_run(folder)
    with pytest.raises(ValueError, match=r"its header has no algorithm\.batch_size, estimator\."):
        read_run(write_run("own", header={"algorithm": {"name": "random"}, "estimator": "table"}))
    for number, record in enumerate(("[]", '{"args": {}}')):
        folder = write_run(f"record{number}")
        (folder / "args.json").write_text(record)
        with pytest.raises(ValueError, match=r"args\.json was not written by supernet-search"):
            read_run(folder)
    other = {"algorithm": {"name": "weaknas", "batch_size": 3, "depth": 3}}
    with pytest.raises(ValueError, match="'weaknas' has no option depth"):
        read_run(write_run("newer", header=other))
    with pytest.raises(ValueError, match="is of space 'mazes', which is unknown here"):
        read_run(write_run("mazes", header={"space": "mazes"}))


def test_a_stand_in_has_no_weights() -> None:
    supernet = meta_supernet("nasnet")
    assert isinstance(supernet, Supernet)
    assert {weight.device.type for weight in supernet.parameters()} == {"meta"}
    assert isinstance(meta_supernet("nasbench201"), NASBench201Counts)  # no network at all
    assert meta_supernet("nasbench101") is None  # there are tables only
    with pytest.raises(ValueError, match="Unknown space 'mazes'; choose from nasbench201"):
        meta_supernet("mazes")
