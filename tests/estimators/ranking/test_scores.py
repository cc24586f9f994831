"""The scores of a ranking of several supernets."""

from __future__ import annotations

import pytest

from estimators.ranking.scores import common_scores, score_units
from estimators.scores.settings import MultiScoreSettings


def test_one_window_serves_all_supernets() -> None:
    settings = MultiScoreSettings(num_batches=10, window="0.1epochs")
    (score,) = common_scores(["tse_e"], settings, [50, 50])
    assert score.window == 5
    with pytest.raises(ValueError, match="epochs differ in length, .*: 4, 5 minibatches; give"):
        common_scores(["tse_e"], settings, [50, 40])
    units = {"tse_window": 5, "tse_window_unit": "minibatches", "epoch_minibatches": 50}
    assert score_units([score], 50) == units
    assert score_units(common_scores(["tse", "macs"], MultiScoreSettings(), [50]), 50) == {}
