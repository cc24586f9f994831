"""A whole staged search: from a job to the files of its run."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from estimators.executors import Executor, ExecutorError, ExecutorFactory, ExecutorSettings
from estimators.trials.store import Trial, TrialStore
from search.algorithms.base import SpaceExhaustedError
from search.algorithms.problem import SearchProblem
from search.runner import SearchError
from search.runs.results import table_in_any_case
from search.runs.staged_job import STAGED, StagedJob
from search.runs.staged_results import (
    StagedResult,
    finish_staged,
    note_levels,
)
from search.runs.staged_setup import Machine, listed_in_all, measure_levels, note_pool_of
from search.runs.subject import Subject, check_machine, header_of, open_subject
from search.staged.algorithm import StagedSearch
from search.staged.levels import LevelledSpace
from search.staged.measuring import Measure
from search.staged.records import LevelTrial, Measurement
from search.staged.sampling import heaviest_of
from supernets.cost.analytic import feasibility_check
from supernets.runtime.instances import check_instance, checked_path
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.progress import hides_bars
from supernets.runtime.run_record import write_args
from supernets.runtime.wording import plural
from supernets.spaces import Architecture

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)

#: A bar of the budget in seconds, with measurements by level.
BAR = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}{postfix}]"


def staged_search(
    job: StagedJob,
    output: str | Path,
    *,
    executors: ExecutorSettings | None = None,
    device: torch.device | str = "cpu",
    threads: int | None = None,
    num_workers: int = 2,
    amp: bool | None = None,
    outputs: Outputs | None = None,
    args: Mapping[str, Any] | None = None,
) -> StagedResult:
    """Searches by measurements of rising cost and truth, until a budget of seconds is spent.

    Keeps in ``output`` ``trials.db``, from which the same call continues whatever stopped it,
    ``trials.csv``, ``best.json``, ``args.json`` and ``search.png``. Ctrl-C ends a search early. A
    larger budget than before continues a finished search.

    Args:
        job: What to search, by which levels, and how long.
        output: Folder of the run, which need not exist.
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
        SearchError: If every measurement failed, or no worker can start.

    Example:
        >>> from search import StagedBasics, StagedJob, staged_search
        >>> levels = ("tse:num_batches=10", "train:epochs=1", "train:epochs=12")
        >>> basics = StagedBasics(supernet="last.pt", levels=levels, budget=4 * 3600)
        >>> result = staged_search(StagedJob(basics), "runs/staged")  # doctest: +SKIP
        >>> result.summary["best"], result.summary["levels"]  # doctest: +SKIP
    """
    check_instance("job", job, StagedJob, "StagedJob(StagedBasics(…)) makes one")
    check_instance("executors", executors, (ExecutorSettings, type(None)))
    output = checked_path("output", output)
    check_machine(num_workers=num_workers, threads=threads, amp=amp)
    if job.basics.computes:
        from supernets.runtime.device import resolve_device  # which loads PyTorch

        device = resolve_device(device)
    with Outputs() if outputs is None else nullcontext(outputs) as outputs:
        factory = ExecutorFactory(executors or ExecutorSettings(), device, threads)
        run = _set_up(job, output, Machine(device, num_workers, amp), factory, outputs)
        outputs.begin()

        def describe() -> str:
            return (
                f"What was measured is safe in {run.store.path}: "
                f"{plural(run.store.num_told, 'measurement')}. Free space, or mend what is wrong "
                "there, and run the same command again."
            )

        with saying_what_is_safe(describe), run.store:
            given = {**vars(job.basics), **asdict(job.options), "output": output, "data": job.data}
            given |= {"executors": executors, "device": str(device), "threads": threads}
            given |= {"num_workers": num_workers, "amp": amp, "algorithm": STAGED}
            write_args(output, args or given)
            with table_in_any_case(run.store, output / "trials.csv", run.told):
                try:
                    with factory.create(run.measure) as executor:
                        run.measure_all(executor)
                except KeyboardInterrupt:
                    return StagedResult(output, run.space, run.levelled_trials(), is_finished=False)
                except (SpaceExhaustedError, ExecutorError) as error:
                    raise SearchError(str(error)) from error
        with saying_what_is_safe(describe):
            return finish_staged(job, output, run)


@dataclass
class StagedRun:
    """A staged search, ready to run."""

    search: StagedSearch
    space: LevelledSpace
    measure: Measure
    store: TrialStore
    subject: Subject
    executors: ExecutorFactory
    #: The architecture of most MACs; None where there are no costs.
    heaviest: Architecture | None

    def measure_all(self, executor: Executor) -> None:
        """Measures until the budget is spent, or nothing more can be asked for.

        What is asked for while others are measured depends on the order in which they finish, which
        the store records; in one process that is the order of the measurements.
        """
        budget = self.search.budget
        with tqdm(total=budget, bar_format=BAR, disable=hides_bars()) as progress:
            self._tell(progress)
            for number, point in self.store.pending:
                executor.submit(number, point)
            while True:
                while len(self.store.pending) < executor.capacity:
                    pending = [Measurement(*self.space.split(p)) for _, p in self.store.pending]
                    asked = self.search.ask(pending)
                    if asked is None:
                        break
                    self.store.ask([self.space.joined(*asked)])
                    executor.submit(*self.store.pending[-1])
                if not self.store.pending:
                    break
                trial = executor.poll(wait=True)
                while trial is not None:
                    self.store.tell(trial)
                    trial = executor.poll(wait=False)
                self._tell(progress)

    def _tell(self, progress: Any) -> None:
        new = self.store.finished_from(len(self.search.trials))
        trials = [self._levelled(trial) for trial in new]
        self.search.tell(trials)
        spent = math.fsum(trial.seconds for trial in trials)
        progress.update(
            min(spent, max(progress.total - progress.n, 0))
        )  # a first one may exceed it
        counts = [sum(t.level == i for t in self.search.trials) for i in range(len(self.names))]
        progress.set_postfix(levels="/".join(map(str, counts)), refresh=False)

    def _levelled(self, trial: Trial) -> LevelTrial:
        return LevelTrial(*self.space.split(trial.arch), trial.score, trial.seconds)

    def levelled_trials(self) -> Sequence[LevelTrial]:
        """Returns all trials in the order they were told."""
        return [self._levelled(trial) for trial in self.store.finished]

    @property
    def told(self) -> Mapping[str, Callable[[Architecture], str]]:
        """Columns of a measurement in the table of trials."""
        return {
            "level": lambda point: self.names[point.choices[0]],
            "arch": lambda point: self.space.inner.format(self.space.split(point)[1]),
        }

    @property
    def names(self) -> Sequence[str]:
        """Names of the levels."""
        return self.space.decisions[0].options


def _set_up(
    job: StagedJob, output: Path, machine: Machine, factory: ExecutorFactory, outputs: Outputs
) -> StagedRun:
    """Builds all that the search needs, and opens the store of what decides it."""
    basics = job.basics
    subject = open_subject(basics, None, None, machine.device)
    names = [level.text for level in basics.read_levels()]
    are_feasible = None
    if subject.cost_model is not None:
        are_feasible = feasibility_check(subject.cost_model, basics.constraints)
    outputs.own(output, kind="search")
    levels = measure_levels(job, output, subject, machine, outputs)
    pool = subject.pool
    if pool is None:
        pool = listed_in_all(levels, subject.space)
    note_pool_of(levels, pool, subject.space, is_given=subject.pool is not None)
    problem = SearchProblem(subject.space, basics.seed, are_feasible, None, pool)
    assert basics.budget is not None
    heaviest, costs = None, subject.cost_model
    if costs is not None:
        heaviest = heaviest_of(
            problem, lambda choices: costs.measure_all(choices)["macs"], job.options.pool_size
        )
    first = () if heaviest is None else (heaviest,)
    search = StagedSearch(problem, len(names), basics.budget, job.options, first)
    digest = None
    if basics.supernet is not None:
        from supernets.networks.base import Supernet
        from supernets.training.checkpoint import weights_digest

        assert isinstance(subject.supernet, Supernet)
        digest = weights_digest(subject.supernet)
    header = header_of(
        basics,
        subject,
        problem,
        {
            "algorithm": {"name": STAGED, **asdict(job.options)},
            "levels": [{**level.described, "name": level.name} for level in levels],
        },
        supernet=digest,
        scores=[level.estimator.name for level in levels],
    )
    space = LevelledSpace(subject.space, names)
    outputs.create()
    path = output / "trials.db"
    outputs.new_file(path)
    store = TrialStore.open(path, header, space)
    outputs.close_on_failure(store.close)
    note_levels(levels)
    measure = Measure(subject.whole_space, levels)
    return StagedRun(search, space, measure, store, subject, factory, heaviest)
