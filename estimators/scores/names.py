"""Names of scores, and how each follows from what one pass over a subnet recorded.

Papers: Speedy Performance Estimation for Neural Architecture Search (TSE and its family),
https://arxiv.org/abs/2006.04492; Zero-Cost Proxies for Lightweight NAS,
https://arxiv.org/abs/2101.08134; Neural Architecture Search without Training (naswot),
https://arxiv.org/abs/2006.04647
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimators.scores.windows import default_window

#: Of the losses of the extra training steps.
CURVE_SCORES = ("tse", "tse_e", "tse_ema", "tlmini", "sovl")
#: Of the val split, before and after these steps.
VAL_SCORES = ("val_acc", "val_loss", "val_acc_after", "val_loss_after")
#: Of the stand-alone network with fresh weights and one minibatch.
PROXY_SCORES = ("grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov", "naswot")
#: Of the network one gets.
COST_SCORES = ("params", "macs")
SCORES = (*CURVE_SCORES, *VAL_SCORES, *PROXY_SCORES, *COST_SCORES)
#: Costs as the tables of a space have them, for comparison, where they count in another way.
BENCHMARK_SCORES = ("benchmark_params", "benchmark_macs")

#: Of the epochs of a training from scratch, those a search may go by.
SCRATCH_SCORES = ("val_acc", "tse", "tse_e", "tse_ema")

#: Decay of tse_ema: the paper's, which is of epochs.
GAMMA = 0.999
#: The curves a pass records, by what they are of.
TRAIN_CURVE, VAL_CURVE = "train_loss", "val_minibatch_loss"
#: What minibatches of the splits are called in messages.
TRAIN_BATCHES, VAL_BATCHES = "the train minibatches", "the val minibatches"
#: Before the name of a part of a pass, the metric of a trial that says how long the part took.
SECONDS = "seconds_"
#: The metric of each score of the val split.
VAL_METRICS = {
    "val_acc": "val_top1",
    "val_loss": "val_loss",
    "val_acc_after": "val_top1_after",
    "val_loss_after": "val_loss_after",
}


@dataclass(frozen=True)
class Score:
    """One way to look at a record; higher is better.

    Args:
        name: One of ``SCORES`` or ``BENCHMARK_SCORES``; or that of an estimator of one's own.
        num_steps: B, the steps that scores of curves look at; None for all that were recorded.
        window: E of tse_e, the last steps of the curve that it sums; None for
            ``estimators.scores.windows.default_window`` of minibatches.
        gamma: Decay of tse_ema: the weight of a loss against that of the next step of the curve.
        is_own: Whether it is the score of an estimator of one's own, which records hold as it is.

    Raises:
        ValueError: If the name is unknown or a number is out of range.

    Example:
        >>> losses = {"train_loss": (2.5, 2.0, 1.5)}
        >>> Score("tse").of({}, losses)  # the negated sum
        -6.0
        >>> Score("tse_e", window=1).of({}, losses)
        -1.5
    """

    name: str
    num_steps: int | None = None
    window: int | None = None
    gamma: float = GAMMA
    is_own: bool = False

    def __post_init__(self) -> None:
        if not self.is_own and self.name not in (*SCORES, *BENCHMARK_SCORES):
            raise ValueError(f"Unknown score {self.name!r}; choose from {', '.join(SCORES)}.")
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}.")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}.")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, got {self.gamma}.")

    def of(self, metrics: Mapping[str, float], curves: Mapping[str, tuple[float, ...]]) -> float:
        """Computes the score of a record, higher is better; nan if it looks at what is not finite.

        Args:
            metrics: Scalars by name, in their natural sign.
            curves: The curves recorded step by step, in nats.

        Raises:
            KeyError: If the record lacks what the score looks at.
            ValueError: If it has fewer steps, or fewer than the window.
        """
        if self.is_own:
            return metrics[self.name] if math.isfinite(metrics[self.name]) else math.nan
        if self.name in CURVE_SCORES:
            losses = np.array(curves[VAL_CURVE if self.name == "sovl" else TRAIN_CURVE])
            num_steps = len(losses) if self.num_steps is None else self.num_steps
            return -float(_of_curve(self, losses, num_steps))
        value = metrics[VAL_METRICS.get(self.name, self.name)]
        if not math.isfinite(value):
            return math.nan
        return -value if self.name.startswith("val_loss") else value


def _of_curve(score: Score, losses: Any, num_steps: int) -> Any:
    # here alone: SciPy takes longer to import than a command's help may
    from estimators.scores.loss_curves import tlmini, tse, tse_e, tse_ema

    if score.name == "tse_e":
        window = default_window(num_steps) if score.window is None else score.window
        if window > num_steps:
            raise ValueError(f"window must be at most the {num_steps} steps, got {window}.")
        return tse_e(losses, num_steps, window)
    if score.name == "tse_ema":
        return tse_ema(losses, num_steps, score.gamma)
    if score.name == "tlmini":
        return tlmini(losses, num_steps)
    return tse(losses, num_steps)
