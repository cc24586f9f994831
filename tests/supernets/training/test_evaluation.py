"""Top-1 and loss by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from supernets.networks.base import Supernet
from supernets.networks.batchnorm import recalibrate_bn
from supernets.training.evaluation import _in_parts, evaluate, evaluate_recalibrated

CPU = torch.device("cpu")


class Recorder(nn.Module):
    """Takes its input for logits, and notes in what mode it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls: list[tuple[bool, bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        out = x * self.weight
        self.calls.append((self.training, out.requires_grad, torch.is_autocast_enabled("cpu")))
        return out


def test_accuracy_in_percent_and_mean_loss_over_images_not_batches() -> None:
    log3 = math.log(3)  # odds of 3 to 1
    batches = [
        (torch.tensor([[log3, 0.0], [0.0, log3], [log3, 0.0]]), torch.tensor([0, 1, 1])),
        (torch.tensor([[0.0, log3]]), torch.tensor([1])),
    ]
    result = evaluate(Recorder(), batches, device=CPU)
    assert result.num_images == 4
    assert result.top1 == 75.0
    assert result.loss == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)


def test_module_runs_once_per_batch_in_eval_mode_without_gradients() -> None:
    module = Recorder().train()
    batch = (torch.zeros(2, 3), torch.tensor([0, 1]))
    evaluate(module, (batch for _ in range(3)), device=CPU)
    assert module.calls == [(False, False, False)] * 3
    assert not module.training
    assert module.weight.grad is None


def test_amp_runs_in_autocast_and_sums_in_float32() -> None:
    module = nn.Sequential(recorder := Recorder(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        module[1].weight.copy_(torch.eye(2))
    batches = [(torch.tensor([[0.0, 0.3]]), torch.tensor([0]))]
    result = evaluate(module, batches, device=CPU, amp=True)
    assert recorder.calls == [(False, False, True)]
    rounded = torch.tensor(0.3).bfloat16().item()
    assert rounded != pytest.approx(0.3, rel=1e-6)
    assert result.loss == pytest.approx(math.log(1 + math.exp(rounded)), rel=1e-6)


def test_loss_of_a_broken_network_is_not_hidden() -> None:
    batches = [(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))]
    assert math.isnan(evaluate(Recorder(), batches, device=CPU).loss)


def test_nothing_to_evaluate_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images to evaluate on"):
        evaluate(Recorder(), [], device=CPU)


@pytest.mark.parametrize("space", ["nasbench201", "mobilenetv3"])
def test_recalibrated_subnet_has_the_statistics_of_all_given_batches(
    space: str,
    make_supernet: Callable[..., Supernet],
    weights_of: Callable[[nn.Module], dict[str, Tensor]],
    assert_same_weights: Callable[..., None],
) -> None:
    supernet = make_supernet(space)
    before = weights_of(supernet)
    arch = supernet.space.sample(np.random.default_rng(5))
    generator = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(n, *supernet.input_size, generator=generator), torch.zeros(n).long())
        for n in (8, 6, 9)
    ]
    train, val = batches[:2], batches[2:]
    expected = supernet.to_standalone(supernet.extract(arch))
    recalibrate_bn(expected, train, 2)
    subnet = supernet.extract(arch)
    found = evaluate_recalibrated(supernet, subnet, val, recalibrate_batches=train, device=CPU)
    assert found == evaluate(expected, val, device=CPU)
    assert found != evaluate(subnet, val, device=CPU)
    assert_same_weights(supernet, before)
    with pytest.raises(ValueError, match="num_batches must be at least 1, got 0"):
        evaluate_recalibrated(supernet, subnet, val, recalibrate_batches=[], device=CPU)


class Residual(nn.Module):
    """A BatchNorm of a convolution, to which the convolution itself can be added."""

    def __init__(self, *, adds: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.adds = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), adds
        self.num_images: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.num_images.append(len(x))
        out = self.conv(x)
        return (self.norm(out) + (out if self.adds else 0)).mean((2, 3))


def test_a_folded_network_is_run_only_where_it_is_the_same_network() -> None:
    torch.manual_seed(0)
    batches = [(torch.randn(70, 3, 32, 32), torch.randint(4, (70,)))]
    for adds in (False, True):
        module = Residual(adds=adds)
        assert module.norm.running_mean is not None
        module.norm.running_mean.uniform_(1, 2)
        plain, folded = (evaluate(module, batches, device=CPU, fold=fold) for fold in (False, True))
        assert folded.loss == (plain.loss if adds else pytest.approx(plain.loss, rel=1e-5))
        # run of all images without folding; then to compare; and of all where it differs
        assert module.num_images == ([70, 16, 70] if adds else [70, 16])


def test_a_folded_network_runs_on_few_images_at_once() -> None:
    torch.manual_seed(0)
    module = Residual(adds=False)
    with torch.no_grad():
        module.eval()
        logits = module(x := torch.randn(150, 3, 32, 32))
        found = _in_parts(module, x)
    assert module.num_images == [150, 75, 75]
    assert torch.allclose(found, logits, atol=1e-6)
