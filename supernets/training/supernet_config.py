"""The recipe of a training: what decides its result beside the supernet, the data and the paths.

Defaults are those of the TSE authors' NAS-Bench-201 supernets: SGD 0.025 with Nesterov momentum
0.9, weight decay 5e-4 on every parameter, cosine to 0.001 updated per step, no warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import supernets.runtime.option_types as kinds
from supernets.runtime.option_types import check_settings

SCHEDULES = ("cosine", "tanh", "poly", "step", "multistep")
#: What the numbers of recipes are, by the names they have in all of them.
KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "epochs": kinds.NON_NEGATIVE_INT,
    "lr": kinds.POSITIVE,
    "min_lr": kinds.NON_NEGATIVE,
    "momentum": kinds.RATE,
    "weight_decay": kinds.NON_NEGATIVE,
    "warmup_epochs": kinds.NON_NEGATIVE_INT,
    "warmup_lr": kinds.NON_NEGATIVE,
    "label_smoothing": kinds.RATE,
    "mixup": kinds.ALPHA,
    "cutmix": kinds.ALPHA,
    "dropout": kinds.RATE,
    "drop_path": kinds.RATE,
    "kd_ratio": kinds.NON_NEGATIVE,
    "aux_weight": kinds.NON_NEGATIVE,
    "clip_grad": kinds.POSITIVE,
    "clip_value": kinds.POSITIVE,
    "ema_decay": kinds.FRACTION,
    "num_probes": kinds.NON_NEGATIVE_INT,
    "seed": kinds.SEED,
}


@dataclass(frozen=True)
class TrainConfig:
    """What decides the result of a training.

    Args:
        epochs: Passes over the train split; 0 only stores the weights.
        opt: Name of a timm optimizer of first order; ``"sgd"`` has Nesterov momentum.
        lr: Peak learning rate.
        momentum: Momentum, of the optimizers that have it.
        weight_decay: Weight decay of every parameter, or of all but BatchNorm and biases.
        decay_bn_bias: Whether ``weight_decay`` includes BatchNorm and biases.
        sched: One of ``SCHEDULES``, updated every step.
        min_lr: Learning rate that the schedule ends at.
        warmup_epochs: Epochs of linear warm-up from ``warmup_lr``.
        warmup_lr: Learning rate that the warm-up starts at.
        label_smoothing: Label smoothing from 0 to less than 1.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none.
        dropout: Rate before the classifier; with paths that distill, of the first path only.
        drop_path: Rate of the last block, likewise, or of every operation of NASNet cells; for
            supernets that have it.
        kd_ratio: Weight of the teacher's soft labels beside the labels, where there is a teacher.
        aux_weight: Weight of the loss of the auxiliary head, for supernets that have one.
        clip_grad: Largest norm of the whole gradient, or None.
        clip_value: Largest absolute value in the gradient, or None.
        ema_decay: Decay of an exponential moving average of the weights, which is stored as the
            weights of the supernet; None for no average. It starts at 0 and rises to this value, as
            timm has it.
        inactive_grads: What is done to the gradients of operations off the path: ``"zero"`` lets
            weight decay and momentum move their weights, ``"skip"`` does not.
        amp: Whether to compute in bfloat16 autocast.
        channels_last: Whether to keep weights and images in channels_last memory format.
        sync_bn: Whether BatchNorm takes its batch statistics over all processes.
        num_probes: Architectures whose validation accuracy is logged after every epoch. May be 0.
        seed: Seed of paths, probes, mixing and dropout.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int = 100
    opt: str = "sgd"
    lr: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_bn_bias: bool = True
    sched: str = "cosine"
    min_lr: float = 0.001
    warmup_epochs: int = 0
    warmup_lr: float = 1e-5
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    kd_ratio: float = 1.0
    aux_weight: float = 0.0
    clip_grad: float | None = None
    clip_value: float | None = None
    ema_decay: float | None = None
    inactive_grads: Literal["zero", "skip"] = "zero"
    amp: bool = False
    channels_last: bool = True
    sync_bn: bool = False
    num_probes: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(KINDS, vars(self))
        checks = (
            (isinstance(self.opt, str), "opt must be a name", self.opt),
            (self.min_lr <= self.lr, "min_lr must be from 0 to lr", self.min_lr),
            (
                self.warmup_epochs < max(1, self.epochs),
                "warmup_epochs must be from 0 to less than epochs",
                self.warmup_epochs,
            ),
            (
                self.inactive_grads in ("zero", "skip"),
                "inactive_grads must be zero or skip",
                self.inactive_grads,
            ),
            (
                self.sched in SCHEDULES,
                f"sched must be one of {', '.join(SCHEDULES)}",
                self.sched,
            ),
        )
        for is_valid, expectation, value in checks:
            if not is_valid:
                raise ValueError(f"{expectation}, got {value!r}.")
        from supernets.training.optimizers import check_optimizer  # here, as PyTorch takes seconds

        check_optimizer(self.opt, self.momentum)
