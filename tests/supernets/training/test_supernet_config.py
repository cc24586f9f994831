"""The recipe and its checks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from supernets.training.supernet_config import TrainConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs must not be negative, got -1"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": math.nan}, "lr must be positive, got nan"),
        ({"min_lr": 1.0}, "min_lr must be from 0 to lr, which is 0.025, got 1.0"),
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
        (
            {"warmup_epochs": 100},
            "warmup_epochs must be from 0 to less than epochs, which is 100, got 100",
        ),
        ({"opt": "adamw", "momentum": 0.8}, "'adamw' has no momentum; leave it out."),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"num_probes": -1}, "num_probes must not be negative, got -1"),
        ({"inactive_grads": "x"}, "inactive_grads must be one of zero, skip, got 'x'"),
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


def test_known_optimizers_are_accepted() -> None:
    for name in ("sgd", "momentum", "adamw", "lamb", "lookahead_adamw"):
        assert TrainConfig(opt=name).opt == name
