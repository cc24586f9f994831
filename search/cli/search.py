"""``supernet-search``: searches a trained supernet, or a table, for architectures."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from estimators import TabularEstimator, TSEEstimator, create_multi_score
from estimators.executors import ExecutorError, ExecutorFactory, ExecutorSettings
from estimators.factory import create_described_estimator
from estimators.scores.from_scratch import own_folder
from estimators.scores.minibatches import Minibatches
from estimators.scores.revisions import revisions
from estimators.scores.settings import EstimatorSettings, FromScratchSettings, TableSettings
from estimators.trials.store import TrialStore, read_header
from estimators.trials.ties import tie_breaker
from search.algorithms.base import SpaceExhaustedError
from search.algorithms.constraints import explained_exhaustion
from search.algorithms.meta_supernets import meta_supernet
from search.algorithms.options import AlgorithmOptions
from search.algorithms.problem import SearchProblem
from search.algorithms.registry import (
    ALGORITHMS,
    algorithm_options,
    algorithm_settings,
    create_algorithm,
    fitting_options,
    num_random_trials,
)
from search.algorithms.zero_cost_features import ZeroCostFeatures
from search.cli.differentiable import main as search_by_gradients
from search.cli.differentiable_options import is_asked_for
from search.cli.options import (
    PROGRAM,
    build_parser,
    check_args,
    check_report_args,
    check_search_options,
    constraints_of,
    given_names,
)
from search.cli.results import NUM_BEST, Job, Trained, check_export, finish_search
from search.report.groups import group_runs
from search.report.page import write_search_report
from search.report.recorded_runs import read_run
from search.runner import SearchError, check_search, check_store, run_search
from supernets.cli.command_line import (
    INTERRUPTED,
    fail,
    parse_args,
    print_result,
    run_command,
    set_threads,
)
from supernets.cli.option_flags import from_args, given_options
from supernets.cost.analytic import Constraint, CostModel, Counting, feasibility_check
from supernets.cost.latency import LatencyTable
from supernets.export.files import check_export_target
from supernets.networks.base import Supernet
from supernets.networks.factory import chosen_amp
from supernets.runtime.device import resolve_device
from supernets.runtime.digests import digest_of, file_digest
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.run_record import write_args
from supernets.runtime.wording import plural
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.factory import create_space
from supernets.training.checkpoint import (
    check_space,
    read_training_checkpoint,
    reopen_data,
    trained_supernet,
    weights_digest,
)

_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-search`` and returns the exit status."""
    if is_asked_for(argv):
        return search_by_gradients(argv)
    args = parse_args(build_parser(), argv)
    given = given_names(argv)
    if args.report_of is not None:
        return run_command(
            PROGRAM,
            lambda outputs: _prepare_report(args, outputs, given),
            quiet=args.quiet,
            verbose=args.verbose,
        )
    return run_command(
        PROGRAM,
        lambda outputs: _prepare(args, outputs, given),
        quiet=args.quiet,
        verbose=args.verbose,
    )


def _prepare(args: argparse.Namespace, outputs: Outputs, given: Sequence[str]) -> Callable[[], int]:
    options = _algorithm_options(args)
    batch_size = args.batch_size
    if batch_size is None:
        batch_size = ALGORITHMS[args.algorithm].batch_size
    measuring = check_args(args, given)
    constraints = constraints_of(args)
    set_threads(args.threads)
    device = resolve_device(args.device)
    executors = ExecutorFactory(from_args(ExecutorSettings, args), device, args.threads)
    supernet, checkpoint = _open_supernet(args, device)
    whole_space = create_space(args.space) if supernet is None else supernet.space
    space = _searched_space(whole_space, args.resolution)
    latency = cost_model = are_feasible = cheap_scores = None
    if supernet is not None:
        if args.latency_table is not None:
            latency = LatencyTable.load(args.latency_table, supernet)
        cost_model = CostModel(
            supernet, space=space, latency=None if latency is None else latency.predict
        )
        are_feasible = feasibility_check(cost_model, constraints)
        if args.predictor_inputs is not None:
            path = args.output / "cheap_scores.db"
            cheap_scores = ZeroCostFeatures(
                args.predictor_inputs, space, count=cost_model.measure_all, path=path
            )
    problem = SearchProblem(space, args.seed, are_feasible, cheap_scores)
    algorithm = create_algorithm(args.algorithm, problem, options)
    settings = options.settings()
    check_search_options(args, given, algorithm, settings)
    with _explained(cost_model, constraints):
        check_search(algorithm, num_trials=args.num_trials, batch_size=batch_size)
    _name_outputs(args, outputs)
    trained = None
    if isinstance(supernet, Supernet) and checkpoint is not None:
        loaders = reopen_data(
            checkpoint,
            args.supernet,
            data_dir=args.data_dir,
            batch_size=measuring.train_batch_size,
            device=device,
            num_workers=args.num_workers,
        )
        history = checkpoint.get("progress", {}).get("history", ())
        trained = Trained(supernet, loaders, weights_digest(supernet), history)
        if cheap_scores is not None and cheap_scores.proxies:
            cheap_scores.measure_with(_proxies(cheap_scores.proxies, trained, device))
    if isinstance(measuring, FromScratchSettings):
        folder = measuring.folder or args.output / "scratch"
        measuring = replace(measuring, folder=folder)
        own_folder(outputs, folder, option="--scratch-dir")
    estimator, estimator_settings = create_described_estimator(
        args.estimator,
        measuring,
        supernet=None if trained is None else trained.supernet,
        data=None if trained is None else trained.loaders,
        space=whole_space,
        device=device,
        amp=args.estimator != "table" and chosen_amp(args.amp, whole_space.name, device),
    )
    test_values = _test_values(args, measuring, whole_space, estimator_settings)
    header = {
        "space": whole_space.name,
        "resolution": args.resolution,
        "supernet": None if trained is None else trained.digest,
        "algorithm": {"name": args.algorithm, "batch_size": batch_size, **settings},
        "estimator": estimator_settings,
        "constraints": [asdict(constraint) for constraint in constraints],
        "latency_table": None if latency is None else file_digest(args.latency_table),
        "seed": args.seed,
        **revisions(whole_space.name, _scores_used(args, constraints, estimator_settings)),
    }
    check_export(args, header)
    store = _open_store(args, outputs, header, whole_space)
    if cheap_scores is not None and trained is not None:
        outputs.new_file(args.output / "cheap_scores.db")
        cheap_scores.check_inputs(_proxy_inputs(cheap_scores.proxies, trained))
    _note_fewer_random(args.algorithm, settings, given, args.num_trials)
    job = Job(
        algorithm,
        batch_size,
        estimator,
        store,
        header,
        cost_model,
        constraints,
        trained,
        device,
        executors,
        test_values,
    )
    return lambda: _search(args, job)


def _test_values(
    args: argparse.Namespace,
    measuring: EstimatorSettings,
    space: SearchSpace,
    searched: Mapping[str, Any],
) -> Mapping[Architecture, float] | None:
    """What the result is looked up in, if anything."""
    if args.test_column is None:
        return None
    assert isinstance(measuring, TableSettings) and measuring.table is not None
    tested = TabularEstimator.open(
        measuring.table,
        space,
        arch_column=measuring.arch_column,
        value_column=args.test_column,
        split="test",
        trust_pickle=measuring.trust_pickle,
    )
    if tested.column == searched["table_column"]:
        raise ValueError(
            f"--test-column {tested.column} is what the search sees; name another column, or leave "
            "it out."
        )
    return tested.values


def _name_outputs(args: argparse.Namespace, outputs: Outputs) -> None:
    if args.export is not None:
        check_export_target(args.export, overwrite=True)  # whose export is there is asked later
        outputs.add(args.export.parent, option="--export")
    outputs.own(args.output)


def _algorithm_options(args: argparse.Namespace) -> AlgorithmOptions:
    """Returns the algorithm's options, with few enough random trials to leave room for others."""
    options = given_options(ALGORITHMS[args.algorithm].options, args)
    path = args.output / "trials.db" if args.output is not None else None
    stored = None
    if path is not None and path.is_file():
        stored = read_header(path).get("algorithm")
    if stored is not None and stored.get("name") != args.algorithm:
        stored = None
    fitted = fitting_options(args.algorithm, args.num_trials, options, stored)
    return algorithm_options(args.algorithm, **fitted)


def _note_fewer_random(
    name: str, settings: Mapping[str, Any], given: Sequence[str], num_trials: int
) -> None:
    """Says where a search begins with fewer random trials than its algorithm's default."""
    number, usual = (num_random_trials(found) for found in (settings, algorithm_settings(name)))
    if number < usual and {"num_initial", "population_size"}.isdisjoint(given):
        _logger.info(
            "%s begins with %s instead of %d, so that not all of the %s are random.",
            name,
            plural(number, "random trial"),
            usual,
            plural(num_trials, "trial"),
        )


def _open_store(
    args: argparse.Namespace, outputs: Outputs, header: Mapping[str, Any], space: SearchSpace
) -> TrialStore:
    outputs.create()
    path = args.output / "trials.db"
    outputs.new_file(path)
    store = TrialStore.open(path, header, space)
    outputs.close_on_failure(store.close)
    check_store(store, num_trials=args.num_trials)
    return store


def _prepare_report(
    args: argparse.Namespace, outputs: Outputs, given: Sequence[str]
) -> Callable[[], int]:
    """A page over searches of earlier, in place of a search."""
    check_report_args(args, given)
    runs = [read_run(folder) for folder in args.report_of]
    group_runs(runs)  # refuses runs that are given twice
    outputs.own(args.output)
    path = args.output / "report.html"

    def write() -> int:
        write_search_report(runs, path)
        print_result({"status": "finished", "runs": len(runs), "report": path})
        return 0

    return write


def _open_supernet(
    args: argparse.Namespace, device: torch.device
) -> tuple[Counting | None, dict[str, Any] | None]:
    """The supernet with its checkpoint; without one, what stands for its space, if anything."""
    if args.supernet is None:
        return meta_supernet(args.space), None
    checkpoint = read_training_checkpoint(args.supernet)
    check_space(args.space, checkpoint, args.supernet)
    return trained_supernet(checkpoint, args.supernet, device), checkpoint


def _proxies(
    names: Sequence[str], trained: Trained, device: torch.device
) -> Callable[[Architecture], Mapping[str, float]]:
    """Measures zero-cost proxies on the first minibatch of the train split."""
    multi_score = create_multi_score(
        names,
        supernet=trained.supernet,
        data=Minibatches(train=trained.loaders.train.take(1)),
        device=device,
    )
    return lambda arch: multi_score.measure(arch).metrics


def _proxy_inputs(names: Sequence[str], trained: Trained) -> dict[str, Any]:
    """All that decides zero-cost proxies."""
    loaders = trained.loaders
    return {
        "supernet": trained.digest,
        "images": digest_of([loaders.settings, loaders.train.batch_size]),
        **revisions(trained.supernet.space.name, names),
    }


def _scores_used(
    args: argparse.Namespace, constraints: Sequence[Constraint], estimator: Mapping[str, Any]
) -> list[str]:
    """Names of all scores and costs that decide the trials."""
    metrics = [constraint.metric for constraint in constraints]
    combined = estimator.get("scores", ())
    return [args.estimator, *combined, *(args.predictor_inputs or ()), *metrics]


def _searched_space(space: SearchSpace, resolution: int | None) -> SearchSpace:
    if resolution is None:
        return space
    try:
        return space.restrict({"resolution": (str(resolution),)})
    except ValueError as error:
        raise ValueError(f"--resolution {resolution} does not apply: {error}") from error


def _search(args: argparse.Namespace, job: Job) -> int:
    store = job.store

    def describe() -> str:
        return (
            f"What was measured is safe in {store.path}: {plural(store.num_told, 'trial')}. Free "
            "space, or mend what is wrong there, and run the same command again."
        )

    with saying_what_is_safe(describe):
        with store:
            write_args(args.output, vars(args))
            status = _run(args, job)
        if status == 0:
            best = store.best(NUM_BEST, tie_breaker(job.header["estimator"]))
            result = finish_search(args, job, store.trials, best)
            print_result({**result, "files": args.output})
    return status


def _run(args: argparse.Namespace, job: Job) -> int:
    """Searches, and writes the trials as a table; the exit status."""
    store = job.store
    if isinstance(job.estimator, TSEEstimator):
        job.estimator.note_finished(
            trial.metrics["tse"] for trial in store.trials if "tse" in trial.metrics
        )
    with _table_in_any_case(store, args.output / "trials.csv"):
        try:
            with _explained(job.cost_model, job.constraints):
                run_search(
                    job.algorithm,
                    job.estimator,
                    store,
                    num_trials=args.num_trials,
                    batch_size=job.batch_size,
                    make_executor=job.executors.create,
                )
        except KeyboardInterrupt:
            print_result(
                {
                    "status": "interrupted",
                    "trials": store.num_told,
                    "continue": "the same command again",
                }
            )
            return INTERRUPTED
        except (SearchError, SpaceExhaustedError, ExecutorError) as error:
            return fail(PROGRAM, error)
    return 0


@contextmanager
def _table_in_any_case(store: TrialStore, path: Path) -> Iterator[None]:
    """Writes the trials as a table at the end; after an error that one is not hidden by another."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            store.write_csv(path)
        raise
    store.write_csv(path)


def _explained(
    cost_model: CostModel | None, constraints: Sequence[Constraint]
) -> AbstractContextManager[None]:
    """Returns ``explained_exhaustion``, or a context that does nothing without costs."""
    return nullcontext() if cost_model is None else explained_exhaustion(cost_model, constraints)


if __name__ == "__main__":
    raise SystemExit(main())
