"""Which kernels a training uses, and what it compiles, as options; known without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from supernets.runtime.options import option

OFF = "off"
#: What ``--kernels`` chooses from.
CHOICES = ("auto", OFF)
#: What ``--compile`` chooses from.
COMPILE_CHOICES = (OFF, "blocks")


def kernels_option() -> str:
    """Declares the option ``kernels`` of a class of options."""
    declared: str = option(
        "auto",
        "of training on a CPU: this package's own, compiled once where there is a C++ compiler, or "
        "PyTorch's alone",
        choices=CHOICES,
    )
    return declared


def told_kernels(within: Sequence[str], stored: str | None, given: str | None) -> str:
    """Says how kernels differ from those that scores were measured with, and how to go on.

    Args:
        within: Names of what they are of, such as ``("estimator",)``, or ``("levels", "tse")`` for
            a level of a staged search.
        stored: What ``chosen_kernels`` returned then; None where PyTorch's own were used.
        given: The same of now.

    Example:
        >>> told_kernels(["estimator"], None, "2-avx2").split(": ")[1]
        '--kernels off continues it'
    """
    what, option, again = "it", "--kernels off", "--kernels off continues it"
    if len(within) == 2 and within[0] == "levels":
        what, option = f"level {within[1]}", "kernels=off"
        again = f"{option} among its settings in --levels continues it"
    if stored is None:
        return (
            f"{what} was begun with PyTorch's own kernels, and this machine would use the C++ ones "
            f"({given}): {again}"
        )
    if given is None:
        return (
            f"{what} was begun with the C++ kernels {stored}, and PyTorch's own would be used now: "
            f"continue it without {option}, where there is a C++ compiler"
        )
    return (
        f"{what} was begun with the C++ kernels {stored}, and this machine's are {given}: continue "
        "it where it was begun"
    )
