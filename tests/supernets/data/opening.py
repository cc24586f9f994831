"""Opens data of settings of either kind, which tests mix."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from supernets.data.config import DataConfig
from supernets.data.loaders import Loaders, create_loaders

NAMES = {field.name for field in fields(DataConfig)}


def open_data(dataset: str, data_dir: Path | None = None, **settings: Any) -> Loaders:
    """The loaders of fields of ``DataConfig`` and arguments of ``create_loaders``."""
    of_data = {name: value for name, value in settings.items() if name in NAMES}
    others = {name: value for name, value in settings.items() if name not in NAMES}
    return create_loaders(DataConfig(dataset, data_dir, **of_data), **others)
