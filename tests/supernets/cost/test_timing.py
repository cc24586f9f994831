"""Timing with a clock of our own, and what a measurement says of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from supernets.cost import timing
from supernets.cost.timing import measure_latency, measurement_conditions, time_calls

CPU = torch.device("cpu")


class Clock:
    """Advances only where a call says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: Iterator[float]) -> Callable[[], None]:
        def call() -> None:
            self.now += next(seconds)

        return call


def test_every_round_times_every_call_once_after_the_warmup() -> None:
    clock, order = Clock(), []
    a, b = clock.takes(iter([9.0, 9.0, 1.0, 2.0, 3.0])), clock.takes(iter([8.0, 8.0, 0.5, 0, 0.25]))
    calls = {"a": lambda: (order.append("a"), a()), "b": lambda: (order.append("b"), b())}
    seconds = time_calls(calls, device=CPU, warmup=2, repeats=3, clock=clock)
    assert {name: list(times) for name, times in seconds.items()} == {
        "a": [1.0, 2.0, 3.0],
        "b": [0.5, 0.0, 0.25],
    }
    assert order == ["a", "b"] * 5


@pytest.mark.parametrize("amp", [False, True])
def test_calls_run_without_gradients_in_the_precision_asked_for(amp: bool) -> None:
    layer, found = nn.Linear(2, 2), []
    calls = {"layer": lambda: found.append(layer(torch.ones(1, 2)))}
    time_calls(calls, device=CPU, warmup=0, repeats=1, amp=amp, clock=time.perf_counter)
    (out,) = found
    assert not out.requires_grad
    assert out.dtype == (torch.bfloat16 if amp else torch.float32)


class Probe(nn.Module):
    """Takes 4, 1, 2, 3, 5 seconds, and keeps what it was called with."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.seen: list[Tensor] = []
        self._take = clock.takes(iter([4.0, 1.0, 2.0, 3.0, 5.0]))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        self.seen.append(x)
        self._take()
        return x


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_network_is_timed_in_eval_mode_on_images_of_its_size(
    channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setitem(timing.CLOCKS, "thread_time", clock)
    probe = Probe(clock)
    latency = measure_latency(
        probe,
        (3, 6, 7),
        batch_size=2,
        device=CPU,
        warmup=0,
        repeats=5,
        channels_last=channels_last,
    )
    quartiles = latency.lower_quartile, latency.median, latency.upper_quartile
    assert (latency.minimum, *quartiles) == (1.0, 2.0, 3.0, 4.0)
    assert {tuple(x.shape) for x in probe.seen} == {(2, 3, 6, 7)}
    for tensor in (probe.seen[0], probe.conv.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert latency.conditions["num_threads"] == torch.get_num_threads()
    assert latency.conditions["torch"] == torch.__version__
    assert latency.conditions["batch_size"] == 2
    assert latency.conditions["device_name"]
    assert latency.conditions["channels_last"] == channels_last


def test_a_device_of_its_own_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    pending = []

    def synchronize(device: torch.device) -> None:
        clock.now += sum(pending)
        pending.clear()

    monkeypatch.setattr(timing.torch.cuda, "synchronize", synchronize)
    calls = {"kernel": lambda: pending.append(3.0)}
    pending.append(50.0)  # what ran before is not counted
    seconds = time_calls(calls, device=torch.device("cuda"), warmup=0, repeats=2, clock=clock)
    assert list(seconds["kernel"]) == [3.0, 3.0]


@pytest.mark.parametrize(
    ("num_threads", "device", "clock"),
    [(1, "cpu", "thread_time"), (2, "cpu", "perf_counter"), (1, "cuda", "perf_counter")],
)
def test_only_one_thread_of_the_processor_has_a_clock_of_its_own(
    num_threads: int, device: str, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing.torch.cuda, "get_device_name", lambda device: "some GPU")
    monkeypatch.setattr(timing.torch, "get_num_threads", lambda: num_threads)
    conditions = measurement_conditions(torch.device(device), batch_size=1, repeats=1)
    assert (conditions["clock"], conditions["num_threads"]) == (clock, num_threads)
    assert (conditions["device_name"] == "some GPU") == (device == "cuda")


def test_the_clock_of_a_thread_stands_still_while_it_waits() -> None:
    calls = {"wait": lambda: time.sleep(0.05)}
    seconds = {
        name: time_calls(calls, device=CPU, warmup=0, repeats=1, clock=clock)["wait"][0]
        for name, clock in timing.CLOCKS.items()
    }
    assert seconds["thread_time"] < 0.04 < 0.05 <= seconds["perf_counter"]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measurement_conditions(CPU, **{"batch_size": 1, "repeats": 1, **numbers})
    with pytest.raises(ValueError, match=message):
        measure_latency(nn.Identity(), (1, 2, 2), device=CPU, **numbers)
