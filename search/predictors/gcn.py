"""A graph convolutional network on the cells of an architecture.

Paper: Neural Predictor for Neural Architecture Search, https://arxiv.org/abs/1912.00848

Differs from the paper in:

1. Labels are standardised by whoever fits it, and the output is linear; theirs is an accuracy
   through a sigmoid.
2. Settings are the paper's for NAS-Bench-101, for all spaces: three layers, and a width chosen by
   the number of labels. A chain of blocks, which is the paper's second space, has 18 layers there,
   through which a vertex learns its place; here the options of each decision have ids of their own.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from supernets.spaces import SearchSpace

Loss = Literal["mse", "bce"]

#: Width of the graph convolutions by the number of labels it was tuned for.
WIDTHS = {43: 48, 86: 72, 129: 96, 172: 144, 334: 210, 860: 320}
LEARNING_RATES: dict[Loss, float] = {"mse": 1e-4, "bce": 2e-4}

_NUM_LAYERS = 3
_NUM_HIDDEN = 128  # of the linear layer before the output
_DROPOUT = 0.1
_WEIGHT_DECAY = 1e-3
_BATCH_SIZE = 10
_CHUNK_SIZE = 1024  # architectures predicted at once


class GCNPredictor:
    """Directed graph convolutions, their mean over the vertices, and two linear layers.

    A layer is ``1/2 relu(A+ X W+) + 1/2 relu(A- X W-)`` of the vertices' states ``X``, where
    ``A+`` and ``A-`` are the adjacency matrix and its transpose, both with self-loops and rows that
    sum to 1. Adam minimises the loss on minibatches of 10, its learning rate falling to 0 as a
    cosine.

    A fit depends on its labels and the seed alone, on the same processor with the same number of
    threads, and leaves the global random state of torch as it was.

    Args:
        space: Space of the architectures, whose ``to_graphs`` is what is seen of them.
        seed: Makes the fit repeatable; from 0 to 2**32 - 1.
        loss: ``"mse"`` makes it a regression; ``"bce"`` a classifier, to be fitted to labels 0 and
            1, that predicts the probability of a 1.
        width: Width of the graph convolutions; by default that of the nearest number of labels in
            ``WIDTHS``.
        learning_rate: Learning rate at the beginning; by default 1e-4 for a regression, 2e-4 for a
            classifier.
        num_epochs: Passes over the labels.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        *,
        loss: Loss = "mse",
        width: int | None = None,
        learning_rate: float | None = None,
        num_epochs: int = 300,
    ) -> None:
        if loss not in LEARNING_RATES:
            raise ValueError(f"Unknown loss {loss!r}; choose from {', '.join(LEARNING_RATES)}.")
        if width is not None and width < 1:
            raise ValueError(f"width must be at least 1, got {width}.")
        if learning_rate is not None and not learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {learning_rate}.")
        if num_epochs < 1:
            raise ValueError(f"num_epochs must be at least 1, got {num_epochs}.")
        self._space = space
        self._seed = seed
        self._loss = loss
        self._width = width
        self._learning_rate = LEARNING_RATES[loss] if learning_rate is None else learning_rate
        self._num_epochs = num_epochs
        self._network: _Network | None = None

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        """Fits from nothing to ``scores`` of shape (num_archs,), finite and of order one.

        Raises:
            ValueError: If there are no architectures, not one score for each, or a score that is no
                label of a classifier.
        """
        if not len(choices) or scores.shape != (len(choices),):
            raise ValueError(
                "A fit needs at least one architecture and one score for each, got "
                f"{len(choices)} architectures and scores of shape {scores.shape}."
            )
        if self._loss == "bce" and not np.isin(scores, (0, 1)).all():
            raise ValueError(
                "A classifier is fitted to labels 0 and 1, got scores from "
                f"{scores.min()} to {scores.max()}."
            )
        graphs = read_graphs(self._space, choices)
        # The output, which every graph has, is the greatest id of a space.
        num_ops = int(graphs.ops.max()) + 1
        width = self._width or _nearest_width(len(choices))
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed, which would seed the accelerators as well
            torch.default_generator.manual_seed(self._seed)
            network = _Network(num_ops, width)
            self._train(network, graphs, torch.from_numpy(scores.astype(np.float32)))
        self._network = network.eval()

    def _train(self, network: _Network, graphs: Graphs, labels: Tensor) -> None:
        """Minimises the loss with torch's current random state."""
        loss_function = F.mse_loss if self._loss == "mse" else F.binary_cross_entropy_with_logits
        optimizer = torch.optim.Adam(
            network.parameters(), lr=self._learning_rate, weight_decay=_WEIGHT_DECAY, fused=True
        )
        for epoch in range(self._num_epochs):
            for group in optimizer.param_groups:
                cosine = math.cos(math.pi * epoch / self._num_epochs)
                group["lr"] = self._learning_rate * (1 + cosine) / 2
            order = torch.randperm(len(labels))
            shuffled, targets = graphs.select(order), labels[order]
            for start in range(0, len(labels), _BATCH_SIZE):
                rows = slice(start, start + _BATCH_SIZE)
                loss = loss_function(network(shuffled.select(rows)), targets[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Predicts scores, or probabilities of a 1, shape (num_archs,).

        Raises:
            ValueError: If nothing was fitted before.
        """
        if self._network is None:
            raise ValueError("There is nothing to predict with; call fit first.")
        predicted = [np.empty(0)]
        for start in range(0, len(choices), _CHUNK_SIZE):
            graphs = read_graphs(self._space, choices[start : start + _CHUNK_SIZE])
            with torch.inference_mode():
                outputs = self._network(graphs)
                outputs = outputs.sigmoid() if self._loss == "bce" else outputs
            predicted.append(outputs.double().numpy())
        return np.concatenate(predicted)


class Graphs(NamedTuple):
    """Graphs of up to V vertices as one batch."""

    ops: Tensor  # (num_archs, V) ids, negative for padding
    propagation: Tensor  # (2, num_archs, V, V), A+ and A-

    def select(self, rows: Tensor | slice) -> Graphs:
        """Returns some of the graphs."""
        return Graphs(self.ops[rows], self.propagation[:, rows])


def read_graphs(space: SearchSpace, choices: NDArray[np.int64]) -> Graphs:
    """Builds the graphs of choices (num_archs, num_decisions), ready for the network."""
    adjacency, ops = space.to_graphs(choices)
    adjacency = adjacency + np.eye(ops.shape[1], dtype=np.float32)
    both = np.stack([adjacency, adjacency.transpose(0, 2, 1)])
    return Graphs(torch.from_numpy(ops), torch.from_numpy(both / both.sum(axis=3, keepdims=True)))


def directed_convolution(states: Tensor, propagation: Tensor, weights: Tensor) -> Tensor:
    """Applies one layer of graph convolutions.

    Args:
        states: States of the vertices, (num_archs, V, num_inputs).
        propagation: A+ and A-, (2, num_archs, V, V).
        weights: W+ and W-, (2, num_inputs, num_outputs).

    Returns:
        (num_archs, V, num_outputs).
    """
    neighbours = propagation @ states  # (2, num_archs, V, num_inputs)
    outputs = torch.bmm(neighbours.flatten(1, 2), weights).relu()  # (2, num_archs * V, num_outputs)
    return outputs.mean(dim=0).view(*states.shape[:2], -1)


class _Network(nn.Module):
    """Network that maps graphs to one output each, (num_archs,)."""

    def __init__(self, num_ops: int, width: int) -> None:
        super().__init__()
        self._num_ops = num_ops
        widths = [num_ops] + [width] * _NUM_LAYERS
        self._convolutions = nn.ParameterList(
            torch.stack([nn.init.xavier_uniform_(torch.empty(size)) for _ in range(2)])
            for size in zip(widths, widths[1:], strict=False)
        )
        self._dropout = nn.Dropout(_DROPOUT)
        self._hidden = nn.Linear(width, _NUM_HIDDEN, bias=False)
        self._output = nn.Linear(_NUM_HIDDEN, 1)

    def forward(self, graphs: Graphs) -> Tensor:
        # Padding has no features and no neighbours, so that its states stay 0.
        states = (graphs.ops[:, :, None] == torch.arange(self._num_ops)).float()
        for weights in self._convolutions:
            states = directed_convolution(states, graphs.propagation, weights)
            states = self._dropout(states)
        num_vertices = (graphs.ops >= 0).sum(dim=1, keepdim=True)  # (num_archs, 1)
        outputs: Tensor = self._output(self._hidden(states.sum(dim=1) / num_vertices))
        return outputs.squeeze(1)


def _nearest_width(num_labels: int) -> int:
    return WIDTHS[min(WIDTHS, key=lambda tuned: abs(tuned - num_labels))]
