"""Regressors of scikit-learn on a space's encoding, after WeakNAS's.

Paper: Stronger NAS with Weaker Predictors, https://arxiv.org/abs/2102.10490

Differs from the authors' setting in:

1. ``gradient_boosting`` is scikit-learn's, not XGBoost: 300 trees of depth 6 at learning rate 0.1;
   theirs has 1000 of depth 20 at 0.3.
2. ``mlp`` is one of four whose mean is the predictor of that name (``search.predictors.ensemble``):
   four layers of 192 units at a learning rate of 0.005. Theirs is one of layers of 1000 at 0.001;
   four small ones rank as well in a quarter of the time. All compute in float32, theirs in float64;
   the rankings of both differ in few pairs.
3. Inactive choices are zeros in all encodings; their integers of MobileNet keep what was sampled.
"""

from __future__ import annotations

import warnings
from functools import partial
from pkgutil import resolve_name
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.predictors.base import FeatureFunction, Standardised
from supernets.spaces import Encoding, SearchSpace

#: Architectures predicted at once, to keep an MLP's activations near the processor.
_CHUNK_SIZE = 4096
#: How the warning begins that an MLP's fit makes of Ctrl-C.
_INTERRUPTED = "Training interrupted by user"
#: As NumPy's own doubles these would drag every step of an MLP's float32 fit into float64.
_FLOAT32_ADAM = {"beta_2": np.float32(0.999)}
#: Each model's class, which takes a second to load, and settings.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    # WeakNAS's epochs; narrower layers learn as much at a higher rate
    "mlp": (
        "sklearn.neural_network:MLPRegressor",
        {
            "hidden_layer_sizes": (192,) * 4,
            "learning_rate_init": np.float32(5e-3),
            "max_iter": 100,
            **_FLOAT32_ADAM,
        },
    ),
    # for bo, which fits at every trial: at a rate for which 200 epochs are enough
    "small_mlp": (
        "sklearn.neural_network:MLPRegressor",
        {
            "hidden_layer_sizes": (64,) * 2,
            "learning_rate_init": np.float32(1e-2),
            "max_iter": 200,
            **_FLOAT32_ADAM,
        },
    ),
    # One job: with more, trees are summed in the order they finish and ties break at random. For
    # a few hundred trials it is also the fastest.
    "random_forest": (
        "sklearn.ensemble:RandomForestRegressor",
        {"n_estimators": 1000, "max_depth": 10, "n_jobs": 1},
    ),
    "gradient_boosting": (
        "sklearn.ensemble:GradientBoostingRegressor",
        {"n_estimators": 300, "max_depth": 6, "learning_rate": 0.1},
    ),
}


class SklearnPredictor:
    """A regressor of scikit-learn over ``space.encode_choices``, in float32.

    Args:
        space: Space that encodes the architectures.
        model: Unfitted regressor. Its ``fit`` must start from nothing each time.
        encoding: Encoding of the architectures.
        zero_cost_features: Further numbers that the model sees beside the encoding, standardised by
            those that are fitted to; one that is not finite becomes the least of those. None for no
            further numbers.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: Any,
        encoding: Encoding,
        zero_cost_features: FeatureFunction | None = None,
    ) -> None:
        self._space = space
        self._model = model
        self._encoding = encoding
        self._zero_cost_features = zero_cost_features
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

        if self._zero_cost_features is not None:
            self._standardise = Standardised(self._zero_cost_features(choices))
        features = self._encode(choices)
        with warnings.catch_warnings():
            # A hundred epochs are the setting, converged or not.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # MLPRegressor turns Ctrl-C into this warning and a half-fitted model.
            warnings.filterwarnings("error", _INTERRUPTED, UserWarning)
            try:
                self._model.fit(features, scores.astype(np.float32))
            except UserWarning as error:
                if not str(error).startswith(_INTERRUPTED):  # where all warnings are errors
                    raise
                raise KeyboardInterrupt from error

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
        if self._zero_cost_features is None:
            return encoded
        extra = self._standardise(self._zero_cost_features(choices))
        return np.hstack([encoded, extra.astype(np.float32)])


def sklearn_predictor(
    name: str,
    space: SearchSpace,
    seed: int,
    encoding: Encoding = "one-hot",
    zero_cost_features: FeatureFunction | None = None,
) -> SklearnPredictor:
    """Builds an unfitted predictor.

    Args:
        name: One of ``MODELS``.
        space: Space of the architectures it will be given.
        seed: Makes its fit repeatable; from 0 to 2**32 - 1.
        encoding: Encoding of the architectures.
        zero_cost_features: Further numbers that it sees beside the encoding; None for none.
    """
    kind, settings = MODELS[name]
    model = resolve_name(kind)(**settings, random_state=seed)
    return SklearnPredictor(space, model, encoding, zero_cost_features)


#: Builders of those that are predictors by themselves.
random_forest, gradient_boosting = (
    partial(sklearn_predictor, name) for name in ("random_forest", "gradient_boosting")
)
