"""What Accel-NASBench's notation says of its blocks."""

from __future__ import annotations

import pytest

from supernets.spaces import MnasNetSpace

SPACE = MnasNetSpace()
TEXT = "e1k3l1n-e6k3l2n-e6k5l2s-e4k3l3n-e6k5l3s-e6k5l4s-e6k3l1n"


def test_options_of_a_block_stand_in_order() -> None:
    arch = SPACE.parse(f" {TEXT}\n")
    pairs = zip(SPACE.decisions, arch.choices, strict=True)
    chosen = {decision.name: decision.options[choice] for decision, choice in pairs}
    assert [chosen[f"expand.{i}"] for i in range(1, 8)] == list("1664666")
    assert [chosen[f"kernel.{i}"] for i in range(1, 8)] == list("3353553")
    assert [chosen[f"layers.{i}"] for i in range(1, 8)] == list("1223341")
    assert [chosen[f"squeeze.{i}"] for i in range(1, 8)] == list("nnsnssn")
    assert SPACE.format(arch) == TEXT


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEXT[8:], "it is not 7 blocks"),
        (TEXT + "-e1k3l1n", "it is not 7 blocks"),
        (TEXT.replace("e4", "e3"), "it is not 7 blocks"),
        (TEXT.replace("l3n", "l4n"), "layers.4 takes 1, 2, 3, got 4"),
    ],
)
def test_what_is_no_notation_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{why}.*Expected, for example, 'e1k3"):
        SPACE.parse(text)
