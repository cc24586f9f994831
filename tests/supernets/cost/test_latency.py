"""Latency tables, timed with clocks whose seconds are known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from supernets import Constraint, CostModel, create_supernet, save_supernet
from supernets.cli import latency as latency_cli
from supernets.cost import latency
from supernets.cost.analytic import feasibility_check
from supernets.cost.latency import LatencyTable, fit_correction, measure_latency_table
from supernets.cost.latency_options import LatencyOptions
from supernets.networks.base import Supernet
from supernets.networks.mobilenetv3 import MobileNetV3Supernet
from supernets.runtime import folder_lock
from supernets.runtime.folder_lock import FolderLock
from supernets.spaces import MobileNetV3Space

CPU = torch.device("cpu")


def build(supernet: Supernet, **settings: Any) -> LatencyTable:
    return measure_latency_table(supernet, LatencyOptions(**settings), device=CPU)


def tiny(**settings: Any) -> MobileNetV3Supernet:
    """Of 16 pixels and, unless other ones are given, of two resolutions."""
    defaults: dict[str, Any] = {
        "num_classes": 3,
        "width": 0.25,
        "input_size": (3, 16, 16),
        "resolutions": (8, 16),
        "strides": (1, 1, 2, 2, 1, 1),
    }
    supernet = create_supernet("mobilenetv3", **{**defaults, **settings})
    assert isinstance(supernet, MobileNetV3Supernet)
    return supernet


@pytest.fixture(scope="module")
def supernet() -> MobileNetV3Supernet:
    return tiny()


def sampled(space: MobileNetV3Space, num_archs: int) -> NDArray[np.int64]:
    return space.sample_choices(num_archs, np.random.default_rng(5))


def count_macs(
    calls: Mapping[Hashable, Callable[[], object]], **_: Any
) -> dict[Hashable, NDArray[np.float64]]:
    """A clock on which every multiply-accumulate takes a second."""
    seconds = {}
    for name, call in calls.items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            call()
        seconds[name] = np.array([counter.get_total_flops() / 2])
    return seconds


def made_up(
    calls: Mapping[Hashable, Callable[[], object]], supernet: MobileNetV3Supernet, **_: Any
) -> dict[Hashable, NDArray[np.float64]]:
    """Parts take seconds that say where they are; whole networks 1.5 times their sum and 40 more.

    The fastest of three rounds is the second; doing nothing takes 0.125 s.
    """
    space, rng = supernet.space, np.random.default_rng(0)
    seconds: dict[Hashable, float] = {"nothing": 0.0}
    for name in calls:
        match name:
            case ("fixed", int(size)):
                seconds[name] = 1000.0 * (1 + size)
            case ("block", size, stage, block, k, e):
                seconds[name] = part(size, stage, block, k, e)
            case ("network", _):
                arch = space.sample(rng)
                seconds[name] = 1.5 * expected(space, np.array(arch.choices)) + 40
    return {name: 0.125 + np.array([2 * t + 1, t, t + 5]) for name, t in seconds.items()}


def part(size: int, stage: int, block: int, k: int, e: int) -> float:
    return 1 + size + 10 * stage + 3 * block + 0.5 * k + 0.25 * e


def expected(space: MobileNetV3Space, choices: NDArray[np.int64]) -> float:
    """The seconds of ``made_up``, summed block by block."""
    size = int(choices[-1])
    total = 1000.0 * (1 + size)
    for stage in range(5):
        for block in range([2, 3, 4][choices[stage]]):
            i = 5 + 4 * stage + block
            total += part(size, stage, min(block, 1), int(choices[i]), int(choices[i + 20]))
    return total


@pytest.fixture(scope="module")
def table(supernet: MobileNetV3Supernet) -> LatencyTable:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "time_calls", partial(made_up, supernet=supernet))
        return build(supernet)


@pytest.mark.parametrize(
    "settings",
    [{}, {"resolutions": (), "strides": (2, 2, 1, 2, 1, 1), "input_size": (1, 16, 24)}],
    ids=["two resolutions", "one size"],
)
def test_where_seconds_are_macs_the_table_gives_the_macs(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    supernet = tiny(**settings)
    monkeypatch.setattr(latency, "time_calls", count_macs)
    table = build(supernet, num_networks=4)
    choices = sampled(supernet.space, 200)
    _, macs = supernet.count(choices)
    assert np.allclose(table.predict(choices), macs, rtol=1e-12)
    assert (table.error["used"], table.scale, table.offset) == ("sums", 1.0, 0.0)
    assert table.error["median_relative_error"]["sums"] == pytest.approx(0)


def test_a_prediction_is_the_corrected_sum_of_the_parts(
    supernet: MobileNetV3Supernet, table: LatencyTable
) -> None:
    choices = sampled(supernet.space, 50)
    by_hand = [1.5 * expected(supernet.space, row) + 40 for row in choices]
    assert np.allclose(table.predict(choices), by_hand)
    one_by_one = [table.predict(choices[i : i + 1])[0] for i in range(len(choices))]
    assert np.array_equal(one_by_one, table.predict(choices))
    assert table.predict(choices[:0]).shape == (0,)
    assert (table.scale, table.offset) == (pytest.approx(1.5), pytest.approx(40))


def test_the_error_is_that_of_whole_networks(
    supernet: MobileNetV3Supernet, table: LatencyTable
) -> None:
    networks = table.error["networks"]
    assert len(networks) == 20
    sums = np.array([network["sum"] for network in networks])
    measured = np.array([network["measured"] for network in networks])
    for network, seconds in zip(networks, sums, strict=True):
        choices = np.array(supernet.space.parse(network["architecture"]).choices)
        assert seconds == pytest.approx(expected(supernet.space, choices))
    assert np.allclose(measured, 1.5 * sums + 40)
    errors = table.error["median_relative_error"]
    assert errors["sums"] == pytest.approx(np.median(1 - sums / measured))
    assert errors["corrected"] == pytest.approx(0, abs=1e-9)
    assert table.error["spearman"] == pytest.approx(1)
    assert table.error["used"] == "corrected"


def test_a_busy_machine_is_warned_of(
    supernet: MobileNetV3Supernet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def timed(rounds: list[float], calls: Any, **_: Any) -> dict[Hashable, NDArray[np.float64]]:
        parts = made_up(calls, supernet)
        return {name: times.min() * np.array(rounds) for name, times in parts.items()}

    for rounds, spread in (([1.0, 1.2, 1.0], 0.0), ([1.6, 1.0, 1.5], 0.5)):
        assert not caplog.text
        monkeypatch.setattr(latency, "time_calls", partial(timed, rounds))
        assert build(supernet, num_networks=4).error["spread"] == pytest.approx(spread)
    assert "Half of the calls took 50% longer than the fastest" in caplog.text


def test_a_correction_is_judged_on_networks_it_has_not_seen() -> None:
    sums = np.array([1.0, 2.0, 3.0, 4.0])
    measured = 2 * sums + 1
    measured[3] = 90.0
    held_out, _, _ = fit_correction(sums, measured)
    assert held_out[3] == pytest.approx(9.0)  # of the line through the others
    assert abs(held_out[0] - 3) > 1
    _, scale, offset = fit_correction(sums[:3], measured[:3])
    assert (scale, offset) == (pytest.approx(2), pytest.approx(1))


@pytest.mark.parametrize(
    "change",
    [lambda total, i: total * (1.4 if i == 3 else 1.0), lambda total, i: 50_000 - total],
    ids=["no better", "turns the order around"],
)
def test_a_correction_that_does_not_help_is_left_out(
    change: Callable[[NDArray[np.float64], int], NDArray[np.float64]],
    supernet: MobileNetV3Supernet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def timed(calls: Any, **_: Any) -> dict[Hashable, NDArray[np.float64]]:
        seconds = made_up(calls, supernet)
        for i in range(4):
            total = (seconds["network", i][1:2] - 0.125 - 40) / 1.5
            seconds["network", i] = 0.125 + change(total, i)
        return seconds

    monkeypatch.setattr(latency, "time_calls", timed)
    table = build(supernet, num_networks=4)
    assert (table.error["used"], table.scale, table.offset) == ("sums", 1.0, 0.0)


@pytest.mark.parametrize("fast", [False, True])
def test_a_real_clock_gives_positive_seconds(supernet: MobileNetV3Supernet, fast: bool) -> None:
    table = build(
        supernet,
        batch_size=2,
        warmup=1,
        repeats=1,
        amp=fast,
        channels_last=fast,
        num_networks=4,
    )
    assert (table.fixed > 0).all() and (table.blocks > 0).all()
    assert (table.conditions["amp"], table.conditions["channels_last"]) == (fast, fast)
    assert table.conditions["batch_size"] == 2


def test_a_saved_table_is_the_same(
    supernet: MobileNetV3Supernet, table: LatencyTable, tmp_path: Path
) -> None:
    table.save(tmp_path / "table.json")
    loaded = LatencyTable.load(tmp_path / "table.json", supernet)
    choices = sampled(supernet.space, 20)
    assert np.array_equal(loaded.predict(choices), table.predict(choices))
    assert (loaded.error, loaded.conditions) == (table.error, table.conditions)
    assert loaded.settings == table.settings
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0.5}, "width 0.25, not 0.5"),
        ({"resolutions": (12, 16)}, r"resolutions \[8, 16\], not \[12, 16\]"),
        ({"resolutions": ()}, r"resolutions \[8, 16\], not \[\]"),
        ({"strides": (1, 2, 2, 2, 1, 1)}, "strides .* not "),
        ({"num_classes": 4}, "num_classes 3, not 4"),
    ],
)
def test_a_table_of_another_supernet_is_refused(
    settings: dict[str, Any], message: str, table: LatencyTable, tmp_path: Path
) -> None:
    table.save(tmp_path / "table.json")
    with pytest.raises(ValueError, match=f"is for another supernet: {message}"):
        LatencyTable.load(tmp_path / "table.json", tiny(**settings))


def test_other_weights_and_transforms_do_not_matter(table: LatencyTable, tmp_path: Path) -> None:
    table.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json", tiny(kernel_transform=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "is not a latency table; expected one from supernet-latency"),
        ({"version": 2}, "has version 2, this version reads up to 1"),
        ({"settings": {}}, "settings must be values by name with 'num_classes'"),
        ({"scale": None}, "the table: scale must be a number, got None"),
        ({"scale": -1.0}, "the table: scale must be positive, got -1.0"),
        ({"fixed": [1.0]}, r"fixed must be a table of shape \(2,\), got \(1,\)"),
        ({"blocks": [[1.0], [1.0, 2.0]]}, "blocks must be lists of finite numbers, got"),
        ({"offset": float("nan")}, "offset must be a finite number, got nan"),
    ],
)
def test_damaged_tables_are_refused(
    change: dict[str, Any],
    message: str,
    supernet: MobileNetV3Supernet,
    table: LatencyTable,
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.json"
    table.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        LatencyTable.load(path, supernet)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match="is not a latency table"):
        LatencyTable.load(path, supernet)
    with pytest.raises(ValueError, match="is not a latency table"):
        LatencyTable.load(tmp_path / "none.json", supernet)


def test_any_value_of_a_table_is_read_or_refused_in_a_line(
    edits: Callable[..., Any],
    is_refused: Callable[..., bool],
    supernet: MobileNetV3Supernet,
    table: LatencyTable,
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.json"
    table.save(path)
    whole, num_refused = json.loads(path.read_text()), 0
    for _, edited in edits(whole, every=3):
        path.write_text(json.dumps(edited))

        def predict() -> None:
            found = LatencyTable.load(path, supernet).predict(sampled(supernet.space, 2))
            assert np.isfinite(found).all()

        num_refused += is_refused(path, predict)
    assert num_refused > 50


def test_other_spaces_have_no_tables(
    make_supernet: Callable[..., Supernet], table: LatencyTable, tmp_path: Path
) -> None:
    other = make_supernet("nasbench201")
    with pytest.raises(ValueError, match="for space 'mobilenetv3', this .* 'nasbench201'"):
        build(other)
    table.save(tmp_path / "table.json")
    with pytest.raises(ValueError, match="for space 'mobilenetv3', this .* 'nasbench201'"):
        LatencyTable.load(tmp_path / "table.json", other)


def test_too_few_networks_are_refused(supernet: MobileNetV3Supernet) -> None:
    with pytest.raises(ValueError, match="num_networks must be at least 4, got 3"):
        build(supernet, num_networks=3)


def test_latency_can_be_constrained(supernet: MobileNetV3Supernet, table: LatencyTable) -> None:
    cost_model = CostModel(supernet, latency=table.predict)
    arch = supernet.space.sample(np.random.default_rng(2))
    seconds = table.predict(np.array([arch.choices]))[0]
    assert cost_model.measure(arch).latency == seconds
    choices = sampled(supernet.space, 100)
    limit = float(np.median(table.predict(choices)))
    are_feasible = feasibility_check(cost_model, [Constraint("latency", maximum=limit)])
    assert are_feasible is not None
    assert np.array_equal(are_feasible(choices), table.predict(choices) <= limit)


@pytest.fixture(scope="module")
def checkpoint(supernet: MobileNetV3Supernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("supernet") / "last.pt"
    save_supernet(path, supernet)
    return path


def run(checkpoint: Path, *flags: str) -> int:
    return latency_cli.main([f"--supernet={checkpoint}", *flags])


@pytest.fixture
def measure(
    checkpoint: Path, supernet: MobileNetV3Supernet, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs the command in one thread, with seconds that are made up."""
    monkeypatch.setattr(latency, "time_calls", partial(made_up, supernet=supernet))
    return partial(run, checkpoint, "--device=cpu", "--threads=1")


@pytest.mark.slow
def test_the_command_writes_a_table_and_replaces_it(
    measure: Callable[..., int],
    supernet: MobileNetV3Supernet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "deep" / "table.json"
    for flags in (["--batch-size", "2"], ["--repeats", "7", "--amp", "--channels-last"]):
        assert measure(f"--output={path}", *flags) == 0
    table = LatencyTable.load(path, supernet)
    conditions = {"batch_size": 1, "repeats": 7, "amp": True, "channels_last": True}
    assert {name: table.conditions[name] for name in conditions} == conditions
    assert table.conditions["num_threads"] == 1
    first, second = capsys.readouterr().out.split("}\n{")
    assert json.loads(first + "}")["conditions"]["batch_size"] == 2
    block = json.loads("{" + second)
    assert (block["status"], block["table"]) == ("finished", str(path))
    assert block["error"]["used"] == "corrected"
    assert "networks" not in block["error"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--device", "tpu"], "Unknown device 'tpu'"),
        (["--supernet", "none.pt"], "There is no checkpoint at none.pt"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    flags: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(checkpoint, f"--output={tmp_path / 'table.json'}", *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("supernet-latency: error: ") and message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_table_of_before(
    disk_of: Callable[[int], AbstractContextManager[None]],
    measure: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "table.json"
    assert measure(f"--output={path}") == 0
    before = path.read_bytes()
    capsys.readouterr()
    with disk_of(300):
        assert measure(f"--output={path}", "--repeats=7") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert f"{path}: File too large. {path} was not written; run the command again." in line
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_folder_that_vanishes_meanwhile_is_one_line(
    measure: Callable[..., int],
    supernet: MobileNetV3Supernet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "deep"

    def vanish(*args: Any, **settings: Any) -> Any:
        if folder.exists():
            shutil.rmtree(folder)
        return made_up(*args, **settings, supernet=supernet)

    monkeypatch.setattr(latency, "time_calls", vanish)
    assert measure(f"--output={folder / 'table.json'}") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if ": error: " in line]
    assert "No such file or directory. " in line and "was not written; run the command" in line


def test_a_table_that_another_process_measures_is_refused(
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder_lock, "WAIT", 0.0)
    path = tmp_path / "table.json"
    path.write_text("{}")
    with FolderLock.beside(path):
        assert run(checkpoint, f"--output={path}", "--device=cpu") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert path.read_text() == "{}"


@pytest.mark.parametrize("missing", ["supernet", "output"])
def test_what_is_needed_is_named(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = [f"--{name}=x" for name in ("supernet", "output") if name != missing]
    assert latency_cli.main(given) == 2
    assert f"--{missing} is required" in capsys.readouterr().err


def test_other_files_and_spaces_are_refused(
    checkpoint: Path,
    make_supernet: Callable[..., Supernet],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    precious = tmp_path / "thesis.json"
    precious.write_text('{"chapter": 1}')
    assert run(checkpoint, f"--output={precious}") == 2
    assert "exists and is no latency table; choose another file" in capsys.readouterr().err
    assert precious.read_text() == '{"chapter": 1}'
    save_supernet(tmp_path / "other.pt", make_supernet("nasbench201"))
    assert run(tmp_path / "other.pt", f"--output={tmp_path / 'table.json'}") == 2
    assert "Latency tables are for space 'mobilenetv3'" in capsys.readouterr().err
    assert not (tmp_path / "table.json").exists()
