"""The contract of estimators as a class of tests, for pytest."""

import lazy_loader
import pytest

# Failed assertions say what was compared, as those of test modules do.
pytest.register_assert_rewrite(f"{__name__}.estimator_contract")

# What is offered is listed in __init__.pyi, and imported once it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
