"""Minibatches of one image: where BatchNorm cannot be trained on them, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import search.cli.search
import supernets.cli.export
import supernets.cli.retrain
import supernets.cli.train
from supernets.data.timm_stream import without_single_images
from supernets.networks.base import Supernet
from supernets.networks.single_images import check_supernet_single_images

#: Maps of 1x1 in the last stage; 1,149 train images.
SMALL = "--channels 4 --cells-per-stage 1 --image-size 4 --epochs 1".split()
CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
REMAINDER_OF_ONE = "574"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    flags = ["--batch-size", REMAINDER_OF_ONE, "--num-probes", "1", "--output", str(output)]
    assert supernets.cli.train.main([*SMALL, *flags]) == 0
    return output


def test_a_supernet_trains_where_one_image_is_left(trained: Path) -> None:
    args = json.loads((trained / "args.json").read_text())["args"]
    assert args["batch_size"] == 574
    checkpoint = torch.load(trained / "last.pt", weights_only=True)
    assert checkpoint["progress"]["step"] == 2
    assert checkpoint["data"]["num_train"] == 2 * 574 + 1


def test_a_network_is_retrained_where_one_image_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--arch", CELL, "--space", "nasbench201", "--formats", "--output", str(tmp_path)]
    sizes = ["--batch-size", REMAINDER_OF_ONE]
    assert supernets.cli.retrain.main([*SMALL, *flags, *sizes]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2


@pytest.mark.parametrize(
    "flags",
    [
        "--estimator tse --tse-batches 3 --tse-batch-size 574",
        "--estimator val_acc --recalibrate-batches 2",
        "--estimator from_scratch --scratch-epochs 1 --scratch-batch-size 574",
    ],
)
def test_a_search_goes_on_where_one_image_is_left(
    flags: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--supernet", str(trained / "last.pt"), "--output", str(tmp_path / "found")]
    assert (
        search.cli.search.main(
            [*common, "--num-trials", "2", "--algorithm", "random", *flags.split()]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["failed"] == 0


def test_a_subnet_is_exported_where_one_image_is_left(trained: Path, tmp_path: Path) -> None:
    flags = ["--supernet", str(trained / "last.pt"), "--arch", CELL, "--formats"]
    assert supernets.cli.export.main([*flags, "--output", str(tmp_path / "subnet")]) == 0
    record = json.loads((tmp_path / "subnet" / "subnet.json").read_text())
    assert record["recalibration"]["num_images"] == 2 * 574 + 1


@pytest.mark.slow
def test_a_search_by_gradients_goes_on_where_one_image_is_left(tmp_path: Path) -> None:
    # of 1,437 images 719 are train, 718 val
    for size in ("718", "717"):
        flags = ["--algorithm", "darts", "--batch-size", size, "--output", str(tmp_path / size)]
        assert search.cli.search.main([*SMALL, *flags]) == 0


@pytest.mark.parametrize("space", ["nasbench201", "mobilenetv3", "nasnet"])
def test_a_single_image_is_refused_only_where_maps_are_of_one_value(
    space: str, make_supernet: Callable[..., Supernet], weights_of: Any, assert_same_weights: Any
) -> None:
    side = 32 if space == "mobilenetv3" else 4
    more: dict[str, Any] = {"strides": (2, 2, 2, 2, 1, 2)} if space == "mobilenetv3" else {}
    small = make_supernet(space, input_size=(3, side, side), **more)
    before = weights_of(small)
    with pytest.raises(ValueError, match="of 1 image are too small .* use --batch-size 2 or more"):
        check_supernet_single_images(small, 1)
    assert_same_weights(small, before)
    check_supernet_single_images(small, 2)
    large = make_supernet(space, input_size=(3, 2 * side, 2 * side), **more)
    check_supernet_single_images(large, 1)


def test_commands_refuse_single_images_before_any_work(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    output = ["--output", str(tmp_path / "output")]
    supernet = [
        "--supernet",
        str(trained / "last.pt"),
        "--num-trials",
        "2",
        "--algorithm",
        "random",
    ]
    network = ["--arch", CELL, "--space", "nasbench201"]
    one = ["--batch-size", "1"]
    for main, flags in (
        (supernets.cli.train.main, [*SMALL, *one]),
        (supernets.cli.retrain.main, [*SMALL, *network, *one]),
        (search.cli.search.main, [*supernet, "--tse-batches", "2", "--tse-batch-size", "1"]),
        (search.cli.search.main, [*SMALL, "--algorithm", "darts", *one]),
        (
            search.cli.search.main,
            [
                *supernet,
                "--estimator",
                "from_scratch",
                "--scratch-epochs",
                "1",
                "--scratch-batch-size",
                "1",
            ],
        ),
    ):
        assert main([*flags, *output]) == 2, flags
        error = capsys.readouterr().err
        assert "Minibatches of 1 image are too small" in error, flags
        lines = [line for line in error.splitlines() if not line.startswith("subnet.onnx is left")]
        assert len(lines) == 1, error


def test_minibatches_of_a_stream_are_joined_as_well() -> None:
    def batch(first: int, size: int) -> tuple[Tensor, Tensor]:
        y = torch.arange(first, first + size)
        return y[:, None].float(), y

    sizes = [1, 4, 1, 4, 1, 1]
    starts = [0, 1, 5, 6, 10, 11]
    joined = list(without_single_images(map(batch, starts, sizes)))
    assert [len(y) for _, y in joined] == [1, 5, 6]
    assert torch.cat([y for _, y in joined]).tolist() == list(range(12))
    assert torch.equal(torch.cat([x for x, _ in joined])[:, 0].long(), torch.arange(12))
