"""What estimators of inherited weights measure with, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from estimators.cli.estimator_options import EstimatorOptions
from estimators.cli.inherited_options import chosen_scores, measuring_inputs, score_units
from supernets.networks.base import Supernet


class FewImages:
    """Loaders that have nothing but one train minibatch."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images
        self.train = self

    def take(self, num_batches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """One minibatch."""
        assert num_batches == 1
        return [(self.images, torch.zeros(len(self.images), dtype=torch.int64))]


def test_equal_images_are_recorded_where_scores_leave_them_out(
    make_supernet: Callable[..., Supernet],
) -> None:
    supernet = make_supernet()
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def settings(name: str) -> dict[str, Any]:
        loaders: Any = FewImages(images)
        return measuring_inputs([name], EstimatorOptions(), supernet, loaders)[1]

    clean = settings("naswot")
    assert "distinct_images" not in clean  # files of before go on
    images[4] = images[1]
    assert settings("naswot") == settings("jacob_cov") == {**clean, "distinct_images": 5}
    assert settings("snip") == settings("synflow") == clean


def test_one_window_serves_all_supernets() -> None:
    options = EstimatorOptions(tse_batches=10, tse_window="0.1epochs")
    (score,) = chosen_scores(["tse_e"], options, [50, 50])
    assert score.window == 5
    with pytest.raises(ValueError, match="epochs differ in length, .*: 4, 5 minibatches; give"):
        chosen_scores(["tse_e"], options, [50, 40])
    units = {"tse_window": 5, "tse_window_unit": "minibatches", "epoch_minibatches": 50}
    assert score_units([score], 50) == units
    assert score_units(chosen_scores(["tse", "macs"], EstimatorOptions(), [50]), 50) == {}
