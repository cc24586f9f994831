"""Wrong input of the elastic space is one clear line, and leaves no file behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supernets.cli import export
from supernets.cli.train import main
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.training.ofa_checkpoints import to_ofa_state_dict
from tests.commands import error_line_of, files_below

FLAGS = "--space mobilenetv3 --val-fraction 0.8 --batch-size 300 --num-probes 0 --paths uniform"


def train(output: Path, *flags: str) -> int:
    try:
        return main([*FLAGS.split(), "--epochs", "1", "--output", str(output), *flags])
    except SystemExit as error:  # what the parser itself refuses
        assert isinstance(error.code, int)
        return error.code


error_line = error_line_of("supernet-train")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--width 0", "--width must be above 0 and at most 16, got 0"),
        ("--width -1", "--width must be above 0 and at most 16, got -1"),
        ("--width nan", "--width must be above 0 and at most 16, got nan"),
        ("--width inf", "--width must be above 0 and at most 16, got inf"),
        (
            "--strides 2 2 2",
            "strides must be 6 numbers, each 1 or 2, for the stem and the 5 stages",
        ),
        ("--strides 2 2 2 2 1 2 1", "got [2, 2, 2, 2, 1, 2, 1]."),
        ("--strides 2 2 2 3 1 1", "--strides must be at most 2, got 3"),
        ("--strides 2 2 2 0 1 1", "--strides must be at least 1, got 0"),
        ("", "Images of 8 pixels are smaller than the network's total stride of 32"),
        ("--image-size 31", "use larger ones, or smaller strides (now [2, 2, 2, 2, 1, 2])."),
        ("--resolutions 16 32", "Images of 16 pixels are smaller than the network's total stride"),
        (
            "--resolutions 32 40 --image-size 32",
            "The largest of resolutions [32, 40] must be the size of the images, which is 32x32; "
            "change --image-size or --resolutions.",
        ),
        ("--resolutions 32 32", "resolutions must be different positive numbers, got [32, 32]."),
        ("--resolutions 0 32", "--resolutions must be at least 1, got 0"),
        ("--resolutions -8", "--resolutions must be at least 1, got -8"),
    ],
)
def test_wrong_settings_of_the_supernet_are_refused(
    flags: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *flags.split()) == 2
    assert message in error_line(capsys)
    assert files_below(tmp_path) == []


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as OFA released them: of 10 and 5 classes, and for colour images."""
    folder = tmp_path_factory.mktemp("ofa")
    for name, num_classes, channels in (("ofa", 10, 1), ("five", 5, 1), ("colour", 10, 3)):
        supernet = MobileNetV3Supernet(
            num_classes=num_classes, width=0.1, input_size=(channels, 32, 32)
        )
        torch.save(to_ofa_state_dict(supernet), folder / name)
    (folder / "half").write_bytes((folder / "ofa").read_bytes()[:-5000])
    (folder / "text").write_text("no weights")
    return folder


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--from-ofa {}/none", "There is no file at {}/none"),
        ("--from-ofa {}", "There is no file at {}"),
        ("--from-ofa {}/half", "{}/half is not a file of PyTorch weights, or is truncated"),
        ("--from-ofa {}/text", "{}/text is not a file of PyTorch weights, or is truncated"),
        ("--from-ofa {}/ofa --width 0.5", "{}/ofa is of width 0.1, not 0.5; leave the width out"),
        ("--from-ofa {}/five --epochs 0", "has 5 classes, the data has 10; use data with the same"),
        ("--from-ofa {}/colour", "first_conv.conv.weight has shape (8, 3, 3, 3), (8, 1, 3, 3) was"),
        ("--from-ofa {}/ofa --strides 2 1 2 2 1 2", "Released weights have a --strides of"),
        ("--from-ofa {}/ofa --no-kernel-transform", "Released weights have a --kernel-transform"),
        ("--from-ofa {}/ofa --image-size 16", "Images of 16 pixels are smaller than"),
    ],
)
def test_released_weights_that_do_not_fit_are_refused(
    flags: str, message: str, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = flags.format(released).split()
    size = [] if "--image-size" in given else ["--image-size", "32"]
    assert train(tmp_path / "run", *size, *given) == 2
    assert message.format(released) in error_line(capsys)
    assert files_below(tmp_path) == []


def test_released_weights_learn_other_classes(released: Path, tmp_path: Path) -> None:
    flags = f"--image-size 32 --from-ofa {released}/five --epochs 1 --num-probes 0"
    assert train(tmp_path / "run", *flags.split()) == 0
    checkpoint = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert checkpoint["supernet_settings"]["num_classes"] == 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training with two resolutions; never written to."""
    output = tmp_path_factory.mktemp("trained")
    flags = "--width 0.1 --strides 2 2 2 1 1 1 --resolutions 8 12"
    assert train(output, *flags.split()) == 0
    return output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--width 0.2 --resolutions 8 12", "width was 0.1 and is now 0.2"),
        ("--width 0.1 --resolutions 12", "resolutions was (8, 12) and is now (12,)"),
        ("--width 0.1 --resolutions 8 16", "resolutions was (8, 12) and is now (8, 16)"),
    ],
)
def test_resuming_refuses_another_supernet(
    flags: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "last.pt").read_bytes(), (trained / "args.json").read_bytes()
    same = "--strides 2 2 2 1 1 1 --resume"
    assert train(trained, *same.split(), *flags.split()) == 2
    assert message in error_line(capsys)
    assert before == ((trained / "last.pt").read_bytes(), (trained / "args.json").read_bytes())


GOOD = {
    "d": "2,2,2,2,2",
    "k": "3,3,-,-,3,3,-,-,3,3,-,-,3,3,-,-,3,3,-,-",
    "e": "3,3,-,-,3,3,-,-,3,3,-,-,3,3,-,-,3,3,-,-",
    "r": "8",
}


def written(**changes: str | None) -> str:
    parts = {**GOOD, **changes}
    return ";".join(f"{key}={value}" for key, value in parts.items() if value is not None)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (written(d="5,2,2,2,2"), "depth.1 takes 2, 3, 4, got '5'"),
        (written(d="2,2,2,2"), "d has 4 values, not 5"),
        (written(k=GOOD["k"].replace("3", "4", 1)), "kernel.1.1 takes 3, 5, 7, got '4'"),
        (written(k=GOOD["k"] + ",3"), "k has 21 values, not 20"),
        (written(k="-" + GOOD["k"][1:]), "kernel.1.1 is active but left out"),
        (written(e=GOOD["e"].replace("3", "5", 1)), "expand.1.1 takes 3, 4, 6, got '5'"),
        (written(e="3,3"), "e has 2 values, not 20"),
        (written(r="16"), "resolution takes 8, 12, got '16'"),
        (written(r=None), "it has d, k, e, expected d, k, e, r"),
        ('{"d": [2,2,2,2,9], "ks": [], "e": [], "r": 8}', "depth.5 takes 2, 3, 4, got '9'"),
        ("|none~0|", "is not an architecture of space 'mobilenetv3'"),
    ],
)
def test_architectures_off_the_grid_are_not_exported(
    arch: str, message: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--supernet", str(trained / "last.pt"), "--output", str(tmp_path / "subnet")]
    assert export.main([*flags, "--arch", arch]) == 2
    error = error_line_of(export.PROGRAM)(capsys)
    assert message in error
    assert "Expected, for example" in error
    assert list(tmp_path.iterdir()) == []
