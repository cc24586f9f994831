"""Measurements that workers, which import them by name, can do; and what may become of workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from estimators.trials.store import Trial
from supernets.spaces import Architecture


class Planned:
    """The number as the score; some numbers meet an accident.

    Args:
        folder: Remembers accidents that happen once.
        dies_once: Numbers whose worker is killed the first time.
        dies: Numbers whose worker is always killed.
        stopped_once: Numbers whose worker is asked to stop, the first time.
        hangs: Numbers that do not end while a test lasts.
        fails: Numbers with an error that is not the candidate's.
        seconds: What a measurement takes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dies_once: tuple[int, ...] = (),
        dies: tuple[int, ...] = (),
        stopped_once: tuple[int, ...] = (),
        hangs: tuple[int, ...] = (),
        fails: tuple[int, ...] = (),
        seconds: float = 0.0,
    ) -> None:
        self.folder, self.seconds = folder, seconds
        self.dies_once, self.dies, self.stopped_once = dies_once, dies, stopped_once
        self.hangs, self.fails = hangs, fails

    def __call__(self, number: int, arch: Architecture) -> Trial:
        is_first = self._is_first(number)
        if number in self.dies or (number in self.dies_once and is_first):
            os.kill(os.getpid(), signal.SIGKILL)
        if number in self.stopped_once and is_first:
            raise KeyboardInterrupt
        if number in self.hangs:
            time.sleep(120)  # longer than any test waits
        if number in self.fails:
            raise ZeroDivisionError(f"number {number}")
        time.sleep(self.seconds)
        metrics = {"pid": float(os.getpid()), "is_here": float(Path("here").exists())}
        return Trial(number, arch, float(number), metrics, 0.5, None)

    def _is_first(self, number: int) -> bool:
        try:
            (self.folder / str(number)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Unreadable:
    """Cannot be read in another process."""

    def __call__(self, number: int, arch: Architecture) -> Trial:
        raise AssertionError("it was read")

    def __reduce__(self) -> tuple[object, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("this cannot be read")
