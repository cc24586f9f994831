"""The options of the commands that open a data set."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from supernets.cli.option_flags import add_options, given_options
from supernets.data.config import DataConfig
from supernets.data.names import is_timm_dataset
from supernets.data.timm_options import TimmAugmentation, TimmOptions
from supernets.runtime.options import options_of

#: What timm is told has a dataclass of its own each, by the field of ``DataConfig``.
OF_TIMM: dict[str, type[TimmAugmentation] | type[TimmOptions]] = {
    "timm_options": TimmOptions,
    "augmentation": TimmAugmentation,
}


def add_data_options(
    parser: argparse.ArgumentParser, defaults: Mapping[str, Any] | None = None
) -> None:
    """Adds the options of ``data_config``.

    Args:
        parser: Parser that the options are added to.
        defaults: Defaults other than those of ``DataConfig``.
    """
    add_options(parser.add_argument_group("data"), DataConfig, defaults=defaults)
    group = parser.add_argument_group("timm data", "for --dataset timm and names with a slash")
    for kind in OF_TIMM.values():
        add_options(group, kind)


def data_config(args: argparse.Namespace, defaults: Mapping[str, Any] | None = None) -> DataConfig:
    """Returns which data the options ask for.

    Args:
        args: Parsed options, among them those of ``add_data_options``.
        defaults: Fields of options that are not given, instead of the defaults.

    Raises:
        ValueError: If one is out of range, or does not apply to the data set.
    """
    settings = {**(defaults or {}), **given_options(DataConfig, args)}
    dataset = settings.get("dataset", DataConfig.dataset)
    for key, kind in OF_TIMM.items():
        given = given_options(kind, args)
        if given and not is_timm_dataset(dataset):
            flags = ", ".join(options_of(kind)[name].flag_of(name) for name in given)
            raise ValueError(f"{flags} is for data that timm reads; {dataset} is none of these.")
        if given:
            settings[key] = replace(settings.get(key) or kind(), **given)
    return DataConfig(**settings)
