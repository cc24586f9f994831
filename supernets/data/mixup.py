"""Mixup and CutMix by timm, as a function of the seed and the step.

Papers: mixup: Beyond Empirical Risk Minimization, https://arxiv.org/abs/1710.09412;
CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
https://arxiv.org/abs/1905.04899

As in timm one weight is drawn for the whole minibatch, and image i is mixed with image N - 1 - i.
Differs from ``timm.data.Mixup``:

1. What it draws follows from (seed, step) and not from what ran before; numpy's global random state
   is left as it was.
2. The images and labels that are passed in stay as they are.
3. The last image of a minibatch of odd size is left unmixed; timm refuses such a minibatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch.nn.functional as F
from timm.data import Mixup
from torch import Tensor


class SeededMixup:
    """Mixes the images of a minibatch, and their labels with them.

    Args:
        mixup: Alpha of mixup's Beta(alpha, alpha) distribution; 0 for no mixup.
        cutmix: Alpha of CutMix's Beta(alpha, alpha) distribution; 0 for no CutMix.
        prob: Probability that a minibatch is mixed.
        switch_prob: Probability that a mixed minibatch gets CutMix, where both are on.
        label_smoothing: Label smoothing from 0 to less than 1, applied to minibatches that are not
            mixed too.
        num_classes: Length of the soft labels.
        seed: Seed of the mixing. At least 0.

    Raises:
        ValueError: If a value is out of range, or neither mixup nor CutMix is on.
    """

    def __init__(
        self,
        *,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        label_smoothing: float = 0.0,
        num_classes: int,
        seed: int = 0,
    ) -> None:
        checks = (
            (mixup >= 0, "mixup must not be negative", mixup),
            (cutmix >= 0, "cutmix must not be negative", cutmix),
            (mixup > 0 or cutmix > 0, "mixup or cutmix must be positive", (mixup, cutmix)),
            (0 <= prob <= 1, "prob must be from 0 to 1", prob),
            (0 <= switch_prob <= 1, "switch_prob must be from 0 to 1", switch_prob),
            (
                0 <= label_smoothing < 1,
                "label_smoothing must be from 0 to less than 1",
                label_smoothing,
            ),
            (num_classes >= 1, "num_classes must be at least 1", num_classes),
            (seed >= 0, "seed must be at least 0", seed),
        )
        for is_valid, expectation, value in checks:
            if not is_valid:
                raise ValueError(f"{expectation}, got {value}.")
        self._num_classes = num_classes
        self._label_smoothing = label_smoothing
        self._seed = seed
        self._mixup = Mixup(
            mixup_alpha=mixup,
            cutmix_alpha=cutmix,
            prob=prob,
            switch_prob=switch_prob,
            label_smoothing=label_smoothing,
            num_classes=num_classes,
        )

    def __call__(self, x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Mixes one minibatch.

        Args:
            x: Images (N, C, H, W), floating point.
            y: Labels (N,), int64.
            step: Number of the training step, at least 0; together with the seed it decides all
                that is drawn.

        Returns:
            Mixed images (N, C, H, W) and soft labels (N, num_classes), float32, for
            ``F.cross_entropy``.
        """
        mixed = x.clone()
        num_mixed = len(x) - len(x) % 2
        smoothing = self._label_smoothing
        hard = F.one_hot(y, self._num_classes).float()  # (N, num_classes)
        soft = hard * (1 - smoothing) + smoothing / self._num_classes
        if num_mixed:
            with _numpy_seed(self._seed, step):
                _, soft[:num_mixed] = self._mixup(mixed[:num_mixed], y[:num_mixed])
        return mixed, soft


@contextmanager
def _numpy_seed(*key: int) -> Iterator[None]:
    """Seeds numpy's global generator, which timm draws from, for the time of a block."""
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence(key).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(state)
