"""How a latency table is measured."""

from __future__ import annotations

from dataclasses import dataclass

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option


@dataclass(frozen=True)
class LatencyOptions(Options):
    """How a latency table is measured.

    Args:
        batch_size: Images per call.
        repeats: Rounds that are timed.
        warmup: Rounds before those that are timed.
        amp: Whether to run in bfloat16 autocast.
        channels_last: Memory format of weights and images.
        num_networks: Random subnets to compare predictions with. At least 4.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> LatencyOptions(repeats=20).batch_size
        1
        >>> LatencyOptions(num_networks=3)
        Traceback (most recent call last):
            ...
        ValueError: num_networks must be at least 4, got 3.
    """

    batch_size: int = option(1, "images per call", kinds.BATCH, metavar="N")
    repeats: int = option(50, "timed rounds", kinds.BATCH, metavar="N")
    warmup: int = 3
    amp: bool = option(False, "in bfloat16 autocast", default_text="float32")
    channels_last: bool = option(False, "memory format", default_text="contiguous")
    num_networks: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds.NON_NEGATIVE_INT.check("warmup", self.warmup)
        kinds.Whole(4).check("num_networks", self.num_networks)
