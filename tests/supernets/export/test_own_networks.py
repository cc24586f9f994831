"""Networks of one's own that cannot be exported are refused in a line, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supernets.export.folder import write_subnet_folder
from supernets.export.programs import ConversionError, WrongLogitsError, check_repeats

RECORD: dict[str, Any] = {
    "space": "nasbench_macro",
    "architecture": "00000000",
    "settings": {"num_classes": 3, "input_size": [3, 8, 8]},
    "data": {},
}


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) + torch.randn(len(x), 3)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) if x.sum() > 0 else x.amax(dim=(2, 3))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = x.mean(dim=(2, 3)) * self.calls
        return logits


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (Noisy(), WrongLogitsError, "differ by .* between two calls of the network: it is random"),
        (Counting(), WrongLogitsError, "differ by 1 of the largest between two calls"),
        (
            Branching(),
            ConversionError,
            "cannot be made a program of torch.export: .* Leave pt2 and onnx out of --formats",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(
    network: nn.Module, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as raised:
        write_subnet_folder(tmp_path / "subnet", network.eval(), RECORD, (3, 8, 8), formats=["pt2"])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "subnet").exists()


def test_networks_that_repeat_may_be_exported() -> None:
    x = torch.rand(4, 3, 8, 8)
    for network in (nn.Dropout(0.5).eval(), nn.Identity()):
        check_repeats(network, x)
        check_repeats(network, x * torch.nan)
