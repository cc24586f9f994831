"""``supernet-export``: hands a found subnet over as an ordinary model.

See ``supernets.export.folder`` for what an export is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from supernets.cli.command_line import command, parse_args, print_result
from supernets.cli.command_parser import command_parser
from supernets.cli.option_flags import add_options, from_args
from supernets.cli.run_options import MachineOptions
from supernets.export.options import ExportOptions

PROGRAM = "supernet-export"


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-export``."""
    parser = command_parser(
        PROGRAM,
        "Export a subnet of a trained supernet as an ordinary model.",
    )
    add_options(parser, ExportOptions)
    add_options(parser.add_argument_group("run"), MachineOptions)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-export`` and returns the exit status."""
    args = parse_args(build_parser(), argv)
    # here, as PyTorch takes seconds, for which --help and a wrong flag need not wait
    from supernets.export.subnet import export_checkpoint, export_summary

    with command(PROGRAM, args) as run:
        options, machine = from_args(ExportOptions, args), from_args(MachineOptions, args)
        record = export_checkpoint(
            options,
            device=machine.set_up(),
            num_workers=machine.num_workers,
            outputs=run.outputs,
        )
        print_result({"status": "finished", "subnet": options.output, **export_summary(record)})
    return run.status


if __name__ == "__main__":
    raise SystemExit(main())
