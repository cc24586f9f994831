"""Does a score rank your subnets as training them does? Compares cheap scores with the truth.

    python examples/rank_scores.py runs/example

The truth here is what the networks of the same cells reach when each is trained alone. It takes
about two minutes on two CPU cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from estimators import (
    ComparisonSettings,
    FromScratchSettings,
    MultiScoreSettings,
    RankedSupernet,
    create_estimator,
    rank_scores,
)
from supernets import (
    DataConfig,
    NASBench201Settings,
    TrainConfig,
    TrainJob,
    create_loaders,
    load_supernet,
    train,
)


def main(output: Path, *, epochs: int = 20, num_archs: int = 16) -> dict[str, float]:
    """Returns the rank correlation of each score with the truth."""
    job = TrainJob(
        "nasbench201",
        settings=NASBench201Settings(channels=4, cells_per_stage=1),
        data=DataConfig("digits"),
        config=TrainConfig(epochs=epochs, lr=0.05, num_probes=0),
    )
    supernet = load_supernet(train(job, output / "supernet", resume=None).checkpoint)
    loaders = create_loaders("digits", batch_size=64)
    rng = np.random.default_rng(0)
    archs = list({supernet.space.sample(rng): None for _ in range(num_archs)})

    (output / "alone").mkdir(exist_ok=True)
    alone = create_estimator(
        "from_scratch",
        FromScratchSettings(epochs=epochs, score="val_acc", folder=output / "alone"),
        supernet=supernet,
        data=loaders,
    )
    truth = {arch: alone.estimate(arch).score for arch in archs}
    ranking = rank_scores(
        [RankedSupernet(supernet, loaders)],
        archs,
        truth,
        ["tse", "val_acc", "macs", "params"],
        settings=MultiScoreSettings(num_batches=20, lr=0.01),
        comparison=ComparisonSettings(top_k=3, num_bootstrap=200),
        output=output / "rank",
    )
    for name, value in ranking.spearman.items():
        print(f"{name:10} {value:6.2f}")
    print(f"The report is {output / 'rank' / 'report.html'}.")
    return dict(ranking.spearman)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example"))
