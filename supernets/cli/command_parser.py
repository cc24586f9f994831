"""The parser of every command: an error is one line, and says what may have been meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import supernets.runtime.option_types as kinds
from supernets.runtime.wording import did_you_mean
from supernets.version import __version__

#: Exit status for a user's mistake, as argparse has it.
USAGE_ERROR = 2
#: How argparse begins what ``option_types`` have to say of a value.
_OUT_OF_RANGE = re.compile(r"^argument (?:-\w/)?(--[\w-]+): must")


class CommandParser(argparse.ArgumentParser):
    """``argparse.ArgumentParser`` whose errors are one line without the usage.

    Options are not abbreviated.

    Args:
        prog: Name of the command.
        **settings: Further keyword arguments of ``argparse.ArgumentParser``.
    """

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Ends the program with a one-line error."""
        message = _OUT_OF_RANGE.sub(r"\1 must", message)
        self.exit(USAGE_ERROR, f"{self.prog}: error: {message}\n")

    def parse_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> argparse.Namespace:
        """Parses arguments; unknown ones end the program with what may have been meant."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            names = [word.partition("=")[0] for word in unknown if word.startswith("-")]
            if not names:
                self.error(f"unexpected argument {unknown[0]!r}; see --help")
            meant = did_you_mean(names[0].replace("_", "-"), self._option_string_actions)
            self.error(f"unknown option {', '.join(names)}; {meant or 'see --help'}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and value not in choices:
            meant = did_you_mean(str(value), map(str, choices))
            raise argparse.ArgumentError(
                action,
                f"invalid choice: {value!r}; {meant + ' ' if meant else ''}"
                f"choose from {', '.join(map(str, choices))}",
            )


def command_parser(program: str, description: str) -> CommandParser:
    """Makes the parser of a command with the options that all of them have.

    Args:
        program: Name of the command.
        description: Description of what the command does.
    """
    parser = CommandParser(program, description=description)
    add_config_option(parser)
    parser.add_argument(
        "--version", action="version", version=f"{program} {__version__} (paceline)"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--quiet",
        action="store_const",
        const=True,
        help="show warnings, errors and the result alone, no progress (default: no)",
    )
    group.add_argument(
        "--verbose",
        action="store_const",
        const=True,
        help="show what is done in detail, and where an error comes from (default: no)",
    )
    return parser


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Adds ``--config FILE``; its keys are the long option names, with dashes or underscores."""
    parser.add_argument(
        "-c",
        "--config",
        type=kinds.path,
        metavar="FILE",
        help="YAML file of options; flags given beside it win (default: none)",
    )
