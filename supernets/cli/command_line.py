"""What the commands share: YAML defaults, one-line errors, ``args.json``, the closing JSON."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from supernets.cli.command_parser import (
    USAGE_ERROR,
    CommandParser,
    add_config_option,
)
from supernets.cli.config_file import read_boolean, read_config
from supernets.runtime.outputs import OutputError, Outputs, WorkError, one_line
from supernets.runtime.own_code import OwnCodeError
from supernets.runtime.progress import without_bars
from supernets.runtime.signals import signals_as_interrupt
from supernets.runtime.wording import did_you_mean

_logger = logging.getLogger(__name__)

#: Our own packages, which ``--verbose`` is about.
PACKAGES = ("supernets", "estimators", "search")
#: Exit status of a run that was asked to stop and can be continued, as a shell reports Ctrl-C.
INTERRUPTED = 130


def parse_args(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parses ``argv``, with the defaults replaced by those of ``--config FILE``.

    Values of the file go through the same types and choices as flags do. An unknown key, or a value
    that does not fit, ends the program as a wrong flag does.

    Args:
        parser: Parser to which ``add_config_option`` has been applied.
        argv: Arguments without the program's name; None for those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    first = CommandParser(parser.prog, add_help=False)
    add_config_option(first)
    known, _ = first.parse_known_args(arguments)
    if known.config is None:
        return parser.parse_args(arguments)
    configured = _config_arguments(parser, known.config)
    if not {"--quiet", "--verbose"}.isdisjoint(arguments):  # either wins over both of the file
        configured = [word for word in configured if word not in ("--quiet", "--verbose")]
    return parser.parse_args([*configured, *arguments])


def _config_arguments(parser: argparse.ArgumentParser, path: Path) -> list[str]:
    try:
        options = read_config(path)
    except ValueError as error:
        parser.error(str(error))
    actions = {
        name.removeprefix("--").replace("-", "_"): (name, action)
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--") and action.dest not in ("help", "config", "version")
    }
    arguments: list[str] = []
    for key, value in options.items():
        if key.replace("-", "_") not in actions:
            meant = did_you_mean(key, [*actions, *(n.replace("_", "-") for n in actions)])
            parser.error(
                f"{path} has an unknown option {key!r}; {meant or 'see --help for those there are'}"
            )
        name, action = actions[key.replace("-", "_")]
        if value is None:
            continue
        if action.nargs == 0:
            is_on = None if isinstance(value, list) else read_boolean(value)
            if is_on is None:
                parser.error(f"{path}: {key} must be true or false, got {value!r}")
            if isinstance(action, argparse.BooleanOptionalAction):
                arguments.append(name if is_on else name.replace("--", "--no-", 1))
            else:
                arguments.extend([name] if is_on else [])
        elif isinstance(value, list):
            if action.nargs is None:
                parser.error(f"{path}: {key} takes one value, got {value}")
            if any(item.startswith("--") for item in value):
                parser.error(f"{path}: {key} must be a list of values, got options in {value}")
            arguments.extend([name, *value])
        else:
            arguments.append(f"{name}={value}")
    return arguments


class Run:
    """What a command is given for the time of its work, see ``command``.

    Args:
        outputs: What it writes.
    """

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs
        #: The exit status, which the command may set.
        self.status = 0

    def begin(self) -> None:
        """Says that everything is checked and built, and the work begins.

        What is written from here on stays, and a ``ValueError`` is no mistake of the user any more.

        Raises:
            ValueError: If what is to be written cannot be.
        """
        self.outputs.begin()


@contextmanager
def command(program: str, args: argparse.Namespace) -> Iterator[Run]:
    """Surrounds what a command does: its logging, signals, files and one-line errors.

    First the command checks and builds everything and names what it writes; errors of the user are
    ``ValueError``. A preparation that fails or is interrupted leaves no file and no folder. Then it
    calls ``Run.begin``, or hands ``Run.outputs`` to what does, and works. At any time a
    ``WorkError`` and the error of a file are one line.

    Afterwards ``status`` is what the command set, 2 after a one-line error, or 130 after a Ctrl-C
    or SIGTERM that it did not turn into a stop of its own.

    Args:
        program: Name for error messages.
        args: Parsed options, among them ``--quiet`` and ``--verbose``.

    Example:
        >>> def main(argv=None):
        ...     args = parse_args(build_parser(), argv)
        ...     with command("tool", args) as run:
        ...         run.outputs.own(args.output)
        ...         run.begin()
        ...         print_result({"status": "finished"})
        ...     return run.status
    """
    with _console_logging(args.quiet, args.verbose), _data_told_at_the_beginning() as tell:
        run = Run(Outputs(on_begin=tell))
        try:
            with signals_as_interrupt(), run.outputs:
                yield run
        except WorkError as error:
            run.status = fail(program, error)
        except BrokenPipeError:  # nobody reads the result, as where `head` has ended
            with suppress(OSError):  # Python would try to write what is left when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            unread = OutputError("The result could not be printed; the work is done.")
            run.status = fail(program, unread)
        except OSError as error:
            run.status = fail(program, OutputError(one_line(error)))
        except ValueError as error:
            if run.outputs.has_begun:
                raise
            run.status = fail(program, error)
        except KeyboardInterrupt:
            print_result({"status": "interrupted"})
            run.status = INTERRUPTED


class _Plain(logging.Formatter):
    """Messages alone; warnings and errors say that they are some."""

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno == logging.INFO:
            return record.getMessage()
        return super().format(record)


@contextmanager
def _console_logging(quiet: bool | None, verbose: bool | None) -> Iterator[None]:
    """Logs to stderr for as long as a command runs; a second one in this process starts afresh."""
    root, own = logging.getLogger(), [logging.getLogger(name) for name in PACKAGES]
    handlers, level = root.handlers[:], root.level
    console = logging.StreamHandler()
    console.setFormatter(_Plain("%(levelname)s: %(message)s"))
    root.addHandler(console)
    root.setLevel(logging.WARNING if quiet else logging.INFO)
    for logger in own:
        logger.setLevel(logging.DEBUG if verbose else logging.NOTSET)
    try:
        with without_bars() if quiet else nullcontext():
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for logger in own:
            logger.setLevel(logging.NOTSET)


@contextmanager
def _data_told_at_the_beginning() -> Iterator[Callable[[], None]]:
    """Holds back the line on opened data until the work begins, as an error is to be the only one.

    Yields:
        What tells the line, and holds nothing back any more.
    """
    held: list[logging.LogRecord] = []
    logger = logging.getLogger("supernets.data.loaders")

    def hold(record: logging.LogRecord) -> bool:
        if record.levelno == logging.INFO:
            held.append(record)
        return record.levelno != logging.INFO

    def tell() -> None:
        logger.removeFilter(hold)
        while held:
            logger.handle(held.pop(0))

    logger.addFilter(hold)
    try:
        yield tell
    finally:
        logger.removeFilter(hold)


def fail(program: str, error: Exception) -> int:
    """Prints a one-line error and returns the exit status for a user's mistake."""
    _logger.debug("Where the error comes from:", exc_info=error)
    hint = ""
    if isinstance(error, OwnCodeError) and error.is_raised:
        hint = "" if _logger.isEnabledFor(logging.DEBUG) else " --verbose shows where."
    print(f"{program}: error: {error}{hint}", file=sys.stderr)
    return USAGE_ERROR


def print_result(result: Mapping[str, Any]) -> None:
    """Prints the JSON block that every command ends with on stdout."""
    logging.shutdown()
    print(json.dumps(result, indent=2, default=str), flush=True)
