"""Short words for the operations of NASNet cells, for tests that write many of them."""

from __future__ import annotations

SHORT = {
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
}


def cell(text: str) -> list[tuple[str, int]]:
    """Reads ``"sep3 0 skip 1 …"``: operations and the states they read."""
    words = text.split()
    return [(SHORT[op], int(state)) for op, state in zip(words[::2], words[1::2], strict=True)]
