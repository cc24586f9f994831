"""A predictor of one's own at work: what it predicts is checked, as nothing is ranked by nan.

The library's own predictors are held to the same by the contract of all predictors, in tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from supernets.runtime.own_code import kind_of, refuse_own, running_own
from supernets.spaces import SearchSpace

if TYPE_CHECKING:
    from search.predictors.base import Predictor
    from search.predictors.definition import PredictorDefinition

Floats = NDArray[np.float64]


def build_own(
    definition: PredictorDefinition, space: SearchSpace, seed: int, seen: Mapping[str, Any]
) -> Predictor:
    """Builds an unfitted predictor of one's own.

    Args:
        definition: Its definition.
        space: Space of the architectures.
        seed: Makes its fit repeatable.
        seen: What it is given by name.

    Raises:
        OwnCodeError: If that fails, or what is built has no ``fit`` and ``predict``.
    """
    what, build = f"Predictor {definition.name!r}", definition.builder
    given = ", ".join(["space", "seed", *(f"{name}=…" for name in seen)])
    advice = f"it is built by build({given})"
    with running_own(what, build, doing="could not be built", advice=advice):
        predictor = build(space, seed, **seen)
    for name in ("fit", "predict"):
        if not callable(getattr(predictor, name, None)) or isinstance(predictor, type):
            expected = "must be an object with fit(choices, scores) and predict(choices)"
            refuse_own(what, build, expected, kind_of(predictor))
    return predictor


class CheckedPredictor:
    """A predictor of one's own, whose faults are one line each.

    Args:
        predictor: The predictor.
    """

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self._what = f"Predictor {type(predictor).__name__}"

    def fit(self, choices: NDArray[np.int64], scores: Floats) -> None:
        """Fits it, as ``Predictor.fit``.

        Raises:
            OwnCodeError: If it fails.
        """
        with self._running(f"failed in fit, to {len(choices)} scores"):
            self._predictor.fit(choices, scores)

    def predict(self, choices: NDArray[np.int64]) -> Floats:
        """Predicts scores, (num_archs,).

        Raises:
            OwnCodeError: If it fails, or predicts what are not as many finite numbers.
        """
        with self._running(f"failed in predict, of {len(choices)} architectures"):
            predicted = self._predictor.predict(choices)
        return self._checked("numbers from predict", predicted, len(choices))

    def predict_with_std(self, choices: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Predicts scores and their deviations, both (num_archs,).

        Raises:
            OwnCodeError: If it fails, or predicts what are not as many finite numbers.
        """
        with self._running(f"failed in predict_with_std, of {len(choices)} architectures"):
            found = self._predictor.predict_with_std(choices)
        if not isinstance(found, tuple) or len(found) != 2:
            expected = "must return a tuple of means and deviations from predict_with_std"
            refuse_own(self._what, self._predictor, expected, kind_of(found))
        mean, std = (
            self._checked(f"{which} from predict_with_std", each, len(choices))
            for which, each in zip(("means", "deviations"), found, strict=True)
        )
        if (std < 0).any():
            expected = "must return deviations of at least 0 from predict_with_std"
            refuse_own(self._what, self._predictor, expected, f"{std.min():g}")
        return mean, std

    def _running(self, doing: str) -> AbstractContextManager[None]:
        advice = "what was measured is kept: mend it and run the same again"
        return running_own(self._what, self._predictor, doing=doing, advice=advice)

    def _checked(self, numbers: str, predicted: Any, num_archs: int) -> Floats:
        """What was predicted as an array (num_archs,) of finite numbers."""
        expected = f"must return {num_archs} {numbers}, one for each architecture"
        try:
            values = np.asarray(predicted)
        except (ValueError, TypeError, RuntimeError):  # ragged lists, tensors with gradients
            values = np.asarray(None)
        if values.dtype.kind not in "fiub" or values.shape != (num_archs,):
            refuse_own(self._what, self._predictor, expected, kind_of(predicted))
        found = values.astype(np.float64, copy=False)
        unusable = found[~np.isfinite(found)]
        if len(unusable):
            came = f"{unusable[0]} for {len(unusable)} of them"
            advice = "predict a finite number for every architecture"
            refuse_own(self._what, self._predictor, expected, came, advice)
        return found
