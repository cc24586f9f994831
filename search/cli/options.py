"""The options of ``supernet-search``, of both kinds of algorithms."""

from __future__ import annotations

import argparse

import supernets.runtime.option_types as kinds
from estimators.executors.settings import ExecutorSettings
from estimators.scores.registry import estimator_classes
from estimators.scores.settings import TableSettings
from search.algorithms.registry import ALGORITHMS, algorithm_classes
from search.differentiable.search_config import (
    GRADIENT_ALGORITHMS,
    SearchConfig,
    StageOptions,
    search_config,
)
from search.runs.gradient_job import (
    RECIPE,
    RECIPE_OPTIONS,
    VAL_FRACTION,
    GradientBasics,
    GradientJob,
)
from search.runs.job import ResultOptions, SearchJob, SubjectOptions, check_measurable
from search.runs.staged_job import STAGED, StagedBasics, StagedJob
from search.staged.options import StagedOptions
from supernets.cli.command_parser import command_parser
from supernets.cli.data_options import OF_TIMM, add_data_options, data_config
from supernets.cli.option_flags import (
    add_family_options,
    add_options,
    check_family,
    dest_of,
    from_args,
    given_options,
)
from supernets.cli.run_options import AmpOptions, RunOptions
from supernets.data.config import DataConfig
from supernets.networks.settings import SupernetSettings, settings_classes
from supernets.runtime.named_objects import HOW_TO_NAME, NameBeside
from supernets.runtime.options import Options, options_of
from supernets.runtime.wording import flag, one_of
from supernets.training.supernet_config import TrainConfig

PROGRAM = "supernet-search"
#: Those that go with --report-of.
REPORT_OPTIONS = ("report_of", "output", "config", "quiet", "verbose", "trust_code")
_NOT_OF_SEARCHES = tuple(name for name in options_of(TrainConfig) if name not in RECIPE_OPTIONS)


def build_parser(
    space: str | None = None, algorithm: str | None = None, estimator: str | None = None
) -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-search``.

    Args:
        space: A space of one's own, whose settings are flags of searches by gradients as well; None
            for none.
        algorithm: An algorithm of one's own, whose settings are flags as well; None for none.
        estimator: An estimator of one's own, likewise.

    Raises:
        ValueError: If there is no such object.
    """
    by_gradients = ", ".join(GRADIENT_ALGORITHMS)
    parser = command_parser(
        PROGRAM,
        "Search a trained supernet, or a table, for architectures; or search by gradients "
        f"({by_gradients}), which needs no supernet. Ctrl-C stops; the same command again "
        "continues.",
    )
    titles = ("what to search", "search", "estimator", "workers")
    subject, search, scores, workers = map(parser.add_argument_group, titles)
    levels = parser.add_argument_group(
        "staged search",
        f"of --algorithm {STAGED}: measurements of rising cost, and the next second where it pays "
        "most",
    )
    gradients = parser.add_argument_group(
        "search by gradients",
        f"of --algorithm {by_gradients}; one value for each stage where there may be several, and "
        "what is given is given for as many; --tse-batches is minibatches per step of the "
        "architecture parameters",
    )
    add_options(subject, SubjectOptions)
    search.add_argument(
        "--algorithm",
        type=NameBeside(ALGORITHMS, (*GRADIENT_ALGORITHMS, STAGED)),
        metavar="NAME",
        help=f"{', '.join((*ALGORITHMS, STAGED, *GRADIENT_ALGORITHMS))}, or your own that asks and "
        f"tells, as {HOW_TO_NAME} (default: structural-bo, for up to some hundred trials)",
    )
    add_options(search, SearchJob, without=["estimator", *options_of(ResultOptions)])
    add_family_options(search, {**algorithm_classes(algorithm), STAGED: StagedOptions})
    add_options(scores, SearchJob, without=options_of(ResultOptions))
    for settings in dict.fromkeys(estimator_classes(estimator).values()):
        add_options(scores, settings)
    add_options(workers, ExecutorSettings)
    add_options(levels, StagedBasics)
    networks = settings_classes(space, relaxed=True)
    for kind in (SearchConfig, StageOptions, GradientBasics, *networks.values()):
        add_options(gradients, kind)
    add_options(gradients, TrainConfig, without=_NOT_OF_SEARCHES, defaults=RECIPE)
    add_data_options(parser, {"val_fraction": VAL_FRACTION})
    run = parser.add_argument_group("run")
    add_options(run, RunOptions, without=["resume", "auto_resume"])
    add_options(run, ResultOptions)
    run.add_argument(
        "--report-of",
        nargs="+",
        type=kinds.path,
        metavar="DIR",
        help="search nothing; write one report.html to --output over the searches in these folders",
    )
    add_options(run, AmpOptions)
    return parser


def flags_of(algorithm: str, space: str | None = None, estimator: str | None = None) -> set[str]:
    """Returns the flags that a search by an algorithm may be given.

    Args:
        algorithm: Name of the algorithm.
        space: A space whose settings are flags too; None for those built in alone.
        estimator: An estimator, likewise.
    """
    every: tuple[type[Options], ...] = (AmpOptions,)
    if algorithm == STAGED:
        every += (StagedBasics, StagedOptions, ExecutorSettings, DataConfig, *OF_TIMM.values())
    elif algorithm not in GRADIENT_ALGORITHMS:
        options = ALGORITHMS.find(algorithm).options
        every += (SearchJob, options, ExecutorSettings, *estimator_classes(estimator).values())
    else:
        networks = settings_classes(space, relaxed=True)
        every += (SearchConfig, StageOptions, GradientBasics, *networks.values())
        every += (DataConfig, *OF_TIMM.values(), TableSettings)
    flags = {d.flag_of(name) for kind in every for name, d in options_of(kind).items()}
    if algorithm in GRADIENT_ALGORITHMS:
        flags |= {flag(name) for name in (*RECIPE_OPTIONS, "checkpoint_minutes")}
    return flags | {"--algorithm", "--output", "--config", "--quiet", "--verbose"}


def own_options(args: argparse.Namespace, algorithm: str) -> argparse.Namespace:
    """Returns the options of a search by an algorithm, without those of others.

    Args:
        args: The parsed options.
        algorithm: Name of the algorithm.

    Raises:
        ValueError: If one of others was given; says whose it is.
    """
    own = {dest_of(flag) for flag in flags_of(algorithm, args.space, args.estimator)}
    for name, value in vars(args).items():
        if value is not None and name not in own:
            every = (*ALGORITHMS, STAGED, *GRADIENT_ALGORITHMS)
            users = [n for n in every if flag(name) in flags_of(n)]
            raise ValueError(f"{flag(name)} is for --algorithm {one_of(users)}, not {algorithm}.")
    return argparse.Namespace(**{name: v for name, v in vars(args).items() if name in own})


def check_args(args: argparse.Namespace, job: SearchJob) -> None:
    """Makes sure that nothing was given that has no effect on this search.

    Args:
        args: The options of this search.
        job: What they ask for.

    Raises:
        ValueError: If something was.
    """
    if job.measures_networks:
        check_measurable(job)
    elif args.amp is not None:
        raise ValueError(f"--estimator {job.estimator} computes nothing; leave --amp out.")
    check_family(estimator_classes(job.estimator), job.estimator, args, by="--estimator")
    for name in ("num_workers", "device"):
        if job.supernet is None and getattr(args, name) is not None:
            raise ValueError(f"{flag(name)} needs --supernet.")


def gradient_job(args: argparse.Namespace, amp: bool) -> GradientJob:
    """Builds what the options of a search by gradients ask for.

    Args:
        args: The options of this search.
        amp: Whether to compute in bfloat16 autocast.

    Raises:
        ValueError: If an option is out of range, or would have no effect.
    """
    from supernets.training.optimizers import check_has_momentum  # here, as it imports PyTorch

    basics = from_args(GradientBasics, args)
    families = settings_classes(basics.space, relaxed=True)
    if basics.space in families:  # others are refused by the job
        check_family(families, basics.space, args, by="--space")
    table = given_options(TableSettings, args)
    if table and "table" not in table:
        name = next(iter(table))
        raise ValueError(
            f"{options_of(TableSettings)[name].flag_of(name)} is of --table; give that too, or "
            "leave it out."
        )
    stages, given = from_args(StageOptions, args), given_options(SearchConfig, args)
    config = search_config(basics.algorithm, basics.space, stages, given)
    recipe = {k: v for k, v in given_options(TrainConfig, args).items() if k in RECIPE_OPTIONS}
    weights = basics.recipe(config, amp, recipe)
    if "momentum" in recipe:
        check_has_momentum(weights.opt)
    return GradientJob(
        algorithm=basics.algorithm,
        space=basics.space,
        config=config,
        recipe=weights,
        network=given_options(families.get(basics.space, SupernetSettings), args),
        data=data_config(args, {"val_fraction": VAL_FRACTION}),
        batch_size=basics.batch_size,
        table=TableSettings(**table) if table else None,
    )


def staged_job(args: argparse.Namespace) -> StagedJob:
    """Builds what the options of a staged search ask for.

    Args:
        args: The options of this search.

    Raises:
        ValueError: If an option is out of range, or would have no effect.
    """
    own = args
    if args.supernet is None:  # the folder is then that of --dataset
        own = argparse.Namespace(**{**vars(args), "data_dir": None})
    basics = from_args(StagedBasics, own)
    given = set(given_options(DataConfig, args)) - ({"data_dir"} if basics.supernet else set())
    of_timm = any(given_options(kind, args) for kind in OF_TIMM.values())
    data = data_config(args) if given or of_timm else None
    return StagedJob(basics, from_args(StagedOptions, args), data)


def check_report_args(args: argparse.Namespace) -> None:
    """Makes sure that nothing is asked for but a report over searches of earlier.

    Raises:
        ValueError: If something is.
    """
    given = (name for name, value in vars(args).items() if value is not None)
    others = [flag(name) for name in given if name not in REPORT_OPTIONS]
    if others:
        raise ValueError(
            f"--report-of searches nothing; leave {', '.join(others)} out, or search first."
        )
