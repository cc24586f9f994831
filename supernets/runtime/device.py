"""Where and in which precision networks run."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch

from supernets.runtime.instances import check_instance
from supernets.runtime.ranks import ProcessInfo


def resolve_device(name: str | torch.device) -> torch.device:
    """Turns ``"auto"``, or a name of PyTorch's such as ``"cuda:1"`` or ``"mps"``, into a device.

    ``"auto"`` is CUDA where there is one, else another accelerator, else the CPU.

    Raises:
        ValueError: If the name is unknown or this machine has no such device.
    """
    check_instance("device", name, (str, torch.device), "'auto' and 'cpu' are names")
    name = str(name)
    if name == "auto":
        return torch.device(_accelerator() or "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Unknown device {name!r}; this machine has {_present()}.") from error
    if device.type != "cpu" and (device.index or 0) >= _count(device.type):
        raise ValueError(
            f"Device {name!r} was asked for, but this machine has {_present()}; use one of these, "
            "or auto."
        )
    return device


def device_of_rank(name: str | torch.device, ranks: ProcessInfo) -> torch.device:
    """Turns a name into a device; under ``torchrun`` each process has its own accelerator.

    Raises:
        ValueError: If the name is unknown or this machine has no such device.
    """
    device = resolve_device(name)
    if ranks.world_size == 1 or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ValueError(
            f"Several processes train together on cuda or cpu, not on {device.type}; use --device "
            "cpu, or one process."
        )
    return resolve_device(f"cuda:{ranks.local_rank}") if str(name) in ("auto", "cuda") else device


def _accelerator() -> str | None:
    """The type of the accelerator that is there, CUDA before others."""
    if torch.cuda.is_available():
        return "cuda"
    if not torch.accelerator.is_available():
        return None
    current = torch.accelerator.current_accelerator()
    return None if current is None else current.type


def _count(kind: str) -> int:
    """The number of accelerators of a type."""
    if kind == "cuda":
        return torch.cuda.device_count()
    return torch.accelerator.device_count() if kind == _accelerator() else 0


def _present() -> str:
    """What this machine has, for messages."""
    kind = _accelerator()
    return "cpu alone" if kind is None else f"cpu and {_count(kind)} of {kind}"


def synchronise(device: torch.device) -> None:
    """Waits until an accelerator has done what it was told; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu":
        torch.accelerator.synchronize(device)


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether ``device`` is known to multiply bfloat16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def device_with_float64(device: torch.device) -> torch.device:
    """Returns ``device`` if it is known to compute in float64, as MPS does not, else the CPU."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def check_amp(device: torch.device) -> None:
    """Refuses bfloat16 autocast that ``device`` does not have.

    Raises:
        ValueError: If PyTorch has none for this device.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # PyTorch warns, and computes in float32
            torch.autocast(device.type, torch.bfloat16)
    except (RuntimeError, UserWarning) as error:
        raise ValueError(
            f"--amp computes in bfloat16 autocast, which PyTorch does not have for {device}; leave "
            "it out."
        ) from error


def autocast(device: torch.device, amp: bool) -> AbstractContextManager[None]:
    """Returns bfloat16 autocast for ``device``, or a context that changes nothing."""
    if not amp and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=amp, cache_enabled=False)
