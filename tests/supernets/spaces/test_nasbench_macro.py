"""What NAS-Bench-Macro's notation says, and which of it is the same network."""

from __future__ import annotations

import numpy as np
import pytest

from supernets.spaces import NASBenchMacroSpace

SPACE = NASBenchMacroSpace()


def test_there_is_an_architecture_for_every_notation() -> None:
    written = {SPACE.format(arch) for arch in SPACE.enumerate()}
    assert len(written) == SPACE.size == 3**8
    assert {"00000000", "12012012", "22222222"} <= written


@pytest.mark.parametrize("text", ["2221222", "222122200", "22212223", "2221222x", "²²²¹²²²⁰"])
def test_what_is_no_notation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="8 digits from 0 to 2"):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("22212202", "22212220"),
        ("00001001", "00010010"),
        ("01010210", "01010210"),
        ("10002012", "10020012"),  # layers 0, 2 and 5 change the shape
    ],
)
def test_identities_of_a_stage_can_be_anywhere(text: str, first: str) -> None:
    choices = SPACE.choices_of([SPACE.parse(text)])
    found = SPACE.first_of_functions(choices)
    assert SPACE.format(SPACE.architecture(found[0])) == first
    assert (SPACE.structure(choices).labels == SPACE.structure(found).labels).all()
    assert (SPACE.structure(choices).numbers == SPACE.structure(found).numbers).all()


def test_so_there_are_as_many_networks_as_the_benchmark_trained() -> None:
    choices = SPACE.choices_of(SPACE.enumerate())
    first = SPACE.first_of_functions(choices)
    assert len(np.unique(first, axis=0)) == (3 * 3) * (3 * 7) * (3 * 7) == 3969
    assert (SPACE.first_of_functions(first) == first).all()
    structure = SPACE.structure(choices)
    seen = np.concatenate([structure.labels, structure.numbers], axis=1)
    assert len(np.unique(seen, axis=0)) == 3969


def test_in_a_part_every_architecture_stands_for_itself() -> None:
    part = SPACE.restrict({"layer.3": ("identity",), "layer.4": ("mb_e3_k3",)})
    choices = part.choices_of(part.enumerate())
    assert (part.first_of_functions(choices) == choices).all()
