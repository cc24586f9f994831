"""``supernet-export``: hands a found subnet over as an ordinary model.

See ``subnet_folder`` for what an export is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import supernets.option_types as kinds
from supernets.base import Supernet
from supernets.batchnorm import recalibrate_bn
from supernets.checkpoint import (
    read_training_checkpoint,
    reopen_data,
    supernet_from_checkpoint,
    weights_digest,
)
from supernets.command_line import (
    add_machine_options,
    parse_args,
    print_result,
    run_command,
    set_threads,
    versions,
)
from supernets.command_parser import command_parser
from supernets.cost import CostModel
from supernets.data import Loaders
from supernets.device import resolve_device
from supernets.evaluation import evaluate
from supernets.export_files import check_export_target
from supernets.export_formats import FORMATS, choose_formats
from supernets.factory import SPACES, SUPERNET_ONLY
from supernets.outputs import Outputs, saying_what_is_safe
from supernets.spaces import Architecture, SearchSpace
from supernets.subnet_folder import (
    load_subnet,
    read_subnet_record,
    recorded_architecture,
    write_subnet_folder,
)
from supernets.text_files import read_text

__all__ = [
    "build_parser",
    "check_export_target",
    "check_space",
    "data_record",
    "export_subnet",
    "export_summary",
    "load_subnet",
    "main",
    "read_architecture",
    "read_notation",
    "read_subnet_record",
    "recorded_architecture",
    "write_subnet_folder",
]

PROGRAM = "supernet-export"
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


def export_subnet(
    supernet: Supernet,
    arch: Architecture,
    loaders: Loaders,
    output: Path,
    *,
    device: torch.device,
    recalibrate_batches: int = 50,
    formats: Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the folder of a subnet with inherited weights, and proves that it loads.

    BatchNorm is made affine and tracked and its statistics are recalibrated on train images; the
    accuracy is then measured on the test split, once. The folder appears whole or not at all.

    Args:
        supernet: Trained supernet; only read.
        arch: What to export.
        loaders: Of the data the supernet was trained on.
        output: The folder, missing or empty.
        device: Where to run.
        recalibrate_batches: Train minibatches for BatchNorm; at most an epoch is used.
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
    check_export_target(output, overwrite=overwrite)
    formats = choose_formats(formats, supernet.space.name)
    supernet.space.validate(arch)
    num_batches = min(recalibrate_batches, len(loaders.train_eval))
    subnet = supernet.to_standalone(supernet.extract(arch)).to(device)
    recalibrate_bn(subnet, loaders.train_eval, num_batches)
    test = evaluate(subnet, loaders.test, device=device)
    cost = CostModel(supernet).measure(arch)
    subnet = subnet.cpu().to(memory_format=torch.contiguous_format).eval()
    record = {
        "space": supernet.space.name,
        "architecture": supernet.space.format(arch),
        "settings": {k: v for k, v in supernet.settings.items() if k not in SUPERNET_ONLY},
        "cost": {"params": cost.params, "macs": cost.macs},
        "metrics": {
            "test_top1": test.top1,
            "test_loss": test.loss,
            "num_test_images": test.num_images,
        },
        "data": data_record(loaders),
        "recalibration": {
            "split": "train",
            "transforms": "those of the test split",
            "num_batches": num_batches,
            "num_images": loaders.train_eval.num_images
            if num_batches == len(loaders.train_eval)
            else num_batches * loaders.train_eval.batch_size,
            "seed": loaders.settings["seed"],
        },
        "provenance": dict(provenance or {}),
        "versions": versions(),
    }
    return write_subnet_folder(
        output, subnet, record, loaders.input_size, formats=formats, overwrite=overwrite
    )


def data_record(loaders: Loaders) -> dict[str, Any]:
    """What a record says of the data; of a folder only a name that means no single machine."""
    record = {key: loaders.settings[key] for key in DATA_KEYS if key in loaders.settings}
    if loaders.data_dir is not None and not loaders.data_dir.is_absolute():
        record["data_dir"] = str(loaders.data_dir)
    if loaders.skip_bad_images:
        record["skip_bad_images"] = True
    return record


def build_parser() -> argparse.ArgumentParser:
    """The options of ``supernet-export``."""
    parser = command_parser(
        PROGRAM,
        "Export a subnet of a trained supernet as an ordinary model.",
    )
    add = parser.add_argument
    add(
        "--supernet",
        type=kinds.path,
        metavar="FILE",
        help="checkpoint of supernet-train (required)",
    )
    add(
        "--arch",
        type=kinds.architecture,
        metavar="ARCH",
        help="architecture in the space's notation, or a best.json of supernet-search (required)",
    )
    add("--output", type=kinds.path, metavar="DIR", help="folder for the subnet (required)")
    add(
        "--overwrite",
        action="store_true",
        help="replace an export in --output, the files it is made of and no others (default: no)",
    )
    add("--space", choices=SPACES, help="checked against the supernet's (default: the supernet's)")
    add(
        "--data-dir",
        type=kinds.path,
        metavar="DIR",
        help="where the data is (default: as in training)",
    )
    add(
        "--recalibrate-batches",
        type=kinds.POSITIVE_INT,
        default=50,
        metavar="N",
        help="train minibatches for BatchNorm's statistics, at most an epoch (default: 50)",
    )
    add(
        "--formats",
        nargs="*",
        choices=FORMATS,
        metavar="FORMAT",
        help=f"written besides the weights, some of {', '.join(FORMATS)} (default: all there are)",
    )
    add_machine_options(parser.add_argument_group("run"))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``supernet-export``; gives back the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(
        PROGRAM, lambda outputs: _prepare(args, outputs), quiet=args.quiet, verbose=args.verbose
    )


def _prepare(args: argparse.Namespace, outputs: Outputs) -> Callable[[], int]:
    for name in ("supernet", "arch", "output"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is required.")
    if args.recalibrate_batches < 1:
        raise ValueError(
            f"--recalibrate-batches must be at least 1, got {args.recalibrate_batches}."
        )
    set_threads(args.threads)
    device = resolve_device(args.device)
    checkpoint = read_training_checkpoint(args.supernet)
    check_space(args.space, checkpoint, args.supernet)
    supernet = supernet_from_checkpoint(checkpoint, args.supernet).to(device).eval()
    arch, trial = read_architecture(args.arch, supernet.space)
    formats = choose_formats(args.formats, supernet.space.name)
    check_export_target(args.output, overwrite=args.overwrite)
    outputs.add(args.output.parent)
    loaders = reopen_data(
        checkpoint,
        args.supernet,
        data_dir=args.data_dir,
        device=device,
        num_workers=args.num_workers,
    )

    def work() -> int:
        provenance = {
            "supernet": str(args.supernet),
            "supernet_digest": weights_digest(supernet),
            **({"trial": trial} if trial else {}),
        }
        with saying_what_is_safe(lambda: f"{args.output} is as it was; run the command again."):
            record = export_subnet(
                supernet,
                arch,
                loaders,
                args.output,
                device=device,
                recalibrate_batches=args.recalibrate_batches,
                formats=formats,
                provenance=provenance,
                overwrite=args.overwrite,
            )
        print_result({"status": "finished", "subnet": args.output, **export_summary(record)})
        return 0

    return work


def check_space(name: str | None, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Makes sure that a checkpoint is of the space that was asked for, if one was.

    Raises:
        ValueError: If it is of another space.
    """
    if name is not None and name != checkpoint["space"]:
        raise ValueError(
            f"{path} holds a supernet of space {checkpoint['space']!r}, not {name!r}; "
            "leave --space out or use another checkpoint."
        )


def read_architecture(text: str, space: SearchSpace) -> tuple[Architecture, dict[str, Any] | None]:
    """Reads an architecture from its notation or from the ``best.json`` of a search.

    Returns:
        The architecture, and the trial it came from if there was one.

    Raises:
        ValueError: If it cannot be read, or is of another space.
    """
    name, notation, trial = read_notation(text)
    if name not in (None, space.name):
        raise ValueError(
            f"{text} is from space {name!r}, but this supernet searches {space.name!r}."
        )
    return space.parse(notation), trial


def read_notation(text: str) -> tuple[str | None, str, dict[str, Any] | None]:
    """Reads which architecture is meant, without knowing its space.

    Args:
        text: An architecture in its notation, which is given back, or the path of a ``best.json``.

    Returns:
        The name of the space, the notation and the trial; only the notation without a file.

    Raises:
        ValueError: If the file cannot be read.
    """
    if not text.endswith(".json"):
        return None, text, None
    try:
        best = json.loads(read_text(Path(text)))
        trial = best["best"][0]
        return best["space"], trial["architecture"], trial
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{text} is not a best.json of supernet-search: {error!r}") from error


def export_summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``subnet.json`` worth printing."""
    return {key: record[key] for key in ("space", "architecture", "cost", "metrics")}


if __name__ == "__main__":
    raise SystemExit(main())
