"""From a data set to an ordinary network: train a supernet, search it, load what was exported.

    python examples/train_search_export.py runs/example

On two CPU cores it takes under two minutes; the data, 8x8 digits, come with scikit-learn.
"""

from __future__ import annotations

import sys
from pathlib import Path

from estimators import TSESettings
from search import SearchJob, search
from supernets import (
    DataConfig,
    NASBench201Settings,
    TrainConfig,
    TrainJob,
    create_loaders,
    load_subnet,
    train,
)


def main(output: Path, *, epochs: int = 20, num_trials: int = 30) -> float:
    """Trains, searches and exports in a folder; returns the found subnet's test accuracy."""
    job = TrainJob(
        "nasbench201",
        settings=NASBench201Settings(channels=8, cells_per_stage=1),
        data=DataConfig("digits"),
        config=TrainConfig(epochs=epochs, lr=0.05, num_probes=0),
    )
    # Continues what is there, so that the script can be interrupted and run again.
    trained = train(job, output / "supernet", resume=None)
    print(f"{trained.steps} steps; the supernet is {trained.checkpoint}.")

    # Every candidate inherits its weights from the supernet and is trained for 10 minibatches.
    found = search(
        SearchJob(
            supernet=trained.checkpoint,
            algorithm="evolution",
            num_trials=num_trials,
            export=output / "subnet",
        ),
        output / "search",
        estimator=TSESettings(num_batches=10),
    )
    best = found.best[0]
    print(f"Best of {num_trials}: {found.space.format(best.arch)}, score {best.score:.3f}.")

    subnet = load_subnet(output / "subnet").eval()  # a plain nn.Module with its weights
    test = create_loaders("digits", batch_size=64).test
    correct = sum(int((subnet(x).argmax(1) == y).sum()) for x, y in test)
    accuracy = 100 * correct / sum(len(y) for _, y in test)
    print(f"Its test accuracy with inherited weights is {accuracy:.1f} %.")
    return accuracy


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
