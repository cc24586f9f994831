"""Flags say what the fields of a dataclass are, and the dataclass is made of what was given."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import pytest

import supernets.runtime.option_types as kinds
from supernets.cli.option_flags import (
    add_family_options,
    add_options,
    check_family,
    from_args,
    given_options,
)
from supernets.runtime.options import Options, option


@dataclass(frozen=True)
class Cells(Options):
    channels: int = option(16, "width of the first cells", kinds.CHANNELS, metavar="C")
    stem: str | None = option(None, "stem", choices=("cifar", "imagenet"), default_text="by size")


@dataclass(frozen=True)
class Elastic(Options):
    width: float = option(1.0, "width multiplier", kinds.WIDTH)
    sizes: tuple[int, ...] = option((2, 1), "sides", kinds.PIXELS, nargs="+", flag="--resolutions")
    transform: bool = option(True, "transform kernels")


FAMILY = {"cells": Cells, "elastic": Elastic}


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    for kind in FAMILY.values():
        add_options(parser, kind)
    return parser


def test_help_has_words_and_defaults(parser: argparse.ArgumentParser) -> None:
    text = " ".join(parser.format_help().split())
    assert "--channels C width of the first cells (default: 16)" in text
    assert "stem (default: by size)" in text
    assert "sides (default: 2 1)" in text
    assert "--transform, --no-transform transform kernels (default: yes)" in text


def test_help_of_a_family_says_whose_an_option_and_a_default_are() -> None:
    @dataclass(frozen=True)
    class Wide(Cells):
        channels: int = option(64, "width of the first cells", kinds.CHANNELS, metavar="C")

    parser = argparse.ArgumentParser()
    add_family_options(parser, {"cells": Cells, "wide": Wide, "elastic": Elastic, "deep": Cells})
    text = " ".join(parser.format_help().split())
    assert "width of the first cells (default: 16 of cells, deep; 64 of wide)" in text
    assert "stem (cells, wide, deep; default: by size)" in text
    assert "sides (elastic; default: 2 1)" in text
    parser = argparse.ArgumentParser()
    add_family_options(parser, {"cells": Cells})
    assert "stem (default: by size)" in " ".join(parser.format_help().split())


def test_what_was_not_given_is_the_dataclass_own_default(parser: argparse.ArgumentParser) -> None:
    args = parser.parse_args([])
    assert given_options(Elastic, args) == {}
    assert from_args(Elastic, args) == Elastic()


def test_what_was_given_becomes_its_fields(parser: argparse.ArgumentParser) -> None:
    args = parser.parse_args(["--resolutions", "32", "48", "--no-transform"])
    assert from_args(Elastic, args, width=2.0) == Elastic(2.0, (32, 48), False)


def test_fields_left_out_have_no_flag() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Cells, without=("stem",))
    assert from_args(Cells, parser.parse_args([])) == Cells()
    assert "--stem" not in parser.format_help()


def test_a_flag_of_another_member_of_the_family_is_refused(
    parser: argparse.ArgumentParser,
) -> None:
    check_family(FAMILY, "cells", parser.parse_args(["--channels", "8"]), by="--space")
    with pytest.raises(ValueError, match=r"^--width is for --space elastic, not cells\.$"):
        check_family(FAMILY, "cells", parser.parse_args(["--width", "2"]), by="--space")


def test_a_family_shares_flags() -> None:
    @dataclass(frozen=True)
    class Wide(Options):
        channels: int = option(32, "width", kinds.CHANNELS)

    parser = argparse.ArgumentParser()
    add_options(parser, Cells)
    add_options(parser, Wide)
    args = parser.parse_args(["--channels", "8"])
    assert from_args(Wide, args) == Wide(8)
    with pytest.raises(ValueError, match="--channels is for --space cells or wide, not elastic"):
        check_family({**FAMILY, "wide": Wide}, "elastic", args, by="--space")
