"""Tables of scores from the records of many architectures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.scores.names import CURVE_SCORES, TRAIN_CURVE, VAL_CURVE, Score
from estimators.trials.store import Trial

#: Scores whose whole curve is a feature, and that curve.
WHOLE_CURVES = {"tse": TRAIN_CURVE, "sovl": VAL_CURVE}
Floats = NDArray[np.float64]


def score_table(score: Score, trials: Sequence[Sequence[Trial]]) -> Floats:
    """Computes scores (num_supernets, num_archs), nan for what diverged."""
    return np.array([[score.of(trial.metrics, trial.curves) for trial in each] for each in trials])


def check_measured(path: Path, trials: Iterable[Trial], scores: Iterable[Score]) -> None:
    """Makes sure that stored measurements have what scores are computed from.

    Args:
        path: The store's file, named in error messages.
        trials: The trials in the store; those without any metric were given up.
        scores: The scores.

    Raises:
        ValueError: If a trial lacks something.
    """
    scores = list(scores)
    lengths: dict[str, int] = {}
    for trial in trials:
        if not trial.metrics:
            continue
        for score in scores:
            try:
                score.of(trial.metrics, trial.curves)
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"{path}: trial {trial.number} lacks what {score.name} is computed from "
                    f"({error}); use the file as it was written, or a new --output."
                ) from error
        for name in {TRAIN_CURVE, VAL_CURVE} & trial.curves.keys():
            curve = trial.curves[name]
            if len(curve) != lengths.setdefault(name, len(curve)):
                raise ValueError(
                    f"{path}: curve {name} of trial {trial.number} has {len(curve)} steps, others "
                    f"have {lengths[name]}; use the file as it was written, or a new --output."
                )


def losses_of(trials: Sequence[Trial], name: str) -> Floats:
    """Collects a curve of all trials, (num_archs, num_steps); without it (num_archs, 0)."""
    return np.array([trial.curves.get(name, ()) for trial in trials])


def combined_features(scores: Sequence[Score], trials: Sequence[Trial]) -> dict[str, Floats]:
    """Collects a combined score's features of one supernet, with whole curves for their sums.

    The other scores of a curve of training losses are left out where the curve itself is in.

    Args:
        scores: The scores, each name only once.
        trials: Trials that ``trial_of_scores`` returned, one for each architecture.

    Returns:
        Features by name, shape (num_archs,) or (num_archs, num_steps), higher is better.
    """
    names = {score.name for score in scores}
    features: dict[str, Floats] = {}
    for score in scores:
        if score.name in WHOLE_CURVES:
            features[score.name] = -losses_of(trials, WHOLE_CURVES[score.name])
        elif not ("tse" in names and score.name in CURVE_SCORES):
            (features[score.name],) = score_table(score, [trials])
    return features
