"""Where windows of MACs lie, and which are refused."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
import pytest

from estimators.ranking.macs_windows import MacsTarget, MacsWindow, choose_windows
from estimators.ranking.settings import ComparisonSettings

#: 40 architectures of 1, 2, …, 40 million.
MACS = 1e6 * np.arange(1, 41)


def test_a_window_holds_its_ends() -> None:
    window = MacsWindow(20e6, 0.1)
    assert (window.low, window.high) == (18e6, 22e6)
    assert (MACS[window.holds(MACS)] / 1e6).tolist() == [18, 19, 20, 21, 22]
    assert str(window) == "20 M MACs ± 10 % (18 M to 22 M)"


def test_targets_are_windows_in_their_order_and_may_overlap() -> None:
    windows = choose_windows((30e6, 24e6), 0.25, MACS)
    assert windows == (MacsWindow(30e6, 0.25), MacsWindow(24e6, 0.25))
    assert [int(window.holds(MACS).sum()) for window in windows] == [15, 13]  # 23-37, 18-30


def test_five_percent_is_the_default() -> None:
    (window,) = choose_windows((100.0,), None, np.repeat([94.0, 95.0, 105.0, 106.0], 10))
    assert window.tolerance == 0.05


def test_auto_is_the_quartiles_of_what_is_ranked_each_once() -> None:
    windows = choose_windows(("auto",), 0.5, MACS)
    assert [window.target for window in windows] == [10e6, 20e6, 30e6]
    same = choose_windows(("auto",), None, np.array([5.0] * 25 + [9.0] * 15))
    assert [window.target for window in same] == [5, 9]


def test_windows_with_a_handful_are_refused_and_all_of_them_named() -> None:
    # 19 to 21 are in one, 15 to 25 would be 11; none is near 90
    with pytest.raises(ValueError, match="needs 10 architectures, but of these 40") as error:
        choose_windows((20e6, 90e6), None, MACS)
    text = str(error.value)
    assert "of 1 M to 40 M MACs" in text and "\n" not in text
    assert "there are 3 in 20 M MACs ± 5 % (19 M to 21 M) and 0 in 90 M MACs" in text
    assert choose_windows((20e6,), 0.25, MACS)[0].holds(MACS).sum() == 11
    nine = np.array([1e6] * 9 + [9e6] * 9)
    with pytest.raises(ValueError, match="there are 9 in 1 M MACs"):
        choose_windows((1e6,), None, nine)
    assert choose_windows((1e6,), None, np.append(nine, 1e6))
    with pytest.raises(ValueError, match="there are 9 in 1 M MACs .* and 9 in 9 M MACs"):
        choose_windows(("auto",), None, nine)


@pytest.mark.parametrize("text", ["-40e6", "0", "nan", "inf", "many", "", "1e30", "40M"])
def test_targets_are_positive_numbers(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="positive number of MACs, or auto, got"):
        MacsTarget()(text)


@pytest.mark.parametrize("value", [-1, 0.0, math.nan, math.inf, True, "40e6", None])
def test_settings_take_the_same_targets(value: Any) -> None:
    with pytest.raises(ValueError, match="macs_windows must be positive numbers of MACs, or auto"):
        ComparisonSettings(macs_windows=(value,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"macs_windows": ()}, "--macs-windows must be targets in MACs, or auto; got none"),
        ({"macs_windows": (4e6, "auto")}, "targets or auto alone, got 4e[+]06 auto"),
        ({"macs_windows": (5, 5.0)}, "names a target twice, got 5 5"),
        ({"macs_windows": 40e6}, "macs_windows must be a list of values, got 40000000.0"),
        ({"macs_tolerance": 0.1}, "--macs-tolerance is of the windows of --macs-windows"),
        ({"macs_windows": (5,), "macs_tolerance": 1}, "macs_tolerance must be between 0 and 1"),
        ({"macs_windows": (5,), "macs_tolerance": 0}, "macs_tolerance must be between 0 and 1"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComparisonSettings(**given)
