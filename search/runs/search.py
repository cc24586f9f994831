"""A whole search that asks and tells: from a job to the files of its run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.executors import ExecutorError, ExecutorFactory, ExecutorSettings
from estimators.scores.settings import EstimatorSettings
from search.algorithms.base import SearchAlgorithm, SpaceExhaustedError
from search.runner import SearchError, run_search
from search.runs.gradient_job import GradientJob
from search.runs.job import SearchJob
from search.runs.pool import note_pool
from search.runs.results import SearchResult, finish, own_outputs, table_in_any_case
from search.runs.setup import (
    GivenAlgorithm,
    GivenEstimator,
    build_algorithm,
    check_estimator,
    check_given,
    explained,
    note_fewer_random,
    set_up,
    settings_of,
)
from search.runs.subject import check_machine, open_data, open_subject
from supernets.runtime.instances import check_instance, checked_path
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.run_record import write_args
from supernets.runtime.wording import plural

if TYPE_CHECKING:
    import torch


def search(
    job: SearchJob,
    output: str | Path,
    *,
    algorithm: GivenAlgorithm | None = None,
    estimator: GivenEstimator | None = None,
    executors: ExecutorSettings | None = None,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    num_workers: int = 2,
    amp: bool | None = None,
    outputs: Outputs | None = None,
    args: Mapping[str, Any] | None = None,
) -> SearchResult:
    """Searches a trained supernet, or a table, for architectures.

    Keeps in ``output`` ``trials.db``, from which the same call continues whatever stopped it,
    ``trials.csv``, ``best.json``, ``args.json`` and ``search.png``. Ctrl-C ends a search early.

    Args:
        job: What to search, by which algorithm and estimator, and how long.
        output: Folder of the run, which need not exist.
        algorithm: Settings of the job's algorithm, as its options or as those of them by name that
            are not to be defaults; where all trials would be random by default, fewer are. Or an
            algorithm itself, that was told nothing, in place of the job's space, seed and name.
        estimator: Settings of the job's estimator; or an estimator itself, in place of its name.
        executors: Where candidates are measured; None for this process.
        device: What to compute on; "auto" for an accelerator if there is one.
        threads: Threads of each worker that ``executors`` start; None for 1.
        num_workers: Threads or processes that read images.
        amp: Whether to compute in bfloat16 autocast; None where it is faster.
        outputs: What keeps the files of a command; None for its own.
        args: What ``args.json`` is to say of the call; None for what was given here.

    Returns:
        The result; one that was stopped by Ctrl-C is not finished.

    Raises:
        ValueError: If the job cannot be done, or ``output`` holds another search. Nothing was
            written then.
        SearchError: If every trial failed, too few architectures are left, or no worker can start.

    Example:
        >>> from search import SearchJob, search
        >>> from estimators import TableSettings
        >>> job = SearchJob(space="nasbench201", estimator="table", algorithm="evolution")
        >>> table = TableSettings(table="nasbench201.csv.gz", column="cifar10_test_acc_200ep")
        >>> result = search(job, "runs/evolution", estimator=table)  # doctest: +SKIP
        >>> result.best[0].score, result.trials_dataframe().score.mean()  # doctest: +SKIP
    """
    is_other = isinstance(job, GradientJob)
    advice = "a GradientJob is for search_by_gradients" if is_other else "SearchJob() makes one"
    check_instance("job", job, SearchJob, advice)
    check_given(job, algorithm, estimator, executors)
    output = checked_path("output", output)
    if job.supernet is None and str(device) in ("auto", "cpu"):
        device = "cpu"  # a table does without PyTorch
    else:
        from supernets.runtime.device import resolve_device  # which loads it

        device = resolve_device(device)
    check_machine(num_workers=num_workers, threads=threads, amp=amp)
    with Outputs() if outputs is None else nullcontext(outputs) as outputs:
        check_estimator(job, estimator, executors or ExecutorSettings())
        factory = ExecutorFactory(executors or ExecutorSettings(), device, threads)
        own_space = algorithm.space if isinstance(algorithm, SearchAlgorithm) else None
        subject = open_subject(job, own_space, settings_of(job, estimator), device)
        asked = build_algorithm(job, output, algorithm, subject)
        own_outputs(job, output, outputs)
        measuring = settings_of(job, estimator) or EstimatorSettings()
        trained = open_data(job, subject, measuring.train_batch_size, num_workers)
        setup = set_up(job, output, subject, asked, trained, estimator, factory, amp, outputs)
        if subject.pool is not None and subject.table is not None:
            is_given = job.pool is not None
            note_pool(subject.pool, subject.table[0], subject.space, is_given=is_given)
        note_fewer_random(job, algorithm, asked.algorithm.options.settings())
        outputs.begin()
        store = setup.store

        def describe() -> str:
            return (
                f"What was measured is safe in {store.path}: {plural(store.num_told, 'trial')}. "
                "Free space, or mend what is wrong there, and run the same command again."
            )

        with saying_what_is_safe(describe), store:
            given = {**vars(job), "algorithm_settings": algorithm, "estimator_settings": estimator}
            given |= {"executors": executors, "output": output, "device": str(device)}
            given |= {"threads": threads, "num_workers": num_workers, "amp": amp}
            write_args(output, args or given)
            with table_in_any_case(store, output / "trials.csv"):
                try:
                    with explained(setup.cost_model, job):
                        run_search(
                            setup.algorithm,
                            setup.estimator,
                            store,
                            num_trials=job.num_trials,
                            batch_size=setup.batch_size,
                            make_executor=setup.executors.create,
                        )
                except KeyboardInterrupt:
                    return SearchResult(output, setup.space, store.trials, is_finished=False)
                except (SpaceExhaustedError, ExecutorError) as error:
                    raise SearchError(str(error)) from error
        with saying_what_is_safe(describe):
            return finish(job, output, setup)
