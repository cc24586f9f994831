"""Whatever stands in a checkpoint, it is read or refused in a line that names the file."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from supernets.cli.train import main
from supernets.runtime.foreign_fields import ForeignFileError
from supernets.training.checkpoint import (
    read_training_checkpoint,
    reopen_data,
    supernet_from_checkpoint,
)
from supernets.training.checkpoint_fields import check_progress

DELETED = object()
OTHERS = ({1: 2}, torch.zeros(2), torch.full((3,), math.nan))
FLAGS = [
    "--dataset", "digits", "--channels", "4", "--cells-per-stage", "1", "--batch-size", "512",
    "--num-probes", "0", "--device", "cpu", "--num-workers", "0", "--threads", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    assert main(["--output", str(output), "--epochs", "1", *FLAGS]) == 0
    return output / "last.pt"


def edited(whole: dict[str, Any], at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    checkpoint = copy.deepcopy(whole)
    holder: Any = checkpoint
    for name in at[:-1]:
        holder = holder[name]
    if value is DELETED:
        del holder[at[-1]]
    else:
        holder[at[-1]] = value
    return checkpoint


@pytest.mark.slow
def test_any_value_of_any_field_is_read_or_refused_in_a_line(
    edits: Callable[..., Any], is_refused: Callable[..., bool], trained: Path, tmp_path: Path
) -> None:
    whole = torch.load(trained, weights_only=True)
    path, start = tmp_path / "last.pt", time.monotonic()
    num_refused = 0
    for at, changed in edits(whole, every=19, others=OTHERS):
        torch.save(changed, path)

        def read(field: object = at[0]) -> None:
            checkpoint = read_training_checkpoint(path)
            if field in ("space", "supernet_settings", "state_dict"):
                supernet_from_checkpoint(checkpoint, path)

        num_refused += is_refused(path, read)
    assert num_refused > 50
    assert time.monotonic() - start < 300


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (("supernet_settings", "channels"), 10**12, "channels must be at most"),
        (("supernet_settings", "channels"), 512, "do not fit its settings"),
        (("supernet_settings", "num_classes"), "10", "num_classes must be a whole number"),
        (("supernet_settings", "depth"), 3, "supernet_settings: Supernets .* have no depth"),
        (("train_config", "lr"), math.nan, "train_config: lr must be positive"),
        (("progress", "step"), -1, "progress: step must not be negative"),
        (("progress", "history"), None, "progress.*history.* must be a list"),
        (("data", "class_names"), 3, "class_names.* must be a list of names"),
        (("data", "seed"), DELETED, "with 'seed'"),
        (("version",), "1", "is not a supernet checkpoint"),
        (("space",), ["nasbench201"], "is of space .*, which is no name"),
        (("skip_bad_images",), "no", "skip_bad_images must be True or False"),
        (("data_dir",), 3, "data_dir must be a folder or None"),
        (("data", "mean"), [math.nan], "mean.* must be lists of finite numbers"),
        (("data", "std"), [0.0], "std.* must be one number a channel above 0"),
        (("data", "std"), "x", "std.* must be lists of finite numbers"),
        (("data", "mean"), [0.5, 0.5], "mean.* must be one number a channel"),
        (("state_dict", "stem.0.weight"), torch.zeros(3, device="meta"), "must be a tensor of num"),
        (("state_dict", "stem.0.weight"), torch.zeros(3, dtype=torch.cfloat), "a tensor of num"),
    ],
)
def test_fields_are_named(
    at: tuple[str, ...], value: Any, message: str, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "last.pt"
    torch.save(edited(torch.load(trained, weights_only=True), at, value), path)
    with pytest.raises(ValueError, match=message) as error:
        supernet_from_checkpoint(read_training_checkpoint(path), path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(
    value: float, trained: Path, tmp_path: Path
) -> None:
    checkpoint, path = torch.load(trained, weights_only=True), tmp_path / "last.pt"
    name = next(iter(checkpoint["state_dict"]))
    checkpoint["state_dict"][name].view(-1)[0] = value
    torch.save(checkpoint, path)
    with pytest.raises(ForeignFileError, match=f"{name}.* has 1 of .* NaN or infinite"):
        supernet_from_checkpoint(read_training_checkpoint(path), path)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("progress", "step"), 10**9),
        (("progress", "step"), 1),
        (("progress", "history"), []),
        (("progress", "num_losses"), 10**9),
        (("optimizer",), DELETED),
        (("optimizer",), {}),
        (("optimizer", "state"), []),
        (("optimizer", "state", 0, "momentum_buffer"), torch.zeros(7)),
        (("optimizer", "state", 0, "momentum_buffer"), torch.tensor(math.nan)),
        (("optimizer", "state", 0), None),
        (("optimizer", "param_groups", 0, "momentum"), "0.9"),
        (("optimizer", "param_groups", 0, "params"), [0]),
        (("optimizer", "param_groups"), []),
        (("progress",), DELETED),
        (("paths",), DELETED),
    ],
)
def test_a_training_is_not_resumed_from_a_state_it_never_had(
    at: tuple[Any, ...],
    value: Any,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(edited(torch.load(trained, weights_only=True), at, value), tmp_path / "last.pt")
    assert main(["--output", str(tmp_path), "--epochs", "1", "--resume", *FLAGS]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("supernet-train:")]
    assert "last.pt" in line


def test_progress_has_all_that_belongs_to_it(tmp_path: Path) -> None:
    whole = {"step": 0, "loss_sum": 0.0, "num_losses": 0, "seconds": 0.0, "history": []}
    check_progress(tmp_path, whole)
    for name in whole:
        with pytest.raises(ForeignFileError, match="progress"):
            check_progress(tmp_path, {k: v for k, v in whole.items() if k != name})


def test_edited_settings_of_timms_data_are_refused(trained: Path) -> None:
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint["data"] |= {"augmentation": {"colour": 1}, "timm_options": {}}
    with pytest.raises(ForeignFileError, match="another kind than expected"):
        reopen_data(checkpoint, trained, device=torch.device("cpu"))
