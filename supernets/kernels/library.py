"""Kernels for training on a CPU: when they are built, and when they are on.

``convolution.cpp`` has the gradients of depthwise convolutions, for which oneDNN 3.12 (of PyTorch
2.14) takes 7 to 30 times the forward pass where the kernel has 5 pixels and more or is dilated.
``batchnorm.cpp`` has BatchNorm in train mode with the activation after it, ``pooling.cpp`` average
pools. All are for float32 and bfloat16 maps in channels_last; everything else is PyTorch's.

They are compiled once, by the compiler of the machine for its CPU, into ``~/.cache/paceline`` (or
``XDG_CACHE_HOME``), and loaded from there by later processes. Where there is no compiler, PyTorch's
own are used, which is said once. With kernels a training has other bits than without, so a run that
is continued uses those it began with.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import torch

from supernets.kernels.choice import CHOICES, OFF
from supernets.runtime.wording import first_line

#: Raised where the numbers that the kernels give change; continued runs need the same.
REVISION = 2
_SOURCES = ("convolution.cpp", "batchnorm.cpp", "pooling.cpp")
_HEADERS = ("vectors.h",)
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-DAT_PER_OPERATOR_HEADERS")
_COMPILE_SECONDS = 600
#: Parameters of ``mallopt``, as glibc numbers them.
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1

_logger = logging.getLogger(__name__)
_is_on = False


def are_on() -> bool:
    """Returns whether training in this process uses the kernels."""
    return _is_on


def take(x: torch.Tensor) -> bool:
    """Returns whether the kernels are on, and maps like these are what they are for."""
    return (
        _is_on
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )


def chosen_kernels(choice: str, device: torch.device, recorded: str | None = None) -> str:
    """Returns the kernels that a training uses, loaded and built if they were not.

    Args:
        choice: One of ``CHOICES``.
        device: What it runs on.
        recorded: What this function returned when the run that is continued began; None for a new
            run.

    Returns:
        What to record and to pass to ``using``: ``OFF``, or what ``identity`` returns.

    Raises:
        ValueError: If the run that is continued used others, or the choice is unknown.
    """
    if choice not in CHOICES:
        raise ValueError(f"kernels must be one of {', '.join(CHOICES)}, got {choice!r}.")
    if choice == OFF or device.type != "cpu":
        if recorded not in (None, OFF):
            raise ValueError(
                f"This run began with the C++ kernels {recorded}, and others give other bits; go "
                "on with --kernels auto on a CPU, or use a new --output."
            )
        return OFF
    if recorded == OFF:
        return OFF  # what began without goes on without
    problem = load()
    found = OFF if problem else identity()
    if recorded not in (None, found):
        because = problem or f"here they are {found}"
        raise ValueError(
            f"This run began with the C++ kernels {recorded}, which cannot be used: {because}. "
            "Mend that, go on where it began, or use a new --output."
        )
    if problem:
        _say_once(problem)
    return found


@contextmanager
def using(kernels: str) -> Iterator[None]:
    """Turns kernels on or off for all networks of this process, and back again.

    Args:
        kernels: What ``chosen_kernels`` returned, here or in another process of the run.

    Raises:
        RuntimeError: If this machine has others.
    """
    if kernels != OFF and (problem := load() or _difference(kernels)):
        raise RuntimeError(
            f"Kernels {kernels} cannot be used on {platform.node()}: {problem}; where machines "
            "differ, begin with --kernels off."
        )
    before = _is_on
    _turn(kernels != OFF)
    try:
        yield
    finally:
        _turn(before)


def _difference(kernels: str) -> str | None:
    return None if kernels == identity() else f"this machine has {identity()}"


def _turn(on: bool) -> None:
    global _is_on
    _is_on = on
    if load.cache_info().currsize and load() is None:  # else there is nothing to turn off
        torch.ops.paceline.enable(on)


def identity() -> str:
    """Returns what tells apart kernels that give different bits."""
    return f"{REVISION}-{torch.backends.cpu.get_cpu_capability().lower()}"


@lru_cache(maxsize=1)
def load() -> str | None:
    """Loads the kernels into this process, built if they were not.

    Returns:
        None, or why they cannot be had.
    """
    if sys.platform != "linux":
        return f"kernels are built on Linux, this is {platform.system()}"
    try:
        path = _cache_folder() / f"{_digest()}.so"
        if not _is_whole(path):
            _build(path)
        torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return first_line(error).rstrip(".")
    _keep_freed_memory()
    return None


def _keep_freed_memory() -> None:
    """Lets glibc keep what a step frees for the next one.

    Otherwise it takes maps of more than 32 MiB from the system anew, and every page is then zeroed
    at its first touch: up to a tenth of the time of a step.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def _build(path: Path) -> None:
    """Compiles the kernels to ``path``, which appears whole.

    Raises:
        OSError: If there is no compiler, or nowhere to write.
        RuntimeError: If the compiler fails.
        subprocess.TimeoutExpired: If it takes too long.
    """
    name, *more = _compiler()
    compiler = shutil.which(name)
    if compiler is None:
        raise OSError(f"there is no C++ compiler {name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="building-") as folder:
        _logger.info("Compiling kernels for training on this CPU, once; it takes about a minute.")
        objects = [Path(folder) / f"{Path(name).stem}.o" for name in _SOURCES]
        command = [compiler, *more, *_FLAGS, "-std=c++20", "-fPIC", *_includes()]
        sources = [
            [*command, "-c", str(_here(name)), "-o", str(made)]
            for name, made in zip(_SOURCES, objects, strict=True)
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(_run, sources))
        library, libraries = Path(folder) / "kernels.so", Path(torch.__file__).parent / "lib"
        linked = [f"-L{libraries}", "-ltorch", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{libraries}"]
        _run([compiler, *more, "-shared", *map(str, objects), "-o", str(library), *linked])
        _sign(library)
        os.replace(library, path)


def _compiler() -> list[str]:
    """The C++ compiler, with what ``CXX`` may say before or after it."""
    return shlex.split(os.environ.get("CXX", "")) or ["c++"]


def _sign(library: Path) -> None:
    """Adds the digest of a library to its end, where the loader does not look."""
    with open(library, "r+b") as file:
        digest = hashlib.sha256(file.read()).digest()
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def _is_whole(library: Path) -> bool:
    """Whether a library is there as it was built; one cut off could end the process."""
    try:
        content = library.read_bytes()
    except FileNotFoundError:
        return False
    size = hashlib.sha256().digest_size
    return hashlib.sha256(content[:-size]).digest() == content[-size:]


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False
    )
    if done.returncode != 0:
        said = done.stderr.splitlines()
        lines = [line for line in said if "error" in line] or said
        status = f"exit status {done.returncode}"
        raise RuntimeError(f"the compiler fails: {lines[0] if lines else status}")


def _includes() -> list[str]:
    include = Path(torch.__file__).parent / "include"
    folders = (include, include / "torch" / "csrc" / "api" / "include")
    abi = int(torch.compiled_with_cxx11_abi())
    return [*(f"-I{folder}" for folder in folders), f"-D_GLIBCXX_USE_CXX11_ABI={abi}"]


def _digest() -> str:
    """Tells libraries apart that were built from or for something else."""
    parts = [torch.__version__, *_FLAGS, *_compiler(), _cpu_flags()]
    digest = hashlib.sha256("\n".join(parts).encode())
    for name in (*_SOURCES, *_HEADERS):
        digest.update(_here(name).read_bytes())
    return digest.hexdigest()[:24]


def _cpu_flags() -> str:
    """The instructions of the CPU: homes are shared between machines that differ in them."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.machine()


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "paceline" / "kernels"


def _here(name: str) -> Path:
    return Path(__file__).with_name(name)


@lru_cache(maxsize=8)
def _say_once(problem: str) -> None:
    _logger.info(f"Training uses PyTorch's own kernels: {problem}.")
