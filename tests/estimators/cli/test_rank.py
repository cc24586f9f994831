"""supernet-rank: what it writes, continuing by the same command, and every refusal in one line."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

import search.cli.search
import supernets.cli.train
from estimators.cli.rank import main
from estimators.scores.multi_score import MultiScoreEstimator
from estimators.scores.names import SCORES
from estimators.trials.store import Trial
from supernets import CostModel, create_space, create_supernet
from tests.commands import error_line_of

SPACE = create_space("nasbench201")
TINY = "--channels 4 --batch-size 400 --num-probes 0 --epochs 1 --paths uniform"
CHEAP = "--estimators tse val_acc macs --tse-batches 3 --tse-batch-size 32 --val-batches 1"
QUICK = "--top-k 4 --num-bootstrap 50".split()
Command = Callable[..., int]


@pytest.fixture(scope="module")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A digits supernet of one epoch and its own folder."""

    def make(*flags: str, size: str = "--cells-per-stage 1") -> Path:
        output = tmp_path_factory.mktemp("supernet")
        given = [*TINY.split(), *size.split(), *flags]
        assert supernets.cli.train.main([*given, "--output", str(output)]) == 0
        return output / "last.pt"

    return make


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 architectures, whose value grows with their MACs."""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    cost = CostModel(create_supernet("nasbench201", num_classes=10, channels=4))
    rng = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cell", "accuracy"])
        for arch in list(dict.fromkeys(SPACE.sample(rng) for _ in range(60))):
            value = np.log(cost.measure(arch).macs) + 0.01 * rng.normal()
            writer.writerow([SPACE.format(arch), value])
    return path


@pytest.fixture
def rank(checkpoint: Path, table: Path) -> Command:
    """Ranks 14 random architectures of the table."""

    def run(output: Path, *flags: str, scores: str = CHEAP) -> int:
        number = [] if "--archs" in flags else ["--num-archs", "14"]
        return main(
            [
                *("--supernet", str(checkpoint), "--table", str(table)),
                *("--table-column", "accuracy", "--arch-column", "cell"),
                *(*scores.split(), *QUICK, *number, "--output", str(output), *flags),
            ]
        )

    return run


def read(output: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((output / "ranking.json").read_text())
    return result


def plain(result: dict[str, Any]) -> Any:
    """Without what depends on clock and place."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k not in ("seconds", "command")}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(result)


error_line = error_line_of("supernet-rank")


@pytest.mark.slow
def test_all_scores_are_compared_with_a_table(
    rank: Command, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = CHEAP.replace("tse val_acc macs", " ".join(SCORES))
    assert rank(tmp_path / "run", scores=every) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["status"] == "finished"
    result = read(tmp_path / "run")
    assert {each["name"] for each in result["estimators"]} == set(SCORES)
    with open(table, newline="") as file:
        truth = {row["cell"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    assert len(result["archs"]) == 14
    assert all(each["truth"] == truth[each["architecture"]] for each in result["archs"])
    for each in result["estimators"]:
        scores = [arch["scores"][each["name"]][0] for arch in result["archs"]]
        if None not in scores and len(set(scores)) > 1:
            expected = spearmanr(scores, [arch["truth"] for arch in result["archs"]]).statistic
            found = each["metrics"]["spearman"]
            assert found["mean"] == pytest.approx(expected, abs=1e-9)
            assert found["low"] <= found["high"]
            assert printed["spearman"][each["name"]]["mean"] == round(found["mean"], 3)
    macs = next(each for each in result["estimators"] if each["name"] == "macs")
    assert macs["metrics"]["spearman"]["mean"] > 0.9
    assert macs["seconds"] == 0
    for name in ("tse", "tse_e", "tse_ema", "tlmini", "sovl"):
        curve = result["curves"][name]
        assert curve["num_steps"] == [1, 2, 3]
        summary = next(each for each in result["estimators"] if each["name"] == name)
        assert curve["spearman"][-1] == pytest.approx(summary["metrics"]["spearman"]["mean"])
        assert curve["seconds"][-1] == pytest.approx(summary["seconds"])
    settings = result["settings"]
    assert (settings["tse_window"], settings["tse_window_unit"]) == (2, "minibatches")
    assert (settings["tse_gamma"], settings["tse_gamma_unit"]) == (0.999, "minibatch")
    assert settings["epoch_minibatches"] == 36  # of 32 images
    both = [[arch["scores"][name][0] for arch in result["archs"]] for name in ("tse_e", "tlmini")]
    assert all(a != b for a, b in zip(*both, strict=True) if a is not None)
    assert result["race"]["is_same_top"]
    assert 1 <= result["suggested_num_steps"]["num_steps"] <= 3
    assert result["combined"] is None  # 4 are too few to judge it on
    assert result["combined_problem"].startswith("Fitted to 10 of 14 architectures")
    (quality,) = result["supernets"]
    assert quality["chance"] == pytest.approx(100 * 29 / 288)  # the most frequent class of val
    assert 0 <= quality["val_top1"] <= quality["best_val_top1"] <= 100
    assert quality["num_val_images"] == 288 and quality["epochs"] == 1
    (shown,) = printed["supernets"].values()
    assert shown["chance"] == quality["chance"]
    assert result["noise_ceiling"] is None and result["truth"]["test_images"] is None
    assert printed["clearly_best"] in (None, "macs", "params")
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(name in page for name in SCORES)
    with open(tmp_path / "run" / "ranking.csv", newline="") as file:
        assert {row["estimator"] for row in csv.DictReader(file)} == set(SCORES)
    assert json.loads((tmp_path / "run" / "args.json").read_text())["args"]["top_k"] == 4


@pytest.mark.slow
def test_the_same_architectures_whatever_the_estimators(rank: Command, tmp_path: Path) -> None:
    assert rank(tmp_path / "a", scores="--estimators macs") == 0
    assert rank(tmp_path / "b", scores="--estimators params tlmini --tse-batches 1") == 0
    assert rank(tmp_path / "c", "--seed", "1", scores="--estimators macs") == 0
    first, second, third = (
        [arch["architecture"] for arch in read(tmp_path / name)["archs"]] for name in "abc"
    )
    assert first == second
    assert set(first) != set(third)
    assert read(tmp_path / "a")["combined"] is None
    assert read(tmp_path / "a")["race"] is None
    assert read(tmp_path / "a")["suggested_num_steps"] is None


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_ranking(
    rank: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rank(tmp_path / "whole") == 0
    real = MultiScoreEstimator.measure
    measured: list[Any] = []

    def measure(self: MultiScoreEstimator, arch: Any) -> Any:
        if len(measured) == 5:
            raise KeyboardInterrupt
        measured.append(arch)
        return real(self, arch)

    with monkeypatch.context() as patch:
        patch.setattr(MultiScoreEstimator, "measure", measure)
        capsys.readouterr()
        assert rank(tmp_path / "parts") == 130
    assert json.loads(capsys.readouterr().out)["status"] == "interrupted"
    assert not (tmp_path / "parts" / "ranking.json").exists()
    again: list[Any] = []
    monkeypatch.setattr(
        MultiScoreEstimator, "measure", lambda self, arch: again.append(arch) or real(self, arch)
    )
    assert rank(tmp_path / "parts") == 0
    assert not set(measured) & set(again)
    assert len(measured) + len(again) == 14
    assert plain(read(tmp_path / "parts")) == plain(read(tmp_path / "whole"))


@pytest.mark.slow
def test_a_window_of_epochs_is_resolved_to_minibatches(rank: Command, tmp_path: Path) -> None:
    scores = "--estimators tse_e tlmini --tse-batches 4 --tse-batch-size 32"
    assert rank(tmp_path / "epochs", "--tse-window", "0.08epochs", scores=scores) == 0
    assert rank(tmp_path / "batches", "--tse-window", "3", scores=scores) == 0
    found = [read(tmp_path / name) for name in ("epochs", "batches")]
    assert found[0]["settings"] == found[1]["settings"]
    assert found[0]["settings"]["tse_window"] == 3
    assert [arch["scores"] for arch in found[0]["archs"]] == [
        arch["scores"] for arch in found[1]["archs"]
    ]


@pytest.mark.slow
def test_the_noise_of_the_truth_is_told_by_its_test_set_and_seeds(
    rank: Command, table: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    path = tmp_path / "percent.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cell", "cifar10_test_acc", "a", "b"])
        for row in rows:
            value = 40 + 3 * float(row["accuracy"]) / 2
            writer.writerow([row["cell"], value, *(value + rng.normal(0, 2, 2))])
    scores = "--estimators macs params"
    columns = ["--table", str(path), "--table-column", "cifar10_test_acc"]
    assert rank(tmp_path / "known", *columns, scores=scores) == 0
    known = read(tmp_path / "known")
    assert (known["truth"]["test_images"], known["truth"]["unit"]) == (10_000, "%")
    assert known["noise_ceiling"]["spearman"] == known["noise_ceiling"]["by_test_set"] < 1
    flags = ["--truth-test-size", "100", "--truth-seed-columns", "a", "b"]
    assert rank(tmp_path / "given", *columns, *flags, scores=scores) == 0
    found = read(tmp_path / "given")["noise_ceiling"]
    assert found["by_test_set"] < known["noise_ceiling"]["by_test_set"]
    assert (found["test_images"], found["num_seeds"]) == (100, 2) and found["by_seeds"] < 1
    assert found["spearman"] == pytest.approx(found["by_test_set"] * found["by_seeds"])
    assert "noise ceiling" in (tmp_path / "given" / "report.html").read_text()


def test_costs_are_those_of_now_whenever_something_was_measured(
    rank: Command, tmp_path: Path
) -> None:
    scores = "--estimators macs benchmark_macs params benchmark_params"
    assert rank(tmp_path, scores=scores) == 0
    first = json.loads((tmp_path / "ranking.json").read_text())
    (store,) = tmp_path.glob("measurements-*.db")
    with closing(sqlite3.connect(store)) as connection:  # as another version counted
        connection.execute("UPDATE trials SET metrics = json_set(metrics, '$.macs', 7)")
        connection.commit()
    assert rank(tmp_path, scores=scores) == 0
    again = json.loads((tmp_path / "ranking.json").read_text())
    assert again["archs"] == first["archs"]
    supernet = create_supernet("nasbench201", num_classes=10, input_size=(1, 8, 8), channels=4)
    costs = CostModel(supernet)
    for each in again["archs"]:
        found = {name: values[0] for name, values in each["scores"].items()}
        arch = SPACE.parse(each["architecture"])
        assert found["benchmark_macs"] >= found["macs"] == each["macs"] > 7
        assert costs.metrics(arch).keys() == found.keys()


@pytest.mark.slow
def test_several_supernets_have_a_mean_and_a_spread(
    rank: Command, make_checkpoint: Callable[..., Path], checkpoint: Path, tmp_path: Path
) -> None:
    other = make_checkpoint("--seed", "1")
    assert rank(tmp_path / "both", "--supernet", str(checkpoint), str(other)) == 0
    assert rank(tmp_path / "one", "--supernet", str(other)) == 0
    both, one = read(tmp_path / "both"), read(tmp_path / "one")
    assert [each["path"] for each in both["supernets"]] == [str(checkpoint), str(other)]

    def spearman(result: dict[str, Any]) -> dict[str, Any]:
        (found,) = (e["metrics"]["spearman"] for e in result["estimators"] if e["name"] == "tse")
        assert isinstance(found, dict)
        return found

    values = [each["value"] for each in spearman(both)["per_supernet"]]
    assert len(values) == 2
    assert spearman(both)["mean"] == pytest.approx(np.mean(values))
    assert spearman(both)["sd"] == pytest.approx(np.std(values, ddof=1))
    assert values[1] == spearman(one)["mean"]
    assert spearman(one)["sd"] is None
    assert [arch["scores"]["tse"][1] for arch in both["archs"]] == [
        arch["scores"]["tse"][0] for arch in one["archs"]
    ]


def test_a_candidate_that_diverges_is_last_and_named(
    rank: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(multi_score: MultiScoreEstimator, number: int, arch: Any) -> Trial:
        losses = (2.0, 1.0, float("nan") if number == 3 else 1.0)
        metrics = {"val_top1": 10.0 + number, "val_loss": 1.0, "params": 1.0, "macs": 1.0 + number}
        seconds = {"seconds_extract": 0.1, "seconds_train": 0.3, "seconds_val": 0.2}
        error = "The training loss became nan at step 2." if number == 3 else None
        return Trial(
            number,
            arch,
            None if error else 1.0,
            metrics={**metrics, **seconds},
            seconds=0.6,
            error=error,
            curves={"train_loss": losses},
        )

    monkeypatch.setattr("estimators.ranking.ranking.trial_of_scores", diverge)
    assert rank(tmp_path / "run") == 0
    result = read(tmp_path / "run")
    by_name = {each["name"]: each for each in result["estimators"]}
    bad = result["archs"][3]["architecture"]
    assert by_name["tse"]["diverged"] == [bad]
    assert result["archs"][3]["scores"]["tse"] == [None]
    assert by_name["val_acc"]["diverged"] == by_name["macs"]["diverged"] == []
    assert by_name["tse"]["seconds"] == pytest.approx(0.4)
    assert by_name["val_acc"]["seconds"] == pytest.approx(0.3)
    assert result["curves"]["tse"]["seconds"] == pytest.approx([0.4 / 3, 0.8 / 3, 0.4])


@pytest.mark.slow
def test_truth_from_scratch_is_trained_once_and_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(output: Path, *flags: str) -> int:
        return main(
            [
                *("--supernet", str(checkpoint), "--estimators", "macs", "tlmini"),
                *"--tse-batches 1 --num-archs 4 --top-k 2 --num-bootstrap 20".split(),
                *"--truth-epochs 3 --truth-batch-size 500".split(),
                *("--truth-dir", str(tmp_path / "truth"), "--output", str(output), *flags),
            ]
        )

    assert run(tmp_path / "a") == 0
    result = read(tmp_path / "a")
    assert result["truth"]["source"] == (
        "trained from scratch for 3 epochs (learning rate 0.1, batch size 500, one seed)"
    )
    assert result["early"]["epochs"] == [1, 2, 3]
    assert set(result["early"]["spearman"]) == {"TSE", "TSE-E", "TSE-EMA", "VAccES"}
    assert result["early"]["effective_budget"] == 2
    records = sorted((tmp_path / "truth").glob("*.json"))
    assert len(records) == 5  # four trainings, and their settings
    monkeypatch.setattr(
        "estimators.scores.from_scratch.train_standalone",
        lambda *args, **settings: pytest.fail("trained"),
    )
    assert run(tmp_path / "b") == 0
    assert plain(read(tmp_path / "b")) == plain(result)


def test_architectures_of_a_file(rank: Command, table: Path, tmp_path: Path) -> None:
    with open(table, newline="") as file:
        cells = [row["cell"] for row in csv.DictReader(file)][5:11]
    listed = tmp_path / "archs.txt"
    listed.write_text("\n".join([*cells, ""]))
    assert rank(tmp_path / "run", "--archs", str(listed)) == 0
    assert [arch["architecture"] for arch in read(tmp_path / "run")["archs"]] == cells


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["nonsense"], "archs.txt, line 1: "),
        (["A", "B", "A"], "archs.txt, line 3: the architecture of line 1 again."),
        (["A", "B"], "must hold at least 3 architectures, got 2."),
        (["A", "B", "C"], "The table does not list 1 of 3 architectures, such as |nor_conv_1x1"),
    ],
)
def test_unfit_files_of_architectures_are_refused(
    lines: list[str],
    message: str,
    rank: Command,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open(table, newline="") as file:
        cells = [row["cell"] for row in csv.DictReader(file)]
    other = next(
        c for c in map(SPACE.format, SPACE.enumerate()) if c not in cells and "1x1" in c[:13]
    )
    names = {"A": cells[0], "B": cells[1], "C": other}
    listed = tmp_path / "archs.txt"
    listed.write_text("\n".join(names.get(line, line) for line in lines))
    assert rank(tmp_path / "run", "--archs", str(listed), "--top-k", "1") == 2
    assert message in error_line(capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--truth-epochs 2", "either in a --table or trained for --truth-epochs; give one"),
        ("--truth-lr 0.1", "--truth-lr is for a truth of --truth-epochs, not --table."),
        ("--truth-seed-columns a", "must be two or more different columns, got a."),
        ("--truth-seed-columns a a", "must be two or more different columns, got a a."),
        ("--truth-seed-columns a b", "has no column 'a'"),
        ("--truth-dir x", "--truth-dir is for a truth of --truth-epochs, not --table."),
        ("--num-archs 99", "--num-archs is 99, but the table lists 60."),
        ("--top-k 14", "--top-k must be less than the 14 architectures, got 14."),
        ("--num-archs 5 --archs x", "--archs says which architectures; leave --num-archs out."),
        ("--archs none.txt", "none.txt cannot be read: "),
        ("--macs-windows 5", "there are 0 in 5 MACs ± 5 % (5 to 5); rank more, draw them"),
        ("--macs-windows 1e5 auto", "--macs-windows are targets or auto alone"),
        ("--macs-tolerance 0.1", "--macs-tolerance is of the windows of --macs-windows"),
        (
            "--archs-per-window 10 --macs-windows 1e5",
            "--archs-per-window draws the architectures; leave --num-archs out.",
        ),
        (
            "--tse-window 2",
            "--tse-window is for --estimators tse_e, not tse, val_acc, macs.",
        ),
        (
            "--estimators tse_e val_acc --tse-window 4 --tse-batches 3",
            "at most the 3 minibatches that are measured, got 4;",
        ),
        (
            "--estimators tse_e val_acc --tse-window 1epoch --tse-batches 3",
            "at most the 3 minibatches that are measured, got 1epochs, which is ",
        ),
        ("--arch-column nothing", "has no column 'nothing'"),
        ("--supernet none.pt", "There is no checkpoint at none.pt."),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    flags: str, message: str, rank: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank(tmp_path / "run", *flags.split()) == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "run" / "ranking.json").exists()


def test_what_is_required_is_named(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "--supernet is required" in error_line(capsys)
    assert main(["--supernet", str(checkpoint)]) == 2
    assert "--output is required" in error_line(capsys)
    assert main(["--supernet", str(checkpoint), "--output", "x"]) == 2
    assert "either in a --table or trained" in error_line(capsys)


@pytest.mark.slow
def test_supernets_that_do_not_go_together_are_refused(
    rank: Command,
    make_checkpoint: Callable[..., Path],
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = make_checkpoint("--space", "nasnet", size="--layers 3")
    capsys.readouterr()
    assert rank(tmp_path / "run", "--supernet", str(checkpoint), str(other)) == 2
    assert f"{other} is of space 'nasnet', {checkpoint} of 'nasbench201'" in error_line(capsys)
    assert rank(tmp_path / "run", "--supernet", str(checkpoint), str(checkpoint)) == 2
    assert "--supernet names a file twice; give each once." in error_line(capsys)


def test_other_settings_in_the_same_folder_are_refused(
    rank: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank(tmp_path / "run", scores="--estimators macs") == 0
    capsys.readouterr()
    assert rank(tmp_path / "run", scores="--estimators params") == 2
    assert "was written with other settings: estimators was" in error_line(capsys)


@pytest.mark.slow
def test_a_search_by_the_combined_score_predicts_the_ranking_it_was_fitted_to(
    rank: Command, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank(tmp_path / "rank") == 0
    reference = tmp_path / "rank" / "reference.json"
    ranked = read(tmp_path / "rank")["archs"]

    def search_by(output: Path, *flags: str) -> int:
        given = ["--supernet", str(checkpoint), "--estimator", "combined", "--algorithm", "random"]
        size = "--num-trials 14 --batch-size 14 --tse-batch-size 32 --max-macs 1e5".split()
        return search.cli.search.main([*given, *size, "--output", str(output), *flags])

    assert search_by(tmp_path / "found", "--reference", str(reference)) == 0
    with open(tmp_path / "found" / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # the truth grows with MACs, and MACs are among what it was fitted to
    macs, found = ([float(row[key]) for row in rows] for key in ("macs", "score"))
    assert spearmanr(macs, found).statistic > 0.7
    assert {"tse", "val_top1"} & set(rows[0]) == {"val_top1"}
    assert len(ranked) == 14
    capsys.readouterr()
    assert search_by(tmp_path / "none") == 2
    assert "--estimator combined needs --reference" in capsys.readouterr().err
    assert search_by(tmp_path / "none", "--reference", str(checkpoint)) == 2
    assert "last.pt is not a reference" in capsys.readouterr().err
    flags = ["--reference", str(reference), "--tse-batch-size", "16"]
    assert search_by(tmp_path / "none", *flags) == 2
    assert "give --tse-batch-size 32" in capsys.readouterr().err


def test_scores_of_an_earlier_search_can_be_the_truth(checkpoint: Path, tmp_path: Path) -> None:
    val = ["--val-batches", "1"]
    earlier = ["--estimator", "val_acc", *val, "--algorithm", "random", "--num-trials", "8"]
    files = tmp_path / "search"
    given = ["--supernet", str(checkpoint)]
    assert search.cli.search.main([*given, *earlier, "--output", str(files)]) == 0
    truth = ["--table", str(files / "trials.csv"), "--arch-column", "arch"]
    truth += ["--table-column", "score"]
    scores = ["--estimators", "val_acc", "macs", *val]
    output = ["--output", str(tmp_path / "rank")]
    assert main([*given, *truth, *scores, *QUICK, *output]) == 0
    result = read(tmp_path / "rank")
    assert result["num_archs"] == 8  # all that there are
    assert result["estimators"][0]["name"] == "val_acc"
    assert result["estimators"][0]["metrics"]["spearman"]["mean"] == pytest.approx(1)


def test_a_reference_of_another_supernet_is_refused(
    rank: Command,
    make_checkpoint: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rank(tmp_path / "rank", scores="--estimators macs params") == 0
    other = make_checkpoint("--seed", "5")
    capsys.readouterr()
    given = ["--supernet", str(other), "--estimator", "combined", "--num-trials", "2"]
    reference = ["--reference", str(tmp_path / "rank" / "reference.json")]
    output = ["--num-initial", "1", "--output", str(tmp_path / "found")]
    assert search.cli.search.main([*given, *reference, *output]) == 2
    assert "was measured with another supernet" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_workers_measure_and_train_what_one_process_does(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(output: Path, *flags: str) -> dict[str, Any]:
        truth = "--truth-epochs 1 --truth-batch-size 400 --num-archs 5 --top-k 2 --threads 1"
        given = ["--supernet", str(checkpoint), *CHEAP.split(), *truth.split()]
        assert main([*given, "--num-bootstrap", "50", "--output", str(output), *flags]) == 0
        return read(output)

    here = run(tmp_path / "here")
    capsys.readouterr()
    workers = run(tmp_path / "workers", "--workers", "2", "--trial-timeout", "100")
    assert json.loads(capsys.readouterr().out)["lost_workers"] == 0
    assert plain(workers)["archs"] == plain(here)["archs"]
    assert plain(workers)["truth"] == plain(here)["truth"]
    again = run(tmp_path / "again", "--truth-dir", str(tmp_path / "workers" / "truth"))
    assert again["truth"]["mean"] == here["truth"]["mean"]


@pytest.mark.slow
def test_what_could_not_be_measured_is_named_and_left_out(
    rank: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rank(tmp_path / "whole") == 0
    whole = read(tmp_path / "whole")
    assert whole["not_measured"] == {}
    lost = whole["archs"][3]["architecture"]
    measure = MultiScoreEstimator.measure

    def too_large(self: MultiScoreEstimator, arch: Any) -> Any:
        if SPACE.format(arch) == lost:
            raise MemoryError("too large")
        return measure(self, arch)

    monkeypatch.setattr(MultiScoreEstimator, "measure", too_large)
    assert rank(tmp_path / "part") == 0
    part = read(tmp_path / "part")
    assert part["not_measured"] == {lost: "Out of memory: too large"}
    names = [[each["architecture"] for each in found["archs"]] for found in (whole, part)]
    assert names[1] == [name for name in names[0] if name != lost]
    assert part["num_archs"] == 13
    page = (tmp_path / "part" / "report.html").read_text()
    assert "Not measured, and left out:" in page and "Out of memory: too large" in page


@pytest.fixture
def rank_within(checkpoint: Path, table: Path) -> Command:
    """Ranks architectures of the table by MACs and params."""

    def run(output: Path, *flags: str) -> int:
        truth = ["--table", str(table), "--table-column", "accuracy", "--arch-column", "cell"]
        scores = ["--estimators", "macs", "params", *QUICK]
        given = ["--supernet", str(checkpoint), *truth, *scores]
        return main([*given, "--output", str(output), *flags])

    return run


def test_architectures_are_drawn_within_windows(
    rank_within: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank_within(tmp_path / "any", "--macs-windows", "auto", "--macs-tolerance", "0.3") == 0
    printed = json.loads(capsys.readouterr().out)
    result = read(tmp_path / "any")
    macs = [arch["macs"] for arch in result["archs"]]
    expected = sorted(
        {float(np.quantile(macs, q, method="inverted_cdf")) for q in (0.25, 0.5, 0.75)}
    )
    assert [each["macs"] for each in printed["macs_windows"]] == expected
    assert result["macs_windows"]["windows"][0]["tolerance"] == 0.3
    target = str(expected[1])
    within = ["--macs-windows", target, "--macs-tolerance", "0.3", "--archs-per-window"]
    assert rank_within(tmp_path / "within", *within, "10") == 0
    capsys.readouterr()
    found = read(tmp_path / "within")
    assert found["num_archs"] == 10 and found["macs_windows"]["outside"] == []
    assert all(abs(arch["macs"] / expected[1] - 1) <= 0.3 for arch in found["archs"])
    assert {a["architecture"] for a in found["archs"]} <= {
        a["architecture"] for a in result["archs"]
    }
    args = json.loads((tmp_path / "within" / "args.json").read_text())["args"]
    assert (args["macs_windows"], args["archs_per_window"]) == ([expected[1]], 10)
    assert rank_within(tmp_path / "none", *within, "99") == 2
    assert "--archs-per-window is 99, but of 60 architectures that the table" in error_line(capsys)
    assert rank_within(tmp_path / "none", "--macs-windows", "auto", "--archs-per-window", "10") == 2
    assert "give their MACs, in place of auto." in error_line(capsys)
    assert rank_within(tmp_path / "none", "--archs-per-window", "10") == 2
    assert "the windows of --macs-windows; give their MACs." in error_line(capsys)
    with pytest.raises(SystemExit, match="2"):
        rank_within(tmp_path / "none", "--macs-windows", "0")
    assert "--macs-windows must be a positive number of MACs, or auto" in error_line(capsys)
    assert not (tmp_path / "none").exists()
