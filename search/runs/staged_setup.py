"""What measures at the levels of a staged search, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.benchmarks.tabular import TabularEstimator, open_table
from estimators.scores.settings import EstimatorSettings, TableSettings
from search.runs.pool import note_pool, pool_of_table
from search.runs.staged_job import StagedJob
from search.runs.subject import Subject
from search.staged.levels import TRAIN, Level, TableLevel, TrainLevel, sizes_for
from search.staged.measuring import LevelMeasure
from supernets.runtime.outputs import Outputs
from supernets.spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    from supernets.data.loaders import Loaders


@dataclass(frozen=True)
class Machine:
    """What measurements are made with."""

    device: Any
    num_workers: int
    amp: bool | None


def measure_levels(
    job: StagedJob, output: Path, subject: Subject, machine: Machine, outputs: Outputs
) -> list[LevelMeasure]:
    """Builds what measures at each level, in their order.

    Raises:
        ValueError: If a level does not fit the space or the data.
    """
    data = _Data(job, subject, machine)
    levels = job.basics.read_levels()
    trainings = job.basics.trainings or output / "scratch"
    if any(level.kind == TRAIN for level in levels):
        from estimators.scores.from_scratch import own_folder  # loads PyTorch

        own_folder(outputs, trainings, option="--scratch-dir")
    found = []
    for level in levels:
        if isinstance(level.settings, TableLevel):
            found.append(_of_table(job, level, subject))
        elif isinstance(level.settings, TrainLevel):
            found.append(_of_training(level, trainings, subject, machine, data))
        else:
            found.append(_of_supernet(level, subject, machine, data))
    return found


def listed_in_all(levels: Sequence[LevelMeasure], space: SearchSpace) -> list[Architecture] | None:
    """Returns what all tables among the levels list, if that is a part of the space; else None.

    Raises:
        ValueError: If they have nothing in common.
    """
    listed: list[Architecture] | None = None
    for level in levels:
        if isinstance(level.estimator, TabularEstimator):
            part = pool_of_table(level.estimator, space)
            if part is not None:
                known = None if listed is None else set(listed)
                listed = [arch for arch in part if known is None or arch in known]
    if listed is not None and not listed:
        raise ValueError("The columns of --table have values for no architecture in common.")
    return listed


def note_pool_of(
    levels: Sequence[LevelMeasure],
    pool: Sequence[Architecture] | None,
    space: SearchSpace,
    *,
    is_given: bool,
) -> None:
    """Says how much of a space or a given pool the tables among the levels list, if not all."""
    tables = [each.estimator for each in levels if isinstance(each.estimator, TabularEstimator)]
    if pool is not None:
        for table in tables if is_given else tables[:1]:
            note_pool(pool, table, space, is_given=is_given)


def _of_table(job: StagedJob, level: Level, subject: Subject) -> LevelMeasure:
    assert isinstance(level.settings, TableLevel)
    settings = TableSettings(
        table=job.basics.table,
        column=level.settings.column,
        arch_column=job.basics.arch_column,
    )
    estimator, described = open_table(settings, subject.whole_space)
    return LevelMeasure(
        level.text,
        estimator,
        level.settings.seconds,
        {**described, "seconds": level.settings.seconds},
    )


def _of_supernet(level: Level, subject: Subject, machine: Machine, data: _Data) -> LevelMeasure:
    from estimators.factory import create_described_estimator  # loads PyTorch
    from supernets.networks.base import Supernet

    settings = level.settings
    assert isinstance(settings, EstimatorSettings) and isinstance(subject.supernet, Supernet)
    loaders = None
    if set(settings.needs) - {"supernet"}:
        loaders = data.loaders(None, settings.train_batch_size)
    estimator, described = create_described_estimator(
        level.kind,
        settings,
        supernet=subject.supernet,
        data=loaders,
        space=subject.whole_space,
        device=machine.device,
        amp=data.amp,
    )
    return LevelMeasure(level.text, estimator, None, described)


def _of_training(
    level: Level, trainings: Path, subject: Subject, machine: Machine, data: _Data
) -> LevelMeasure:
    from estimators.scores.from_scratch import FromScratchEstimator
    from estimators.scores.names import Score
    from supernets.networks.factory import create_supernet
    from supernets.training.standalone_config import RetrainConfig

    settings, space = level.settings, subject.whole_space.name
    assert isinstance(settings, TrainLevel)
    sizes = {**data.sizes, **sizes_for(level, space)}
    loaders = data.loaders(settings.image_size, settings.batch_size)
    if settings.num_train is not None:
        try:
            loaders = loaders.with_fewer_train(settings.num_train)
        except ValueError as error:
            raise ValueError(f"Level {level.text!r}: {error}") from error
    if sizes.get("resolutions") and settings.image_size is not None:
        raise ValueError(
            f"Level {level.text!r}: architectures of this supernet have sizes of images of their "
            "own; leave image_size out."
        )
    network = create_supernet(
        space, num_classes=loaders.num_classes, input_size=loaders.input_size, **sizes
    )
    folder = trainings / _slug(level.text)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RetrainConfig(epochs=settings.epochs, lr=settings.lr, amp=data.amp, seed=settings.seed)
    try:
        estimator = FromScratchEstimator(
            network, loaders, recipe, folder, score=Score(settings.score), device=machine.device
        )
    except ValueError as error:
        raise ValueError(f"Level {level.text!r}: {error}") from error
    return LevelMeasure(level.text, estimator, None, {**level.record, **estimator.settings})


def _slug(text: str) -> str:
    """The name of the folder of a level's trainings."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


class _Data:
    """Opens the data once for every size of images and of minibatches."""

    def __init__(self, job: StagedJob, subject: Subject, machine: Machine) -> None:
        self._job, self._subject, self._machine = job, subject, machine
        self._opened: dict[tuple[int | None, int], Loaders] = {}
        checkpoint = subject.checkpoint
        if checkpoint is not None:
            from supernets.networks.base import Supernet  # loads PyTorch

        #: Sizes of the networks that are trained, where a level does not say others.
        self.sizes: Mapping[str, Any] = {}
        if checkpoint is not None:
            assert isinstance(subject.supernet, Supernet)
            self.sizes = {
                name: value
                for name, value in subject.supernet.settings.items()
                if name not in ("num_classes", "input_size")
            }

    @property
    def amp(self) -> bool:
        """Whether to compute in bfloat16 autocast."""
        import torch

        from supernets.networks.factory import chosen_amp

        device = torch.device(self._machine.device)
        return chosen_amp(self._machine.amp, self._subject.whole_space.name, device)

    def loaders(self, image_size: int | None, batch_size: int) -> Loaders:
        """Returns the data with images of a size, None for their own, in minibatches of a size."""
        import torch

        from supernets.data.loaders import create_loaders
        from supernets.training.checkpoint import reopen_data

        key = image_size, batch_size
        if key in self._opened:
            return self._opened[key]
        checkpoint, basics = self._subject.checkpoint, self._job.basics
        device, num_workers = torch.device(self._machine.device), self._machine.num_workers
        if checkpoint is not None:
            assert basics.supernet is not None
            self._opened[key] = reopen_data(
                checkpoint,
                basics.supernet,
                data_dir=basics.data_dir,
                image_size=image_size,
                batch_size=batch_size,
                device=device,
                num_workers=num_workers,
            )
        else:
            config = self._job.data
            assert config is not None
            if image_size is not None:
                config = replace(config, image_size=image_size)
            self._opened[key] = create_loaders(
                config, batch_size=batch_size, device=device, num_workers=num_workers
            )
        return self._opened[key]
