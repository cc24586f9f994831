"""Which order the axes of an image have, where it was meant to be another."""

from __future__ import annotations

from collections.abc import Sequence

#: Images have no more channels than this where nothing says so.
_CHANNELS = 4


def look_swapped(shape: Sequence[int], channels_at: int) -> bool:
    """Returns whether the channels of an image look to be at the other end of its shape.

    Args:
        shape: Of one image, three numbers.
        channels_at: Where its channels are meant to be, 0 or -1.

    Example:
        >>> look_swapped((3, 32, 32), -1), look_swapped((32, 32, 3), -1)
        (True, False)
    """
    other_end = -1 - channels_at
    return shape[other_end] <= _CHANNELS < min(shape[channels_at], shape[1])
