"""Which kernels a training uses, and what it compiles, as options; known without PyTorch."""

from __future__ import annotations

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
