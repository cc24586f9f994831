"""What the recipes of all trainings share, as options of the commands that train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.kernels.choice import kernels_option
from supernets.runtime.options import Options, option

#: Momentum of optimizers that have it, where no other is asked for.
DEFAULT_MOMENTUM = 0.9
SCHEDULES = ("cosine", "tanh", "poly", "step", "multistep")


@dataclass(frozen=True)
class Recipe(Options):
    """What every recipe decides.

    Args:
        epochs: Passes over the train split.
        opt: Name of a timm optimizer of first order; ``"sgd"`` has Nesterov momentum.
        lr: Peak learning rate.
        momentum: Momentum, of the optimizers that have it; None for 0.9.
        weight_decay: Weight decay of every parameter, or of all but BatchNorm and biases.
        decay_bn_bias: Whether ``weight_decay`` includes BatchNorm and biases.
        sched: One of ``SCHEDULES``, updated every step.
        min_lr: Learning rate that the schedule ends at.
        warmup_epochs: Epochs of linear warm-up from ``warmup_lr``.
        warmup_lr: Learning rate that the warm-up starts at.
        label_smoothing: Label smoothing from 0 to less than 1.
        mixup: Alpha of mixup; 0 for none.
        cutmix: Alpha of CutMix; 0 for none.
        aux_weight: Weight of the loss of the auxiliary head; 0 for a network without.
        clip_grad: Largest norm of the whole gradient, or None.
        clip_value: Largest absolute value in the gradient, or None.
        ema_decay: Decay per step of the average of the weights that is the result of the training;
            None for no average.
        amp: Whether to compute in bfloat16 autocast.
        channels_last: Whether to keep weights and images in channels_last memory format.
        kernels: ``"auto"`` for this package's kernels on a CPU, where they can be had; ``"off"``
            for PyTorch's alone.
        seed: Seed of everything random.

    Raises:
        ValueError: If a value is out of range, or the optimizer cannot be used.
    """

    epochs: int = option(100, "", kinds.NON_NEGATIVE_INT, metavar="N")
    opt: str = option("sgd", "timm optimizer", kinds.name, metavar="NAME")
    lr: float = option(0.025, "peak rate", kinds.POSITIVE, metavar="LR")
    momentum: float | None = option(None, "", kinds.RATE, metavar="M")
    weight_decay: float = option(5e-4, "", kinds.NON_NEGATIVE, metavar="WD")
    decay_bn_bias: bool = option(True, "weight decay on BatchNorm and biases too")
    sched: str = option("cosine", "schedule", choices=SCHEDULES)
    min_lr: float = option(0.001, "", kinds.NON_NEGATIVE, metavar="LR")
    warmup_epochs: int = option(0, "", kinds.NON_NEGATIVE_INT, metavar="N")
    warmup_lr: float = option(1e-5, "where the warm-up starts", kinds.NON_NEGATIVE, metavar="LR")
    label_smoothing: float = option(0.0, "", kinds.RATE, metavar="S")
    mixup: float = option(0.0, "alpha of mixup", kinds.ALPHA, metavar="A", default_text="0, off")
    cutmix: float = option(0.0, "alpha of CutMix", kinds.ALPHA, metavar="A", default_text="0, off")
    aux_weight: float = option(
        0.0,
        "nasnet, darts: of the loss of an auxiliary head, which is for the training alone",
        kinds.NON_NEGATIVE,
        metavar="W",
        default_text="0, no such head",
    )
    clip_grad: float | None = option(None, "largest gradient norm", kinds.POSITIVE, metavar="NORM")
    clip_value: float | None = option(None, "largest gradient value", kinds.POSITIVE, metavar="V")
    ema_decay: float | None = option(
        None, "average the weights", kinds.FRACTION, metavar="D", default_text="no average"
    )
    amp: bool = option(False, "bfloat16 autocast", default_text="where it is faster")
    channels_last: bool = option(True, "memory format")
    kernels: str = kernels_option()
    seed: int = option(0, "weights, paths, data", kinds.SEED, metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = (
            (isinstance(self.opt, str), "opt must be a name", self.opt),
            (
                self.min_lr <= self.lr,
                f"min_lr must be from 0 to lr, which is {self.lr}",
                self.min_lr,
            ),
            (
                self.warmup_epochs < max(1, self.epochs),
                f"warmup_epochs must be from 0 to less than epochs, which is {self.epochs}",
                self.warmup_epochs,
            ),
        )
        check_all(checks)
        from supernets.training.optimizers import check_optimizer  # here, as PyTorch takes seconds

        check_optimizer(self)

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        """What the optimizer is told beside learning rate, momentum and weight decay."""
        return {}

    @property
    def wants_momentum(self) -> bool:
        """Whether an optimizer without momentum is a mistake."""
        return self.momentum not in (None, DEFAULT_MOMENTUM)


def check_all(checks: tuple[tuple[bool, str, object], ...]) -> None:
    """Makes sure of conditions.

    Args:
        checks: Whether each holds, what was expected, and the value that came.

    Raises:
        ValueError: If one does not hold.
    """
    for is_valid, expectation, value in checks:
        if not is_valid:
            raise ValueError(f"{expectation}, got {value!r}.")
