"""Minibatches: what is drawn for which scores, and the same images in those of another size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from estimators.scores.minibatches import draw_minibatches
from estimators.scores.settings import MultiScoreSettings
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet


class FewImages:
    """Loaders that have nothing but one train minibatch."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.train = self

    def take(self, num_batches: int) -> list[tuple[Tensor, Tensor]]:
        """One minibatch."""
        assert num_batches == 1
        return [(self.images, torch.zeros(len(self.images), dtype=torch.int64))]


def test_equal_images_are_recorded_where_scores_leave_them_out(
    make_supernet: Callable[..., Supernet],
) -> None:
    supernet = make_supernet()
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def facts(name: str) -> dict[str, Any]:
        loaders: Any = FewImages(images)
        return draw_minibatches([name], MultiScoreSettings(), supernet, loaders)[1]

    clean = facts("naswot")
    assert "distinct_images" not in clean  # files of before go on
    images[4] = images[1]
    assert facts("naswot") == facts("jacob_cov") == {**clean, "distinct_images": 5}
    assert facts("snip") == facts("synflow") == clean


def test_recalibration_cannot_be_left_out_where_the_supernet_needs_it(
    make_supernet: Callable[..., Supernet], make_loaders: Callable[..., Loaders]
) -> None:
    elastic, plain = make_supernet("mobilenetv3"), make_supernet()
    off, loaders = MultiScoreSettings(num_batches=1, num_recalibrate_batches=0), make_loaders()
    assert draw_minibatches(["val_acc"], off, plain, loaders)[0].recalibrate is None
    assert draw_minibatches(["tse"], off, elastic, loaders)[0].recalibrate is None
    for name in ("val_acc", "val_loss_after"):
        with pytest.raises(ValueError, match="must be at least 1 for a mobilenetv3 supernet"):
            draw_minibatches(["tse", name], off, elastic, loaders)
