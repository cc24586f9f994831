"""What a ranking may be asked for: how scores are compared, and where the truth is from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import supernets.runtime.option_types as kinds
from estimators.ranking.macs_windows import AUTO, DEFAULT_TOLERANCE, MacsTarget
from estimators.scores.settings import BATCH_SIZE, TableSettings
from supernets.runtime.options import Options, option

_TOP_K = 10

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparisonSettings(Options):
    """How scores are compared with the truth.

    Args:
        seed: Seed of everything that is drawn, random architectures included.
        top_k: Number of architectures that count as the top; None for 10, or half of fewer than 20
            architectures.
        num_bootstrap: Number of resamples behind the 95% intervals.
        num_known: Number of architectures whose truth a combined score is fitted to; None for a
            fifth.
        stability: Rank correlation with the largest B at which a smaller one is enough.
        macs_windows: Targets, in MACs, of windows within which scores are compared as well; or
            ``("auto",)``, for the quartiles of the architectures that are ranked. None for none.
        macs_tolerance: Share of its target by which a window reaches to either side; None for
            0.05.

    Raises:
        ValueError: If a number is out of range, a target is given twice or beside ``"auto"``, or
            there is a tolerance and no window.

    Example:
        >>> ComparisonSettings(top_k=5, macs_windows=(40e6, 80e6)).num_bootstrap
        1000
    """

    seed: int = option(0, "of architectures", kinds.SEED, metavar="N")
    top_k: int | None = option(
        None,
        "how many are the top",
        kinds.POSITIVE_INT,
        metavar="K",
        default_text=f"{_TOP_K}, or half of fewer than {2 * _TOP_K} architectures",
    )
    num_bootstrap: int = option(
        1000, "resamples behind the 95%% intervals", kinds.BATCH, metavar="N"
    )
    num_known: int | None = option(
        None,
        "architectures whose truth a combined score is fitted to",
        kinds.AT_LEAST_TWO,
        metavar="N",
        default_text="a fifth",
    )
    stability: float = option(
        0.98,
        "rank correlation with the largest B at which a smaller one is enough",
        kinds.SHARE,
        metavar="R",
    )
    macs_windows: tuple[float | str, ...] | None = option(
        None,
        "compare also within windows around these MACs of the networks one gets, where they cost "
        f"about the same; {AUTO}: around the quartiles of the architectures",
        MacsTarget(),
        nargs="+",
        metavar="MACS",
    )
    macs_tolerance: float | None = option(
        None,
        "share of its MACs by which such a window reaches to either side",
        kinds.FRACTION,
        metavar="SHARE",
        default_text=f"{DEFAULT_TOLERANCE:g}",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.macs_windows is None:
            if self.macs_tolerance is not None:
                raise ValueError(
                    "--macs-tolerance is of the windows of --macs-windows; give these, or leave it "
                    "out."
                )
            return
        given = " ".join(f"{each:g}" if each != AUTO else AUTO for each in self.macs_windows)
        if not self.macs_windows:
            raise ValueError(f"--macs-windows must be targets in MACs, or {AUTO}; got none.")
        if AUTO in self.macs_windows and len(self.macs_windows) > 1:
            raise ValueError(f"--macs-windows are targets or {AUTO} alone, got {given}.")
        if len(set(self.macs_windows)) < len(self.macs_windows):
            raise ValueError(f"--macs-windows names a target twice, got {given}; give each once.")

    def fitted(self, num_archs: int) -> ComparisonSettings:
        """Returns these settings with a ``top_k`` for a number of architectures.

        Raises:
            ValueError: If all of them would be the top.

        Example:
            >>> ComparisonSettings().fitted(8).top_k, ComparisonSettings().fitted(200).top_k
            (4, 10)
        """
        if num_archs < 2:
            raise ValueError(f"A ranking is of two architectures at least, got {num_archs}.")
        if self.top_k is None:
            top_k = min(_TOP_K, num_archs // 2)
            if top_k < _TOP_K:
                _logger.info(
                    "The top are %d of the %d architectures; --top-k, or top_k, chooses another "
                    "number.",
                    top_k,
                    num_archs,
                )
            return replace(self, top_k=top_k)
        if self.top_k >= num_archs:
            raise ValueError(
                f"--top-k must be less than the {num_archs} architectures, got {self.top_k}."
            )
        return self


@dataclass(frozen=True)
class TableTruthSettings(TableSettings):
    """The truth as a table has it.

    Args:
        test_images: Number of test images behind each accuracy; None where the table's name says,
            or nothing does.
        seed_columns: Columns with the truths of single seeds; None for none.

    Raises:
        ValueError: If the table or its column is missing, or the columns of seeds are not two or
            more different ones.
    """

    test_images: int | None = option(
        None,
        "test images behind each accuracy of the table, for the noise ceiling",
        kinds.POSITIVE_INT,
        metavar="N",
        flag="--truth-test-size",
        default_text="that of NAS-Bench-101 and of columns named after CIFAR-10's test set, "
        "otherwise unknown",
    )
    seed_columns: tuple[str, ...] | None = option(
        None,
        "columns of the table with the truths of single seeds, for the noise ceiling",
        kinds.name,
        nargs="+",
        metavar="NAME",
        flag="--truth-seed-columns",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = self.seed_columns
        if columns is not None and (len(columns) < 2 or len(set(columns)) < len(columns)):
            raise ValueError(
                "--truth-seed-columns must be two or more different columns, got "
                f"{' '.join(columns)}."
            )


@dataclass(frozen=True)
class TrainedTruthSettings(Options):
    """The truth of trainings from scratch.

    Args:
        epochs: Epochs that every architecture is trained for.
        lr: Peak of the learning rate.
        batch_size: Images in each train minibatch.
        folder: Folder in which the trainings are kept; None for one in that of the ranking.
    """

    epochs: int = option(
        None,
        "instead of a table, train every architecture from scratch for N epochs",
        kinds.POSITIVE_INT,
        metavar="N",
        flag="--truth-epochs",
        default_text="a table",
    )
    lr: float = option(0.1, "of these trainings", kinds.POSITIVE, metavar="LR", flag="--truth-lr")
    batch_size: int = option(
        BATCH_SIZE, "of these trainings", kinds.BATCH, metavar="N", flag="--truth-batch-size"
    )
    folder: Path | None = option(
        None,
        "where these trainings are kept for later comparisons",
        kinds.path,
        metavar="DIR",
        flag="--truth-dir",
        default_text="in --output",
    )


#: Where the truth may be from, by the flag that says so.
TRUTHS: Mapping[str, type[Options]] = {
    "--table": TableTruthSettings,
    "--truth-epochs": TrainedTruthSettings,
}
