"""``supernet-train``: trains a weight-sharing supernet once, for every later search."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.cli.command_line import command
from supernets.cli.command_parser import command_parser
from supernets.cli.data_options import add_data_options, data_config
from supernets.cli.option_flags import (
    add_options,
    check_family,
    from_args,
    given_options,
    resolved,
)
from supernets.cli.own_objects import Family, parse_with_own
from supernets.cli.run_options import MachineOptions, RunOptions
from supernets.networks.settings import SupernetSettings, settings_classes, settings_of_space
from supernets.runtime.options import Options, option
from supernets.runtime.ranks import ranks_from_environment
from supernets.runtime.wording import flag
from supernets.spaces.factory import SPACES, WHICH_SPACE
from supernets.training.job import (
    PathOptions,
    ReleasedWeights,
    TrainJob,
    not_able,
)
from supernets.training.paths import PATHS, PROGRESSIVE
from supernets.training.phases import PHASES, PhaseOptions
from supernets.training.supernet_config import TrainConfig

PROGRAM = "supernet-train"
#: What progressive shrinking sets per phase, and the field of ``PhaseOptions`` that does.
_BY_PHASE = {
    "epochs": "epochs",
    "warmup_epochs": "warmup_epochs",
    "lr": "lrs",
    "min_lr": None,
    "num_paths": None,
}


@dataclass(frozen=True)
class _Job(Options):
    """What is trained, and in which minibatches.

    Args:
        space: Name of the search space.
        batch_size: Images per minibatch and process.
    """

    space: str = option("nasbench201", WHICH_SPACE, SPACES, metavar="NAME")
    batch_size: int = option(64, "per process", kinds.BATCH, metavar="N")


def build_parser(space: str | None = None) -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-train``.

    Args:
        space: A space of one's own, whose settings are flags as well; None for none.

    Raises:
        ValueError: If there is no such space.
    """
    parser = command_parser(
        PROGRAM,
        "Train a weight-sharing supernet. Ctrl-C saves and exits; --resume continues.",
    )
    group = parser.add_argument_group("supernet")
    add_options(group, _Job, without=["batch_size"])
    for kind in (*settings_classes(space).values(), ReleasedWeights):
        add_options(group, kind)
    add_data_options(parser)
    group, run = parser.add_argument_group("training"), parser.add_argument_group("run")
    add_options(group, PathOptions)
    add_options(group, _Job)
    of_run = ("amp", "channels_last", "kernels", "sync_bn")
    add_options(group, TrainConfig, without=of_run)
    phases = parser.add_argument_group(
        "progressive shrinking", f"one value for each of the phases {', '.join(PHASES)}"
    )
    add_options(phases, PhaseOptions)
    for kind in (RunOptions, MachineOptions, TrainConfig):
        add_options(run, kind)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-train`` and returns the exit status."""
    args = parse_with_own(build_parser, {"space": Family(SPACES, settings_of_space)}, argv)
    # here, as PyTorch takes seconds, for which --help and a wrong flag need not wait
    from supernets.cli.training_run import finish_training, saying_how_to_go_on
    from supernets.networks.factory import chosen_amp
    from supernets.training.train import train

    with command(PROGRAM, args) as run:
        options, machine = from_args(RunOptions, args), from_args(MachineOptions, args)
        space = from_args(_Job, args).space
        job = train_job(args, chosen_amp(args.amp, space, machine.set_up(ranks_from_environment())))
        with saying_how_to_go_on(options.output):
            result = train(
                job,
                options.output,
                device=machine.device,
                num_workers=machine.num_workers,
                resume=options.resumes,
                checkpoint_minutes=options.checkpoint_minutes,
                outputs=run.outputs,
                args=_record(args, job, options, machine),
            )
        run.status = finish_training(result)
    return run.status


def train_job(args: argparse.Namespace, amp: bool) -> TrainJob:
    """Builds what the options ask for.

    Args:
        args: Parsed by the parser of ``build_parser``.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If an option is out of range, or would have no effect.
    """
    from supernets.training.optimizers import check_has_momentum  # here, as it imports PyTorch

    basics = from_args(_Job, args)
    space, definition = basics.space, SPACES.find(basics.space)
    families = settings_classes(space)
    if definition.has_networks:  # which a job refuses otherwise
        check_family(families, space, args, by="--space")
    if given_options(ReleasedWeights, args) and not definition.released_weights:
        raise not_able("--from-ofa", "released_weights", definition)
    paths = from_args(PathOptions, args, {"paths": definition.default_paths})
    _check_phases(paths, args)
    settings = from_args(families.get(space, SupernetSettings), args)
    resolutions = settings.arguments.get("resolutions")
    config = from_args(TrainConfig, args, amp=amp)
    if args.momentum is not None:
        check_has_momentum(config.opt)
    return TrainJob(
        space=space,
        settings=settings,
        released=from_args(ReleasedWeights, args),
        data=data_config(args, {"image_size": max(resolutions)} if resolutions else None),
        batch_size=basics.batch_size,
        paths=paths,
        config=config,
        phases=from_args(PhaseOptions, args),
    )


def _record(args: argparse.Namespace, job: TrainJob, *others: Options) -> dict[str, Any]:
    """All options with what they came to; None for those that have no effect."""
    assert job.settings is not None
    timm = (job.data.augmentation, job.data.timm_options)
    used = (job.settings, job.released, job.data, job.paths, job.recipe, *filter(None, timm))
    record = resolved(args, from_args(_Job, args), *others, *used)
    if job.sampler == PROGRESSIVE:
        record |= dict.fromkeys(("epochs", "warmup_epochs", "lr", "min_lr"))
        record |= {f"phase_{name}": values for name, values in asdict(job.phases).items()}
    return record


def _check_phases(paths: PathOptions, args: argparse.Namespace) -> None:
    """Refuses what progressive shrinking sets by phase, and what it alone has.

    Raises:
        ValueError: If such an option was given.
    """
    assert paths.paths is not None
    is_progressive = paths.paths == PROGRESSIVE
    plans = dict.fromkeys([*PATHS, paths.paths], Options) | {PROGRESSIVE: PhaseOptions}
    check_family(plans, paths.paths, args, by="--paths")
    if not is_progressive and "kd_ratio" in given_options(TrainConfig, args):
        raise ValueError("--kd-ratio is for --paths progressive, which has a teacher.")
    given = given_options(TrainConfig, args) | given_options(PathOptions, args)
    for name, by_phase in _BY_PHASE.items():
        if is_progressive and name in given:
            instead = "leave it out" if by_phase is None else f"use {flag(f'phase_{by_phase}')}"
            raise ValueError(f"{flag(name)} differs by phase with --paths progressive; {instead}.")


if __name__ == "__main__":
    raise SystemExit(main())
