#!/usr/bin/env python3
"""Is a cell that gradients found worth more than a random one, both trained from scratch?

Takes the cells that a finished ``search.py --algorithm darts --space darts`` and the like ended
with, random cells of its space and, of a hundred of these, the one with the most parameters. All
are trained alike and tested on images that no one has seen.
Whatever has finished is kept: the same command goes on where it was stopped.

    python search.py --config recipes/cifar10_darts_cells.yaml --output runs/darts ...
    python benchmarks/differentiable_retrain.py --search runs/darts --data-dir DIR \
        --runs runs/darts-retrained --output benchmarks/results/differentiable_retrain.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from hardware import write_result
from search_and_retrain import results_of, run_all, seconds_of

from supernets import Architecture, CostModel, SearchSpace, create_supernet
from supernets.spaces.factory import create_space

NUM_WEIGHED = 100  # random cells of which the heaviest is trained
FOUND, HEAVIEST, RANDOM = "found", "heaviest-random", "random"


def main() -> None:
    """Trains what is not trained yet, then writes the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--search", type=Path, required=True, help="folder of a finished search by gradients")
    add("--data-dir", type=Path, required=True)
    add("--runs", type=Path, required=True, help="folder of all trainings")
    add("--output", type=Path, required=True)
    add("--found", type=int, default=2, help="trainings of the cell found, seeds from 0")
    add("--heaviest", type=int, default=1, help="trainings of the heaviest random one")
    add("--random", type=int, default=5, help="random cells, trained once each")
    add("--random-seed", type=int, default=0, help="of the random cells")
    add("--channels", type=int, default=16)
    add("--layers", type=int, default=8)
    add("--epochs", type=int, default=10, help="of each training")
    add("--lr", type=float, default=0.025)
    add("--batch-size", type=int, default=96)
    add("--num-val", type=int, default=1000, help="training images only watched")
    add("--jobs", type=int, default=2, help="processes at a time, one thread each")
    add("--note", default="", help="what a reader must know, stored with the results")
    args = parser.parse_args()
    for name in ("search", "data_dir", "runs"):  # commands run elsewhere
        setattr(args, name, getattr(args, name).resolve())
    searched = json.loads((args.search / "args.json").read_text(encoding="utf-8"))["args"]
    space = create_space(searched["space"])
    archs = choose(args, space)
    commands = {
        training_name(kind, seed): training_command(args, searched, kind, seed, space.format(arch))
        for kind, group in archs.items()
        for seed, arch in enumerate(group)
        if not (args.runs / training_name(kind, seed) / "subnet" / "subnet.json").exists()
    }
    run_all(args, list(commands.values()), list(commands))
    write_result(args.output, compare(args, archs, space))


def choose(args: argparse.Namespace, space: SearchSpace) -> dict[str, list[Architecture]]:
    """What is trained, an entry for every training."""
    rng = np.random.default_rng(args.random_seed)
    drawn = [space.sample(rng) for _ in range(max(NUM_WEIGHED, args.random))]
    supernet = create_supernet(
        space.name, num_classes=10, channels=args.channels, layers=args.layers
    )
    params = CostModel(supernet).measure_all(space.choices_of(drawn))["params"]
    archs = {
        HEAVIEST: [drawn[int(params[:NUM_WEIGHED].argmax())]] * args.heaviest,
        RANDOM: drawn[: args.random],
    }
    if args.found:
        best = json.loads((args.search / "best.json").read_text(encoding="utf-8"))["best"][0]
        archs[FOUND] = [space.parse(best["architecture"])] * args.found
    return archs


def training_name(kind: str, seed: int) -> str:
    """Name of the folder of a training."""
    return f"{kind}-{seed}"


def training_command(
    args: argparse.Namespace, searched: dict[str, Any], kind: str, seed: int, notation: str
) -> list[str]:
    """Module and arguments of a training from scratch, which continues where it was stopped."""
    output = args.runs / training_name(kind, seed)
    command = [
        "supernets.cli.retrain",
        f"--arch={notation}",
        f"--space={searched['space']}",
        f"--dataset={searched['dataset']}",
        f"--data-dir={args.data_dir}",
        f"--num-val={args.num_val}",
        f"--channels={args.channels}",
        f"--layers={args.layers}",
        "--opt=momentum",
        f"--lr={args.lr}",
        "--weight-decay=3e-4",
        "--clip-grad=5",
        f"--epochs={args.epochs}",
        f"--batch-size={args.batch_size}",
        f"--seed={seed}",
        f"--output={output}",
        "--threads=1",
        "--num-workers=0",
    ]
    if searched["image_size"] is not None:
        command.append(f"--image-size={searched['image_size']}")
    if kind != FOUND:
        command.append("--formats")  # none: only its accuracy is of use
    if (output / "last.pt").exists():
        command.append("--resume")
    return command


def compare(
    args: argparse.Namespace, archs: dict[str, list[Architecture]], space: SearchSpace
) -> dict[str, Any]:
    """Accuracies and costs of all trainings, and what the search was."""
    kinds = {
        kind: {
            "architectures": [space.format(arch) for arch in group],
            **results_of([args.runs / training_name(kind, seed) for seed in range(len(group))]),
        }
        for kind, group in archs.items()
        if group
    }
    found = json.loads((args.search / "best.json").read_text(encoding="utf-8"))
    given = json.loads((args.search / "args.json").read_text(encoding="utf-8"))["args"]
    return {
        "note": args.note,
        "search": {
            "options": {
                name: value
                for name, value in given.items()
                if value is not None and name not in ("data_dir", "output", "config", "table")
            },
            "seconds": seconds_of(args.search),
            "found": found["best"][0],
        },
        "trainings": kinds,
    }


if __name__ == "__main__":
    main()
