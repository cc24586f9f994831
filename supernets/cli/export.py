"""``supernet-export``: hands a found subnet over as an ordinary model.

See ``supernets.export.folder`` for what an export is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import supernets.runtime.option_types as kinds
from supernets.cli.command_line import (
    add_machine_options,
    parse_args,
    print_result,
    run_command,
    set_threads,
)
from supernets.cli.command_parser import command_parser
from supernets.export.files import check_export_target
from supernets.export.folder import (
    load_subnet,
    read_subnet_record,
    recorded_architecture,
    write_subnet_folder,
)
from supernets.export.formats import FORMATS, choose_formats
from supernets.export.subnet import data_record, export_subnet
from supernets.runtime.device import resolve_device
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.runtime.text_files import read_text
from supernets.spaces import Architecture, SearchSpace
from supernets.spaces.factory import SPACES
from supernets.training.checkpoint import (
    read_training_checkpoint,
    reopen_data,
    supernet_from_checkpoint,
    weights_digest,
)

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


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-export``."""
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
    """Runs ``supernet-export`` and returns the exit status."""
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
        text: An architecture in its notation, which is returned, or the path of a ``best.json``.

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
    """Returns the part of ``subnet.json`` worth printing."""
    return {key: record[key] for key in ("space", "architecture", "cost", "metrics")}


if __name__ == "__main__":
    raise SystemExit(main())
