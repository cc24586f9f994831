"""Small spaces and a landscape whose best architecture is known, to search without networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from estimators.base import Estimate, EstimateError
from estimators.trials.store import Trial
from supernets.spaces import Architecture, Decision, SearchSpace


class DigitSpace(SearchSpace):
    """``num_decisions`` digits below ``num_options``, written as ``3-1-2``."""

    def __init__(self, num_decisions: int, num_options: int) -> None:
        self.name = f"digits{num_decisions}x{num_options}"
        options = tuple(str(option) for option in range(num_options))
        self.decisions = tuple(Decision(f"d{i}", options) for i in range(num_decisions))
        super().__init__()

    def format(self, arch: Architecture) -> str:
        """Writes the digits, with dashes between them."""
        self.validate(arch)
        return "-".join(map(str, arch.choices))

    def parse(self, text: str) -> Architecture:
        """Reads what ``format`` writes."""
        return self.architecture([int(part) for part in text.split("-")])


class PlantedEstimator:
    """A smooth landscape with its single best at the highest digits; some points may fail.

    Args:
        fails: Which architectures cannot be scored.
        interrupt_at: Presses Ctrl-C instead of making the measurement of this number.
    """

    name = "planted"

    def __init__(
        self,
        fails: Callable[[Architecture], bool] = lambda arch: False,
        interrupt_at: int | None = None,
    ) -> None:
        self.fails, self.interrupt_at = fails, interrupt_at
        self.num_estimates = 0

    def score(self, arch: Architecture) -> float:
        """Returns the height of the landscape."""
        choices = arch.choices
        pairs = sum(a * b for a, b in zip(choices, choices[1:], strict=False))
        return float(sum((i + 1) * choice for i, choice in enumerate(choices)) + 0.3 * pairs)

    def estimate(self, arch: Architecture) -> Estimate:
        """Measures ``arch``, fails, or is interrupted."""
        if self.num_estimates == self.interrupt_at:
            raise KeyboardInterrupt
        self.num_estimates += 1
        if self.fails(arch):
            raise EstimateError(f"no score for {arch.choices}")
        score = self.score(arch)
        return Estimate(score, {"loss": -score}, seconds=0.5, curves={"train_loss": (2.0, -score)})


def measure(
    archs: Sequence[Architecture], start: int = 0, estimator: PlantedEstimator | None = None
) -> list[Trial]:
    """Turns architectures into the trials of a landscape, numbered from ``start``."""
    estimator = estimator or PlantedEstimator()
    return [
        Trial(number, arch, None, {}, 0.0, "failed")
        if estimator.fails(arch)
        else Trial(number, arch, estimator.score(arch), {}, 0.0, None)
        for number, arch in enumerate(archs, start=start)
    ]
