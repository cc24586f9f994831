"""How long a network takes on this machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from supernets.runtime.device import autocast, synchronise
from supernets.runtime.progress import hides_bars

#: Clocks by the name that a measurement records. The time of a thread does not run while other work
#: has its processor, so on a busy machine it is the better one for networks of one thread.
CLOCKS: dict[str, Callable[[], float]] = {
    "thread_time": time.thread_time,
    "perf_counter": time.perf_counter,
}


@dataclass(frozen=True)
class Latency:
    """Seconds that a network takes for one batch.

    Args:
        minimum: Seconds of the fastest call.
        lower_quartile: Seconds that a quarter of the calls took at most.
        median: Seconds that half of the calls took at most.
        upper_quartile: Seconds that three quarters of the calls took at most.
        conditions: Device, software and settings of the measurement, in plain types.
    """

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    conditions: Mapping[str, Any]


def measure_latency(
    module: nn.Module,
    input_size: tuple[int, int, int],
    *,
    batch_size: int = 1,
    device: torch.device,
    warmup: int = 5,
    repeats: int = 50,
    amp: bool = False,
    channels_last: bool = False,
) -> Latency:
    """Times a network on random images.

    Args:
        module: The network; put in eval mode and moved to ``device``, and left so.
        input_size: Images as (channels, height, width).
        batch_size: Images per call.
        device: Device to run on.
        warmup: Calls before those that are timed.
        repeats: Calls that are timed.
        amp: Whether to run in bfloat16 autocast.
        channels_last: Memory format of weights and images.

    Raises:
        ValueError: If a number is out of range.
    """
    conditions = measurement_conditions(
        device,
        batch_size=batch_size,
        repeats=repeats,
        warmup=warmup,
        amp=amp,
        channels_last=channels_last,
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = module.to(device, memory_format=layout).eval()  # type: ignore[call-overload]
    x = torch.randn(batch_size, *input_size, device=device).to(memory_format=layout)
    seconds = time_calls(
        {"network": lambda: module(x)},
        device=device,
        warmup=warmup,
        repeats=repeats,
        amp=amp,
        clock=CLOCKS[conditions["clock"]],
    )["network"]
    minimum, lower, median, upper = np.quantile(seconds, [0, 0.25, 0.5, 0.75]).tolist()
    return Latency(minimum, lower, median, upper, conditions)


def time_calls(
    calls: Mapping[Hashable, Callable[[], object]],
    *,
    device: torch.device,
    warmup: int,
    repeats: int,
    amp: bool = False,
    clock: Callable[[], float],
) -> dict[Hashable, NDArray[np.float64]]:
    """Times calls in turn, so that slow spells of the machine meet all of them alike.

    Args:
        calls: Functions to call, by name.
        device: Waited for before and after each call.
        warmup: Rounds before those that are timed.
        repeats: Rounds that are timed.
        amp: Whether to call in bfloat16 autocast.
        clock: Gives seconds.

    Returns:
        Seconds of each call, (repeats,).
    """

    def wait() -> None:
        synchronise(device)

    seconds = {name: np.zeros(repeats) for name in calls}
    disable = True if hides_bars() else None
    rounds = tqdm(range(-warmup, repeats), "Timing", unit="round", leave=False, disable=disable)
    with torch.inference_mode(), autocast(device, amp):
        for i in rounds:
            for name, call in calls.items():
                wait()
                start = clock()
                call()
                wait()
                if i >= 0:
                    seconds[name][i] = clock() - start
    return seconds


def measurement_conditions(
    device: torch.device,
    *,
    batch_size: int,
    repeats: int,
    warmup: int = 0,
    amp: bool = False,
    channels_last: bool = False,
) -> dict[str, Any]:
    """Returns what a measurement depends on, in plain types.

    Raises:
        ValueError: If a number is out of range.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("warmup", warmup, 0),
        ("repeats", repeats, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
    is_cuda = device.type == "cuda"
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if is_cuda else _processor(),
        "num_threads": torch.get_num_threads(),
        "clock": _clock(device),
        "torch": torch.__version__,
        "batch_size": batch_size,
        "warmup": warmup,
        "repeats": repeats,
        "amp": amp,
        "channels_last": channels_last,
    }


def _clock(device: torch.device) -> str:
    is_one_thread = device.type == "cpu" and torch.get_num_threads() == 1
    is_fine = time.get_clock_info("thread_time").resolution <= 1e-6  # seconds
    return "thread_time" if is_one_thread and is_fine else "perf_counter"


def _processor() -> str:
    """The processor's name; Linux alone gives more than its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
