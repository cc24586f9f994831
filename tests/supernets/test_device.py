"""Device names, and what autocast does."""

from __future__ import annotations

import pytest
import torch

from supernets.device import autocast, has_bfloat16, resolve_device


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
    with pytest.raises(ValueError, match=f"{name!r} was asked for, but.* {count} CUDA devices"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "mps", "meta"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use auto, cpu, cuda or cuda:N"):
        resolve_device(name)


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
