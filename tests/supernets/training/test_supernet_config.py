"""The recipe: its checks, its optimizer and its schedule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from timm.scheduler.scheduler import Scheduler

from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.training.supernet_config import (
    SCHEDULES,
    TrainConfig,
    create_optimizer,
    create_scheduler,
)

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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs must not be negative, got -1"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": math.nan}, "lr must be positive, got nan"),
        ({"min_lr": 1.0}, "min_lr must be from 0 to lr, got 1.0"),
        ({"momentum": 1.0}, "momentum must be from 0 to less than 1, got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, got -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to less than 1, got 1.0"),
        ({"clip_grad": 0.0}, "clip_grad must be positive, got 0.0"),
        ({"clip_value": 0.0}, "clip_value must be positive, got 0.0"),
        ({"mixup": -0.1}, "mixup must be from 0 to 1000, got -0.1"),
        ({"cutmix": math.nan}, "cutmix must be from 0 to 1000, got nan"),
        ({"dropout": 1.0}, "dropout must be from 0 to less than 1, got 1.0"),
        ({"drop_path": -0.1}, "drop_path must be from 0 to less than 1, got -0.1"),
        ({"kd_ratio": -1.0}, "kd_ratio must not be negative, got -1.0"),
        ({"aux_weight": -0.4}, "aux_weight must not be negative, got -0.4"),
        ({"aux_weight": math.nan}, "aux_weight must not be negative, got nan"),
        ({"ema_decay": 1.0}, "ema_decay must be between 0 and 1, got 1.0"),
        ({"ema_decay": 0.0}, "ema_decay must be between 0 and 1, got 0.0"),
        ({"epochs": 0, "warmup_epochs": 1}, "warmup_epochs must be from 0 to less than epochs"),
        ({"warmup_epochs": 100}, "warmup_epochs must be from 0 to less than epochs, got 100"),
        ({"num_probes": -1}, "num_probes must not be negative, got -1"),
        ({"inactive_grads": "x"}, "inactive_grads must be zero or skip, got 'x'"),
        ({"sched": "x"}, "sched must be one of cosine, tanh, poly, step, multistep, got 'x'"),
        ({"opt": "x"}, "Optimizer 'x' cannot be used: .*not found"),
        ({"momentum": 0.0}, "Optimizer 'sgd' cannot be used: Nesterov momentum requires"),
        ({"opt": "lookahead_x"}, "Optimizer 'lookahead_x' cannot be used"),
        ({"opt": "adahessian"}, "Optimizer 'adahessian' needs second-order gradients"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**settings)
    assert "\n" not in str(caught.value)


def test_sgd_without_momentum_is_a_name_of_its_own() -> None:
    optimizer = create_optimizer(
        torch.nn.Linear(2, 2), TrainConfig(opt="momentum", momentum=0.0, lr=0.5)
    )
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.0, False, 5e-4)


def test_known_optimizers_are_accepted() -> None:
    for name in ("sgd", "momentum", "adamw", "lamb", "lookahead_adamw"):
        assert TrainConfig(opt=name).opt == name


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
        opt=opt, lr=0.5, momentum=0.0, weight_decay=0.1, decay_bn_bias=decay_bn_bias
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
