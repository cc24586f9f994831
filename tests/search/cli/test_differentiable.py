"""The command with a differentiable algorithm, from options to files."""

from __future__ import annotations

import csv
import json
import os
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from search.algorithms.registry import ALGORITHMS as ASKING
from search.cli.options import build_parser, gradient_job
from search.cli.search import main
from search.differentiable import loop
from search.differentiable import mixture_training as task
from search.differentiable.checkpoint import read_search_checkpoint
from search.differentiable.search_config import GRADIENT_ALGORITHMS as ALGORITHMS
from search.differentiable.search_config import Stage
from supernets.cli.command_line import parse_args
from supernets.runtime.wording import one_of
from supernets.spaces import NASBench201Space, NASNetSpace
from tests.ranks import run_by_two

ROOT = Path(__file__).parents[3]
TINY = "--channels 4 --cells-per-stage 1 --batch-size 200 --no-amp".split()


def run(output: Path, *flags: str) -> int:
    return main(["--output", str(output), *TINY, *flags])


def result_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    *_, line = capsys.readouterr().err.strip().splitlines()
    return line


def config_of(*flags: str) -> Any:
    return gradient_job(build_parser().parse_args(flags), amp=False).settings


def test_algorithms_are_their_papers() -> None:
    found = {name: config_of("--algorithm", name) for name in ALGORITHMS}
    assert {name: (c.relaxation, c.gradient) for name, c in found.items()} == {
        "darts": ("softmax", "first-order"),
        "darts-tse": ("softmax", "tse-joint"),
        "drnas": ("dirichlet", "first-order"),
        "drnas-tse": ("dirichlet", "tse-joint"),
        "gdas": ("gumbel", "first-order"),
    }
    one, two = (Stage(50),), (Stage(50, 4, None, 10), Stage(50, 2, 3, 10))
    assert [c.stages for c in found.values()] == [one, one, two, two, one]
    for config in found.values():
        assert (config.tse_batches, config.alpha_lr, config.alpha_betas) == (
            100,
            3e-4,
            (0.5, 0.999),
        )
        assert config.alpha_weight_decay == 1e-3
    assert config_of("--algorithm", "drnas", "--space", "darts").stages[1].keep_ops == 4


@pytest.mark.parametrize("recipe_name", ["cifar10_differentiable", "cifar10_darts_cells"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_recipes_go_with_every_algorithm(recipe_name: str, algorithm: str, tmp_path: Path) -> None:
    path = ROOT / "recipes" / f"{recipe_name}.yaml"
    flags = ["--config", str(path), "--algorithm", algorithm, "--output", str(tmp_path)]
    flags += ["--clip-grad", "0", "--data-dir", str(tmp_path)]
    job = gradient_job(parse_args(build_parser(), flags), amp=False)
    config, weights = job.settings, job.weights
    assert (config.relaxation, config.gradient) == (
        ALGORITHMS[algorithm].relaxation,
        ALGORITHMS[algorithm].gradient,
    )
    assert (weights.epochs, weights.clip_grad) == (config.epochs, None)


def test_options_of_stages_go_together() -> None:
    drnas = ("--algorithm", "drnas")
    short = config_of(*drnas, "--epochs", "10", "5")
    assert short.stages == (Stage(10, 4, None, 2), Stage(5, 2, 3, 1))
    # with another number of stages there is nothing to go by
    assert config_of(*drnas, "--epochs", "10").stages == (Stage(10, 1, None, 2),)
    three = config_of(*drnas, *"--epochs 3 3 3 --keep-ops 5 4 2 --freeze-epochs 0 0 1".split())
    assert three.stages == (Stage(3, 1, 5, 0), Stage(3, 1, 4, 0), Stage(3, 1, 2, 1))
    assert not three.exclude_none and config_of(*drnas, "--exclude-none").exclude_none
    with_kl = config_of(*drnas, "--relaxation", "dirichlet-kl")
    assert with_kl.alpha_weight_decay == 0.0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--algorithm darts --opt adamw --momentum 0.9", "'adamw' has no momentum; leave"),
        ("--algorithm darts --tse-batches 5", "--tse-batches is for gradients of TSE"),
        ("--algorithm darts --epochs 2 2 --keep-ops 5", "as many values as there are"),
        ("--algorithm darts --partial-channels 4 2", "give --epochs for as many"),
        ("--algorithm darts --layers 3", "--layers is for --space nasnet or darts"),
        ("--algorithm darts --space darts --exclude-none", "--exclude-none is for --space nasb"),
        ("--algorithm darts --space darts --bn-mode ref", "--bn-mode is for --space nasbench201"),
        ("--algorithm darts --epochs 2 --freeze-epochs 2", "freeze_epochs must leave"),
        ("--algorithm drnas --epochs 2 2 --keep-ops 3 4", "keep_ops must not rise"),
        ("--algorithm drnas --epochs 2 2 --keep-ops 3 2", "The first stage has all 5"),
        ("--algorithm drnas --epochs 2 2 --partial-channels 2 4", "must not rise"),
        ("--algorithm drnas --epochs 2 --partial-channels 3", "divide the 4 channels"),
        ("--algorithm darts --table-column x", "--table-column is of --table"),
        ("--algorithm darts --table t.csv", "--table needs --table-column"),
        ("--algorithm darts --table t.csv --table-column x", "There is no table at t.csv"),
        ("--algorithm darts --arch-gradient second-order --opt sgd", "choose --opt momentum"),
        (
            "--algorithm darts --device cuda:99",
            "Device 'cuda:99' was asked for, but this machine has",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    args = flags.split()
    fixed = [flag for flag in TINY if "--space" not in args or flag != "--cells-per-stage"]
    if "--space" in args:
        fixed = "--channels 4".split()
    assert main(["--output", str(tmp_path), *fixed, *args]) == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "last.pt").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--algorithm darts --supernet x.pt",
            f"--supernet is for --algorithm {one_of([*ASKING, 'staged'])}, not darts.",
        ),
        (
            "--algorithm random --epochs 3",
            f"--epochs is for --algorithm {one_of(list(ALGORITHMS))}, not random.",
        ),
        ("--algorithm darts --top-n 5", "--top-n is for --algorithm weaknas, not darts."),
        ("--algorithm darts --resume", "unknown option --resume"),
        ("--algorithm darts --space mobilenetv3", "has no network of all operations"),
        ("--algorithm dart", "gdas, staged (did you mean darts?), or name your own as"),
    ],
)
def test_options_of_other_searches_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    try:
        assert main([*flags.split(), "--output", str(tmp_path / "run")]) == 2
    except SystemExit as error:
        assert error.code == 2
    assert message in error_line(capsys)
    assert not (tmp_path / "run").exists()


def test_one_help_has_the_options_of_all_algorithms(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for flags in (["--help"], ["--algorithm", "drnas", "--help"]):
        with pytest.raises(SystemExit):
            main(flags)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "--arch-gradient" in shown[0] and "--num-parents" in shown[0]


@pytest.mark.slow
def test_a_search_ends_with_an_architecture_and_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = NASBench201Space()
    table = tmp_path / "table.csv"
    rows = [f"{space.format(arch)},{i / 200}" for i, arch in enumerate(space.enumerate())]
    table.write_text("\n".join(["arch_str,top1", *rows]))
    flags = [
        "--algorithm",
        "darts-tse",
        "--epochs",
        "2",
        "--tse-batches",
        "2",
        "--table",
        str(table),
    ]
    output = tmp_path / "run"
    assert run(output, *flags, "--table-column", "top1") == 0
    result = result_of(capsys)
    (best,) = result["best"]
    arch = space.parse(best["architecture"])
    number = list(space.enumerate()).index(arch)
    assert best["true_accuracy"] == number / 200
    assert result["status"] == "finished" and result["epochs"] == 2 and result["alpha_steps"] == 4
    stored = json.loads((output / "best.json").read_text())
    assert stored["best"] == result["best"] and stored["space"] == "nasbench201"
    names = {path.name for path in output.iterdir()}
    expected = "args.json best.json last.pt summary.csv derived.csv alphas.csv search.png cells.png"
    assert names >= set(expected.split())
    # the same command again does no more work
    time_of = (output / "last.pt").stat().st_mtime_ns
    assert run(output, *flags, "--table-column", "top1") == 0
    assert result_of(capsys)["best"] == result["best"]
    assert (output / "last.pt").stat().st_mtime_ns == time_of
    # and another one is refused
    assert run(output, *flags, "--table-column", "top1", "--alpha-lr", "0.1") == 2
    assert "alpha_lr was 0.0003 and is now 0.1" in error_line(capsys)
    # four steps have taught the alphas nothing, which is said
    assert "nothing was learned" in result["verdict"]["text"]
    assert result["verdict"]["truth"]["value"] == best["true_accuracy"]
    assert result["verdict"]["next"] == stored["verdict"]["next"]
    # the same table elsewhere is the same, another of the same name is not
    moved = table.rename(tmp_path / "moved.csv")
    flags[-1] = str(moved)
    assert run(output, *flags, "--table-column", "top1") == 0
    table.write_text(moved.read_text().replace(",0.005", ",0.5"))
    flags[-1] = str(table)
    capsys.readouterr()
    assert run(output, *flags, "--table-column", "top1") == 2
    assert "table_digest" in error_line(capsys)


@pytest.mark.slow
def test_options_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(
        "algorithm: drnas-tse\nspace: darts\nchannels: 4\nlayers: 3\nepochs: [1, 1]\n"
        "partial_channels: [2, 1]\nkeep_ops: [8, 3]\nbatch_size: 400\ntse_batches: 1\n"
        "freeze_epochs: [0, 0]\n"
    )
    output = tmp_path / "run"
    assert main(["--config", str(file), "--output", str(output)]) == 0
    (best,) = result_of(capsys)["best"]
    NASNetSpace(distinct_inputs=True).parse(best["architecture"])
    with open(output / "alphas.csv", newline="") as alphas:
        rows = list(csv.DictReader(alphas))
    assert {row["cell"] for row in rows} == {"normal", "reduce"} and len(rows) == 2 * 2 * 14 * 8
    alive = read_search_checkpoint(output / "last.pt")["alive"]
    assert alive.sum(dim=2).unique().tolist() == [3]


@pytest.mark.slow
def test_a_stopped_search_continues_by_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--algorithm", "drnas", "--epochs", "2", "1", "--partial-channels", "2", "1"]
    flags += ["--keep-ops", "5", "3", "--freeze-epochs", "1", "0"]
    monkeypatch.setattr(loop, "plot_search", lambda *_: None)  # takes longer than the search
    assert run(tmp_path / "whole", *flags) == 0
    capsys.readouterr()
    real = task.MixtureTraining.add_gradients

    def add_gradients(self: Any, x: Any, y: Any, step: int, weight: float) -> Any:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, x, y, step, weight)

    with monkeypatch.context() as patch:
        patch.setattr(task.MixtureTraining, "add_gradients", add_gradients)
        assert run(tmp_path / "parts", *flags) == 130
    stopped = result_of(capsys)
    assert (stopped["status"], stopped["steps"]) == ("interrupted", 6)
    assert stopped["continue"] == "the same command again"
    assert run(tmp_path / "parts", *flags) == 0
    for name in ("alphas.csv", "derived.csv"):
        whole, parts = ((tmp_path / folder / name).read_text() for folder in ("whole", "parts"))
        assert whole == parts


def test_folders_of_other_searches_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials.db").write_bytes(b"")
    assert run(tmp_path, "--algorithm", "darts") == 2
    assert "holds a search of another kind" in error_line(capsys)
    (tmp_path / "trials.db").unlink()
    torch.save({"format": "something"}, tmp_path / "last.pt")
    assert run(tmp_path, "--algorithm", "darts") == 2
    assert "is not a checkpoint of a differentiable search" in error_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["drnas", "darts-tse --arch-gradient tse-rollout"])
def test_two_processes_keep_equal_alphas(
    server_of_workers: ForkServerContext, tmp_path: Path, algorithm: str
) -> None:
    stages = "--epochs 1 1 --partial-channels 2 1 --keep-ops 5 3 --freeze-epochs 0 0"
    flags = f"--algorithm {algorithm} --channels 4 --cells-per-stage 1 --no-amp --threads 1"
    flags += f" {stages if 'drnas' in algorithm else '--epochs 2'} --bn-mode batch --lr 0.01"
    flags += " --tse-batches 2" if "tse" in algorithm else ""
    script = (
        "import sys, os, torch\n"
        "from search.cli import search as cli\n"
        "from search.differentiable.loop import DifferentiableSearch\n"
        "real = DifferentiableSearch.run\n"
        "def run(self, minutes):\n"
        "    result = real(self, minutes)\n"
        "    torch.save(self.alphas.values.detach(), sys.argv[1] + os.environ['RANK'])\n"
        "    return result\n"
        "DifferentiableSearch.run = run\n"
        "raise SystemExit(cli.main(sys.argv[2:]))\n"
    )
    (tmp_path / "script.py").write_text(script)
    output = tmp_path / "two"
    flags += f" --batch-size 100 --output {output}"
    run_by_two(server_of_workers, tmp_path / "script.py", str(tmp_path / "alphas"), *flags.split())
    first, second = (torch.load(tmp_path / f"alphas{rank}") for rank in (0, 1))
    assert torch.equal(first, second)
    stored = read_search_checkpoint(output / "last.pt")
    assert torch.equal(stored["alphas"]["values"], first)
    assert json.loads((output / "best.json").read_text())["best"]
    start = stored["history"][0]["alphas"]
    assert not torch.equal(first, start)
