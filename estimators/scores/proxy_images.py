"""What images a zero-cost proxy can tell networks apart by."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from estimators.scores.names import PROXY_SCORES

#: The scores that compare the images of the minibatch with each other.
COMPARES_IMAGES = ("jacob_cov", "naswot")
#: How far apart values of two images may be and they still count as one, of the minibatch's range:
#: two of 255 grey levels.
SAME_IMAGE = 2.5 / 255


def distinct_images(x: Tensor) -> Tensor:
    """Returns the images (N, ...) that differ from all before them, in order; ``x`` if all do.

    Two images differ where a value of theirs does by more than ``SAME_IMAGE`` of the whole range of
    the minibatch: scans of one page and frames of a still scene switch as equal ones do.

    Raises:
        ValueError: If there are not two.
    """
    kept = _first_of_each(x)
    if len(kept) < 2:
        raise ValueError(
            f"{' and '.join(COMPARES_IMAGES)} compare images and need two that differ, got "
            f"{len(x)} of which {len(kept)} {'differs' if len(kept) == 1 else 'differ'}; give a "
            "larger minibatch (--tse-batch-size) or other images."
        )
    return x if len(kept) == len(x) else x[kept]


def _first_of_each(x: Tensor) -> list[int]:
    """Indices of the images (N, ...) that differ from all that were kept before them."""
    if not len(x):
        return []
    rows = x.detach().flatten(1).cpu().float()  # (N, C * H * W)
    limit = SAME_IMAGE * float(rows.max() - rows.min())
    some = rows[:, :: max(1, rows.shape[1] // 64)]  # enough to tell most pairs apart
    near = torch.cdist(some, some, p=torch.inf) <= limit
    kept: list[int] = []
    for i, row in enumerate(rows):
        suspects = [j for j in kept if near[i, j]]
        if not any(float((rows[j] - row).abs().max()) <= limit for j in suspects):
            kept.append(i)
    return kept


def check_minibatch(names: Iterable[str], x: Tensor) -> None:
    """Makes sure that a minibatch says something of a network.

    Args:
        names: Names of the proxies that it is for.
        x: Images (N, C, H, W).

    Raises:
        ValueError: If there is none, or none that the proxies can tell networks apart by: all are
            of a single colour, or several are one and the same.
    """
    chosen = set(names) - {"synflow"}  # which looks at no image
    if not chosen:
        return
    if not len(x):
        raise ValueError("Zero-cost proxies need a minibatch of train images, got none.")
    compares = chosen & set(COMPARES_IMAGES)
    if compares:
        distinct_images(x)
    chosen -= compares
    if not chosen:
        return
    shown = ", ".join(name for name in PROXY_SCORES if name in chosen)
    if x[0, 0].numel() > 1 and (x == x[..., :1, :1]).all():
        raise ValueError(
            f"{shown} cannot tell networks apart by images of a single colour each, as all "
            f"{len(x)} of the minibatch are; give other images, or use synflow."
        )
    if len(x) > 1 and not compares and len(_first_of_each(x)) == 1:
        raise ValueError(
            f"{shown} cannot tell networks apart by a minibatch whose {len(x)} images are all the "
            "same; give other images, or use synflow."
        )
