"""Recalibrated statistics by hand, and synchronised BatchNorm against plain BatchNorm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from supernets.networks.batchnorm import BatchNorm2d, recalibrate_bn, synchronise_batchnorm
from tests.forked_program import ForkedProgram

ROOT = Path(__file__).parents[3]


def pixels(*values: float) -> tuple[Tensor, Tensor]:
    """A minibatch of one-pixel images with one channel."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1), torch.zeros(
        len(values), dtype=torch.int64
    )


@pytest.mark.parametrize("kind", [BatchNorm2d, nn.BatchNorm2d, BatchNormAct2d])
def test_recalibration_averages_the_statistics_of_the_batches_by_their_size(
    kind: type[nn.BatchNorm2d],
) -> None:
    bn = kind(1)
    bn.running_mean.fill_(50)
    bn.running_var.fill_(50)
    # means 1 and 6; biased variances 1 and (1 + 4 + 1 + 4 + 0) / 5
    recalibrate_bn(bn, [pixels(0, 2), pixels(5, 8, 7, 4, 6)], 2)
    assert bn.running_mean.item() == pytest.approx((2 * 1 + 5 * 6) / 7)
    assert bn.running_var.item() == pytest.approx((2 * 1 + 5 * 2) / 7)
    assert not bn.training


def test_recalibration_counts_images_not_pixels() -> None:
    """Batches of other resolutions weigh as much; the variance is over all pixels of a batch."""
    bn = BatchNorm2d(1)
    small, large = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0, 3, 3, 7], [7.0, 7, 7, 3]])
    batches = [(x.view(2, 1, 1, -1), torch.zeros(2)) for x in (small, large)]
    recalibrate_bn(bn, batches, 2)
    assert bn.running_mean.item() == pytest.approx((1 + 5) / 2)
    assert bn.running_var.item() == pytest.approx((1 + 4) / 2)


def test_recalibration_is_exact_for_a_whole_batch() -> None:
    """Recalibrated on one batch, a network computes in eval mode what it computes in train mode."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, 5, 5, generator=generator)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNorm2d(4), nn.ReLU(), BatchNorm2d(4))
    expected = network.train()(x)
    recalibrate_bn(network, [(x, x)], 1)
    torch.testing.assert_close(network(x), expected)


def test_recalibration_normalises_every_batch_by_its_own_statistics() -> None:
    network = nn.Sequential(BatchNorm2d(1), BatchNorm2d(1))
    with torch.no_grad():
        network[0].weight.fill_(3)
        network[0].bias.fill_(5)
    recalibrate_bn(network, [pixels(0, 2), pixels(10, 50)], 2)
    # whatever the batch, the first layer gives 5 - 3 and 5 + 3 up to eps
    assert network[1].running_mean.item() == pytest.approx(5)
    assert network[1].running_var.item() == pytest.approx(9, rel=1e-4)


def test_recalibration_takes_the_first_batches_and_no_more() -> None:
    drawn = []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(5):
            drawn.append(i)
            yield pixels(i, i + 2)

    bn = BatchNorm2d(1)
    recalibrate_bn(bn, batches(), 2)
    assert drawn == [0, 1]
    assert bn.running_mean.item() == pytest.approx(1.5)


def test_recalibration_reaches_torchs_own_batchnorm_and_leaves_the_rest_alone() -> None:
    network = nn.Sequential(
        nn.BatchNorm2d(1, momentum=0.3),
        nn.Dropout(0.9),
        BatchNorm2d(1, track_running_stats=False),
    )
    before = {name: p.clone() for name, p in network.named_parameters()}
    recalibrate_bn(network.train(), [pixels(0, 2)], 1)
    assert network[0].running_mean.item() == pytest.approx(1)
    assert network[0].momentum == 0.3
    assert not any(module.training for module in network.modules())
    assert network[2].running_mean is None
    for name, parameter in network.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


def test_recalibration_switches_dropout_off() -> None:
    network = nn.Sequential(nn.Dropout(0.5), BatchNorm2d(1)).train()
    recalibrate_bn(network, [pixels(*[1.0] * 50)], 1)
    assert (network[1].running_mean.item(), network[1].running_var.item()) == (1, 0)


def test_recalibration_twice_gives_the_same() -> None:
    bn = BatchNorm2d(1)
    batches = [pixels(0, 2, 7), pixels(4, 9)]
    recalibrate_bn(bn, batches, 2)
    first = {name: tensor.clone() for name, tensor in bn.state_dict().items()}
    recalibrate_bn(bn, batches, 2)
    assert all(torch.equal(tensor, first[name]) for name, tensor in bn.state_dict().items())
    bn.train()(batches[0][0])  # nothing of it stays behind
    assert bn.running_mean.item() == pytest.approx(0.9 * first["running_mean"].item() + 0.1 * 3)


@pytest.mark.parametrize(
    ("num_batches", "message"),
    [
        (0, "num_batches must be at least 1, got 0"),
        (3, "needs 3 minibatches, the loader holds 2; ask for fewer"),
    ],
)
def test_recalibration_needs_enough_batches(num_batches: int, message: str) -> None:
    bn = BatchNorm2d(1)
    with pytest.raises(ValueError, match=message):
        recalibrate_bn(bn, [pixels(0, 2)] * 2, num_batches)
    assert bn.momentum == 0.1


@pytest.mark.parametrize("in_eval", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
def test_one_process_runs_torchs_batchnorm(in_eval: bool, tracked: bool) -> None:
    layers = [kind(3, track_running_stats=tracked) for kind in (BatchNorm2d, nn.BatchNorm2d)]
    synchronise_batchnorm(layers[0])
    x = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    outputs = [layer.train(not in_eval)(x) for layer in layers]
    assert torch.equal(*outputs)
    ours, theirs = (layer.state_dict() for layer in layers)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_scaled_is_the_product(tracked: bool, training: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 5, dtype=dtype, requires_grad=True)
    scale = torch.tensor(0.3, dtype=torch.promote_types(dtype, torch.float32), requires_grad=True)
    own, other = (
        BatchNorm2d(3, affine=False, track_running_stats=tracked).to(scale.dtype).train(training)
        for _ in range(2)
    )
    found, expected = own.scaled(x, scale), other(x) * scale
    assert found.dtype == dtype
    tolerance = {"rtol": 0.02, "atol": 0.02} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(found, expected.to(dtype), **tolerance)
    assert all(map(torch.equal, own.buffers(), other.buffers()))
    if dtype == torch.float64:
        # also of a gradient, as in searches of the second order
        gradients = []
        for value in (found, expected):
            (first,) = torch.autograd.grad(value.pow(3).sum(), [x], create_graph=True)
            gradients.append(torch.autograd.grad(first.square().sum(), [x, scale]))
        torch.testing.assert_close(*gradients)


def test_synchronising_marks_every_batchnorm_of_the_network_and_no_other() -> None:
    network = nn.Sequential(BatchNorm2d(1), nn.Sequential(BatchNorm2d(1)))
    bystander = BatchNorm2d(1)
    assert not any(module.synchronised for module in (network[0], network[1][0], bystander))
    synchronise_batchnorm(network)
    assert network[0].synchronised and network[1][0].synchronised and not bystander.synchronised


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": None}, {"track_running_stats": False}, {"affine": False}],
    ids=["plain", "cumulative", "not-tracked", "not-affine"],
)
def test_fewer_channels_use_and_update_the_first_ones(settings: dict[str, Any]) -> None:
    wide, narrow = BatchNorm2d(5, **settings), nn.BatchNorm2d(2, **settings)
    generator = torch.Generator().manual_seed(0)
    for tensor in wide.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(5, generator=generator) + 0.5)
    state = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    narrow.load_state_dict({n: t[:2] if t.dim() else t for n, t in state.items()})
    for x in torch.randn(2, 4, 2, 3, 3, generator=generator):
        assert torch.equal(wide.train()(x), narrow.train()(x))
        assert torch.equal(wide.eval()(x), narrow.eval()(x))
    for name, tensor in wide.state_dict().items():
        expected = narrow.state_dict()[name]
        assert torch.equal(tensor[:2] if tensor.dim() else tensor, expected), name
        if tensor.dim():
            assert torch.equal(tensor[2:], state[name][2:]), name
    if wide.affine:
        wide(torch.randn(4, 2, 3, 3, generator=generator)).square().sum().backward()
        assert wide.weight.grad is not None
        assert (wide.weight.grad != 0).tolist() == [True, True, False, False, False]


# Every case is one layer, run for two steps; images (N, 3, 2, 3) are split between two ranks.
CASES: dict[str, dict[str, Any]] = {
    "tracked-and-affine": {"settings": {}, "split": (4, 4)},
    "unequal-batches": {"settings": {}, "split": (1, 6)},
    "not-tracked": {"settings": {"track_running_stats": False, "affine": False}, "split": (3, 2)},
    "not-tracked-in-eval": {
        "settings": {"track_running_stats": False},
        "split": (2, 5),
        "in_eval": True,
    },
    "tracked-in-eval": {"settings": {}, "split": (2, 5), "in_eval": True},
    "cumulative-average": {"settings": {"momentum": None}, "split": (2, 3)},
}

WORKER = """
import sys
import torch
import torch.distributed as dist
from supernets.networks.batchnorm import BatchNorm2d, synchronise_batchnorm

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
results = {}
for name, case in torch.load(f"{folder}/cases.pt").items():
    layer = BatchNorm2d(3, **case["settings"])
    layer.load_state_dict(case["state"])
    synchronise_batchnorm(layer)
    layer.train(not case["in_eval"])
    part = slice(0, case["split"][0]) if rank == 0 else slice(case["split"][0], None)
    steps = []
    for x, weights in zip(case["x"], case["weights"]):
        x = x[part].clone().requires_grad_()
        out = layer(x)
        (out * weights[part]).sum().backward()
        steps.append((out.detach(), x.grad))
    gradients = {n: p.grad for n, p in layer.named_parameters()}
    results[name] = {"steps": steps, "gradients": gradients, "state": layer.state_dict()}
torch.save(results, f"{folder}/rank{rank}.pt")
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two_ranks(
    tmp_path_factory: pytest.TempPathFactory, forked_program: Callable[..., ForkedProgram]
) -> tuple[dict[str, Any], list[Any]]:
    """All cases with their inputs, and what each of two processes got from them."""
    folder = tmp_path_factory.mktemp("two_ranks")
    generator = torch.Generator().manual_seed(4)
    cases = {}
    for name, case in CASES.items():
        layer = nn.BatchNorm2d(3, **case["settings"])
        state = layer.state_dict()
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(3, generator=generator) + 0.5)
        shape = (sum(case["split"]), 3, 2, 3)
        x, weights = ([torch.randn(shape, generator=generator) for _ in range(2)] for _ in range(2))
        cases[name] = {"in_eval": False, **case, "state": state, "weights": weights}
        cases[name]["x"] = [3 * images + 2 for images in x]
    torch.save(cases, folder / "cases.pt")
    script = folder / "worker.py"
    script.write_text(WORKER)
    errors = [folder / f"rank{rank}.log" for rank in range(2)]
    processes = []
    try:
        for rank, path in enumerate(errors):
            with open(path, "w") as log:
                processes.append(
                    forked_program(
                        [sys.executable, str(script), str(rank), str(folder)],
                        cwd=ROOT,
                        env=os.environ,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                )
        statuses = [process.wait(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert statuses == [0, 0], "\n".join(path.read_text() for path in errors)
    return cases, [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_with_the_joined_batch(
    two_ranks: tuple[dict[str, Any], list[Any]], name: str
) -> None:
    cases, ranks = two_ranks
    case, results = cases[name], [rank[name] for rank in ranks]
    layer = nn.BatchNorm2d(3, **case["settings"])
    layer.load_state_dict(case["state"])
    layer.train(not case["in_eval"])
    for step, (x, weights) in enumerate(zip(case["x"], case["weights"], strict=True)):
        x = x.clone().requires_grad_()
        out = layer(x)
        (out * weights).sum().backward()
        found = [
            torch.cat(parts) for parts in zip(*(r["steps"][step] for r in results), strict=True)
        ]
        torch.testing.assert_close(found[0], out.detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[1], x.grad, rtol=1e-4, atol=1e-5)
    for parameter_name, parameter in layer.named_parameters():
        total = sum(result["gradients"][parameter_name] for result in results)
        torch.testing.assert_close(total, parameter.grad, rtol=1e-5, atol=1e-4)
    for result in results:
        assert result["state"].keys() == layer.state_dict().keys()
        for tensor_name, tensor in layer.state_dict().items():
            torch.testing.assert_close(result["state"][tensor_name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ([BatchNorm2d(3), nn.BatchNorm2d(3)], "it has torch's BatchNorm2d;"),
        ([nn.Conv2d(3, 3, 1), nn.LayerNorm(3)], "it has none;"),
    ],
)
def test_what_cannot_be_synchronised_is_refused(layers: list[nn.Module], found: str) -> None:
    with pytest.raises(ValueError, match=f"and {found} leave --sync-bn out"):
        synchronise_batchnorm(nn.Sequential(*layers))
