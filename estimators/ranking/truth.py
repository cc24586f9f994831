"""What the architectures of a ranking are worth: recorded in a table, or trained from scratch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from estimators.benchmarks.tabular import TabularEstimator
from estimators.ranking.settings import TableTruthSettings, TrainedTruthSettings
from estimators.scores.from_scratch import FromScratchEstimator
from supernets.data.loaders import Loaders
from supernets.networks.base import Supernet
from supernets.runtime.wording import plural
from supernets.spaces import Architecture, SearchSpace
from supernets.training.standalone_config import RetrainConfig

#: Test images behind accuracies of CIFAR-10 in published tables, and behind all of NAS-Bench-101's.
CIFAR10_TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Truth:
    """What architectures are worth, from a table or from trainings to come.

    Args:
        source: Name of the table, or the recipe of the trainings.
        unit: Unit of the values; empty where it is not known.
        table: Values by architecture; None for trainings.
        trainer: Estimator that does the trainings; None for a table.
        test_images: Number of images behind each value; None where that is not known.
        repeats: Values of single seeds by architecture, one mapping a seed; may be empty.
    """

    source: str
    unit: str
    table: Mapping[Architecture, float] | None = None
    trainer: FromScratchEstimator | None = None
    test_images: int | None = None
    repeats: tuple[Mapping[Architecture, float], ...] = ()


def truth_of_table(settings: TableTruthSettings, space: SearchSpace) -> Truth:
    """Opens a table, with the columns of single seeds.

    Args:
        settings: The table and its columns.
        space: Parses the architectures of the table.

    Raises:
        ValueError: If it cannot be read.
    """
    table, column = settings.table, settings.column
    assert table is not None and column is not None

    def opened(column: str) -> TabularEstimator:
        return TabularEstimator.open(
            table,
            space,
            arch_column=settings.arch_column,
            value_column=column,
            split="test",
            trust_pickle=settings.trust_pickle,
        )

    found = opened(column)
    test_images = settings.test_images
    if test_images is None:
        test_images = known_test_size(table, found.column)
    return Truth(
        f"table {table}, column {found.column}",
        "" if test_images is None else "%",
        found.values,
        test_images=test_images,
        repeats=tuple(opened(column).values for column in settings.seed_columns or ()),
    )


def truth_of_trainings(
    settings: TrainedTruthSettings,
    folder: Path,
    supernet: Supernet,
    loaders: Loaders,
    device: torch.device,
) -> Truth:
    """Sets up trainings from scratch, which go on from what their folder holds.

    Args:
        settings: The recipe.
        folder: Existing folder in which the trainings are kept.
        supernet: Says which networks to build; its weights are not used.
        loaders: The data, with train minibatches of the size that the settings say.
        device: Device to train on.

    Raises:
        ValueError: If the folder holds trainings with other settings.
    """
    recipe = RetrainConfig(epochs=settings.epochs, lr=settings.lr)
    trainer = FromScratchEstimator(supernet, loaders, recipe, folder, device=device)
    source = (
        f"trained from scratch for {plural(settings.epochs, 'epoch')} (learning rate "
        f"{settings.lr:g}, batch size {loaders.train.batch_size}, one seed)"
    )
    return Truth(source, "%", trainer=trainer, test_images=loaders.test.num_images)


def known_test_size(table: Path, column: str) -> int | None:
    """Returns the images behind the accuracies of a well-known column, None for others.

    Known are NAS-Bench-101's two splits, and columns whose name says CIFAR-10 and test.
    """
    if table.name.endswith(".tfrecord") or re.search(r"cifar-?10(?!\d).*test", column.lower()):
        return CIFAR10_TEST_IMAGES
    return None


def checked_truth(truth: Truth, archs: Sequence[Architecture], *, is_asked_for: bool) -> Truth:
    """Keeps the test set of a table only where the values are accuracies in percent.

    Args:
        truth: The truth that ``truth_of_table`` returned.
        archs: The architectures to rank, all of which the table has.
        is_asked_for: Whether the size of the test set was given, not known by name.

    Raises:
        ValueError: If it was given, and a value cannot be a percentage or all look like shares; or
            if a column of a single seed lacks an architecture.
    """
    assert truth.table is not None
    for i, repeat in enumerate(truth.repeats):
        missing = [arch for arch in archs if arch not in repeat]
        if missing:
            raise ValueError(
                f"Column {i + 1} of --truth-seed-columns lacks {len(missing)} of {len(archs)} "
                "architectures; leave them or the column out."
            )
    values = np.array([truth.table[arch] for arch in archs])
    if truth.test_images is None or (values.min() >= 0 and 1 < values.max() <= 100):
        return truth
    if is_asked_for:
        raise ValueError(
            "--truth-test-size is of accuracies in percent, the values of the table are from "
            f"{values.min():.4g} to {values.max():.4g}; leave it out."
        )
    return replace(truth, unit="", test_images=None)
