"""Optimizers and schedules of recipes, which are timm's."""

from __future__ import annotations

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info
from timm.scheduler import create_scheduler_v2
from torch import nn

from supernets.runtime.private_names import Scheduler
from supernets.training.recipe import DEFAULT_MOMENTUM, Recipe


def check_optimizer(config: Recipe) -> None:
    """Makes sure that the optimizer of a recipe can be built; timm leaves some out in silence.

    Raises:
        ValueError: If there is none of that name, it needs second-order gradients, or it does not
            take what the recipe has for it.
    """
    name, settings = config.opt, config.optimizer_settings
    try:
        info = get_optimizer_info(name.lower().removeprefix("lookahead_"))
        create_optimizer_v2(
            [nn.Parameter(torch.zeros(1))], opt=name, lr=0.1, momentum=_momentum(config)
        )
    except (ValueError, AssertionError, ImportError) as error:
        raise ValueError(f"Optimizer {name!r} cannot be used: {error}.") from error
    if info.second_order:
        raise ValueError(
            f"Optimizer {name!r} needs second-order gradients, which are not computed; use another."
        )
    misfits = [
        f"opt_{setting}"
        for setting, takes in (("eps", info.has_eps), ("betas", info.has_betas))
        if setting in settings and not takes
    ]
    if config.wants_momentum and not info.has_momentum:
        misfits.append("momentum")
    if misfits:
        raise ValueError(f"Optimizer {name!r} has no {', '.join(misfits)}; leave it out.")
    betas = settings.get("betas")
    if betas is not None and len(betas) != info.num_betas:
        raise ValueError(f"Optimizer {name!r} has {info.num_betas} opt_betas, got {betas}.")
    try:
        create_optimizer(nn.ParameterList([nn.Parameter(torch.zeros(1, 1))]), config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Optimizer {name!r} cannot be used with {settings}: {error}.") from error


def check_has_momentum(name: str) -> None:
    """Makes sure that a momentum that was given has an effect.

    Args:
        name: Name of an optimizer that can be used.

    Raises:
        ValueError: If the optimizer has no momentum.
    """
    if not get_optimizer_info(name.lower().removeprefix("lookahead_")).has_momentum:
        raise ValueError(f"Optimizer {name!r} has no momentum; leave it out.")


def create_optimizer(module: nn.Module, config: Recipe) -> torch.optim.Optimizer:
    """Builds the optimizer of a recipe for all parameters of ``module``."""
    optimizer = create_optimizer_v2(
        module,
        opt=config.opt,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=_momentum(config),
        filter_bias_and_bn=not config.decay_bn_bias,
        **config.optimizer_settings,
    )
    assert isinstance(optimizer, torch.optim.Optimizer)
    return optimizer


def _momentum(config: Recipe) -> float:
    return DEFAULT_MOMENTUM if config.momentum is None else config.momentum


def create_scheduler(
    optimizer: torch.optim.Optimizer, config: Recipe, steps_per_epoch: int
) -> Scheduler:
    """Builds the schedule of a recipe, to be stepped with ``step_update`` before every step."""
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=config.sched,
        num_epochs=max(1, config.epochs),
        decay_epochs=max(1, config.epochs // 3),
        decay_milestones=[config.epochs // 2, config.epochs * 3 // 4],
        # timm takes the same number for the factor of the steps and for poly's exponent
        decay_rate=1.0 if config.sched == "poly" else 0.1,
        min_lr=config.min_lr,
        warmup_epochs=config.warmup_epochs,
        warmup_lr=config.warmup_lr,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
    )
    assert isinstance(scheduler, Scheduler)
    return scheduler
