"""Pictures of cells show every operation, and nothing that is not there."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from supernets.export.cell_drawing import draw_cells
from supernets.spaces import Architecture, CellSpace
from supernets.spaces.factory import create_space

CELL_SPACES = ("nasbench201", "nasnet", "darts")


def cell_space(name: str) -> CellSpace:
    space = create_space(name)
    assert isinstance(space, CellSpace)
    return space


def texts_of(
    space: CellSpace, arch: Architecture, path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[list[str]]:
    """Draws and gives the texts within each panel, sorted."""
    figures = []
    monkeypatch.setattr(
        "supernets.export.cell_drawing.Figure",
        lambda **settings: figures.append(Figure(**settings)) or figures[-1],  # type: ignore[func-returns-value]
    )
    draw_cells(space, arch, path)
    return [sorted(text.get_text() for text in axes.texts) for axes in figures[0].axes]


@pytest.mark.parametrize("name", CELL_SPACES)
def test_every_operation_and_state_is_written_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = cell_space(name)
    arch = space.sample(np.random.default_rng(0))
    panels = texts_of(space, arch, tmp_path / "cells.png", monkeypatch)
    num_states = 4 if name == "nasbench201" else 6
    states = [str(state) for state in range(num_states)]
    outputs = [] if name == "nasbench201" else ["concat"]
    assert panels == [
        sorted([*states, *outputs, *(edge.op for edge in edges)])
        for edges in space.cells(arch).values()
    ]


def test_a_cell_without_operations_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = cell_space("nasbench201")
    arch = space.architecture([0] * 6)
    assert texts_of(space, arch, tmp_path / "cells.png", monkeypatch) == [["0", "1", "2", "3"]]


@pytest.mark.parametrize("name", CELL_SPACES)
def test_no_text_covers_another_and_all_are_inside(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = cell_space(name)
    figures: list[Figure] = []
    monkeypatch.setattr(
        "supernets.export.cell_drawing.Figure",
        lambda **settings: figures.append(Figure(**settings)) or figures[-1],  # type: ignore[func-returns-value]
    )
    draw_cells(space, space.sample(np.random.default_rng(1)), tmp_path / "cells.png")
    for axes in figures[0].axes:
        boxes = [text.get_window_extent() for text in axes.texts if isinstance(text, Text)]
        for i, box in enumerate(boxes):
            assert axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            assert axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
            assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_the_file_is_a_picture_and_no_other_is_left(tmp_path: Path) -> None:
    space = cell_space("darts")
    path = tmp_path / "cells.png"
    draw_cells(space, space.sample(np.random.default_rng(0)), path)
    picture = matplotlib.image.imread(path)  # (height, width, 4)
    assert picture.shape[0] > 300 and picture.shape[1] > 600
    assert picture.std() > 0.05  # not blank
    assert list(tmp_path.iterdir()) == [path]


def test_an_architecture_of_another_space_is_refused(tmp_path: Path) -> None:
    arch = cell_space("nasnet").sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="'nasnet', but this space is 'darts'"):
        draw_cells(cell_space("darts"), arch, tmp_path / "cells.png")
    assert not list(tmp_path.iterdir())
