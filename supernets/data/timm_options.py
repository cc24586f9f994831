"""What timm's readers have to be told of a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class TimmOptions:
    """What timm's readers have to be told of a data set.

    Args:
        train_split: Name of the train split, or None for "train".
        val_split: Name of the val split, or None to hold it out of the train split; of folders that
            name no test split either, ``val`` is it if there is a ``test`` with labels.
        test_split: Name of the test split, or None for the official validation split. Folders
            without that give ``test``, else a fifth of the train split.
        num_classes: Number of classes of a data set that does not name them; checked against one
            that does.
        crop_pct: Part of the shorter side of an image that is kept in evaluation, in (0, 1].

    Raises:
        ValueError: If a number is out of range, or a split is named twice.
    """

    train_split: str | None = None
    val_split: str | None = None
    test_split: str | None = None
    num_classes: int | None = None
    crop_pct: float = 0.875

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.num_classes is not None and self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}.")
        if not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be above 0 and at most 1, got {self.crop_pct}.")
        named = [name for name in (self.train_split, self.val_split, self.test_split) if name]
        if len(set(named)) < len(named):
            raise ValueError(f"Each split must have another name, got {', '.join(named)}.")


def as_before_val_beside_test(options: TimmOptions, data_dir: Path | None) -> TimmOptions:
    """Adapts options of a version that always took ``val`` for the test split to find its splits.

    Args:
        options: The options as that version recorded them.
        data_dir: Folder of the data.
    """
    if options.val_split or options.test_split or data_dir is None:
        return options
    for name in ("validation", "val", "valid", "eval"):
        if (data_dir / name).exists() or (data_dir / f"{name}.tar").exists():
            return replace(options, test_split=name)
    return options
