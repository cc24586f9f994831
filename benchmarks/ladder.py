#!/usr/bin/env python3
"""Which reduced training knows the best architectures, per second it takes?

Trains the same architectures of a space whose true accuracies are in a table at several reduced
settings (depth, width, resolution, share of the images, epochs), and correlates what every epoch of
each training says (validation accuracy, validation loss, sums of training losses) with the truth:
among architectures of the true top, evenly spread over its accuracies, and over all that were
trained. Costs stand beside it. Whatever has finished is kept: the same command goes on where it was
stopped, and further settings may be added.

    python benchmarks/ladder.py --space nasbench201 --table nasbench201.csv.gz \
        --column cifar10_test_acc_200ep --data-dir cifar10 --runs runs/ladder \
        --output benchmarks/results/ladder_nasbench201.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hardware import write_result
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata, spearmanr

from estimators import TabularEstimator
from estimators.scores.from_scratch import FromScratchEstimator
from estimators.scores.names import Score
from supernets import CostModel, create_space, create_supernet
from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders
from supernets.spaces import Architecture
from supernets.training.standalone_config import RetrainConfig

#: Architectures of the true top, of which there are so many, and others.
NUM_TOP, SIZE_OF_TOP, NUM_OTHERS = 24, 1000, 12
NUM_VAL, LR = 5000, 0.1
NUM_BOOTSTRAP = 2000


@dataclass(frozen=True)
class Setting:
    """A reduced training: sizes of the network and of the images, number of images, epochs."""

    size: Mapping[str, int]
    image_size: int
    num_train: int
    epochs: int
    batch_size: int = 128


SETTINGS: dict[str, dict[str, Setting]] = {
    "nasbench201": {
        "n5c16r16e1": Setting({"cells_per_stage": 5, "channels": 16}, 16, 22500, 1),
        "n5c16r16e4": Setting({"cells_per_stage": 5, "channels": 16}, 16, 22500, 4),
        "n1c16r16e8": Setting({"cells_per_stage": 1, "channels": 16}, 16, 22500, 8),
        "n3c16r16e5": Setting({"cells_per_stage": 3, "channels": 16}, 16, 22500, 5),
        "n1c16r32e3": Setting({"cells_per_stage": 1, "channels": 16}, 32, 22500, 3),
        "n3c8r32e3": Setting({"cells_per_stage": 3, "channels": 8}, 32, 22500, 3),
        "n5c16r32e2": Setting({"cells_per_stage": 5, "channels": 16}, 32, 22500, 2),
    },
    "nasbench_macro": {
        "c32r16e3": Setting({"stem_channels": 32}, 16, 22500, 3),
        "c16r16e5": Setting({"stem_channels": 16}, 16, 22500, 5),
        "c8r16e8": Setting({"stem_channels": 8}, 16, 22500, 8),
        "c16r32e2": Setting({"stem_channels": 16}, 32, 22500, 2),
        "c32r32e1": Setting({"stem_channels": 32}, 32, 22500, 1),
    },
}


def main() -> None:
    """Trains what is not there yet, then writes the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--space", required=True, choices=SETTINGS)
    add("--table", type=Path, required=True)
    add("--column", required=True)
    add("--data-dir", type=Path, required=True)
    add("--runs", type=Path, required=True, help="folder of all trainings")
    add("--output", type=Path, help="without it, no result is written")
    add("--settings", nargs="+", help="train these, in this order (default: all)")
    add("--jobs", type=int, default=2, help="trainings at a time, one thread each")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    space = create_space(args.space)
    arch_column = {"nasbench201": "arch_str"}.get(args.space, "arch")
    truth = TabularEstimator.from_csv(
        args.table, space, arch_column=arch_column, value_column=args.column
    ).values
    archs = choose(truth)
    names = args.settings or list(SETTINGS[args.space])
    tasks = [
        (args.space, name, args.data_dir, args.runs, space.format(arch))
        for name, arch in product(names, archs)
    ]
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for name, notation, seconds in pool.imap(train, tasks, chunksize=1):
            print(f"{name} {notation} {seconds:.1f} s", file=sys.stderr, flush=True)
    if args.output is not None:
        write_result(args.output, compare(args, archs, truth))


def choose(truth: Mapping[Architecture, float]) -> list[Architecture]:
    """The architectures that are trained: evenly spread over the top's accuracies, and others."""
    ranked = sorted(truth, key=lambda arch: -truth[arch])
    top, rest = ranked[:SIZE_OF_TOP], ranked[SIZE_OF_TOP:]
    accuracies = np.array([truth[arch] for arch in top])
    chosen: list[int] = []
    for wanted in np.linspace(accuracies[0], accuracies[-1], NUM_TOP):
        order = np.argsort(np.abs(accuracies - wanted), kind="stable")
        chosen.append(next(int(i) for i in order if int(i) not in chosen))
    rng = np.random.default_rng(0)
    others = rng.choice(len(rest), NUM_OTHERS, replace=False)
    return [top[i] for i in sorted(chosen)] + [rest[i] for i in sorted(others)]


@cache
def loaders_of(data_dir: Path, image_size: int, num_train: int, batch_size: int) -> Loaders:
    """The data with so many of the train images, the same share of each class but for chance."""
    data = DataConfig("folder", data_dir=data_dir, image_size=image_size, num_val=NUM_VAL)
    loaders = create_loaders(data, batch_size=batch_size, num_workers=1)
    return loaders.with_fewer_train(num_train)


@cache
def estimator_of(space: str, name: str, data_dir: Path, runs: Path) -> FromScratchEstimator:
    """Trains by a setting, or reads what was trained."""
    setting = SETTINGS[space][name]
    side = setting.image_size
    supernet = create_supernet(space, num_classes=10, input_size=(3, side, side), **setting.size)
    folder = runs / space / name
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RetrainConfig(epochs=setting.epochs, lr=LR, amp=True)
    loaders = loaders_of(data_dir, side, setting.num_train, setting.batch_size)
    return FromScratchEstimator(supernet, loaders, recipe, folder, score=Score("val_acc"))


def train(task: tuple[str, str, Path, Path, str]) -> tuple[str, str, float]:
    """Trains one architecture, unless that was done; in a process of its own."""
    space, name, data_dir, runs, notation = task
    torch.set_num_threads(1)
    estimator = estimator_of(space, name, data_dir, runs)
    return name, notation, estimator.estimate(create_space(space).parse(notation)).seconds


def compare(
    args: argparse.Namespace, archs: Sequence[Architecture], truth: Mapping[Architecture, float]
) -> dict[str, Any]:
    """What every setting says of the architectures, and how that agrees with the truth."""
    space = create_space(args.space)
    true = np.array([truth[arch] for arch in archs])
    settings = {}
    for name, setting in SETTINGS[args.space].items():
        folder = args.runs / args.space / name
        if not folder.is_dir():
            continue
        estimator = estimator_of(args.space, name, args.data_dir, args.runs)
        if not all(estimator.is_finished(arch) for arch in archs):
            print(f"{name} is left out: not all of it is trained", file=sys.stderr)
            continue
        estimates = [estimator.estimate(arch) for arch in archs]
        curves = {
            curve: np.array([estimate.curves[curve] for estimate in estimates])
            for curve in ("train_loss", "val_top1", "val_loss")
        }  # each (num_archs, num_epochs)
        seconds = np.array([estimate.seconds for estimate in estimates])
        settings[name] = {
            **{"size": dict(setting.size), "image_size": setting.image_size},
            **{"num_train": setting.num_train, "epochs": setting.epochs},
            "batch_size": setting.batch_size,
            "mean_seconds": float(seconds.mean().round(1)),
            "agreement": agreements(true, dict(readings(curves))),
            "seconds": seconds.round(2).tolist(),
            **{curve: values.round(4).tolist() for curve, values in curves.items()},
        }
    size = SETTINGS[args.space][next(iter(settings))].size
    cost_model = CostModel(create_supernet(args.space, num_classes=10, **size))
    costs = [cost_model.measure(arch) for arch in archs]
    of_costs = {
        "live_macs": np.array([float(cost.macs) for cost in costs]),
        "params": np.array([float(cost.params) for cost in costs]),
    }
    pairs = {
        f"{one} and {other}": agreements(true, dict(together(settings[one], settings[other])))
        for one, other in combinations(settings, 2)
    }
    return {
        **{"note": args.note, "space": args.space, "column": args.column},
        "recipe": {
            **{"num_val": NUM_VAL, "lr": LR, "schedule": "cosine to 0, Nesterov 0.9"},
            "arithmetic": "bfloat16 autocast",
        },
        "num_top": NUM_TOP,
        "size_of_top": SIZE_OF_TOP,
        "architectures": [space.format(arch) for arch in archs],
        "truth": true.tolist(),
        "costs": agreements(true, of_costs),
        "settings": settings,
        "pairs": pairs,
    }


def together(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Sums of ranks by two settings: by their ends, and by an end and the first epoch."""
    ends = [np.array(setting["val_loss"])[:, -1] for setting in (one, other)]
    firsts = [np.array(setting["val_loss"])[:, 0] for setting in (one, other)]
    for name, losses in (
        ("val_loss of both", ends),
        ("val_loss, of the first after an epoch", [firsts[0], ends[1]]),
        ("val_loss, of the second after an epoch", [ends[0], firsts[1]]),
    ):
        yield name, sum((rankdata(-loss) for loss in losses), np.zeros(len(losses[0])))


def readings(
    curves: Mapping[str, NDArray[np.float64]],
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Scores after every epoch, higher is better, (num_archs,) each."""
    num_epochs = curves["val_top1"].shape[1]
    for epoch in range(1, num_epochs + 1):
        yield f"val_acc@{epoch}", curves["val_top1"][:, epoch - 1]
        yield f"val_loss@{epoch}", -curves["val_loss"][:, epoch - 1]
        yield f"tse@{epoch}", -curves["train_loss"][:, :epoch].sum(axis=1)
        if epoch > 1:
            yield f"tse_e@{epoch}", -curves["train_loss"][:, epoch - 1]


def agreements(
    true: NDArray[np.float64], scores: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, Any]]:
    """Rank correlations of each score with the truth among the top and over all, with intervals.

    Intervals are percentiles of 95 % over architectures drawn with replacement; they are the same
    draws for all scores.
    """
    parts = {"top": np.arange(NUM_TOP), "all": np.arange(len(true))}
    found: dict[str, dict[str, Any]] = {}
    for score, values in scores.items():
        found[score] = {}
        for part, rows in parts.items():
            rng = np.random.default_rng(0)
            draws = [rng.choice(rows, len(rows)) for _ in range(NUM_BOOTSTRAP)]
            correlations = [spearmanr(true[draw], values[draw])[0] for draw in draws]
            low, high = np.nanpercentile(correlations, [2.5, 97.5])
            found[score][part] = {
                "spearman": round(float(spearmanr(true[rows], values[rows])[0]), 3),
                "interval": [round(float(low), 3), round(float(high), 3)],
                "kendall": round(float(kendalltau(true[rows], values[rows])[0]), 3),
            }
    return found


if __name__ == "__main__":
    main()
