"""What one training step adds to the gradients: the losses of its paths on one minibatch.

Papers: Once for All (a teacher's soft labels), https://arxiv.org/abs/1908.09791; BigNAS (in-place
distillation), https://arxiv.org/abs/2003.11142
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.base import Supernet
from supernets.device import autocast
from supernets.spaces import Architecture


def train_step(
    supernet: Supernet,
    archs: Sequence[Architecture],
    x: Tensor,
    y: Tensor,
    *,
    label_smoothing: float = 0.0,
    dropout: float = 0.0,
    drop_path: float = 0.0,
    distills: bool = False,
    teacher_logits: Tensor | None = None,
    kd_ratio: float = 1.0,
    amp: bool = False,
    weight: float | None = None,
) -> Tensor:
    """Adds the weighted sum of the gradients of the losses of ``archs`` to the parameters'.

    Args:
        supernet: In train mode.
        archs: The paths; all see the same minibatch.
        x: Images (N, C, H, W).
        y: Labels (N,), or soft labels (N, num_classes).
        label_smoothing: From 0 to less than 1.
        dropout: Rate of dropout; with ``distills`` of the first path only.
        drop_path: Rate at which the last block is dropped, likewise.
        distills: Whether the paths after the first learn from its logits instead of ``y``.
        teacher_logits: (N, num_classes) to learn from beside ``y``, or None.
        kd_ratio: Weight of the loss against ``teacher_logits``.
        amp: Whether to run in bfloat16 autocast.
        weight: Weight of each path; None for 1 / number of paths.

    Returns:
        Loss of each path, shape (num_paths,), in nats.
    """
    if weight is None:
        weight = 1 / len(archs)
    losses = []
    soft_labels = None  # of the first path
    for arch in archs:
        is_student = soft_labels is not None
        with autocast(x.device, amp):
            logits = supernet(
                x,
                arch,
                dropout=0.0 if is_student else dropout,
                drop_path=0.0 if is_student else drop_path,
            )  # (N, num_classes)
        logits = logits.float()
        if soft_labels is not None:
            loss = F.cross_entropy(logits, soft_labels)
        else:
            loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
            if teacher_logits is not None:
                loss = loss + kd_ratio * F.cross_entropy(logits, teacher_logits.softmax(dim=1))
            if distills:
                soft_labels = logits.detach().softmax(dim=1)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses)
