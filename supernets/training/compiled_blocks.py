"""Blocks of a network as code of ``torch.compile``, while the steps of a training are computed.

A network of twenty cells is twenty times the same few functions. Compiled as a whole it takes
minutes, so its blocks are compiled one by one, and those of equal structure and shapes share their
code. Only steps run it: the network itself stays what it is, for validation, averaged weights,
checkpoints and exports.

Compiled code has PyTorch's BatchNorm and activations, fused by its compiler, in place of this
package's fused kernel for a CPU.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from supernets.kernels.choice import COMPILE_CHOICES, OFF
from supernets.runtime.wording import first_line, plural

#: Whose code it is; tests use one that needs no compiler of the machine.
BACKEND: str | Callable[..., Any] = "inductor"
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
#: Kinds of blocks of one class, times shapes of minibatches; PyTorch's own 8 would leave the ninth
#: uncompiled.
_MAX_KINDS = 256

_logger = logging.getLogger(__name__)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Returns the outermost modules with parts of their own that a list or sequence holds.

    Returns:
        Blocks in the order of the network; the network itself if there are none.

    Example:
        >>> block = lambda: nn.TransformerEncoderLayer(8, 2)
        >>> len(blocks_of(nn.Sequential(nn.Linear(4, 8), nn.Sequential(block(), block()))))
        2
    """
    return list(_blocks_within(network)) or [network]


def _blocks_within(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        has_parts = not isinstance(child, _CONTAINERS) and any(True for _ in child.children())
        if isinstance(module, _CONTAINERS) and has_parts:
            yield child
        else:
            yield from _blocks_within(child)


def check_compile(choice: str, device: torch.device) -> None:
    """Makes sure that what ``--compile`` asks for can be had.

    Raises:
        ValueError: If the choice is unknown, or nothing can be compiled here for the device.
    """
    if choice not in COMPILE_CHOICES:
        raise ValueError(f"compile must be one of {', '.join(COMPILE_CHOICES)}, got {choice!r}.")
    if choice != OFF and (problem := _problem(device.type, BACKEND, os.environ.get("CXX", "g++"))):
        raise ValueError(f"--compile {choice} cannot be used: {problem}; leave it out.")


@lru_cache(maxsize=8)
def _problem(device: str, backend: str | Callable[..., Any], compiler: str) -> str | None:
    """Why nothing can be compiled; None if a function of one line can."""
    if device not in ("cpu", "cuda"):
        return f"it is for devices cpu and cuda, this one is {device}"
    if device == "cpu" and backend == "inductor" and shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler} (CXX names another)"
    if backend == "inductor":
        _logger.info("Trying the compiler of PyTorch; the first time takes up to a minute.")
    try:
        compiled = torch.compile(_doubled, backend=backend, dynamic=False)
        compiled(torch.zeros(16, device=device))
    except Exception as error:  # of any part of the compiler
        return first_line(getattr(error, "inner_exception", error)).rstrip(".")
    return None


def _doubled(x: Tensor) -> Tensor:
    return x + x


class CompiledBlocks:
    """The blocks of a network, which run compiled code within ``step``.

    Args:
        network: The network, which stays as it is.
        device: What it runs on.

    Raises:
        ValueError: If nothing can be compiled here for the device.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        check_compile("blocks", device)
        # a forward of its own, which someone put into a block, is left alone
        self.blocks = [block for block in blocks_of(network) if "forward" not in vars(block)]
        functions = {type(block): type(block).forward for block in self.blocks}
        self._compiled = {
            kind: torch.compile(function, backend=BACKEND, dynamic=False)
            for kind, function in functions.items()
        }
        self._seen: set[torch.Size] = set()

    @contextmanager
    def step(self, x: Tensor) -> Iterator[None]:
        """Runs compiled code in the blocks, forward and backward.

        The first step with minibatches of a shape compiles it, which is said.

        Args:
            x: Images (N, C, H, W) of the step.
        """
        import torch._dynamo.config as settings  # here, as it takes seconds

        is_new, started = x.shape not in self._seen, time.monotonic()
        if is_new:
            count = plural(len(self.blocks), "block")
            _logger.info(f"Compiling {count} for minibatches of {len(x)}; it may take minutes.")
        for block in self.blocks:
            block.forward = MethodType(self._compiled[type(block)], block)
        try:
            with settings.patch(recompile_limit=_MAX_KINDS, accumulated_recompile_limit=2**16):
                yield
        finally:
            for block in self.blocks:
                del block.forward
        if is_new:
            self._seen.add(x.shape)
            _logger.info(
                f"Compiled; with its first step it took {time.monotonic() - started:.0f} s."
            )
