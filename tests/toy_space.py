"""A space of decisions alone."""

from __future__ import annotations

from supernets.spaces import Architecture, Decision, SearchSpace


class ToySpace(SearchSpace):
    """Decisions with the given numbers of options, written as ``3-1-2``."""

    name = "toy"

    def __init__(self, *sizes: int) -> None:
        self.decisions = tuple(
            Decision(f"d{i}", tuple(str(option) for option in range(size)))
            for i, size in enumerate(sizes)
        )
        super().__init__()

    def format(self, arch: Architecture) -> str:
        self.validate(arch)
        return "-".join(map(str, arch.choices))

    def parse(self, text: str) -> Architecture:
        return self.architecture([int(part) for part in text.split("-")])
