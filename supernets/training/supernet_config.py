"""The recipe of a training: what decides its result beside the supernet, the data and the paths.

Defaults are those of the TSE authors' NAS-Bench-201 supernets: SGD 0.025 with Nesterov momentum
0.9, weight decay 5e-4 on every parameter, cosine to 0.001 updated per step, no warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option
from supernets.training.recipe import DEFAULT_MOMENTUM, Recipe


@dataclass(frozen=True)
class DropRates(Options):
    """Rates of what networks drop in training.

    Args:
        dropout: Rate before the classifier; with paths that distill, of the first path only.
        drop_path: Rate of the last block, likewise, or of every operation of NASNet cells; for
            networks that have it.

    Raises:
        ValueError: If a rate is out of range.

    Example:
        >>> DropRates(drop_path=0.2)
        DropRates(dropout=0.0, drop_path=0.2)
    """

    dropout: float = option(
        0.0,
        "before the classifier; in a sandwich of the largest path only",
        kinds.RATE,
        metavar="P",
    )
    drop_path: float = option(
        0.0,
        "of the last block, less in earlier ones, likewise; of all operations in nasnet and darts",
        kinds.RATE,
        metavar="P",
    )


@dataclass(frozen=True)
class TrainConfig(DropRates, Recipe):
    """What decides the result of a training, beside what ``Recipe`` and ``DropRates`` have.

    With 0 ``epochs`` the weights are only stored. The average of ``ema_decay``, which is stored as
    the weights of the supernet, starts with a decay of 0 that rises to this value, as timm has it.

    Args:
        momentum: Momentum, of the optimizers that have it; of others to be left out.
        kd_ratio: Weight of the teacher's soft labels beside the labels, where there is a teacher.
        inactive_grads: What is done to the gradients of operations off the path: ``"zero"`` lets
            weight decay and momentum move their weights, ``"skip"`` does not. None is what suits
            the space where a ``TrainJob`` says which it is, else as ``"zero"``.
        sync_bn: Whether BatchNorm takes its batch statistics over all processes.
        num_probes: Architectures whose validation accuracy is logged after every epoch. May be 0.

    Raises:
        ValueError: If a value is out of range.

    Example:
        >>> TrainConfig(epochs=10, lr=0.1, warmup_epochs=2).sched
        'cosine'
        >>> TrainConfig(epochs=2, warmup_epochs=2)
        Traceback (most recent call last):
            ...
        ValueError: warmup_epochs must be from 0 to less than epochs, which is 2, got 2.
    """

    momentum: float = option(DEFAULT_MOMENTUM, "", kinds.RATE, metavar="M")
    kd_ratio: float = option(
        1.0,
        "with --paths progressive: weight of the teacher's labels after the first phase",
        kinds.NON_NEGATIVE,
        metavar="R",
    )
    inactive_grads: Literal["zero", "skip"] | None = option(
        None,
        "gradients of operations off the path; with zero, weight decay and momentum move them",
        choices=("zero", "skip"),
        default_text="zero; skip for nasnet and darts",
    )
    sync_bn: bool = option(False, "BatchNorm over all processes")
    num_probes: int = option(
        4,
        "architectures whose validation accuracy is logged per epoch",
        kinds.NON_NEGATIVE_INT,
        metavar="N",
    )
