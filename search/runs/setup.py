"""Builds all that a search needs, and refuses what it cannot do before any work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.base import Estimator
from estimators.benchmarks.tabular import TabularEstimator
from estimators.executors import ExecutorFactory, ExecutorSettings
from estimators.scores.names import COST_SCORES, PROXY_SCORES
from estimators.scores.registry import ESTIMATORS
from estimators.scores.revisions import revisions
from estimators.scores.settings import (
    CombinedSettings,
    EstimatorSettings,
    FromScratchSettings,
    TableSettings,
    TSESettings,
)
from estimators.trials.store import TrialStore, read_header
from search.algorithms.base import SearchAlgorithm
from search.algorithms.constraints import explained_exhaustion
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
from search.runner import check_search, check_store
from search.runs.job import SearchJob, check_measurable, without_networks
from search.runs.results import Setup, check_export
from search.runs.subject import Subject, Trained, header_of
from supernets.cost.analytic import CostModel, feasibility_check
from supernets.runtime.digests import digest_of
from supernets.runtime.instances import check_instance
from supernets.runtime.outputs import Outputs
from supernets.runtime.wording import plural
from supernets.spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)

#: What decides the settings of an algorithm: themselves, those that are given by name, or it.
GivenAlgorithm = AlgorithmOptions | SearchAlgorithm | Mapping[str, Any]
GivenEstimator = EstimatorSettings | Estimator


@dataclass(frozen=True)
class Asked:
    """The algorithm, as it is recorded."""

    algorithm: SearchAlgorithm
    name: str
    batch_size: int
    features: ZeroCostFeatures | None


def build_algorithm(
    job: SearchJob,
    output: Path,
    given: GivenAlgorithm | None,
    subject: Subject,
) -> Asked:
    """Builds the algorithm, and makes sure that it can search so much."""
    features, given = None, {} if given is None else given
    if isinstance(given, SearchAlgorithm):
        if job.constraints or job.resolution is not None or job.pool is not None:
            raise ValueError(
                "Constraints, a resolution and a pool are of an algorithm's problem; leave the "
                "job's out."
            )
        algorithm, name = given, _name_of(given)
    else:
        name = ALGORITHMS.own_name(job.algorithm)
        options = given if isinstance(given, AlgorithmOptions) else _options(job, output, given)
        features = _features(job, options, subject, output)
        are_feasible = None
        if subject.cost_model is not None:
            are_feasible = feasibility_check(subject.cost_model, job.constraints)
        problem = SearchProblem(subject.space, job.seed, are_feasible, features, subject.pool)
        algorithm = create_algorithm(job.algorithm, problem, options)
    batch_size = job.batch_size
    if batch_size is None:
        batch_size = ALGORITHMS.find(name).batch_size if ALGORITHMS.is_known(name) else 1
    if isinstance(given, Mapping):
        _check_given(job, given, algorithm)
    with explained(subject.cost_model, job):
        check_search(algorithm, num_trials=job.num_trials, batch_size=batch_size)
    return Asked(algorithm, name, batch_size, features)


def _name_of(algorithm: SearchAlgorithm) -> str:
    """The name of an algorithm in headers: that of the registry, or its class's."""
    for name, entry in ALGORITHMS.items():
        if (type(algorithm), type(algorithm.options)) == (entry.algorithm, entry.options):
            return name
    return type(algorithm).__name__


def _options(job: SearchJob, output: Path, given: Mapping[str, Any]) -> AlgorithmOptions:
    """Returns the algorithm's options, with few enough random trials to leave room for others."""
    path, stored = output / "trials.db", None
    if path.is_file():
        stored = read_header(path).get("algorithm")
    if stored is not None and stored.get("name") != ALGORITHMS.own_name(job.algorithm):
        stored = None
    fitted = fitting_options(job.algorithm, job.num_trials, given, stored)
    return algorithm_options(job.algorithm, **fitted)


def _check_given(job: SearchJob, given: Mapping[str, Any], algorithm: SearchAlgorithm) -> None:
    """Makes sure that no setting was given that has no effect on this search, or too much."""
    for name, words in (("pool", "--ranked-pool"), ("pool_size", "--pool-size")):
        if given.get(name) is not None and algorithm.problem.is_enumerable:
            raise ValueError(
                f"{words} is for spaces too large to rank whole, and {algorithm.problem.name} is "
                "ranked whole; leave it out."
            )
    num_random = num_random_trials(algorithm.options.settings())
    if _gives_random(given) and 0 < job.num_trials <= num_random:
        name = ALGORITHMS.own_name(job.algorithm)
        raise ValueError(
            f"{name} begins with {plural(num_random, 'random trial')}, which would be all of "
            f"--num-trials {job.num_trials}; ask for more of them, for fewer random ones, "
            "or for --algorithm random."
        )


def _gives_random(given: Mapping[str, Any]) -> bool:
    return not {"num_initial", "population_size"}.isdisjoint(given)


def _features(
    job: SearchJob, options: AlgorithmOptions, subject: Subject, output: Path
) -> ZeroCostFeatures | None:
    """Returns the zero-cost features that an algorithm looks at, if any."""
    names = options.settings().get("predictor_inputs", ())
    if not names:
        return None
    if subject.cost_model is None:
        raise without_networks("--predictor-inputs", subject.whole_space.name)
    proxies = [name for name in names if name in PROXY_SCORES]
    if proxies and subject.checkpoint is None:
        raise ValueError(
            f"--predictor-inputs {' '.join(proxies)} need images and so --supernet; only "
            f"{' and '.join(COST_SCORES)} do not."
        )
    path = output / "cheap_scores.db"
    return ZeroCostFeatures(names, subject.space, count=subject.cost_model.measure_all, path=path)


def settings_of(job: SearchJob, estimator: GivenEstimator | None) -> EstimatorSettings | None:
    """The settings of the job's estimator; None where it is an estimator itself."""
    if estimator is None:
        return ESTIMATORS.find(job.estimator).settings()
    return estimator if isinstance(estimator, EstimatorSettings) else None


def check_given(
    job: SearchJob,
    algorithm: GivenAlgorithm | None,
    estimator: GivenEstimator | None,
    executors: ExecutorSettings | None,
) -> None:
    """Makes sure that what a search is given beside its job is of the kinds there are.

    Raises:
        ValueError: If it is not.
    """
    none = type(None)
    check_instance(
        "algorithm",
        algorithm,
        (AlgorithmOptions, SearchAlgorithm, Mapping, none),
        "SearchJob(algorithm=…) names one, whose settings these are",
    )
    check_instance("executors", executors, (ExecutorSettings, none))
    measures = callable(getattr(estimator, "estimate", None)) and not isinstance(estimator, type)
    if measures:
        check_instance("The name of the estimator", getattr(estimator, "name", None), str)
    else:
        check_instance(
            "estimator",
            estimator,
            (EstimatorSettings, none),
            f"SearchJob(estimator=…) names one, whose settings these are, here "
            f"{ESTIMATORS.find(job.estimator).settings.__name__}; or pass an Estimator itself",
        )


def check_estimator(
    job: SearchJob, estimator: GivenEstimator | None, settings: ExecutorSettings
) -> None:
    measuring = settings_of(job, estimator)
    if measuring is not None:
        check_measurable(job)
    if not settings.is_elsewhere:
        return
    if isinstance(measuring, TableSettings):
        raise ValueError(
            "--estimator table looks values up at once; leave --workers and --ray out."
        )
    if isinstance(measuring, TSESettings) and measuring.race_for is not None:
        raise ValueError(
            "--race-for compares a candidate with all finished before it, and workers do not see "
            "each other's; leave it out, or --workers and --ray."
        )


def set_up(
    job: SearchJob,
    output: Path,
    subject: Subject,
    asked: Asked,
    trained: Trained | None,
    given: GivenEstimator | None,
    executors: ExecutorFactory,
    amp: bool | None,
    outputs: Outputs,
) -> Setup:
    """Builds the estimator, and opens the store of what both have decided."""
    features, settings = asked.features, asked.algorithm.options.settings()
    if features is not None and features.proxies and trained is not None:
        features.measure_with(_proxies(features.proxies, trained, subject.device))
    measuring = settings_of(job, given)
    if isinstance(measuring, FromScratchSettings):
        from estimators.scores.from_scratch import own_folder  # loads PyTorch

        folder = measuring.folder or output / "scratch"
        measuring = replace(measuring, folder=folder)
        own_folder(outputs, folder, option="--scratch-dir")
    if isinstance(measuring, CombinedSettings) and job.trust_code:
        measuring = replace(measuring, trust_code=True)
    described: dict[str, Any]
    if given is not None and not isinstance(given, EstimatorSettings):
        estimator, described = given, {"name": given.name}
    elif subject.table is not None:
        estimator, described = subject.table
    else:
        from estimators.factory import create_described_estimator  # loads PyTorch

        estimator, described = create_described_estimator(
            job.estimator,
            measuring,
            supernet=None if trained is None else trained.supernet,
            data=None if trained is None else trained.loaders,
            space=subject.whole_space,
            device=subject.device,
            amp=_chosen_amp(amp, subject),
        )
    inputs = settings.get("predictor_inputs", ())
    header = header_of(
        job,
        subject,
        asked.algorithm.problem,
        {
            "algorithm": {"name": asked.name, "batch_size": asked.batch_size, **settings},
            "estimator": described,
        },
        supernet=None if trained is None else trained.digest,
        scores=[described["name"], *described.get("scores", ()), *inputs],
    )
    test_values = _test_values(job, measuring, subject.whole_space, described)
    check_export(job, header)
    outputs.create()
    path = output / "trials.db"
    outputs.new_file(path)
    store = TrialStore.open(path, header, subject.whole_space)
    outputs.close_on_failure(store.close)
    check_store(store, num_trials=job.num_trials)
    if features is not None and trained is not None:
        outputs.new_file(output / "cheap_scores.db")
        features.check_inputs(_proxy_inputs(features.proxies, trained))
    if estimator.name == "tse":
        from estimators.scores.tse import TSEEstimator  # loads PyTorch

        finished = (trial.metrics for trial in store.trials if "tse" in trial.metrics)
        if isinstance(estimator, TSEEstimator):
            estimator.note_finished(metrics["tse"] for metrics in finished)
    return Setup(
        asked.algorithm,
        asked.batch_size,
        estimator,
        store,
        header,
        subject.whole_space,
        subject.cost_model,
        trained,
        subject.device,
        executors,
        test_values,
    )


def _chosen_amp(asked: bool | None, subject: Subject) -> bool:
    import torch  # here, as a search of a table needs none

    from supernets.networks.factory import chosen_amp

    return chosen_amp(asked, subject.whole_space.name, torch.device(subject.device))


def _test_values(
    job: SearchJob,
    measuring: EstimatorSettings | None,
    space: SearchSpace,
    searched: Mapping[str, Any],
) -> Mapping[Architecture, float] | None:
    """What the result is looked up in, if anything."""
    if job.test_column is None:
        return None
    assert isinstance(measuring, TableSettings) and measuring.table is not None
    tested = TabularEstimator.open(
        measuring.table,
        space,
        arch_column=measuring.arch_column,
        value_column=job.test_column,
        split="test",
        trust_pickle=measuring.trust_pickle,
    )
    if tested.column == searched["table_column"]:
        raise ValueError(
            f"--test-column {tested.column} is what the search sees; name another column, or leave "
            "it out."
        )
    return tested.values


def _proxies(
    names: Sequence[str], trained: Trained, device: torch.device | str
) -> Callable[[Architecture], Mapping[str, float]]:
    """Measures zero-cost proxies on the first minibatch of the train split."""
    from estimators.scores.minibatches import Minibatches  # both load PyTorch
    from estimators.scores.multi_score_factory import create_multi_score

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


def note_fewer_random(
    job: SearchJob, given: GivenAlgorithm | None, settings: Mapping[str, Any]
) -> None:
    """Says where a search begins with fewer random trials than its algorithm's default."""
    if isinstance(given, SearchAlgorithm | AlgorithmOptions) or _gives_random(given or {}):
        return
    number, usual = map(num_random_trials, (settings, algorithm_settings(job.algorithm)))
    if number < usual:
        _logger.info(
            "%s begins with %s instead of %d, so that not all of the %s are random.",
            ALGORITHMS.own_name(job.algorithm),
            plural(number, "random trial"),
            usual,
            plural(job.num_trials, "trial"),
        )


def explained(cost_model: CostModel | None, job: SearchJob) -> AbstractContextManager[None]:
    """Returns ``explained_exhaustion``, or a context that does nothing without costs."""
    return (
        nullcontext() if cost_model is None else explained_exhaustion(cost_model, job.constraints)
    )
