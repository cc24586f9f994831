"""Names, published numbers and the plan of the phases of progressive shrinking.

Paper: Once for All: Train One Network and Specialize it for Efficient Deployment,
https://arxiv.org/abs/1908.09791
"""

from __future__ import annotations

from dataclasses import dataclass

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option

PHASES = ("full", "kernel", "depth-1", "depth-2", "expand-1", "expand-2")
#: The paper's epochs, warm-up epochs and learning rates; those for 32 GPUs with 64 images each.
EPOCHS = (180, 120, 25, 120, 25, 120)
WARMUP_EPOCHS = (5, 5, 0, 5, 0, 5)
LRS = (2.6, 0.96, 0.08, 0.24, 0.08, 0.24)


@dataclass(frozen=True)
class PhaseOptions(Options):
    """The plan of progressive shrinking: one value for each of ``PHASES``.

    Args:
        epochs: Epochs of each phase; phases of 0 epochs are left out, except the first.
        warmup_epochs: Warm-up epochs of each phase.
        lrs: Peak learning rate of each phase.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> sum(PhaseOptions().epochs)
        590
    """

    epochs: tuple[int, ...] = option(
        EPOCHS, "", kinds.NON_NEGATIVE_INT, nargs="+", metavar="X", flag="--phase-epochs"
    )
    warmup_epochs: tuple[int, ...] = option(
        WARMUP_EPOCHS,
        "",
        kinds.NON_NEGATIVE_INT,
        nargs="+",
        metavar="X",
        flag="--phase-warmup-epochs",
    )
    lrs: tuple[float, ...] = option(
        LRS, "", kinds.POSITIVE, nargs="+", metavar="X", flag="--phase-lrs"
    )
