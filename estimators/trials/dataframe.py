"""Trials as a table of pandas, which is not needed for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.trials.store import Trial
from supernets.spaces import SearchSpace

if TYPE_CHECKING:
    import pandas

_COLUMNS = ("number", "arch", "score", "seconds", "error")


def trials_dataframe(trials: Sequence[Trial], space: SearchSpace) -> pandas.DataFrame:
    """Builds a table with a row per trial, in their order.

    Columns are those of ``trials.csv`` but the position: number, arch in the space's notation,
    score, seconds, error, and every metric that any trial has; a metric named like one of those is
    ``metric_<name>``. What a trial does not have is missing.

    Args:
        trials: Trials, in any order.
        space: Space of their architectures.

    Raises:
        ImportError: If pandas is not installed.

    Example:
        >>> from supernets.spaces import NASBench201Space
        >>> space = NASBench201Space()
        >>> trial = Trial(0, space.architecture([1] * 6), 93.1, {"loss": 0.2}, 1.5, None)
        >>> table = trials_dataframe([trial], space)
        >>> float(table.loss.mean())
        0.2
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "A table of trials needs pandas; install it with pip install 'paceline[pandas]'."
        ) from error
    metrics = dict.fromkeys(name for trial in trials for name in trial.metrics)
    columns = {
        "number": [trial.number for trial in trials],
        "arch": [space.format(trial.arch) for trial in trials],
        "score": [trial.score for trial in trials],
        "seconds": [trial.seconds for trial in trials],
        "error": [trial.error for trial in trials],
        **{
            f"metric_{name}" if name in _COLUMNS else name: [t.metrics.get(name) for t in trials]
            for name in metrics
        },
    }
    return pandas.DataFrame(columns)
