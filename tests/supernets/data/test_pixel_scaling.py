"""What makes floats of 8-bit pixels: the bits of the loaders, from each level and channel alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from supernets.data.pixel_scaling import Affine, PixelScaling, Standardised
from supernets.data.timm_transforms import MEAN, STD, eval_transform

CPU = torch.device("cpu")
SCALINGS: dict[str, Callable[..., PixelScaling]] = {
    "affine": Affine.of,
    "torchvision": Standardised.of,
    "timm": Standardised.of_levels,
}


@pytest.mark.parametrize("name", SCALINGS)
def test_a_value_follows_from_level_and_channel_alone(name: str) -> None:
    # wherever it lies: vectors of instructions and what is left over at their end
    scaling = SCALINGS[name](MEAN, STD, CPU)
    levels = torch.arange(256, dtype=torch.uint8)
    alone = scaling(levels.view(256, 1, 1, 1).expand(256, 1, 1, 3)).view(256, 3)
    generator = torch.Generator().manual_seed(0)
    for width in range(1, 41):
        pixels = torch.randint(256, (3, width, 7, 3), generator=generator).to(torch.uint8)
        expected = torch.stack([alone[pixels[..., c].long(), c] for c in range(3)], dim=-1)
        assert torch.equal(scaling(pixels), expected)


@pytest.mark.parametrize("name", SCALINGS)
def test_levels_are_found_again(name: str) -> None:
    scaling = SCALINGS[name]((0.3,), (0.001,), CPU)
    levels = torch.arange(256, dtype=torch.uint8).view(4, 8, 8, 1)
    assert torch.equal(scaling.nearest_levels(scaling(levels)), levels)


def test_nearest_levels_of_any_value_are_from_0_to_255() -> None:
    scaling = Standardised.of((0.5,), (0.25,), CPU)
    x = torch.tensor([-9.0, -2.0, -1.99, 0.0, 2.0, 9.0, torch.nan, torch.inf]).view(1, 8, 1, 1)
    found = scaling.nearest_levels(x).flatten().tolist()
    assert (found[0], found[1], found[4], found[5], found[7]) == (0, 0, 255, 255, 255)
    assert found[2] == 1 and found[3] in (127, 128)


def test_it_is_that_of_transforms() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    expected = eval_transform(12, 1.0, "bilinear")(Image.fromarray(pixels)).permute(1, 2, 0)
    found = Standardised.of(MEAN, STD, CPU)(torch.from_numpy(pixels)[None])[0]
    assert torch.equal(found, expected)


def test_it_is_one_operation_for_images_in_memory() -> None:
    pixels = torch.randint(256, (2, 5, 5, 3), generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([1 / (255 * s) for s in STD]).repeat(25)
    shift = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)]).repeat(25)
    expected = torch.addcmul(shift, pixels.flatten(1).float(), scale).view(pixels.shape)
    assert torch.equal(Affine.of(MEAN, STD, CPU)(pixels.to(torch.uint8)), expected)
