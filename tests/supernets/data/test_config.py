"""Which data: what is kept of it with a result, what the flags make of it, and what is refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from supernets.cli.data_options import add_data_options, data_config
from supernets.data.config import DataConfig
from supernets.data.timm_options import TimmAugmentation, TimmOptions


def test_settings_are_what_json_gives_back() -> None:
    plain = DataConfig("digits", num_val=7, cutout=3).settings
    expected = {"dataset": "digits", "val_fraction": 0.2, "requested_num_val": 7, "cutout": 3}
    assert plain == expected
    of_timm = DataConfig("hfds/x", augmentation=TimmAugmentation(color_jitter=(0.1, 0.2, 0.3)))
    settings = of_timm.settings
    assert settings == json.loads(json.dumps(settings))
    assert settings["augmentation"]["color_jitter"] == [0.1, 0.2, 0.3]
    assert settings["timm_options"]["crop_pct"] == 0.875


def test_a_folder_may_be_a_text() -> None:
    assert (
        DataConfig("folder", "data").folder
        == Path("data")
        == DataConfig("folder", Path("data")).folder
    )
    assert DataConfig().folder is None


def parsed(*flags: str, **defaults: Any) -> DataConfig:
    parser = argparse.ArgumentParser()
    add_data_options(parser, defaults)
    return data_config(parser.parse_args(flags), defaults)


def test_flags_win_over_defaults_and_leave_the_others() -> None:
    assert parsed() == DataConfig()
    assert parsed("--num-val", "5", val_fraction=0.5) == DataConfig(val_fraction=0.5, num_val=5)
    recorded = {
        "dataset": "hfds/x",
        "augmentation": TimmAugmentation(hflip=0.1, re_prob=0.3),
        "timm_options": TimmOptions(val_split="b"),
    }
    assert parsed("--re-prob", "0.2", "--color-jitter", "0.1", **recorded) == DataConfig(
        "hfds/x",
        augmentation=TimmAugmentation(hflip=0.1, re_prob=0.2, color_jitter=0.1),
        timm_options=TimmOptions(val_split="b"),
    )


def test_flags_of_timm_are_for_data_that_it_reads() -> None:
    with pytest.raises(ValueError, match=r"^--val-split, .* timm reads; digits is none of these"):
        parsed("--val-split", "a", "--crop-pct", "0.5")
    parsed("--dataset", "hfds/x", "--val-split", "a")
