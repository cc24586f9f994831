"""The store of trials: what it keeps, what it refuses, what survives."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from estimators.trials.store import Trial, TrialStore, read_header, read_trials
from supernets.spaces import Architecture

HEADER = {"space": "digits4x3", "estimator": {"name": "tse", "lr": 0.01}, "seed": 0}


def _archs(space, *texts):
    return [space.parse(text) for text in texts]


@pytest.fixture
def small_space(make_space):
    return make_space(3, 3, 3, 3)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "trials.db"


def test_reopened_store_gives_back_what_was_told(path, small_space):
    a, b, c = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0")
    told = [
        Trial(
            0, a, -0.1, {"tse": 0.1, "odd": math.inf}, 1 / 3, None, {"train_loss": (0.1, 1e-300)}
        ),
        Trial(1, b, None, {}, 2.0, "loss is nan\nat step 3"),
    ]
    with TrialStore.open(path, HEADER, small_space) as store:
        assert store.trials == () and store.pending == () and store.best() == []
        store.ask([a, b])
        store.ask([c])
        for trial in told:
            store.tell(trial)
        assert store.trials == tuple(told)
    with TrialStore.open(path, HEADER, small_space) as store:
        assert store.trials == tuple(told)
        assert store.pending == ((2, c),)


def test_trials_are_ordered_by_number_however_told(path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)
        for number in (2, 0):
            store.tell(Trial(number, archs[number], 1.0, {}, 0.0, None))
        assert [trial.number for trial in store.trials] == [0, 2]
        assert store.pending == ((1, archs[1]),)


def test_nan_metrics_and_numpy_numbers_survive(path, small_space):
    (arch,) = _archs(small_space, "0-1-2-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask([arch])
        metrics = {"last_loss": float("nan"), "top1": np.float32(0.5)}
        store.tell(Trial(0, arch, np.float64(2.0), metrics, 0.0, None, {"x": np.ones(2)}))
    with TrialStore.open(path, HEADER, small_space) as store:
        (trial,) = store.trials
    assert math.isnan(trial.metrics["last_loss"]) and trial.metrics["top1"] == 0.5
    assert trial.score == 2.0 and trial.curves == {"x": (1.0, 1.0)}


def test_best_orders_scores_and_skips_failures(path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0", "0-1-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)
        for number, score in enumerate((1.0, 3.0, None, 3.0)):
            error = None if score is not None else "failed"
            store.tell(Trial(number, archs[number], score, {}, 0.0, error))
        assert [trial.number for trial in store.best(2)] == [1, 3]
        assert [trial.number for trial in store.best(9)] == [1, 3, 0]
        with pytest.raises(ValueError, match="k must be at least 1"):
            store.best(0)


def test_best_tells_equal_scores_apart_by_a_metric(path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0", "0-1-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)
        for number, (score, loss) in enumerate(
            ((90.0, 0.6), (90.0, 0.4), (80.0, 0.1), (90.0, 0.4))
        ):
            store.tell(Trial(number, archs[number], score, {"val_loss": loss}, 0.0, None))
        assert [trial.number for trial in store.best(4, "val_loss")] == [1, 3, 0, 2]
        assert [trial.number for trial in store.best(4)] == [0, 1, 3, 2]


def test_csv_has_the_union_of_metrics(path, tmp_path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)
        store.tell(Trial(1, archs[1], None, {}, 1.0, "bad, really"))
        store.tell(Trial(0, archs[0], -1.5, {"tse": 1.5}, 2.0, None, {"train_loss": (1.0,)}))
        store.tell(Trial(2, archs[2], 1.0, {"val": 7.0, "score": 3.0}, 0.0, None))
        table = tmp_path / "trials.csv"
        table.write_text("an older one")
        store.write_csv(table)
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["number", "arch", "score", "seconds", "error", "position", "tse", "val", "metric_score"],
        ["0", "0-0-0-0", "-1.5", "2.0", "", "1", "1.5", "", ""],
        ["1", "1-0-0-0", "", "1.0", "bad, really", "0", "", "", ""],
        ["2", "2-0-0-0", "1.0", "0.0", "", "2", "", "7.0", "3.0"],
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["trials.csv", "trials.db"]


def test_the_order_of_completion_is_kept(path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0", "2-1-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)
        for number in (2, 0, 3):
            store.tell(Trial(number, archs[number], 1.0, {}, 0.0, None))
    with TrialStore.open(path, HEADER, small_space) as store:
        assert [trial.number for trial in store.trials] == [0, 2, 3]
        assert [trial.number for trial in store.finished] == [2, 0, 3]
        store.tell(Trial(1, archs[1], 1.0, {}, 0.0, None))
        assert [trial.number for trial in store.finished] == [2, 0, 3, 1]


def test_a_file_without_that_order_was_told_by_number(path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)
        for number in (0, 1):
            store.tell(Trial(number, archs[number], 1.0, {}, 0.0, None))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE trials DROP COLUMN position")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.tell(Trial(2, archs[2], 1.0, {}, 0.0, None))
        assert [trial.number for trial in store.finished] == [0, 1, 2]


def test_interrupted_csv_leaves_the_old_one(path, tmp_path, small_space, monkeypatch):
    table = tmp_path / "trials.csv"
    table.write_text("an older one")

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    with TrialStore.open(path, HEADER, small_space) as store:
        monkeypatch.setattr("supernets.runtime.atomic_write.os.fsync", full)
        with pytest.raises(OSError, match="no space"):
            store.write_csv(table)
    assert table.read_text() == "an older one"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["trials.csv", "trials.db"]


def test_rows_are_readable_without_us(path, small_space):
    (arch,) = _archs(small_space, "0-1-2-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask([arch])
        store.tell(Trial(0, arch, 2.5, {"tse": 1.0}, 0.0, None))
    connection = sqlite3.connect(path)
    row = connection.execute("SELECT number, arch, choices, score, metrics FROM trials").fetchone()
    header = dict(connection.execute("SELECT key, value FROM header"))
    connection.close()
    assert row == (0, "0-1-2-0", "[0, 1, 2, 0]", 2.5, '{"tse": 1.0}')
    assert json.loads(header["estimator"]) == HEADER["estimator"] and header["format"] == "1"


def test_other_header_is_refused_by_key(path, small_space):
    TrialStore.open(path, HEADER, small_space).close()
    reordered = {"seed": 0, "estimator": {"lr": 0.01, "name": "tse"}, "space": "digits4x3"}
    TrialStore.open(path, reordered, small_space).close()
    other = {"space": "digits4x3", "estimator": {"name": "tse", "lr": 0.1}, "batches": 5}
    with pytest.raises(ValueError) as caught:
        TrialStore.open(path, other, small_space)
    message = str(caught.value)
    assert "estimator lr was 0.01 and is now 0.1;" in message and "estimator name" not in message
    assert "seed was 0 and is now not set" in message
    assert "batches was not set and is now 5" in message
    assert "space was" not in message and "new --output" in message


def test_a_search_from_before_windows_had_units_goes_on(path, small_space):
    TrialStore.open(path, {"estimator": {"name": "tse_e", "window": 10}}, small_space).close()
    now = {"name": "tse_e", "window": 10, "window_unit": "minibatches"}
    TrialStore.open(path, {"estimator": now}, small_space).close()
    with pytest.raises(ValueError, match="estimator window was 10 and is now 30"):
        TrialStore.open(path, {"estimator": {**now, "window": 30}}, small_space)


@pytest.mark.parametrize(
    ("header", "match"), [({"format": 2}, "'format'"), ({"path": Path("x")}, "'path'.*JSON")]
)
def test_impossible_header_is_refused(path, small_space, header, match):
    with pytest.raises(ValueError, match=match):
        TrialStore.open(path, header, small_space)
    assert not path.exists()


def test_other_files_are_refused(path, tmp_path, small_space):
    with pytest.raises(ValueError, match="folder; trials"):
        TrialStore.open(tmp_path, HEADER, small_space)
    with pytest.raises(ValueError, match="does not exist"):
        TrialStore.open(tmp_path / "missing" / "trials.db", HEADER, small_space)
    path.write_text("number,arch,score\n" * 100)
    with pytest.raises(ValueError, match="not a store of trials"):
        TrialStore.open(path, HEADER, small_space)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trials (number)")
    connection.close()
    with pytest.raises(ValueError, match="not a store of trials"):
        TrialStore.open(path, HEADER, small_space)


def test_store_killed_before_its_first_transaction_is_new(path, small_space):
    path.touch()
    with TrialStore.open(path, HEADER, small_space) as store:
        assert store.trials == ()


def test_ask_refuses_repeats_and_strangers_and_records_nothing(path, small_space):
    a, b = _archs(small_space, "0-0-0-0", "1-0-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask([a])
        for archs in ([b, a], [b, b]):
            with pytest.raises(ValueError, match="asked before"):
                store.ask(archs)
        with pytest.raises(ValueError, match="is from space"):
            store.ask([b, Architecture("other", (0, 0))])
        assert store.pending == ((0, a),)


def test_tell_refuses_what_is_not_pending(path, small_space):
    a, b = _archs(small_space, "0-0-0-0", "1-0-0-0")
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask([a])
        with pytest.raises(ValueError, match=r"not pending; pending are the numbers \[0\]"):
            store.tell(Trial(0, b, 1.0, {}, 0.0, None))
        store.tell(Trial(0, a, 1.0, {}, 0.0, None))
        with pytest.raises(ValueError, match="not pending"):
            store.tell(Trial(0, a, 2.0, {}, 0.0, None))
        assert store.best()[0].score == 1.0


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_trial_needs_a_finite_score_or_an_error(small_space, score):
    (arch,) = _archs(small_space, "0-0-0-0")
    with pytest.raises(ValueError, match="must be finite"):
        Trial(0, arch, score, {}, 0.0, None)
    with pytest.raises(ValueError, match="either a score or an error"):
        Trial(0, arch, None, {}, 0.0, None)
    with pytest.raises(ValueError, match="either a score or an error"):
        Trial(0, arch, 1.0, {}, 0.0, "failed")


def test_same_process_cannot_open_it_twice(path, small_space, monkeypatch):
    monkeypatch.setattr("estimators.trials.store_file._LOCK_TIMEOUT", 0.1)
    with TrialStore.open(path, HEADER, small_space):
        with pytest.raises(ValueError, match="in use"):
            TrialStore.open(path, HEADER, small_space)
    TrialStore.open(path, HEADER, small_space).close()


def test_a_store_is_read_without_being_opened(path, small_space):
    archs = _archs(small_space, "0-0-0-0", "1-0-0-0", "2-0-0-0")
    told = (
        Trial(0, archs[0], -0.1, {"tse": 0.1}, 1 / 3, None, {"train_loss": (0.1, 0.2)}),
        Trial(1, archs[1], None, {}, 2.0, "loss is nan"),
    )
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(archs)  # the last one stays pending
        for trial in told:
            store.tell(trial)
    path.chmod(0o444)
    before = path.read_bytes()
    assert read_header(path) == HEADER
    assert read_trials(path, small_space) == told
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_what_is_no_store_is_not_read(path, tmp_path, small_space, make_space, monkeypatch):
    monkeypatch.setattr("estimators.trials.store_file._LOCK_TIMEOUT", 0.1)
    with pytest.raises(ValueError, match="no store of trials at"):
        read_header(path)
    path.write_text("number,arch,score\n" * 100)
    with pytest.raises(ValueError, match="cannot be read as a store of trials"):
        read_header(path)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE trials (number)")
    connection.close()
    with pytest.raises(ValueError, match="not a store of trials"):
        read_trials(path, small_space)
    path.unlink()
    with TrialStore.open(path, HEADER, small_space) as store:
        store.ask(_archs(small_space, "0-0-0-0"))
        with pytest.raises(ValueError, match="in use by another process"):
            read_header(path)
    with pytest.raises(ValueError, match="decisions"):
        read_trials(path, make_space(3, 3))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE header SET value = '2' WHERE key = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(ValueError, match="another version"):
        read_header(path)
