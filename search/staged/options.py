"""Settings of a staged search."""

from __future__ import annotations

from dataclasses import dataclass

import supernets.runtime.option_types as kinds
from supernets.runtime.options import Options, option


@dataclass(frozen=True)
class StagedOptions(Options):
    """Settings of a staged search.

    Args:
        num_initial: Random architectures that the first level begins with.
        pool_size: Random architectures beside mutants, in a space too large to be ranked whole.
        initial_share: Share of the budget that the first measurements of a level may take; one is
            made in any case.
        top_share: Share of what is spent that the top level gets at least, so that how far the
            others can be trusted is measured, and not a guess.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> StagedOptions(num_initial=10).initial_share
        0.2
    """

    num_initial: int = option(20, "", kinds.POSITIVE_INT, metavar="N")
    pool_size: int = option(5000, "", kinds.POOL, metavar="N")
    initial_share: float = option(
        0.2, "of the budget, for the first measurements of a level", kinds.FRACTION, metavar="F"
    )
    top_share: float = option(
        0.25, "of what is spent, that the last level gets at least", kinds.PROBABILITY, metavar="F"
    )
