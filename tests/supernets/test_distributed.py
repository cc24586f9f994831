"""Data-parallel training: two processes do what one does with the doubled minibatch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from supernets.batchnorm import BatchNorm2d, synchronise_batchnorm
from supernets.cli import main
from supernets.distributed import (
    Ranks,
    all_reduce_gradients,
    average_buffers,
    broadcast_weights,
    ranks_from_environment,
    start_process_group,
    stop_process_group,
)
from supernets.factory import create_supernet
from supernets.train_step import train_step

ROOT = Path(__file__).parents[2]
# 1149 images: three global minibatches of 382 and one of 3, of which rank 0 gets 2 and rank 1 one.
BATCH_SIZE = 191
STEPS_PER_EPOCH = 4
TINY = (
    "--channels 4 --cells-per-stage 1 --num-probes 0 --paths uniform --num-paths 2 --no-amp "
    "--lr 0.1"
)

SCRIPT = """
import json, os, signal, sys
import torch
import torch.distributed as dist
from supernets import cli, training
from supernets.batchnorm import synchronise_batchnorm
from supernets.checkpoint import weights_digest
from supernets.distributed import all_reduce_gradients
from supernets.factory import create_supernet

rank = int(os.environ["RANK"])
output, flags = sys.argv[1], sys.argv[2:]
real_training, real_step = cli.train_supernet, training.train_step
runs = {}


def spy(supernet, *args, **settings):
    result = real_training(supernet, *args, **settings)
    assert supernet.skeleton.last_bn.synchronised == sync_bn
    digests = [None, None]
    dist.all_gather_object(digests, weights_digest(supernet))
    runs[name] = {"digests": digests, "steps": result.steps, "finished": result.is_finished}
    return result


cli.train_supernet = spy
# One group for all runs: torchrun's store keeps the addresses of the first.
cli.start_process_group(cli.ranks_from_environment(), torch.device("cpu"))
stop_process_group = cli.stop_process_group
cli.start_process_group = cli.stop_process_group = lambda *args: None


def run(run_name, *more):
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
with open(os.path.join(output, f"rank{rank}.json"), "w") as file:
    json.dump(runs, file)

# One step in float64 on 5 images, of which rank 0 has 3 and rank 1 has 2.
torch.manual_seed(0)
settings = {"num_classes": 3, "channels": 4, "cells_per_stage": 1, "input_size": (3, 8, 8)}
supernet = create_supernet("nasbench201", **settings).double().train()
synchronise_batchnorm(supernet)
x, y = torch.randn(5, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 0])
part = slice(0, 3) if rank == 0 else slice(3, 5)
cells = ([3, 2, 3, 1, 4, 3], [2, 3, 1, 0, 2, 1])
archs = [supernet.space.architecture(choices) for choices in cells]
losses = training.train_step(supernet, archs, x[part], y[part], weight=len(y[part]))
weighted = losses * len(y[part])
num_images, weighted = all_reduce_gradients(supernet.parameters(), len(y[part]), weighted)
assert num_images == 5
gradients = {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}
buffers = dict(supernet.named_buffers())
if rank == 0:
    torch.save([weighted / 5, gradients, buffers], os.path.join(output, "step.pt"))
stop_process_group()
"""


def state(output: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(output / "last.pt", weights_only=True)
    return checkpoint


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``SCRIPT`` under torchrun, once for all tests: starting it takes the most time."""
    output = tmp_path_factory.mktemp("ranks")
    (output / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", str(output / "script.py"), str(output)]
    command += [*TINY.split(), "--batch-size", str(BATCH_SIZE), "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
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
def test_a_synchronised_step_has_the_gradient_of_one_process(two_processes: Path) -> None:
    """Also where the ranks' minibatches differ in size."""
    torch.manual_seed(0)
    settings = {"num_classes": 3, "channels": 4, "cells_per_stage": 1, "input_size": (3, 8, 8)}
    supernet = create_supernet("nasbench201", **settings).double().train()
    x, y = torch.randn(5, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 0])
    cells = ([3, 2, 3, 1, 4, 3], [2, 3, 1, 0, 2, 1])
    archs = [supernet.space.architecture(choices) for choices in cells]
    expected = train_step(supernet, archs, x, y)
    losses, gradients, buffers = torch.load(two_processes / "step.pt", weights_only=True)
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
    start_process_group(Ranks(), torch.device("cpu"))
    assert not dist.is_initialized()
    stop_process_group()


def test_ranks_are_those_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert ranks_from_environment() == Ranks(0, 0, 1)
    assert ranks_from_environment().is_main
    for name, value in (("RANK", "5"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    assert ranks_from_environment() == Ranks(5, 1, 8)
    assert not ranks_from_environment().is_main
