"""The search loop: failures, limits, continuing, and a real kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from estimators.base import Estimate
from search import RandomSearch, SearchProblem, TrialStore, run_search
from supernets.runtime.own_code import OwnCodeError
from supernets.spaces import NASBench201Space


@pytest.fixture
def search(tmp_path):
    """Runs a random search on a store and gives the best trial and all of them."""

    def search(space, estimator, num_trials, batch_size=4, name="trials.db", **kwargs):
        with TrialStore.open(tmp_path / name, {}, space) as store:
            algorithm = RandomSearch(SearchProblem(space, **kwargs))
            best = run_search(
                algorithm, estimator, store, num_trials=num_trials, batch_size=batch_size
            )
            return best, store.trials

    return search


def test_measures_and_records(search, small_space, make_estimator):
    estimator = make_estimator()
    best, trials = search(small_space, estimator, num_trials=10)
    assert [trial.number for trial in trials] == list(range(10))
    assert best == max(trials, key=lambda trial: trial.score)
    assert best.metrics == {"loss": -best.score} and best.seconds == 0.5
    assert best.curves == {"train_loss": (2.0, -best.score)}


def test_estimate_error_is_a_failed_trial(search, small_space, make_estimator):
    estimator = make_estimator(fails=lambda arch: arch.choices[0] > 0)
    best, trials = search(small_space, estimator, num_trials=30)
    failed = [trial for trial in trials if trial.score is None]
    assert best.arch.choices[0] == 0 and 10 < len(failed) < 30
    assert failed[0].error == f"no score for {failed[0].arch.choices}"
    assert failed[0].metrics == {} and 0.0 <= failed[0].seconds < 5.0


def test_other_errors_end_the_search_and_keep_the_store(search, small_space, make_estimator):
    class BrokenEstimator(make_estimator):
        def estimate(self, arch):
            if self.num_estimates == 6:
                raise RuntimeError("out of memory")
            return super().estimate(arch)

    with pytest.raises(OwnCodeError, match="'planted' failed on 2-1-2-1: RuntimeError: out of"):
        search(small_space, BrokenEstimator(), num_trials=10)
    mended = make_estimator()
    _, trials = search(small_space, mended, num_trials=10)
    _, whole = search(small_space, make_estimator(), num_trials=10, name="whole.db")
    assert trials == whole and mended.num_estimates == 4


def test_score_that_is_not_finite_is_a_failed_trial(search, small_space, make_estimator):
    class NanEstimator(make_estimator):
        def score(self, arch):
            return {0: float("nan"), 1: float("inf"), 2: 1.0}[arch.choices[0]]

    best, trials = search(small_space, NanEstimator(), num_trials=12)
    errors = {0: "The score is nan.", 1: "The score is inf.", 2: None}
    assert best.arch.choices[0] == 2
    assert [trial.error for trial in trials] == [errors[t.arch.choices[0]] for t in trials]
    assert {trial.arch.choices[0] for trial in trials} == {0, 1, 2}


def test_all_failed(search, small_space, make_estimator):
    estimator = make_estimator(fails=lambda arch: True)
    with pytest.raises(
        RuntimeError, match=r"All 3 trials failed; the last, [-\d]+, with: no score for \("
    ):
        search(small_space, estimator, num_trials=3)


def test_continues_with_more_trials(search, small_space, make_estimator):
    search(small_space, make_estimator(), num_trials=8)
    again = make_estimator()
    best, trials = search(small_space, again, num_trials=8)
    assert again.num_estimates == 0 and best in trials
    more = make_estimator()
    _, trials = search(small_space, more, num_trials=20)
    _, whole = search(small_space, make_estimator(), num_trials=20, name="whole.db")
    assert more.num_estimates == 12 and trials == whole


def test_space_is_searched_to_its_last(search, make_digit_space, make_estimator):
    space = make_digit_space(2, 3)
    best, trials = search(space, make_estimator(), num_trials=9)
    assert {trial.arch for trial in trials} == set(space.enumerate())
    assert best.arch.choices == (2, 2)


@pytest.mark.parametrize(
    ("num_trials", "batch_size", "match"),
    [
        (0, 4, "num_trials must be at least 1, got 0"),
        (4, 0, "batch_size must be at least 1, got 0"),
        (82, 4, "num_trials is 82, but space 'digits4x3' has only 81 feasible"),
    ],
)
def test_limits(search, small_space, make_estimator, num_trials, batch_size, match):
    estimator = make_estimator()
    with pytest.raises(ValueError, match=match):
        search(small_space, estimator, num_trials=num_trials, batch_size=batch_size)
    assert estimator.num_estimates == 0


def test_constraint_counts(search, small_space, make_estimator):
    with pytest.raises(ValueError, match="has only 27 feasible"):
        search(small_space, make_estimator(), 28, are_feasible=lambda choices: choices[:, 0] == 0)


def test_fewer_trials_than_recorded_are_refused(search, small_space, make_estimator):
    with pytest.raises(KeyboardInterrupt):
        search(small_space, make_estimator(interrupt_at=5), num_trials=10)
    with pytest.raises(ValueError, match="holds 8 trials already, more than num_trials=7"):
        search(small_space, make_estimator(), num_trials=7)


def test_told_algorithm_is_refused(tmp_path, small_space, make_estimator, measure):
    algorithm = RandomSearch(SearchProblem(small_space))
    algorithm.tell(measure(algorithm.ask(1)))
    with TrialStore.open(tmp_path / "trials.db", {}, small_space) as store:
        with pytest.raises(ValueError, match="told 1 trials already; give a fresh one"):
            run_search(algorithm, make_estimator(), store, num_trials=2, batch_size=1)


_SEARCH = """
import sys
from pathlib import Path
from estimators.base import Estimate
from search import RandomSearch, SearchProblem, TrialStore, run_search
from supernets.spaces import NASBench201Space

class ReportingEstimator:
    name = "sum"
    def estimate(self, arch):
        print("measuring", flush=True)
        return Estimate(float(sum(arch.choices)), {"sum": 1.0}, seconds=0.5)

space = NASBench201Space()
with TrialStore.open(Path(sys.argv[1]), {}, space) as store:
    algorithm = RandomSearch(SearchProblem(space))
    run_search(algorithm, ReportingEstimator(), store, num_trials=15625, batch_size=7)
"""


def test_killed_process_is_continued(tmp_path, monkeypatch):
    """While it runs, its store is refused to others; SIGKILL at no chosen point loses nothing."""
    monkeypatch.setattr("estimators.trials.store_file._LOCK_TIMEOUT", 0.05)
    space = NASBench201Space()

    class SumEstimator:
        name = "sum"

        def estimate(self, arch):
            return Estimate(float(sum(arch.choices)), {"sum": 1.0}, seconds=0.5)

    def search(path, num_more):
        """Measures ``num_more`` on top of what is there."""
        with TrialStore.open(path, {}, space) as store:
            num_before = len(store.trials)
            num_trials = len(store.trials) + len(store.pending) + num_more
            algorithm = RandomSearch(SearchProblem(space))
            run_search(algorithm, SumEstimator(), store, num_trials=num_trials, batch_size=7)
            return num_before, store.trials

    killed_path = tmp_path / "killed.db"
    with subprocess.Popen(
        [sys.executable, "-c", _SEARCH, str(killed_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(10):
            assert process.stdout.readline() == "measuring\n"
        with pytest.raises(ValueError, match="in use by another process"):
            search(killed_path, num_more=7)
        process.send_signal(signal.SIGKILL)
    num_told, killed = search(killed_path, num_more=14)
    _, whole = search(tmp_path / "whole.db", num_more=len(killed))
    assert 9 <= num_told < len(killed) < space.size
    assert killed == whole


def test_a_trial_does_not_read_all_that_were_told(search, small_space, make_estimator, monkeypatch):
    reads = []
    for name in ("trials", "finished", "best"):
        of_all = getattr(TrialStore, name)
        read = of_all.fget if isinstance(of_all, property) else of_all

        def counted(store, *args, read=read, name=name, **settings):
            reads.append(name)
            return read(store, *args, **settings)

        is_property = isinstance(of_all, property)
        monkeypatch.setattr(TrialStore, name, property(counted) if is_property else counted)
    counts = []
    for num_trials in (8, 40):
        reads.clear()
        search(small_space, make_estimator(), num_trials, batch_size=1, name=f"{num_trials}.db")
        counts.append(len(reads))
    assert counts[0] == counts[1]
