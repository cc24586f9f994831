"""What each estimator may be set to.

A field of these dataclasses is the one place of its default, its check, its flag and its help. No
PyTorch is needed to read them, so that commands have their help and their refusals at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import supernets.runtime.option_types as kinds
from estimators.scores.names import (
    BENCHMARK_SCORES,
    COST_SCORES,
    GAMMA,
    PROXY_SCORES,
    SCRATCH_SCORES,
)
from estimators.scores.windows import window_argument, window_in_batches, window_in_epochs
from supernets.kernels.choice import kernels_option
from supernets.runtime.options import Options, option

#: Images per minibatch of train data, but for those of recalibration where a supernet needs it.
BATCH_SIZE = 64


@dataclass(frozen=True)
class EstimatorSettings(Options):
    """What an estimator may be set to; by itself that of costs, which is nothing.

    Example:
        >>> EstimatorSettings.needs
        ('supernet',)
    """

    #: What it is built from, see ``create_estimator``.
    needs: ClassVar[tuple[str, ...]] = ("supernet",)

    @property
    def train_batch_size(self) -> int:
        """Images in each train minibatch that loaders for the estimator are to have."""
        return int(vars(self).get("batch_size", BATCH_SIZE))


@dataclass(frozen=True)
class ProxySettings(EstimatorSettings):
    """Settings of zero-cost proxies, which look at one train minibatch of ``batch_size`` images.

    Example:
        >>> ProxySettings(batch_size=32).train_batch_size
        32
    """

    needs: ClassVar[tuple[str, ...]] = ("supernet", "train minibatches")

    batch_size: int = option(
        BATCH_SIZE, "images in a train minibatch", kinds.BATCH, metavar="N", flag="--tse-batch-size"
    )


@dataclass(frozen=True)
class ExtraStepsSettings(ProxySettings):
    """Settings of scores that train a copy of the subnet for a few steps.

    Args:
        num_batches: B, the number of extra minibatches. Its default and that of the rate are those
            of the TSE paper's one-shot experiments.
        lr: Constant learning rate of the SGD steps.
        kernels: ``"auto"`` for this package's kernels on a CPU, where they can be had; ``"off"``
            for PyTorch's alone.

    Example:
        >>> ExtraStepsSettings(num_batches=20).lr
        0.001
    """

    num_batches: int = option(
        100, "extra minibatches of tse", kinds.BATCH, metavar="B", flag="--tse-batches"
    )
    lr: float = option(0.001, "learning rate of tse", kinds.POSITIVE, metavar="LR", flag="--tse-lr")
    kernels: str = kernels_option()


@dataclass(frozen=True)
class TSESettings(ExtraStepsSettings):
    """Settings of "tse"; ``race_for`` is how many of the best it must know exactly.

    Example:
        >>> TSESettings(num_batches=50)
        TSESettings(batch_size=64, num_batches=50, lr=0.001, kernels='auto', race_for=None)
    """

    race_for: int | None = option(
        None,
        "stop a candidate of tse once it cannot be among the K best",
        kinds.POSITIVE_INT,
        metavar="K",
        default_text="never",
    )


@dataclass(frozen=True)
class WindowSettings(EstimatorSettings):
    """The window of TSE-E: the last losses that are summed, see ``estimators.scores.windows``."""

    window: int | str | None = option(
        None,
        "last minibatches that tse_e sums, such as 30, or epochs of them, such as 0.3epochs; "
        "from_scratch: epochs",
        window_argument,
        metavar="E",
        flag="--tse-window",
        default_text="0.3 of B, at most an epoch; from scratch 1 epoch",
    )


@dataclass(frozen=True)
class DecaySettings(EstimatorSettings):
    """The decay of TSE-EMA: the weight of a loss against that of the next step."""

    gamma: float = option(
        GAMMA,
        "decay of tse_ema per minibatch, from scratch per epoch as in the paper",
        kinds.SHARE,
        metavar="G",
        flag="--tse-gamma",
    )


@dataclass(frozen=True)
class TSEESettings(ExtraStepsSettings, WindowSettings):
    """Settings of "tse_e"; its window counts minibatches.

    Raises:
        ValueError: If the window is longer than what is measured.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window is not None and "epoch" not in str(self.window):
            window_in_batches(self.window, self.num_batches)


@dataclass(frozen=True)
class TSEEMASettings(ExtraStepsSettings, DecaySettings):
    """Settings of "tse_ema"."""


@dataclass(frozen=True)
class SOVLSettings(ExtraStepsSettings):
    """Settings of "sovl", which measures the val split after every step."""

    needs: ClassVar[tuple[str, ...]] = ("supernet", "train minibatches", "val minibatches")


@dataclass(frozen=True)
class ValSettings(EstimatorSettings):
    """Settings of scores of the val split.

    Args:
        num_val_batches: Val minibatches; None for all.
        num_recalibrate_batches: Train minibatches for the statistics of BatchNorm; None for 10 of
            200 augmented images where the supernet needs them, and otherwise 0.

    Example:
        >>> ValSettings(num_val_batches=0)
        Traceback (most recent call last):
            ...
        ValueError: num_val_batches must be at least 1, got 0.
    """

    needs: ClassVar[tuple[str, ...]] = ("supernet", "val minibatches")

    num_val_batches: int | None = option(
        None,
        "minibatches of 512 images for val_acc",
        kinds.POSITIVE_INT,
        metavar="N",
        flag="--val-batches",
        default_text="all",
    )
    num_recalibrate_batches: int | None = option(
        None,
        "train minibatches for val_acc's BatchNorm",
        kinds.NON_NEGATIVE_INT,
        metavar="N",
        flag="--recalibrate-batches",
        default_text="10 of 200 augmented images where the supernet needs it, otherwise 0",
    )


@dataclass(frozen=True)
class ValAfterSettings(ExtraStepsSettings, ValSettings):
    """Settings of scores of the val split after the extra steps."""

    needs: ClassVar[tuple[str, ...]] = ("supernet", "train minibatches", "val minibatches")


@dataclass(frozen=True)
class MultiScoreSettings(TSEESettings, TSEEMASettings, ValAfterSettings):
    """Settings of several scores measured at once: those of each.

    Example:
        >>> settings = MultiScoreSettings(num_batches=50, window="0.3epochs", num_val_batches=4)
        >>> settings.lr
        0.001
    """

    @classmethod
    def of(cls, settings: EstimatorSettings) -> MultiScoreSettings:
        """Takes over all that both have, and the defaults of the rest."""
        own = {field.name for field in fields(cls)}
        return cls(**{f.name: getattr(settings, f.name) for f in fields(settings) if f.name in own})


def trainings_option() -> Any:
    """Makes the field of a folder in which trainings from scratch are kept."""
    return option(
        None,
        "where the results of these trainings are kept, for later searches by any score too; not "
        "for two at once",
        kinds.path,
        metavar="DIR",
        flag="--scratch-dir",
        default_text="OUTPUT/scratch",
    )


def table_option() -> Any:
    """Makes the field of a table of values."""
    return option(
        None,
        "table of architectures and values, NAS-Bench-101's records, or NATS-Bench's files",
        kinds.path,
        metavar="CSV",
    )


def arch_column_option() -> Any:
    """Makes the field of the column of architectures in a table."""
    return option(
        None, "column of architectures", kinds.name, metavar="NAME", default_text="arch_str"
    )


@dataclass(frozen=True)
class FromScratchSettings(WindowSettings, DecaySettings):
    """Settings of trainings from scratch that a search goes by; window and decay count epochs.

    Args:
        epochs: Epochs that each candidate is trained for; must be given.
        schedule_epochs: Length of the learning rate schedule, which ends early; None for no longer.
        lr: Peak of the learning rate.
        batch_size: Images in each train minibatch.
        score: What of the training counts, one of ``SCRATCH_SCORES``.
        folder: Existing folder in which the trainings are kept.

    Raises:
        ValueError: If ``epochs`` is missing, or settings do not go together.

    Example:
        >>> FromScratchSettings(epochs=12, schedule_epochs=200, score="tse").lr
        0.1
    """

    needs: ClassVar[tuple[str, ...]] = ("supernet", "loaders as data")

    epochs: int | None = option(
        None,
        "from_scratch: train every candidate for so long from fresh weights",
        kinds.POSITIVE_INT,
        metavar="T",
        flag="--scratch-epochs",
        default_text="none, and it needs one",
    )
    schedule_epochs: int | None = option(
        None,
        "length of their learning rate schedule, which ends early after T",
        kinds.POSITIVE_INT,
        metavar="S",
        flag="--scratch-schedule-epochs",
        default_text="T",
    )
    lr: float = option(0.1, "of these trainings", kinds.POSITIVE, metavar="LR", flag="--scratch-lr")
    batch_size: int = option(
        BATCH_SIZE, "of these trainings", kinds.BATCH, metavar="N", flag="--scratch-batch-size"
    )
    score: str = option(
        "val_acc",
        "what of them counts: validation accuracy after T, or TSE of the mean training losses of "
        "epochs, with --tse-window and --tse-gamma by epoch",
        choices=SCRATCH_SCORES,
        flag="--scratch-score",
    )
    folder: Path | None = trainings_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is None:
            raise ValueError(
                "--estimator from_scratch needs --scratch-epochs, those each candidate is trained "
                "for."
            )
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"--scratch-schedule-epochs must be at least the --scratch-epochs {self.epochs}, "
                f"got {self.schedule_epochs}."
            )
        for flag, is_given, score in (
            ("--tse-window", self.window is not None, "tse_e"),
            ("--tse-gamma", self.gamma != GAMMA, "tse_ema"),
        ):
            if is_given and self.score != score:
                raise ValueError(
                    f"{flag} needs --scratch-score {score}; leave it out or choose that."
                )
        window_in_epochs(self.window, self.epochs)


@dataclass(frozen=True)
class CombinedSettings(ProxySettings):
    """Settings of the combined score, which is fitted to a ranking and measures as that did.

    Args:
        reference: The file of the ranking; must be given.
        trust_code: Whether code that only this file names, of scores of one's own, may be imported.

    Raises:
        ValueError: If the ranking's ``reference`` is missing.
    """

    needs: ClassVar[tuple[str, ...]] = ("supernet", "loaders as data")

    reference: Path | None = option(
        None,
        "reference.json of supernet-rank, which combined is fitted to",
        kinds.path,
        metavar="FILE",
        default_text="none, and it needs one",
    )
    trust_code: bool = False  # no option: the commands have one for all that they read

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference is None:
            raise ValueError(
                "--estimator combined needs --reference, reference.json of supernet-rank."
            )


@dataclass(frozen=True)
class TableSettings(EstimatorSettings):
    """Settings of a table of values.

    Args:
        table: CSV file, record file of NAS-Bench-101 or files of NATS-Bench; must be given.
        column: Column of values in the table, for NATS-Bench the data set; must be given.
        arch_column: Column of architectures in a CSV file; None for ``"arch_str"``.
        trust_pickle: Whether code that NATS-Bench's files hold may run.

    Raises:
        ValueError: If the table or its column is missing.

    Example:
        >>> TableSettings(Path("nasbench201.csv.gz"), "cifar10_valid_acc_200ep").trust_pickle
        False
    """

    needs: ClassVar[tuple[str, ...]] = ("space",)

    table: Path | None = table_option()
    column: str | None = option(
        None,
        "column of values, higher is better; validation or test of NAS-Bench-101; or NATS-Bench's "
        "data set, such as cifar100:valid or cifar100:test",
        kinds.name,
        metavar="NAME",
        flag="--table-column",
        default_text="of a data set: validation where a search goes by it, otherwise test",
    )
    arch_column: str | None = arch_column_option()
    trust_pickle: bool = option(
        False, "open NATS-Bench's files, which are pickles and may run code", default_text="refuse"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table is None:
            raise ValueError("--estimator table needs --table.")
        if self.column is None:
            raise ValueError("--table needs --table-column.")


#: The settings of every score that a ranking may compare, by its name.
RANKED: Mapping[str, type[EstimatorSettings]] = {
    "tse": TSESettings,
    "tse_e": TSEESettings,
    "tse_ema": TSEEMASettings,
    "tlmini": ExtraStepsSettings,
    "sovl": SOVLSettings,
    **dict.fromkeys(("val_acc", "val_loss"), ValSettings),
    **dict.fromkeys(("val_acc_after", "val_loss_after"), ValAfterSettings),
    **dict.fromkeys(PROXY_SCORES, ProxySettings),
    **dict.fromkeys((*COST_SCORES, *BENCHMARK_SCORES), EstimatorSettings),
}
