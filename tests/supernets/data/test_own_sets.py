"""Data of one's own are any PyTorch data set of images and labels, named as code is."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import search.cli.search
import supernets.cli.retrain
import supernets.cli.train
from supernets import DataConfig, create_loaders
from supernets.data.own_sets import OWN_SETS
from supernets.training.checkpoint import read_training_checkpoint

MODULE = """
import numpy as np
import torch
from torch.utils.data import Dataset


class Squares(Dataset):
    classes = ("dark", "light")

    def __init__(self, size=60, side=8):
        rng = np.random.default_rng(0)
        self.labels = [i % 2 for i in range(size)]
        self.images = rng.integers(0, 60, (size, side, side, 3)).astype(np.uint8)
        self.images[1::2] += 120

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


def squares():
    return Squares()


def splits(data_dir=None):
    assert data_dir is None or data_dir.is_dir()
    return {"train": Squares(40), "val": Squares(10), "test": Squares(20)}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "my_data.py"
    path.write_text(MODULE)
    return path


def test_a_data_set_is_split_and_normalised_as_others_are(path: Path) -> None:
    loaders = create_loaders(DataConfig(f"{path}:squares"), batch_size=10)
    assert loaders.class_names == ("dark", "light") and loaders.input_size == (3, 8, 8)
    sizes = [loaders.settings[f"num_{split}"] for split in ("train", "val", "test")]
    assert sum(sizes) == 60 and min(sizes) > 5
    assert loaders.settings["dataset"] == f"{path}:squares"
    x = torch.cat([x for x, _ in loaders.train_eval.epoch(0)])
    assert abs(x.mean().item()) < 0.2 and abs(x.std().item() - 1) < 0.2
    again = create_loaders(f"{path}:squares", batch_size=10)
    assert again.settings["split_digest"] == loaders.settings["split_digest"]
    first, second = next(loaders.train.epoch(3)), next(again.train.epoch(3))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_splits_may_be_given_and_a_folder_passed_on(path: Path, tmp_path: Path) -> None:
    loaders = create_loaders(DataConfig(f"{path}:splits", data_dir=tmp_path), batch_size=10)
    sizes = [loaders.settings[f"num_{split}"] for split in ("train", "val", "test")]
    assert sizes == [40, 10, 20]
    with pytest.raises(ValueError, match="squares takes no data_dir; leave out --data-dir"):
        create_loaders(DataConfig(f"{path}:squares", data_dir=tmp_path))


@pytest.mark.parametrize(
    "make",
    [
        lambda pixels: pixels,
        lambda pixels: Image.fromarray(pixels),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1) / 255,
    ],
)
def test_images_are_of_any_common_kind(make: Callable[[Any], Any], path: Path) -> None:
    module = OWN_SETS.find(f"{path}:Squares")()
    pairs = list(zip(module.images, module.labels, strict=True))
    items = [(make(image), torch.tensor(label)) for image, label in pairs]
    OWN_SETS._found["memory:items"] = lambda: items
    OWN_SETS._found["memory:arrays"] = lambda: pairs
    found, expected = (
        create_loaders(f"memory:{name}", batch_size=20) for name in ("items", "arrays")
    )
    for (x, y), (other, label) in zip(found.val.epoch(0), expected.val.epoch(0), strict=True):
        assert torch.equal(x, other) and torch.equal(y, label)
    assert found.class_names == ("0", "1")


PIXELS = np.zeros((4, 4, 3), np.uint8)
LARGE = np.zeros((8, 8, 3), np.uint8)
TENSOR = torch.zeros(8, 8, 3)


class Failing:
    """A data set whose third item cannot be read."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if index == 3:
            raise OSError("no such picture")
        return PIXELS, index % 2


def labelled(*labels: int) -> list[tuple[Any, int]]:
    return [(PIXELS, label) for label in labels]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (3, "train of .* must be a data set with a length, whose items are"),
        ([], "train of .* has no images"),
        ({"valid": [(PIXELS, 0)]}, "a mapping of train and, if there are, val and test, got valid"),
        ([PIXELS], r"train\[0\] of .* must be \(image, label\)"),
        ([(PIXELS, -1)], "label of .* must be a whole number from 0 on, got -1"),
        ([(PIXELS, "cat")], "label of .* must be a whole number from 0 on, got 'cat'"),
        ([("file.png", 0)], r"must be a picture of PIL, an array \(H, W, C\) or a tensor"),
        ([(PIXELS - 1.5, 0)], "must be 8-bit or from 0 to 1, got float64 from -1.5 to -1.5"),
        ([(PIXELS, 0), (PIXELS[:3], 1)], "have 2 sizes, such as .*; pass --image-size"),
        ([(PIXELS[:3], 0), (PIXELS[:3], 1)], r"are \(3, 4, 3\), no squares; pass --image-size"),
        (
            Failing(),
            r"^train\[3\] of memory:made failed: OSError: no such picture "
            r"\(test_own_sets.py, line \d+\)\.$",
        ),
        (
            labelled(1, 2, 3, 4),
            "labels of train of .* whole numbers from 0 on without gaps, got 1, 2, 3, 4; number",
        ),
        (labelled(0, 1, 5), "from 0 on without gaps, got 0, 1, 5; number the classes so"),
        (
            {"train": labelled(0, 1, 0), "val": labelled(0, 3, 2)},
            "val of memory:made has the labels 2, 3, which no image of train has",
        ),
        (
            [(LARGE.transpose(2, 0, 1), 0)],
            r"axes of the image of train\[0\] .* look swapped: an array must be \(H, W, C\), got "
            r"\(3, 8, 8\); transpose\(1, 2, 0\) it there",
        ),
        (
            [(TENSOR, 0)],
            r"look swapped: a tensor must be \(C, H, W\), got \(8, 8, 3\); permute\(2, 0, 1\)",
        ),
        (
            {"train": labelled(0, 1), "test": [(PIXELS[..., 0], 1)]},
            "same number of channels, got 3 in train.0. and 1 in test.0.; make them so",
        ),
        (
            [(np.zeros((6, 8, 7), np.uint8), 0)],
            r"are \(6, 8, 7\), no squares; make them squares of one size there\.",
        ),
    ],
)
def test_what_is_no_data_set_is_refused(made: Any, message: str) -> None:
    OWN_SETS._found["memory:made"] = lambda: made
    with pytest.raises(ValueError, match=message):
        create_loaders("memory:made")


def fails() -> Any:
    raise RuntimeError("no data today")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (fails, r"^memory:make failed: RuntimeError: no data today \(test_own_sets.py, line \d+\)"),
        (
            lambda fold, size: [],
            "a function of nothing, or of data_dir, got one that needs fold, s",
        ),
        (lambda data_dir: [], "got one that needs data_dir; pass --data-dir"),
        (lambda *a, size=3, **k: [], "train of memory:make has no images"),
    ],
)
def test_functions_that_cannot_be_called_or_fail_are_one_line(make: Any, message: str) -> None:
    OWN_SETS._found["memory:make"] = make
    with pytest.raises(ValueError, match=message):
        create_loaders("memory:make")


def test_a_class_without_images_is_named() -> None:
    class Named(list[Any]):
        classes = ("a", "b", "c")

    OWN_SETS._found["memory:made"] = lambda: {
        split: Named(labelled(0, 2)) for split in ("train", "val", "test")
    }
    assert create_loaders("memory:made").class_names == ("a", "b", "c")
    OWN_SETS._found["memory:made"] = lambda: Named(labelled(1, 2, 3))
    with pytest.raises(
        ValueError, match="has label 3, and 3 classes, whose labels are from 0 to 2"
    ):
        create_loaders("memory:made")


def test_images_of_several_sizes_are_made_squares() -> None:
    OWN_SETS._found["memory:made"] = lambda: [
        (np.full((4 + i % 3, 6, 1), i, np.uint8), i % 2) for i in range(40)
    ]
    loaders = create_loaders(DataConfig("memory:made", image_size=5), batch_size=4)
    assert loaders.input_size == (1, 5, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"download": True}, "cannot be downloaded"),
        ({"skip_bad_images": True}, "has no image files to skip"),
    ],
)
def test_options_of_files_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig("memory:made", **settings)


def test_a_training_is_resumed_to_the_same_bits_and_its_data_opened_on_request(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = f"--dataset {path}:squares --channels 2 --cells-per-stage 1 --epochs 2 --num-probes 0"
    flags += " --batch-size 8 --device cpu --paths uniform --output"
    train = supernets.cli.train.main
    assert train([*flags.split(), str(tmp_path / "whole")]) == 0
    import supernets.training.supernet as training

    count, real = 0, training.train_step

    def step(*args: Any, **settings: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **settings)

    monkeypatch.setattr(training, "train_step", step)
    assert train([*flags.split(), str(tmp_path / "parts")]) == 130
    assert train([*flags.split(), str(tmp_path / "parts"), "--resume"]) == 0
    states = [
        torch.load(tmp_path / name / "last.pt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    capsys.readouterr()
    checkpoint = tmp_path / "whole" / "last.pt"
    monkeypatch.setattr(OWN_SETS, "_found", {})
    with pytest.raises(ValueError, match="on data that .*:squares makes, which is not part"):
        read_training_checkpoint(checkpoint)
    find = f"--supernet {checkpoint} --algorithm random --num-trials 2 --tse-batches 1 --device cpu"
    assert search.cli.search.main([*find.split(), "--output", str(tmp_path / "search")]) == 2
    assert "--trust-code" in capsys.readouterr().err and not OWN_SETS._found
    export = ["--export", str(tmp_path / "subnet"), "--trust-code"]
    assert search.cli.search.main([*find.split(), "--output", str(tmp_path / "s"), *export]) == 0
    assert json.loads((tmp_path / "subnet" / "subnet.json").read_text())["data"]["dataset"] == (
        "my_data.py:squares"
    )
