"""Plots as parts of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes

from estimators.html.svg import INK, SERIES, draw


def paint(axes: Axes) -> None:
    axes.plot([0.12345678, 1, 2], [1, 2, 1.7], "o-", color=SERIES[1][0])
    axes.set_xlabel("0.12345678 <x>")


def test_a_plot_takes_its_colours_and_width_from_the_page() -> None:
    svg = draw(paint, "a", 'of "a"', width=300, height=200)
    root = ElementTree.fromstring(svg)
    assert root.attrib == {
        "class": "plot",
        "viewBox": "0 0 300 200",
        "role": "img",
        "aria-label": 'of "a"',
    }
    assert "var(--series-1)" in svg and "var(--ink)" in svg
    assert not {SERIES[1][0], INK[0]} & set(re.findall("#[0-9a-f]{6}", svg))
    assert "<style" not in svg and "http" not in svg


def test_numbers_are_short_and_texts_are_whole() -> None:
    svg = draw(paint, "a", "a")
    assert not re.search(r'["\s]\d+\.\d{3,}', svg.replace("0.12345678 &lt;x&gt;", ""))
    texts = [text.text for text in ElementTree.fromstring(svg).iter("text")]
    assert "0.12345678 <x>" in texts


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_same_plot_is_the_same_bytes_and_its_names_are_its_own(name: str) -> None:
    first, again, other = (draw(paint, each, "x") for each in (name, name, "c"))
    assert first == again
    ids, of_other = (set(re.findall(r' id="(.*?)"', svg)) for svg in (first, other))
    assert ids and not ids & of_other
    assert set(re.findall(r'(?:href="|url\()#(.*?)[")]', first)) <= ids
