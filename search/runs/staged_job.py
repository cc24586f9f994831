"""What a staged search is to do, as options of its command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import supernets.runtime.option_types as kinds
from estimators.scores.settings import arch_column_option, table_option, trainings_option
from search.runs.job import SubjectOptions
from search.staged.levels import TABLE, TRAIN, Level, read_levels, sizes_for
from search.staged.options import StagedOptions
from supernets.data.config import DataConfig
from supernets.runtime.instances import check_instance
from supernets.runtime.options import option
from supernets.runtime.wording import plural

#: Its name among the algorithms.
STAGED = "staged"


@dataclass(frozen=True)
class StagedBasics(SubjectOptions):
    """What is searched by levels, and how long.

    Args:
        levels: The levels, of rising cost, in the text that ``search.staged.levels`` describes; the
            last is what counts.
        budget: Seconds that all measurements together may take, wherever they are made.
        seed: Makes the search repeatable.
        table: Table that levels of kind ``table`` are looked up in; None for none.
        arch_column: Column of the architectures in the table; None for ``"arch_str"``.
        trainings: Folder in which trainings are kept, for other searches too, though not for two at
            once; None for one in the output.

    Raises:
        ValueError: If a value is missing or out of range, or they do not go together.

    Example:
        >>> levels = ("tse:num_batches=10", "train:epochs=1", "train:epochs=12")
        >>> StagedBasics(supernet="last.pt", levels=levels, budget=4 * 3600).seed
        0
    """

    levels: tuple[str, ...] = option(
        (),
        "what to measure, of rising cost, the last is what counts: an estimator, "
        "train:epochs=E,image_size=PX,num_train=N,SIZE=… or table:column=NAME,seconds=S; settings "
        "as key=value with commas",
        kinds.name,
        nargs="+",
        metavar="LEVEL",
        default_text="none, and it needs some",
    )
    budget: float | None = option(
        None,
        "device time of all measurements together, such as 4h or 90m",
        kinds.DURATION,
        metavar="TIME",
        default_text="none, and it needs one",
    )
    seed: int = option(0, "", kinds.SEED, metavar="N")
    table: Path | None = table_option()
    arch_column: str | None = arch_column_option()
    trainings: Path | None = trainings_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.read_levels()
        if self.budget is None:
            raise ValueError("A staged search needs --budget, such as 4h.")
        inherited = [level.text for level in levels if level.is_inherited]
        if inherited and self.supernet is None:
            raise ValueError(
                f"{plural(len(inherited), 'level')} of --levels, {', '.join(inherited)}, cannot be "
                "measured without --supernet; give that, or leave them out."
            )
        if self.supernet is None and self.space is None:
            raise ValueError("A staged search needs --supernet or --space.")
        looked_up = [level.text for level in levels if level.kind == TABLE]
        if looked_up and self.table is None:
            raise ValueError(f"Level {looked_up[0]} needs --table.")
        for name in ("table", "arch_column"):
            if getattr(self, name) is not None and not looked_up:
                raise ValueError(f"--{name.replace('_', '-')} is of levels table:…; leave it out.")
        if self.trainings is not None and not any(level.kind == TRAIN for level in levels):
            raise ValueError("--scratch-dir is of levels train:…; leave it out.")
        if self.space is not None:
            for level in levels:
                if level.kind == TRAIN:
                    sizes_for(level, self.space)

    @property
    def computes(self) -> bool:
        """Whether a level measures networks, and does not look values up."""
        return any(level.kind != TABLE for level in self.read_levels())

    def read_levels(self) -> tuple[Level, ...]:
        """Returns the levels as objects.

        Raises:
            ValueError: If one is none.
        """
        return read_levels(self.levels)


@dataclass(frozen=True)
class StagedJob:
    """A staged search.

    Args:
        basics: What is searched by which levels, and how long.
        options: Settings of the algorithm.
        data: The data that levels of kind ``train`` learn from, where there is no supernet, whose
            data they are otherwise; None for those.

    Raises:
        ValueError: If they do not go together.

    Example:
        >>> levels = ("train:epochs=1,channels=4", "train:epochs=12")
        >>> basics = StagedBasics(space="nasbench201", levels=levels, budget=3600)
        >>> StagedJob(basics, data=DataConfig("digits")).options.num_initial
        20
    """

    basics: StagedBasics
    options: StagedOptions = StagedOptions()
    data: DataConfig | None = None

    def __post_init__(self) -> None:
        check_instance("basics", self.basics, StagedBasics)
        check_instance("options", self.options, StagedOptions)
        check_instance("data", self.data, (DataConfig, type(None)))
        trains = [level for level in self.basics.read_levels() if level.kind == TRAIN]
        if trains and self.basics.supernet is None and self.data is None:
            raise ValueError(
                f"Level {trains[0].text} needs images; give --supernet, or --dataset and "
                "--data-dir."
            )
        if self.data is not None and self.basics.supernet is not None:
            raise ValueError(
                "The data are those the supernet was trained on; leave --dataset out, and give "
                "--data-dir where they have moved."
            )
        if self.data is not None and not trains:
            raise ValueError("No level trains; leave the data out.")
