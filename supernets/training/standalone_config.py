"""The recipe of training an ordinary network: what decides its result beside network and data.

Defaults are those NAS-Bench-201 trained its networks with: SGD 0.1 with Nesterov momentum 0.9,
weight decay 5e-4 on every parameter, cosine to 0 over 200 epochs. Theirs falls per step as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import supernets.runtime.option_types as kinds
from supernets.kernels.choice import COMPILE_CHOICES, OFF
from supernets.runtime.options import option
from supernets.runtime.ranks import ProcessInfo
from supernets.training.recipe import Recipe, check_all

if TYPE_CHECKING:
    from supernets.data.mixup import SeededMixup


@dataclass(frozen=True)
class RetrainConfig(Recipe):
    """What decides the result of a training, beside what ``Recipe`` has.

    Args:
        epochs: Passes over the train split. At least 1.
        stop_after: Epochs after which the training ends early, in the midst of a schedule of
            ``epochs``; None for all of them.
        lr: Peak learning rate.
        momentum: Momentum; None for 0.9 with the optimizers that have it.
        opt_eps: The optimizer's epsilon; None for its default.
        opt_betas: The optimizer's betas; None for its default.
        opt_alpha: The optimizer's alpha, the decay of RMSProp's averages; None for its default.
        min_lr: Learning rate that the schedule ends at.
        drop_path_ramp: Whether the rates of drop path grow with the steps from 0 to their own.
        mixup_prob: Probability that a minibatch is mixed.
        mixup_switch_prob: Probability that a mixed one gets CutMix, where both are on.
        mixup_off_epoch: Number of epochs with mixing; None for all.
        ema_warmup: Whether the decay starts at 0 and rises with the steps as timm has it,
            ``1 - (1 + step) ** (-2 / 3)`` up to ``ema_decay``. Without, the weights of the first
            steps weigh ``ema_decay ** num_steps`` in the result.
        compile: ``"blocks"`` to run code that ``torch.compile`` makes of the network's blocks, or
            ``"off"``.
        seed: Seed of everything random but the splits: the order and augmentation of images,
            mixing, dropout.

    Raises:
        ValueError: If a value is out of range, or has no effect because of the others.

    Example:
        >>> RetrainConfig(epochs=600, stop_after=12).lr
        0.1
        >>> RetrainConfig(mixup_prob=0.5)
        Traceback (most recent call last):
            ...
        ValueError: mixup_prob needs mixup or cutmix, got 0.5.
    """

    epochs: int = option(200, "", kinds.POSITIVE_INT, metavar="N")
    stop_after: int | None = None
    lr: float = option(0.1, "peak rate", kinds.POSITIVE, metavar="LR")
    momentum: float | None = option(
        None, "", kinds.RATE, metavar="M", default_text="0.9 where the optimizer has it"
    )
    opt_eps: float | None = option(
        None,
        "its epsilon",
        kinds.NON_NEGATIVE,
        metavar="E",
        default_text="the optimizer's",
    )
    opt_betas: tuple[float, ...] | None = option(
        None, "its betas", kinds.RATE, nargs="+", metavar="B", default_text="the optimizer's"
    )
    opt_alpha: float | None = option(
        None, "RMSProp's decay", kinds.RATE, metavar="A", default_text="the optimizer's"
    )
    min_lr: float = option(0.0, "", kinds.NON_NEGATIVE, metavar="LR")
    drop_path_ramp: bool = option(
        False, "let the rates of --drop-path grow from 0 during the training"
    )
    mixup_prob: float = option(1.0, "of either", kinds.PROBABILITY, metavar="P")
    mixup_switch_prob: float = option(
        0.5, "of CutMix where both are on", kinds.PROBABILITY, metavar="P"
    )
    mixup_off_epoch: int | None = option(
        None, "epochs with either", kinds.POSITIVE_INT, metavar="N", default_text="all"
    )
    ema_warmup: bool = option(True, "let the average forget the first steps sooner")
    compile: str = option(
        OFF,
        "run blocks of the network as code of torch.compile, which takes minutes to make and on a "
        "CPU is slower than the kernels",
        choices=COMPILE_CHOICES,
    )
    seed: int = option(0, "all but the splits", kinds.SEED, metavar="N")

    def __post_init__(self) -> None:
        if self.stop_after is not None:
            kinds.POSITIVE_INT.check("stop_after", self.stop_after)
        super().__post_init__()
        mixes = self.mixup > 0 or self.cutmix > 0
        both = self.mixup > 0 and self.cutmix > 0
        checks = (
            (
                self.stop_after is None or self.stop_after <= self.epochs,
                f"stop_after must be from 1 to epochs, which is {self.epochs}",
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
                self.mixup_off_epoch is None or mixes,
                "mixup_off_epoch needs mixup or cutmix",
                self.mixup_off_epoch,
            ),
            (
                self.ema_warmup or self.ema_decay is not None,
                "ema_warmup needs ema_decay",
                self.ema_warmup,
            ),
            (
                self.compile == OFF or not self.drop_path_ramp,
                "compile must be off with drop_path_ramp, whose rates would be compiled anew at "
                "every step",
                self.compile,
            ),
        )
        check_all(checks)

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        """What the optimizer is told beside learning rate, momentum and weight decay."""
        given = {"eps": self.opt_eps, "betas": self.opt_betas, "alpha": self.opt_alpha}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def wants_momentum(self) -> bool:
        """Whether an optimizer without momentum is a mistake."""
        return self.momentum is not None

    def create_mixing(self, num_classes: int, ranks: ProcessInfo) -> SeededMixup | None:
        """Builds the mixup and CutMix of this rank's minibatches; returns None if neither is on."""
        if self.mixup == 0 and self.cutmix == 0:
            return None
        from supernets.data.mixup import SeededMixup  # here, as PyTorch takes seconds

        return SeededMixup(
            mixup=self.mixup,
            cutmix=self.cutmix,
            prob=self.mixup_prob,
            switch_prob=self.mixup_switch_prob,
            label_smoothing=self.label_smoothing,
            num_classes=num_classes,
            seed=self.seed * ranks.world_size + ranks.rank,
        )
