"""``supernet-retrain``: what it trains, on which splits, what it hands over, what it refuses."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.layers import DropPath
from timm.models import MobileNetV3
from torch import Tensor, nn

from supernets import load_subnet
from supernets.cli import export
from supernets.cli import train as cli
from supernets.cli.command_line import parse_args
from supernets.cli.option_flags import from_args
from supernets.cli.retrain import build_parser, main
from supernets.data.config import DataConfig
from supernets.data.image_loader import ImageLoader
from supernets.data.loaders import Loaders, create_loaders
from supernets.export import files as export_files
from supernets.export import folder as subnet_folder
from supernets.export import retrain
from supernets.export.folder import read_subnet_record
from supernets.export.subnet import data_record
from supernets.networks import inherited_weights
from supernets.networks.factory import create_subnet
from supernets.networks.nasnet_subnet import NASNetSubnet
from supernets.spaces.factory import create_space
from supernets.training import standalone as standard_training
from supernets.training.evaluation import evaluate
from supernets.training.run import check_same_settings
from supernets.training.standalone import training_loss
from supernets.training.standalone_config import RetrainConfig
from tests.commands import TORCH_EXPORT

ARCH = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]
TINY = "--epochs 2 --batch-size 400 --lr 0.05 --no-amp --formats".split()

pytestmark = TORCH_EXPORT


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A subnet of a supernet of one epoch, trained with splits that are not the default ones."""
    folder = tmp_path_factory.mktemp("exported")
    tiny = "--channels 8 --cells-per-stage 1 --batch-size 400 --num-probes 0 --epochs 1 --no-amp"
    data = "--seed 3 --val-fraction 0.3"
    assert cli.main([*tiny.split(), *data.split(), "--output", str(folder / "supernet")]) == 0
    arguments = ["--supernet", str(folder / "supernet" / "last.pt"), "--arch", ARCH]
    assert export.main([*arguments, "--output", str(folder / "subnet"), "--formats"]) == 0
    return folder / "subnet"


@pytest.fixture(scope="module")
def trained(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training from scratch until it is good; never written to."""
    output = tmp_path_factory.mktemp("trained")
    flags = "--epochs 8 --batch-size 64 --warmup-epochs 1 --ema-decay 0.9 --formats pt2".split()
    assert run(exported, output, *flags) == 0
    return output


def run(subnet: Path, output: Path, *flags: str) -> int:
    return main(["--subnet", str(subnet), "--output", str(output), *TINY, *flags])


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    block: dict[str, Any] = json.loads(capsys.readouterr().out)
    return block


def history(output: Path) -> list[dict[str, float]]:
    saved = standard_training.read_network_checkpoint(output / "last.pt")
    rows: list[dict[str, float]] = saved["progress"]["history"]
    return rows


def loaders_of(exported: Path) -> Loaders:
    data = read_subnet_record(exported)["data"]
    config = DataConfig("digits", val_fraction=data["val_fraction"])
    return create_loaders(config, seed=data["seed"])


def test_a_network_from_scratch_learns_and_is_handed_over(
    exported: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded, record = load_subnet(trained / "subnet"), read_subnet_record(trained / "subnet")
    loaders = loaders_of(exported)
    val = evaluate(loaded, loaders.val, device=CPU)
    test = evaluate(loaded, loaders.test, device=CPU)
    assert test.top1 > 93
    assert record["metrics"] == pytest.approx(
        {
            "val_top1": val.top1,
            "val_loss": val.loss,
            "num_val_images": 432,
            "test_top1": test.top1,
            "test_loss": test.loss,
            "num_test_images": 360,
        }
    )
    row = history(trained)[-1]  # the average was handed over, not the last weights
    assert record["metrics"]["val_loss"] == pytest.approx(row["ema_val_loss"], abs=1e-4)
    assert row["val_loss"] != pytest.approx(row["ema_val_loss"], abs=1e-4)
    x, _ = next(iter(loaders.test))
    program = torch.export.load(trained / "subnet" / "subnet.pt2").module()
    with torch.inference_mode():
        assert torch.allclose(program(x), loaded(x), atol=1e-5)


def test_the_record_is_that_of_an_export_and_says_how_it_was_trained(
    exported: Path, trained: Path
) -> None:
    source, record = read_subnet_record(exported), read_subnet_record(trained / "subnet")
    assert record["formats"].keys() == {"subnet.pt2"}
    of_its_own = {"metrics", "recalibration", "formats", "provenance", "weights_sha256", "files"}
    same = set(source) - of_its_own
    assert same >= {"format", "version", "space", "architecture", "settings", "cost", "data"}
    for name in same:
        assert record[name] == source[name], name
    assert record["data"]["val_fraction"] == 0.3 and record["data"]["seed"] == 3
    recipe = record["recipe"]
    assert recipe["weights"] == "fresh" and recipe["batch_size"] == 64
    config = RetrainConfig(epochs=8, lr=0.05, warmup_epochs=1, ema_decay=0.9)
    assert {name: recipe[name] for name in vars(config)} == vars(config)
    assert record["provenance"] == {"subnet": exported.name, "exported": source["provenance"]}
    assert sorted(path.name for path in (trained / "subnet").iterdir()) == [
        "cells.png",
        "subnet.json",
        "subnet.pt2",
        "weights.safetensors",
    ]


def test_the_run_leaves_its_options_splits_and_table(exported: Path, trained: Path) -> None:
    args = json.loads((trained / "args.json").read_text())
    assert args["args"]["subnet"] == str(exported) and args["args"]["epochs"] == 8
    loaders = loaders_of(exported)
    with np.load(trained / "splits.npz") as splits:
        for split in ("train", "val", "test"):
            assert np.array_equal(splits[split], loaders.splits[split])
    assert len((trained / "summary.csv").read_text().splitlines()) == 1 + 8
    assert not list(trained.glob(".*"))


class Captured(Exception):
    """Stands for the training, with what it would have been given."""


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Gives what a command would hand to the training, without training."""
    captured: dict[str, Any] = {}

    def train(network: nn.Module, loaders: Any, config: Any, output: Path, **rest: Any) -> None:
        captured.update(network=network, loaders=loaders, config=config, **rest)
        raise Captured

    def capture(subnet: Path, output: Path, *flags: str) -> dict[str, Any]:
        with pytest.raises(Captured):
            main(["--subnet", str(subnet), "--output", str(output), *flags])
        return captured

    monkeypatch.setattr(retrain, "train_standalone", train)
    return capture


def test_fresh_weights_follow_from_the_seed_alone(
    exported: Path, trained: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    weights = []
    for subnet, seed in ((exported, "0"), (trained / "subnet", "0"), (exported, "1")):
        torch.rand(3)
        network = capture(subnet, tmp_path, "--seed", seed)["network"]
        weights.append(network.state_dict()["skeleton.classifier.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], load_subnet(exported).skeleton.classifier.weight)


def test_finetuning_starts_from_the_inherited_weights(
    exported: Path,
    trained: Path,
    tmp_path: Path,
    capture: Callable[..., dict[str, Any]],
    assert_same_weights: Callable[[nn.Module, dict[str, Tensor]], None],
) -> None:
    network = capture(trained / "subnet", tmp_path, "--finetune")["network"]
    assert_same_weights(network, load_subnet(trained / "subnet").state_dict())


def test_finetuning_a_trained_network_starts_at_a_low_loss(trained: Path, tmp_path: Path) -> None:
    fine, fresh = tmp_path / "fine", tmp_path / "fresh"
    assert run(trained / "subnet", fine, "--finetune", "--lr", "0.005") == 0
    assert run(trained / "subnet", fresh, "--from-scratch", "--lr", "0.005") == 0
    assert history(fine)[0]["train_loss"] < 0.5 < 2 < history(fresh)[0]["train_loss"]
    record = read_subnet_record(fine / "subnet")
    assert record["recipe"]["weights"] == "inherited"
    source = read_subnet_record(trained / "subnet")
    assert record["recipe"]["inherited_weights_sha256"] == source["weights_sha256"]
    assert record["metrics"]["test_top1"] > 93


def test_the_test_split_is_read_once_and_after_the_training(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_create, real_epoch = create_loaders, ImageLoader.epoch
    test: list[ImageLoader] = []
    passes: list[bool] = []

    def create(*args: Any, **settings: Any) -> Any:
        loaders = real_create(*args, **settings)
        test.append(loaders.test)
        return loaders

    def epoch(self: ImageLoader, *args: Any) -> Iterator[tuple[Tensor, Tensor]]:
        if any(self is loader for loader in test):
            passes.append((tmp_path / "last.pt").exists() and len(history(tmp_path)) == 2)
        return real_epoch(self, *args)

    monkeypatch.setattr(retrain, "create_loaders", create)
    monkeypatch.setattr(ImageLoader, "epoch", epoch)
    assert run(exported, tmp_path) == 0
    assert passes == [True]
    assert run(exported, tmp_path, "--resume") == 0
    assert len(test) == 2 and passes == [True]


@pytest.mark.slow
def test_stopped_and_resumed_equals_uninterrupted(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = "--ema-decay 0.9 --mixup 0.5 --opt rmsproptf --opt-eps 1e-3 --lr 0.01".split()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(exported, whole, *flags) == 0
    expected = last_json(capsys)
    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if count in (2, 4):
            os.kill(os.getpid(), signal.SIGTERM if count == 2 else signal.SIGINT)
        return training_loss(*args, **settings)

    monkeypatch.setattr(standard_training, "training_loss", loss)
    assert run(exported, parts, *flags) == 130
    block = last_json(capsys)
    assert (block["status"], block["steps"]) == ("interrupted", 2)
    assert not (parts / "subnet").exists()
    assert run(exported, parts, *flags, "--resume") == 130
    assert last_json(capsys)["steps"] == 4
    assert run(exported, parts, *flags, "--resume") == 0
    block = last_json(capsys)
    assert (block["status"], block["metrics"]) == ("finished", expected["metrics"])
    weights = [(o / "subnet" / "weights.safetensors").read_bytes() for o in (whole, parts)]
    assert weights[0] == weights[1]
    again = {path: path.read_bytes() for path in parts.rglob("*") if path.is_file()}
    assert run(exported, parts, *flags, "--resume") == 0
    assert last_json(capsys) == block
    changed = [path.name for path, content in again.items() if path.read_bytes() != content]
    assert set(changed) <= {"args.json"}


def test_killed_before_the_hand_over_is_finished_by_resuming(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*args: Any, **settings: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(retrain, "write_subnet_folder", kill)
        run(exported, tmp_path)
    assert not (tmp_path / "subnet").exists()
    assert run(exported, tmp_path, "--auto-resume") == 0
    assert read_subnet_record(tmp_path / "subnet")["metrics"]["num_test_images"] == 360


def test_a_users_folder_in_the_place_of_the_result_is_refused_before_it_is_resumed(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(trained / "last.pt", tmp_path / "last.pt")
    (tmp_path / "subnet").mkdir()
    (tmp_path / "subnet" / "notes.txt").write_text("mine")
    assert run(exported, tmp_path, "--resume") == 2
    assert "exists and is no exported subnet" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "subnet"]
    assert [path.name for path in (tmp_path / "subnet").iterdir()] == ["notes.txt"]


def test_a_loss_that_is_not_finite_ends_in_one_line(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loss(*args: Any, **settings: Any) -> Tensor:
        return training_loss(*args, **settings) * math.nan

    monkeypatch.setattr(standard_training, "training_loss", loss)
    assert run(exported, tmp_path) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("supernet-retrain: error: The loss became nan at step 0, lr 0.05")
    assert not (tmp_path / "subnet").exists()


def test_every_option_of_the_recipe_reaches_it(
    exported: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    flags = (
        "--epochs 7 --opt adamw --opt-eps 1e-6 --opt-betas 0.8 0.9 --lr 0.2 --weight-decay 0.01 "
        "--no-decay-bn-bias --sched step --min-lr 0.001 --warmup-epochs 2 --warmup-lr 0.01 "
        "--label-smoothing 0.1 --mixup 0.2 --cutmix 0.3 --mixup-prob 0.4 --mixup-switch-prob 0.6 "
        "--mixup-off-epoch 3 --clip-grad 2 --clip-value 3 --ema-decay 0.99 --no-ema-warmup "
        "--amp --no-channels-last --seed 5"
    )
    expected = RetrainConfig(
        epochs=7,
        opt="adamw",
        opt_eps=1e-6,
        opt_betas=(0.8, 0.9),
        lr=0.2,
        weight_decay=0.01,
        decay_bn_bias=False,
        sched="step",
        min_lr=0.001,
        warmup_epochs=2,
        warmup_lr=0.01,
        label_smoothing=0.1,
        mixup=0.2,
        cutmix=0.3,
        mixup_prob=0.4,
        mixup_switch_prob=0.6,
        mixup_off_epoch=3,
        clip_grad=2.0,
        clip_value=3.0,
        ema_decay=0.99,
        ema_warmup=False,
        amp=True,
        channels_last=False,
        seed=5,
    )
    assert capture(exported, tmp_path, *flags.split())["config"] == expected
    given = capture(exported, tmp_path, *"--opt rmsprop --opt-alpha 0.8 --momentum 0.7".split())
    assert (given["config"].opt_alpha, given["config"].momentum) == (0.8, 0.7)
    assert capture(exported, tmp_path, "--no-amp")["config"] == RetrainConfig()
    rest = capture(exported, tmp_path, *"--checkpoint-minutes 3 --batch-size 32".split())
    assert rest["checkpoint_minutes"] == 3
    assert rest["loaders"].train.batch_size == 32


def test_the_data_are_those_of_the_export_unless_others_are_asked_for(
    exported: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    data = read_subnet_record(exported)["data"]
    own = capture(exported, tmp_path)["loaders"]
    assert data_record(own) == data
    larger = capture(exported, tmp_path, "--image-size", "12")["loaders"]
    assert larger.input_size == (1, 12, 12)
    assert larger.settings["split_digest"] == data["split_digest"]
    fewer = capture(exported, tmp_path, "--val-fraction", "0.5")["loaders"].settings
    assert fewer["num_val"] > data["val_fraction"] * 1437 and fewer["num_test"] == 360
    other = capture(exported, tmp_path, "--split-seed", "4")["loaders"].settings
    assert other["split_digest"] != data["split_digest"]
    default = capture(exported, tmp_path, "--dataset", "digits")["loaders"].settings
    assert default["split_digest"] == create_loaders("digits").settings["split_digest"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 2 classes of 8 RGB images."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_other_data_may_have_other_classes_and_channels_from_scratch(
    exported: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--dataset", "folder", "--data-dir", str(photos), "--batch-size", "5"]
    output = tmp_path / "output"
    assert run(exported, output, *data, "--finetune") == 2
    assert "are for images of 1 channel, the data have 3; leave" in capsys.readouterr().err
    assert run(exported, output, *data) == 0
    record = read_subnet_record(output / "subnet")
    assert record["settings"]["num_classes"] == 2
    assert record["settings"]["input_size"] == [3, 8, 8]
    assert record["data"]["class_names"] == ["cat", "dog"]
    parameters = sum(p.numel() for p in load_subnet(output / "subnet").parameters())
    assert record["cost"]["params"] == parameters
    assert parameters != read_subnet_record(exported)["cost"]["params"]


@pytest.fixture
def exported_photos(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A subnet of a supernet of the photos, one of them damaged, named below the current folder."""
    monkeypatch.chdir(tmp_path)
    (photos / "cat" / "3.png").write_bytes(b"no image")
    data = "--dataset folder --data-dir photos --skip-bad-images --image-size 12".split()
    tiny = "--channels 4 --cells-per-stage 1 --batch-size 5 --num-probes 0 --epochs 1 --no-amp"
    assert cli.main([*tiny.split(), *data, "--output", "supernet"]) == 0
    arguments = ["--supernet", "supernet/last.pt", "--arch", ARCH, "--formats"]
    assert export.main([*arguments, "--output", "subnet"]) == 0
    return tmp_path / "subnet"


def test_finetuning_opens_the_data_of_the_export_with_all_its_options(
    exported_photos: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    stored = read_subnet_record(exported_photos)["data"]
    assert (stored["data_dir"], stored["skip_bad_images"]) == ("photos", True)
    loaders = capture(exported_photos, tmp_path / "fine", "--finetune", "--batch-size", "5")[
        "loaders"
    ]
    assert loaders.settings["image_size"] == 12
    assert loaders.settings["split_digest"] == stored["split_digest"]
    assert data_record(loaders) == stored


def test_a_folder_that_is_not_known_is_asked_for_before_any_work(
    exported_photos: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported_photos / "subnet.json"
    record = json.loads(path.read_text())
    del record["data"]["data_dir"]
    path.write_text(json.dumps(record))
    capsys.readouterr()
    assert run(exported_photos, tmp_path / "fine", "--finetune") == 2
    assert "does not say where its images lie (folder)" in capsys.readouterr().err
    moved = photos.rename(tmp_path / "moved")
    flags = ["--finetune", "--data-dir", str(moved), "--batch-size", "5", "--epochs", "1"]
    assert run(exported_photos, tmp_path / "fine", *flags) == 0
    assert "data_dir" not in read_subnet_record(tmp_path / "fine" / "subnet")["data"]


def test_finetuning_other_classes_starts_a_fresh_head_on_inherited_weights(
    exported_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    for names in (["car", "bus"], ["a", "b", "c"]):
        folder = tmp_path / f"other{len(names)}"
        for name in names:
            (folder / name).mkdir(parents=True)
            for number in range(8):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
        output = tmp_path / f"fine{len(names)}"
        flags = f"--finetune --data-dir {folder} --batch-size 5 --epochs 1".split()
        capsys.readouterr()
        assert run(exported_photos, output, *flags) == 0
        assert "the head of the network starts from fresh weights" in capsys.readouterr().err
        record = read_subnet_record(output / "subnet")
        assert record["recipe"]["weights"] == "inherited" and record["recipe"]["head"] == "fresh"
        assert record["provenance"]["classes"] == ["cat", "dog"]
        assert record["data"]["class_names"] == sorted(names)
        assert record["data"]["image_size"] == 12
        x = torch.zeros(1, 3, 12, 12)
        assert load_subnet(output / "subnet")(x).shape == (1, len(names))


def test_the_same_images_by_other_splits_are_still_refused(
    exported_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(exported_photos, tmp_path / "fine", "--finetune", "--split-seed", "7") == 2
    assert "have learned from other splits of these images" in capsys.readouterr().err


def test_a_folder_of_the_same_classes_is_finetuned_on_with_a_warning_unless_it_is_the_same(
    exported_photos: Path,
    tmp_path: Path,
    capture: Callable[..., dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = "--dataset folder --data-dir photos --skip-bad-images --image-size 12 --batch-size 5"
    capture(exported_photos, tmp_path / "fine", "--finetune", *data.split())
    assert "what is measured on them is too good" not in caplog.text
    other = [*data.split(), "--split-seed", "7"]
    capture(exported_photos, tmp_path / "fine", *other)
    assert "what is measured on them is too good" not in caplog.text  # nothing is inherited
    capture(exported_photos, tmp_path / "fine", "--finetune", *other)
    assert "what is measured on them is too good" in caplog.text


def test_timm_augments_as_asked_or_as_recorded(
    exported: Path, photos: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    data = ["--data-dir", str(photos), "--num-workers", "0", "--batch-size", "4"]
    flags = "--auto-augment rand-m9-mstd0.5 --re-prob 0.2 --re-mode pixel --interpolation bicubic"
    splits = "--num-val 3 --split-seed 2 --image-size 16"
    first = capture(exported, tmp_path, "--dataset", "timm", *data, *f"{flags} {splits}".split())
    asked = first["loaders"].settings
    names = ("auto_augment", "re_prob", "re_mode", "interpolation")
    found = [asked["augmentation"][name] for name in names]
    assert found == ["rand-m9-mstd0.5", 0.2, "pixel", "bicubic"]
    assert (asked["num_val"], asked["seed"], asked["image_size"]) == (3, 2, 16)

    record = read_subnet_record(exported) | {"data": data_record(first["loaders"])}
    folder = tmp_path / "of photos"
    shutil.copytree(exported, folder)
    (folder / "subnet.json").write_text(json.dumps(record))
    assert capture(folder, tmp_path, *data)["loaders"].settings == asked
    other = capture(folder, tmp_path, *data, "--re-prob", "0.5")["loaders"].settings
    assert other == asked | {"augmentation": asked["augmentation"] | {"re_prob": 0.5}}
    more = capture(folder, tmp_path, *data, "--val-fraction", "0.5")["loaders"].settings
    assert more["num_val"] > 3 and more["augmentation"] == asked["augmentation"]


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported MobileNetV3 for digits, without the program that retraining does not need."""
    folder = tmp_path_factory.mktemp("mobilenet")
    sizes = {"width": 0.35, "strides": [1] * 6, "resolutions": []}
    write_subnet(folder, "mobilenetv3", sizes, create_loaders("digits"))
    return folder


def write_subnet(folder: Path, space_name: str, sizes: dict[str, Any], loaders: Loaders) -> None:
    """Writes an export of a network with fresh weights, as far as retraining reads it."""
    space = create_space(space_name)
    arch = space.sample(np.random.default_rng(0))
    settings = {"num_classes": 10, "input_size": loaders.input_size, **sizes}
    network = create_subnet(arch, **settings)
    save_file(network.state_dict(), folder / "weights.safetensors")
    record = {
        "format": export_files.FORMAT,
        "version": subnet_folder.VERSION,
        "space": space_name,
        "architecture": space.format(arch),
        "settings": settings,
        "data": data_record(loaders),
        "provenance": {},
        "weights_sha256": export_files.sha256(folder / "weights.safetensors"),
    }
    (folder / "subnet.json").write_text(json.dumps(record))


def test_dropout_and_drop_path_are_those_of_timm(
    mobilenet: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    for flags, rates in ((["--dropout", "0.3", "--drop-path", "0.2"], (0.3, 0.2)), ([], (0, 0))):
        captured = capture(mobilenet, tmp_path, *flags)
        network = captured["network"]
        assert isinstance(network, MobileNetV3)
        assert network.drop_rate == rates[0]
        drops = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
        blocks = sum(len(stage) for stage in network.blocks)
        assert drops == pytest.approx(
            [rates[1] * i / blocks for i in range(1, blocks)][: len(drops)]
        )
        assert len(drops) == (blocks - 1 if rates[1] else 0)
        recipe = captured["run_settings"]["record"]["recipe"]
        assert (recipe["dropout"], recipe["drop_path"]) == rates


@pytest.fixture(scope="module")
def nasnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported NASNet for digits that are large enough for an auxiliary head."""
    folder = tmp_path_factory.mktemp("nasnet")
    sizes = {"channels": 2, "layers": 3, "stem": "cifar"}
    write_subnet(folder, "nasnet", sizes, create_loaders(DataConfig("digits", image_size=32)))
    return folder


#: The cells that DARTS found second.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
#: DARTS' way to train a network, with a larger one than was exported.
DARTS = (
    "--channels 4 --layers 4 --aux-weight 0.4 --drop-path 0.5 --drop-path-ramp --cutout 8 "
    "--mixup 0.2 --ema-decay 0.9 --batch-size 3 --num-workers 0"
).split()


@pytest.mark.slow
def test_a_larger_nasnet_is_trained_with_what_it_is_not_handed_over_with(
    nasnet: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    flags = [*DARTS, "--dataset", "folder", "--data-dir", str(photos), "--image-size", "32"]
    assert run(nasnet, whole, *flags) == 0
    subnet, record = load_subnet(whole / "subnet"), read_subnet_record(whole / "subnet")
    assert isinstance(subnet, NASNetSubnet) and subnet.skeleton.auxiliary is None
    assert len(subnet.skeleton.cells) == 4
    assert (record["settings"]["channels"], record["settings"]["layers"]) == (4, 4)
    assert record["cost"]["params"] == sum(p.numel() for p in subnet.parameters())
    assert record["data"]["cutout"] == 8
    recipe = record["recipe"]
    assert (recipe["aux_weight"], recipe["drop_path"], recipe["drop_path_ramp"]) == (0.4, 0.5, True)
    averaged = standard_training.read_network_checkpoint(whole / "last.pt")["state_dict"]
    assert any(name.startswith(inherited_weights.AUXILIARY) for name in averaged)
    for name, tensor in subnet.state_dict().items():
        assert torch.equal(tensor, averaged[name]), name

    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return training_loss(*args, **settings)

    monkeypatch.setattr(standard_training, "training_loss", loss)
    assert run(nasnet, parts, *flags) == 130
    assert run(nasnet, parts, *flags, "--resume") == 0
    assert count == 2 * 3
    weights = [(o / "subnet" / "weights.safetensors").read_bytes() for o in (whole, parts)]
    assert weights[0] == weights[1]


def test_inherited_weights_get_a_fresh_auxiliary_head(
    nasnet: Path,
    tmp_path: Path,
    capture: Callable[..., dict[str, Any]],
    assert_same_weights: Callable[[nn.Module, dict[str, Tensor]], None],
) -> None:
    inherited = load_subnet(nasnet).state_dict()
    network = capture(nasnet, tmp_path, "--finetune", "--aux-weight", "0.4")["network"]
    assert network.skeleton.auxiliary is not None
    for name, tensor in network.state_dict().items():
        is_inherited = not name.startswith(inherited_weights.AUXILIARY)
        assert is_inherited == (name in inherited)
        assert not is_inherited or torch.equal(tensor, inherited[name]), name
    without = capture(nasnet, tmp_path, "--finetune")["network"]
    assert without.skeleton.auxiliary is None
    assert_same_weights(without, inherited)


def test_what_trains_a_nasnet_reaches_its_recipe(
    nasnet: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    flags = "--aux-weight 0.3 --drop-path 0.2 --drop-path-ramp --cutout 5".split()
    captured = capture(nasnet, tmp_path, *flags)
    assert captured["config"].aux_weight == 0.3 and captured["config"].drop_path_ramp
    assert captured["network"].drop_path.drop_prob == 0.2
    assert captured["loaders"].settings["cutout"] == 5
    captured = capture(nasnet, tmp_path)
    assert captured["config"].aux_weight == 0 and not captured["config"].drop_path_ramp
    assert captured["network"].drop_path.drop_prob == 0
    assert "cutout" not in captured["loaders"].settings


@pytest.mark.slow
def test_the_size_is_as_exported_or_as_asked_for(
    exported: Path, nasnet: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    for subnet, flags, expected in (
        (nasnet, "", {"channels": 2, "layers": 3, "stem": "cifar"}),
        (nasnet, "--layers 5 --stem imagenet", {"channels": 2, "layers": 5, "stem": "imagenet"}),
        (nasnet, "--channels 6", {"channels": 6, "layers": 3, "stem": "cifar"}),
        (exported, "", {"channels": 8, "cells_per_stage": 1}),
        (exported, "--channels 4 --cells-per-stage 2", {"channels": 4, "cells_per_stage": 2}),
    ):
        captured = capture(subnet, tmp_path, *flags.split())
        record = captured["run_settings"]["record"]
        assert {name: record["settings"][name] for name in expected} == expected
        parameters = sum(p.numel() for p in captured["network"].parameters())
        assert record["cost"]["params"] == parameters


@pytest.mark.slow
def test_the_stem_is_asked_for_where_images_call_for_another(
    nasnet: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    larger = ["--image-size", "96"]
    for flags, parts in (
        (["--stem", "imagenet"], 2),
        (["--stem", "cifar"], 1),
        (["--finetune"], 1),
    ):
        network = capture(nasnet, tmp_path, *larger, *flags)["network"]
        assert len(network.skeleton.stem) == parts
    small = capture(nasnet, tmp_path, "--image-size", "95")["network"]
    assert len(small.skeleton.stem) == 1


def test_data_have_the_cutout_of_the_export_unless_another_is_asked_for(
    exported: Path, tmp_path: Path, capture: Callable[..., dict[str, Any]]
) -> None:
    first = capture(exported, tmp_path, "--cutout", "3")["loaders"]
    record = read_subnet_record(exported) | {"data": data_record(first)}
    folder = tmp_path / "with cutout"
    shutil.copytree(exported, folder)
    (folder / "subnet.json").write_text(json.dumps(record))
    assert capture(folder, tmp_path)["loaders"].settings == first.settings
    assert capture(folder, tmp_path, "--cutout", "4")["loaders"].settings["cutout"] == 4
    assert "cutout" not in capture(folder, tmp_path, "--cutout", "0")["loaders"].settings


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--channels 1", "channels must be at least 2, got 1."),
        ("--layers 2", "layers must be at least 3, got 2."),
        ("--cells-per-stage 2", "Networks of space 'nasnet' have no --cells-per-stage;"),
        ("--finetune --channels 4 --stem cifar", "leave out --channels, --stem, or --finetune."),
        ("--aux-weight 0.4 --image-size 28", "The auxiliary head needs images of at least 29"),
        ("--image-size 96", "has stem cifar for images of 32 pixels, these have 96; pass --stem"),
        ("--aux-weight 0.4 --batch-size 1", "of 1 image are too small for the BatchNorm of this"),
        ("--drop-path-ramp", "--drop-path-ramp needs the rate it ends with; pass --drop-path."),
        ("--cutout 33", "cutout must be at most the 32 pixels of an image, got 33."),
    ],
)
def test_mistakes_about_a_nasnet_are_refused(
    flags: str, message: str, nasnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    assert run(nasnet, output, *flags.split()) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not output.exists() or not list(output.iterdir())


@pytest.mark.parametrize(
    ("recipe", "num_classes", "millions"), [("cifar10", 10, 3.3), ("imagenet", 1000, 4.7)]
)
def test_recipes_train_the_networks_of_darts(
    recipe: str, num_classes: int, millions: float
) -> None:
    path = ROOT / "recipes" / f"{recipe}_nasnet_retrain.yaml"
    args = parse_args(build_parser(), ["--config", str(path)])
    config = from_args(RetrainConfig, args)  # is valid
    assert (config.aux_weight, config.clip_grad) == (0.4, 5.0)
    sizes = {name: getattr(args, name) for name in ("channels", "layers", "stem")}
    with torch.device("meta"):
        network = create_subnet(
            create_space("darts").parse(DARTS_V2), num_classes=num_classes, **sizes
        )
    parameters = sum(p.numel() for p in network.parameters())
    assert round(parameters / 1e6, 1) == millions  # of DARTS' second cell, by its paper


def test_a_mobilenetv3_has_no_options_of_cells(
    mobilenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, named in (
        ("--channels 4 --layers 3", "--channels, --layers"),
        ("--cells-per-stage 1 --stem cifar", "--cells-per-stage, --stem"),
        ("--aux-weight 0.4", "--aux-weight"),
    ):
        assert run(mobilenet, tmp_path / "output", *flags.split()) == 2
        message = f"Networks of space 'mobilenetv3' have no {named}; leave it out."
        assert message in capsys.readouterr().err
    arch = create_space("mobilenetv3").sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="of space 'mobilenetv3' have no auxiliary head"):
        create_subnet(arch, with_auxiliary=True, num_classes=10)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--aux-weight 0.4", "Networks of space 'nasbench201' have no --aux-weight; leave it out."),
        ("--layers 4", "Networks of space 'nasbench201' have no --layers; leave it out."),
        ("--dataset timm --data-dir x --cutout 4", "timm is augmented by timm; use --re-prob"),
        ("--opt-eps 1", "Optimizer 'sgd' has no opt_eps"),
        ("--formats timm", "timm has no networks of space 'nasbench201'"),
        ("--mixup-prob 0.5", "mixup_prob needs mixup or cutmix"),
        ("--device nonsense", "Unknown device 'nonsense'"),
        ("--dropout 0.5", "Subnets of space 'nasbench201' have no dropout; there are"),
        ("--drop-path 0.5", "Subnets of space 'nasbench201' have no drop_path; there are"),
        ("--dataset cifar10", "cifar10 needs the folder of its data; pass --data-dir."),
        ("--data-dir x", "digits come with scikit-learn; leave out --data-dir x."),
        ("--finetune --split-seed 1", "have learned from other splits of these images"),
        ("--finetune --val-fraction 0.1", "have learned from other splits of these images"),
        ("--finetune --dataset digits --split-seed 1", "have learned from other splits of these"),
        ("--resume", "There is no checkpoint at"),
    ],
)
def test_mistakes_are_refused_before_any_work(
    flags: str,
    message: str,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "output"
    assert run(exported, output, *flags.split()) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and len(lines) == 1
    assert lines[0].startswith("supernet-retrain: error: ")
    assert message in lines[0]
    assert not output.exists() or not list(output.iterdir())


def test_required_options_are_asked_for(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path)]) == 2
    assert "--subnet or --arch is required" in capsys.readouterr().err
    assert main(["--subnet", str(exported)]) == 2
    assert "--output is required" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "output") == 2
    assert "holds no exported subnet (no subnet.json)" in capsys.readouterr().err


def test_an_output_in_use_and_other_settings_are_refused(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    shutil.copytree(trained, output)
    assert run(exported, output) == 2
    assert "already holds a training; add --resume" in capsys.readouterr().err
    (output / "last.pt").unlink()
    assert run(exported, output) == 2
    assert "already holds a training; add --resume" in capsys.readouterr().err
    shutil.copy(trained / "last.pt", output)
    same = "--epochs 8 --batch-size 64 --warmup-epochs 1 --ema-decay 0.9 --resume".split()
    for flags, message in (
        (["--finetune"], "weights was fresh and is now inherited"),
        (["--lr", "0.01"], "lr was 0.05 and is now 0.01"),
        (["--batch-size", "32"], "batch_size was 64 and is now 32"),
        (["--split-seed", "1"], "split_seed was 3 and is now 1"),
        (["--seed", "1"], "seed was 0 and is now 1"),
        (["--image-size", "12"], "image_size was 8 and is now 12"),
        (["--channels", "4"], "channels was 8 and is now 4"),
        (["--cutout", "4"], "cutout was None and is now 4"),
    ):
        assert run(exported, output, *same, *flags) == 2
        assert message in capsys.readouterr().err


def test_a_training_of_before_an_option_is_resumed(
    exported: Path, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    shutil.copytree(trained, output)
    saved = standard_training.read_network_checkpoint(output / "last.pt")
    for name in ("aux_weight", "drop_path_ramp"):
        del saved["record"]["recipe"][name]
    torch.save(saved, output / "last.pt")
    same = "--epochs 8 --batch-size 64 --warmup-epochs 1 --ema-decay 0.9 --resume".split()
    assert run(exported, output, *same) == 0


def test_data_that_have_changed_since_the_export_are_refused(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    record = json.loads((copy / "subnet.json").read_text())
    digest = record["data"].pop("split_digest")
    (copy / "subnet.json").write_text(json.dumps(record))
    assert run(copy, tmp_path / "output") == 2
    assert "does not say what it was trained on; pass --dataset" in capsys.readouterr().err
    record["data"]["split_digest"] = digest[::-1]
    (copy / "subnet.json").write_text(json.dumps(record))
    assert run(copy, tmp_path / "output") == 2
    assert "The images of digits are not those" in capsys.readouterr().err


@pytest.mark.slow
def test_any_value_of_the_record_in_a_checkpoint_is_read_or_refused_in_a_line(
    edits: Callable[..., Any], is_refused: Callable[..., bool], trained: Path, tmp_path: Path
) -> None:
    path, num_refused = tmp_path / "last.pt", 0
    whole = torch.load(trained / "last.pt", weights_only=True)
    few = {name: dict([*whole[name].items()][:1]) for name in ("state_dict", "raw_state_dict")}
    read_of_it = {name: whole[name] for name in ("format", "version", "progress")} | few

    def read() -> None:
        stored = retrain._find_checkpoint(tmp_path, resume=True)
        assert stored is not None
        check_same_settings(
            tmp_path, retrain._flatten(stored["record"]), retrain._flatten(whole["record"])
        )

    torch.save({**read_of_it, "record": whole["record"]}, path)
    read()
    for _, record in edits({"record": whole["record"]}, every=9):
        torch.save({**read_of_it, **record}, path)
        num_refused += is_refused(tmp_path, read)
    assert num_refused > 50


def test_weights_of_another_network_in_a_checkpoint_are_named_in_a_line(
    exported: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = torch.load(trained / "last.pt", weights_only=True)
    whole["raw_state_dict"].pop(next(iter(whole["raw_state_dict"])))
    torch.save(whole, tmp_path / "last.pt")
    flags = "--epochs 8 --batch-size 64 --warmup-epochs 1 --ema-decay 0.9 --formats pt2".split()
    assert run(exported, tmp_path, *flags, "--resume") == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert str(tmp_path / "last.pt") in line and "skeleton.stem.conv.weight is missing" in line
