"""The scores of a ranking: the same for all its supernets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from estimators.scores.multi_score_factory import score_of
from estimators.scores.names import Score
from estimators.scores.settings import MultiScoreSettings


def common_scores(
    names: Sequence[str],
    settings: MultiScoreSettings,
    epoch_batches: Sequence[int],
    own: Collection[str] = (),
) -> list[Score]:
    """Builds the scores that subnets are compared by, with the window of TSE-E in minibatches.

    Args:
        names: Names of the scores.
        settings: Settings of those built in.
        epoch_batches: Minibatches of an epoch of each supernet.
        own: Those of these names that are scores of one's own.

    Raises:
        ValueError: If the window is too long, or is not the same for all supernets.
    """
    found = [
        [
            Score(name, is_own=True) if name in own else score_of(name, settings, each)
            for name in names
        ]
        for each in epoch_batches
    ]
    windows = {score.window for scores in found for score in scores if score.window is not None}
    if len(windows) > 1:
        raise ValueError(
            "The supernets' epochs differ in length, and with them the window of tse_e: "
            f"{', '.join(map(str, sorted(windows)))} minibatches; give --tse-window in minibatches."
        )
    return found[0]


def score_units(scores: Sequence[Score], epoch_batches: int) -> dict[str, Any]:
    """Returns plain settings of the scores of curves: what they are computed with, and its unit."""
    found: dict[str, Any] = {}
    for score in scores:
        if score.name == "tse_e":
            found |= {"tse_window": score.window, "tse_window_unit": "minibatches"}
        if score.name == "tse_ema":
            found |= {"tse_gamma": score.gamma, "tse_gamma_unit": "minibatch"}
    return {**found, "epoch_minibatches": epoch_batches} if found else {}
