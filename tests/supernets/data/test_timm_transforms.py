"""timm's transforms with our settings: against timm, repeatable, safe on tiny images."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torchvision.transforms import functional as reference

from supernets.data.timm_options import TimmAugmentation
from supernets.data.timm_transforms import MEAN, STD, eval_transform, seeded, train_transform

STRONG = TimmAugmentation(
    scale=(0.2, 0.9),
    ratio=(0.5, 2.0),
    hflip=0.3,
    auto_augment="rand-m9-mstd0.5",
    re_prob=0.9,
    re_mode="pixel",
    interpolation="random",
)
JITTERED = TimmAugmentation(color_jitter=(0.4, 0.3, 0.2, 0.1), interpolation="bicubic")


@pytest.fixture
def picture() -> Image.Image:
    """40 pixels wide and 30 high."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("augmentation", "settings"),
    [
        (TimmAugmentation(), {}),
        (
            STRONG,
            {
                "scale": (0.2, 0.9),
                "ratio": (0.5, 2.0),
                "hflip": 0.3,
                "auto_augment": "rand-m9-mstd0.5",
                "re_prob": 0.9,
                "re_mode": "pixel",
                "interpolation": "random",
            },
        ),
        (JITTERED, {"color_jitter": (0.4, 0.3, 0.2, 0.1), "interpolation": "bicubic"}),
    ],
)
def test_train_transform_is_timms(
    picture: Image.Image, augmentation: TimmAugmentation, settings: dict[str, Any]
) -> None:
    ours = train_transform(24, augmentation)
    theirs = create_transform(24, is_training=True, **settings)
    images = []
    for key in range(10):
        with seeded(key):
            images.append(ours(picture))
        with seeded(key):
            assert torch.equal(images[-1], theirs(picture))
        assert (images[-1].shape, images[-1].dtype) == ((3, 24, 24), torch.float32)
    assert len({image.numpy().tobytes() for image in images}) == 10


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_eval_transform_resizes_and_crops_the_centre(
    picture: Image.Image, interpolation: str
) -> None:
    x = eval_transform(14, 0.875, interpolation)(picture)
    mode = reference.InterpolationMode(interpolation)
    resized = reference.resize(picture, [16], mode)  # 14 / 0.875
    cropped = reference.to_tensor(reference.center_crop(resized, [14, 14]))
    assert torch.allclose(x, reference.normalize(cropped, MEAN, STD), atol=1e-6)
    assert torch.equal(x, eval_transform(14, 0.875, "random")(picture)) == (
        interpolation == "bilinear"
    )


def test_whole_crop_without_colours_is_the_eval_transform(picture: Image.Image) -> None:
    square = picture.crop((0, 0, 30, 30))
    plain = TimmAugmentation(scale=(1, 1), ratio=(1, 1), hflip=0, color_jitter=0)
    expected = eval_transform(24, 1.0, "bilinear")(square)
    assert torch.equal(train_transform(24, plain)(square), expected)


@pytest.mark.parametrize(("mode", "num_values"), [("const", 1), ("rand", 1), ("pixel", 100)])
def test_erasing_fills_a_rectangle_of_the_normalised_image(mode: str, num_values: int) -> None:
    grey = Image.new("RGB", (32, 32), (200, 200, 200))
    plain = {"color_jitter": 0.0, "re_mode": mode}
    with seeded(0):
        whole = train_transform(32, TimmAugmentation(**plain))(grey)
        erased = train_transform(32, TimmAugmentation(**plain, re_prob=1.0))(grey)
    changed = erased != whole  # (3, 32, 32)
    assert torch.equal(changed[0], changed[1])
    rows, columns = changed[0].any(1).sum(), changed[0].any(0).sum()
    assert changed[0].sum() == rows * columns > 0
    values = erased[0][changed[0]].unique()
    assert len(values) == 1 if num_values == 1 else len(values) > num_values
    assert (values == 0).all() == (mode == "const")


def test_tiny_images_are_enlarged_for_the_crop() -> None:
    """Where a crop rounded to no pixels, the image would come out black."""
    colour = (torch.tensor([90, 80, 70]) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    for scale in ((0.08, 1.0), (0.001, 0.002)):
        transform = train_transform(8, TimmAugmentation(scale=scale, color_jitter=0.0))
        for size in ((1, 1), (2, 1), (1, 3), (4, 4), (1, 90)):
            for key in range(20):
                with seeded(key):
                    x = transform(Image.new("RGB", size, (90, 80, 70)))
                assert torch.allclose(x, colour[:, None, None].expand(3, 8, 8), atol=1e-5)


def test_seeded_draws_depend_on_the_key_alone_and_leave_the_generators_alone() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(1))

    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    draws = []
    for key in ((1, 2, 3), (1, 2, 3), (1, 2, 4), (1, 3, 2), (2, 2, 3)):
        with pytest.raises(KeyError), seeded(*key):
            draws.append(draw())
            raise KeyError
        draw_after = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
        assert draw_after[:2] == states[:2]
        assert torch.equal(draw_after[2], states[2])
    assert draws[0] == draws[1]
    for column in zip(*draws[1:], strict=True):
        assert len(set(column)) == 4


def test_settings_survive_json() -> None:
    for augmentation in (TimmAugmentation(), STRONG, JITTERED):
        assert TimmAugmentation(**json.loads(json.dumps(asdict(augmentation)))) == augmentation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (0.0, 1.0)}, "scale must be"),
        ({"scale": (0.5, 0.4)}, "scale must be two numbers"),
        ({"scale": (0.5, 1.1)}, "scale must be above 0 and at most 1"),
        ({"scale": (0.5,)}, "scale must be two numbers"),
        ({"ratio": (2.0, 1.0)}, "ratio must be two numbers"),
        ({"hflip": 1.5}, "hflip must be from 0 to 1, got 1.5"),
        ({"re_prob": -0.1}, "re_prob must be from 0 to 1, got -0.1"),
        ({"re_mode": "noise"}, "re_mode must be one of const, rand, pixel, got 'noise'"),
        ({"interpolation": "area"}, "interpolation must be one of bilinear, bicubic, random, got"),
        ({"color_jitter": -1.0}, "color_jitter must be from 0 to 100"),
        ({"color_jitter": float("nan")}, "color_jitter must be from 0 to 100"),
        ({"color_jitter": (0.4, 0.4)}, "color_jitter must be 1, 3 or 4 numbers, got 2"),
        ({"color_jitter": (0.1, 0.1, 0.1, 0.6)}, "of hue at most 0.5"),
        ({"auto_augment": "strong"}, "timm does not know auto_augment 'strong'"),
        ({"auto_augment": "rand-q9"}, "timm does not know auto_augment 'rand-q9'"),
        ({"auto_augment": "rand-mx9"}, "timm does not know auto_augment 'rand-mx9'"),
        ({"auto_augment": "rand-m9", "color_jitter": 0.4}, "no color_jitter beside auto_augment"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmAugmentation(**settings)
