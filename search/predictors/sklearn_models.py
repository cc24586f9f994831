"""scikit-learn regressors on a space's encoding, with WeakNAS's settings.

Paper: Stronger NAS with Weaker Predictors, https://arxiv.org/abs/2102.10490

Differs from the authors' setting in:

1. ``gradient_boosting`` is scikit-learn's, not XGBoost: 300 trees of depth 6 at learning rate 0.1;
   theirs has 1000 of depth 20 at 0.3.
2. ``mlp`` computes in float32; theirs in float64. Predictions of both correlate at 0.9999 or more.
3. Inactive choices are zeros in all encodings; their integers of MobileNet keep what was sampled.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.predictors.base import ExtraInputs, Standardised
from supernets.spaces import Encoding, SearchSpace

#: Architectures predicted at once, to keep an MLP's activations near the processor.
_CHUNK_SIZE = 4096
_MLP_HIDDEN = (1000,) * 4
_SMALL_MLP_HIDDEN = (64,) * 2


class SklearnPredictor:
    """A scikit-learn regressor over ``space.encode_choices``, in float32.

    Args:
        space: Space that encodes the architectures.
        model: Unfitted regressor. Its ``fit`` must start from nothing each time.
        encoding: Encoding of the architectures.
        extra_inputs: Further numbers that the model sees beside the encoding, standardised by those
            that are fitted to; a number that is not finite becomes the least of those. None for no
            further numbers.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: Any,
        encoding: Encoding,
        extra_inputs: ExtraInputs | None = None,
    ) -> None:
        self._space = space
        self._model = model
        self._encoding = encoding
        self._extra_inputs = extra_inputs
        self._standardise = Standardised(np.zeros((1, 0)))

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite and of order one.

        Raises:
            ValueError: If there are no architectures, or not one score for each.
        """
        if not len(choices) or scores.shape != (len(choices),):
            raise ValueError(
                "A fit needs at least one architecture and one score for each, got "
                f"{len(choices)} architectures and scores of shape {scores.shape}."
            )
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            # A hundred epochs are the setting, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # MLPRegressor turns Ctrl-C into this warning and a half-fitted model.
            warnings.filterwarnings("error", "Training interrupted by user", UserWarning)
            if self._extra_inputs is not None:
                self._standardise = Standardised(self._extra_inputs(choices))
            try:
                self._model.fit(self._encode(choices), scores.astype(np.float32))
            except UserWarning as warning:
                raise KeyboardInterrupt from warning

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts scores, shape (num_archs,), on the scale of those fitted."""
        features = self._encode(choices)  # (num_archs, num_features)
        chunks = [
            self._model.predict(features[start : start + _CHUNK_SIZE])
            for start in range(0, len(choices), _CHUNK_SIZE)
        ]
        return np.concatenate(chunks, dtype=np.float64) if chunks else np.empty(0)

    def _encode(self, choices: NDArray[np.int64]) -> NDArray[np.float32]:
        encoded = self._space.encode_choices(choices, self._encoding)
        if self._extra_inputs is None:
            return encoded
        extra = self._standardise(self._extra_inputs(choices))
        return np.hstack([encoded, extra.astype(np.float32)])


def mlp(
    space: SearchSpace,
    seed: int,
    encoding: Encoding = "one-hot",
    extra_inputs: ExtraInputs | None = None,
) -> SklearnPredictor:
    """Builds WeakNAS's default: four hidden layers of 1000, Adam for at most 100 epochs."""
    from sklearn.neural_network import MLPRegressor  # here, as loading takes a second

    model = MLPRegressor(
        hidden_layer_sizes=_MLP_HIDDEN,
        activation="relu",
        solver="adam",
        # As numpy's own double these two would drag every step of a float32 fit into float64.
        learning_rate_init=np.float32(1e-3),
        beta_2=np.float32(0.999),
        alpha=1e-4,
        max_iter=100,
        tol=1e-4,
        n_iter_no_change=10,
        random_state=seed,
    )
    return SklearnPredictor(space, model, encoding, extra_inputs)


def small_mlp(
    space: SearchSpace,
    seed: int,
    encoding: Encoding = "one-hot",
    extra_inputs: ExtraInputs | None = None,
) -> SklearnPredictor:
    """Builds an MLP of two hidden layers of 64 for ensembles, in a hundredth of ``mlp``'s time."""
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(
        hidden_layer_sizes=_SMALL_MLP_HIDDEN,
        learning_rate_init=np.float32(1e-2),  # as above, and so that 200 epochs are enough
        beta_2=np.float32(0.999),
        max_iter=200,
        random_state=seed,
    )
    return SklearnPredictor(space, model, encoding, extra_inputs)


def random_forest(
    space: SearchSpace,
    seed: int,
    encoding: Encoding = "one-hot",
    extra_inputs: ExtraInputs | None = None,
) -> SklearnPredictor:
    """Builds a random forest: 1000 trees of depth at most 10."""
    from sklearn.ensemble import RandomForestRegressor

    # One job: with more, trees are summed in the order they finish and ties break at random. For
    # a few hundred trials it is also the fastest.
    model = RandomForestRegressor(n_estimators=1000, max_depth=10, n_jobs=1, random_state=seed)
    return SklearnPredictor(space, model, encoding, extra_inputs)


def gradient_boosting(
    space: SearchSpace,
    seed: int,
    encoding: Encoding = "one-hot",
    extra_inputs: ExtraInputs | None = None,
) -> SklearnPredictor:
    """Builds boosted trees: 300 of depth at most 6."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=300, max_depth=6, learning_rate=0.1, random_state=seed
    )
    return SklearnPredictor(space, model, encoding, extra_inputs)
