"""What is searched: the supernet, or what stands for its space, with costs and data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import supernets.runtime.option_types as kinds
from estimators.benchmarks.tabular import TabularEstimator, open_table
from estimators.scores.revisions import revisions
from estimators.scores.settings import EstimatorSettings, TableSettings
from search.algorithms.meta_supernets import meta_supernet
from search.algorithms.problem import SearchProblem
from search.runs.job import SearchJob, SubjectOptions
from search.runs.pool import pool_of_table, read_pool
from supernets.cost.analytic import CostModel, Counting
from supernets.runtime.digests import file_digest
from supernets.runtime.instances import check_switch
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.factory import SPACES, create_space

if TYPE_CHECKING:
    import torch

    from supernets.data.loaders import Loaders
    from supernets.networks.base import Supernet


@dataclass(frozen=True)
class Trained:
    """What the search reads of a trained supernet."""

    supernet: Supernet
    loaders: Loaders
    digest: str
    #: Of its training, a row per epoch.
    history: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Subject:
    """What is searched, opened."""

    whole_space: SearchSpace
    space: SearchSpace  # without the resolutions that are not searched
    #: The supernet, or what only knows the costs of its networks; None where there are none.
    supernet: Counting | None
    checkpoint: dict[str, Any] | None
    cost_model: CostModel | None
    device: torch.device | str
    #: The table that is searched, with what the header of trials says of it; None for none.
    table: tuple[TabularEstimator, dict[str, Any]] | None = None
    #: The only architectures that are searched; None for all.
    pool: Sequence[Architecture] | None = None


def open_subject(
    job: SubjectOptions,
    own_space: SearchSpace | None,
    measuring: EstimatorSettings | None,
    device: torch.device | str,
) -> Subject:
    """Opens the supernet, or what stands for its space, if anything; the table and the pool.

    Args:
        job: The job.
        own_space: Space of an algorithm of one's own, whose problem says of which pool it is; None
            for that of the job.
        measuring: Settings of the estimator; None for one of one's own.
        device: What to compute on.

    Raises:
        ValueError: If the supernet, the resolution, the latency table, the table or the pool does
            not fit.
    """
    checkpoint: dict[str, Any] | None = None
    supernet: Counting | None = None
    if job.supernet is not None:
        import torch  # here, as a search of a table needs none

        from supernets.training.checkpoint import (
            check_space,
            read_training_checkpoint,
            trained_supernet,
        )

        device = torch.device(device)
        if job.space is not None:
            SPACES.find(job.space)  # code that is named here is trusted
        checkpoint = read_training_checkpoint(job.supernet, trust_code=job.trust_code)
        check_space(job.space, checkpoint, job.supernet)
        supernet = trained_supernet(checkpoint, job.supernet, device)
    elif job.space is not None:
        supernet = meta_supernet(job.space)
    if supernet is not None:
        whole = supernet.space
    elif own_space is not None:
        whole = own_space
    else:
        assert job.space is not None
        whole = create_space(job.space)
    space = whole
    if job.resolution is not None:
        try:
            space = whole.restrict({"resolution": (str(job.resolution),)})
        except ValueError as error:
            raise ValueError(f"--resolution {job.resolution} does not apply: {error}") from error
    cost_model = None
    if supernet is not None:
        latency = None
        if job.latency_table is not None:
            from supernets.cost.latency import LatencyTable

            latency = LatencyTable.load(job.latency_table, supernet).predict
        cost_model = CostModel(supernet, space=space, latency=latency)
    pool, table = None, None
    if job.pool is not None:
        pool = read_pool(job.pool, space, column=job.pool_column)
    if isinstance(measuring, TableSettings):
        table = open_table(measuring, whole)
        if pool is None and own_space is None:
            pool = pool_of_table(table[0], space)
    return Subject(whole, space, supernet, checkpoint, cost_model, device, table, pool)


def header_of(
    job: SubjectOptions,
    subject: Subject,
    problem: SearchProblem,
    searched_by: Mapping[str, Any],
    *,
    supernet: str | None,
    scores: Iterable[str],
) -> dict[str, Any]:
    """Returns all that decides the trials of a search, for their header.

    Args:
        job: What is searched.
        subject: The same, opened.
        problem: What the algorithm is told of it.
        searched_by: What decides them beside what is searched: algorithm, estimator, levels.
        supernet: SHA-256 of the supernet's weights; None without one.
        scores: Names of the scores that are measured or looked at.
    """
    constraints = job.constraints
    used = [*scores, *(constraint.metric for constraint in constraints)]
    found: dict[str, Any] = {
        "space": subject.whole_space.name,
        "resolution": job.resolution,
        "supernet": supernet,
        **searched_by,
        "constraints": [asdict(constraint) for constraint in constraints],
        "latency_table": None if job.latency_table is None else file_digest(job.latency_table),
        "seed": problem.seed,
        **revisions(subject.whole_space.name, used),
    }
    if problem.pool is not None:
        found["pool"] = {"num_archs": len(problem.pool), "digest": problem.pool_digest}
    return found


def check_machine(*, num_workers: int, threads: int | None, amp: bool | None) -> None:
    """Makes sure of what a search is told of the machine.

    Raises:
        ValueError: If a value is out of range, or of another kind.
    """
    kinds.WORKERS.check("num_workers", num_workers)
    if threads is not None:
        kinds.THREADS.check("threads", threads)
    check_switch("amp", amp, may_be_none=True)


def open_data(
    job: SearchJob,
    subject: Subject,
    batch_size: int,
    num_workers: int,
) -> Trained | None:
    """Opens the data that the supernet was trained on; None where there is none.

    Args:
        job: The job.
        subject: What ``open_subject`` returned.
        batch_size: Images in each train minibatch.
        num_workers: Threads or processes that read images.

    Raises:
        ValueError: If the data cannot be opened.
    """
    if subject.checkpoint is None or job.supernet is None:
        return None
    import torch  # here, as a search of a table has no data

    from supernets.networks.base import Supernet
    from supernets.training.checkpoint import reopen_data, weights_digest

    supernet = subject.supernet
    assert isinstance(supernet, Supernet)
    loaders = reopen_data(
        subject.checkpoint,
        job.supernet,
        data_dir=job.data_dir,
        batch_size=batch_size,
        device=torch.device(subject.device),
        num_workers=num_workers,
    )
    history = subject.checkpoint.get("progress", {}).get("history", ())
    return Trained(supernet, loaders, weights_digest(supernet), history)
