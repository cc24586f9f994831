"""What one training step adds to the gradients: the losses of its paths on one minibatch.

Papers: Once for All (a teacher's soft labels), https://arxiv.org/abs/1908.09791; BigNAS (in-place
distillation), https://arxiv.org/abs/2003.11142; DARTS (the auxiliary head's loss),
https://arxiv.org/abs/1806.09055
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from supernets.networks.base import Supernet
from supernets.runtime.device import autocast
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
    aux_weight: float = 0.0,
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
        drop_path: Rate of drop path, in the sense of the supernet's ``forward``; likewise.
        distills: Whether the paths after the first learn from its logits instead of ``y``.
        teacher_logits: (N, num_classes) to learn from beside ``y``, or None.
        kd_ratio: Weight of the loss against ``teacher_logits``.
        aux_weight: Weight of the loss of the auxiliary head, which learns what the path learns but
            for ``teacher_logits``; if positive, the supernet needs such a head.
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
        labels, smoothing = (y, label_smoothing) if soft_labels is None else (soft_labels, 0.0)
        rates = {"dropout": 0.0, "drop_path": 0.0}
        if not is_student:
            rates = {"dropout": dropout, "drop_path": drop_path}
        auxiliary_logits: Tensor | None = None
        with autocast(x.device, amp):  # logits are (N, num_classes)
            if aux_weight > 0:
                logits, auxiliary_logits = supernet.forward_with_auxiliary(x, arch, **rates)
            else:
                logits = supernet(x, arch, **rates)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        if auxiliary_logits is not None:
            loss = loss + aux_weight * F.cross_entropy(
                auxiliary_logits.float(), labels, label_smoothing=smoothing
            )
        if not is_student:
            if teacher_logits is not None:
                loss = loss + kd_ratio * F.cross_entropy(logits, teacher_logits.softmax(dim=1))
            if distills:
                soft_labels = logits.detach().softmax(dim=1)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return torch.stack(losses)
