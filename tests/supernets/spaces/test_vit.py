"""What the notation of elastic Vision Transformers says, and how many of them there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from supernets.spaces import ViTSpace
from supernets.spaces.vit import PRESETS, Layer, mlp_width

DIGITS = ViTSpace("digits")


@pytest.mark.parametrize(
    ("preset", "size"),
    [
        ("tiny", 3 * (4**12 + 4**13 + 4**14)),
        ("small", 3 * (9**12 + 9**13 + 9**14)),
        ("base", 3 * (9**14 + 9**15 + 9**16)),
        ("cifar", 3 * (9**6 + 9**7 + 9**8)),
        ("digits", 3 * (9**2 + 9**3 + 9**4)),
    ],
)
def test_inactive_layers_are_counted_once(preset: str, size: int) -> None:
    assert ViTSpace(preset).size == size


def test_the_default_space_is_the_supernet_tiny_of_the_paper() -> None:
    space = ViTSpace()
    assert space.size == 1_056_964_608
    smallest, largest = space.extremes()
    assert space.format(smallest) == (
        "e=192;d=12;h=3,3,3,3,3,3,3,3,3,3,3,3;r=3.5,3.5,3.5,3.5,3.5,3.5,3.5,3.5,3.5,3.5,3.5,3.5"
    )
    assert space.embed_dim(largest) == 240
    assert space.layers(largest) == [Layer(4, 4.0)] * 14


def test_a_restricted_space_counts_what_is_left() -> None:
    part = DIGITS.restrict({"depth": ("2", "4"), "heads.4": ("3",), "mlp": ("1", "4")})
    assert part.size == 3 * (6**2 + 6**3 * 2) == len(list(part.enumerate()))


def test_only_layers_there_are_is_written() -> None:
    arch = DIGITS.parse("e=48;d=3;h=2,3,4;r=1,2,4")
    assert arch.choices == (1, 1, 0, 1, 2, 0, 0, 1, 2, 0)
    assert DIGITS.parse(" e = 48; d=3 ;h=2, 3,4;r=1,2,4\n") == arch
    assert DIGITS.layers(arch) == [Layer(2, 1.0), Layer(3, 2.0), Layer(4, 4.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("e=48;d=2;h=2,2", "it has e, d, h, expected e, d, h, r"),
        ("e=48;d=2;h=2,2;r=1,1;h=2,2", "'h=2,2' is not of the form 'key=value,…', once per key"),
        ("e=48,32;d=2;h=2,2;r=1,1", "e has 2 values, not 1"),
        ("e=40;d=2;h=2,2;r=1,1", "embed takes 32, 48, 64, got '40'"),
        ("e=48;d=2;h=2,2,2;r=1,1", "h has 3 values for 2 layers; give one each"),
        ("e=48;d=2;h=2,2;r=1,3", "mlp.2 takes 1, 2, 4, got '3'"),
        ("e=48;d=5;h=2,2;r=1,1", "depth takes 2, 3, 4, got '5'"),
    ],
)
def test_what_is_no_notation_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DIGITS.parse(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "huge"}, "Unknown preset 'huge'; choose from tiny, small"),
        ({"depths": (2, 2)}, r"depths must be different numbers, got \[2, 2\]"),
        ({"embed_dims": (0,)}, "embed_dims must be at least 1, got 0"),
        ({"heads": (1.5,)}, "heads must be a whole number, got 1.5"),
        ({"mlp_ratios": (0.0,)}, "mlp_ratios must be above 0 and at most 16, got 0"),
    ],
)
def test_impossible_spaces_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViTSpace(**settings)


def test_what_is_given_replaces_what_a_preset_says() -> None:
    space = ViTSpace("digits", depths=(3, 1), mlp_ratios=(1 / 3, 0.3333333))
    assert (space.embed_dims, space.depths) == (PRESETS["digits"].embed_dims, (1, 3))
    arch = space.extremes()[1]
    assert space.mlp_ratios == (0.3333333, 1 / 3) and space.parse(space.format(arch)) == arch


def test_quantities_are_those_of_the_layers() -> None:
    archs = DIGITS.architectures(DIGITS.sample_choices(50, np.random.default_rng(0)))
    dims, heads, mlps = DIGITS.quantities(DIGITS.choices_of(archs))
    structure = DIGITS.structure(DIGITS.choices_of(archs))
    for i, arch in enumerate(archs):
        layers, dim = DIGITS.layers(arch), DIGITS.embed_dim(arch)
        rest = [0] * (DIGITS.max_depth - len(layers))
        assert dims[i] == dim
        assert heads[i].tolist() == [layer.heads for layer in layers] + rest
        assert mlps[i].tolist() == [mlp_width(dim, layer.mlp_ratio) for layer in layers] + rest
        assert structure.numbers[i, :4].tolist() == [
            dim,
            len(layers),
            sum(layer.heads for layer in layers),
            sum(layer.mlp_ratio for layer in layers),
        ]
    assert len(np.unique(structure.numbers, axis=0)) == len(set(archs))
