"""A space in a file of one's own, outside of the checkout, goes through every command."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import estimators.cli.rank
import search.cli.search
import supernets.cli.export
import supernets.cli.retrain
import supernets.cli.train
from supernets import load_subnet, load_supernet
from supernets.runtime import named_objects
from supernets.spaces.code_of_files import DIGEST, FIELD, OPTIONS
from supernets.spaces.factory import SPACES
from supernets.training.checkpoint import reopen_data

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorials" / "your-own-space.md"
NOTATION = (
    "depth=2;1.blocks.0.expand=0.25;1.blocks.0.depthwise=k3;1.blocks.1.expand=1;"
    "1.blocks.1.depthwise=k7"
)
TSE = "--tse-batches 2 --tse-batch-size 32"


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a process that has loaded no file of one's own."""
    monkeypatch.setattr(SPACES, "_found", {k: v for k, v in SPACES._found.items() if ":" not in k})
    for path in named_objects.loaded_files():
        (name,) = [n for n, m in sys.modules.items() if getattr(m, "__file__", "") == str(path)]
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file of the tutorial, and a supernet that was trained from it."""
    folder = tmp_path_factory.mktemp("own")
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks[0].splitlines()) <= 60
    (folder / "my_space.py").write_text(blocks[0])
    flags = f"--space {folder / 'my_space.py'}:SPACE --dataset digits --channels 4 --epochs 1"
    flags += f" --num-probes 0 --batch-size 400 --device cpu --output {folder / 'supernet'}"
    assert supernets.cli.train.main(flags.split()) == 0
    return folder


@pytest.fixture
def checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder / "supernet" / "last.pt"


def run(main: Any, flags: str) -> int:
    status: int = main(flags.split())
    return status


def test_flags_are_those_of_the_space(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(supernets.cli.train.main, f"--space {folder / 'my_space.py'}:SPACE --help")
    assert "of all blocks (default: 16)" in " ".join(capsys.readouterr().out.split())
    assert torch.load(folder / "supernet" / "last.pt", weights_only=True)["supernet_settings"] == {
        "num_classes": 10,
        "input_size": (1, 8, 8),
        "channels": 4,
    }
    flags = f"--space {folder / 'my_space.py'}:SPACE --layers 3 --output {folder / 'other'}"
    assert run(supernets.cli.train.main, flags) == 2
    assert "--layers is for --space nasnet or darts, not" in capsys.readouterr().err


def test_code_that_a_file_names_is_run_on_request_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = f"--supernet {checkpoint} --num-trials 3 --algorithm random {TSE} --device cpu"
    assert run(search.cli.search.main, f"{flags} --output {tmp_path / 'a'}") == 2
    error = capsys.readouterr().err
    assert "is of space 'bottlenecks', which is not part of paceline: reading it imports" in error
    assert f"{checkpoint.parents[1] / 'my_space.py'}:SPACE" in error and "--trust-code" in error
    assert not named_objects.loaded_files() and not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="reading it imports and runs .*my_space.py:SPACE"):
        load_supernet(checkpoint)
    named = f"{flags} --space my_space.py:SPACE --output {tmp_path / 'b'}"
    assert run(search.cli.search.main, named) == 0
    assert load_supernet(checkpoint).space.name == "bottlenecks"  # it is loaded by now


def test_what_a_checkpoint_names_is_looked_up_and_nothing_else_is_built_of_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    assert stored[FIELD] == f"{checkpoint.parents[1] / 'my_space.py'}:SPACE"
    for code, message in (
        ("collections:OrderedDict", "is the class OrderedDict, and no SpaceDefinition"),
        (f"{tmp_path / 'gone.py'}:SPACE", "There is no file .*gone.py"),
        ("supernets.spaces.built_in:DARTS", "calls itself 'darts', which is another"),
        (3, "is of space 'bottlenecks', which is no name"),
    ):
        torch.save({**stored, FIELD: code}, tmp_path / "last.pt")
        with pytest.raises(ValueError, match=message):
            load_supernet(tmp_path / "last.pt", trust_code=True)


def test_a_file_that_was_moved_with_its_checkpoint_is_found(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    moved = tmp_path / "my_space.py"
    moved.write_text((checkpoint.parents[1] / "my_space.py").read_text())
    torch.save({**stored, FIELD: "/nowhere/my_space.py:SPACE"}, tmp_path / "last.pt")
    monkeypatch.chdir("/")
    assert load_supernet(tmp_path / "last.pt", trust_code=True).space.name == "bottlenecks"
    assert named_objects.loaded_files() == (moved,)


def test_where_a_file_was_looked_for_is_said(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "run" / "last.pt"
    torch.save({**stored, FIELD: "/nowhere/my_space.py:SPACE"}, path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    places = f"no my_space.py in {tmp_path / 'run'} or {tmp_path / 'elsewhere'}; put it there"
    with pytest.raises(ValueError, match=f"There is no file /nowhere/my_space.py, and {places}"):
        load_supernet(path, trust_code=True)
    with pytest.raises(ValueError, match="with --space NEW.py:SPACE where the command has --space"):
        load_supernet(path)
    data = {**stored["data"], "dataset": "/nowhere/my_data.py:make"}
    with pytest.raises(ValueError, match="no my_data.py in .* with --dataset NEW.py:make where"):
        reopen_data({**stored, "data": data}, path, device=torch.device("cpu"))


EDITS = {
    "other widths": ("(0.25, 0.5, 1.0)", "(0.5, 0.75, 1.0)"),
    "another depth": ("depths=(1, 2, 3)", "depths=(1, 3)"),
    "other names": ('decision="depth"', 'decision="blocks"'),
    "another forward": (".relu())\n", ".sigmoid())\n"),
}


@pytest.mark.parametrize(
    ("edit", "refusal"),
    [
        (
            "other widths",
            "the options 0.25, 0.5, 1 of decision '1.blocks.0.expand', which has the options "
            "0.5, 0.75, 1 by now; use the code it was trained with",
        ),
        ("another depth", "the options 1, 2, 3 of decision 'depth', which has the options 1, 3"),
        ("other names", "the options 1, 2, 3 of decision 'depth', which has no options by now"),
        ("another forward", None),
        (None, None),
    ],
)
def test_a_space_that_was_edited_since_is_noticed(
    checkpoint: Path,
    tmp_path: Path,
    edit: str | None,
    refusal: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stored, code = torch.load(checkpoint, weights_only=True), tmp_path / "my_space.py"
    assert stored[OPTIONS]["depth"] == ["1", "2", "3"] and len(stored[DIGEST]) == 64
    text = (checkpoint.parents[1] / "my_space.py").read_text()
    edited = text if edit is None else text.replace(*EDITS[edit])
    assert (edited == text) == (edit is None)
    code.write_text(edited)
    torch.save({**stored, FIELD: f"{code}:SPACE"}, tmp_path / "last.pt")
    if refusal is not None:
        with pytest.raises(ValueError, match=re.escape(refusal)):
            load_supernet(tmp_path / "last.pt", trust_code=True)
        return
    for _ in range(2):
        load_supernet(tmp_path / "last.pt", trust_code=True)
    warned = f"was written with other code of space 'bottlenecks' than there is in {code} now"
    assert caplog.text.count(warned) == (edit is not None)


def test_options_that_no_checkpoint_holds_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    stored = torch.load(checkpoint, weights_only=True)
    torch.save({**stored, OPTIONS: {"depth": 3}}, tmp_path / "last.pt")
    with pytest.raises(
        ValueError, match=r"space_options\['depth'\] must be a list of names, got 3"
    ):
        load_supernet(tmp_path / "last.pt", trust_code=True)
    del stored[OPTIONS], stored[DIGEST]  # as they were before
    torch.save(stored, tmp_path / "last.pt")
    assert load_supernet(tmp_path / "last.pt", trust_code=True).space.name == "bottlenecks"


@pytest.mark.slow
def test_every_command_takes_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = f"--supernet {checkpoint} --trust-code --device cpu"
    search_flags = f"{trusted} --num-trials 6 --algorithm weaknas --num-initial 3 {TSE} --report"
    output = tmp_path / "search"
    assert run(search.cli.search.main, f"{search_flags} --output {output}") == 0
    best = json.loads((output / "best.json").read_text())
    assert all("--trust-code" in command for command in best["verdict"]["next"])
    assert best["space"] == "bottlenecks" and best[FIELD].endswith("my_space.py:SPACE")
    rank = f"{trusted} --truth-epochs 1 --num-archs 4 --top-k 2 {TSE} --estimators tse macs"
    assert run(estimators.cli.rank.main, f"{rank} --output {tmp_path / 'rank'}") == 0
    report = f"--report-of {output} --trust-code --output {tmp_path / 'report'}"
    assert run(search.cli.search.main, report) == 0
    export = f"{trusted} --arch {output / 'best.json'} --output {tmp_path / 'subnet'}"
    assert run(supernets.cli.export.main, export) == 0
    record = json.loads((tmp_path / "subnet" / "subnet.json").read_text())
    assert record[FIELD] == "my_space.py:SPACE"  # no path of this machine
    assert {"subnet.pt2", "weights.safetensors"} <= set(record["files"]) | {"weights.safetensors"}
    recipe = "--epochs 1 --warmup-epochs 0 --batch-size 400 --device cpu --formats"
    retrain = f"--subnet {tmp_path / 'subnet'} --trust-code {recipe} --output {tmp_path / 're'}"
    assert run(supernets.cli.retrain.main, retrain) == 0
    again = f"--arch {NOTATION} --space my_space.py:SPACE --dataset digits --channels 4 {recipe}"
    assert run(supernets.cli.retrain.main, f"{again} --output {tmp_path / 'from scratch'}".replace(
        "from scratch", "fresh")) == 0  # fmt: skip
    capsys.readouterr()


@pytest.mark.slow
def test_workers_measure_it(checkpoint: Path, tmp_path: Path) -> None:
    scores = []
    for name, more in (("one", ""), ("two", "--workers 2")):
        flags = f"--supernet {checkpoint} --trust-code --num-trials 4 --algorithm random {TSE}"
        flags += f" --device cpu --threads 1 --output {tmp_path / name} {more}"
        assert run(search.cli.search.main, flags) == 0
        table = (tmp_path / name / "trials.csv").read_text().splitlines()
        scores.append(sorted(row.split(",")[2] for row in table[1:]))
    assert scores[0] == scores[1]


def test_an_export_needs_the_code_and_its_program_does_not(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = f"--supernet {checkpoint} --trust-code --device cpu --formats pt2 --arch {NOTATION}"
    assert run(supernets.cli.export.main, f"{flags} --output {tmp_path / 'subnet'}") == 0
    subnet = load_subnet(tmp_path / "subnet")  # loaded by this process already
    x = torch.rand(3, 1, 8, 8)
    program = torch.export.load(tmp_path / "subnet" / "subnet.pt2").module()
    assert torch.allclose(program(x), subnet(x), atol=1e-5)
    monkeypatch.setattr(SPACES, "_found", {})
    with pytest.raises(ValueError, match="reading it imports and runs .*my_space.py:SPACE"):
        load_subnet(tmp_path / "subnet")
    assert torch.equal(load_subnet(tmp_path / "subnet", trust_code=True)(x), subnet(x))
