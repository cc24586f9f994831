"""Settings of supernets: their defaults are those of the supernets, and all of them are taken."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from supernets.networks.factory import create_supernet
from supernets.networks.settings import MobileNetV3Settings, settings_class, settings_classes
from supernets.spaces.factory import spaces_with


def settings_of(space: str, **arguments: Any) -> dict[str, Any]:
    with torch.device("meta"):
        return create_supernet(space, num_classes=10, **arguments).settings


@pytest.mark.parametrize("space", spaces_with("has_networks"))
def test_defaults_are_those_of_the_supernet(space: str) -> None:
    assert settings_classes().keys() == set(spaces_with("has_networks"))
    assert settings_of(space, **settings_class(space)().arguments) == settings_of(space)


def test_all_of_them_reach_the_supernet() -> None:
    given = MobileNetV3Settings(
        width=0.5, resolutions=(224, 192), strides=(2, 1, 2, 2, 1, 1), kernel_transform=False
    )
    found = settings_of("mobilenetv3", **given.arguments)
    assert (found["width"], found["kernel_transform"]) == (0.5, False)
    assert (found["resolutions"], found["strides"]) == ((192, 224), (2, 1, 2, 2, 1, 1))


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        ("nasnet", {"stem": "x"}, "stem must be one of cifar, imagenet, got 'x'"),
        ("nasbench201", {"channels": 0}, "channels must be at least 1, got 0"),
        ("mobilenetv3", {"strides": (3,)}, "strides must be at most 2, got 3"),
        ("mobilenetv3", {"resolutions": 32}, "resolutions must be a list of values, got 32"),
    ],
)
def test_wrong_ones_are_refused(space: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings_class(space)(**settings)
