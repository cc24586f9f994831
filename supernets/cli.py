"""``supernet-train``: trains a weight-sharing supernet once, for every later search."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import random_seed

from supernets.atomic import atomic_write
from supernets.base import Supernet
from supernets.checkpoint import read_training_checkpoint, supernet_from_checkpoint
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
    versions,
    write_args,
)
from supernets.cost import CostModel
from supernets.data import DATASETS, Loaders, create_loaders
from supernets.device import has_bfloat16, resolve_device
from supernets.distributed import (
    Ranks,
    ranks_from_environment,
    start_process_group,
    stop_process_group,
)
from supernets.factory import SPACES, create_supernet
from supernets.nasbench201 import BN_MODES
from supernets.path_sampling import PATHS, PathSampler, create_path_sampler
from supernets.train_config import SCHEDULES, TrainConfig
from supernets.training import TrainingError, train_supernet

PROGRAM = "supernet-train"


def build_parser() -> argparse.ArgumentParser:
    """The options of ``supernet-train``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Train a weight-sharing supernet. Ctrl-C saves and exits; --resume continues.",
        allow_abbrev=False,
    )
    add_config_option(parser)
    defaults = TrainConfig()
    _add_supernet_options(parser)
    _add_data_options(parser)

    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--paths", choices=PATHS, default="fair", help="paths of a step (default: fair)")
    add("--num-paths", type=int, metavar="K", help="paths per step (default: the sampler's)")
    add("--epochs", type=int, default=defaults.epochs, metavar="N", help="(default: 100)")
    add("--opt", default=defaults.opt, metavar="NAME", help="timm optimizer (default: sgd)")
    add("--lr", type=float, default=defaults.lr, metavar="LR", help="peak rate (default: 0.025)")
    add("--momentum", type=float, default=defaults.momentum, metavar="M", help="(default: 0.9)")
    add(
        "--weight-decay",
        type=float,
        default=defaults.weight_decay,
        metavar="WD",
        help="on every parameter (default: 5e-4)",
    )
    add("--sched", choices=SCHEDULES, default=defaults.sched, help="schedule (default: cosine)")
    add("--min-lr", type=float, default=defaults.min_lr, metavar="LR", help="(default: 0.001)")
    add("--warmup-epochs", type=int, default=0, metavar="N", help="(default: 0)")
    add(
        "--warmup-lr",
        type=float,
        default=defaults.warmup_lr,
        metavar="LR",
        help="where the warm-up starts (default: 1e-5)",
    )
    add("--label-smoothing", type=float, default=0.0, metavar="S", help="(default: 0)")
    add("--clip-grad", type=float, metavar="NORM", help="largest gradient norm (default: none)")
    add(
        "--inactive-grads",
        choices=("zero", "skip"),
        default="zero",
        help="whether weight decay moves operations off the path (default: zero, it does)",
    )
    add(
        "--num-probes",
        type=int,
        default=defaults.num_probes,
        metavar="N",
        help="architectures whose validation accuracy is logged per epoch (default: 4)",
    )
    add("--seed", type=int, default=0, metavar="N", help="weights, paths, data (default: 0)")
    _add_run_options(parser)
    return parser


def _add_supernet_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("supernet").add_argument
    add("--space", choices=SPACES, default="nasbench201", help="(default: nasbench201)")
    add("--channels", type=int, default=16, metavar="C", help="first stage's width (default: 16)")
    add("--cells-per-stage", type=int, default=5, metavar="N", help="(default: 5)")
    add("--bn-mode", choices=BN_MODES, default="ref", help="BatchNorm policy (default: ref)")


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("data").add_argument
    add("--dataset", choices=DATASETS, default="digits", help="(default: digits, built in)")
    add("--data-dir", type=Path, metavar="DIR", help="where the data is (default: none)")
    add("--download", action="store_true", help="fetch CIFAR into --data-dir (default: no)")
    add("--image-size", type=int, metavar="PX", help="side of the images (default: the data's)")
    add(
        "--val-fraction",
        type=float,
        default=0.2,
        metavar="F",
        help="share of the training images held out as val (default: 0.2)",
    )
    add("--batch-size", type=int, default=64, metavar="N", help="per process (default: 64)")
    add(
        "--skip-bad-images",
        action="store_true",
        help="leave unreadable images out instead of stopping (default: no)",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("--output", type=Path, metavar="DIR", help="folder for all files of the run (required)")
    add("--resume", action="store_true", help="continue the run in --output (default: no)")
    add(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        metavar="MIN",
        help="between checkpoints within an epoch (default: 10)",
    )
    add_machine_options(group)
    add_amp_option(group)
    add(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="memory format (default: yes)",
    )
    add("--sync-bn", action="store_true", help="BatchNorm over all processes (default: no)")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``supernet-train``; gives back the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(PROGRAM, lambda: _prepare(args))


def _prepare(args: argparse.Namespace) -> Callable[[], int]:
    if args.output is None:
        raise ValueError("--output is required: the folder for the run's files.")
    if not args.checkpoint_minutes > 0:
        raise ValueError(f"--checkpoint-minutes must be positive, got {args.checkpoint_minutes}.")
    set_threads(args.threads)
    ranks = ranks_from_environment()
    name = args.device
    if ranks.world_size > 1 and name in ("auto", "cuda") and resolve_device(name).type == "cuda":
        name = f"cuda:{ranks.local_rank}"
    device = resolve_device(name)
    config = _train_config(args, has_bfloat16(device) if args.amp is None else args.amp)
    if config.sync_bn and ranks.world_size == 1:
        raise ValueError("--sync-bn needs several processes; start them with torchrun.")
    prepare_output(args.output)
    checkpoint = _find_checkpoint(args.output, args.resume)
    loaders = create_loaders(
        args.dataset,
        data_dir=args.data_dir,
        image_size=args.image_size,
        val_fraction=args.val_fraction,
        batch_size=args.batch_size,
        seed=args.seed,
        device=device,
        num_workers=args.num_workers,
        download=args.download,
        skip_bad_images=args.skip_bad_images,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    random_seed(args.seed)
    supernet = create_supernet(
        args.space,
        num_classes=loaders.num_classes,
        channels=args.channels,
        cells_per_stage=args.cells_per_stage,
        input_size=loaders.input_size,
        bn_mode=args.bn_mode,
    )
    paths = create_path_sampler(args.paths, supernet.space, CostModel(supernet), args.num_paths)
    settings: dict[str, Any] = {
        "data": {**loaders.settings, "batch_size": args.batch_size},
        "paths": {"paths": args.paths, "num_paths": args.num_paths},
        "world_size": ranks.world_size,
        "data_dir": None if args.data_dir is None else str(args.data_dir.resolve()),
        "skip_bad_images": args.skip_bad_images,
    }
    if checkpoint is not None:
        _check_same_run(args.output, checkpoint, supernet, config, settings)
        supernet = supernet_from_checkpoint(checkpoint, args.output / "last.pt")
    return lambda: _train(
        args, ranks, supernet, loaders, paths, config, device, checkpoint, settings
    )


def _train_config(args: argparse.Namespace, amp: bool) -> TrainConfig:
    return TrainConfig(
        epochs=args.epochs,
        opt=args.opt,
        lr=args.lr,
        momentum=args.momentum,
        weight_decay=args.weight_decay,
        sched=args.sched,
        min_lr=args.min_lr,
        warmup_epochs=args.warmup_epochs,
        warmup_lr=args.warmup_lr,
        label_smoothing=args.label_smoothing,
        clip_grad=args.clip_grad,
        inactive_grads=args.inactive_grads,
        amp=amp,
        channels_last=args.channels_last,
        sync_bn=args.sync_bn,
        num_probes=args.num_probes,
        seed=args.seed,
    )


def _find_checkpoint(output: Path, resume: bool) -> dict[str, Any] | None:
    path = output / "last.pt"
    if resume:
        return read_training_checkpoint(path)
    if path.exists():
        raise ValueError(
            f"{output} already holds a training; add --resume to continue it, "
            "or choose another --output."
        )
    return None


def _check_same_run(
    output: Path,
    checkpoint: dict[str, Any],
    supernet: Supernet,
    config: TrainConfig,
    settings: dict[str, Any],
) -> None:
    if checkpoint["space"] != supernet.space.name:
        raise ValueError(
            f"{output / 'last.pt'} holds a supernet of space {checkpoint['space']!r}, "
            f"this run trains {supernet.space.name!r}; use a new --output."
        )
    stored = _flatten(checkpoint["supernet_settings"], checkpoint["train_config"], checkpoint)
    given = _flatten(supernet.settings, asdict(config), settings)
    differing = [
        f"{name} {stored.get(name)!r} (now {given.get(name)!r})"
        for name in dict.fromkeys([*stored, *given])
        if stored.get(name) != given.get(name)
    ]
    if differing:
        raise ValueError(
            f"{output} was trained with {', '.join(differing)}; "
            "resume with the settings it was started with, or use a new --output."
        )


def _flatten(
    supernet: Mapping[str, Any], config: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that decides the result of a training, in one level."""
    world_size = settings["world_size"]
    return {**supernet, **config, **settings["data"], **settings["paths"], "world_size": world_size}


def _train(
    args: argparse.Namespace,
    ranks: Ranks,
    supernet: Supernet,
    loaders: Loaders,
    paths: PathSampler,
    config: TrainConfig,
    device: torch.device,
    checkpoint: dict[str, Any] | None,
    settings: dict[str, Any],
) -> int:
    if ranks.is_main:
        for unfinished in args.output.glob(".last.pt.*.tmp"):  # of a process that was killed
            unfinished.unlink()
        write_args(args.output, vars(args))
        with atomic_write(args.output / "splits.npz", "wb") as file:
            np.savez_compressed(file, **loaders.splits)  # type: ignore[arg-type]
    start_process_group(ranks, device)
    try:
        result = train_supernet(
            supernet,
            loaders,
            paths,
            config,
            args.output,
            device=device,
            ranks=ranks,
            resume_from=checkpoint,
            checkpoint_minutes=args.checkpoint_minutes,
            run_settings={**settings, "versions": versions()},
        )
    except TrainingError as error:
        return fail(PROGRAM, error)
    finally:
        stop_process_group()
    if ranks.is_main:
        print_result(
            {
                "status": "finished" if result.is_finished else "interrupted",
                "checkpoint": result.checkpoint,
                "epochs": result.epochs,
                "steps": result.steps,
                **({"last_epoch": result.history[-1]} if result.history else {}),
                **({} if result.is_finished else {"continue": "the same command with --resume"}),
            }
        )
    return 0 if result.is_finished else INTERRUPTED
