"""Names of data sets, and what they say of where the images come from."""

from __future__ import annotations

#: Names of data sets; other names begin with one of ``PREFIXES`` and are timm's.
DATASETS = ("digits", "cifar10", "cifar100", "folder", "timm")
STREAM_PREFIXES = ("wds/", "tfds/", "hfids/")
PREFIXES = ("hfds/", "torch/", *STREAM_PREFIXES)

#: What settings say of the data beside what decides a result: two runs may differ in it.
NOT_DECISIVE = ("found",)


def is_own(dataset: str) -> bool:
    """Returns whether a name is ``package.module:Object`` or ``file.py:Object`` of one's own."""
    where, colon, _ = dataset.rpartition(":")
    return (
        bool(colon)
        and not dataset.startswith(PREFIXES)
        and (where.endswith(".py") or "/" not in where)
    )


def is_timm_dataset(dataset: str) -> bool:
    """Returns whether timm's readers and transforms serve a data set."""
    return dataset == "timm" or ("/" in dataset and not is_own(dataset))


def is_known(dataset: str) -> bool:
    """Returns whether this is the name of a data set, or begins as one of timm's does."""
    return dataset in DATASETS or dataset.startswith(PREFIXES) or is_own(dataset)


def is_stream(dataset: str) -> bool:
    """Returns whether a data set is read one image after the other, and has no indices."""
    return dataset.startswith(STREAM_PREFIXES)
