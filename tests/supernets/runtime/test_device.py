"""Device names, and what autocast does."""

from __future__ import annotations

import warnings

import pytest
import torch

from supernets.runtime.device import (
    autocast,
    check_amp,
    device_of_rank,
    device_with_float64,
    has_bfloat16,
    resolve_device,
    synchronise,
)
from supernets.runtime.ranks import ProcessInfo


def pretend_devices(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(("count", "expected"), [(0, "cpu"), (2, "cuda")])
def test_auto_takes_an_accelerator_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, count: int, expected: str
) -> None:
    pretend_devices(monkeypatch, count)
    assert resolve_device("auto") == torch.device(expected)


def test_named_devices_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_devices(monkeypatch, 2)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert resolve_device(name) == torch.device(name)


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_devices_this_machine_lacks_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    pretend_devices(monkeypatch, count)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
    present = f"and {count} of cuda" if count else "alone"
    with pytest.raises(
        ValueError, match=f"{name!r} was asked for, but this machine has cpu {present}"
    ):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Unknown device .*; this machine has cpu") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def pretend_accelerator(monkeypatch: pytest.MonkeyPatch, kind: str, count: int = 1) -> None:
    pretend_devices(monkeypatch, 0)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_other_accelerators_are_found_and_taken_by_name(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pretend_accelerator(monkeypatch, kind)
    assert resolve_device("auto") == torch.device(kind)
    for name in (kind, f"{kind}:0"):
        assert resolve_device(name) == torch.device(name)
    assert not has_bfloat16(torch.device(kind))  # no mixed precision unless it is asked for
    for name in (f"{kind}:1", "hpu", "cuda"):
        with pytest.raises(ValueError, match=f"{name}' was asked for, .* has cpu and 1 of {kind};"):
            resolve_device(name)


def test_cuda_goes_before_other_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_accelerator(monkeypatch, "xpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")


def test_an_accelerator_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: waited.append(str(device)))
    for name in ("cpu", "cuda:0", "mps"):
        synchronise(torch.device(name))
    assert waited == ["cuda:0", "mps"]


def test_several_processes_train_on_cuda_or_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_accelerator(monkeypatch, "mps")
    assert device_of_rank("auto", ProcessInfo()).type == "mps"
    assert device_of_rank("cpu", ProcessInfo(1, 1, 2)).type == "cpu"
    with pytest.raises(ValueError, match="on cuda or cpu, not on mps"):
        device_of_rank("auto", ProcessInfo(1, 1, 2))


def test_float64_is_computed_where_there_is_some() -> None:
    for name, expected in [("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", "cpu"), ("xpu:0", "cpu")]:
        assert device_with_float64(torch.device(name)) == torch.device(expected)


def test_autocast_that_pytorch_lacks_or_turns_off_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_amp(torch.device("cpu"))
    with pytest.raises(ValueError, match="--amp .* PyTorch does not have for meta; leave it out"):
        check_amp(torch.device("meta"))

    def turned_off(kind: str, dtype: torch.dtype) -> None:
        warnings.warn("In MPS autocast, but the target dtype is not supported.", stacklevel=1)

    monkeypatch.setattr(torch, "autocast", turned_off)
    with pytest.raises(ValueError, match="does not have for mps"):
        check_amp(torch.device("mps"))


def test_a_device_without_autocast_computes_as_it_is() -> None:
    with autocast(torch.device("meta"), False):
        assert torch.empty(1, device="meta").dtype == torch.float32


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("amx", [False, True])
def test_a_cpu_has_bfloat16_if_either_instruction_set_is_there(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert has_bfloat16(torch.device("cpu")) == (avx512 or amx)


def test_emulated_bfloat16_of_an_accelerator_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    assert not has_bfloat16(torch.device("cuda"))
    assert not has_bfloat16(torch.device("meta"))


@pytest.mark.parametrize(("amp", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_autocast_multiplies_in_bfloat16_only_if_asked(amp: bool, dtype: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with autocast(torch.device("cpu"), amp):
        assert (x @ x).dtype == dtype
    assert (x @ x).dtype == torch.float32


def test_autocast_sees_weights_that_changed_within_it() -> None:
    """A cached bfloat16 copy would go stale after an optimizer step."""
    weight = torch.nn.Parameter(torch.ones(1, 1))
    with autocast(torch.device("cpu"), True):
        assert (torch.ones(1, 1) @ weight).item() == 1
        with torch.no_grad():
            weight.fill_(2)
        assert (torch.ones(1, 1) @ weight).item() == 2
