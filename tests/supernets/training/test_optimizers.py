"""The optimizer and the schedule of a recipe."""

from __future__ import annotations

import pytest
import torch

from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.runtime.private_names import Scheduler
from supernets.training.optimizers import create_optimizer, create_scheduler
from supernets.training.recipe import SCHEDULES
from supernets.training.supernet_config import TrainConfig

STEPS_PER_EPOCH = 3


def rate_at(scheduler: Scheduler, step: int) -> float:
    scheduler.step_update(step)
    return float(scheduler.optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("sched", SCHEDULES)
def test_every_schedule_falls_step_by_step(sched: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    config = TrainConfig(epochs=12, lr=0.1, min_lr=0.001, sched=sched)
    scheduler = create_scheduler(optimizer, config, STEPS_PER_EPOCH)
    rates = [rate_at(scheduler, step) for step in range(12 * STEPS_PER_EPOCH)]
    assert rates[0] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in zip(rates, rates[1:], strict=False))
    assert rates[-1] < 0.011
    if sched == "poly":  # linear
        assert rates == pytest.approx([0.001 + 0.099 * (1 - step / 36) for step in range(36)])
    if sched == "step":  # a tenth every third of the epochs
        assert rates[4 * STEPS_PER_EPOCH] == pytest.approx(0.01)
        assert rates[4 * STEPS_PER_EPOCH - 1] == pytest.approx(0.1)
    if sched == "multistep":  # at a half and at three quarters; timm is one step early
        assert rates[6 * STEPS_PER_EPOCH - 2] == pytest.approx(0.1)
        assert rates[6 * STEPS_PER_EPOCH] == pytest.approx(0.01)
        assert rates[9 * STEPS_PER_EPOCH] == pytest.approx(0.001)


def test_warmup_rises_step_by_step() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    config = TrainConfig(epochs=4, lr=0.1, warmup_epochs=1, warmup_lr=0.05)
    scheduler = create_scheduler(optimizer, config, STEPS_PER_EPOCH)
    rates = [rate_at(scheduler, step) for step in range(STEPS_PER_EPOCH)]
    assert rates == pytest.approx([0.05, 0.05 + 0.05 / 3, 0.05 + 0.1 / 3])


def test_sgd_without_momentum_is_a_name_of_its_own() -> None:
    optimizer = create_optimizer(
        torch.nn.Linear(2, 2), TrainConfig(opt="momentum", momentum=0.0, lr=0.5)
    )
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.0, False, 5e-4)


@pytest.mark.parametrize("opt", ["momentum", "adamw"])
@pytest.mark.parametrize("decay_bn_bias", [True, False])
def test_weight_decay_of_batchnorm_and_biases_is_a_choice(decay_bn_bias: bool, opt: str) -> None:
    """One step without a gradient, on which only weight decay acts."""
    supernet = MobileNetV3Supernet(num_classes=3, width=0.1, input_size=(3, 32, 32))
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.fill_(2.0)
            parameter.grad = torch.zeros_like(parameter)
    config = TrainConfig(
        opt=opt,
        lr=0.5,
        momentum=0.0 if opt == "momentum" else TrainConfig.momentum,
        weight_decay=0.1,
        decay_bn_bias=decay_bn_bias,
    )
    create_optimizer(supernet, config).step()
    decayed = {name for name, p in supernet.named_parameters() if (p == 1.9).all()}
    kept = {name for name, p in supernet.named_parameters() if (p == 2.0).all()}
    every = {name for name, _ in supernet.named_parameters()}
    if decay_bn_bias:
        assert decayed == every
    else:
        is_bn_or_bias = {name for name in every if ".bn" in f".{name}" or name.endswith("bias")}
        assert kept == is_bn_or_bias
        assert decayed == every - kept
        assert {"classifier.weight", "blocks.1.0.kernel_transforms.5"} <= decayed


def test_a_training_of_no_epochs_has_a_schedule() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = create_scheduler(optimizer, TrainConfig(epochs=0, lr=0.1), STEPS_PER_EPOCH)
    assert rate_at(scheduler, 0) == pytest.approx(0.1)
