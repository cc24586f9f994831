"""``supernet-latency``: measures a latency table of a supernet's subnets on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import supernets.runtime.option_types as kinds
from supernets.cli.command_line import (
    add_device_options,
    parse_args,
    print_result,
    run_command,
    set_threads,
)
from supernets.cli.command_parser import command_parser
from supernets.cost.latency import build_latency_table, check_table_target, latency_settings
from supernets.cost.timing import measurement_conditions
from supernets.runtime.device import check_amp, resolve_device
from supernets.runtime.outputs import Outputs, saying_what_is_safe
from supernets.training.checkpoint import load_supernet

PROGRAM = "supernet-latency"


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of ``supernet-latency``."""
    parser = command_parser(
        PROGRAM,
        "Measure on this machine a latency table of elastic MobileNetV3's subnets.",
    )
    add = parser.add_argument
    add(
        "--supernet",
        type=kinds.path,
        metavar="FILE",
        help="checkpoint of supernet-train (required)",
    )
    add("--output", type=kinds.path, metavar="FILE", help="the table, a JSON file (required)")
    add(
        "--batch-size",
        type=kinds.BATCH,
        default=1,
        metavar="N",
        help="images per call (default: 1)",
    )
    add("--repeats", type=kinds.BATCH, default=50, metavar="N", help="timed rounds (default: 50)")
    add("--amp", action="store_true", help="in bfloat16 autocast (default: float32)")
    add("--channels-last", action="store_true", help="memory format (default: contiguous)")
    add_device_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``supernet-latency`` and returns the exit status."""
    args = parse_args(build_parser(), argv)
    return run_command(
        PROGRAM, lambda outputs: _prepare(args, outputs), quiet=args.quiet, verbose=args.verbose
    )


def _prepare(args: argparse.Namespace, outputs: Outputs) -> Callable[[], int]:
    for name in ("supernet", "output"):
        if getattr(args, name) is None:
            raise ValueError(f"--{name} is required.")
    set_threads(args.threads)
    device = resolve_device(args.device)
    if args.amp:
        check_amp(device)
    supernet = load_supernet(args.supernet)
    latency_settings(supernet)
    measurement_conditions(device, batch_size=args.batch_size, repeats=args.repeats)
    check_table_target(args.output)
    outputs.own_file(args.output)

    def work() -> int:
        table = build_latency_table(
            supernet,
            device=device,
            batch_size=args.batch_size,
            repeats=args.repeats,
            amp=args.amp,
            channels_last=args.channels_last,
        )
        with saying_what_is_safe(lambda: f"{args.output} was not written; run the command again."):
            table.save(args.output)
        print_result(
            {
                "status": "finished",
                "table": args.output,
                "conditions": table.conditions,
                "error": {k: v for k, v in table.error.items() if k != "networks"},
            }
        )
        return 0

    return work


if __name__ == "__main__":
    raise SystemExit(main())
