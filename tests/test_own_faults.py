"""Faults of estimators, algorithms, predictors and paths of one's own are one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search.cli.search
import supernets.cli.train
from estimators import create_estimator
from estimators.executors import ExecutorError, LocalProcesses
from estimators.executors.measure import trial_of_estimate
from search import (
    PREDICTORS,
    RandomSearch,
    SearchProblem,
    SpaceExhaustedError,
    TrialStore,
    create_algorithm,
    create_predictor,
    run_search,
)
from search.predictors.base import OnScaleOfScores
from search.runner import SearchError
from search.testing.landscape import DigitSpace, PlantedEstimator
from supernets.runtime.own_code import OwnCodeError
from supernets.spaces import NASBench201Space
from supernets.training.own_paths import draw_paths
from supernets.training.path_factory import create_path_sampler
from tests.own_files import forget

SPACE = DigitSpace(3, 3)
FAULTS = """
from dataclasses import dataclass

import numpy as np
import torch

from estimators import Estimate, EstimateError, EstimatorDefinition, EstimatorSettings
from search import AlgorithmDefinition, PredictorDefinition, SearchAlgorithm, SpaceExhaustedError
from supernets import PathsDefinition
from supernets.spaces import Architecture


class Free(EstimatorSettings):
    needs = ()


def raises(*given):
    raise KeyError("of mine")


def estimator(name, estimate):
    def build(settings, inputs):
        return type("Mine", (), {"name": name, "estimate": lambda self, arch: estimate(arch)})()

    return EstimatorDefinition(name, build, Free)


def scored(score, metrics=(), **given):
    return lambda arch: Estimate(score, dict(metrics), 0.0, **given)


def refuses(arch):
    raise EstimateError("not this one")


E_FLOAT = estimator("float", lambda arch: 3.0)
E_NONE = estimator("none", lambda arch: None)
E_TEXT = estimator("text", scored("1.0"))
E_TENSOR = estimator("tensor", scored(torch.ones(3)))
E_METRIC = estimator("metric", scored(1.0, {"t": "hello"}))
E_KEY = estimator("key", scored(1.0, {3: 1.0}))
E_CURVE = estimator("curve", scored(1.0, curves={"c": 2.0}))
E_RAISES = estimator("raises", raises)
E_EXIT = estimator("exit", lambda arch: exit(3))
E_NAN = estimator("nan", scored(float("nan")))
E_INF = estimator("inf", scored(np.float32("inf")))
E_REFUSES = estimator("refuses", refuses)
E_FINE = estimator("fine", scored(torch.tensor(2.0), {"a": np.float32(1), "b": torch.tensor(3)}))
E_INIT = EstimatorDefinition("init", type("NoInit", (), {}), Free)
E_BARE = EstimatorDefinition("bare", lambda settings, inputs: 3, Free)


class ByName:
    name = "by-name"

    def __init__(self, settings, inputs):
        pass

    def estimate(self, arch):
        return raises()


E_BY_NAME = EstimatorDefinition("by-name", ByName, Free)


def algorithm(name, choose, **more):
    class Mine(SearchAlgorithm):
        _choose = choose

    for key, value in more.items():
        setattr(Mine, key, value)
    return AlgorithmDefinition(name, Mine, batch_size=2)


A_NONE = algorithm("none", lambda self, n, rng: None)
A_ARCHS = algorithm("archs", lambda self, n, rng: [self.space.sample(rng) for _ in range(n)])
A_FLOAT = algorithm("float", lambda self, n, rng: self._sample_unseen(n, rng) + 0.0)
A_RANGE = algorithm("range", lambda self, n, rng: self._sample_unseen(n, rng) * 0 + 9)
A_TWICE = algorithm("twice", lambda self, n, rng: self._sample_unseen(1, rng).repeat(n, axis=0))
A_AGAIN = algorithm("again", lambda self, n, rng: np.array([[0, 0, i] for i in range(n)]))
A_EMPTY = algorithm("empty", lambda self, n, rng: self._sample_unseen(n, rng)[:0])
A_MORE = algorithm("more", lambda self, n, rng: self._sample_unseen(n + 3, rng))
A_RAISES = algorithm("raises", raises)
A_TELL = algorithm("tell", lambda self, n, rng: self._sample_unseen(n, rng), tell=raises)
A_SIZE = algorithm("size", raises, next_batch_size=lambda self, size: None)
A_SIZES = algorithm("sizes", raises, batch_size_after=raises)
A_ASK = algorithm("ask", raises, ask=lambda self, n: None)
A_ASK_ROWS = algorithm("ask-rows", raises, ask=lambda self, n: [(0, 0, 0)] * n)
A_ELSEWHERE = algorithm("of", raises, ask=lambda self, n: [Architecture("x", (0,))] * n)
A_BROKEN = algorithm("broken", lambda self, n, rng: np.array([[2, 2, i] for i in range(n)]))
A_INIT = algorithm("init", raises, __init__=lambda self: None)
A_SUPER = algorithm("super", raises, __init__=lambda self, problem, options: None)
A_LIST = algorithm("list", lambda self, n, rng: self._sample_unseen(n, rng).tolist())


def exhausted(*given):
    raise SpaceExhaustedError("that was all")


A_LEFT = algorithm("left", exhausted)


class Predictor:
    def __init__(self, space, seed, *, encoding):
        pass

    def fit(self, choices, scores):
        pass


def predictor(name, predict, **more):
    mine = type("Mine", (Predictor,), {"predict": predict, **more})
    return PredictorDefinition(name, mine, takes_features=False)


P_NONE = predictor("none", lambda self, choices: None)
P_SHORT = predictor("short", lambda self, choices: np.zeros(3))
P_FLAT = predictor("flat", lambda self, choices: np.zeros((len(choices), 2)))
P_TEXT = predictor("text", lambda self, choices: ["a"] * len(choices))
P_NAN = predictor("nan", lambda self, choices: np.where(choices[:, 0] == 1, np.nan, 0.0))
P_RAISES = predictor("raises", raises)
P_FIT = predictor("fit", raises, fit=raises)
P_LIST = predictor("list", lambda self, choices: [float(row[0]) for row in choices])
P_STD = predictor("std", raises, predict_with_std=lambda self, choices: np.zeros(len(choices)))
P_LESS = predictor(
    "less", raises, predict_with_std=lambda self, c: (np.zeros(len(c)), np.full(len(c), -1.0))
)
P_INIT = PredictorDefinition("init", type("NoInit", (), {}), takes_features=False)
P_BARE = PredictorDefinition("bare", type("Bare", (Predictor,), {}), takes_features=False)


class Paths:
    sums_gradients, distills = False, False

    def __init__(self, space, cost_model, num_paths):
        self.space = space


def paths(name, sample, **more):
    return PathsDefinition(name, type("Mine", (Paths,), {"sample": sample, **more}))


T_NONE = paths("none", lambda self, rng, measure_loss: None)
T_EMPTY = paths("empty", lambda self, rng, measure_loss: [])
T_BARE = paths("bare", lambda self, rng, measure_loss: self.space.sample(rng))
T_TEXT = paths("text", lambda self, rng, measure_loss: ["0-1-2"])
T_PAIR = paths("pair", lambda self, rng, measure_loss: [(self.space.sample(rng), 0.5)])
T_OTHER = paths("other", lambda self, rng, measure_loss: [Architecture("digits3x3", (9, 0, 0))])
T_RAISES = paths("raises", raises)
T_INIT = PathsDefinition("init", type("NoInit", (), {}))
T_ATTRIBUTES = PathsDefinition("attributes", lambda *given: 3)
T_SWITCH = paths("switch", raises, distills="no")
T_FINE = paths("fine", lambda self, rng, measure_loss: (self.space.sample(rng),))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "faults.py").write_text(FAULTS)
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    yield
    forget()


def refused(failure: pytest.ExceptionInfo[OwnCodeError], expected: str, whose: str) -> None:
    """Makes sure that an error is one whole line, and says whose fault it is."""
    message = str(failure.value)
    assert re.search(expected, message), message
    assert whose in message and "faults.py" in message, message
    assert "\n" not in message and message.endswith(".") and ".." not in message
    assert failure.value.is_raised == (failure.value.__cause__ is not None)


def measured_by(name: str, num_trials: int = 2) -> Any:
    estimator = create_estimator(f"faults.py:{name}", space=SPACE)
    return [
        trial_of_estimate(estimator, i, arch, SPACE)
        for i, arch in enumerate(RandomSearch(SearchProblem(SPACE)).ask(num_trials))
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("E_FLOAT", r"must return an Estimate from estimate\(arch\), got 3.0 for 2-1-1; return"),
        ("E_NONE", r"must return an Estimate from estimate\(arch\), got None for 2-1-1; return"),
        ("E_TEXT", r"must give a number as score, got '1.0' for 2-1-1\."),
        ("E_TENSOR", r"a number as score, got a Tensor of float32 with shape \(3,\) for 2-1-1\."),
        ("E_METRIC", r"must give a number as metric 't', got 'hello' for 2-1-1\."),
        ("E_KEY", r"must give a dict by names as metrics, got \{3: 1.0\} for 2-1-1\."),
        ("E_CURVE", r"must give a tuple as curve 'c', got 2.0 for 2-1-1\."),
        ("E_RAISES", r"failed on 2-1-1: KeyError: 'of mine' .*; .* or raise EstimateError"),
        ("E_EXIT", r"failed on 2-1-1: SystemExit: 3 .*; "),
        (
            "E_INIT",
            r"could not be built: TypeError: NoInit\(\) takes no arguments; it is built by build",
        ),
    ],
)
def test_an_estimator(name: str, expected: str) -> None:
    with pytest.raises(OwnCodeError) as failure:
        measured_by(name)
    refused(failure, expected, f"Estimator '{name[2:].lower()}'")


def test_a_score_that_is_not_finite_fails_its_trial_as_an_estimate_error_does() -> None:
    for name, error in (
        ("E_NAN", "The score is nan."),
        ("E_INF", "The score is inf."),
        ("E_REFUSES", "not this one"),
    ):
        assert [(t.score, t.error) for t in measured_by(name)] == [(None, error)] * 2
    fine = measured_by("E_FINE")[0]
    assert fine.score == 2.0 and fine.metrics == {"a": 1.0, "b": 3.0} and fine.error is None
    assert all(type(value) is float for value in fine.metrics.values())
    with pytest.raises(ValueError, match="build of estimator 'bare' must return an object with"):
        measured_by("E_BARE")


def searched(folder: Path, algorithm: Any, estimator: Any = None, num_trials: int = 6) -> Any:
    with TrialStore.open(folder / "trials.db", {}, SPACE) as store:
        return run_search(
            algorithm, estimator or PlantedEstimator(), store, num_trials=num_trials, batch_size=2
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A_NONE", r"must choose an integer array of shape \(2, 3\), got None; return rows of"),
        ("A_ARCHS", r"got \[Architecture\(.*; self.space.choices_of\(archs\) makes them of Arch"),
        ("A_FLOAT", r"integer array of shape \(2, 3\), got a ndarray of float64 with shape \(2, 3"),
        ("A_RANGE", r"must choose an index from 0 to 2 for 'd0', got 9 in row 0\."),
        ("A_TWICE", r"that are distinct and were not told before, got \d-\d-\d, which comes twice"),
        ("A_AGAIN", r"distinct and were not told before, got 0-0-0, which was told before"),
        (
            "A_EMPTY",
            r"got a ndarray of int64 with shape \(0, 3\); raise search.SpaceExhaustedError",
        ),
        ("A_MORE", r"got a ndarray of int64 with shape \(5, 3\); leave out those that are too"),
        ("A_RAISES", r"failed in ask\(2\): KeyError: 'of mine' .*; what was measured"),
        ("A_TELL", r"failed in tell: KeyError: 'of mine'"),
        ("A_SIZE", r"a whole number of at least 1 from next_batch_size, got None\."),
        ("A_SIZES", r"failed in next_batch_size: KeyError: 'of mine'"),
        ("A_ASK", r"must ask for a list of 2 Architecture objects, got None"),
        ("A_ASK_ROWS", r"must ask for a list of 2 Architecture objects, got \(0, 0, 0\) in it"),
        ("A_ELSEWHERE", r"asked for what is not of the space: ValueError: Architecture is from"),
        ("A_BROKEN", r"must ask for architectures that problem.is_feasible allows, got 2-2-0\."),
        (
            "A_INIT",
            r"could not be built: TypeError: .*takes 1 positional argument but 3 were given; it",
        ),
        ("A_SUPER", r"must have its SearchProblem as problem, got none; call super\(\).__init__"),
    ],
)
def test_an_algorithm(tmp_path: Path, name: str, expected: str) -> None:
    problem = SearchProblem(SPACE, are_feasible=lambda choices: choices[:, :2].sum(axis=1) < 4)
    with pytest.raises(OwnCodeError) as failure:
        searched(tmp_path, create_algorithm(f"faults.py:{name}", problem))
    refused(failure, expected, "Algorithm ")


def test_rows_may_be_lists_and_an_exhausted_space_is_no_fault(tmp_path: Path) -> None:
    problem = SearchProblem(SPACE)
    assert searched(tmp_path, create_algorithm("faults.py:A_LIST", problem)).score is not None
    with pytest.raises(SpaceExhaustedError, match="^that was all$"):
        searched(tmp_path, create_algorithm("faults.py:A_LEFT", problem), num_trials=8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("P_NONE", r"must return 27 numbers from predict, one for each architecture, got None\."),
        ("P_SHORT", r"each architecture, got a ndarray of float64 with shape \(3,\)\."),
        ("P_FLAT", r"each architecture, got a ndarray of float64 with shape \(27, 2\)\."),
        ("P_TEXT", r"each architecture, got \['a', "),
        ("P_NAN", r"got nan for 9 of them; predict a finite number for every architecture\."),
        ("P_RAISES", r"failed in predict, of 27 architectures: KeyError: 'of mine'"),
        ("P_FIT", r"failed in fit, to 2 scores: KeyError: 'of mine'"),
        ("P_INIT", r"could not be built: .*; it is built by build\(space, seed, encoding=…\)\."),
        (
            "P_BARE",
            r"must be an object with fit\(choices, scores\) and predict\(choices\), got a B",
        ),
    ],
)
def test_a_predictor(tmp_path: Path, name: str, expected: str) -> None:
    problem = SearchProblem(SPACE)
    with pytest.raises(OwnCodeError) as failure:
        given = {"predictor": f"faults.py:{name}", "num_initial": 2}
        searched(tmp_path, create_algorithm("weaknas", problem, **given))
    refused(failure, expected, "Predictor ")


def test_what_a_predictor_says_of_its_deviations_and_lists(tmp_path: Path) -> None:
    choices, scores = SPACE.all_choices()[:4], np.arange(4.0)
    for name, expected in (
        ("P_STD", "must return a tuple of means and deviations from predict_with_std, got a ndar"),
        ("P_LESS", "must return deviations of at least 0 from predict_with_std, got -1"),
    ):
        predictor = create_predictor(f"faults.py:{name}", SPACE, 0)
        with pytest.raises(OwnCodeError, match=expected):
            OnScaleOfScores(predictor, choices, scores).predict_with_std(choices)
    listed = OnScaleOfScores(create_predictor("faults.py:P_LIST", SPACE, 0), choices, scores)
    assert listed.predict(choices).tolist() == [scores.mean()] * 4
    built_in = create_predictor("gaussian_process", SPACE, 0)
    assert OnScaleOfScores(built_in, choices, scores)._predictor is built_in
    assert "gaussian_process" in PREDICTORS


def drawn(name: str) -> Any:
    paths = create_path_sampler(f"faults.py:{name}", SPACE, None)  # type: ignore[arg-type]
    return draw_paths(paths, SPACE, np.random.default_rng(0), lambda arch: 0.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("T_NONE", r"must sample a list of at least one Architecture, got None; return \[arch\]"),
        ("T_EMPTY", r"must sample a list of at least one Architecture, got \[\]; return \[arch\]"),
        ("T_BARE", r"at least one Architecture, got an Architecture; return \[arch\] for a single"),
        ("T_TEXT", r"got '0-1-2' in it; self.space.sample\(rng\) makes one, space.parse"),
        ("T_PAIR", r"got \(Architecture\(.* in it; self.space.sample\(rng\) makes one"),
        ("T_OTHER", r"sampled what is not of the space: ValueError: Decision 'd0' takes an index"),
        ("T_RAISES", r"failed in sample: KeyError: 'of mine' .*; what was trained"),
        ("T_INIT", r"could not be built: .*; it is built by build\(space, cost_model, num_paths\)"),
        ("T_ATTRIBUTES", r"must be an object with sample, sums_gradients, distills, got 3 without"),
        ("T_SWITCH", r"must have True or False as distills, got 'no'\."),
    ],
)
def test_paths(name: str, expected: str) -> None:
    with pytest.raises(OwnCodeError) as failure:
        drawn(name)
    refused(failure, expected, "Paths ")


def test_paths_may_be_a_tuple() -> None:
    (arch,) = drawn("T_FINE")
    assert arch.space == SPACE.name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PredictorDefinition('mine', 3)", "PredictorDefinition 'mine': build must be a class, a"),
        ("EstimatorDefinition('mine', print, int)", "EstimatorDefinition 'mine': settings must be"),
        ("AlgorithmDefinition('mine', int)", "AlgorithmDefinition 'mine': algorithm must be a sub"),
        ("PathsDefinition(3, print)", "PathsDefinition 3: name must be text, got 3"),
    ],
)
def test_a_file_with_one_bad_definition_says_which_and_where(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "bad.py").write_text(f"{FAULTS}\n{line}\n")
    where = rf" \(bad.py, line {len(FAULTS.splitlines()) + 2}\)\.$"
    expected = f"bad.py cannot be imported: ValueError: {message}.*{where}"
    with pytest.raises(ValueError, match=expected):
        create_algorithm(f"{tmp_path / 'bad.py'}:A_LIST", SearchProblem(SPACE))


def test_of_a_command_it_is_one_line_and_the_traceback_is_for_who_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = NASBench201Space()
    rows = [cells.format(arch) for arch in cells.architectures(cells.all_choices()[:40])]
    (tmp_path / "table.csv").write_text("\n".join(["arch_str,top1", *(f"{r},1" for r in rows)]))
    flags = f"--space nasbench201 --estimator table --table {tmp_path / 'table.csv'} "
    flags += f"--table-column top1 --num-trials 3 --output {tmp_path / 'run'} "
    for more, traceback in (("", False), ("--verbose", True)):
        command = f"{flags} --algorithm faults.py:A_RAISES {more}"
        assert search.cli.search.main(command.split()) == 2
        error = capsys.readouterr().err
        last = error.splitlines()[-1]
        assert last.startswith("supernet-search: error: Algorithm ") and "KeyError" in last
        assert last.endswith(" --verbose shows where.") != traceback
        assert ("Traceback" in error and "in raises" in error) == traceback
    train = "--space nasbench201 --channels 2 --cells-per-stage 1 --dataset digits --epochs 1"
    paths = f"{train} --num-probes 0 --paths faults.py:T_BARE --output {tmp_path / 'paths'}"
    assert supernets.cli.train.main(f"{paths} --device cpu".split()) == 2
    error = capsys.readouterr().err
    assert "got an Architecture; return [arch]" in error and "Traceback" not in error


def test_a_search_whose_scores_are_all_nan_names_the_last(tmp_path: Path) -> None:
    estimator = create_estimator("faults.py:E_NAN", space=SPACE)
    with pytest.raises(SearchError, match=r"^All 2 trials failed; the last, \S+, with: The score"):
        searched(tmp_path, RandomSearch(SearchProblem(SPACE)), estimator, num_trials=2)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_of_workers_it_is_the_same_line(folder: Path) -> None:
    arch = SPACE.architecture([0, 2, 1])
    estimator = create_estimator("faults.py:E_BY_NAME", space=SPACE)
    with LocalProcesses(partial(trial_of_estimate, estimator, space=SPACE), num_workers=2) as each:
        each.submit(0, arch)
        with pytest.raises(OwnCodeError) as failure:
            each.next()
    refused(
        failure,
        r"failed on 0-2-1: KeyError: 'of mine' \(faults.py, line \d+\)",
        "Estimator 'by-name'",
    )
    unsendable = create_estimator("faults.py:E_FLOAT", space=SPACE)
    with pytest.raises(ExecutorError, match="cannot be sent to workers: .*Mine"):
        LocalProcesses(partial(trial_of_estimate, unsendable), num_workers=1)
