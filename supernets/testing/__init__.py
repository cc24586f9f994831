"""Contracts as classes of tests, for pytest: what a space and a supernet of one's own must do."""

import lazy_loader
import pytest

# Failed assertions say what was compared, as those of test modules do.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in (
            "space_under_test",
            "space_notation",
            "space_draws",
            "space_arrays",
            "supernet_contract",
            "supernet_subnets",
        )
    )
)

# What is offered is listed in __init__.pyi, and imported once it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
