"""Every name of a space gives that space."""

from __future__ import annotations

import pytest

from supernets.spaces import MobileNetV3Space
from supernets.spaces.factory import SPACES, create_space


@pytest.mark.parametrize("name", [*SPACES])
def test_every_name_gives_its_space(name: str) -> None:
    assert create_space(name).name == name


def test_elastic_spaces_may_have_resolutions() -> None:
    space = create_space("mobilenetv3", resolutions=[32, 24])
    assert isinstance(space, MobileNetV3Space)
    assert space.resolutions == (24, 32)
    assert create_space("mobilenetv3").size * 2 == space.size
    for name in set(SPACES) - {"mobilenetv3"}:
        with pytest.raises(ValueError, match=f"'{name}' has no resolutions; leave them out"):
            create_space(name, resolutions=[32])


def test_unknown_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="Unknown space 'darts7'; choose from nasbench201"):
        create_space("darts7")


@pytest.mark.parametrize("name", [*SPACES])
def test_a_notation_is_text(name: str) -> None:
    with pytest.raises(ValueError, match="notation must be text, got 3; format"):
        create_space(name).parse(3)  # type: ignore[arg-type]
