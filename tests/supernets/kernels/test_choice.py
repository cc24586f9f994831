"""What is said of kernels that are others than before, without PyTorch."""

from __future__ import annotations

import pytest

from supernets.kernels.choice import told_kernels

LEVEL = ["levels", "tse"]


@pytest.mark.parametrize(
    ("within", "stored", "given", "message"),
    [
        (
            ["estimator"],
            None,
            "2-avx512",
            "it was begun with PyTorch's own kernels, and this machine would use the C++ ones "
            "(2-avx512): --kernels off continues it",
        ),
        (
            ["estimator"],
            "2-avx512",
            None,
            "it was begun with the C++ kernels 2-avx512, and PyTorch's own would be used now: "
            "continue it without --kernels off, where there is a C++ compiler",
        ),
        (
            ["settings"],
            "2-avx2",
            "2-avx512",
            "it was begun with the C++ kernels 2-avx2, and this machine's are 2-avx512: continue "
            "it where it was begun",
        ),
        (
            LEVEL,
            None,
            "2-avx2",
            "level tse was begun with PyTorch's own kernels, and this machine would use the C++ "
            "ones (2-avx2): kernels=off among its settings in --levels continues it",
        ),
        (LEVEL, "2-avx2", None, "continue it without kernels=off, where there is a C++ compiler"),
        (LEVEL, "2-avx2", "2-avx512", "level tse was begun with the C++ kernels 2-avx2"),
    ],
)
def test_the_kernels_then_and_now_are_said_and_how_to_go_on(
    within: list[str], stored: str | None, given: str | None, message: str
) -> None:
    assert message in told_kernels(within, stored, given)
