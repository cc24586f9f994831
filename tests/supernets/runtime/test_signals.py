"""Signals as requests to stop: the first is noted, the second interrupts, handlers come back."""

from __future__ import annotations

import signal
from threading import Thread

import pytest

from supernets.runtime.signals import StopRequest, signals_as_interrupt

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted(number: signal.Signals) -> None:
    with StopRequest() as stop:
        assert not stop.is_set
        signal.raise_signal(number)
        assert stop.is_set


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_signal_interrupts(first: signal.Signals, second: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), StopRequest():
        signal.raise_signal(first)
        signal.raise_signal(second)


def test_handlers_come_back_after_success_and_failure() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(RuntimeError, match="work"), StopRequest():
        raise RuntimeError("work")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_interrupt_only_inside(number: signal.Signals) -> None:
    def ends_the_process(number: int, frame: object) -> None:
        raise AssertionError

    original = signal.signal(number, ends_the_process)
    try:
        with pytest.raises(KeyboardInterrupt), signals_as_interrupt():
            signal.raise_signal(number)
        assert signal.getsignal(number) is ends_the_process
    finally:
        signal.signal(number, original)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    original = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_as_interrupt():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, original)


def test_a_stop_request_within_goes_back_to_interrupting() -> None:
    with pytest.raises(KeyboardInterrupt), signals_as_interrupt():
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.is_set
        signal.raise_signal(signal.SIGTERM)


def test_other_threads_leave_the_handlers_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def work() -> None:
        with signals_as_interrupt(), StopRequest() as stop:
            seen.append([signal.getsignal(number) for number in SIGNALS])
            seen.append(stop.is_set)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]
