"""``supernet-search``: searches a trained supernet, or a table, for architectures."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from estimators import ESTIMATORS, Estimator
from search.base import SearchAlgorithm, StarvedError
from search.constraints import constraints_within, explained_starvation
from search.estimation import (
    EstimatorOptions,
    check_options,
    flag,
    supernet_estimator,
    table_estimator,
    train_batch_size,
)
from search.factory import (
    ALGORITHM_OPTIONS,
    ALGORITHMS,
    DEFAULT_BATCH_SIZES,
    algorithm_settings,
    create_algorithm,
)
from search.predictors import PREDICTORS
from search.report import plot_trials
from search.runner import SearchError, check_search, check_store, run_search
from search.trials import Trial, TrialStore
from search.weaknas import POOLS, WeakNAS
from supernets.atomic import atomic_write
from supernets.base import Supernet
from supernets.checkpoint import (
    read_training_checkpoint,
    reopen_data,
    supernet_from_checkpoint,
    weights_digest,
)
from supernets.command_line import (
    INTERRUPTED,
    add_amp_option,
    add_config_option,
    add_machine_options,
    fail,
    parse_args,
    prepare_output,
    print_result,
    run_command,
    set_threads,
    write_args,
)
from supernets.cost import METRICS, Constraint, CostModel, feasibility_check
from supernets.data import Loaders
from supernets.device import resolve_device
from supernets.export import check_export_target, check_space, export_subnet, export_summary
from supernets.factory import SPACES, create_supernet, default_amp
from supernets.latency import LatencyTable
from supernets.spaces import ENCODINGS, SearchSpace

PROGRAM = "supernet-search"
#: Trials in ``best.json`` and in the JSON block.
NUM_BEST = 5
#: Of the supernet that stands for a space where only a table is searched, as published.
NUM_CLASSES = {"nasbench201": 10, "mobilenetv3": 1000, "nasnet": 1000, "darts": 10}


def build_parser() -> argparse.ArgumentParser:
    """The options of ``supernet-search``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Search a trained supernet for architectures. "
        "Ctrl-C stops; the same command again continues.",
        allow_abbrev=False,
    )
    add_config_option(parser)
    add = parser.add_argument_group("what to search").add_argument
    add("--supernet", type=Path, metavar="FILE", help="checkpoint of supernet-train")
    add("--space", choices=SPACES, help="needed without --supernet (default: the supernet's)")
    add("--data-dir", type=Path, metavar="DIR", help="where the data is (default: as in training)")
    add("--resolution", type=int, metavar="PX", help="search this one only (default: all)")
    for metric in METRICS:
        unit, example = ("MS", "milliseconds") if metric == "latency" else ("N", "such as 60e6")
        for bound, word in (("min", "least"), ("max", "most")):
            add(
                f"--{bound}-{metric}",
                type=float,
                metavar=unit,
                help=f"{word} {metric} of a subnet, {example} (default: any)",
            )
    add(
        "--latency-table",
        type=Path,
        metavar="FILE",
        help="of supernet-latency; its prediction is a cost of the best (default: none)",
    )

    add = parser.add_argument_group("search").add_argument
    add("--algorithm", choices=ALGORITHMS, default="weaknas", help="(default: weaknas)")
    add("--num-trials", type=int, default=100, metavar="N", help="in the end (default: 100)")
    sizes = ", ".join(f"{size} of {name}" for name, size in DEFAULT_BATCH_SIZES.items())
    add("--batch-size", type=int, metavar="M", help=f"asked for at once (default: {sizes})")
    add("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    add("--predictor", choices=PREDICTORS, help="of weaknas (default: mlp)")
    add("--encoding", choices=ENCODINGS, help="what the predictor sees (default: one-hot)")
    add("--num-initial", type=int, metavar="N", help="random trials (default: 10, evolution: 50)")
    add("--top-n", type=int, metavar="N", help="weaknas draws from these (default: 100)")
    add(
        "--exclude-before-top",
        action="store_const",
        const=True,
        help="weaknas: take seen ones out before cutting the top N (default: after)",
    )
    add(
        "--pool",
        choices=POOLS,
        help="weaknas ranks in large spaces a pool drawn for every batch, or one (default: fresh)",
    )
    add("--pool-size", type=int, metavar="N", help="architectures of a pool (default: 10000)")
    add("--num-parents", type=int, metavar="N", help="best trials evolution uses (default: 10)")
    add("--mutation-prob", type=float, metavar="P", help="of evolution, by decision (default: 0.1)")
    add("--population-size", type=int, metavar="N", help="of regularized-evolution (default: 50)")
    add("--tournament-size", type=int, metavar="N", help="of regularized-evolution (default: 10)")

    add = parser.add_argument_group("estimator").add_argument
    add("--estimator", choices=ESTIMATORS, default="tse", help="(default: tse)")
    add("--tse-batches", type=int, metavar="B", help="extra minibatches of tse (default: 100)")
    add("--tse-batch-size", type=int, metavar="N", help="images in each (default: 64)")
    add("--tse-lr", type=float, metavar="LR", help="learning rate of tse (default: 0.001)")
    add("--val-batches", type=int, metavar="N", help="of 512 images for val_acc (default: all)")
    add(
        "--recalibrate-batches",
        type=int,
        metavar="N",
        help="train minibatches for val_acc's BatchNorm (default: 10 of 200 augmented images where "
        "the supernet needs it, otherwise 0)",
    )
    add("--table", type=Path, metavar="CSV", help="table of architectures and values")
    add("--table-column", metavar="NAME", help="column of values; higher is better")
    add("--arch-column", metavar="NAME", help="column of architectures (default: arch_str)")

    group = parser.add_argument_group("run")
    add = group.add_argument
    add("--output", type=Path, metavar="DIR", help="folder for all files of the run (required)")
    add("--export", type=Path, metavar="DIR", help="export the best subnet there (default: no)")
    add_machine_options(group)
    add_amp_option(group)
    return parser


@dataclass(frozen=True)
class _Trained:
    """What the search reads of a trained supernet."""

    supernet: Supernet
    loaders: Loaders
    digest: str


@dataclass(frozen=True)
class _Job:
    """A search, ready to run."""

    algorithm: SearchAlgorithm
    batch_size: int
    estimator: Estimator
    store: TrialStore
    header: Mapping[str, Any]
    cost_model: CostModel
    constraints: Sequence[Constraint]
    trained: _Trained | None
    device: torch.device


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``supernet-search``; gives back the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(PROGRAM, lambda: _prepare(args))


def _prepare(args: argparse.Namespace) -> Callable[[], int]:
    options = {name: getattr(args, name) for name in ALGORITHM_OPTIONS}
    batch_size = args.batch_size
    if batch_size is None:
        batch_size = DEFAULT_BATCH_SIZES[args.algorithm]
    measuring = EstimatorOptions(
        **{field.name: getattr(args, field.name) for field in fields(EstimatorOptions)}
    )
    _check_options(args, measuring)
    constraints = _constraints(args)
    set_threads(args.threads)
    device = resolve_device(args.device)
    if args.supernet is None:
        with torch.device("meta"):  # only its space and costs are looked at
            supernet = create_supernet(args.space, num_classes=NUM_CLASSES[args.space])
    else:
        checkpoint = read_training_checkpoint(args.supernet)
        check_space(args.space, checkpoint, args.supernet)
        supernet = supernet_from_checkpoint(checkpoint, args.supernet).to(device)
        if checkpoint["train_config"]["channels_last"]:
            supernet.to(memory_format=torch.channels_last)
    num_images = train_batch_size(args.estimator, measuring, supernet)
    space = _searched_space(supernet.space, args.resolution)
    latency = None
    if args.latency_table is not None:
        latency = LatencyTable.load(args.latency_table, supernet)
    cost_model = CostModel(
        supernet, space=space, latency=None if latency is None else latency.predict
    )
    algorithm = create_algorithm(
        args.algorithm,
        space,
        seed=args.seed,
        are_feasible=feasibility_check(cost_model, constraints),
        **options,
    )
    with explained_starvation(cost_model, constraints):
        check_search(algorithm, num_trials=args.num_trials, batch_size=batch_size)
    prepare_output(args.output)
    if args.export is not None:
        check_export_target(args.export)
        prepare_output(args.export.parent)
    trained = None
    if args.supernet is not None:
        loaders = reopen_data(
            checkpoint,
            args.supernet,
            data_dir=args.data_dir,
            batch_size=num_images,
            device=device,
            num_workers=args.num_workers,
        )
        trained = _Trained(supernet, loaders, weights_digest(supernet))
    if args.estimator == "table":
        estimator, settings = table_estimator(measuring, supernet)
    else:
        assert trained is not None
        amp = default_amp(supernet.space.name, device) if args.amp is None else args.amp
        estimator, settings = supernet_estimator(
            args.estimator, measuring, supernet, loaders, device=device, amp=amp
        )
    header = {
        "space": supernet.space.name,
        "resolution": args.resolution,
        "supernet": None if trained is None else trained.digest,
        "algorithm": {
            "name": args.algorithm,
            "batch_size": batch_size,
            **algorithm_settings(args.algorithm, **options),
        },
        "estimator": settings,
        "constraints": [asdict(constraint) for constraint in constraints],
        "latency_table": None if latency is None else _digest(args.latency_table),
        "seed": args.seed,
    }
    store = TrialStore.open(args.output / "trials.db", header, supernet.space)
    try:
        check_store(store, num_trials=args.num_trials)
    except ValueError:
        store.close()
        raise
    job = _Job(
        algorithm, batch_size, estimator, store, header, cost_model, constraints, trained, device
    )
    return lambda: _search(args, job)


def _check_options(args: argparse.Namespace, measuring: EstimatorOptions) -> None:
    if args.output is None:
        raise ValueError("--output is required: the folder for the run's files.")
    if args.estimator == "table":
        if args.amp is not None:
            raise ValueError("--estimator table computes nothing; leave --amp out.")
    elif args.supernet is None:
        raise ValueError(f"--estimator {args.estimator} needs --supernet.")
    check_options(args.estimator, measuring)
    for name in ("min_latency", "max_latency"):
        if getattr(args, name) is not None and args.latency_table is None:
            raise ValueError(f"{flag(name)} needs --latency-table, from supernet-latency.")
    if args.supernet is None:
        if args.space is None:
            raise ValueError("--estimator table needs --space (or --supernet).")
        for name in ("data_dir", "export"):
            if getattr(args, name) is not None:
                raise ValueError(f"{flag(name)} needs --supernet.")


def _constraints(args: argparse.Namespace) -> list[Constraint]:
    return constraints_within(
        {
            metric: (getattr(args, f"min_{metric}"), getattr(args, f"max_{metric}"))
            for metric in METRICS
        }
    )


def _searched_space(space: SearchSpace, resolution: int | None) -> SearchSpace:
    if resolution is None:
        return space
    try:
        return space.restrict({"resolution": (str(resolution),)})
    except ValueError as error:
        raise ValueError(f"--resolution {resolution} does not apply: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _search(args: argparse.Namespace, job: _Job) -> int:
    algorithm, store, cost_model = job.algorithm, job.store, job.cost_model
    write_args(args.output, vars(args))
    with store:
        try:
            with explained_starvation(cost_model, job.constraints):
                run_search(
                    algorithm,
                    job.estimator,
                    store,
                    num_trials=args.num_trials,
                    batch_size=job.batch_size,
                )
        except KeyboardInterrupt:
            print_result(
                {
                    "status": "interrupted",
                    "trials": len(store.trials),
                    "continue": "the same command again",
                }
            )
            return INTERRUPTED
        except (SearchError, StarvedError) as error:
            return fail(PROGRAM, error)
        finally:
            store.write_csv(args.output / "trials.csv")
        best = [_describe(trial, cost_model) for trial in store.best(NUM_BEST)]
        trials = store.trials
        best_arch = store.best()[0].arch
        num_failed = sum(trial.score is None for trial in trials)
    result: dict[str, Any] = {
        "status": "finished",
        "space": algorithm.space.name,
        "estimator": job.header["estimator"],
        "trials": args.num_trials,
        "failed": num_failed,
        "best": best,
    }
    if isinstance(algorithm, WeakNAS) and args.num_trials - num_failed >= 2:
        arch, score = algorithm.predict_best()
        result["predicted_best"] = {
            "architecture": algorithm.space.format(arch),
            "predicted_score": score,
        }
    plot_trials(
        trials,
        args.output / "search.png",
        score_name=job.estimator.name,
        macs=lambda arch: cost_model.measure(arch).macs,
    )
    with atomic_write(args.output / "best.json") as file:
        file.write(json.dumps(result, indent=2) + "\n")
    if args.export is not None:
        assert job.trained is not None
        provenance = {
            "supernet": str(args.supernet),
            "supernet_digest": job.trained.digest,
            "search": str(args.output),
            "trial": best[0],
        }
        record = export_subnet(
            job.trained.supernet,
            best_arch,
            job.trained.loaders,
            args.export,
            device=job.device,
            provenance=provenance,
        )
        result["export"] = {"subnet": str(args.export), **export_summary(record)}
    print_result({**result, "files": args.output})
    return 0


def _describe(trial: Trial, cost_model: CostModel) -> dict[str, Any]:
    cost = cost_model.measure(trial.arch)
    return {
        "number": trial.number,
        "architecture": cost_model.space.format(trial.arch),
        "score": trial.score,
        "metrics": dict(trial.metrics),
        "cost": {name: value for name, value in asdict(cost).items() if value is not None},
    }
