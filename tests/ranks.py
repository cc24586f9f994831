"""Scripts run by two processes, as ``torchrun`` starts them, at a tenth of its cost."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch.distributed as dist


def run_by_two(server: ForkServerContext, script: Path, *args: str) -> None:
    """Runs a script in two processes that find each other as those of ``torchrun`` do.

    Args:
        server: Forks from a process that has loaded PyTorch.
        script: The script.
        *args: Its arguments.

    Raises:
        AssertionError: If one fails, with what both wrote; the other one is then ended.
    """
    # as that of torchrun, which holds the store too
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    common = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    logs = [script.with_suffix(f".{rank}.log") for rank in range(2)]
    processes = {}
    for rank, log in enumerate(logs):
        environment = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = server.Process(target=_run, args=(environment, log, script, args))
        process.start()
        processes[process.sentinel] = process
    running = dict(processes)
    while running:
        ended = [running.pop(sentinel) for sentinel in wait(list(running), timeout=300)]
        if not ended or any(process.exitcode for process in ended):
            break
    for process in running.values():
        process.kill()
    for process in processes.values():
        process.join()
    text = "\n".join(log.read_text() for log in logs)
    assert [process.exitcode for process in processes.values()] == [0, 0], text


def _run(environment: Mapping[str, str], log: Path, script: Path, args: tuple[str, ...]) -> None:
    os.environ.update(environment)
    with open(log, "wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.argv = [str(script), *args]
    runpy.run_path(str(script), run_name="__main__")
