"""``supernet-search``: searches a trained supernet, or a table, for architectures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from estimators import ESTIMATORS, Estimator, create_estimator
from search.base import SearchAlgorithm
from search.factory import ALGORITHMS, algorithm_settings, create_algorithm
from search.predictors import PREDICTORS
from search.report import plot_trials
from search.runner import SearchError, check_search, check_store, run_search
from search.trials import Trial, TrialStore
from search.weaknas import WeakNAS
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
from supernets.device import has_bfloat16, resolve_device
from supernets.export import check_export_target, check_space, export_subnet, export_summary
from supernets.factory import SPACES, create_supernet

PROGRAM = "supernet-search"
#: Trials in ``best.json`` and in the JSON block.
NUM_BEST = 5
#: Options that only one estimator uses, by their name on the command line.
ESTIMATOR_OPTIONS = {
    "tse": ("tse_batches", "tse_batch_size", "tse_lr"),
    "val_acc": ("val_batches", "recalibrate_batches"),
    "table": ("table", "table_column", "arch_column"),
}
ALGORITHM_OPTIONS = ("predictor", "num_initial", "top_n", "exclude_before_top", "pool_size")


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
    for metric in METRICS:
        for bound, word in (("min", "least"), ("max", "most")):
            add(
                f"--{bound}-{metric}",
                type=float,
                metavar="N",
                help=f"{word} {metric} of a subnet, such as 60e6 (default: any)",
            )

    add = parser.add_argument_group("search").add_argument
    add("--algorithm", choices=ALGORITHMS, default="weaknas", help="(default: weaknas)")
    add("--num-trials", type=int, default=100, metavar="N", help="in the end (default: 100)")
    add("--batch-size", type=int, default=10, metavar="M", help="asked for at once (default: 10)")
    add("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    add("--predictor", choices=PREDICTORS, help="of weaknas (default: mlp)")
    add("--num-initial", type=int, metavar="N", help="random trials of weaknas (default: 10)")
    add("--top-n", type=int, metavar="N", help="weaknas draws from these (default: 100)")
    add(
        "--exclude-before-top",
        action="store_const",
        const=True,
        help="weaknas: take seen ones out before cutting the top N (default: after)",
    )
    add("--pool-size", type=int, metavar="N", help="weaknas, in large spaces (default: 10000)")

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
        help="train minibatches for val_acc's BatchNorm (default: 0, none)",
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


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``supernet-search``; gives back the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(PROGRAM, lambda: _prepare(args))


def _prepare(args: argparse.Namespace) -> Callable[[], int]:
    _check_options(args)
    set_threads(args.threads)
    device = resolve_device(args.device)
    amp = args.estimator != "table" and (has_bfloat16(device) if args.amp is None else args.amp)
    options = {name: getattr(args, name) for name in ALGORITHM_OPTIONS}
    constraints = _constraints(args)
    trained = None
    if args.supernet is None:
        with torch.device("meta"):  # only its space and costs are looked at
            supernet = create_supernet(args.space, num_classes=10)
    else:
        checkpoint = read_training_checkpoint(args.supernet)
        check_space(args.space, checkpoint, args.supernet)
        supernet = supernet_from_checkpoint(checkpoint, args.supernet).to(device)
        if checkpoint["train_config"]["channels_last"]:
            supernet.to(memory_format=torch.channels_last)
    cost_model = CostModel(supernet)
    algorithm = create_algorithm(
        args.algorithm,
        supernet.space,
        seed=args.seed,
        is_feasible=feasibility_check(cost_model, constraints),
        **options,
    )
    check_search(algorithm, num_trials=args.num_trials, batch_size=args.batch_size)
    prepare_output(args.output)
    if args.export is not None:
        check_export_target(args.export)
        prepare_output(args.export.parent)
    if args.supernet is not None:
        loaders = reopen_data(
            checkpoint,
            args.supernet,
            data_dir=args.data_dir,
            batch_size=args.tse_batch_size or 64,
            device=device,
            num_workers=args.num_workers,
        )
        trained = _Trained(supernet, loaders, weights_digest(supernet))
    estimator = _create_estimator(args, trained, supernet, device, amp)
    header = {
        "space": supernet.space.name,
        "supernet": None if trained is None else trained.digest,
        "algorithm": {
            "name": args.algorithm,
            "batch_size": args.batch_size,
            **algorithm_settings(args.algorithm, **options),
        },
        "estimator": _estimator_settings(args, device, amp),
        "constraints": [asdict(constraint) for constraint in constraints],
        "seed": args.seed,
    }
    store = TrialStore.open(args.output / "trials.db", header, supernet.space)
    try:
        check_store(store, num_trials=args.num_trials)
    except ValueError:
        store.close()
        raise
    return lambda: _search(args, algorithm, estimator, store, cost_model, trained, device)


def _check_options(args: argparse.Namespace) -> None:
    if args.output is None:
        raise ValueError("--output is required: the folder for the run's files.")
    if args.estimator == "table":
        for name in ("table", "table_column"):
            if getattr(args, name) is None:
                raise ValueError(f"--estimator table needs {_flag(name)}.")
        if args.supernet is None and args.space is None:
            raise ValueError("--estimator table needs --space (or --supernet).")
        if args.amp is not None:
            raise ValueError("--estimator table computes nothing; leave --amp out.")
    elif args.supernet is None:
        raise ValueError(f"--estimator {args.estimator} needs --supernet.")
    if args.supernet is None:
        for name in ("data_dir", "export"):
            if getattr(args, name) is not None:
                raise ValueError(f"{_flag(name)} needs --supernet.")
    for estimator, names in ESTIMATOR_OPTIONS.items():
        for name in names:
            if estimator != args.estimator and getattr(args, name) is not None:
                raise ValueError(
                    f"{_flag(name)} belongs to --estimator {estimator}, "
                    f"this run uses {args.estimator}; leave it out."
                )
    for name in ("tse_batches", "tse_batch_size", "val_batches"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"{_flag(name)} must be at least 1, got {value}.")
    if args.recalibrate_batches is not None and args.recalibrate_batches < 0:
        raise ValueError(
            f"--recalibrate-batches must not be negative, got {args.recalibrate_batches}."
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _constraints(args: argparse.Namespace) -> list[Constraint]:
    constraints = []
    for metric in METRICS:
        minimum, maximum = getattr(args, f"min_{metric}"), getattr(args, f"max_{metric}")
        if minimum is not None or maximum is not None:
            constraints.append(
                Constraint(
                    metric,
                    0.0 if minimum is None else minimum,
                    float("inf") if maximum is None else maximum,
                )
            )
    return constraints


def _create_estimator(
    args: argparse.Namespace,
    trained: _Trained | None,
    supernet: Supernet,
    device: torch.device,
    amp: bool,
) -> Estimator:
    if args.estimator == "table":
        return create_estimator(
            "table",
            table=args.table,
            value_column=args.table_column,
            arch_column=args.arch_column,
            space=supernet.space,
        )
    assert trained is not None
    if args.estimator == "tse":
        num_batches = args.tse_batches or 100
        return create_estimator(
            "tse",
            supernet=supernet,
            train_batches=trained.loaders.train.take(num_batches),
            num_batches=num_batches,
            lr=args.tse_lr,
            device=device,
            amp=amp,
        )
    recalibrate = args.recalibrate_batches or 0
    val = trained.loaders.val
    return create_estimator(
        "val_acc",
        supernet=supernet,
        val_batches=val if args.val_batches is None else list(islice(val, args.val_batches)),
        recalibrate_batches=trained.loaders.train_eval.take(recalibrate) if recalibrate else None,
        device=device,
        amp=amp,
    )


def _estimator_settings(args: argparse.Namespace, device: torch.device, amp: bool) -> Any:
    settings: dict[str, Any] = {"name": args.estimator}
    if args.estimator == "table":
        settings |= {
            "table": args.table.name,
            "table_column": args.table_column,
            "arch_column": args.arch_column or "arch_str",
        }
        return settings
    if args.estimator == "tse":
        settings |= {
            "tse_batches": args.tse_batches or 100,
            "tse_batch_size": args.tse_batch_size or 64,
            "tse_lr": 0.001 if args.tse_lr is None else args.tse_lr,
        }
    else:
        settings |= {
            "val_batches": args.val_batches,
            "recalibrate_batches": args.recalibrate_batches or 0,
        }
    return settings | {"device": device.type, "amp": amp}


def _search(
    args: argparse.Namespace,
    algorithm: SearchAlgorithm,
    estimator: Estimator,
    store: TrialStore,
    cost_model: CostModel,
    trained: _Trained | None,
    device: torch.device,
) -> int:
    write_args(args.output, vars(args))
    with store:
        try:
            run_search(
                algorithm,
                estimator,
                store,
                num_trials=args.num_trials,
                batch_size=args.batch_size,
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
        except SearchError as error:
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
        score_name=estimator.name,
        macs=lambda arch: cost_model.measure(arch).macs,
    )
    with atomic_write(args.output / "best.json") as file:
        file.write(json.dumps(result, indent=2) + "\n")
    if args.export is not None:
        assert trained is not None
        provenance = {
            "supernet": str(args.supernet),
            "supernet_digest": trained.digest,
            "search": str(args.output),
            "trial": best[0],
        }
        record = export_subnet(
            trained.supernet,
            best_arch,
            trained.loaders,
            args.export,
            device=device,
            provenance=provenance,
        )
        result["export"] = {"subnet": str(args.export), **export_summary(record)}
    print_result({**result, "files": args.output})
    return 0


def _describe(trial: Trial, cost_model: CostModel) -> dict[str, Any]:
    return {
        "number": trial.number,
        "architecture": cost_model.space.format(trial.arch),
        "score": trial.score,
        "metrics": dict(trial.metrics),
        "cost": asdict(cost_model.measure(trial.arch)),
    }
