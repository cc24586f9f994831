"""The line that says whether a result is any good, on results that are and are not."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import supernets.cli.retrain
from estimators.trials.store import Trial
from search.algorithms.meta_supernets import meta_supernet
from search.report.verdict import Verdict, judge_alphas, judge_search, next_commands
from supernets import create_space
from supernets.cli.command_line import parse_args
from supernets.cli.data_options import data_config
from supernets.cli.retrain import build_parser
from supernets.cost.analytic import CostModel
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.training.evaluation import chance_top1

SPACE = create_space("nasbench201")
SUPERNET = meta_supernet("nasbench201")
assert SUPERNET is not None
COSTS = CostModel(SUPERNET)
HEAVY, LIGHT, SKIPS = (SPACE.architecture([op] * 6) for op in (3, 2, 1))
#: A convolution that no path reaches.
DEAD = SPACE.architecture([1, 0, 0, 1, 0, 3])


def trials(*scores: tuple[Any, float], **metrics: float) -> list[Trial]:
    return [Trial(i, arch, score, metrics, 0.0, None) for i, (arch, score) in enumerate(scores)]


def judge(*scores: tuple[Any, float], **given: Any) -> Verdict:
    told = trials(*scores)
    best = max(told, key=lambda trial: trial.score or 0)
    return judge_search(told, best, SPACE, **given)


@pytest.fixture(scope="module")
def loaders() -> Loaders:
    return create_loaders("digits")


def test_a_supernet_near_chance_is_doubted_and_set_beside_chance(loaders: Loaders) -> None:
    history = [{"probe_val_top1": 90.0}, {"probe_val_top1": 37.0}]
    verdict = judge((HEAVY, 37.0), (LIGHT, 30.0), loaders=loaders, history=history)
    assert "random subnets of the supernet reach 37.0 % validation accuracy" in verdict.line
    assert verdict.facts["chance_top1"] == pytest.approx(chance_top1(loaders), abs=0.01)
    assert 10 <= verdict.facts["chance_top1"] < 15
    assert any("so little was learned" in doubt for doubt in verdict.doubts)
    learned = [{"probe_val_top1": 80.0}]
    assert not judge((HEAVY, 1.0), (LIGHT, 0.5), loaders=loaders, history=learned).doubts


def test_accuracies_of_trials_stand_in_for_those_of_training(loaders: Loaders) -> None:
    told = trials((HEAVY, 60.0), (LIGHT, 50.0), val_top1=55.0)
    verdict = judge_search(told, told[0], SPACE, loaders=loaders)
    assert "the trials reach 55.0 % validation accuracy" in verdict.line


@pytest.mark.parametrize("arch", [SKIPS, DEAD])
def test_a_chosen_cell_without_a_convolution_is_named(arch: Any) -> None:
    verdict = judge((arch, 2.0), (HEAVY, 1.0), cost_model=COSTS)
    assert "no convolution" in verdict.line
    assert "the fewest MACs of all trials" in verdict.line
    assert not judge((HEAVY, 2.0), (arch, 1.0), cost_model=COSTS).doubts


def test_equal_scores_are_an_arbitrary_choice() -> None:
    assert "all 2 scores are equal" in judge((HEAVY, 1.0), (LIGHT, 1.0)).line


def test_a_single_score_is_no_choice_and_many_failures_are_doubted() -> None:
    assert "only one trial has a score" in judge((HEAVY, 1.0)).line
    told = trials((HEAVY, 1.0), (LIGHT, 0.5), (SKIPS, 0.0), (DEAD, 0.0))
    told.append(Trial(4, SPACE.architecture([0] * 6), None, {}, 0.0, "loss is nan"))
    assert "failed" not in judge_search(told, told[0], SPACE).line
    failed = [replace(trial, score=None, error="loss is nan") for trial in told[2:]]
    assert "3 of 5 trials failed" in judge_search([*told[:2], *failed], told[0], SPACE).line


def test_equal_macs_have_no_heaviest() -> None:
    other = SPACE.architecture([3, 3, 3, 3, 3, 1])
    same = SPACE.architecture([3, 3, 3, 3, 1, 3])
    assert COSTS.measure(other).macs == COSTS.measure(same).macs
    verdict = judge((other, 2.0), (same, 1.0), cost_model=COSTS)
    assert "all trials have the same MACs" in verdict.line and "heaviest" not in verdict.line


def test_rank_and_regret_where_the_table_is_known() -> None:
    truth = {HEAVY: 94.0, LIGHT: 92.0, SKIPS: 60.0, DEAD: 10.0}
    verdict = judge((LIGHT, 2.0), (SKIPS, 1.0), truth=truth)
    assert verdict.facts["truth"] == {
        "value": 92.0,
        "rank": 2,
        "num_known": 4,
        "best": 94.0,
        "regret": 2.0,
    }
    assert "rank 2 of 4, 2 below the best" in verdict.line
    assert "worth 94 in the table, the best of 4" in judge((HEAVY, 1.0), truth=truth).line
    of_part = judge((SKIPS, 1.0), truth=truth, truth_is_of=" within the limits")
    assert "rank 3 of 4 within the limits, 34 below the best" in of_part.line
    assert "more than half of these 4 are better" in of_part.line
    assert not verdict.doubts


def test_the_heaviest_trial_is_the_free_baseline() -> None:
    truth = {HEAVY: 94.0, LIGHT: 92.0, SKIPS: 60.0}
    verdict = judge((LIGHT, 2.0), (HEAVY, 1.0), truth=truth, cost_model=COSTS)
    assert verdict.facts["macs"]["rank"] == 2
    assert verdict.facts["macs"]["heaviest"]["truth"] == 94.0
    assert "the heaviest trial is worth 94 and costs no search" in verdict.line
    found = judge((LIGHT, 1.0), (HEAVY, 2.0), truth=truth, cost_model=COSTS)
    assert "MACs alone would have chosen" in found.line and not found.doubts


def test_alphas_that_are_still_uniform_have_learned_nothing() -> None:
    rng = np.random.default_rng(0)

    def entropy(spread: float) -> float:
        weights = np.exp(spread * rng.standard_normal((6, 5)))
        weights /= weights.sum(axis=1, keepdims=True)
        return float(-(weights * np.log(weights)).sum(axis=1).mean())

    assert "nothing was learned" in judge_alphas(entropy(1e-3), [5] * 6).line
    assert not judge_alphas(entropy(0.5), [5] * 6).doubts
    assert "nothing was learned" in judge_alphas(math.log(3), [3, 1, 3, 1][::2]).line
    assert not judge_alphas(0.0, [1, 1]).doubts


def test_what_to_do_next_is_commands() -> None:
    output = Path("runs/my search")
    export, retrain = next_commands(output, "nasbench201", supernet=Path("last.pt"))
    assert export == (
        "supernet-export --supernet last.pt --arch 'runs/my search/best.json' "
        "--output 'runs/my search/subnet'"
    )
    assert retrain.startswith("supernet-retrain --subnet 'runs/my search/subnet'")
    (retrain,) = next_commands(output, "nasbench201", exported=Path("best"))
    assert retrain.startswith("supernet-retrain --subnet best")
    (retrain,) = next_commands(output, "nasbench201")
    assert "--arch 'runs/my search/best.json'" in retrain
    assert next_commands(output, "nasbench101") == []


@pytest.mark.parametrize(
    ("column", "dataset"),
    [
        ("cifar10-valid:valid", "cifar10"),
        ("cifar10_val_top1", "cifar10"),
        ("CIFAR-100 test", "cifar100"),
        ("ImageNet16-120:valid", "folder"),
        ("accuracy", "DATASET"),
    ],
)
def test_what_to_do_after_a_table_search_leaves_no_data_set_to_a_default(
    column: str, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (retrain,) = next_commands(Path("run"), "nasbench201", table_column=column)
    assert f" --dataset {dataset} --data-dir FOLDER " in retrain
    arguments = shlex.split(retrain)[1:]
    assert parse_args(build_parser(), arguments).dataset == dataset
    # what is not replaced is refused
    arch = SPACE.format(HEAVY)
    flags = ["--space", "nasbench201", "--arch", arch, "--output", str(tmp_path / "run")]
    assert supernets.cli.retrain.main([*arguments, *flags]) == 2
    expected = "Unknown dataset 'DATASET'" if dataset == "DATASET" else "FOLDER"
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_to_do_next_opens_the_data_that_were_searched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / "my data" / name).mkdir(parents=True)
        for number in range(8):
            path = tmp_path / "my data" / name / f"{number}.png"
            Image.new("RGB", (8, 8), (0, number, ord(name))).save(path)
    monkeypatch.chdir(tmp_path)
    for data_dir in (tmp_path / "my data", Path("my data")):
        loaders = create_loaders(
            DataConfig("folder", data_dir=data_dir, num_val=3), num_workers=0, seed=5
        )
        (retrain,) = next_commands(Path("run"), "nasbench201", loaders=loaders)
        program, *arguments = shlex.split(retrain)
        args = parse_args(build_parser(), arguments)
        assert (program, args.data_dir) == ("supernet-retrain", data_dir)
        reopened = create_loaders(data_config(args), seed=args.split_seed)
        assert reopened.settings["split_digest"] == loaders.settings["split_digest"]
        (retrain,) = next_commands(
            Path("run"), "nasbench201", exported=Path("best"), loaders=loaders
        )
        # of a relative folder the export keeps the name
        expected = [f"--data-dir={data_dir}"] if data_dir.is_absolute() else []
        assert [f"--data-dir={a}" for a in shlex.split(retrain) if "my data" in a] == expected
