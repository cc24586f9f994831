"""Subnets of a supernet as folders, with inherited weights: what ``supernet-export`` writes.

See ``supernets.export.folder`` for what such a folder is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

import supernets.runtime.option_types as kinds
from supernets.cost.analytic import CostModel
from supernets.data.loaders import Loaders
from supernets.export.architecture_file import read_architecture
from supernets.export.files import check_export_target
from supernets.export.folder import write_subnet_folder
from supernets.export.formats import choose_formats
from supernets.export.options import RECALIBRATE_BATCHES, ExportOptions
from supernets.networks.base import Supernet
from supernets.networks.batchnorm import has_batchnorm, recalibrate_bn
from supernets.networks.factory import settings_of_subnet
from supernets.runtime.device import resolve_device
from supernets.runtime.instances import check_instance, checked_path
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.versions import versions
from supernets.spaces import Architecture
from supernets.spaces.code_of_files import code_of
from supernets.spaces.factory import SPACES
from supernets.training.checkpoint import (
    check_space,
    read_training_checkpoint,
    reopen_data,
    supernet_from_checkpoint,
    weights_digest,
)
from supernets.training.evaluation import evaluate

#: What a record says of the data: enough to open the same splits again.
DATA_KEYS = (
    "dataset",
    "image_size",
    "mean",
    "std",
    "class_names",
    "val_fraction",
    "requested_num_val",
    "seed",
    "split_digest",
    "cutout",
    "augmentation",
    "timm_options",
    "found",
)


def export_checkpoint(
    options: ExportOptions,
    *,
    device: torch.device | str = "cpu",
    num_workers: int = 2,
    outputs: Outputs | None = None,
) -> dict[str, Any]:
    """Exports a subnet of a checkpoint, as ``supernet-export`` does; see ``export_subnet``.

    Args:
        options: Which subnet, and where to.
        device: Device to run on.
        num_workers: Threads that read images into memory, or processes that read minibatches.
        outputs: What the caller writes; None for nothing else.

    Returns:
        What ``subnet.json`` holds.

    Raises:
        ValueError: If a file cannot be read, is of another space, or ``output`` holds something
            else.
        OutputError: If a file could not be written; the folder is then as it was.
        RuntimeError: If a reloaded network computes other logits.

    Example:
        >>> options = ExportOptions(
        ...     supernet=Path("runs/digits/last.pt"),
        ...     arch="runs/digits/search/best.json",
        ...     output=Path("runs/digits/best"),
        ... )
        >>> export_checkpoint(options)["metrics"]["test_top1"]  # doctest: +SKIP
        97.5
    """
    check_instance("options", options, ExportOptions, "ExportOptions(file, arch, folder) is one")
    kinds.WORKERS.check("num_workers", num_workers)
    device = resolve_device(device)
    with nullcontext(outputs) if outputs is not None else Outputs() as outputs:
        if options.space is not None:
            SPACES.find(options.space)  # code that is named here is trusted
        checkpoint = read_training_checkpoint(options.supernet, trust_code=options.trust_code)
        check_space(options.space, checkpoint, options.supernet)
        supernet = supernet_from_checkpoint(checkpoint, options.supernet).to(device).eval()
        arch, trial = read_architecture(options.arch, supernet.space)
        formats = choose_formats(options.formats, supernet.space.name)
        check_export_target(options.output, overwrite=options.overwrite)
        outputs.add(options.output.parent)
        loaders = reopen_data(
            checkpoint,
            options.supernet,
            data_dir=options.data_dir,
            device=device,
            num_workers=num_workers,
        )
        provenance = {
            "supernet": str(options.supernet),
            "supernet_digest": weights_digest(supernet),
            **({"trial": trial} if trial else {}),
        }
        outputs.begin()
        with saying_what_is_safe(lambda: f"{options.output} is as it was; run the command again."):
            return export_subnet(
                supernet,
                arch,
                loaders,
                options.output,
                device=device,
                recalibrate_batches=options.recalibrate_batches,
                formats=formats,
                provenance=provenance,
                overwrite=options.overwrite,
            )


def export_subnet(
    supernet: Supernet,
    arch: Architecture,
    loaders: Loaders,
    output: str | Path,
    *,
    device: torch.device,
    recalibrate_batches: int | None = None,
    formats: Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the folder of a subnet with inherited weights, and proves that it loads.

    BatchNorm is made affine and tracked and its statistics are recalibrated on train images; the
    accuracy is then measured on the test split, once. Without BatchNorm nothing is recalibrated,
    and the record's ``recalibration`` is None. The folder appears whole or not at all.

    Args:
        supernet: Trained supernet; only read.
        arch: The architecture to export.
        loaders: Loaders of the data the supernet was trained on.
        output: The folder, missing or empty.
        device: Device to run on.
        recalibrate_batches: Train minibatches for BatchNorm, of which at most an epoch is used;
            None for ``RECALIBRATE_BATCHES``.
        formats: What to write besides ``weights.safetensors``, some of ``FORMATS``; None for all
            that the space has and the installed packages write.
        provenance: Plain values recorded in ``subnet.json``, absolute paths without their folders.
        overwrite: Whether an export in ``output`` is replaced: the files it is made of, no others.

    Returns:
        What ``subnet.json`` holds.

    Raises:
        ValueError: If ``output`` holds something else, a format cannot be written, or a number is
            out of range.
        RuntimeError: If a reloaded network computes other logits.
    """
    output = checked_path("output", output)
    check_export_target(output, overwrite=overwrite)
    formats = choose_formats(formats, supernet.space.name)
    supernet.space.validate(arch)
    if recalibrate_batches is not None and not has_batchnorm(supernet):
        raise ValueError(
            f"The networks of space {supernet.space.name!r} have no BatchNorm to recalibrate; "
            "leave --recalibrate-batches out."
        )
    subnet = supernet.to_standalone(supernet.extract(arch)).to(device)
    recalibration = None
    if has_batchnorm(subnet):
        num_batches = min(recalibrate_batches or RECALIBRATE_BATCHES, len(loaders.train_eval))
        recalibrate_bn(subnet, loaders.train_eval, num_batches)
        recalibration = _recalibration_record(loaders, num_batches)
    test = evaluate(subnet, loaders.test, device=device)
    cost = CostModel(supernet).measure(arch)
    subnet = subnet.cpu().to(memory_format=torch.contiguous_format).eval()
    record = {
        "space": supernet.space.name,
        **code_of(supernet.space.name),
        "architecture": supernet.space.format(arch),
        "settings": settings_of_subnet(supernet.space.name, supernet.settings),
        "cost": {"params": cost.params, "macs": cost.macs},
        "metrics": {
            "test_top1": test.top1,
            "test_loss": test.loss,
            "num_test_images": test.num_images,
        },
        "data": data_record(loaders),
        "recalibration": recalibration,
        "provenance": dict(provenance or {}),
        "versions": versions(),
    }
    return write_subnet_folder(
        output, subnet, record, loaders.input_size, formats=formats, overwrite=overwrite
    )


def _recalibration_record(loaders: Loaders, num_batches: int) -> dict[str, Any]:
    """What a record says of the images that the statistics of BatchNorm are of."""
    loader = loaders.train_eval
    is_all = num_batches == len(loader)
    return {
        "split": "train",
        "transforms": "those of the test split",
        "num_batches": num_batches,
        "num_images": loader.num_images if is_all else num_batches * loader.batch_size,
        "seed": loaders.settings["seed"],
    }


def data_record(loaders: Loaders) -> dict[str, Any]:
    """Returns what a record says of the data; a folder is named only by a relative path."""
    record = {key: loaders.settings[key] for key in DATA_KEYS if key in loaders.settings}
    if loaders.data_dir is not None and not loaders.data_dir.is_absolute():
        record["data_dir"] = str(loaders.data_dir)
    if loaders.skip_bad_images:
        record["skip_bad_images"] = True
    return record


def export_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of ``subnet.json`` worth printing."""
    return {key: record[key] for key in ("space", "architecture", "cost", "metrics")}
