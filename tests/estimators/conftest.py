"""A supernet of one weight per subnet, whose losses can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from supernets.data.image_loader import Augmentation
from supernets.data.loaders import ImageLoader, Loaders
from supernets.data.memory_pixels import MemoryPixels
from supernets.networks.base import Supernet
from supernets.spaces import Architecture, SearchSpace

Batches = list[tuple[Tensor, Tensor]]


class OneWeightSubnet(nn.Module):
    """Logits ``(w * x, 0)`` of one-pixel images; every call is counted."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.calls: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 1, 1) images to (N, 2) logits."""
        self.calls.append(self.training)
        out = self.weight * x.flatten(1)
        return torch.cat([out, torch.zeros_like(out)], dim=1)


class OneWeightSupernet(Supernet):
    """One weight per architecture of a space with one decision."""

    def __init__(self, space: SearchSpace, weights: Sequence[float]) -> None:
        super().__init__()
        self.space = space
        self.num_classes = 2
        self.input_size = (1, 1, 1)
        self.settings = {}
        self.weights = nn.Parameter(torch.tensor(weights))
        self.extracted: list[OneWeightSubnet] = []

    def forward(
        self, x: Tensor, arch: Architecture, *, dropout: float = 0.0, drop_path: float = 0.0
    ) -> Tensor:
        return OneWeightSubnet(self.weights[arch.choices[0]])(x)

    def build_subnet(self, arch: Architecture) -> nn.Module:
        return OneWeightSubnet(torch.zeros(()))

    def extract(self, arch: Architecture) -> nn.Module:
        self.extracted.append(OneWeightSubnet(self.weights[arch.choices[0]].detach().clone()))
        return self.extracted[-1].train(self.training)

    def to_standalone(self, subnet: nn.Module) -> nn.Module:
        return subnet

    def count(self, choices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ones = np.ones(len(choices), np.int64)
        return ones, ones


@pytest.fixture
def make_one_weight_supernet(
    make_space: Callable[..., SearchSpace],
) -> Callable[..., OneWeightSupernet]:
    """Builds a supernet from the weight of each of its architectures."""
    return lambda *weights: OneWeightSupernet(make_space(len(weights)), weights)


@pytest.fixture
def make_pixels() -> Callable[..., Batches]:
    """One minibatch per list of pixels, all of class 0."""

    def make(*batches: Sequence[float]) -> Batches:
        return [
            (torch.tensor(x).view(-1, 1, 1, 1), torch.zeros(len(x), dtype=torch.int64))
            for x in batches
        ]

    return make


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a CSV file."""

    def write(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def make_loaders() -> Callable[..., Loaders]:
    """Noisy images of three patterns: 30 of train, augmented, 15 of val, 15 of test."""

    def make(side: int = 8, batch_size: int = 10, **settings: Any) -> Loaders:
        rng = np.random.default_rng(0)
        labels = np.arange(60) % 3
        patterns = rng.uniform(0, 255, (3, 4, 4, 3)).repeat(side // 4, 1).repeat(side // 4, 2)
        noise = rng.uniform(0, 255, (60, side, side, 3))
        pixels = MemoryPixels(
            torch.from_numpy((0.5 * patterns[labels] + 0.5 * noise).astype(np.uint8))
        )

        def loader(first: int, last: int, **options: Any) -> ImageLoader:
            return ImageLoader(
                pixels,
                labels=torch.from_numpy(labels),
                mean=(0.5,) * 3,
                std=(0.2,) * 3,
                seed=0,
                indices=np.arange(first, last),
                **{"batch_size": 15, **options},
            )

        return Loaders(
            train=loader(
                0, 30, batch_size=batch_size, augmentation=Augmentation(1, flip=True), shuffle=True
            ),
            train_eval=loader(0, 30, shuffle=True),
            val=loader(30, 45),
            test=loader(45, 60),
            num_classes=3,
            class_names=("a", "b", "c"),
            input_size=(3, side, side),
            settings={"dataset": "patterns", "class_names": ["a", "b", "c"], **settings},
            splits={},
        )

    return make
