"""What a search that asks and tells is to do, as options of its command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import supernets.runtime.option_types as kinds
from estimators.scores.registry import ESTIMATORS, WHICH_ESTIMATOR
from search.algorithms.constraints import constraints_within
from search.algorithms.registry import ALGORITHMS
from supernets.cost.analytic import METRICS, Constraint
from supernets.runtime.options import Options, option
from supernets.runtime.trusted_code import trust_code_option
from supernets.runtime.wording import flag, one_of
from supernets.spaces.factory import SPACES, WHICH_SPACE, has_networks

#: Which subnet is exported. The default was measured, so that it is known to be good; a predictor
#: of few trials may be wrong about what it puts first.
ExportChoice = Literal["measured", "predicted"]
EXPORT_CHOICES: tuple[ExportChoice, ...] = ("measured", "predicted")


def _bound(bound: str, metric: str) -> Any:
    unit, example = ("MS", "milliseconds") if metric == "latency" else ("N", "such as 60e6")
    words = f"{bound} {metric} of a subnet, {example}"
    return option(None, words, kinds.NON_NEGATIVE, metavar=unit, default_text="any")


@dataclass(frozen=True)
class SubjectOptions(Options):
    """What is searched.

    Args:
        supernet: Checkpoint of a trained supernet.
        space: Name of the space; None for the supernet's.
        trust_code: Whether the code of a space that is not built in may be imported.
        data_dir: Where the supernet's data are; None for where they were in training.
        resolution: The one resolution to search; None for all.
        pool: File that lists the only architectures to search, a notation a line, or a CSV file
            with a column of them; None for all.
        pool_column: That column; None for ``"arch_str"``.
        min_params: Least number of parameters of a subnet; None for any, as for all bounds.
        max_params: Most parameters.
        min_macs: Least multiply-accumulates of a subnet.
        max_macs: Most multiply-accumulates.
        min_latency: Least latency of a subnet in milliseconds, by ``latency_table``.
        max_latency: Most latency.
        latency_table: File of measured latencies; None for none.

    Raises:
        ValueError: If a value is out of range, or they do not go together.
    """

    supernet: Path | None = option(
        None,
        "checkpoint of supernet-train; from_scratch takes networks and data from it, not weights",
        kinds.path,
        metavar="FILE",
    )
    space: str | None = option(
        None,
        f"needed without --supernet: {WHICH_SPACE}",
        SPACES,
        metavar="NAME",
        default_text="the supernet's; nasbench201 of a search by gradients",
    )
    trust_code: bool = trust_code_option()
    data_dir: Path | None = option(
        None, "where the data is", kinds.path, metavar="DIR", default_text="as in training"
    )
    resolution: int | None = option(
        None, "search this one only", kinds.PIXELS, metavar="PX", default_text="all"
    )
    pool: Path | None = option(
        None,
        "search only what this file lists: an architecture a line, or a CSV with a column of them",
        kinds.path,
        metavar="FILE",
        default_text="all; of a table that lists a part of the space, those",
    )
    pool_column: str | None = option(
        None, "of --pool, a CSV", kinds.name, metavar="NAME", default_text="arch_str"
    )
    min_params: float | None = _bound("least", "params")
    max_params: float | None = _bound("most", "params")
    min_macs: float | None = _bound("least", "macs")
    max_macs: float | None = _bound("most", "macs")
    min_latency: float | None = _bound("least", "latency")
    max_latency: float | None = _bound("most", "latency")
    latency_table: Path | None = option(
        None,
        "of supernet-latency; its prediction is a cost of the best",
        kinds.path,
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("min_latency", "max_latency"):
            if getattr(self, name) is not None and self.latency_table is None:
                raise ValueError(f"{flag(name)} needs --latency-table, from supernet-latency.")
        if self.pool_column is not None and self.pool is None:
            raise ValueError("--pool-column is of --pool; give that too, or leave it out.")
        if self.supernet is None and self.data_dir is not None:
            raise ValueError("--data-dir needs --supernet.")
        bounds = [f"{bound}_{metric}" for metric in METRICS for bound in ("min", "max")]
        for name in (*bounds, "latency_table"):
            if getattr(self, name) is not None and self.space and not has_networks(self.space):
                raise without_networks(flag(name), self.space)

    @property
    def constraints(self) -> list[Constraint]:
        """The constraints that the bounds are, of those metrics that have one.

        Raises:
            ValueError: If an interval is empty.
        """
        return constraints_within(
            {
                metric: (getattr(self, f"min_{metric}"), getattr(self, f"max_{metric}"))
                for metric in METRICS
            }
        )


@dataclass(frozen=True)
class ResultOptions(Options):
    """What becomes of the result.

    Args:
        export: Folder to export the best subnet to, with inherited weights; None for no export.
        overwrite: Whether to replace an export there that is of another search.
        export_choice: Whether the best ``"measured"`` subnet is exported, or what the last
            predictor puts first; None for the first.
        test_column: Column of the table that the search does not see, by which the result is
            judged; None for none.
        report: Whether to write ``report.html``.

    Raises:
        ValueError: If they do not go together.
    """

    export: Path | None = option(
        None,
        "export the best subnet there, with inherited weights",
        kinds.path,
        metavar="DIR",
        default_text="no",
    )
    overwrite: bool = option(
        False,
        "replace an export in --export that is of another search, the files it is made of and no "
        "others",
    )
    export_choice: ExportChoice | None = option(
        None,
        "which subnet --export writes: the best measured one, or what the last predictor of "
        "weaknas or neural-predictor puts first, as WeakNAS's paper does; it may never have been "
        "measured",
        choices=EXPORT_CHOICES,
        default_text="measured",
    )
    test_column: str | None = option(
        None,
        "column of a table that the search does not see: values of the best trial, of what its "
        "predictor puts first, and the best of all trials",
        kinds.name,
        metavar="NAME",
    )
    report: bool = option(False, "write report.html at the end of the run")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.export_choice is not None and self.export is None:
            raise ValueError("--export-choice is of --export; give that too, or leave it out.")
        if self.overwrite and self.export is None:
            raise ValueError("--overwrite is about the export; pass --export, or leave it out.")


@dataclass(frozen=True)
class SearchJob(ResultOptions, SubjectOptions):
    """A search that asks an algorithm for architectures and tells it their scores.

    Args:
        algorithm: One of ``ALGORITHMS``, or ``package.module:Object`` or ``file.py:Object`` of an
            ``AlgorithmDefinition``.
        num_trials: Number of trials in the end.
        batch_size: Number of architectures asked for at once; None for that of the algorithm.
        seed: Makes the search repeatable.
        estimator: One of ``ESTIMATORS``, or where an ``EstimatorDefinition`` of one's own is.

    Raises:
        ValueError: If a value is out of range, or they do not go together.

    Example:
        >>> SearchJob(space="nasbench201", estimator="table", algorithm="evolution", seed=3).report
        False
    """

    algorithm: str = option(
        "structural-bo", "", kinds.name, default_text="structural-bo, for up to some hundred trials"
    )
    num_trials: int = option(100, "in the end", kinds.POSITIVE_INT, metavar="N")
    batch_size: int | None = option(
        None,
        "architectures asked for at once; of a search by gradients images per process",
        kinds.BATCH,
        metavar="M",
        default_text=", ".join(
            [f"{entry.batch_size} of {name}" for name, entry in ALGORITHMS.items()]
            + ["64 of gradients"]
        ),
    )
    seed: int = option(0, "", kinds.SEED, metavar="N")
    estimator: str = option("tse", WHICH_ESTIMATOR, ESTIMATORS, metavar="NAME")

    def __post_init__(self) -> None:
        super().__post_init__()
        entry = ALGORITHMS.find(self.algorithm)
        if self.estimator != "table" and self.test_column is not None:
            raise ValueError("--test-column is of --table; use --estimator table, or leave it out.")
        if self.export_choice == "predicted" and not entry.predicts:
            predicting = [name for name, each in ALGORITHMS.items() if each.predicts]
            raise ValueError(
                f"--export-choice predicted needs a predictor, which --algorithm {self.algorithm} "
                f"does not fit to the end; use {one_of(predicting)}, or measured."
            )
        if self.export is not None:
            if ESTIMATORS.find(self.estimator).trains_anew:
                raise ValueError(
                    "--export hands over weights inherited from the supernet, and "
                    f"{self.estimator} neither looks at those nor keeps its own; leave it out, "
                    "then give best.json of --output to supernet-export --arch, and what that "
                    "writes to supernet-retrain."
                )
            if self.supernet is None:
                raise ValueError("--export needs --supernet.")

    @property
    def measures_networks(self) -> bool:
        """Whether the estimator needs a supernet, and not only architectures."""
        return "supernet" in ESTIMATORS.find(self.estimator).settings.needs


def check_measurable(job: SearchJob) -> None:
    """Makes sure that there is what the job's estimator measures on.

    Raises:
        ValueError: If there is not.
    """
    if job.supernet is None and job.measures_networks:
        raise ValueError(f"--estimator {job.estimator} needs --supernet.")
    if job.supernet is None and job.space is None:
        raise ValueError(f"--estimator {job.estimator} needs --space (or --supernet).")


def without_networks(flag: str, space: str | None) -> ValueError:
    """Builds the error for what needs networks, of a space that there are only tables of."""
    return ValueError(
        f"{flag} needs networks, to count or measure what they cost, and of space {space!r} there "
        "are only tables; leave it out."
    )
