"""Recipes of retraining: what reaches the optimizer and the schedule, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from supernets.runtime.ranks import ProcessInfo
from supernets.training.optimizers import create_optimizer, create_scheduler
from supernets.training.standalone_config import RetrainConfig


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_defaults_are_those_of_the_benchmark(network: nn.Module) -> None:
    optimizer = create_optimizer(network, RetrainConfig())
    assert type(optimizer) is torch.optim.SGD
    (group,) = [group for group in optimizer.param_groups if group["params"]]
    found = {name: group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}
    assert found == {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    assert len(group["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"opt": "rmsproptf", "opt_eps": 1e-3, "opt_alpha": 0.8, "momentum": 0.7},
            {"eps": 1e-3, "alpha": 0.8, "momentum": 0.7},
        ),
        ({"opt": "rmsproptf"}, {"alpha": 0.9, "momentum": 0.9}),
        ({"opt": "adamw", "opt_betas": (0.8, 0.95), "opt_eps": 1e-6}, {"betas": (0.8, 0.95)}),
        ({"opt": "adamw"}, {"betas": (0.9, 0.999), "eps": 1e-8}),
        ({"momentum": 0.5}, {"momentum": 0.5}),
    ],
)
def test_settings_reach_the_optimizer(
    settings: dict[str, Any], expected: dict[str, Any], network: nn.Module
) -> None:
    optimizer = create_optimizer(network, RetrainConfig(**settings))
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected


@pytest.mark.parametrize("decay_bn_bias", [True, False])
def test_weight_decay_leaves_batchnorm_and_biases_out_on_demand(
    decay_bn_bias: bool, network: nn.Module
) -> None:
    config = RetrainConfig(weight_decay=0.3, decay_bn_bias=decay_bn_bias)
    decays = {
        id(parameter): group["weight_decay"]
        for group in create_optimizer(network, config).param_groups
        for parameter in group["params"]
    }
    for name, parameter in network.named_parameters():
        is_matrix = name in ("0.weight", "3.weight")
        assert decays[id(parameter)] == (0.3 if is_matrix or decay_bn_bias else 0.0), name


def test_the_schedule_warms_up_and_falls(network: nn.Module) -> None:
    config = RetrainConfig(epochs=10, lr=0.1, min_lr=0.01, warmup_epochs=2, warmup_lr=0.02)
    optimizer = create_optimizer(network, config)
    scheduler = create_scheduler(optimizer, config, steps_per_epoch=4)
    rates = []
    for step in range(40):
        scheduler.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[:8] == pytest.approx([0.02 + 0.01 * step for step in range(8)])
    assert all(later < earlier for earlier, later in zip(rates[8:], rates[9:], strict=False))
    assert 0.01 < rates[-1] < 0.011


def test_there_is_a_mixing_if_mixup_or_cutmix_is_on() -> None:
    alone, second = ProcessInfo(), ProcessInfo(rank=1, local_rank=1, world_size=2)
    assert RetrainConfig().create_mixing(10, alone) is None
    x, y = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    for settings in ({"mixup": 1.0}, {"cutmix": 1.0}):
        config = RetrainConfig(**settings, label_smoothing=0.1, seed=1)
        mixing = config.create_mixing(10, alone)
        assert mixing is not None
        mixed, soft = mixing(x, y, 0)
        assert not torch.equal(mixed, x)
        assert soft.shape == (4, 10) and soft.min() == pytest.approx(0.01)
        of_another_rank = config.create_mixing(10, second)
        assert of_another_rank is not None
        assert not torch.equal(of_another_rank(x, y, 0)[1], soft)
        unmixed = RetrainConfig(**settings, mixup_prob=0.0).create_mixing(10, alone)
        assert unmixed is not None and torch.equal(unmixed(x, y, 0)[0], x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0."),
        ({"stop_after": 0}, "stop_after must be at least 1, got 0."),
        ({"epochs": 3, "stop_after": 4}, "stop_after must be from 1 to epochs, which is 3, got 4."),
        ({"lr": -1.0}, "lr must be positive"),
        ({"warmup_lr": -1.0}, "warmup_lr must not be negative"),
        ({"aux_weight": -0.1}, "aux_weight must not be negative, got -0.1."),
        ({"opt": "adahessian"}, "needs second-order gradients"),
        ({"opt": "nonsense"}, "Optimizer 'nonsense' cannot be used"),
        ({"opt_eps": 1e-3}, "Optimizer 'sgd' has no opt_eps; leave it out."),
        ({"opt_betas": (0.9, 0.99)}, "Optimizer 'sgd' has no opt_betas"),
        ({"opt": "adamw", "opt_alpha": 0.9}, "Optimizer 'adamw' cannot be used with"),
        ({"opt": "adamw", "opt_betas": (0.9, 1.5)}, "opt_betas must be from 0 to less than 1"),
        ({"opt": "adamw", "opt_betas": (0.9,)}, "Optimizer 'adamw' has 2 opt_betas"),
        ({"opt": "adamw", "momentum": 0.8}, "Optimizer 'adamw' has no momentum"),
        ({"opt": "lookahead_adamw", "momentum": 0.8}, "has no momentum"),
        ({"mixup": -0.1}, "mixup must be from 0 to 1000"),
        ({"cutmix": -0.1}, "cutmix must be from 0 to 1000"),
        ({"mixup_prob": 0.5}, "mixup_prob needs mixup or cutmix, got 0.5."),
        ({"mixup": 1.0, "mixup_prob": 2.0}, "mixup_prob must be from 0 to 1"),
        ({"mixup": 1.0, "mixup_switch_prob": 0.3}, "mixup_switch_prob needs both"),
        ({"mixup": 1.0, "cutmix": 1.0, "mixup_switch_prob": 2.0}, "mixup_switch_prob must be"),
        ({"mixup_off_epoch": 3}, "mixup_off_epoch needs mixup or cutmix, got 3"),
        ({"mixup": 1.0, "mixup_off_epoch": 0}, "mixup_off_epoch must be at least 1"),
        ({"clip_grad": 0.0}, "clip_grad must be positive"),
        ({"clip_value": 0.0}, "clip_value must be positive"),
        ({"ema_decay": 1.0}, "ema_decay must be between 0 and 1"),
        ({"ema_warmup": False}, "ema_warmup needs ema_decay"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_settings_out_of_range_or_without_effect_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        RetrainConfig(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
