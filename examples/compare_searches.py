"""Which search finds good architectures with few measurements: several, on a table, by seeds.

    python examples/compare_searches.py nasbench201.csv.gz cifar10_test_acc_200ep

The table has a column ``arch_str`` of NAS-Bench-201's cells and one of values; without one, cells
are worth what a formula says, so that the script can be tried at once.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from estimators import Estimate, Estimator, TabularEstimator
from search import SearchProblem, TrialStore, create_algorithm, run_search
from supernets import Architecture, SearchSpace, create_space

#: The algorithms, with the settings that differ from their defaults.
ALGORITHMS: Mapping[str, Mapping[str, object]] = {
    "random": {},
    "local-search": {},
    "regularized-evolution": {"population_size": 10},
    "structural-bo": {},
}


class Formula:
    """Says what cells are worth: 3x3 convolutions and short cuts, with less for each after that."""

    name = "formula"

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def estimate(self, arch: Architecture) -> Estimate:
        """Scores a cell by how many of its operations are what."""
        counts = np.bincount(arch.choices, minlength=len(self.space.decisions[0].options))
        worth = dict(zip(self.space.decisions[0].options, np.sqrt(counts), strict=True))
        score = 2 * worth["nor_conv_3x3"] + worth["skip_connect"] + 0.5 * worth["nor_conv_1x1"]
        return Estimate(score=float(score), metrics={}, seconds=0.0)


def compare(
    space: SearchSpace, estimator: Estimator, *, num_trials: int = 50, num_seeds: int = 3
) -> dict[str, list[float]]:
    """Returns the best score after ``num_trials`` of every algorithm, for each seed."""
    best: dict[str, list[float]] = {}
    for name, settings in ALGORITHMS.items():
        best[name] = []
        for seed in range(num_seeds):
            algorithm = create_algorithm(name, SearchProblem(space, seed=seed), **settings)
            header = {"algorithm": name, "seed": seed}
            with (
                tempfile.TemporaryDirectory() as folder,
                TrialStore.open(Path(folder) / "trials.db", header, space) as store,
            ):
                trial = run_search(algorithm, estimator, store, num_trials=num_trials, batch_size=1)
            assert trial.score is not None
            best[name].append(trial.score)
    return best


def main(table: str | None = None, column: str = "", **settings: int) -> dict[str, list[float]]:
    """Compares on a table, or on the formula; prints a line per algorithm."""
    space = create_space("nasbench201")
    estimator: Estimator = (
        Formula(space)
        if table is None
        else TabularEstimator.from_csv(table, space, value_column=column)
    )
    best = compare(space, estimator, **settings)
    for name, scores in best.items():
        print(f"{name:24} {np.mean(scores):8.3f}  ({', '.join(f'{s:.3f}' for s in scores)})")
    return best


if __name__ == "__main__":
    main(*sys.argv[1:3])
