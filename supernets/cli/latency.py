"""``supernet-latency``: measures a latency table of a supernet's subnets on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import supernets.runtime.option_types as kinds
from supernets.cli.command_line import command, parse_args, print_result
from supernets.cli.command_parser import command_parser
from supernets.cli.option_flags import add_options, from_args
from supernets.cli.run_options import MachineOptions
from supernets.cost.latency_options import LatencyOptions
from supernets.runtime.options import REQUIRED, Options, option
from supernets.runtime.outputs import saying_what_is_safe
from supernets.runtime.trusted_code import trust_code_option

PROGRAM = "supernet-latency"


@dataclass(frozen=True)
class _Files(Options):
    """What the command reads and writes.

    Args:
        supernet: Checkpoint of ``supernet-train``.
        trust_code: Whether the code of a space that is not built in may be imported.
        output: The table.
    """

    supernet: Path = option(
        None, "checkpoint of supernet-train", kinds.path, metavar="FILE", default_text=REQUIRED
    )
    trust_code: bool = trust_code_option()
    output: Path = option(
        None, "the table, a JSON file", kinds.path, metavar="FILE", default_text=REQUIRED
    )


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-latency``."""
    parser = command_parser(
        PROGRAM,
        "Measure on this machine a latency table of elastic MobileNetV3's subnets.",
    )
    add_options(parser, _Files)
    add_options(parser, LatencyOptions)
    add_options(parser, MachineOptions, without=["num_workers"])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-latency`` and returns the exit status."""
    args = parse_args(build_parser(), argv)
    # here, as PyTorch takes seconds, for which --help and a wrong flag need not wait
    from supernets.cost.latency import check_table_target, latency_settings, measure_latency_table
    from supernets.runtime.device import check_amp
    from supernets.training.checkpoint import load_supernet

    with command(PROGRAM, args) as run:
        files, options = from_args(_Files, args), from_args(LatencyOptions, args)
        device = from_args(MachineOptions, args).set_up()
        if options.amp:
            check_amp(device)
        supernet = load_supernet(files.supernet, trust_code=files.trust_code)
        latency_settings(supernet)
        check_table_target(files.output)
        run.outputs.own_file(files.output)
        run.begin()
        table = measure_latency_table(supernet, options, device=device)
        with saying_what_is_safe(lambda: f"{files.output} was not written; run the command again."):
            table.save(files.output)
        print_result(
            {
                "status": "finished",
                "table": files.output,
                "conditions": table.conditions,
                "error": {k: v for k, v in table.error.items() if k != "networks"},
            }
        )
    return run.status


if __name__ == "__main__":
    raise SystemExit(main())
