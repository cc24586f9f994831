"""supernet-train: every refusal is one line before any work, and what a run leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from supernets.cli import train as cli
from supernets.cli.train import main
from supernets.data import loaders as data
from supernets.data.config import DataConfig
from supernets.data.loaders import create_loaders
from supernets.training import supernet as training
from supernets.training import train as training_job
from tests.commands import error_line_of, files_below

TINY = "--channels 4 --cells-per-stage 1 --batch-size 400 --num-probes 1 --paths uniform".split()
Folder = Callable[..., Path]


def train(output: Path, *flags: str) -> int:
    return main([*TINY, "--epochs", "1", "--output", str(output), *flags])


error_line = error_line_of("supernet-train")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one epoch; never written to."""
    output = tmp_path_factory.mktemp("trained")
    assert train(output, "--dataset", "digits") == 0
    return output


@pytest.fixture
def make_folder(tmp_path: Path) -> Folder:
    """Writes tiny images, 6 of each class."""

    def make(*classes: str, bad: str | None = None) -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / "images"
        for name in classes:
            (root / name).mkdir(parents=True)
            for i in range(6):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / f"{i}.png")
        if bad is not None:
            (root / bad).write_bytes(b"no image")
        return root

    return make


def folder_flags(data_dir: Path) -> list[str]:
    return ["--dataset", "folder", "--data-dir", str(data_dir), "--val-fraction", "0.25"]


def test_a_run_leaves_its_files_and_one_json_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "a" / "run", "--seed", "3") == 0
    captured = capsys.readouterr()
    block = json.loads(captured.out)
    assert block["status"] == "finished"
    assert (block["epochs"], block["steps"]) == (1, 3)
    assert block["last_epoch"]["epoch"] == 1
    output = tmp_path / "a" / "run"
    assert block["checkpoint"] == str(output / "last.pt")
    names = [name for name in files_below(output) if not name.startswith("tensorboard")]
    assert names == ["args.json", "last.pt", "splits.npz", "summary.csv"]
    args = json.loads((output / "args.json").read_text())["args"]
    assert (args["seed"], args["epochs"], args["sched"]) == (3, 1, "cosine")
    splits = np.load(output / "splits.npz")
    expected = create_loaders("digits", seed=3).splits
    assert {name: splits[name].tolist() for name in splits} == {
        name: indices.tolist() for name, indices in expected.items()
    }
    assert "epoch 1, step 3" in captured.err
    checkpoint = torch.load(output / "last.pt", weights_only=True)
    assert checkpoint["supernet_settings"]["num_classes"] == 10
    assert checkpoint["data"]["dataset"] == "digits"


def test_a_config_is_a_run_and_flags_beat_it(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "channels: 4\ncells-per-stage: 1\nbatch-size: 400\nnum_probes: 0\npaths: uniform\n"
        f"epochs: 9\nlr: 5e-3\nbn-mode: affine\noutput: {tmp_path / 'run'}\n"
    )
    assert main(["--config", str(config), "--epochs", "1"]) == 0
    checkpoint = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert checkpoint["train_config"]["epochs"] == 1
    assert checkpoint["train_config"]["lr"] == 5e-3
    assert checkpoint["supernet_settings"]["bn_mode"] == "affine"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--epochs 0", "--epochs 0 stores released weights as they are; it needs --from-ofa."),
        ("--momentum 0", "Optimizer 'sgd' cannot be used: Nesterov momentum requires"),
        ("--min-lr 1", "min_lr must be from 0 to lr, which is 0.025, got 1.0."),
        ("--opt adamw --momentum 0.9", "Optimizer 'adamw' has no momentum; leave it out."),
        ("--opt nonsense", "Optimizer 'nonsense' cannot be used"),
        (
            "--warmup-epochs 1",
            "warmup_epochs must be from 0 to less than epochs, which is 1, got 1.",
        ),
        ("--device tpu", "Unknown device 'tpu'"),
        ("--device meta", "Device 'meta' was asked for, but this machine has"),
        ("--sync-bn", "--sync-bn needs several processes; start them with torchrun."),
        ("--image-size 3", "the height of input_size must be at least 4, got 3."),
        ("--paths fair --num-paths 3", "so num_paths is 5, got 3"),
        ("--paths multi --num-paths 1", "num_paths must be from 2"),
        ("--data-dir somewhere", "leave out --data-dir somewhere."),
        ("--download", "digits cannot be downloaded; leave out --download."),
        ("--skip-bad-images", "leave out --skip-bad-images."),
        ("--dataset cifar10", "cifar10 needs the folder of its data; pass --data-dir."),
        ("--dataset folder --data-dir /no/such", "Image folder /no/such does not exist"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


def test_output_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "--output is required" in error_line(capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--space", "resnet"],
            "argument --space: Unknown space 'resnet'; choose from nasbench201",
        ),
        (["--stem", "x"], "argument --stem: invalid choice: 'x'"),
        (["--macs-bins", "1", "2"], "argument --macs-bins: expected 3 arguments"),
        (["--epochs", "x"], "--epochs must be a whole number, got 'x'"),
        (["--epoch", "1"], "unknown option --epoch; did you mean --epochs?"),
        (["--sched", "x"], "argument --sched: invalid choice"),
    ],
)
def test_argparse_refuses_as_usual(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        train(tmp_path / "run", *flags)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3\n", "unknown option 'epoch'"),
    ],
)
def test_bad_configs_are_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(SystemExit) as caught:
        train(tmp_path / "run", "--config", str(config))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert files_below(tmp_path) == ["run.yaml"]


def test_an_output_below_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        assert train(output) == 2
        assert f"Cannot write to --output {output}" in error_line(capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    try:
        assert train(tmp_path / "run") == 2
        assert "Cannot write to --output" in error_line(capsys)
    finally:
        tmp_path.chmod(0o700)


def test_a_used_folder_needs_resume(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "last.pt").read_bytes()
    assert train(trained) == 2
    assert "already holds a training; add --resume" in error_line(capsys)
    assert (trained / "last.pt").read_bytes() == before


def test_resume_needs_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", "--resume") == 2
    assert f"There is no checkpoint at {tmp_path / 'run' / 'last.pt'}" in error_line(capsys)
    assert files_below(tmp_path) == []


def test_auto_resume_begins_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "--auto-resume") == 0
    block = json.loads(capsys.readouterr().out)
    first = (tmp_path / "last.pt").read_bytes()
    assert train(tmp_path, "--auto-resume") == 0  # there is nothing left to do
    assert json.loads(capsys.readouterr().out) == block
    assert (tmp_path / "last.pt").read_bytes() == first
    assert train(tmp_path, "--auto-resume", "--resume") == 2
    assert "--auto-resume does not; give one" in error_line(capsys)
    assert train(tmp_path, "--auto-resume", "--lr", "0.5") == 2
    assert "resume with the settings it was started with" in error_line(capsys)


@pytest.mark.parametrize("length", [0, 100, 10_000, -1])
def test_resume_refuses_a_truncated_checkpoint(
    length: int, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "last.pt").write_bytes((trained / "last.pt").read_bytes()[:length])
    assert train(tmp_path, "--resume") == 2
    assert "truncated" in error_line(capsys)


def test_resume_refuses_a_foreign_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, tmp_path / "last.pt")
    assert train(tmp_path, "--resume") == 2
    assert "is not a supernet checkpoint" in error_line(capsys)


def test_resume_refuses_a_checkpoint_of_another_space(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(trained / "last.pt", weights_only=True)
    for space, message in (
        ("elsewhere", "is of space 'elsewhere', which is unknown here; known are nasbench201"),
        ("mobilenetv3", "holds a supernet of space 'mobilenetv3', this run trains 'nasbench201'"),
    ):
        torch.save({**checkpoint, "space": space}, tmp_path / "last.pt")
        assert train(tmp_path, "--resume") == 2
        assert message in error_line(capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--lr 0.5", "lr was 0.025 and is now 0.5"),
        ("--epochs 2", "epochs was 1 and is now 2"),
        ("--channels 5", "channels was 4 and is now 5"),
        ("--bn-mode affine", "bn_mode was ref and is now affine"),
        ("--paths fair", "paths was uniform and is now fair"),
        ("--num-paths 2", "num_paths was None and is now 2"),
        ("--batch-size 64", "batch_size was 400 and is now 64"),
        ("--val-fraction 0.3", "val_fraction was 0.2 and is now 0.3"),
        ("--image-size 16", "image_size was 8 and is now 16"),
        ("--opt adamw", "opt was sgd and is now adamw"),
        ("--no-channels-last", "channels_last was True and is now False"),
        ("--seed 1", "seed was 0 and is now 1"),
    ],
)
def test_resume_refuses_other_settings(
    flags: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "last.pt").read_bytes(), (trained / "args.json").read_bytes()
    assert train(trained, "--resume", *flags.split()) == 2
    error = error_line(capsys)
    assert message in error
    assert "resume with the settings it was started with" in error
    assert before == ((trained / "last.pt").read_bytes(), (trained / "args.json").read_bytes())


def test_resume_takes_a_checkpoint_of_before_an_option_was_added(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was trained with what is now the default."""
    checkpoint = torch.load(trained / "last.pt", weights_only=True)
    del checkpoint["train_config"]["aux_weight"], checkpoint["paths"]["macs_bins"]
    torch.save(checkpoint, tmp_path / "last.pt")
    assert train(tmp_path, "--resume") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"
    assert train(tmp_path, "--resume", "--lr", "0.5") == 2
    assert "lr was 0.025 and is now 0.5; resume" in error_line(capsys)


NASNET = (
    "--space nasnet --channels 2 --layers 3 --image-size 32 --val-fraction 0.95 --batch-size 40 "
    "--num-probes 0 --epochs 1 --aux-weight 0.4 --paths macs-bins --macs-bins 5e5 9e5 4"
).split()


@pytest.mark.slow
def test_cells_are_trained_and_resumed_with_their_own_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*NASNET, "--output", str(tmp_path / "whole")]) == 0
    real = training.train_step

    def step(*args: Any, **settings: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **settings)

    output = ["--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_step", step)
        assert main([*NASNET, *output]) == 130
    capsys.readouterr()
    others = "--macs-bins 5e5 9e5 2 --aux-weight 0 --layers 4 --inactive-grads zero".split()
    assert main([*NASNET, *output, "--resume", *others]) == 2
    error = error_line(capsys)
    for message in (
        "macs_bins was (500000.0, 900000.0, 4) and is now (500000.0, 900000.0, 2)",
        "aux_weight was 0.4 and is now 0.0",
        "auxiliary was True and is now False",
        "layers was 3 and is now 4",
        "inactive_grads was skip and is now zero",
    ):
        assert message in error
    assert main([*NASNET, *output, "--resume"]) == 0
    whole, resumed = (
        torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "run")
    )
    assert resumed["supernet_settings"]["auxiliary"] is True
    for name, weight in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], weight), name


def test_resume_refuses_another_number_of_processes(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert train(trained, "--resume") == 2
    assert "world_size was 1 and is now 2" in error_line(capsys)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.pt.123.tmp").write_bytes(b"half")
    assert train(tmp_path) == 0
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*.tmp"))


def test_empty_and_one_class_folders_are_refused(
    tmp_path: Path, make_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert train(tmp_path / "run", *folder_flags(tmp_path / "empty")) == 2
    assert "holds no class folders" in error_line(capsys)
    assert train(tmp_path / "run", *folder_flags(make_folder("cat"))) == 2
    assert "has the single class 'cat'" in error_line(capsys)
    (tmp_path / "images" / "dog").mkdir()
    assert train(tmp_path / "run", *folder_flags(tmp_path / "images")) == 2
    assert f"{tmp_path / 'images' / 'dog'} holds no image" in error_line(capsys)
    assert not (tmp_path / "run" / "args.json").exists()


@pytest.mark.parametrize("bad", ["cat/0.png", "dog/3.png"])
def test_an_unreadable_image_is_named_and_can_be_skipped(
    bad: str, tmp_path: Path, make_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = make_folder("cat", "dog", bad=bad)
    assert train(tmp_path / "run", *folder_flags(data_dir)) == 2
    error = error_line(capsys)
    assert f"Cannot read image {data_dir / bad}" in error
    assert "--skip-bad-images" in error
    assert train(tmp_path / "run", *folder_flags(data_dir), "--skip-bad-images") == 0
    captured = capsys.readouterr()
    assert str(data_dir / bad) in captured.err
    assert json.loads(captured.out)["status"] == "finished"
    checkpoint = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    counts = [checkpoint["data"][f"num_{split}"] for split in ("train", "val", "test")]
    assert sum(counts) == 11


def test_an_unreadable_image_met_while_training_is_one_line(
    tmp_path: Path,
    make_folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sets too large for the memory are read batch by batch, long after the checks."""
    monkeypatch.setattr(data, "MEMORY_BUDGET", 0)
    data_dir = make_folder("cat", "dog")
    settings: dict[str, Any] = {"data_dir": data_dir, "val_fraction": 0.25}
    first_of_train = create_loaders(DataConfig("folder", **settings)).splits["train"][-1]
    bad = data_dir / "dog" / f"{first_of_train - 6}.png"
    Image.open(data_dir / "cat" / "0.png").save(bad)  # the size is looked at beforehand
    bad.write_bytes(bad.read_bytes()[:60])
    flags = [*folder_flags(data_dir), "--num-workers", "0"]
    assert train(tmp_path / "run", *flags) == 2
    told, error = capsys.readouterr().err.splitlines()
    assert told.startswith("2 classes (cat, dog): ")
    assert f"Cannot read image {bad}" in error
    assert train(tmp_path / "run", *flags, "--skip-bad-images") == 0


def test_a_signal_before_the_training_ends_it_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_slowly(*args: Any, **settings: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was lost")

    monkeypatch.setattr(training_job, "create_loaders", open_slowly)
    assert train(tmp_path / "run") == 130
    assert json.loads(capsys.readouterr().out) == {"status": "interrupted"}
    assert files_below(tmp_path) == []


def test_an_interrupted_run_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = training.train_step

    def step(*args: Any, **settings: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train_step", step)
        assert train(tmp_path) == 130
    block = json.loads(capsys.readouterr().out)
    assert block == {
        "status": "interrupted",
        "checkpoint": str(tmp_path / "last.pt"),
        "epochs": 0,
        "steps": 1,
        "continue": "the same command with --resume",
    }


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for action in cli.build_parser()._actions:
        if action.dest in ("help", "version"):
            continue
        assert action.help is not None
        assert re.search(r"\(default: [^)]+\)|\(required\)", action.help), action.dest
        assert action.option_strings[-1] in text
        shown = re.search(r"\(default: ([^,;)]+)", action.help)
        if shown and isinstance(action.default, (int, float)) and type(action.default) is not bool:
            assert float(shown[1]) == action.default, action.dest


def test_a_training_goes_on_where_more_files_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    flags = ("--dataset", "folder", "--data-dir", str(tmp_path / "data"), "--resume")
    assert train(tmp_path / "run", *flags[:-1]) == 0
    (tmp_path / "data/a/notes.txt").write_text("x")
    capsys.readouterr()
    assert train(tmp_path / "run", *flags) == 0
    line = "2 classes (a, b): 12 train, 4 val, 4 test images; 1 file passed over: 1 .txt"
    assert capsys.readouterr().err.count(line) == 1
