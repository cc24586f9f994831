"""Data-parallel training: two processes do what one does with the doubled minibatch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from supernets.cli.train import main
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import BatchNorm2d, synchronise_batchnorm
from supernets.networks.factory import create_supernet
from supernets.runtime.distributed import (
    all_reduce_gradients,
    average_buffers,
    broadcast_weights,
    name_of_attempt,
    start_process_group,
    stop_process_group,
)
from supernets.runtime.ranks import ProcessInfo, ranks_from_environment
from supernets.training import supernet as training
from supernets.training.supernet import train_step
from tests.forked_program import ForkedProgram

ROOT = Path(__file__).parents[3]
# 1149 images: three global minibatches of 380 and one of 9, of which rank 0 gets 5 and rank 1 four.
BATCH_SIZE = 190
STEPS_PER_EPOCH = 4
TINY = (
    "--channels 4 --cells-per-stage 1 --num-probes 0 --paths uniform --num-paths 2 --no-amp "
    "--lr 0.1"
)
# 287 images: minibatches of 144, and of 143, of which rank 1 has one less.
ELASTIC = (  # without kernels, as BatchNorm over all processes has none
    "--space mobilenetv3 --width 0.1 --strides 2 2 2 1 1 1 --val-fraction 0.8 --epochs 1 "
    "--kernels off --num-probes 0 --no-amp --lr 0.02 --paths best-up --num-paths 3 --ema-decay 0.5"
)
#: Steps to compare: space, settings of its supernet, weight of a path, settings of the step.
ONE_STEP: list[tuple[str, dict[str, Any], float, dict[str, Any]]] = [
    (
        "nasbench201",
        {"num_classes": 3, "channels": 4, "cells_per_stage": 1, "input_size": (3, 8, 8)},
        1 / 3,
        {"label_smoothing": 0.1},
    ),
    (
        "mobilenetv3",
        {"num_classes": 3, "width": 0.1, "input_size": (3, 8, 8), "strides": (2, 2, 2, 1, 1, 1)},
        1.0,
        {"distills": True},
    ),
    (
        "vit",
        {"num_classes": 3, "preset": "digits", "input_size": (3, 8, 8)},
        1.0,
        {"distills": True},
    ),
]

SCRIPT = """
import json, os, shutil, signal, sys
import numpy as np
import torch
import torch.distributed as dist
from supernets.cli import train as cli
from supernets.training import supernet as training
from supernets.runtime import outputs
from supernets.runtime.ranks import ranks_from_environment
from supernets.training import run as training_run
from supernets.training import train as training_job
from supernets.training import loop as training_loop
from supernets.networks.batchnorm import BatchNorm2d, has_batchnorm, synchronise_batchnorm
from supernets.training.checkpoint import weights_digest
from supernets.runtime.distributed import all_reduce_gradients
from supernets.networks.factory import create_supernet

rank = int(os.environ["RANK"])
output, elastic, flags = sys.argv[1], sys.argv[2].split(), sys.argv[4:]
real_training, real_step, real_average = (
    training_job.train_supernet, training.train_step, training_loop.ModelEmaV3
)
runs = {}


def gather(value):
    values = [None, None]
    dist.all_gather_object(values, value)
    return values


def spy(supernet, *args, **settings):
    result = real_training(supernet, *args, **settings)
    batchnorms = [module for module in supernet.modules() if isinstance(module, BatchNorm2d)]
    assert {batchnorm.synchronised for batchnorm in batchnorms} == {sync_bn}
    runs[name] = {
        "digests": gather(weights_digest(supernet)),
        "steps": result.steps,
        "finished": result.is_finished,
    }
    return result


training_job.train_supernet = spy
# One group for all runs: the store keeps the addresses of the first.
training_run.start_process_group(ranks_from_environment(), torch.device("cpu"))
stop_process_group = training_run.stop_process_group
training_run.start_process_group = lambda *args: None
training_run.stop_process_group = lambda: None


def run(run_name, *more, flags=flags):
    global name, sync_bn
    name, sync_bn = run_name, "--sync-bn" in more
    folder = os.path.join(output, name.removesuffix(" again"))
    runs_before = len(runs)
    status = cli.main([*flags, "--output", folder, *more])
    assert len(runs) == runs_before + 1
    runs[name]["status"] = status


run("one epoch", "--epochs", "1")
run("two epochs", "--epochs", "2")
run("synchronised", "--epochs", "1", "--sync-bn")

lonely = os.path.join(output, f"disk of rank {rank}")  # where folders are not shared
if rank == 0:
    shutil.copytree(os.path.join(output, "one epoch"), lonely)
os.makedirs(lonely, exist_ok=True)
outputs.RANKS_WAIT, patience = 1.0, outputs.RANKS_WAIT
assert cli.main([*flags, "--output", lonely, "--epochs", "1", "--auto-resume"]) == 2
outputs.RANKS_WAIT = patience

count = 0


def step(*args, **settings):
    global count
    count += 1
    if rank == 1 and count == 2:
        os.kill(os.getpid(), signal.SIGTERM)  # one rank alone is asked to stop
    return real_step(*args, **settings)


training.train_step = step
run("stopped", "--epochs", "2")
training.train_step = real_step
run("stopped again", "--epochs", "2", "--resume")

averages, paths, mixed = [], [], []


def average(*args, **settings):
    averages.append(real_average(*args, **settings))
    return averages[-1]


def elastic_step(supernet, archs, x, y, **settings):
    paths.append([supernet.space.format(arch) for arch in archs])
    mixed.append(y.tolist())
    return real_step(supernet, archs, x, y, **settings)


training_loop.ModelEmaV3, training.train_step = average, elastic_step
run("elastic", "--sync-bn", flags=elastic)
runs["elastic"]["paths"] = gather(paths)
run("mixed", "--mixup", "0.4", "--dropout", "0.2", "--inactive-grads", "skip", flags=elastic)
runs["mixed"]["averages"] = gather(weights_digest(averages[-1].module))
runs["mixed"]["shares"] = gather([max(labels[0]) for labels in mixed[-2:]])
training_loop.ModelEmaV3, training.train_step = real_average, real_step
with open(os.path.join(output, f"rank{rank}.json"), "w") as file:
    json.dump(runs, file)

# One step in float64 on 5 images, of which rank 0 has 3 and rank 1 has 2.
x, y = torch.load(os.path.join(output, "images.pt"), weights_only=True)
part = slice(0, 3) if rank == 0 else slice(3, 5)
for space, settings, weight, more in json.loads(sys.argv[3]):
    torch.manual_seed(0)
    supernet = create_supernet(space, **settings).double().train()
    if has_batchnorm(supernet):
        synchronise_batchnorm(supernet)
    archs = [supernet.space.sample(np.random.default_rng(seed)) for seed in range(3)]
    weight *= len(y[part])
    losses = training.train_step(supernet, archs, x[part], y[part], weight=weight, **more)
    weighted = losses * len(y[part])
    num_images, weighted = all_reduce_gradients(supernet.parameters(), len(y[part]), weighted)
    assert num_images == 5
    gradients = {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}
    buffers = dict(supernet.named_buffers())
    if rank == 0:
        torch.save([weighted / 5, gradients, buffers], os.path.join(output, f"{space}.pt"))
stop_process_group()
"""


def state(output: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(output / "last.pt", weights_only=True)
    return checkpoint


@pytest.fixture(scope="module")
def two_processes(
    tmp_path_factory: pytest.TempPathFactory, forked_program: Callable[..., ForkedProgram]
) -> Path:
    """Runs ``SCRIPT`` in two ranks, once for all tests."""
    output = tmp_path_factory.mktemp("ranks")
    script = output / "script.py"
    script.write_text(SCRIPT)
    torch.manual_seed(1)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 0])
    torch.save(images, output / "images.pt")
    command = [sys.executable, str(script), str(output)]
    command += [f"{ELASTIC} --batch-size 72 --threads 1", json.dumps(ONE_STEP)]
    command += [*TINY.split(), "--batch-size", str(BATCH_SIZE), "--threads", "1"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # as torchrun has it; that itself is run in the tests of restarts and of recipes for clusters
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    logs = [output / f"rank{rank}.log" for rank in range(2)]
    processes = []
    try:
        for rank, path in enumerate(logs):
            with open(path, "w") as log:
                processes.append(
                    forked_program(
                        command,
                        cwd=ROOT,
                        env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                )
        statuses = [process.wait(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    errors = "".join(path.read_text() for path in logs)
    assert statuses == [0, 0], errors
    assert "Warning" not in errors
    assert errors.count("The processes found different checkpoints in --output") == 2
    return output


@pytest.fixture(scope="module")
def ranks(two_processes: Path) -> list[dict[str, Any]]:
    """What each rank saw of every run."""
    return [json.loads((two_processes / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_ranks_hold_the_same_weights_after_every_epoch(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        for name in ("one epoch", "two epochs", "synchronised"):
            first, second = rank[name]["digests"]
            assert first == second
            assert rank[name]["status"] == 0
    digests = {ranks[0][name]["digests"][0] for name in ("one epoch", "two epochs", "synchronised")}
    assert len(digests) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "settings", "weight", "more"), ONE_STEP, ids=[step[0] for step in ONE_STEP]
)
def test_a_synchronised_step_has_the_gradient_of_one_process(
    space: str,
    settings: dict[str, Any],
    weight: float,
    more: dict[str, Any],
    two_processes: Path,
) -> None:
    """Also where the ranks' minibatches differ in size."""
    torch.manual_seed(0)
    supernet = create_supernet(space, **settings).double().train()
    x, y = torch.load(two_processes / "images.pt", weights_only=True)
    archs = [supernet.space.sample(np.random.default_rng(seed)) for seed in range(3)]
    expected = train_step(supernet, archs, x, y, weight=weight, **more)
    losses, gradients, buffers = torch.load(two_processes / f"{space}.pt", weights_only=True)
    assert torch.allclose(losses.float(), expected, rtol=1e-6)  # the loss itself is in float32
    assert len(gradients) > 10
    for name, parameter in supernet.named_parameters():
        assert (parameter.grad is None) == (name not in gradients)
        if parameter.grad is not None:
            assert torch.allclose(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6), name
    for name, buffer in supernet.named_buffers():
        assert torch.allclose(buffers[name], buffer, rtol=1e-9), name


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_doubled_minibatch(
    two_processes: Path, tmp_path: Path
) -> None:
    """Up to rounding, which BatchNorm magnifies; the last minibatch is split 2 to 1."""
    flags = [*TINY.split(), "--batch-size", str(2 * BATCH_SIZE), "--output", str(tmp_path)]
    assert main([*flags, "--epochs", "1"]) == 0
    one, two = state(tmp_path), state(two_processes / "synchronised")
    alone = state(two_processes / "one epoch")
    assert one["progress"]["step"] == two["progress"]["step"] == STEPS_PER_EPOCH
    row, other = one["progress"]["history"][0], two["progress"]["history"][0]
    assert other["train_loss"] == pytest.approx(row["train_loss"], abs=1e-3)

    def largest_difference(checkpoint: dict[str, Any]) -> float:
        return max(
            (checkpoint["state_dict"][name] - tensor).abs().max().item()
            for name, tensor in one["state_dict"].items()
            if tensor.is_floating_point()
        )

    # Statistics per rank are another training: the comparison can tell them apart.
    assert largest_difference(two) < 0.3 * largest_difference(alone)


@pytest.mark.slow
def test_two_processes_measure_and_distil_as_one(
    two_processes: Path,
    ranks: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The candidates' losses are over all images, so every process picks the same path."""
    paths: list[list[str]] = []

    def step(supernet: Supernet, archs: Any, *args: Any, **settings: Any) -> Tensor:
        paths.append([supernet.space.format(arch) for arch in archs])
        return train_step(supernet, archs, *args, **settings)

    monkeypatch.setattr(training, "train_step", step)
    assert main([*ELASTIC.split(), "--batch-size", "144", "--output", str(tmp_path)]) == 0
    for rank in ranks:
        assert rank["elastic"]["paths"] == [paths, paths]
        assert len(set(rank["elastic"]["digests"])) == 1
    one, two = state(tmp_path), state(two_processes / "elastic")
    row, other = one["progress"]["history"][0], two["progress"]["history"][0]
    assert other["train_loss"] == pytest.approx(row["train_loss"], abs=1e-4)


@pytest.mark.slow
def test_averaged_weights_are_those_of_all_processes(ranks: list[dict[str, Any]]) -> None:
    """Also where each mixes its images in a way of its own: running statistics are averaged."""
    for rank in ranks:
        shares = sum(rank["mixed"]["shares"], [])  # of the first image, of two steps and ranks
        assert len({round(share, 4) for share in shares}) == 4
        first, second = rank["mixed"]["averages"]
        assert first == second
        first, second = rank["mixed"]["digests"]
        assert first == second


@pytest.mark.slow
def test_sigterm_to_one_rank_stops_both_and_the_run_continues(
    two_processes: Path, ranks: list[dict[str, Any]]
) -> None:
    for rank in ranks:
        assert rank["stopped"]["status"] == 130
        assert not rank["stopped"]["finished"]
        assert rank["stopped"]["steps"] == 2
        assert rank["stopped again"]["finished"]
        assert rank["stopped again"]["steps"] == 2 * STEPS_PER_EPOCH
    whole, resumed = state(two_processes / "two epochs"), state(two_processes / "stopped")
    for name, tensor in whole["state_dict"].items():
        if "running" not in name:  # those are averaged over the ranks whenever one is written
            assert torch.equal(resumed["state_dict"][name], tensor), name
    expected = [row["train_loss"] for row in whole["progress"]["history"]]
    assert [row["train_loss"] for row in resumed["progress"]["history"]] == expected


@pytest.mark.slow
def test_rank_0_alone_writes(two_processes: Path) -> None:
    names = {path.name for path in (two_processes / "two epochs").iterdir()} - {"tensorboard"}
    assert names == {"args.json", "last.pt", "splits.npz", "summary.csv"}
    assert state(two_processes / "two epochs")["world_size"] == 2


@pytest.fixture
def lone_group(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    stop_process_group()
    assert not dist.is_initialized()


@pytest.mark.usefixtures("lone_group")
def test_gradients_of_the_summed_loss_become_those_of_the_mean() -> None:
    weight, unused = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(4))
    bias = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.arange(6.0).view(2, 3)
    bias.grad = torch.tensor([8.0, 0.0, -4.0])
    num_images, extras = all_reduce_gradients([weight, unused, bias], 4, torch.tensor([2.5, 1.0]))
    assert num_images == 4
    assert extras.tolist() == [2.5, 1.0]
    assert weight.grad.flatten().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert bias.grad.tolist() == [2.0, 0.0, -1.0]
    assert unused.grad is None


@pytest.mark.usefixtures("lone_group")
def test_a_channels_last_gradient_keeps_its_layout() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    gradient = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    weight.grad = gradient.clone(memory_format=torch.preserve_format)
    all_reduce_gradients([weight], 2, torch.zeros(1))
    assert torch.equal(weight.grad, gradient / 2)
    assert weight.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("lone_group")
@pytest.mark.parametrize("affine", [True, False])
def test_synchronised_batchnorm_of_one_process_is_batchnorm(affine: bool) -> None:
    plain, synchronised = torch.nn.BatchNorm2d(3, affine=affine), BatchNorm2d(3, affine=affine)
    synchronise_batchnorm(synchronised)
    x = (3 + 2 * torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))).double()
    x = x.float()
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [plain(inputs[0]), synchronised(inputs[1])]
    assert torch.allclose(outputs[0], outputs[1], atol=1e-5)
    for output in outputs:
        (output**3).sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-3)  # type: ignore[arg-type]
    for name, buffer in plain.named_buffers():
        assert torch.allclose(buffer, synchronised.get_buffer(name)), name
    plain.eval(), synchronised.eval()
    assert torch.equal(plain(x), synchronised(x)) or torch.allclose(plain(x), synchronised(x))


@pytest.mark.usefixtures("lone_group")
def test_averages_and_broadcasts_of_one_process_change_nothing() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    module.to(memory_format=torch.channels_last)
    module(torch.randn(2, 2, 5, 5))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    average_buffers(module)
    broadcast_weights(module)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_without_a_group_there_is_nothing_to_do() -> None:
    module = torch.nn.BatchNorm2d(2)
    average_buffers(module)
    broadcast_weights(module)
    start_process_group(ProcessInfo(), torch.device("cpu"))
    assert not dist.is_initialized()
    stop_process_group()


def test_ranks_are_those_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert ranks_from_environment() == ProcessInfo(0, 0, 1)
    assert ranks_from_environment().is_main
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    assert ranks_from_environment() == ProcessInfo(5, 1, 8)
    assert not ranks_from_environment().is_main


@pytest.mark.parametrize(
    ("local", "share", "restarts", "name", "warns"),
    [
        ("8", "True", "3", "attempt 2", False),
        ("4", "True", "3", "attempt", True),
        ("4", "False", "3", "attempt", False),
        ("4", "True", "0", "attempt", False),
    ],
)
def test_ranks_meet_by_the_name_of_their_attempt(
    local: str,
    share: str,
    restarts: str,
    name: str,
    warns: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On one machine by the restarts torchrun counts, which on several differ."""
    for variable, value in (
        ("LOCAL_WORLD_SIZE", local),
        ("TORCHELASTIC_RESTART_COUNT", "2"),
        ("TORCHELASTIC_MAX_RESTARTS", restarts),
        ("TORCHELASTIC_USE_AGENT_STORE", share),
    ):
        monkeypatch.setenv(variable, value)
    assert name_of_attempt(ProcessInfo(0, 0, 8)) == name
    assert ("set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in caplog.text) == warns
    assert name_of_attempt(ProcessInfo(7, 3, 8)) == name
