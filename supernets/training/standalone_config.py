"""The recipe of training an ordinary network: what decides its result beside network and data.

Defaults are those NAS-Bench-201 trained its networks with: SGD 0.1 with Nesterov momentum 0.9,
weight decay 5e-4 on every parameter, cosine to 0 over 200 epochs. Theirs falls per step as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import supernets.runtime.option_types as kinds
from supernets.runtime.option_types import check_settings
from supernets.runtime.ranks import ProcessInfo
from supernets.training.supernet_config import TrainConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from supernets.data.mixup import SeededMixup
    from supernets.runtime.private_names import Scheduler

#: What the numbers are that a supernet's training does not have, or has otherwise.
_KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "epochs": kinds.POSITIVE_INT,
    "stop_after": kinds.POSITIVE_INT,
    "opt_eps": kinds.NON_NEGATIVE,
    "opt_alpha": kinds.RATE,
    "warmup_lr": kinds.NON_NEGATIVE,
    "aux_weight": kinds.NON_NEGATIVE,
    "mixup_prob": kinds.PROBABILITY,
    "mixup_switch_prob": kinds.PROBABILITY,
    "mixup_off_epoch": kinds.POSITIVE_INT,
    "seed": kinds.SEED,
}


@dataclass(frozen=True)
class RetrainConfig:
    """What decides the result of a training.

    Args:
        epochs: Passes over the train split. At least 1.
        stop_after: Epochs after which the training ends early, in the midst of a schedule of
            ``epochs``; None for all of them.
        opt: Name of a timm optimizer of first order; ``"sgd"`` has Nesterov momentum.
        opt_eps: The optimizer's epsilon; None for its default.
        opt_betas: The optimizer's betas; None for its default.
        opt_alpha: The optimizer's alpha, the decay of RMSProp's averages; None for its default.
        lr: Peak learning rate.
        momentum: Momentum; None for 0.9 with the optimizers that have it.
        weight_decay: Weight decay of every parameter, or of all but BatchNorm and biases.
        decay_bn_bias: Whether ``weight_decay`` includes BatchNorm and biases.
        sched: One of ``supernet_config.SCHEDULES``, updated every step.
        min_lr: Learning rate that the schedule ends at.
        warmup_epochs: Epochs of linear warm-up from ``warmup_lr``.
        warmup_lr: Learning rate that the warm-up starts at.
        label_smoothing: Label smoothing from 0 to less than 1.
        aux_weight: Weight of the loss of the network's auxiliary head; 0 for a network without.
        drop_path_ramp: Whether the rates of drop path grow with the steps from 0 to their own.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none.
        mixup_prob: Probability that a minibatch is mixed.
        mixup_switch_prob: Probability that a mixed one gets CutMix, where both are on.
        mixup_off_epoch: Number of epochs with mixing; None for all.
        clip_grad: Largest norm of the whole gradient, or None.
        clip_value: Largest absolute value in the gradient, or None.
        ema_decay: Decay per step of the average of the weights that is the result of the training;
            None for no average.
        ema_warmup: Whether the decay starts at 0 and rises with the steps as timm has it,
            ``1 - (1 + step) ** (-2 / 3)`` up to ``ema_decay``. Without, the weights of the first
            steps weigh ``ema_decay ** num_steps`` in the result.
        amp: Whether to compute in bfloat16 autocast.
        channels_last: Whether to keep weights and images in channels_last memory format.
        seed: Seed of everything random: the order and augmentation of images, mixing, dropout.

    Raises:
        ValueError: If a value is out of range, or has no effect because of the others.
    """

    epochs: int = 200
    stop_after: int | None = None
    opt: str = "sgd"
    opt_eps: float | None = None
    opt_betas: tuple[float, ...] | None = None
    opt_alpha: float | None = None
    lr: float = 0.1
    momentum: float | None = None
    weight_decay: float = 5e-4
    decay_bn_bias: bool = True
    sched: str = "cosine"
    min_lr: float = 0.0
    warmup_epochs: int = 0
    warmup_lr: float = 1e-5
    label_smoothing: float = 0.0
    aux_weight: float = 0.0
    drop_path_ramp: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_prob: float = 1.0
    mixup_switch_prob: float = 0.5
    mixup_off_epoch: int | None = None
    clip_grad: float | None = None
    clip_value: float | None = None
    ema_decay: float | None = None
    ema_warmup: bool = True
    amp: bool = False
    channels_last: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(_KINDS, vars(self))
        self._train_config()  # checks what it has as well
        mixes = self.mixup > 0 or self.cutmix > 0
        both = self.mixup > 0 and self.cutmix > 0
        checks = (
            (
                self.stop_after is None or 1 <= self.stop_after <= self.epochs,
                "stop_after must be from 1 to epochs",
                self.stop_after,
            ),
            (
                mixes or self.mixup_prob == 1,
                "mixup_prob needs mixup or cutmix",
                self.mixup_prob,
            ),
            (
                both or self.mixup_switch_prob == 0.5,
                "mixup_switch_prob needs both mixup and cutmix",
                self.mixup_switch_prob,
            ),
            (
                self.mixup_off_epoch is None or (mixes and self.mixup_off_epoch >= 1),
                "mixup_off_epoch must be at least 1 and needs mixup or cutmix",
                self.mixup_off_epoch,
            ),
            (
                self.ema_warmup or self.ema_decay is not None,
                "ema_warmup needs ema_decay",
                self.ema_warmup,
            ),
        )
        for is_valid, expectation, value in checks:
            if not is_valid:
                raise ValueError(f"{expectation}, got {value!r}.")
        if not isinstance(self.opt_betas, tuple | list | None):
            raise ValueError(f"opt_betas must be a tuple of numbers, got {self.opt_betas!r}.")
        for beta in self.opt_betas or ():
            kinds.RATE.check("opt_betas", beta)
        self._check_optimizer()

    def create_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Builds the optimizer of all parameters of ``network``."""
        import torch
        from timm.optim import create_optimizer_v2

        optimizer = create_optimizer_v2(
            network,
            opt=self.opt,
            lr=self.lr,
            weight_decay=self.weight_decay,
            momentum=0.9 if self.momentum is None else self.momentum,
            filter_bias_and_bn=not self.decay_bn_bias,
            **self._optimizer_settings(),
        )
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def create_scheduler(self, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> Scheduler:
        """Builds the schedule, to be stepped with ``step_update`` before every step."""
        from supernets.training.optimizers import create_scheduler

        return create_scheduler(optimizer, self._train_config(), steps_per_epoch)

    def create_mixing(self, num_classes: int, ranks: ProcessInfo) -> SeededMixup | None:
        """Builds the mixup and CutMix of this rank's minibatches; returns None if neither is on."""
        if self.mixup == 0 and self.cutmix == 0:
            return None
        from supernets.data.mixup import SeededMixup

        return SeededMixup(
            mixup=self.mixup,
            cutmix=self.cutmix,
            prob=self.mixup_prob,
            switch_prob=self.mixup_switch_prob,
            label_smoothing=self.label_smoothing,
            num_classes=num_classes,
            seed=self.seed * ranks.world_size + ranks.rank,
        )

    def _train_config(self) -> TrainConfig:
        """What a supernet's training has as well."""
        return TrainConfig(
            epochs=self.epochs,
            opt=self.opt,
            lr=self.lr,
            momentum=0.9 if self.momentum is None else self.momentum,
            weight_decay=self.weight_decay,
            decay_bn_bias=self.decay_bn_bias,
            sched=self.sched,
            min_lr=self.min_lr,
            warmup_epochs=self.warmup_epochs,
            warmup_lr=self.warmup_lr,
            label_smoothing=self.label_smoothing,
            mixup=self.mixup,
            cutmix=self.cutmix,
            clip_grad=self.clip_grad,
            clip_value=self.clip_value,
            ema_decay=self.ema_decay,
        )

    def _optimizer_settings(self) -> dict[str, Any]:
        given = {"eps": self.opt_eps, "betas": self.opt_betas, "alpha": self.opt_alpha}
        return {name: value for name, value in given.items() if value is not None}

    def _check_optimizer(self) -> None:
        """Finds settings that the optimizer does not take; timm leaves some out in silence."""
        import torch
        from timm.optim import get_optimizer_info
        from torch import nn

        info = get_optimizer_info(self.opt.lower().split("_")[-1])
        settings = self._optimizer_settings()
        misfits = [
            f"opt_{name}"
            for name, takes in (("eps", info.has_eps), ("betas", info.has_betas))
            if name in settings and not takes
        ]
        if self.momentum is not None and not info.has_momentum:
            misfits.append("momentum")
        if misfits:
            raise ValueError(f"Optimizer {self.opt!r} has no {', '.join(misfits)}; leave it out.")
        if self.opt_betas is not None and len(self.opt_betas) != info.num_betas:
            raise ValueError(
                f"Optimizer {self.opt!r} has {info.num_betas} opt_betas, got {self.opt_betas}."
            )
        try:
            self.create_optimizer(nn.ParameterList([nn.Parameter(torch.zeros(1, 1))]))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Optimizer {self.opt!r} cannot be used with {settings}: {error}."
            ) from error
