"""Which network is trained as an ordinary one, on what, and how; and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import supernets.runtime.option_types as kinds
from supernets.data.config import DataConfig
from supernets.export.formats import choose_formats
from supernets.export.retrain_source import RetrainSource
from supernets.networks.settings import settings_class
from supernets.runtime.instances import check_instance, check_list, check_switch
from supernets.runtime.option_types import shown
from supernets.runtime.options import options_of
from supernets.runtime.wording import flag, one_of
from supernets.spaces.factory import SPACES
from supernets.training.loop import TrainResult
from supernets.training.standalone_config import RetrainConfig
from supernets.training.supernet_config import DropRates

_RELATIONS = ("same", "resplit", "other")


@dataclass(frozen=True)
class RetrainJob:
    """Which network is trained, on what, and how.

    Args:
        source: The exported subnet, or the architecture.
        data: Which data; None for those the subnet was exported with, for an architecture the
            digits.
        relation: What ``data`` are to those of the export: ``"same"``, whose splits have to be the
            very same, ``"resplit"``, or ``"other"``.
        split_seed: Seed of the splits; None for that of the export, or 0 with other data.
        batch_size: Images per minibatch and process.
        finetune: Whether to start from the exported weights.
        sizes: Settings of the network that were asked for, such as ``channels``; what is missing is
            as exported, or by default.
        rates: What the network drops.
        config: The recipe.
        formats: What to write besides the weights, some of ``FORMATS``; None for all that the space
            has and the installed packages write.

    Raises:
        ValueError: If the network has not what is asked for, or a value is out of range.

    Example:
        >>> source = RetrainSource.of_architecture(
        ...     "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", "nasbench201"
        ... )
        >>> RetrainJob(source, sizes={"layers": 8})
        Traceback (most recent call last):
            ...
        ValueError: Networks of space 'nasbench201' have no --layers; leave it out.
    """

    source: RetrainSource
    data: DataConfig | None = None
    relation: Literal["same", "resplit", "other"] = "other"
    split_seed: int | None = None
    batch_size: int = 256
    finetune: bool = False
    sizes: Mapping[str, Any] = field(default_factory=dict)
    rates: DropRates = DropRates()
    config: RetrainConfig = field(default_factory=RetrainConfig)
    formats: Sequence[str] | None = None

    def __post_init__(self) -> None:
        source = self.source
        check_instance(
            "source",
            source,
            RetrainSource,
            "RetrainSource.of_subnet and RetrainSource.of_architecture make one",
        )
        check_instance("data", self.data, (DataConfig, type(None)), "DataConfig('digits') is one")
        check_instance("sizes", self.sizes, Mapping, "{'layers': 8} is one")
        check_instance("rates", self.rates, DropRates, "DropRates(drop_path=0.2) is one")
        check_instance(
            "config", self.config, RetrainConfig, "RetrainConfig(epochs=10) sets its fields"
        )
        if self.relation not in _RELATIONS:
            raise ValueError(
                f"relation must be {one_of(list(_RELATIONS))}, got {shown(self.relation)}."
            )
        check_switch("finetune", self.finetune)
        kinds.BATCH.check("batch_size", self.batch_size)
        if self.split_seed is not None:
            kinds.SEED.check("split_seed", self.split_seed)
        if self.formats is not None:
            check_list("formats", self.formats, str, "['pt2'] is one")
            choose_formats(self.formats, source.space)
        if self.finetune and source.weights is None:
            raise ValueError(
                "--arch is an architecture without weights; leave out --finetune, or pass --subnet."
            )
        if self.config.drop_path_ramp and self.rates.drop_path == 0:
            raise ValueError("--drop-path-ramp needs the rate it ends with; pass --drop-path.")
        foreign = [name for name in self.sizes if name not in source.settings]
        if self.config.aux_weight > 0 and not SPACES.find(source.space).has_auxiliary_head:
            foreign.append("aux_weight")
        if foreign:
            raise ValueError(
                f"Networks of space {source.space!r} have no {_flags(foreign)}; leave it out."
            )
        if self.sizes and self.finetune:
            raise ValueError(
                f"The weights of {source.name} are for the size they were exported with; leave out "
                f"{_flags(self.sizes)}, or --finetune."
            )
        settings = settings_class(source.space)
        known = options_of(settings)
        settings(**{name: value for name, value in self.sizes.items() if name in known})  # checks


@dataclass(frozen=True)
class RetrainResult:
    """How a training ended, and what was handed over.

    Args:
        training: How the training ended.
        subnet: The folder of the trained network; None if the training was asked to stop, and of
            all processes but the main one.
        record: What its ``subnet.json`` holds.
    """

    training: TrainResult
    subnet: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


def _flags(names: Iterable[str]) -> str:
    return ", ".join(map(flag, names))
