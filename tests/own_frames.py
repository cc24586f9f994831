"""How many of our own functions stand between a command and the network that it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

ROOT = Path(__file__).parents[1]
PACKAGES = tuple(str(ROOT / package) for package in ("supernets", "estimators", "search"))


def frames_to_forward(call: Callable[[], object]) -> set[tuple[str, ...]]:
    """Runs something, and returns how it comes to the ``forward`` of whole networks.

    Args:
        call: Called without arguments.

    Returns:
        The names of our own functions on the stack, from ``main`` or what else was called to
        ``forward``, once for each way.
    """
    found: set[tuple[str, ...]] = set()

    def look(module: nn.Module, args: Any) -> None:
        chain = _own_frames(sys._getframe(1))
        if "forward" not in chain and type(module).__module__.split(".")[0] in ("supernets",):
            found.add((*chain, "forward"))

    hook = register_module_forward_pre_hook(look)
    try:
        call()
    finally:
        hook.remove()
    return found


def _own_frames(frame: FrameType | None) -> tuple[str, ...]:
    names = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGES):
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return tuple(reversed(names))
