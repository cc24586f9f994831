"""Where and in which precision networks run."""

from __future__ import annotations

import torch


def resolve_device(name: str) -> torch.device:
    """Turns ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` into a device.

    Raises:
        ValueError: If the name is unknown or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"Unknown device {name!r}; use auto, cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"Device {name!r} is not supported; use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"Device {name!r} was asked for, but this machine has "
            f"{torch.cuda.device_count()} CUDA devices."
        )
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def autocast(device: torch.device, amp: bool) -> torch.autocast:
    """Bfloat16 autocast for ``device``, or a context that changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=amp, cache_enabled=False)
