"""What ``supernet-export`` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import supernets.runtime.option_types as kinds
from supernets.export.formats import FORMATS
from supernets.runtime.options import REQUIRED, Options, option
from supernets.runtime.trusted_code import trust_code_option
from supernets.spaces.factory import SPACES

#: Train minibatches for BatchNorm where no number is asked for.
RECALIBRATE_BATCHES = 50


@dataclass(frozen=True)
class ExportOptions(Options):
    """Which subnet of which supernet is exported, and where to.

    Args:
        supernet: Checkpoint of ``supernet-train``.
        arch: The architecture in its space's notation, or the path of a ``best.json`` of
            ``supernet-search``.
        output: The folder, missing, empty or one of an export.
        overwrite: Whether an export in ``output`` is replaced: the files it is made of, no others.
        space: Name of the space that the supernet has to be of; None for any.
        trust_code: Whether the code of a space that is not built in may be imported.
        data_dir: Folder of the data; None for that of the training.
        recalibrate_batches: Train minibatches for BatchNorm, of which at most an epoch is used;
            None for ``RECALIBRATE_BATCHES``.
        formats: What to write besides the weights, some of ``FORMATS``; None for all that the space
            has and the installed packages write.

    Raises:
        ValueError: If one that is required is missing, or a value is out of range.

    Example:
        >>> ExportOptions(supernet=Path("last.pt"), arch="best.json")
        Traceback (most recent call last):
            ...
        ValueError: --output is required: folder for the subnet.
    """

    supernet: Path = option(
        None, "checkpoint of supernet-train", kinds.path, metavar="FILE", default_text=REQUIRED
    )
    arch: str = option(
        None,
        "architecture in the space's notation, or a best.json of supernet-search",
        kinds.architecture,
        metavar="ARCH",
        default_text=REQUIRED,
    )
    output: Path = option(
        None, "folder for the subnet", kinds.path, metavar="DIR", default_text=REQUIRED
    )
    overwrite: bool = option(
        False, "replace an export in --output, the files it is made of and no others"
    )
    space: str | None = option(
        None,
        "checked against the supernet's",
        SPACES,
        metavar="NAME",
        default_text="the supernet's",
    )
    trust_code: bool = trust_code_option()
    data_dir: Path | None = option(
        None, "where the data is", kinds.path, metavar="DIR", default_text="as in training"
    )
    recalibrate_batches: int | None = option(
        None,
        "train minibatches for BatchNorm's statistics, at most an epoch",
        kinds.POSITIVE_INT,
        metavar="N",
        default_text=f"{RECALIBRATE_BATCHES} where there is BatchNorm",
    )
    formats: tuple[str, ...] | None = option(
        None,
        f"written besides the weights, some of {', '.join(FORMATS)}",
        choices=FORMATS,
        nargs="*",
        metavar="FORMAT",
        default_text="all there are",
    )
