"""Programs in forks of a process that has loaded PyTorch, which costs seconds to do anew."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO, Any


class ForkedProgram:
    """A Python script in a process of its own, which is used as one of ``subprocess.Popen`` is.

    Args:
        server: Forks it; see the fixture ``server_of_workers``.
        command: Interpreter, which is not looked at, then script or ``-m`` and module, and
            arguments.
        cwd: Its working folder.
        env: All of its environment.
        stdout: Where it prints to: a file that has a name, or ``subprocess.DEVNULL``.
        stderr: The same.
        start_new_session: Whether it leads a group of processes of its own.
    """

    def __init__(
        self,
        server: ForkServerContext,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[Any] | int,
        stderr: IO[Any] | int,
        start_new_session: bool = False,
    ) -> None:
        paths = [os.devnull if isinstance(each, int) else each.name for each in (stdout, stderr)]
        self._process = server.Process(
            target=_run, args=(command[1:], cwd, dict(env), paths, start_new_session)
        )
        self._process.start()
        self.pid = self._process.pid
        self.kill = self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout or 0.0)
        return self._process.exitcode

    def __enter__(self) -> ForkedProgram:
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()


def _run(
    arguments: list[str], cwd: Path, env: dict[str, str], paths: list[str], leads: bool
) -> None:
    if leads:
        os.setsid()
    for number, path in enumerate(paths, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
