"""A score of one's own in a search under a limit: the signal that a fresh network lets through.

    python examples/own_estimator.py

An estimator is any object with a ``name`` and ``estimate(arch) -> Estimate``; higher is better.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from estimators import Estimate
from search import SearchProblem, TrialStore, create_algorithm, run_search
from supernets import Architecture, Constraint, CostModel, Supernet, create_supernet
from supernets.cost.analytic import feasibility_check


class SignalSpread:
    """Scores how far apart the logits of different images are before any training.

    Args:
        supernet: Gives the networks; its own weights are not used.
        images: Some images, (N, C, H, W).
    """

    name = "signal-spread"

    def __init__(self, supernet: Supernet, images: Tensor) -> None:
        self.supernet, self.images = supernet, images

    def estimate(self, arch: Architecture) -> Estimate:
        """Builds the network with the same random weights each time, and runs it once."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            logits = self.supernet.build_subnet(arch).train()(self.images)
        spread = float(logits.std(dim=0).mean())
        return Estimate(score=spread, metrics={"spread": spread}, seconds=0.0)


def main(*, num_trials: int = 20, max_macs: float = 1e6) -> int:
    """Searches, and returns the MACs of what was found."""
    supernet = create_supernet(
        "nasbench201", num_classes=10, channels=4, cells_per_stage=1, input_size=(1, 8, 8)
    )
    costs = CostModel(supernet)
    are_feasible = feasibility_check(costs, [Constraint("macs", maximum=max_macs)])
    problem = SearchProblem(supernet.space, seed=0, are_feasible=are_feasible)
    algorithm = create_algorithm("regularized-evolution", problem, population_size=10)
    estimator = SignalSpread(supernet, torch.rand(32, 1, 8, 8, generator=torch.Generator()))
    with (
        tempfile.TemporaryDirectory() as folder,
        TrialStore.open(Path(folder) / "trials.db", {}, supernet.space) as store,
    ):
        best = run_search(algorithm, estimator, store, num_trials=num_trials, batch_size=1)
    macs = costs.measure(best.arch).macs
    print(f"{supernet.space.format(best.arch)}: spread {best.score:.3f}, {macs:,} MACs.")
    return macs


if __name__ == "__main__":
    main()
