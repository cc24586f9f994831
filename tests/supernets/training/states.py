"""What trainings leave and compute, for tests that compare or stop them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from supernets.networks.base import Supernet
from supernets.training import standalone
from supernets.training import supernet as training
from supernets.training.standalone import training_loss
from supernets.training.supernet import train_step


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists as one dict of leaves; seconds are left out."""
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    else:
        return {prefix: value}
    leaves = {}
    for key, part in parts:
        if key != "seconds":
            leaves |= flat(part, f"{prefix}/{key}")
    return leaves


def send(number: signal.Signals) -> Callable[[], None]:
    """Returns what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Runs ``action`` once, in the ``number``-th step of stand-alone training from now (from 1)."""
    count = 0

    def loss(*args: Any, **settings: Any) -> Tensor:
        nonlocal count
        count += 1
        if count == number:
            action()
        return training_loss(*args, **settings)

    monkeypatch.setattr(standalone, "training_loss", loss)


def spy_on_steps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collects the arguments of every step of a supernet, with the weights it starts from."""
    steps: list[dict[str, Any]] = []

    def step(supernet: Supernet, archs: Any, x: Tensor, y: Tensor, **settings: Any) -> Tensor:
        weights = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        steps.append({"weights": weights, "archs": archs, "x": x, "y": y, **settings})
        return train_step(supernet, archs, x, y, **settings)

    monkeypatch.setattr(training, "train_step", step)
    return steps
