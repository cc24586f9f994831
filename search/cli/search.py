"""``supernet-search``: searches a supernet, a table, or by gradients for architectures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from estimators.executors.settings import ExecutorSettings
from estimators.scores.registry import ESTIMATORS
from search.algorithms.registry import ALGORITHMS
from search.cli.options import (
    PROGRAM,
    build_parser,
    check_args,
    check_report_args,
    gradient_job,
    own_options,
    staged_job,
)
from search.differentiable.search_config import GRADIENT_ALGORITHMS, StageOptions
from search.runs.gradient_job import GradientBasics
from search.runs.job import SearchJob
from search.runs.staged_job import STAGED
from supernets.cli.command_line import INTERRUPTED, command, print_result
from supernets.cli.option_flags import from_args, given_options, resolved
from supernets.cli.own_objects import Family, parse_with_own
from supernets.cli.run_options import AmpOptions, RunOptions
from supernets.networks.settings import settings_of_space
from supernets.runtime.ranks import ranks_from_environment
from supernets.spaces.factory import SPACES

AGAIN = "the same command again"
#: Whose objects of one's own bring flags.
_FAMILIES: dict[str, Family] = {
    "space": Family(SPACES, settings_of_space),
    "algorithm": Family(ALGORITHMS, attrgetter("options")),
    "estimator": Family(ESTIMATORS, attrgetter("settings")),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-search`` and returns the exit status."""
    args = parse_with_own(build_parser, _FAMILIES, argv)
    name = args.algorithm or SearchJob.algorithm
    if args.report_of is not None:
        return _report(args)
    # here, as --help and a wrong flag need not wait; and PyTorch only for what is not a table's
    if name in GRADIENT_ALGORITHMS:
        from search.runs.gradients import search_by_gradients
        from supernets.cli.training_run import finish_training, saying_how_to_go_on
        from supernets.networks.factory import chosen_amp
    elif name == STAGED:
        from search.runs.staged import staged_search
    else:
        from search.runs.search import search

        if args.supernet is not None:
            import supernets.training.checkpoint  # noqa: F401

    with command(PROGRAM, args) as run:
        options = from_args(RunOptions, args)
        if name in GRADIENT_ALGORITHMS:
            args = own_options(args, name)
            machine, basics = from_args(AmpOptions, args), from_args(GradientBasics, args)
            device = machine.set_up(ranks_from_environment())
            found = gradient_job(args, chosen_amp(machine.amp, basics.space, device))
            decided = (found.weights, found.settings, found.data, from_args(StageOptions, args))
            with saying_how_to_go_on(options.output, AGAIN):
                result = search_by_gradients(
                    found,
                    options.output,
                    device=machine.device,
                    num_workers=machine.num_workers,
                    checkpoint_minutes=options.checkpoint_minutes,
                    outputs=run.outputs,
                    args=resolved(args, *decided, basics, options, machine),
                )
            run.status = finish_training(result.training, AGAIN, **result.summary)
        elif name == STAGED:
            args = own_options(args, name)
            staged, machine = staged_job(args), from_args(AmpOptions, args)
            staged_result = staged_search(
                staged,
                options.output,
                executors=from_args(ExecutorSettings, args),
                device=machine.set_up() if staged.basics.computes else "cpu",
                threads=machine.threads,
                num_workers=machine.num_workers,
                amp=machine.amp,
                outputs=run.outputs,
                args=resolved(args, staged.basics, staged.options, machine),
            )
            run.status = print_searched(
                staged_result.is_finished,
                staged_result.summary,
                staged_result.output,
                {"measurements": len(staged_result.trials)},
            )
        else:
            job, machine = from_args(SearchJob, args), from_args(AmpOptions, args)
            args = own_options(args, name)
            check_args(args, job)
            searched = search(
                job,
                options.output,
                algorithm=given_options(ALGORITHMS.find(name).options, args),
                estimator=from_args(ESTIMATORS.find(job.estimator).settings, args),
                executors=from_args(ExecutorSettings, args),
                device="cpu" if job.supernet is None else machine.set_up(),
                threads=machine.threads,
                num_workers=machine.num_workers,
                amp=machine.amp,
                outputs=run.outputs,
                args=resolved(args, job, machine),
            )
            run.status = print_searched(
                searched.is_finished,
                searched.summary,
                searched.output,
                {"trials": len(searched.trials)},
            )
    return run.status


def print_searched(
    is_finished: bool, summary: Mapping[str, Any], output: Path, measured: Mapping[str, int]
) -> int:
    """Prints what a search came to, and returns the exit status.

    Args:
        is_finished: Whether it came to its end.
        summary: What is printed of one that did, beside its folder.
        output: Its folder.
        measured: What is printed of one that did not.
    """
    if is_finished:
        print_result({**summary, "files": output})
        return 0
    print_result({"status": "interrupted", **measured, "continue": AGAIN})
    return INTERRUPTED


def _report(args: argparse.Namespace) -> int:
    """Writes a page over searches of earlier, in place of a search."""
    from search.report.groups import group_runs
    from search.report.page import write_search_report
    from search.report.recorded_runs import read_run

    with command(PROGRAM, args) as run:
        options = from_args(RunOptions, args)
        check_report_args(args)
        runs, page = (
            [read_run(each, trust_code=bool(args.trust_code)) for each in args.report_of],
            options.output / "report.html",
        )
        group_runs(runs)  # refuses runs that are given twice
        run.outputs.own(options.output)
        run.begin()
        write_search_report(runs, page)
        print_result({"status": "finished", "runs": len(runs), "report": page})
    return run.status


if __name__ == "__main__":
    raise SystemExit(main())
