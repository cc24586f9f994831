"""The recipe of a differentiable search, beside that of its weights.

Papers: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055; DrNAS:
Dirichlet Neural Architecture Search, https://arxiv.org/abs/2006.10355; Speedy Performance
Estimation for Neural Architecture Search (TSE), https://arxiv.org/abs/2006.04492
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import supernets.runtime.option_types as kinds
from supernets.runtime.option_types import check_settings

RelaxationName = Literal["softmax", "dirichlet", "dirichlet-kl", "gumbel"]
GradientName = Literal[
    "first-order", "second-order", "second-order-exact", "tse-joint", "tse-rollout"
]
RELAXATIONS: tuple[RelaxationName, ...] = ("softmax", "dirichlet", "dirichlet-kl", "gumbel")
GRADIENTS: tuple[GradientName, ...] = (
    "first-order",
    "second-order",
    "second-order-exact",
    "tse-joint",
    "tse-rollout",
)
_STAGE_KINDS: dict[str, kinds.Whole | kinds.Real] = dict.fromkeys(
    ("epochs", "partial_channels", "keep_ops", "freeze_epochs"), kinds.NON_NEGATIVE_INT
)
_KINDS: dict[str, kinds.Whole | kinds.Real] = {
    "tse_batches": kinds.BATCH,
    "alpha_lr": kinds.POSITIVE,
    "alpha_weight_decay": kinds.NON_NEGATIVE,
    "macs_penalty": kinds.NON_NEGATIVE,
    "max_skips": kinds.NON_NEGATIVE_INT,
    "seed": kinds.SEED,
}


@dataclass(frozen=True)
class Stage:
    """A part of a search (DrNAS).

    Args:
        epochs: Number of epochs. At least 1.
        partial_channels: One over the share of channels that go through operations.
        keep_ops: Number of operations left on every edge, at least 2; None for all.
        freeze_epochs: Number of first epochs, in which alphas stay as they are.
    """

    epochs: int
    partial_channels: int = 1
    keep_ops: int | None = None
    freeze_epochs: int = 0

    def __post_init__(self) -> None:
        check_settings(_STAGE_KINDS, vars(self))
        if self.epochs < 1:
            raise ValueError(f"The epochs of a stage must be at least 1, got {self.epochs}.")
        if self.partial_channels < 1:
            raise ValueError(f"partial_channels must be at least 1, got {self.partial_channels}.")
        if self.keep_ops is not None and self.keep_ops < 2:
            raise ValueError(
                f"keep_ops must be at least 2, to leave a choice, got {self.keep_ops}."
            )
        if not 0 <= self.freeze_epochs < self.epochs:
            raise ValueError(
                f"freeze_epochs must leave at least one of the {self.epochs} epochs of a stage to "
                f"move alphas in, got {self.freeze_epochs}."
            )


@dataclass(frozen=True)
class SearchConfig:
    """What decides the result of a differentiable search beside its weights' recipe.

    Args:
        relaxation: How alphas become weights of operations.
        gradient: Name of the gradient that alphas follow. Those of TSE need no validation images.
        tse_batches: K, the number of minibatches per step of alphas with TSE; an epoch's last group
            is smaller.
        alpha_lr: Learning rate of the alphas' Adam.
        alpha_betas: Betas of the alphas' Adam.
        alpha_weight_decay: Weight decay of the alphas' Adam, added to the gradient; with relaxation
            "dirichlet-kl" the divergence takes its place, and it should be 0.
        macs_penalty: Weight, in nats, of the expected multiply-accumulates of the mixture, relative
            to those of the heaviest architecture of the mixture. Every edge counts, also where the
            derived cell would leave it unreached.
        max_skips: Skip connections a derived cell may have; the lightest ones beyond make way for
            other operations. None for any number.
        exclude_none: Whether the derived cell has the heaviest operations other than none, as in
            DARTS' own space; otherwise an edge of NAS-Bench-201 may be left out.
        stages: The stages in the order they are run in.
        seed: Seed of the alphas and of what is drawn.

    Raises:
        ValueError: If a value is out of range.
    """

    relaxation: RelaxationName = "softmax"
    gradient: GradientName = "first-order"
    tse_batches: int = 100
    alpha_lr: float = 3e-4
    alpha_betas: tuple[float, float] = (0.5, 0.999)
    alpha_weight_decay: float = 1e-3
    macs_penalty: float = 0.0
    max_skips: int | None = None
    exclude_none: bool = False
    stages: tuple[Stage, ...] = (Stage(50),)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("relaxation", self.relaxation, RELAXATIONS),
            ("gradient", self.gradient, GRADIENTS),
        ):
            if value not in known:
                raise ValueError(f"Unknown {name} {value!r}; choose from {', '.join(known)}.")
        check_settings(_KINDS, vars(self))
        for beta in self.alpha_betas:
            kinds.RATE.check("alpha_betas", beta)
        if not self.stages:
            raise ValueError("There must be at least one stage, got none.")
        kept = [stage.keep_ops for stage in self.stages]
        for before, after in zip(kept, kept[1:], strict=False):
            if before is not None and (after is None or after > before):
                raise ValueError(
                    f"keep_ops must not rise from stage to stage, got {before}, then {after}."
                )
        partial = [stage.partial_channels for stage in self.stages]
        if partial != sorted(partial, reverse=True):
            raise ValueError(
                "partial_channels must not rise from stage to stage, so that operations only get "
                f"wider, got {', '.join(map(str, partial))}."
            )

    @property
    def epochs(self) -> int:
        """Number of epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def uses_tse(self) -> bool:
        """Whether alphas follow training losses."""
        return self.gradient.startswith("tse")
