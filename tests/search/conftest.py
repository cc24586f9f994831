"""Small spaces and landscapes for the search tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import search
from estimators.trials.store import Trial
from search.algorithms.base import SearchAlgorithm
from search.algorithms.problem import SearchProblem
from search.algorithms.registry import ALGORITHMS
from search.report.recorded_runs import RecordedRun
from search.testing.landscape import DigitSpace, PlantedEstimator
from search.testing.landscape import measure as trials_of
from supernets.cost.analytic import Cost, CostModel
from supernets.networks.factory import create_supernet
from supernets.spaces import SearchSpace

TraceFunction = Callable[[FrameType, str, Any], Any]


class LinearPredictor:
    """Ridge regression on the one-hot encoding: a predictor that costs nothing."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    def fit(self, choices: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
        x = self.space.encode_choices(choices).astype(np.float64)
        self.weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ scores)

    def predict(self, choices: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(self.space.encode_choices(choices) @ self.weights)

    def predict_with_std(
        self, choices: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.predict(choices), np.full(len(choices), 0.1)


@pytest.fixture
def small_space() -> SearchSpace:
    """81 architectures."""
    return DigitSpace(4, 3)


@pytest.fixture
def medium_space() -> SearchSpace:
    """4096 architectures, enumerated."""
    return DigitSpace(6, 4)


@pytest.fixture
def large_space() -> SearchSpace:
    """About 1.7e7 architectures, sampled."""
    return DigitSpace(12, 4)


@pytest.fixture(scope="session")
def mobilenetv3_costs() -> CostModel:
    """Costs of the published supernet of 2.18e19 architectures, from 121 to 566 million MACs."""
    with torch.device("meta"):
        return CostModel(create_supernet("mobilenetv3", num_classes=1000))


@pytest.fixture
def make_digit_space() -> type[DigitSpace]:
    return DigitSpace


@pytest.fixture
def make_estimator() -> type[PlantedEstimator]:
    return PlantedEstimator


@pytest.fixture
def make_linear_predictor() -> type[LinearPredictor]:
    return LinearPredictor


@pytest.fixture(scope="session")
def build_algorithm() -> Callable[..., SearchAlgorithm]:
    """Builds an algorithm by name from settings of its problem, of its class, and its options."""

    def build(name: str, space: SearchSpace, **settings: Any) -> SearchAlgorithm:
        problem, own = (
            {key: settings.pop(key) for key in keys if key in settings}
            for keys in (
                ("seed", "are_feasible", "zero_cost_features", "pool"),
                ("make_predictor", "make_classifier"),
            )
        )
        entry = ALGORITHMS[name]
        return entry.algorithm(SearchProblem(space, **problem), entry.options(**settings), **own)

    return build


@pytest.fixture
def lines_of() -> Callable[..., int]:
    """Counts the lines of this project that a call runs."""
    root = Path(search.__file__).parents[1]
    folders = tuple(f"{root / name}{os.sep}" for name in ("search", "supernets", "estimators"))

    def lines_of(call: Callable[..., object], *args: object) -> int:
        count = 0

        def trace(frame: FrameType, event: str, arg: object) -> TraceFunction | None:
            return trace_line if frame.f_code.co_filename.startswith(folders) else None

        def trace_line(frame: FrameType, event: str, arg: object) -> TraceFunction:
            nonlocal count
            count += event == "line"
            return trace_line

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call(*args)
        finally:
            sys.settrace(before)
        return count

    return lines_of


@pytest.fixture
def measure() -> Callable[..., list[Trial]]:
    """Turns architectures into the trials of a landscape, numbered from ``start``."""
    return trials_of


@pytest.fixture
def make_run(small_space: SearchSpace) -> Callable[..., RecordedRun]:
    """A run of given scores, None for a failure; the i-th architecture is the i-th of the space."""

    def make_run(
        scores: Sequence[float | None],
        seed: int = 0,
        *,
        algorithm: str = "random",
        archs: Sequence[int] | None = None,
        space: SearchSpace = small_space,
        seconds: float = 0.0,
        estimator: str = "tse",
        has_costs: bool = True,
        error: str = "loss is nan",
        **fields: Any,
    ) -> RecordedRun:
        if space.size < 1000:
            every = list(space.enumerate())
        else:
            every = space.architectures(space.sample_choices(50, np.random.default_rng(0)))
        chosen = [every[i] for i in (range(len(scores)) if archs is None else archs)]
        trials = tuple(
            Trial(i, arch, None, {}, seconds, error)
            if score is None
            else Trial(i, arch, score, {estimator: -score, "odd": float("nan")}, seconds, None)
            for i, (arch, score) in enumerate(zip(chosen, scores, strict=True))
        )
        header = {
            "space": space.name,
            "resolution": None,
            "supernet": None,
            "algorithm": {"name": algorithm, "batch_size": 4},
            "estimator": {"name": estimator},
            "seed": seed,
        }
        costs = {arch: Cost(1000 + i, 1_000_000 * (1 + i)) for i, arch in enumerate(every)}
        starts = range(0, len(scores), 4)
        fields = {
            "rounds": tuple(range(start, min(start + 4, len(scores))) for start in starts),
            "costs": costs if has_costs else {},
            "command": f"supernet-search --seed {seed}",
            "versions": {"torch": "2.6.0"},
            **fields,
        }
        return RecordedRun(f"{algorithm}-{seed}", space, header, trials, **fields)

    return make_run
