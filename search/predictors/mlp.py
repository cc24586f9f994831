"""A multi-layer perceptron for regression in NumPy, to the bit that of scikit-learn.

It does what ``sklearn.neural_network.MLPRegressor`` does with ReLU, Adam and float32, operation by
operation and with the same random numbers, in buffers that are used again and in pieces that stay
near the processor. A search that waits for its predictor waits half as long, and does not load
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Of Adam: the decays of both moments, and what keeps the second from being divided by at zero. As
#: NumPy's own double the second would drag every step of a float32 fit into float64.
_BETA_1, _BETA_2, _EPSILON = 0.9, np.float32(0.999), 1e-8
#: Decay of the weights.
_ALPHA = 1e-4
#: Epochs without an improvement of the loss by the tolerance after which a fit ends.
_PATIENCE, _TOLERANCE = 10, 1e-4
_MAX_BATCH = 200
#: Weights that are updated at once; all that a step reads and writes of them fits in a cache.
_PIECE = 65_536


class MLPRegressor:
    """Hidden layers with ReLU, fitted by Adam to the squared error, with weight decay.

    Args:
        hidden_layer_sizes: Widths of the hidden layers.
        learning_rate_init: Learning rate.
        max_iter: Epochs after which a fit ends, converged or not.
        random_state: Seed that makes a fit repeatable; from 0 to 2**32 - 1.
    """

    def __init__(
        self,
        *,
        hidden_layer_sizes: Sequence[int],
        learning_rate_init: float,
        max_iter: int,
        random_state: int,
    ) -> None:
        self._hidden, self._seed = tuple(hidden_layer_sizes), random_state
        self._lr, self._max_epochs = np.float32(learning_rate_init), max_iter
        #: Of each layer, (num_inputs, num_outputs).
        self.weights: list[Floats] = []
        self._biases: list[Floats] = []
        self._gradients: list[Floats] = []  # of the weights, written again in every step
        #: Features that it was fitted to, by scikit-learn's name.
        self.n_features_in_ = 0

    def fit(self, features: Floats, scores: Floats) -> None:
        """Fits from nothing to ``scores`` (num_archs,) of ``features`` (num_archs, num_features).

        Raises:
            ValueError: If the weights come out infinite.
        """
        rng = np.random.RandomState(self._seed)
        self.weights, self._biases, self.n_features_in_ = [], [], features.shape[1]
        widths = [features.shape[1], *self._hidden, 1]
        for fan_in, fan_out in zip(widths, widths[1:], strict=False):
            bound = np.sqrt(6.0 / (fan_in + fan_out))
            self.weights.append(_float32(rng.uniform(-bound, bound, (fan_in, fan_out))))
            self._biases.append(_float32(rng.uniform(-bound, bound, fan_out)))
        adam = _Adam([*self.weights, *self._biases], self._lr)
        self._gradients = [np.empty_like(weights) for weights in self.weights]
        targets, num_archs = scores[:, None], len(features)
        batch_size = min(_MAX_BATCH, num_archs)
        order = np.arange(num_archs)
        best_loss: Any = np.inf
        num_stale = 0
        for _ in range(self._max_epochs):
            shuffled = np.arange(num_archs)
            rng.shuffle(shuffled)
            order = order[shuffled]
            total: Any = 0.0
            for start in range(0, num_archs, batch_size):
                rows = order[start : start + batch_size]
                total += self._step(features[rows], targets[rows], adam) * len(rows)
            loss = total / num_archs
            num_stale = num_stale + 1 if loss > best_loss - _TOLERANCE else 0
            best_loss = min(best_loss, loss)
            if num_stale > _PATIENCE:
                break
        self._gradients.clear()
        if not all(np.isfinite(array).all() for array in (*self.weights, *self._biases)):
            raise ValueError("A fit came to weights that are not finite; are the inputs large?")

    def predict(self, features: Floats) -> Floats:
        """Predicts scores, (num_archs,), of features (num_archs, num_features)."""
        buffers: dict[tuple[int, int], list[Floats]] = {}
        x = features
        for i, (weights, bias) in enumerate(zip(self.weights, self._biases, strict=True)):
            shape = len(x), weights.shape[1]
            # one buffer is read while another of its shape is written
            pair = buffers.setdefault(shape, [np.empty(shape, np.float32) for _ in range(2)])
            out = pair[i % 2]
            np.matmul(x, weights, out=out)
            out += bias
            if i < len(self._hidden):
                np.maximum(out, 0, out=out)
            x = out
        return x.ravel()

    def _step(self, x: Floats, y: Floats, adam: _Adam) -> Any:
        """Takes one step of Adam on a minibatch, and returns its loss before that."""
        layers = [x]  # what each layer sees, and the output
        for i, (weights, bias) in enumerate(zip(self.weights, self._biases, strict=True)):
            out = layers[-1] @ weights
            out += bias
            if i < len(self._hidden):
                np.maximum(out, 0, out=out)
            layers.append(out)
        loss = 0.5 * np.average((y - layers[-1]) ** 2, axis=0).mean()
        flat = [weights.ravel() for weights in self.weights]
        loss += (0.5 * _ALPHA) * sum(np.dot(w, w) for w in flat) / len(x)
        bias_gradients: list[Floats] = []
        delta = layers[-1] - y
        for i in reversed(range(len(self.weights))):
            np.matmul(layers[i].T, delta, out=self._gradients[i])
            bias_gradients.append(np.sum(delta, axis=0) / len(x))
            if i:
                delta = delta @ self.weights[i].T
                delta[layers[i] == 0] = 0
        decayed = [(gradient, len(x)) for gradient in self._gradients]
        adam.update([*decayed, *((gradient, None) for gradient in reversed(bias_gradients))])
        return loss


class _Adam:
    """Adam on arrays in place, in pieces.

    Paper: Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980

    Args:
        arrays: What is fitted, contiguous.
        lr: Learning rate.
    """

    def __init__(self, arrays: Sequence[Floats], lr: np.float32) -> None:
        self._arrays = [array.reshape(-1) for array in arrays]
        self._first = [np.zeros_like(array) for array in self._arrays]
        self._second = [np.zeros_like(array) for array in self._arrays]
        self._lr, self._num_steps = lr, 0
        self._spare, self._other = np.empty((2, _PIECE), np.float32)

    def update(self, gradients: Sequence[tuple[Floats, int | None]]) -> None:
        """Takes a step.

        Args:
            gradients: Gradient of each array, which is used up. With a number it is the sum over
                so many samples, which the decay of the weights is still to be added to.
        """
        self._num_steps += 1
        t = self._num_steps
        lr = self._lr * np.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
        for array, first, second, (gradient, num) in zip(
            self._arrays, self._first, self._second, gradients, strict=True
        ):
            flat = gradient.reshape(-1)
            for start in range(0, len(array), _PIECE):
                part = slice(start, start + _PIECE)
                self._update(array[part], first[part], second[part], flat[part], lr, num)

    def _update(self, w: Floats, m: Floats, v: Floats, g: Floats, lr: Any, num: int | None) -> None:
        spare, other = self._spare[: len(w)], self._other[: len(w)]
        if num is not None:
            g += np.multiply(_ALPHA, w, out=spare)
            g /= num
        m *= _BETA_1
        m += np.multiply(1 - _BETA_1, g, out=spare)
        v *= _BETA_2
        np.square(g, out=spare)
        v += np.multiply(1 - _BETA_2, spare, out=spare)
        np.sqrt(v, out=spare)
        spare += _EPSILON
        np.multiply(-lr, m, out=other)
        other /= spare
        w += other


def _float32(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
