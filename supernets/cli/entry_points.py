"""Where the commands start, so that Ctrl-C is one line while modules are still being imported too.

Nothing is imported here but the standard library, as PyTorch takes seconds.
"""

from __future__ import annotations

import importlib
import os
import signal
from functools import partial


def start(program: str, module: str) -> int:
    """Imports a command and runs it; until its work begins, Ctrl-C ends the process at once.

    ``supernets.cli.command_line.command`` takes over from there. A process that ignores Ctrl-C,
    as one in the background of a script does, goes on doing so.

    Args:
        program: Name for the line that Ctrl-C prints.
        module: Holds the command's ``main``.

    Returns:
        The exit status, 130 after a Ctrl-C.
    """

    def end(number: int, frame: object) -> None:
        # Nothing has been written, and an exception would be caught or wrapped by what is imported.
        os.write(2, f"{program}: interrupted.\n".encode())
        os._exit(130)

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    try:
        status: int = importlib.import_module(module).main()
        return status
    finally:
        signal.signal(signal.SIGINT, previous)


train = partial(start, "supernet-train", "supernets.cli.train")
search = partial(start, "supernet-search", "search.cli.search")
export = partial(start, "supernet-export", "supernets.cli.export")
rank = partial(start, "supernet-rank", "estimators.cli.rank")
retrain = partial(start, "supernet-retrain", "supernets.cli.retrain")
latency = partial(start, "supernet-latency", "supernets.cli.latency")
