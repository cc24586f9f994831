"""From a command to the network it is a few calls, and a step of a training is three files."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import supernets.cli.retrain
import supernets.cli.train
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.networks.nasbench201 import NASBench201Subnet, NASBench201Supernet
from supernets.training import supernet as training

ROOT = Path(supernets.cli.train.__file__).resolve().parents[2]
FLAGS = "--channels 2 --cells-per-stage 1 --batch-size 600 --epochs 1 --num-probes 0".split()
SHRINKING = (
    "--space mobilenetv3 --val-fraction 0.8 --batch-size 150 --num-probes 0 --width 0.1 "
    "--strides 2 2 2 1 1 1 --paths progressive --phase-epochs 1 1 0 0 0 0 "
    "--phase-warmup-epochs 0 0 0 0 0 0 --phase-lrs 0.1 0.1 0.1 0.1 0.1 0.1"
).split()
RETRAINING = [
    *"--space nasbench201 --channels 2 --cells-per-stage 1 --batch-size 600".split(),
    *"--epochs 1 --arch |nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|".split(),
    "--formats",
]
STEP = {
    "supernets/networks/nasbench201.py",
    "supernets/training/path_sampling.py",
    "supernets/training/supernet.py",
}
#: Kernels, a layer, autocast, whether code is one's own, architectures, and paths.
PARTS = {
    "supernets/kernels/batchnorm.py",
    "supernets/kernels/library.py",
    "supernets/kernels/pooling.py",
    "supernets/networks/batchnorm.py",
    "supernets/runtime/device.py",
    "supernets/runtime/own_code.py",
    "supernets/spaces/base.py",
    "supernets/spaces/decisions.py",
    "supernets/training/own_paths.py",
}


def own_file(name: str) -> str | None:
    path = Path(name)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT / "supernets") else None


@pytest.mark.parametrize(
    ("network", "main", "flags", "num_calls"),
    [
        # two steps of five fair paths
        (NASBench201Supernet, supernets.cli.train.main, FLAGS, 10),
        # four steps of two phases, of which the second has a teacher
        (MobileNetV3Supernet, supernets.cli.train.main, SHRINKING, 4),
        (NASBench201Subnet, supernets.cli.retrain.main, RETRAINING, 2),
    ],
)
def test_from_a_command_to_the_network_there_are_at_most_eight_frames(
    network: type[nn.Module],
    main: Callable[[Sequence[str]], int],
    flags: list[str],
    num_calls: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stacks: list[list[traceback.FrameSummary]] = []
    real = network.forward

    def forward(self: nn.Module, *args: object, **settings: float) -> Tensor:
        if torch.is_grad_enabled() and self.training:
            stacks.append([f for f in traceback.extract_stack()[:-1] if own_file(f.filename)])
        return real(self, *args, **settings)  # type: ignore[no-any-return]

    monkeypatch.setattr(network, "forward", forward)
    assert main([*flags, "--output", str(tmp_path / "run")]) == 0
    assert len(stacks) == num_calls
    for stack in stacks:
        assert stack[0].name == "main"
        assert len(stack) + 1 <= 8, [f"{f.filename}: {f.name}" for f in stack]  # with forward


def test_a_step_is_three_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is called from the draw of paths to their gradients, but for what others use as well."""
    files: set[str] = set()
    real = training._SupernetTask.add_gradients

    def add_gradients(self: training._SupernetTask, *args: object) -> object:
        def note(frame: object, event: str, arg: object) -> None:
            if event == "call":
                files.add(own_file(frame.f_code.co_filename) or "")  # type: ignore[attr-defined]

        sys.setprofile(note)
        try:
            return real(self, *args)  # type: ignore[arg-type]
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(training._SupernetTask, "add_gradients", add_gradients)
    assert supernets.cli.train.main([*FLAGS, "--output", str(tmp_path / "run")]) == 0
    assert files - {"", *PARTS} == STEP
