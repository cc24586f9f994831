"""A folder of one kind of run is not taken for another, and what it holds stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernets.runtime import outputs
from supernets.runtime.outputs import Outputs
from supernets.runtime.ranks import ProcessInfo
from supernets.runtime.run_kinds import RunKind, check_kind

FILES = {
    "search": ["trials.db"],
    "gradient search": ["alphas.csv", "last.pt"],
    "ranking": ["measurements-0a1b.db"],
    "training": ["last.pt"],
    "progressive": ["phase-1-depth/last.pt"],
}


def folder_of(folder: Path, *kinds: str) -> Path:
    for name in (name for kind in kinds for name in FILES[kind]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("held", "kind", "said"),
    [
        ("search", "gradient search", "a search of another kind"),
        ("gradient search", "search", "a search of another kind"),
        ("training", "search", "a training"),
        ("progressive", "search", "a training"),
        ("training", "ranking", "a training"),
        ("gradient search", "ranking", "a search by gradients"),
        ("gradient search", "training", "a search by gradients"),
        ("search", "training", "a search"),
        ("search", "ranking", "a search"),
        ("ranking", "search", "a ranking"),
        ("ranking", "gradient search", "a ranking"),
        ("ranking", "training", "a ranking"),
    ],
)
def test_another_kind_is_refused(
    held: str, kind: RunKind, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "run", held)
    message = f"run holds {said}; choose another --output"
    monkeypatch.setattr(outputs, "RANKS_WAIT", 0.0)
    for rank in (0, 1):
        with Outputs() as files, pytest.raises(ValueError, match=message):
            files.own(folder, kind=kind, ranks=ProcessInfo(rank, rank, 2))
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(name.split("/")[0] for name in FILES[held])
    check_kind(tmp_path, kind)  # a folder of it within is no matter


@pytest.mark.parametrize("kind", ["search", "gradient search", "ranking", "training"])
def test_the_same_kind_goes_on(kind: RunKind, tmp_path: Path) -> None:
    check_kind(tmp_path / "missing", kind)
    check_kind(folder_of(tmp_path, kind), kind)


def test_kinds_that_were_begun_in_one_folder_go_on_unless_both_are_searches(tmp_path: Path) -> None:
    both = folder_of(tmp_path / "both", "training", "ranking")
    check_kind(both, "training")
    check_kind(both, "ranking")
    with pytest.raises(ValueError, match="both holds a ranking"):
        check_kind(both, "search")
    searches = folder_of(tmp_path / "searches", "search", "gradient search")
    for kind in ("search", "gradient search"):
        with pytest.raises(ValueError, match="holds a search of another kind"):
            check_kind(searches, kind)  # type: ignore[arg-type]


def test_a_checkpoint_before_the_first_epoch_of_a_search_by_gradients_goes_on(
    tmp_path: Path,
) -> None:
    check_kind(folder_of(tmp_path, "training"), "gradient search")  # it is read to tell
